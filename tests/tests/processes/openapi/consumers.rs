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
    members(asked, way).await;
    let group = |consumer: &str, cursor: &str| {
        let commit = json!({"consumer": consumer, "cursor": cursor});
        json!({"records": [{"topic": "ais", "value": 1}], "commits": [commit]}).to_string()
    };
    asked.ask(way, "POST /v1/groups", &group("c", "8-1-1-1"), 410).await;
    asked.ask(way, "POST /v1/groups", &group("d", cursor), 404).await;
    letters(asked, way).await;
    asked.ask(way, &format!("DELETE {ALL}/c"), "", 200).await;
    asked.ask(way, &format!("DELETE {ALL}/c"), "", 404).await;
    asked.ask(way, &format!("DELETE {ALL}/-"), "", 400).await;
}

async fn members(asked: &mut Asked, way: &Way) {
    let fetches = format!("POST {ALL}/c/fetch");
    let fetch = |member: &str| {
        json!({"member": member, "max": 2, "wait_max_ms": 1, "lease_ms": 60_000, "anew": true})
            .to_string()
    };
    let seek = json!({"to": "earliest"}).to_string();
    asked.ask(way, &format!("POST {ALL}/c/seek"), &seek, 200).await;
    let given = asked.ask(way, &fetches, &fetch("m"), 200).await;
    let last: serde_json::Value = serde_json::from_str(given.body.lines().last().unwrap()).unwrap();
    assert_eq!((&last["end"]["records"], &last["end"]["slots"]), (&2.into(), &64.into()));
    let cursor = &last["end"]["cursor"];
    let commits = format!("POST {ALL}/c/commit");
    asked.ask(way, &commits, &json!({"cursor": cursor}).to_string(), 409).await;
    let commit = json!({"cursor": cursor, "member": "m"}).to_string();
    asked.ask(way, &commits, &commit, 200).await;
    asked.ask(way, &fetches, "{}", 400).await;
    asked.ask(way, &fetches, &" ".repeat(70_000), 413).await;
    asked.ask(way, &format!("POST {ALL}/d/fetch"), &fetch("m"), 404).await;
    for member in 1..64 {
        asked.ask(way, &fetches, &fetch(&format!("m{member}")), 200).await;
    }
    let shared = asked.ask(way, &format!("GET {ALL}/c"), "", 200).await;
    assert!(shared.body.contains("{\"member\":\"m63\",\"slots\":"), "{shared:?}");
    asked.ask(way, &fetches, &fetch("m64"), 409).await;
    let leaves = format!("POST {ALL}/c/leave");
    asked.ask(way, &leaves, &json!({"member": "m"}).to_string(), 200).await;
    asked.ask(way, &leaves, "{}", 400).await;
    asked.ask(way, &leaves, &" ".repeat(70_000), 413).await;
    let seek = json!({"to": cursor}).to_string();
    asked.ask(way, &format!("POST {ALL}/c/seek"), &seek, 200).await;
}

async fn letters(asked: &mut Asked, way: &Way) {
    let read = asked.ask(way, "GET /v1/topics/ais/records?max=1", "", 200).await;
    let record: serde_json::Value =
        serde_json::from_str(read.body.lines().next().unwrap()).unwrap();
    let dead = json!([{"consumer": "c", "error": "who is that?", "record": record}]);
    asked.ask(way, "POST /v1/groups", &json!({ "dead": dead }).to_string(), 200).await;
    let read = asked.ask(way, "GET /v1/topics/ais.dead/records", "", 200).await;
    assert!(read.body.contains("\"key\":\"c:hub/ais/0@0~"), "{read:?}");
}
