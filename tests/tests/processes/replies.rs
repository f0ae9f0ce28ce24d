//! What programs replied to commands, as tests look at it.

use std::collections::BTreeMap;

use landfall_tests::process::NodeDir;
use serde_json::Value;

/// The records of a topic at a node.
pub(crate) async fn read(node: &NodeDir, topic: &str) -> Vec<Value> {
    let lines = node.done("read", &[topic]).await.unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A header of a record, if it is text.
pub(crate) fn header<'v>(record: &'v Value, name: &str) -> Option<&'v str> {
    let headers = record["headers"].as_array().unwrap();
    headers.iter().find(|header| header["name"] == name)?["value"].as_str()
}

/// Each command has one reply, and the replies of each key are in order. Commands are numbers, of
/// five keys by turns.
pub(crate) fn check(replies: &[Value], count: u64) {
    let mut by_key: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for reply in replies {
        let key = reply["key"].as_str().unwrap();
        by_key.entry(key).or_default().push(reply["value"].as_u64().unwrap());
    }
    for (at, (key, values)) in (0..).zip(by_key) {
        let all: Vec<_> = (0..count).filter(|n| n % 5 == at).collect();
        assert_eq!(values, all, "the replies of {key}");
    }
    assert_eq!(replies.len() as u64, count);
}
