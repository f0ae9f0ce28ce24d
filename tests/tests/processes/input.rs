//! What people and programs give a node that it can't take: what they are told, and that nothing
//! else is lost.

use std::fs;

use landfall_tests::process::Outcome;

use crate::fleet::{Fleet, alarms, lines, synced, values};

/// Whether a command was refused with all of these words.
fn assert_refused(outcome: &Outcome, words: &[&str]) {
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    for word in words {
        assert!(outcome.err.contains(word), "`{word}` is missing: {outcome:?}");
    }
}

#[tokio::test]
async fn a_line_that_is_no_record_is_named_and_can_be_skipped() {
    let fleet = Fleet::new(Default::default()).await.unwrap();
    let hub = &fleet.hub;
    let long = format!(r#"{{"long":"{}"}}"#, "x".repeat(300_000));
    for (topic, bad, why) in [("a", "{not json", "not JSON"), ("b", &long, "245760 bytes")] {
        let given = [r#"{"n":1}"#, r#"{"n":2}"#, bad, r#"{"n":3}"#].map(str::to_owned);
        let file = fleet.file(topic, &given).unwrap();
        let refused = hub.call("append", &[topic, &file]).await.unwrap();
        assert_refused(&refused, &[&file, "line 3", why, "nothing from this line on"]);
        assert_eq!(values(hub, topic).await.unwrap(), given[..2]);
        let again = format!("{topic}2");
        let skipped = hub.call("append", &[&again, &file, "--skip-bad"]).await.unwrap();
        assert_eq!(skipped.code, Some(0), "{skipped:?}");
        assert!(skipped.err.contains("1 line skipped"), "{skipped:?}");
        assert!(skipped.err.contains("line 3"), "{skipped:?}");
        let wanted = [&given[..2], &given[3..]].concat();
        assert_eq!(values(hub, &again).await.unwrap(), wanted);
    }
}

#[tokio::test]
async fn a_topic_that_nobody_named_is_refused_when_creation_is_off_and_what_is_there_goes_up() {
    let (fleet, hub) = Fleet::running().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    let file = fleet.file("in", &lines("a", 5)).unwrap();
    ship.done("append", &["before", &file]).await.unwrap();
    let path = ship.path.join("landfall.toml");
    let settings = fs::read_to_string(&path).unwrap();
    let named = "[[topic]]\nname = \"named\"\n";
    fs::write(&path, format!("create_topics = false\n{settings}{named}")).unwrap();
    let refused = ship.call("append", &["other", &file]).await.unwrap();
    assert_refused(&refused, &["other", "unknown", "[[topic]]"]);
    ship.done("append", &["named", &file]).await.unwrap();
    let done = ship.call("run", &["--until-synced"]).await.unwrap();
    assert_eq!(done.code, Some(0), "{done:?}");
    for topic in ["before", "named"] {
        assert_eq!(values(&fleet.hub, topic).await.unwrap(), lines("a", 5), "{topic}");
    }
    drop(hub);
}

#[tokio::test]
async fn a_topic_that_a_site_may_not_write_stops_and_the_others_go_on() {
    let (fleet, mut hub) = Fleet::running().await.unwrap();
    let token = fleet.token("ship-1", &["--write", "log"]).await.unwrap();
    let ship = fleet.ship_with("ship-1", &token).await.unwrap();
    let file = fleet.file("in", &lines("a", 5)).unwrap();
    let internal = ship.call("append", &["_sites", &file]).await.unwrap();
    assert_refused(&internal, &["_sites", "belongs to the node", "another name"]);
    for topic in ["secret", "log"] {
        ship.done("append", &[topic, &file]).await.unwrap();
    }
    let mut runs = ship.run_up().await.unwrap();
    let told = runs.until("the ship is told", |status| {
        let alarm = status.alarms.iter().find(|alarm| alarm.place.contains("secret"))?;
        Some(alarm.hint.clone())
    });
    let told = told.await.unwrap();
    assert!(told.contains("may not write") && told.contains("operator of hub"), "{told}");
    let there =
        hub.until("the rest is there", |status| (status.streams.records == 5).then_some(()));
    there.await.unwrap();
    assert_eq!(values(&fleet.hub, "log").await.unwrap(), lines("a", 5));
    assert_eq!(values(&ship, "secret").await.unwrap(), lines("a", 5));
}

#[tokio::test]
async fn a_full_lane_refuses_until_the_link_has_made_room() {
    let (fleet, hub) = Fleet::running().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    let lane = "[[lane]]\nname = \"normal\"\npriority = 0\nbudget_bytes = \"1MiB\"\n";
    ship.configure(&format!("[storage]\nsegment_bytes = \"512KiB\"\n{lane}")).unwrap();
    let many: Vec<_> =
        (0..400).map(|n| format!(r#"{{"n":{n},"x":"{}"}}"#, "x".repeat(8_000))).collect();
    let file = fleet.file("in", &many).unwrap();
    let words = ["log", &file, "--producer", "import"];
    let refused = ship.call("append", &words).await.unwrap();
    assert_refused(&refused, &["log", "lane is full", "line ", "budget_bytes"]);
    let mut runs = ship.run_up().await.unwrap();
    runs.until("synced", synced).await.unwrap();
    // The same again: what was refused is written, what was not is not written twice.
    let mut tries = 0;
    while ship.call("append", &words).await.unwrap().code != Some(0) {
        tries += 1;
        assert!(tries < 20, "the lane stays full");
        runs.until("synced", synced).await.unwrap();
    }
    let status = runs.until("synced", synced).await.unwrap();
    assert_eq!(alarms(&status), [""; 0]);
    assert_eq!(values(&fleet.hub, "log").await.unwrap(), many);
    drop(hub);
}

#[tokio::test]
async fn a_token_for_two_sites_enrols_two_and_not_a_third() {
    let (fleet, hub) = Fleet::running().await.unwrap();
    let token = fleet.token("ship-*", &["--uses", "2"]).await.unwrap();
    for (site, enrolled) in [("ship-1", true), ("ship-2", true), ("ship-3", false)] {
        let ship = fleet.node(site);
        ship.done("init", &["--site", site, "--join", &token]).await.unwrap();
        let mut runs = ship.run_up().await.unwrap();
        let told = runs.until("it is told", |status| match synced(status.clone()) {
            Some(_) => Some(true),
            None => status.link?.why.contains("used up").then_some(false),
        });
        assert_eq!(told.await.unwrap(), enrolled, "{site}");
    }
    drop(hub);
}

#[tokio::test]
async fn where_there_is_no_node_the_command_says_how_to_make_one() {
    let fleet = Fleet::new(Default::default()).await.unwrap();
    for command in [&["status"][..], &["append", "log"], &["verify"], &["run"]] {
        let nowhere = fleet.node("nowhere");
        let refused = nowhere.call(command[0], &command[1..]).await.unwrap();
        assert_refused(&refused, &["no node in", "landfall init"]);
        assert!(!nowhere.path.exists());
    }
}
