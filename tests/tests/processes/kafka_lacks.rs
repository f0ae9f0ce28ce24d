//! What Kafka lacks: the whole of it, a topic, or the topic by which a hub goes on.

use landfall::api::{Alarm, LinkState, Status};
use landfall_tests::broker;
use landfall_tests::process::{NodeDir, Running, until};

use crate::fleet::{Fleet, alarms, assert_same, is_up, lines, synced};
use crate::kafka::{append, committed, fleet, texts};

/// Waits until a node says why it does not get on, in words that contain these.
pub(crate) async fn says(runs: &mut Running, words: &str) {
    let told = |status: Status| {
        let link = status.link?;
        (link.state == LinkState::Waiting && link.why.contains(words)).then_some(())
    };
    runs.until(words, told).await.unwrap();
}

/// Whether so many records wait at a node.
fn keeps(status: &Status, records: u64) -> Option<()> {
    let behind: u64 = status.lanes.iter().map(|lane| lane.behind_records).sum();
    (behind >= records).then_some(())
}

/// A ship that brings lines of a topic, all of them durable at the root.
async fn brings(fleet: &Fleet, ship: &NodeDir, topic: &str, lines: &[String]) {
    append(fleet, ship, topic, lines, &[]).await;
    ship.done("run", &["--until-synced"]).await.unwrap();
}

#[tokio::test]
async fn while_kafka_is_away_hub_and_ship_keep_all_and_say_so_and_go_on_by_themselves() {
    let test = "while_kafka_is_away_hub_and_ship_keep_all_and_say_so_and_go_on_by_themselves";
    if !broker::is_possible(test) {
        return;
    }
    let (fleet, mut broker) = fleet().await;
    let mut hub = fleet.hub.run_up().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    brings(&fleet, &ship, "log", &lines("before", 300)).await;
    broker.kill().await.unwrap();
    append(&fleet, &ship, "log", &lines("meanwhile", 300), &[]).await;
    let mut runs = ship.run_up().await.unwrap();
    says(&mut hub, "Kafka").await;
    hub.until("the hub takes records in", |status| keeps(&status, 300)).await.unwrap();
    let status = runs.until("the ship is up", |status| is_up(&status).then_some(status)).await;
    assert!(synced(status.unwrap()).is_none(), "the ship was promised what is not in Kafka");
    broker.restart().await.unwrap();
    runs.until("synced", synced).await.unwrap();
    let status = hub.until("the hub is synced", synced).await.unwrap();
    assert!(!alarms(&status).contains(&"peer"), "hub and bridge differ: {:?}", status.alarms);
    let wanted = [lines("before", 300), lines("meanwhile", 300)];
    assert_same(texts(&committed(&broker, "log")), &[&wanted[0], &wanted[1]]);
}

#[tokio::test]
async fn records_of_a_topic_that_is_not_made_wait_and_all_others_go_on() {
    let test = "records_of_a_topic_that_is_not_made_wait_and_all_others_go_on";
    if !broker::is_possible(test) {
        return;
    }
    let (fleet, broker) = fleet().await;
    fleet.hub.configure("create_topics = false\nshards = 4\n").unwrap();
    let compacted = [("cleanup.policy", "compact")];
    broker.make_topic("_landfall_frontiers", 4, &compacted).await.unwrap();
    broker.make_topic("_landfall_registry", 1, &compacted).await.unwrap();
    broker.make_topic("log", 6, &[]).await.unwrap();
    let mut hub = fleet.hub.run_up().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    append(&fleet, &ship, "missing", &lines("missing", 100), &[]).await;
    append(&fleet, &ship, "log", &lines("log", 100), &[]).await;
    let mut runs = ship.run_up().await.unwrap();
    let stalled = |status: Status| {
        let is_it = |alarm: &Alarm| {
            alarm.place == "ship-1/missing/0"
                && alarm.hint.contains("`kafka.create_topics` is false")
        };
        status.alarms.iter().any(is_it).then_some(())
    };
    hub.until("the hub says what is missing", stalled).await.unwrap();
    until("the other topic is there", async || {
        (committed(&broker, "log").len() == 100).then_some(())
    })
    .await
    .unwrap();
    broker.make_topic("missing", 6, &[]).await.unwrap();
    runs.until("synced", synced).await.unwrap();
    assert_same(texts(&committed(&broker, "missing")), &[&lines("missing", 100)]);
}

#[tokio::test]
async fn a_hub_whose_frontier_topic_is_gone_refuses_to_guess_and_says_what_to_do() {
    let test = "a_hub_whose_frontier_topic_is_gone_refuses_to_guess_and_says_what_to_do";
    if !broker::is_possible(test) {
        return;
    }
    let (fleet, broker) = fleet().await;
    let hub = fleet.hub.run_up().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    brings(&fleet, &ship, "log", &lines("before", 100)).await;
    hub.kill().await.unwrap();
    broker.delete_topic("_landfall_frontiers").await.unwrap();
    append(&fleet, &ship, "log", &lines("after", 100), &[]).await;
    let mut hub = fleet.hub.run_up().await.unwrap();
    let mut runs = ship.run_up().await.unwrap();
    says(&mut hub, "does not say which log it is").await;
    let status = runs.until("the ship is up", |status| is_up(&status).then_some(status)).await;
    assert!(synced(status.unwrap()).is_none(), "the ship was promised what is not in Kafka");
    assert_same(texts(&committed(&broker, "log")), &[&lines("before", 100)]);
}
