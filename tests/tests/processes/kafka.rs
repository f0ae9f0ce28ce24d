//! A hub in front of a real Kafka: what ships write is there once, as it was written.

use landfall::kafka::birth;
use landfall::kafka::murmur::partition;
use landfall_tests::broker::{self, Broker};
use landfall_tests::census::{Isolation, Seen, assert_whole, census};
use landfall_tests::process::{NodeDir, until};

use crate::fleet::{Fleet, assert_same, lines, synced};

/// A hub that is not started, in front of a broker that is.
pub(crate) async fn fleet() -> (Fleet, Broker) {
    let fleet = Fleet::new(Default::default()).await.unwrap();
    let broker = Broker::start(fleet.dir.path()).await.unwrap();
    fleet.hub.configure(&broker.settings_at(broker.address())).unwrap();
    (fleet, broker)
}

/// What is committed of a topic, which must be whole and in order.
pub(crate) fn committed(broker: &Broker, topic: &str) -> Vec<Seen> {
    let seen = census(broker.address(), topic, Isolation::Committed).unwrap();
    assert_whole(&seen);
    seen
}

/// How many records of a topic are there that no reader of what is committed is shown.
pub(crate) fn aborted(broker: &Broker, topic: &str) -> usize {
    let count = |isolation| census(broker.address(), topic, isolation).unwrap().len();
    count(Isolation::Uncommitted) - count(Isolation::Committed)
}

/// Appends lines at a node.
pub(crate) async fn append(
    fleet: &Fleet,
    node: &NodeDir,
    topic: &str,
    lines: &[String],
    words: &[&str],
) {
    let file = fleet.file("in", lines).unwrap();
    node.done("append", &[&[topic, &file], words].concat()).await.unwrap();
}

/// The values of records.
pub(crate) fn texts(seen: &[Seen]) -> Vec<String> {
    seen.iter().map(Seen::text).collect()
}

#[tokio::test]
async fn what_ships_write_is_in_kafka_once_and_as_it_was_written() {
    let test = "what_ships_write_is_in_kafka_once_and_as_it_was_written";
    if !broker::is_possible(test) {
        return;
    }
    let (fleet, broker) = fleet().await;
    let hub = fleet.hub.run_up().await.unwrap();
    let whole = [
        r#"{"key":"a","value":1,"timestamp":1700000000123,"headers":[{"name":"h","value":"x"}]}"#,
        r#"{"key":"b","value":"plain","form":"text","timestamp":0}"#,
        r#"{"key":"a","form":"tombstone"}"#,
        r#"{"value":"","form":"text"}"#,
    ];
    for site in ["ship-1", "ship-2"] {
        let ship = fleet.ship(site).await.unwrap();
        append(&fleet, &ship, "whole", &whole.map(str::to_owned), &["--records"]).await;
        append(&fleet, &ship, "plain", &lines(site, 500), &["--producer", "p"]).await;
        ship.done("run", &["--until-synced"]).await.unwrap();
    }
    let mut runs = hub;
    runs.until("synced", synced).await.unwrap();
    let plain = committed(&broker, "plain");
    assert_same(texts(&plain), &[&lines("ship-1", 500), &lines("ship-2", 500)]);
    let whole = committed(&broker, "whole");
    assert_eq!(whole.len(), 8);
    for site in ["ship-1", "ship-2"] {
        let of_site = |seen: &&Seen| seen.birth().at.stream.origin == site;
        let mut records: Vec<_> = whole.iter().filter(of_site).collect();
        records.sort_by_key(|seen| seen.birth().at.offset);
        let [first, early, tombstone, empty] = records[..] else { panic!("{records:?}") };
        assert_eq!(first.timestamp, 1_700_000_000_123);
        assert_eq!(first.headers[0], ("h".into(), Some(b"x".to_vec())));
        assert_eq!((early.timestamp, early.header(birth::TIME)), (1, Some("0".into())));
        assert_eq!((tombstone.key.as_deref(), &tombstone.value), (Some(&b"a"[..]), &None));
        assert_eq!((&empty.key, empty.value.as_deref()), (&None, Some(&b""[..])));
        for record in records {
            let by = record.key.as_deref().unwrap_or(site.as_bytes());
            assert_eq!(record.partition as u32, partition(by, 6), "{record:?}");
            let path = record.header(birth::PATH).unwrap();
            let hops: Vec<_> = path.split(',').filter_map(|hop| hop.split('@').next()).collect();
            assert_eq!(hops, [site, "hub"]);
        }
    }
}

