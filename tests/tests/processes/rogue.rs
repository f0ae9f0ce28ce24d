//! A peer that breaks the protocol, beside a ship that does not: each attack is counted and named,
//! nothing false is stored, the ship keeps its pace, and the hub's memory its bounds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use landfall_core::gap::GapReason;
use landfall_core::hash::StreamHash;
use landfall_core::name::StreamId;
use landfall_core::num::{CommitNo, Epoch, LogId, Offset, Partition};
use landfall_protocol::message::{
    Control, Diverged, DivergedKind, Durable, Gap, LaneMessage, List, Promise, Purpose, Scope,
    StreamPoint, Subscribe,
};
use landfall_tests::process::{NodeDir, Running, pause, until};
use landfall_tests::rogue::{Forged, Heard, Identity, Peer, control, entry, frame, lane, packed};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::fleet::{Fleet, rss, synced, values};
use crate::intruders::begin;

/// What the hub may take in all, in a build without optimization, whatever the rogue does.
const RSS_MAX: u64 = 160 << 20;
/// Within what time what the ship appended is at the hub, also under attack.
const LAG_MAX: Duration = Duration::from_secs(5);

/// A hub, a ship that appends all the time, and somebody who has a token.
pub(crate) struct Scene {
    pub(crate) fleet: Fleet,
    hub: Running,
    pub(crate) ship: Running,
    pub(crate) rogue: Identity,
    appended: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
    appender: tokio::task::JoinHandle<()>,
}

