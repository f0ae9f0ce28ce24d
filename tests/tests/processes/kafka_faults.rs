//! What goes wrong between a hub and Kafka, while records come.

use std::time::Duration;

use landfall_simulation::rng::Rng;
use landfall_tests::broker::{self, Broker};
use landfall_tests::kafka_proxy::{Commits, KafkaProxy};
use landfall_tests::process::{NodeDir, Running, pause, until};
use tokio::sync::watch;

use crate::fleet::{Fleet, append_numbered, assert_same, is_up, lines, synced};
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
    let ship = fleet.ship("ship-1").await.unwrap();
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
    let ship = fleet.ship("ship-1").await.unwrap();
    let wanted = lines("ship-1", 2_000);
    let mut runs = bring_while(Commits::Unanswered, &fleet, &proxy, &ship, &wanted).await;
    // librdkafka asks again until the transaction's time is up; then the hub begins anew.
    hub.until("the hub gives up", |status| (!is_up(&status)).then_some(())).await.unwrap();
    proxy.set_commits(Commits::Pass);
    runs.until("synced", synced).await.unwrap();
    assert_same(texts(&committed(&broker, "log")), &[&wanted]);
}

/// Appends numbered lines, one after the other, until it is told to stop. Each is repeated until it
/// is acknowledged.
async fn append_until(ship: NodeDir, stop: watch::Receiver<bool>) -> Vec<String> {
    let mut written = Vec::new();
    while !*stop.borrow() {
        let line = format!(r#"{{"k":{},"n":{}}}"#, written.len() % 7, written.len());
        if append_numbered(&ship.client(), "log", written.len(), &line).await {
            written.push(line);
        } else {
            pause(Duration::from_millis(20)).await;
        }
    }
    written
}

#[tokio::test]
async fn hub_broker_and_ship_are_killed_at_random_and_all_is_in_kafka_once() {
    let test = "hub_broker_and_ship_are_killed_at_random_and_all_is_in_kafka_once";
    if !broker::is_possible(test) {
        return;
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let kills = number("LANDFALL_KILLS").unwrap_or(15);
    let seed = number("LANDFALL_SEED").unwrap_or_else(|| landfall::entropy::number().unwrap());
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    let fleet = Fleet::new(Default::default()).await.unwrap();
    let mut broker = Broker::start(fleet.dir.path()).await.unwrap();
    fleet.hub.configure(&broker.settings_at(broker.address())).unwrap();
    let mut hub = fleet.hub.run_up().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    let mut runs = ship.run_up().await.unwrap();
    let (stop, told) = watch::channel(false);
    let appending = tokio::spawn(append_until(ship.clone(), told));
    let mut killed = [0; 3];
    for _ in 0..kills {
        pause(Duration::from_millis(100 + rng.u64() % 1_500)).await;
        let whom = [0, 0, 0, 0, 0, 1, 2, 2][(rng.u64() % 8) as usize];
        killed[whom] += 1;
        match whom {
            0 => {
                hub.kill().await.unwrap();
                hub = fleet.hub.run_up().await.unwrap();
            }
            1 => {
                broker.kill().await.unwrap();
                broker.restart().await.unwrap();
            }
            _ => {
                runs.kill().await.unwrap();
                runs = ship.run_up().await.unwrap();
            }
        }
    }
    stop.send_replace(true);
    let written = appending.await.unwrap();
    runs.until("synced", synced).await.unwrap();
    let [hubs, brokers, ships] = killed;
    let aborted = aborted(&broker, "log");
    println!(
        "killed: hub {hubs}, broker {brokers}, ship {ships}; {} records, {aborted} besides that \
         were aborted",
        written.len()
    );
    assert_same(texts(&committed(&broker, "log")), &[&written]);
}