#[tokio::test]
async fn a_hub_that_lost_its_disk_goes_on_from_what_is_in_kafka() {
    let test = "a_hub_that_lost_its_disk_goes_on_from_what_is_in_kafka";
    if !broker::is_possible(test) {
        return;
    }
    let (fleet, broker) = fleet().await;
    let hub = fleet.hub.run_up().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    append(&fleet, &ship, "log", &lines("before", 300), &[]).await;
    ship.done("run", &["--until-synced"]).await.unwrap();
    hub.kill().await.unwrap();
    append(&fleet, &ship, "log", &lines("meanwhile", 300), &[]).await;
    // All but its key and its name: ships know it by these.
    let path = &fleet.hub.path;
    std::fs::remove_dir_all(path.join("segments")).unwrap();
    std::fs::remove_file(path.join("kafka.log")).unwrap();
    let hub = fleet.hub.run_up().await.unwrap();
    ship.done("run", &["--until-synced"]).await.unwrap();
    drop(hub);
    let wanted = [lines("before", 300), lines("meanwhile", 300)];
    assert_same(texts(&committed(&broker, "log")), &[&wanted[0], &wanted[1]]);
}

#[tokio::test]
async fn what_is_old_when_it_comes_is_kept_in_topics_that_the_hub_made() {
    let test = "what_is_old_when_it_comes_is_kept_in_topics_that_the_hub_made";
    if !broker::is_possible(test) {
        return;
    }
    let (fleet, broker) = fleet().await;
    broker.make_topic("theirs", 6, &[]).await.unwrap();
    let _hub = fleet.hub.run_up().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    let old = |n| format!(r#"{{"value":{n},"timestamp":1640995200000}}"#);
    let old: Vec<_> = (0..100).map(old).collect();
    append(&fleet, &ship, "ours", &old, &["--records"]).await;
    ship.done("run", &["--until-synced"]).await.unwrap();
    append(&fleet, &ship, "theirs", &old, &["--records"]).await;
    ship.done("run", &["--until-synced"]).await.unwrap();
    // Kafka deletes by the time that records bear.
    let left = || census(broker.address(), "theirs", Isolation::Committed).unwrap().len();
    until("retention has run", async || (left() == 0).then_some(())).await.unwrap();
    assert_eq!(committed(&broker, "ours").len(), 100);
}

#[tokio::test]
async fn what_many_openings_wrote_is_repeated_by_a_killed_hub_and_is_there_once() {
    let test = "what_many_openings_wrote_is_repeated_by_a_killed_hub_and_is_there_once";
    if !broker::is_possible(test) {
        return;
    }
    let (fleet, broker) = fleet().await;
    let hub = fleet.hub.run_up().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    let mut wanted = Vec::new();
    // Each of these commands opens the journal anew. A ladder has 32 rungs.
    for opening in 0..50 {
        let lines = lines(&format!("{opening}"), 3);
        append(&fleet, &ship, "log", &lines, &[]).await;
        wanted.extend(lines);
    }
    ship.done("run", &["--until-synced"]).await.unwrap();
    // What it was promised since its last checkpoint, it has forgotten.
    hub.kill().await.unwrap();
    let mut hub = fleet.hub.run_up().await.unwrap();
    hub.until("synced", synced).await.unwrap();
    append(&fleet, &ship, "log", &lines("last", 3), &[]).await;
    ship.done("run", &["--until-synced"]).await.unwrap();
    assert_same(texts(&committed(&broker, "log")), &[&wanted, &lines("last", 3)]);
}
