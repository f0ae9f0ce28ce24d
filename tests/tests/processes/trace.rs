//! `landfall trace`: a record is followed over the nodes that it passed.

use serde_json::Value;

use super::fleet::{Fleet, lines};

#[tokio::test]
async fn a_record_is_traced_over_the_hop_that_it_took() {
    let (fleet, _hub) = Fleet::running().await.unwrap();
    let ship = fleet.ship("ship").await.unwrap();
    let file = fleet.file("in", &lines("ship", 300)).unwrap();
    ship.done("append", &["log", &file]).await.unwrap();
    ship.done("run", &["--until-synced"]).await.unwrap();
    let other = fleet.file("other", &lines("hub", 300)).unwrap();
    fleet.hub.done("append", &["log", &other]).await.unwrap();
    let path = async |record: &str| {
        let out = fleet.hub.done("trace", &[record, "--json"]).await.unwrap();
        let told: Value = serde_json::from_str(&out).unwrap();
        let path = told["path"].as_array().unwrap().clone();
        path.iter().map(|hop| hop["site"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(path("ship/log/0@0").await, ["ship"]);
    assert_eq!(path("ship/log/0@299").await, ["ship"]);
    assert!(path("hub/log/0@7").await.is_empty(), "it was written here");
    let shown = fleet.hub.done("trace", &["ship/log/0@299"]).await.unwrap();
    assert!(shown.contains("came from") && shown.contains("\"n\":299"), "{shown}");
}
