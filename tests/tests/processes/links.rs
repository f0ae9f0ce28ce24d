//! What a link may do, and what the status says of it.

use landfall::api::LinkState;
use landfall::clock;
use landfall::transport::relay::Shape;

use crate::fleet::{Fleet, lines, synced, values};

#[tokio::test]
async fn where_udp_is_blocked_a_ship_catches_up_over_tls_on_tcp() {
    let fleet = Fleet::new(Shape { udp: false, ..Shape::default() }).await.unwrap();
    let hub = fleet.hub.run_up().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    let file = fleet.file("in", &lines("a", 2_000)).unwrap();
    ship.done("append", &["log", &file]).await.unwrap();
    let mut runs = ship.run_up().await.unwrap();
    let status = runs.until("synced", synced).await.unwrap();
    assert_eq!(status.link.unwrap().carrier.as_deref(), Some("tls"));
    assert_eq!(values(&fleet.hub, "log").await.unwrap(), lines("a", 2_000));
    drop(hub);
}

#[tokio::test]
async fn revoking_a_site_cuts_its_connection_within_five_seconds() {
    let (fleet, mut hub) = Fleet::running().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    let mut runs = ship.run_up().await.unwrap();
    runs.until("synced", synced).await.unwrap();
    let revoked = clock::monotonic();
    fleet.hub.done("sites", &["revoke", "ship-1"]).await.unwrap();
    let cut = runs.until("cut", |status| {
        let link = status.link?;
        let up = matches!(link.state, LinkState::Synced | LinkState::CatchingUp);
        (!up).then_some(())
    });
    cut.await.unwrap();
    assert!(clock::monotonic().ms_since(revoked) < 5_000);
    let told =
        runs.until("it is told why", |status| status.link?.why.contains("revoked").then_some(()));
    told.await.unwrap();
    let site = hub.until("the site is revoked", |status| status.sites.into_iter().next()).await;
    assert_eq!(site.unwrap().state, "revoked");
}

#[tokio::test]
async fn a_ship_tries_for_as_long_as_the_hub_is_away_and_then_catches_up() {
    let (fleet, hub) = Fleet::running().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    hub.kill().await.unwrap();
    let file = fleet.file("in", &lines("a", 10)).unwrap();
    let mut runs = ship.run_up().await.unwrap();
    ship.done("append", &["log", &file]).await.unwrap();
    let tries = runs.until("it tries again", |status| {
        let link = status.link?;
        (link.attempts >= 2 && !link.why.is_empty()).then_some(link)
    });
    let link = tries.await.unwrap();
    assert!(matches!(link.state, LinkState::Connecting | LinkState::Waiting), "{link:?}");
    let hub = fleet.hub.run_up().await.unwrap();
    runs.until("synced", synced).await.unwrap();
    assert_eq!(values(&fleet.hub, "log").await.unwrap(), lines("a", 10));
    drop(hub);
}
