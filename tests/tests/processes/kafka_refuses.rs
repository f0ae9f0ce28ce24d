//! Records that Kafka refuses for what they are: dead letters, gaps, and everything else goes on.

use landfall::api::Status;
use landfall::kafka::birth;
use landfall_tests::broker::{self, Broker};
use landfall_tests::census::{Isolation, Seen, census};

use crate::fleet::{alarms, assert_same, lines, synced};
use crate::kafka::{append, fleet, texts};

/// What is committed of a topic, which may have gaps.
fn committed(broker: &Broker, topic: &str) -> Vec<Seen> {
    census(broker.address(), topic, Isolation::Committed).unwrap()
}

/// The offsets of dead letters, each with its value.
fn letters(seen: &[Seen]) -> Vec<(u64, String)> {
    let mut letters: Vec<_> =
        seen.iter().map(|letter| (letter.birth().at.offset, letter.text())).collect();
    letters.sort();
    letters
}

/// A line whose value does not fit a topic of 64 KiB, whatever packs it.
pub(crate) fn large() -> String {
    let mut rng = landfall_simulation::rng::Rng::new(7);
    let text: String = (0..9_000).map(|_| format!("{:016x}", rng.u64())).collect();
    format!(r#"{{"large":"{text}"}}"#)
}

fn has_gap(status: Status) -> Option<()> {
    let about = |alarm: &landfall::api::Alarm| {
        alarm.what == "gap" && alarm.place == "ship-1/small/0" && alarm.hint.contains("100 to 101")
    };
    status.alarms.iter().any(about).then_some(())
}

#[tokio::test]
async fn a_record_that_is_too_large_becomes_a_dead_letter_and_the_ship_is_told() {
    let test = "a_record_that_is_too_large_becomes_a_dead_letter_and_the_ship_is_told";
    if !broker::is_possible(test) {
        return;
    }
    let (fleet, broker) = fleet().await;
    broker.make_topic("small", 6, &[("max.message.bytes", "65536")]).await.unwrap();
    let mut hub = fleet.hub.run_up().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    append(&fleet, &ship, "small", &lines("before", 100), &[]).await;
    append(&fleet, &ship, "small", &[large()], &[]).await;
    append(&fleet, &ship, "small", &lines("after", 100), &[]).await;
    let mut runs = ship.run_up().await.unwrap();
    runs.until("synced", synced).await.unwrap();
    hub.until("the hub says so", has_gap).await.unwrap();
    let told = runs.until("the ship is told", |status| has_gap(status.clone()).map(|()| status));
    assert!(alarms(&told.await.unwrap()).contains(&"gap"));
    let wanted = [lines("before", 100), lines("after", 100)];
    assert_same(texts(&committed(&broker, "small")), &[&wanted[0], &wanted[1]]);
    let dead = committed(&broker, "_landfall_dead_letters");
    assert_eq!(letters(&dead), [(100, String::new())]);
    assert_eq!(dead[0].header(birth::TOPIC).as_deref(), Some("small"));
    assert!(dead[0].header(birth::SIZE).unwrap().parse::<usize>().unwrap() > 65_536);
    assert!(dead[0].header(birth::REFUSED).unwrap().contains("too large"), "{dead:?}");
    // A hub that begins anew has not forgotten it, nor does it write it again.
    hub.kill().await.unwrap();
    let mut hub = fleet.hub.run_up().await.unwrap();
    hub.until("the hub says so", has_gap).await.unwrap();
    append(&fleet, &ship, "small", &lines("last", 10), &[]).await;
    runs.until("synced", synced).await.unwrap();
    assert_eq!(committed(&broker, "_landfall_dead_letters").len(), 1);
}

#[tokio::test]
async fn a_group_with_a_refused_record_is_refused_whole() {
    let test = "a_group_with_a_refused_record_is_refused_whole";
    if !broker::is_possible(test) {
        return;
    }
    let (fleet, broker) = fleet().await;
    broker.make_topic("small", 6, &[("max.message.bytes", "65536")]).await.unwrap();
    let _hub = fleet.hub.run_up().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    append(&fleet, &ship, "small", &lines("before", 100), &[]).await;
    append(&fleet, &ship, "other", &lines("other", 100), &[]).await;
    let mut runs = ship.run_up().await.unwrap();
    runs.until("synced", synced).await.unwrap();
    let group = format!(
        r#"{{"records":[{{"topic":"small","value":{}}},{{"topic":"other","value":"mine"}}]}}"#,
        large()
    );
    ship.client().group(group.into_bytes(), None).await.unwrap();
    append(&fleet, &ship, "other", &lines("after", 100), &[]).await;
    runs.until("synced", synced).await.unwrap();
    assert_same(texts(&committed(&broker, "small")), &[&lines("before", 100)]);
    let wanted = [lines("other", 100), lines("after", 100)];
    assert_same(texts(&committed(&broker, "other")), &[&wanted[0], &wanted[1]]);
    let dead = committed(&broker, "_landfall_dead_letters");
    assert_eq!(letters(&dead), [(100, String::new()), (100, r#""mine""#.into())]);
}