impl Scene {
    pub(crate) async fn new(settings: &str) -> Self {
        let fleet = Fleet::new(Default::default()).await.unwrap();
        fleet.hub.configure(settings).unwrap();
        let hub = fleet.hub.run_up().await.unwrap();
        let dir = fleet.ship("ship-1").await.unwrap();
        let ship = dir.run_up().await.unwrap();
        let token = fleet.token("rogue-1", &["--uses", "10"]).await.unwrap();
        let rogue = Identity::new("rogue-1", 1, &token).unwrap();
        let (appended, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let appender = tokio::spawn(append_on(dir, appended.clone(), done.clone()));
        Self { fleet, hub, ship, rogue, appended, done, appender }
    }

    /// How often an offence was counted.
    pub(crate) async fn count(&self, offence: &str) -> u64 {
        let status = self.hub.status().await.expect("the hub answers");
        status.offences.get(offence).copied().unwrap_or_default()
    }

    /// Waits until an offence was counted again, and looks for its name in the log, at what the
    /// ship does, and at the hub's memory.
    pub(crate) async fn assert_named(&mut self, offence: &str, before: u64) {
        let what = format!("{offence} is counted");
        let more = async || (self.count(offence).await > before).then_some(());
        until(&what, more).await.unwrap();
        let log = std::fs::read_to_string(self.fleet.hub.log()).unwrap();
        assert!(log.lines().any(|line| line.contains(offence)), "{offence} is not in the log");
        self.assert_calm(offence).await;
    }

    async fn assert_calm(&mut self, during: &str) {
        let appended = self.appended.load(Ordering::Relaxed);
        let caught_up = self.ship.until("the ship has caught up", |status| {
            let lane = status.lanes.iter().find(|lane| lane.name == "normal")?;
            (lane.root_seq >= appended).then_some(())
        });
        let caught_up = tokio::time::timeout(LAG_MAX, caught_up).await;
        caught_up.unwrap_or_else(|_| panic!("{during} holds up the ship")).unwrap();
        let rss = rss(&self.hub);
        assert!(rss < RSS_MAX, "{during}: the hub takes {} MiB", rss >> 20);
    }

    /// Ends the ship in good order, and compares what the hub has with what was appended.
    pub(crate) async fn assert_whole(mut self) {
        self.done.store(true, Ordering::Relaxed);
        self.appender.await.unwrap();
        self.ship.until("synced", synced).await.unwrap();
        let appended = self.appended.load(Ordering::Relaxed);
        let found = values(&self.fleet.hub, "log").await.unwrap();
        let wanted: Vec<_> = (0..appended).map(|n| format!("{{\"n\":{n}}}")).collect();
        assert_eq!(found, wanted, "what the ship brought");
        assert!(self.hub.terminate().await.unwrap().success());
        let verified = self.fleet.hub.call("verify", &[]).await.unwrap();
        assert_eq!(verified.code, Some(0), "{verified:?}");
    }
}

/// Appends records one by one.
async fn append_on(dir: NodeDir, appended: Arc<AtomicU64>, done: Arc<AtomicBool>) {
    let client = dir.client();
    while !done.load(Ordering::Relaxed) {
        let n = appended.load(Ordering::Relaxed);
        let line = Full::new(Bytes::from(format!("{{\"n\":{n}}}\n")));
        let mut lines = client.append("log", "", line).await.unwrap();
        while lines.next().await.unwrap().is_some() {}
        appended.store(n + 1, Ordering::Relaxed);
        pause(Duration::from_millis(10)).await;
    }
}

/// What a rogue that was let in does for an offence.
async fn attack(offence: &str, peer: &mut Peer) {
    let epoch = Epoch::new(1);
    let mut own = Forged::new("rogue-1", &format!("t-{offence}"), 1);
    match offence {
        "frame_too_long" => peer.send(0, &[0xff, 0xff, 0xff, 4]).await,
        "malformed_message" => peer.send(1, &frame(&[99])).await,
        "wrong_state" => peer.send(0, &control(&Control::Accept("rogue-1"))).await,
        "wrong_channel" => peer.send(7, &own.entry(0, &["x"])).await,
        "credit_withdrawn" => peer.send(0, &control(&Control::Credit(1))).await,
        "codec_not_agreed" => {
            let body = own.batch(&["x"], |_| {});
            peer.send(1, &entry(0, &body, |entry| entry.codec = 9)).await;
        }
        "wrong_direction" => peer.send(0, &control(&Control::CopySeen(epoch))).await,
        "level" => peer.send(1, &lane(&LaneMessage::Level("log"))).await,
        "foreign_subscription" => peer.send(0, &subscribe("log")).await,
        "subscription_flood" => peer.send(0, &subscribe("log").repeat(10_001)).await,
        "tips_wanted" => peer.send(0, &control(&Control::TipsWanted)).await,
        "diverged" => peer.send(0, &diverged()).await,
        "false_promise" => peer.send(0, &promise()).await,
        "body_length" => {
            let (codec, bomb) = packed(&vec![0; 64 << 20]);
            let lie = |entry: &mut landfall_protocol::message::Entry<'_>| {
                (entry.codec, entry.body_len) = (codec, 200_000);
            };
            peer.send(1, &entry(0, &bomb, lie)).await;
        }
        "body_checksum" => {
            let body = own.batch(&["x"], |_| {});
            peer.send(1, &entry(0, &body, |entry| entry.body_crc ^= 1)).await;
        }
        "malformed_batch" => {
            let body = own.batch(&["x", "y"], |head| (head.partial, head.span) = (true, 90));
            peer.send(1, &entry(0, &body, |_| {})).await;
        }
        "false_hash" => {
            let body = own.batch(&["x"], |head| head.after = StreamHash::new([9; 16]));
            peer.send(1, &entry(0, &body, |_| {})).await;
        }
        "foreign_return" | "records_from_below" => {
            let back = offence == "foreign_return";
            let purpose = if back { Purpose::Return } else { Purpose::Down };
            let body = own.batch(&["x"], |_| {});
            peer.send(1, &entry(0, &body, |entry| entry.purpose = purpose)).await;
        }
        "foreign_origin" => peer.send(1, &Forged::new("ship-1", "log", 1).entry(0, &["x"])).await,
        "foreign_topic" => {
            peer.send(1, &Forged::new("rogue-1", "_sites", 1).entry(0, &["x"])).await;
        }
        "begins_of_others" => peer.send(1, &begin("ship-1", "begun", 7)).await,
        "internal_begin" => peer.send(1, &begin("rogue-1", "_sites", 7)).await,
        "contradiction" => {
            let mut other = own.clone();
            let both = [own.batch(&["one"], |_| {}), other.batch(&["two"], |_| {})].concat();
            peer.send(1, &entry(0, &both, |_| {})).await;
        }
        "loop" => peer.send(1, &Forged::new("hub", "log", 1).entry(0, &["x"])).await,
        "gap_flood" => gap_flood(peer).await,
        "refusal_flood" => refusal_flood(peer).await,
        "replay" => {
            // More than a session may have under way at once.
            let said = own.entry(0, &[&"x".repeat(200_000)]);
            for _ in 0..50 {
                peer.send(1, &said).await;
                peer.until(|heard| matches!(heard, Heard::Durable(..))).await;
            }
        }
        other => panic!("nobody knows how to commit {other}"),
    }
}

