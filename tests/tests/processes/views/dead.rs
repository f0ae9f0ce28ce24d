//! `landfall dead`: what was set aside is shown, appended again as it was, once, or dropped.

use landfall_core::limits::RECORD_BYTES_MAX;

use super::*;
use crate::fleet::{Fleet, lines};

/// Refuses whatever comes.
const REFUSES: &str = r#"
ddl = "CREATE TABLE latest(n INTEGER NOT NULL)"
[on.ais]
put = "INSERT INTO latest VALUES(NULL)"
delete = "INSERT INTO latest VALUES(NULL)"
"#;

/// Records of each form, with all that a record may have.
const RECORDS: [&str; 4] = [
    r#"{"key":"a","value":{"n": 1.00000000000000000001},"headers":[{"name":"unit","value":"kn"}]}"#,
    r#"{"key":"b","form":"tombstone","timestamp":"2022-01-03T00:00:00Z"}"#,
    r#"{"value":"$GPGGA","form":"text"}"#,
    r#"{"key":{"base64":"/wE="},"value":{"base64":"/wE="},"form":"bytes"}"#,
];

async fn append(alone: &Alone, records: &[&str]) {
    let path = alone.node.path.with_extension("in");
    std::fs::write(&path, records.join("\n") + "\n").unwrap();
    alone.node.done("append", &["ais", &path.to_string_lossy(), "--records"]).await.unwrap();
}

/// The names of the letters that are not settled, when they are so many.
async fn letters(alone: &Alone, count: usize) -> Vec<String> {
    let all = async || {
        let list = alone.node.done("dead", &["list", "ais", "--json"]).await.unwrap();
        let letters = list.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let names = letters.map(|letter| letter["key"].as_str().unwrap().to_owned());
        Some(names.collect::<Vec<_>>()).filter(|names| names.len() == count)
    };
    until(&format!("{count} dead letters"), all).await.unwrap()
}

/// What records of the topic hold, without where they are.
async fn contents(alone: &Alone) -> Vec<String> {
    let read = alone.node.done("read", &["ais"]).await.unwrap();
    let content = |line: &str| line.split_once("\"timestamp\":").unwrap().1.to_owned();
    read.lines().map(content).collect()
}

#[tokio::test]
async fn letters_are_appended_again_as_they_were_or_dropped() {
    let alone = Alone::with(REFUSES).await.unwrap();
    let _runs = alone.node.run_up().await.unwrap();
    append(&alone, &RECORDS).await;
    let first = letters(&alone, 4).await;
    let written = contents(&alone).await;
    alone.node.done("dead", &["retry", "--all", "ais"]).await.unwrap();
    let again = contents(&alone).await;
    assert_eq!((&again[..4], &again[4..]), (&written[..], &written[..]));
    // They are refused again, as other records.
    let names = letters(&alone, 4).await;
    assert!(names.iter().all(|name| !first.contains(name)), "{names:?} after {first:?}");
    let settled = alone.node.call("dead", &["retry", &first[0]]).await.unwrap();
    assert!(settled.code == Some(3) && settled.err.contains("or it is settled"), "{settled:?}");

    let shown = alone.node.done("dead", &["show", &names[2]]).await.unwrap();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (shown["key"].as_str(), shown["value"].as_str()),
        (Some(&*names[2]), Some("$GPGGA"))
    );
    alone.node.done("dead", &["drop", &names[2], &names[0]]).await.unwrap();
    assert_eq!(letters(&alone, 2).await, [names[1].clone(), names[3].clone()]);
    alone.node.done("dead", &["drop", "--all", "ais"]).await.unwrap();
    assert!(letters(&alone, 0).await.is_empty());
    assert_eq!(contents(&alone).await.len(), 8, "what is dropped is not appended");
}

#[tokio::test]
async fn a_letter_that_two_settle_at_the_same_time_is_settled_once() {
    const LETTERS: usize = 10;
    let alone = Alone::with(REFUSES).await.unwrap();
    let _runs = alone.node.run_up().await.unwrap();
    append(&alone, &[RECORDS[0]; LETTERS]).await;
    for name in letters(&alone, LETTERS).await {
        let retry = ["retry", &name];
        let two = tokio::join!(alone.node.call("dead", &retry), alone.node.call("dead", &retry));
        let codes = [two.0.unwrap().code, two.1.unwrap().code];
        assert!(codes == [Some(0), Some(3)] || codes == [Some(3), Some(0)], "{codes:?}");
    }
    assert_eq!(contents(&alone).await.len(), 2 * LETTERS);
}

/// Names and writers of the letters at a node, when they are so many.
async fn written(node: &NodeDir, topic: &str, count: usize) -> Vec<(String, String)> {
    let all = async || {
        let list = node.done("dead", &["list", topic, "--json"]).await.unwrap();
        let letters = list.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let text = |letter: &Value, name: &str| letter[name].as_str().unwrap().to_owned();
        let names = letters.map(|letter| (text(&letter, "key"), text(&letter, "origin")));
        Some(names.collect::<Vec<_>>()).filter(|names| names.len() == count)
    };
    until(&format!("{count} dead letters"), all).await.unwrap()
}

