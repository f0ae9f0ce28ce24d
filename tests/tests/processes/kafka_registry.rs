//! Hubs of a group share what they know of sites and tokens.

use landfall::api::{LinkState, Status};
use landfall_tests::broker::{self, Broker};
use landfall_tests::process::{NodeDir, Running};

use crate::fleet::{Fleet, assert_same, is_up, lines, synced};
use crate::kafka::{append, committed, fleet, texts};

/// Two hubs before one broker, and both run.
async fn two_hubs() -> (Broker, [(Fleet, Running); 2]) {
    let (first, broker) = fleet().await;
    let second = Fleet::named("hub-2").await.unwrap();
    second.hub.configure(&broker.settings_at(broker.address())).unwrap();
    let mut hubs = Vec::new();
    for fleet in [first, second] {
        let runs = fleet.hub.run_up().await.unwrap();
        hubs.push((fleet, runs));
    }
    (broker, hubs.try_into().unwrap_or_else(|_| unreachable!("there are two")))
}

/// Makes a node with a token, in a folder of one fleet, that knows the hub of another alone.
async fn joins(fleet: &Fleet, name: &str, site: &str, token: &str, hub: &Fleet) -> NodeDir {
    let ship = fleet.node(name);
    ship.done("init", &["--join", token, "--site", site]).await.unwrap();
    let path = ship.path.join(landfall::config::FILE_NAME);
    let made = std::fs::read_to_string(&path).unwrap();
    let given = made.lines().find(|line| line.starts_with("addresses")).unwrap();
    let address = format!("addresses = [\"{}\"]\nbackoff_max = \"1s\"", hub.relay.address());
    std::fs::write(&path, made.replace(given, &address)).unwrap();
    ship
}

/// A token of a hub that names two hubs, as it does when it has heard of the other.
async fn token_of_both(fleet: &Fleet, other: &Fleet, site: &str) -> String {
    let other = other.relay.address().to_string();
    landfall_tests::process::until("the hubs know each other", async || {
        let token = fleet.token(site, &[]).await.ok()?;
        let parsed: landfall::identity::Token = token.parse().unwrap();
        (parsed.addresses.contains(&other) && parsed.hub_keys.len() == 2).then_some(token)
    })
    .await
    .unwrap()
}

fn up(status: Status) -> Option<Status> {
    is_up(&status).then_some(status)
}

#[tokio::test]
async fn a_site_that_enrols_at_one_hub_is_let_in_and_shut_out_by_all() {
    let test = "a_site_that_enrols_at_one_hub_is_let_in_and_shut_out_by_all";
    if !broker::is_possible(test) {
        return;
    }
    let (broker, [(first, _one), (second, _two)]) = two_hubs().await;
    let token = token_of_both(&first, &second, "ship-1").await;
    let ship = joins(&first, "ship", "ship-1", &token, &second).await;
    append(&first, &ship, "log", &lines("ship-1", 100), &[]).await;
    ship.done("run", &["--until-synced"]).await.unwrap();
    let path = ship.path.join(landfall::config::FILE_NAME);
    let made = std::fs::read_to_string(&path).unwrap();
    let (there, here) = (second.relay.address().to_string(), first.relay.address().to_string());
    std::fs::write(&path, made.replace(&there, &here)).unwrap();
    let mut runs = ship.run_up().await.unwrap();
    runs.until("it is let in by the other hub, without a token", up).await.unwrap();
    let told = second.hub.done("sites", &["revoke", "ship-1"]).await.unwrap();
    assert!(told.contains("ship-1 is revoked"), "{told}");
    let shut_out = |status: Status| {
        let link = status.link?;
        (link.state == LinkState::Refused && link.why.contains("was revoked")).then_some(())
    };
    runs.until("it is shut out by the other hub, too", shut_out).await.unwrap();
    assert_same(texts(&committed(&broker, "log")), &[&lines("ship-1", 100)]);
}