/// What an attack is called that is not called as its offence.
fn offence_of(attack: &str) -> &str {
    match attack {
        "tips_wanted" | "diverged" | "level" | "records_from_below" => "wrong_direction",
        "begins_of_others" => "foreign_origin",
        "internal_begin" => "foreign_topic",
        other => other,
    }
}

fn subscribe(topic: &str) -> Vec<u8> {
    control(&Control::Subscribe(Subscribe { topic, last: true, held: List::EMPTY }))
}

fn diverged() -> Vec<u8> {
    let stream = StreamId { origin: "hub", topic: "log", partition: Partition::new(0) };
    let (epoch, next) = (Epoch::new(1), Offset::new(9));
    let held = StreamPoint { stream, epoch, next, hash: None };
    let at = Offset::new(1);
    control(&Control::Diverged(Diverged { kind: DivergedKind::TailLost, at, held }))
}

fn promise() -> Vec<u8> {
    let promise = Promise { log: LogId::new(1), epoch: Epoch::new(1), commit: CommitNo::new(1) };
    control(&Control::Durable(Durable { scope: Scope::Root, promise, streams: List::EMPTY }))
}

async fn gap_flood(peer: &mut Peer) {
    let mut said = Vec::new();
    for at in 0..10_001 {
        said.extend(lane(&LaneMessage::Gap(Gap {
            stream: StreamId { origin: "rogue-1", topic: "gaps", partition: Partition::new(0) },
            from: Offset::new(at),
            to: Offset::new(at + 1),
            epoch: Epoch::new(1),
            reason: GapReason::Dropped,
            after: None,
        })));
    }
    peer.send(1, &said).await;
}

async fn refusal_flood(peer: &mut Peer) {
    for at in 0..5 {
        let forge = |n| Forged::new("ship-1", &format!("t{at}-{n}"), 1).batch(&["x"], |_| {});
        let body: Vec<u8> = (0..1_000).flat_map(forge).collect();
        peer.send(1, &entry(at, &body, |_| {})).await;
    }
}

/// Offences after which the session goes on.
const BORNE: [&str; 7] = [
    "replay",
    "foreign_origin",
    "foreign_topic",
    "foreign_subscription",
    "begins_of_others",
    "internal_begin",
    "loop",
];

/// What a rogue tries that was let in.
const ATTEMPTS: [&str; 28] = [
    "frame_too_long",
    "malformed_message",
    "wrong_state",
    "credit_withdrawn",
    "codec_not_agreed",
    "wrong_direction",
    "tips_wanted",
    "diverged",
    "level",
    "records_from_below",
    "subscription_flood",
    "foreign_subscription",
    "false_promise",
    "body_length",
    "body_checksum",
    "malformed_batch",
    "false_hash",
    "contradiction",
    "foreign_return",
    "gap_flood",
    "refusal_flood",
    "foreign_origin",
    "foreign_topic",
    "begins_of_others",
    "internal_begin",
    "loop",
    "replay",
    "wrong_channel",
];

#[tokio::test]
async fn whoever_is_let_in_and_breaks_a_rule_is_named_and_stops_nobody_else() {
    let mut scene = Scene::new("").await;
    scene.rogue.lanes = 7;
    for attempt in ATTEMPTS {
        let offence = offence_of(attempt);
        scene.rogue.lanes = if attempt == "wrong_channel" { 1 } else { 7 };
        let before = scene.count(offence).await;
        let mut peer = Peer::enter(&scene.rogue).await.unwrap();
        attack(attempt, &mut peer).await;
        if BORNE.contains(&attempt) {
            // It goes on: a true entry is taken.
            let mut own = Forged::new("rogue-1", &format!("after-{attempt}"), 1);
            peer.send(1, &own.entry(9_999, &["true"])).await;
            let taken = |heard: &Heard| match heard {
                Heard::Durable(stream, 1) => stream.contains("after"),
                _ => false,
            };
            let heard = peer.until(taken).await;
            assert!(taken(&heard), "{attempt}: {heard:?}");
        } else {
            let ended = peer.ended().await;
            assert!(matches!(ended, Heard::Goodbye(..) | Heard::Closed(_)), "{attempt}: {ended:?}");
        }
        drop(peer);
        scene.assert_named(offence, before).await;
    }
    // Who behaves is served as if nothing had been.
    let mut peer = Peer::enter(&scene.rogue).await.unwrap();
    let mut own = Forged::new("rogue-1", "good", 1);
    for seq in 0..10 {
        peer.send(1, &own.entry(seq, &["a", "b"])).await;
    }
    let all =
        |heard: &Heard| matches!(heard, Heard::Durable(stream, 20) if stream.contains("good"));
    assert!(all(&peer.until(all).await));
    drop(peer);
    assert_eq!(values(&scene.fleet.hub, "good").await.unwrap().len(), 20);
    for lied in [
        "t-false_hash",
        "t-body_checksum",
        "t-malformed_batch",
        "t-foreign_return",
        "t-records_from_below",
        "begun",
    ] {
        let found = scene.fleet.hub.call("read", &[lied]).await.unwrap();
        assert_eq!(found.out, "", "{lied} is stored");
    }
    scene.assert_whole().await;
}

