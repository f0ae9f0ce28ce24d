//! Who is not let in, and what they are told.

use landfall::api::{LinkState, LinkStatus};
use landfall_tests::process::NodeDir;

use crate::fleet::Fleet;

/// Runs a ship until its link says a word.
async fn refused(ship: &NodeDir, word: &str) -> LinkStatus {
    let mut runs = ship.run_up().await.unwrap();
    let told = runs.until(word, |status| status.link.filter(|link| link.why.contains(word)));
    told.await.unwrap()
}

#[tokio::test]
async fn a_token_that_was_used_enrols_nobody_else() {
    let (fleet, _hub) = Fleet::running().await.unwrap();
    let token = fleet.token("ship-*", &[]).await.unwrap();
    let mut ships = Vec::new();
    for site in ["ship-1", "ship-2"] {
        let ship = fleet.node(site);
        ship.done("init", &["--site", site, "--join", &token]).await.unwrap();
        ships.push(ship);
    }
    let done = ships[0].call("run", &["--until-synced"]).await.unwrap();
    assert_eq!(done.code, Some(0), "{done:?}");
    let link = refused(&ships[1], "used up").await;
    assert_eq!(link.state, LinkState::Refused);
}

#[tokio::test]
async fn an_expired_token_enrols_nobody() {
    let (fleet, _hub) = Fleet::running().await.unwrap();
    let token = fleet.token("ship-1", &["--valid-for", "1s"]).await.unwrap();
    let ship = fleet.ship_with("ship-1", &token).await.unwrap();
    landfall_tests::process::pause(std::time::Duration::from_millis(2_100)).await;
    refused(&ship, "expired").await;
}

#[tokio::test]
async fn a_hub_with_another_key_is_not_trusted() {
    let (fleet, _hub) = Fleet::running().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    let other = fleet.node("other");
    let made = other.done("init", &["--site", "other"]).await.unwrap();
    let key = made.lines().find_map(|line| line.strip_prefix("Key: ")).unwrap();
    let path = ship.path.join("landfall.toml");
    let settings = std::fs::read_to_string(&path).unwrap();
    let keys = settings.lines().map(|line| match line.starts_with("keys") {
        true => format!("keys = [\"{key}\"]"),
        false => line.to_owned(),
    });
    std::fs::write(&path, keys.collect::<Vec<_>>().join("\n")).unwrap();
    std::fs::remove_file(ship.path.join("join.token")).unwrap();
    refused(&ship, "key").await;
}

#[tokio::test]
async fn a_token_that_is_none_is_refused_before_anything_is_made() {
    let (fleet, _hub) = Fleet::running().await.unwrap();
    let ship = fleet.node("ship-1");
    let outcome = ship.call("init", &["--site", "ship-1", "--join", "no-token"]).await.unwrap();
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    assert!(outcome.err.contains("ask the hub's operator"), "{outcome:?}");
    assert!(!ship.path.exists());
}
