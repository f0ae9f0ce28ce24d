//! What goes wrong between a hub and Kafka, while records come.

use landfall_tests::broker::{self, Broker};
use landfall_tests::kafka_proxy::{Commits, KafkaProxy};
use landfall_tests::process::{NodeDir, Running, until};
use landfall_tests::soak::{self, Options};

use crate::fleet::{Fleet, assert_same, is_up, lines, synced};
use crate::kafka::{aborted, append, committed, texts};

/// A hub that is not started, in front of a broker behind a proxy.
async fn behind_a_proxy() -> (Fleet, Broker, KafkaProxy) {
    let fleet = Fleet::new(Default::default()).await.unwrap();
    let proxy = KafkaProxy::start().await.unwrap();
    let broker = Broker::start_behind(fleet.dir.path(), proxy.address()).await.unwrap();
    proxy.lead_to(broker.proxied().unwrap());
    fleet.hub.configure(&broker.settings_at(proxy.address())).unwrap();
    (fleet, broker, proxy)
}

/// A ship that the hub knows: to register it takes a commit, too.
async fn registered(fleet: &Fleet) -> NodeDir {
    let ship = fleet.ship("ship-1").await.unwrap();
    ship.done("run", &["--until-synced"]).await.unwrap();
    ship
}

/// Has a ship bring lines while something happens to commits, until it has happened.
async fn bring_while(
    commits: Commits,
    fleet: &Fleet,
    proxy: &KafkaProxy,
    ship: &NodeDir,
    lines: &[String],
) -> Running {
    proxy.set_commits(commits);
    append(fleet, ship, "log", lines, &[]).await;
    let runs = ship.run_up().await.unwrap();
    until("a commit is hit", async || (proxy.hit() > 0).then_some(())).await.unwrap();
    runs
}

#[tokio::test]
async fn what_a_killed_hub_had_not_committed_is_aborted_and_written_again_once() {
    let test = "what_a_killed_hub_had_not_committed_is_aborted_and_written_again_once";
    if !broker::is_possible(test) {
        return;
    }
    let (fleet, broker, proxy) = behind_a_proxy().await;
    let mut hub = fleet.hub.run_up().await.unwrap();
    hub.until("Kafka is reached", |status| is_up(&status).then_some(())).await.unwrap();
    let ship = registered(&fleet).await;
    let wanted = lines("ship-1", 2_000);
    let mut runs = bring_while(Commits::Lost, &fleet, &proxy, &ship, &wanted).await;
    // All records are at the broker, and their commit never came there.
    hub.kill().await.unwrap();
    assert_eq!(committed(&broker, "log").len(), 0);
    proxy.set_commits(Commits::Pass);
    let hub = fleet.hub.run_up().await.unwrap();
    runs.until("synced", synced).await.unwrap();
    drop(hub);
    assert_same(texts(&committed(&broker, "log")), &[&wanted]);
    assert!(aborted(&broker, "log") > 0, "nothing was there to be aborted");
}

#[tokio::test]
async fn commits_without_an_answer_are_found_out_about_and_not_repeated() {
    let test = "commits_without_an_answer_are_found_out_about_and_not_repeated";
    if !broker::is_possible(test) {
        return;
    }
    let (fleet, broker, proxy) = behind_a_proxy().await;
    let mut hub = fleet.hub.run_up().await.unwrap();
    hub.until("Kafka is reached", |status| is_up(&status).then_some(())).await.unwrap();
    let ship = registered(&fleet).await;
    let wanted = lines("ship-1", 2_000);
    let mut runs = bring_while(Commits::Unanswered, &fleet, &proxy, &ship, &wanted).await;
    // librdkafka asks again until the transaction's time is up; then the hub begins anew.
    hub.until("the hub gives up", |status| (!is_up(&status)).then_some(())).await.unwrap();
    proxy.set_commits(Commits::Pass);
    runs.until("synced", synced).await.unwrap();
    assert_same(texts(&committed(&broker, "log")), &[&wanted]);
}

#[tokio::test]
async fn hub_broker_and_ship_are_killed_at_random_and_all_is_in_kafka_once() {
    let test = "hub_broker_and_ship_are_killed_at_random_and_all_is_in_kafka_once";
    if !broker::is_possible(test) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let seed = landfall::entropy::number().unwrap();
    println!("seed {seed}");
    let (dir, minutes) = (dir.path().to_path_buf(), Some(2));
    let options = Options { kills: 15, seed, dir, minutes, verbose: true };
    let tally = soak::kafka::run(&options, 1).await.unwrap_or_else(|error| panic!("{error}"));
    println!("{tally}");
    assert!(tally.committed >= tally.acknowledged && tally.acknowledged > 100, "{tally}");
}