#[tokio::test]
async fn records_ahead_of_their_stream_are_asked_for_and_not_kept() {
    let mut scene = Scene::new("").await;
    let mut peer = Peer::enter(&scene.rogue).await.unwrap();
    let mut own = Forged::new("rogue-1", "ahead", 1);
    own.next = 1 << 40;
    for seq in 0..2_000 {
        peer.send(1, &own.entry(seq, &["far"])).await;
    }
    let asked = |heard: &Heard| matches!(heard, Heard::NeedFrom(_, 0));
    assert!(asked(&peer.until(asked).await));
    scene.assert_calm("offsets that lie ahead").await;
    let mut own = Forged::new("rogue-1", "ahead", 1);
    peer.send(1, &own.entry(3_000, &["first"])).await;
    let taken = |heard: &Heard| matches!(heard, Heard::Durable(_, 1));
    assert!(taken(&peer.until(taken).await));
    assert_eq!(values(&scene.fleet.hub, "ahead").await.unwrap(), ["\"first\""]);
    drop(peer);
    scene.assert_whole().await;
}

#[tokio::test]
async fn a_flood_of_streams_is_stopped_before_it_takes_the_places_of_others() {
    let mut scene = Scene::new("").await;
    let mut peer = Peer::enter(&scene.rogue).await.unwrap();
    for at in 0..5 {
        let forge = |n| Forged::new("rogue-1", &format!("t{at}-{n}"), 1).batch(&["x"], |_| {});
        let body: Vec<u8> = (0..500).flat_map(forge).collect();
        peer.send(1, &entry(at * 500, &body, |_| {})).await;
    }
    let refused = |heard: &Heard| matches!(heard, Heard::Refused(_));
    let heard = peer.until(refused).await;
    assert!(refused(&heard), "{heard:?}");
    scene.assert_named("too_many_streams", 0).await;
    let status = scene.hub.status().await.unwrap();
    assert!(status.streams.others <= 2_001, "{:?}", status.streams);
    drop(peer);
    scene.assert_whole().await;
}

#[tokio::test]
async fn strangers_are_named_and_take_no_place_for_long() {
    let mut scene = Scene::new("[hub]\nhandshakes_max = 64\nhandshake_timeout = \"2s\"\n").await;
    let silent = Peer::connect(&scene.rogue).await.unwrap();
    let mut stranger = scene.rogue.clone();
    (stranger.seed, stranger.site) = (2, "rogue-2".into());
    assert!(Peer::enter(&stranger).await.is_err(), "the token is for another site");
    scene.assert_named("token_refused", 0).await;
    stranger.token.secret = landfall::identity::TokenSecret::from_random([1; 16]);
    stranger.site = "rogue-1".into();
    assert!(Peer::enter(&stranger).await.is_err(), "the secret is wrong");
    scene.assert_named("token_refused", 1).await;
    stranger.versions = (90, 91);
    assert!(Peer::enter(&stranger).await.is_err(), "nobody speaks these versions");
    scene.assert_named("incompatible", 0).await;
    let mut early = Peer::connect(&scene.rogue).await.unwrap();
    early.send(1, &vec![0; 1 << 20]).await;
    early.ended().await;
    scene.assert_named("sent_ahead", 0).await;
    let hub: SocketAddr = scene.fleet.listens();
    let mut noise = TcpStream::connect(hub).await.unwrap();
    noise.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    scene.assert_named("handshake_failed", 0).await;
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(TcpStream::connect(hub).await.unwrap());
    }
    scene.assert_named("handshakes_full", 0).await;
    scene.assert_named("handshake_timeout", 0).await;
    assert!(Peer::enter(&scene.rogue).await.is_ok(), "the places are free again");
    scene.assert_named("never_opened", 0).await;
    drop((silent, held, noise));
    scene.assert_whole().await;
}
