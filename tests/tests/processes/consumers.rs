//! Consumers on the command line, with a node that runs and with one that does not.

use landfall_tests::process::{NodeDir, Program};
use serde_json::Value;

/// A node with five orders.
async fn node(place: &std::path::Path) -> NodeDir {
    let node = NodeDir::new(&Program::find().unwrap(), place.join("ship"));
    node.done("init", &["--site", "ship"]).await.unwrap();
    let path = place.join("lines");
    let lines: String = (0..5).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    std::fs::write(&path, lines).unwrap();
    node.done("append", &["orders", &path.to_string_lossy()]).await.unwrap();
    node
}

async fn behind(node: &NodeDir) -> Value {
    let shown = node.done("consumer", &["show", "billing", "--json"]).await.unwrap();
    serde_json::from_str::<Value>(&shown).unwrap()["behind_records"].clone()
}

#[tokio::test]
async fn a_consumer_is_made_sought_and_dropped_whether_or_not_the_node_runs() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path()).await;
    node.done("consumer", &["create", "billing", "orders"]).await.unwrap();
    assert_eq!(behind(&node).await, 5);
    let runs = node.run_up().await.unwrap();
    node.done("consumer", &["seek", "billing", "@3"]).await.unwrap();
    assert_eq!(behind(&node).await, 2);
    let listed = node.done("consumer", &["list"]).await.unwrap();
    assert!(listed.lines().nth(1).unwrap().starts_with("billing   orders       2"), "{listed}");
    let status = node.done("status", &[]).await.unwrap();
    assert!(status.contains("billing   orders"), "{status}");
    runs.kill().await.unwrap();
    assert_eq!(behind(&node).await, 2, "it was durable when it was said");
    node.done("consumer", &["seek", "billing", "earliest"]).await.unwrap();
    assert_eq!(behind(&node).await, 5);
    node.done("consumer", &["drop", "billing"]).await.unwrap();
    let listed = node.done("consumer", &["list"]).await.unwrap();
    assert!(listed.starts_with("there is no consumer"), "{listed}");
    let refused = node.call("consumer", &["show", "billing"]).await.unwrap();
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.err.contains("there is no consumer `billing`"), "{refused:?}");
    let wrong = node.call("consumer", &["seek", "billing"]).await.unwrap();
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}
