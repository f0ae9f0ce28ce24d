//! `landfall dead`: what was set aside is shown, appended again as it was, once, or dropped.

use super::*;

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
