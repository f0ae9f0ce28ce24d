//! `landfall kafka rebuild`: a frontier topic that was lost, from what the records in Kafka tell.

use landfall_tests::broker;
use landfall_tests::census::{Isolation, Seen, census};
use landfall_tests::process::NodeDir;
use serde_json::{Value, json};

use crate::copies::copy_folder;
use crate::fleet::{Fleet, alarms, assert_same, lines, synced};
use crate::kafka::{append, committed, fleet, texts};
use crate::kafka_refuses::large;

const FRONTIER: &str = "_landfall_frontiers";

/// A ship that brings lines of a topic, all of them durable at the root.
async fn brings(fleet: &Fleet, ship: &NodeDir, topic: &str, lines: &[String]) {
    append(fleet, ship, topic, lines, &[]).await;
    ship.done("run", &["--until-synced"]).await.unwrap();
}

/// What was rebuilt at a hub that does not run.
async fn rebuilt(fleet: &Fleet, words: &[&str]) -> Value {
    let words = [&["rebuild", "--json"], words].concat();
    let told = fleet.hub.done("kafka", &words).await.unwrap();
    serde_json::from_str(&told).unwrap()
}

/// How far the branches of a stream were rebuilt, and how many records were found and are missing.
fn of(rebuilt: &Value, stream: &str) -> (Vec<u64>, u64, u64) {
    let streams = rebuilt["streams"].as_array().unwrap();
    let told = streams.iter().find(|told| told["stream"] == stream);
    let told = told.unwrap_or_else(|| panic!("no {stream}: {rebuilt}"));
    let next = told["next"].as_array().unwrap().iter().map(|branch| branch[0].as_u64().unwrap());
    assert_eq!(told["twice"], 0, "{told}");
    let mut next: Vec<_> = next.collect();
    // Which of two branches was first, nobody knows.
    next.sort_unstable();
    (next, told["records"].as_u64().unwrap(), told["missing"].as_u64().unwrap())
}

#[tokio::test]
async fn a_lost_frontier_is_rebuilt_from_the_records_and_all_goes_on_once() {
    let test = "a_lost_frontier_is_rebuilt_from_the_records_and_all_goes_on_once";
    if !broker::is_possible(test) {
        return;
    }
    let (fleet, broker) = fleet().await;
    broker.make_topic("small", 6, &[("max.message.bytes", "65536")]).await.unwrap();
    let hub = fleet.hub.run_up().await.unwrap();
    let (plain, forked) =
        (fleet.ship("ship-1").await.unwrap(), fleet.ship("ship-2").await.unwrap());
    let mut wanted = Vec::new();
    for opening in 0..40 {
        let lines = lines(&format!("{opening}"), 3);
        append(&fleet, &plain, "log", &lines, &[]).await;
        wanted.extend(lines);
    }
    brings(&fleet, &plain, "small", &[lines("small", 5), vec![large()]].concat()).await;
    // A ship whose disk is put back after it had brought more.
    brings(&fleet, &forked, "log", &lines("both", 50)).await;
    let image = fleet.dir.path().join("image");
    copy_folder(&forked.path, &image);
    brings(&fleet, &forked, "log", &lines("first", 30)).await;
    std::fs::remove_dir_all(&forked.path).unwrap();
    copy_folder(&image, &forked.path);
    brings(&fleet, &forked, "log", &lines("second", 20)).await;
    hub.kill().await.unwrap();
    broker.delete_topic(FRONTIER).await.unwrap();

    let told = rebuilt(&fleet, &[]).await;
    assert_eq!(of(&told, "ship-1/log/0"), (vec![120], 120, 0));
    assert_eq!(of(&told, "ship-1/small/0"), (vec![6], 6, 0));
    assert_eq!(of(&told, "ship-2/log/0"), (vec![70, 80], 100, 0));
    let again = fleet.hub.call("kafka", &["rebuild"]).await.unwrap();
    assert_eq!(again.code, Some(3), "{again:?}");
    assert!(again.err.contains("it is not lost"), "{again:?}");

    let mut hub = fleet.hub.run_up().await.unwrap();
    brings(&fleet, &plain, "log", &lines("after", 10)).await;
    brings(&fleet, &forked, "log", &lines("after", 10)).await;
    let status = hub.until("synced", synced).await.unwrap();
    assert!(alarms(&status).contains(&"gap"), "the refused record is forgotten: {status:?}");
    let mut seen = census(broker.address(), "log", Isolation::Committed).unwrap();
    seen.sort_by_key(|seen| seen.birth().at.stream);
    let of_plain = |seen: &&Seen| seen.birth().at.stream.origin == "ship-1";
    let (ours, others): (Vec<_>, Vec<_>) = seen.iter().partition(of_plain);
    let texts = |seen: &[&Seen]| seen.iter().map(|seen| seen.text()).collect();
    assert_same(texts(&ours), &[&wanted, &lines("after", 10)]);
    let parts = [lines("both", 50), lines("first", 30), lines("second", 20), lines("after", 10)];
    assert_same(texts(&others), &parts.each_ref().map(Vec::as_slice));
    let dead = census(broker.address(), "_landfall_dead_letters", Isolation::Committed).unwrap();
    assert_eq!(dead.len(), 1);
}

#[tokio::test]
async fn what_no_record_tells_is_said_and_comes_again_from_the_ships() {
    let test = "what_no_record_tells_is_said_and_comes_again_from_the_ships";
    if !broker::is_possible(test) {
        return;
    }
    let (fleet, broker) = fleet().await;
    let hub = fleet.hub.run_up().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    brings(&fleet, &ship, "kept", &lines("kept", 50)).await;
    brings(&fleet, &ship, "gone", &lines("gone", 40)).await;
    brings(&fleet, &ship, "cut", &lines("cut", 60)).await;
    hub.kill().await.unwrap();
    for topic in [FRONTIER, "gone"] {
        broker.delete_topic(topic).await.unwrap();
    }
    broker.delete_records("cut", 6, 5).await.unwrap();
    let left = || census(broker.address(), "cut", Isolation::Committed).unwrap().len() as u64;
    let kept = left();
    assert!((1..60).contains(&kept), "{kept} are left of 60");

    // Neither does it take what somebody wrote there for ours.
    broker.write("kept", "not ours").unwrap();
    let told = rebuilt(&fleet, &["kept", "cut"]).await;
    assert_eq!(told["foreign"], json!(1));
    assert_eq!(of(&told, "ship-1/kept/0"), (vec![50], 50, 0));
    assert_eq!(of(&told, "ship-1/cut/0"), (vec![60], kept, 60 - kept));
    assert!(!told.to_string().contains("gone"), "{told}");

    let _hub = fleet.hub.run_up().await.unwrap();
    brings(&fleet, &ship, "kept", &lines("last", 10)).await;
    let ours = census(broker.address(), "kept", Isolation::Committed).unwrap();
    let ours: Vec<_> = ours.into_iter().filter(|seen| !seen.headers.is_empty()).collect();
    assert_same(texts(&ours), &[&lines("kept", 50), &lines("last", 10)]);
    assert_same(texts(&committed(&broker, "gone")), &[&lines("gone", 40)]);
    assert_eq!(left(), kept, "what had expired came again");
}