#[tokio::test]
async fn each_site_deals_with_the_letters_that_it_wrote_also_where_they_have_the_same_name() {
    let (fleet, hub) = Fleet::running().await.unwrap();
    assert!(hub.terminate().await.unwrap().success());
    let ship = fleet.ship("ship").await.unwrap();
    for node in [&fleet.hub, &ship] {
        std::fs::create_dir(node.path.join("views")).unwrap();
        std::fs::write(node.path.join("views/latest.toml"), REFUSES).unwrap();
    }
    let _hub = fleet.hub.run_up().await.unwrap();
    let _ship = ship.run_up().await.unwrap();
    let file = fleet.file("in", &lines("ship", 2)).unwrap();
    ship.done("append", &["ais", &file]).await.unwrap();
    let both = written(&fleet.hub, "ais", 4).await;
    let at = |site: &'static str| both.iter().filter(move |(_, writer)| writer == site);
    let names: Vec<_> = at("ship").map(|(name, _)| name.as_str()).collect();
    let same = at("hub").map(|(name, _)| name.as_str());
    assert_eq!(names, same.collect::<Vec<_>>(), "each site refuses each record");
    let shown = fleet.hub.done("dead", &["show", names[0]]).await.unwrap();
    assert_eq!(shown.lines().count(), 2, "{shown}");
    // What the ship has dealt with, the hub still has to.
    ship.done("dead", &["drop", names[0]]).await.unwrap();
    let left = written(&fleet.hub, "ais", 3).await;
    assert!(left.contains(&(names[0].to_owned(), "hub".to_owned())), "{left:?}");
    let dropped = fleet.hub.done("dead", &["drop", "--all", "ais"]).await.unwrap();
    let told = "1 of the letters were written at ship; deal with them there";
    assert!(dropped.lines().count() == 3 && dropped.contains(told), "{dropped}");
    let list = fleet.hub.done("dead", &["list", "ais"]).await.unwrap();
    assert!(list.contains(names[1]) && list.contains(" ship "), "{list}");
    for verb in ["retry", "drop"] {
        let refused = fleet.hub.call("dead", &[verb, names[1]]).await.unwrap();
        let told = "was written at ship; deal with it there";
        assert!(refused.code == Some(3) && refused.err.contains(told), "{refused:?}");
    }
    ship.done("dead", &["drop", names[1]]).await.unwrap();
    written(&fleet.hub, "ais", 0).await;
}

#[tokio::test]
async fn of_letters_that_are_named_none_is_settled_if_one_is_not_there() {
    let alone = Alone::with(REFUSES).await.unwrap();
    let _runs = alone.node.run_up().await.unwrap();
    append(&alone, &RECORDS[..2]).await;
    let names = letters(&alone, 2).await;
    let words = ["drop", &names[0], &names[1].replace("@1", "@7")];
    let refused = alone.node.call("dead", &words).await.unwrap();
    assert!(refused.code == Some(3) && refused.err.contains("there is no letter"), "{refused:?}");
    assert_eq!(letters(&alone, 2).await, names);
}

/// A record that leaves no room for what a letter says besides.
fn large() -> String {
    format!("{{\"value\":\"{}\"}}", "x".repeat(RECORD_BYTES_MAX - 100))
}

#[tokio::test]
async fn a_record_that_its_letter_has_no_room_for_is_appended_again_from_the_log() {
    let alone = Alone::with(REFUSES).await.unwrap();
    let _runs = alone.node.run_up().await.unwrap();
    append(&alone, &[&large()]).await;
    let name = letters(&alone, 1).await.remove(0);
    let shown = alone.node.done("dead", &["show", &name]).await.unwrap();
    assert!(shown.contains("left_out") && shown.len() < 1_000, "{shown:.1000}");
    alone.node.done("dead", &["retry", &name]).await.unwrap();
    let contents = contents(&alone).await;
    assert!(contents.len() == 2 && contents[0] == contents[1], "it is as it was");
    assert_ne!(letters(&alone, 1).await, [name], "it is refused again, as another record");
}

#[tokio::test]
async fn a_letter_whose_record_the_log_has_forgotten_can_only_be_dropped() {
    let alone = Alone::with(REFUSES).await.unwrap();
    // The letters outlast what they are about.
    let kept = "[[topic]]\nname = \"ais.dead\"\nlane = \"kept\"\n\
        [[lane]]\nname = \"kept\"\npriority = 1\nbudget_bytes = \"64MiB\"\n";
    alone.node.configure(&format!("{}{kept}", holding::SMALL)).unwrap();
    let _runs = alone.node.run_up().await.unwrap();
    append(&alone, &[&large()]).await;
    let name = letters(&alone, 1).await.remove(0);
    holding::flood(&alone, "other").await;
    let refused = alone.node.call("dead", &["retry", &name]).await.unwrap();
    let told = "has no room for its record, and the log has forgotten ship/ais/0@0";
    assert!(refused.code == Some(3) && refused.err.contains(told), "{refused:?}");
    let refused = alone.node.call("dead", &["retry", "--all", "ais"]).await.unwrap();
    assert!(refused.code == Some(3) && refused.err.contains(told), "{refused:?}");
    alone.node.done("dead", &["drop", &name]).await.unwrap();
    assert!(letters(&alone, 0).await.is_empty());
}
