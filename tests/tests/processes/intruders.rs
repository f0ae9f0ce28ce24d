//! Who is not let in, who takes what is not for it, and who comes twice: counted and named, beside
//! a ship that goes on.

use landfall_core::gap::GapReason;
use landfall_core::name::StreamId;
use landfall_core::num::{Epoch, Offset, Partition};
use landfall_protocol::message::{Begin, GoodbyeCode, LaneMessage, StreamPoint};
use landfall_tests::process::until;
use landfall_tests::rogue::{Forged, Heard, Peer, Raw, lane};

use crate::fleet::is_up;
use crate::rogue::Scene;

/// Says that a stream begins at an offset.
pub(crate) fn begin(origin: &str, topic: &str, next: u64) -> Vec<u8> {
    let stream = StreamId { origin, topic, partition: Partition::new(0) };
    let point = StreamPoint { stream, epoch: Epoch::new(1), next: Offset::new(next), hash: None };
    lane(&LaneMessage::Begin(Begin { point, durable_at: None, reason: GapReason::Dropped }))
}

#[tokio::test]
async fn who_has_no_token_and_who_was_revoked_is_named_and_not_let_in() {
    let mut scene = Scene::new("").await;
    let mut stranger = scene.rogue.clone();
    (stranger.seed, stranger.site, stranger.enrols) = (3, "rogue-3".into(), false);
    let told = Peer::enter(&stranger).await.err();
    assert!(matches!(told, Some(Heard::Goodbye(GoodbyeCode::NotEnrolled, _))), "{told:?}");
    scene.assert_named("not_enrolled", 0).await;
    let mut peer = Peer::enter(&scene.rogue).await.unwrap();
    scene.fleet.hub.done("sites", &["revoke", "rogue-1"]).await.unwrap();
    let told = peer.ended().await;
    assert!(matches!(told, Heard::Goodbye(GoodbyeCode::Revoked, _)), "{told:?}");
    let told = Peer::enter(&scene.rogue).await.err();
    assert!(matches!(told, Some(Heard::Goodbye(GoodbyeCode::Revoked, _))), "{told:?}");
    scene.assert_named("revoked", 0).await;
    scene.assert_whole().await;
}

#[tokio::test]
async fn who_takes_all_connections_or_breaks_their_rules_is_named() {
    let mut scene = Scene::new("[hub]\nconnections_max = 3\n").await;
    scene.ship.until("it is connected", |status| is_up(&status).then_some(())).await.unwrap();
    // A dial may take a second place for a moment, over TCP.
    let peer = async || Peer::connect(&scene.rogue).await.ok();
    let held = [until("a place", peer).await.unwrap(), until("the last", peer).await.unwrap()];
    assert!(Peer::connect(&scene.rogue).await.is_err(), "there are three already");
    scene.assert_named("connections_full", 0).await;
    drop(held);
    let connected = until("a place is free", async || Raw::connect(&scene.rogue).await.ok()).await;
    let mut raw = connected.unwrap();
    raw.send(9, b"on a channel that does not exist").await.unwrap();
    raw.ended().await.unwrap();
    scene.assert_named("misbehaved", 0).await;
    scene.assert_whole().await;
}

#[tokio::test]
async fn who_does_not_read_what_it_is_told_is_cut_off() {
    let mut scene = Scene::new("").await;
    let mut raw = Raw::connect(&scene.rogue).await.unwrap();
    raw.send(0, &scene.rogue.hello()).await.unwrap();
    let asked = begin("rogue-1", "begun", 5).repeat(1_000);
    // Each is answered; the last that are sent find the connection closed.
    for _ in 0..1_000 {
        if raw.send(1, &asked).await.is_err() || scene.count("not_listening").await > 0 {
            break;
        }
    }
    scene.assert_named("not_listening", 0).await;
    drop(raw);
    scene.assert_whole().await;
}

#[tokio::test]
async fn a_topic_that_does_not_exist_is_named_and_the_session_goes_on() {
    let mut scene = Scene::new(
        "create_topics = false\n[[topic]]\nname = \"log\"\n[[topic]]\nname = \"other\"\n",
    )
    .await;
    let mut peer = Peer::enter(&scene.rogue).await.unwrap();
    peer.send(1, &Forged::new("rogue-1", "made-up", 1).entry(0, &["x"])).await;
    let refused = |heard: &Heard| matches!(heard, Heard::Refused(_));
    assert!(refused(&peer.until(refused).await));
    peer.send(1, &Forged::new("rogue-1", "other", 1).entry(1, &["x"])).await;
    let taken = |heard: &Heard| matches!(heard, Heard::Durable(_, 1));
    assert!(taken(&peer.until(taken).await));
    drop(peer);
    scene.assert_named("unknown_topic", 0).await;
    scene.assert_whole().await;
}

#[tokio::test]
async fn a_stale_session_of_a_site_makes_way_for_its_newer_one() {
    let scene = Scene::new("").await;
    let mut own = Forged::new("rogue-1", "stale", 1);
    let mut stale = Peer::enter(&scene.rogue).await.unwrap();
    stale.send(1, &own.entry(0, &["first"])).await;
    let taken = |next| move |heard: &Heard| matches!(heard, Heard::Durable(_, to) if *to == next);
    assert!(taken(1)(&stale.until(taken(1)).await));
    let mut newer = Peer::enter(&scene.rogue).await.unwrap();
    // It does not answer whether it is alive.
    let told = stale.ended().await;
    assert!(matches!(told, Heard::Goodbye(GoodbyeCode::Superseded, _)), "{told:?}");
    newer.send(1, &own.entry(1, &["second"])).await;
    assert!(taken(2)(&newer.until(taken(2)).await));
    let log = std::fs::read_to_string(scene.fleet.hub.log()).unwrap();
    assert!(log.contains("a newer session of the site replaces this one"), "{log}");
    drop((stale, newer));
    scene.assert_whole().await;
}
