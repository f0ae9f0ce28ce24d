//! Which Kafka topics and partitions the records of edge topics go to: all hubs of a group agree.

use landfall_tests::broker;
use landfall_tests::census::{Isolation, census};
use landfall_tests::process::NodeDir;

use crate::fleet::{Fleet, assert_same, lines, synced};
use crate::kafka::{append, committed, fleet, texts};
use crate::kafka_lacks::says;

/// The settings of the hub, and what else its file may say of topics.
struct File<'a> {
    hub: &'a NodeDir,
    settings: String,
}

impl<'a> File<'a> {
    fn of(fleet: &'a Fleet) -> Self {
        let path = fleet.hub.path.join("landfall.toml");
        Self { hub: &fleet.hub, settings: std::fs::read_to_string(path).unwrap() }
    }

    fn says(&self, more: &str) {
        let path = self.hub.path.join("landfall.toml");
        std::fs::write(path, format!("{}{more}\n", self.settings)).unwrap();
    }
}

#[tokio::test]
async fn a_group_maps_topics_in_one_way_until_it_is_told_otherwise() {
    let test = "a_group_maps_topics_in_one_way_until_it_is_told_otherwise";
    if !broker::is_possible(test) {
        return;
    }
    let (fleet, broker) = fleet().await;
    let file = File::of(&fleet);
    let ship = fleet.ship("ship-1").await.unwrap();
    let brings = async |name: &str| {
        append(&fleet, &ship, "ais", &lines(name, 50), &["--producer", name]).await;
    };

    file.says(r#"rename = ["ais=positions:4"]"#);
    let hub = fleet.hub.run_up().await.unwrap();
    brings("first").await;
    ship.done("run", &["--until-synced"]).await.unwrap();
    hub.kill().await.unwrap();

    file.says("");
    let hub = fleet.hub.run_up().await.unwrap();
    brings("second").await;
    ship.done("run", &["--until-synced"]).await.unwrap();
    hub.kill().await.unwrap();
    let positions = committed(&broker, "positions");
    assert_same(texts(&positions), &[&lines("first", 50), &lines("second", 50)]);
    assert!(positions.iter().all(|seen| seen.partition == 4), "{positions:?}");

    file.says(r#"rename = ["ais=tracks"]"#);
    let mut hub = fleet.hub.run_up().await.unwrap();
    brings("third").await;
    let mut runs = ship.run_up().await.unwrap();
    says(&mut hub, "`landfall kafka mapping --set`").await;
    hub.kill().await.unwrap();
    let told = fleet.hub.done("kafka", &["mapping"]).await.unwrap();
    assert!(told.contains("group  {topic} ais=positions:4\nfile   {topic} ais=tracks\n"), "{told}");
    let told = fleet.hub.done("kafka", &["mapping", "--set"]).await.unwrap();
    assert_eq!(told, "group  {topic} ais=tracks\nfile   {topic} ais=tracks\n");
    let mut hub = fleet.hub.run_up().await.unwrap();
    runs.until("synced", synced).await.unwrap();
    hub.until("synced", synced).await.unwrap();
    // They begin in the middle of their stream, so the topic is not whole by itself.
    let tracks = census(broker.address(), "tracks", Isolation::Committed).unwrap();
    assert_same(texts(&tracks), &[&lines("third", 50)]);
    assert_eq!(committed(&broker, "positions").len(), 100);
}

#[tokio::test]
async fn records_for_a_partition_that_is_not_there_wait_and_the_hub_says_so() {
    let test = "records_for_a_partition_that_is_not_there_wait_and_the_hub_says_so";
    if !broker::is_possible(test) {
        return;
    }
    let (fleet, broker) = fleet().await;
    File::of(&fleet).says(r#"rename = ["ais=positions:4"]"#);
    broker.make_topic("positions", 2, &[]).await.unwrap();
    let mut hub = fleet.hub.run_up().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    append(&fleet, &ship, "ais", &lines("ais", 50), &[]).await;
    append(&fleet, &ship, "log", &lines("log", 50), &[]).await;
    let _runs = ship.run_up().await.unwrap();
    let told = hub.until("the hub says what is missing", |status| {
        let alarm = status.alarms.into_iter().find(|alarm| alarm.place == "ship-1/ais/0")?;
        alarm.hint.contains("it has 2 partitions").then_some(())
    });
    told.await.unwrap();
    hub.until("the other topic is there", |_| {
        (committed(&broker, "log").len() == 50).then_some(())
    })
    .await
    .unwrap();
    assert!(committed(&broker, "positions").is_empty());
}