#[tokio::test]
async fn a_token_for_one_site_lets_one_in_whichever_hubs_are_asked_at_once() {
    let test = "a_token_for_one_site_lets_one_in_whichever_hubs_are_asked_at_once";
    if !broker::is_possible(test) {
        return;
    }
    let (_broker, [(first, _one), (second, _two)]) = two_hubs().await;
    for round in 0..5 {
        let token = token_of_both(&first, &second, &format!("ship-{round}*")).await;
        let mut runs = Vec::new();
        for (hub, of) in [(&first, "a"), (&second, "b")] {
            let (folder, site) = (format!("{round}{of}"), format!("ship-{round}{of}"));
            let ship = joins(&first, &folder, &site, &token, hub).await;
            runs.push(ship.run(&[]).unwrap());
        }
        let mut outcomes = Vec::new();
        for running in &mut runs {
            running.up().await.unwrap();
            let settled = |status: Status| {
                let link = status.link.as_ref()?;
                let refused = link.why.contains("was used up before");
                (refused || is_up(&status)).then_some(refused)
            };
            outcomes.push(running.until("let in or refused", settled).await.unwrap());
        }
        outcomes.sort_unstable();
        assert_eq!(outcomes, [false, true], "one is let in, and one is not");
    }
}

#[tokio::test]
async fn a_hub_that_lost_its_disk_knows_its_sites_and_one_that_kept_it_needs_no_kafka_for_it() {
    let test =
        "a_hub_that_lost_its_disk_knows_its_sites_and_one_that_kept_it_needs_no_kafka_for_it";
    if !broker::is_possible(test) {
        return;
    }
    let (fleet, mut broker) = fleet().await;
    // What was recorded before the hub ever ran is told to the others, too.
    let ship = fleet.ship("ship-1").await.unwrap();
    let hub = fleet.hub.run_up().await.unwrap();
    append(&fleet, &ship, "log", &lines("before", 100), &[]).await;
    ship.done("run", &["--until-synced"]).await.unwrap();
    hub.kill().await.unwrap();
    std::fs::remove_dir_all(fleet.hub.path.join("segments")).unwrap();
    let hub = fleet.hub.run_up().await.unwrap();
    append(&fleet, &ship, "log", &lines("after", 100), &[]).await;
    ship.done("run", &["--until-synced"]).await.unwrap();
    let refused = fleet.hub.call("sites", &["revoke", "ship-2"]).await.unwrap();
    assert!(refused.err.contains("ship-2 is not registered"), "{}", refused.err);
    broker.kill().await.unwrap();
    let refused = fleet.hub.call("token", &["ship-2"]).await.unwrap();
    assert!(refused.err.contains("the registry in Kafka was not written"), "{}", refused.err);
    hub.kill().await.unwrap();
    let _hub = fleet.hub.run_up().await.unwrap();
    let mut runs = ship.run_up().await.unwrap();
    runs.until("it is let in while Kafka is away", up).await.unwrap();
    broker.restart().await.unwrap();
    runs.until("synced", synced).await.unwrap();
    landfall_tests::process::until("tokens are made again", async || {
        fleet.token("ship-2", &[]).await.ok()
    })
    .await
    .unwrap();
    assert_same(texts(&committed(&broker, "log")), &[&lines("before", 100), &lines("after", 100)]);
}

#[tokio::test]
async fn a_hub_that_does_not_run_changes_nothing_that_others_may_have_changed() {
    let test = "a_hub_that_does_not_run_changes_nothing_that_others_may_have_changed";
    if !broker::is_possible(test) {
        return;
    }
    let (fleet, _broker) = fleet().await;
    let ship = fleet.ship("ship-1").await.unwrap();
    let hub = fleet.hub.run_up().await.unwrap();
    ship.done("run", &["--until-synced"]).await.unwrap();
    hub.terminate().await.unwrap();
    let refused = fleet.hub.call("sites", &["revoke", "ship-1"]).await.unwrap();
    assert!(refused.err.contains("can't tell the others now"), "{}", refused.err);
    assert!(refused.err.contains("landfall run"), "{}", refused.err);
    let _hub = fleet.hub.run_up().await.unwrap();
    fleet.hub.done("sites", &["revoke", "ship-1"]).await.unwrap();
}
