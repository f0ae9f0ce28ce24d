//! What the document says of consumers.

use serde_json::json;

use super::{Asked, Way};

/// Where consumers are.
const ALL: &str = "/v1/consumers";

pub(super) async fn all(asked: &mut Asked, way: &Way) {
    let made = |consumer: &str, topic: &str, from: &str| {
        json!({"consumer": consumer, "topics": [topic], "from": from}).to_string()
    };
    let make = format!("POST {ALL}");
    asked.ask(way, &make, &made("c", "ais", "earliest"), 200).await;
    asked.ask(way, &make, &made("c", "urgent", "earliest"), 409).await;
    asked.ask(way, &make, &made("-", "ais", "earliest"), 400).await;
    asked.ask(way, &make, &made("d", "ais", "8-1-1-1"), 410).await;
    asked.ask(way, &make, &" ".repeat(70_000), 413).await;
    let told = asked.ask(way, &format!("GET {ALL}"), "", 200).await;
    assert!(told.body.contains("\"consumer\":\"c\",\"topics\":[\"ais\"]"), "{told:?}");
    asked.ask(way, &format!("GET {ALL}/d"), "", 404).await;
    asked.ask(way, &format!("GET {ALL}/-"), "", 400).await;

    let commit = |cursor: &str| json!({"cursor": cursor}).to_string();
    let seek = |to: &str| json!({"to": to}).to_string();
    let (commits, seeks) = (format!("POST {ALL}/c/commit"), format!("POST {ALL}/c/seek"));
    asked.ask(way, &seeks, &seek("latest"), 200).await;
    let told = asked.ask(way, &format!("GET {ALL}/c"), "", 200).await;
    let told: serde_json::Value = serde_json::from_str(&told.body).unwrap();
    assert_eq!(told["behind_records"], 0, "{told}");
    let cursor = told["cursor"].as_str().unwrap();
    asked.ask(way, &commits, &commit(cursor), 200).await;
    let before = cursor.rsplit_once('-').unwrap().0.to_owned() + "-0";
    asked.ask(way, &commits, &commit(&before), 409).await;
    for (line, body) in [(&commits, commit("8-1-1-1")), (&seeks, seek("8-1-1-1"))] {
        asked.ask(way, line, &body, 410).await;
        asked.ask(way, line, "{}", 400).await;
        asked.ask(way, line, &" ".repeat(70_000), 413).await;
        asked.ask(way, &line.replace("/c/", "/d/"), &body.replace("8-1-1-1", cursor), 404).await;
    }
    let group = |consumer: &str, cursor: &str| {
        let commit = json!({"consumer": consumer, "cursor": cursor});
        json!({"records": [{"topic": "ais", "value": 1}], "commits": [commit]}).to_string()
    };
    asked.ask(way, "POST /v1/groups", &group("c", "8-1-1-1"), 410).await;
    asked.ask(way, "POST /v1/groups", &group("d", cursor), 404).await;
    asked.ask(way, &format!("DELETE {ALL}/c"), "", 200).await;
    asked.ask(way, &format!("DELETE {ALL}/c"), "", 404).await;
    asked.ask(way, &format!("DELETE {ALL}/-"), "", 400).await;
}
