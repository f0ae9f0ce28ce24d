//! What a hub tells readers of a device that began in 1970: a peer that says so, since the clock of
//! this machine is not a test's to set.

use landfall::node::clock::ClockNote;
use landfall_core::batch::ClockQuality;
use landfall_core::num::{BootId, Epoch, Timestamp};
use landfall_protocol::clock::{ClockOffset, Stretch};
use landfall_protocol::message::{Clock, Control};
use landfall_tests::process::until;
use landfall_tests::rogue::{Forged, Heard, Identity, Peer, control, entry};

use crate::fleet::Fleet;

/// Milliseconds from 1970 to 2026.
const DELTA_MS: i64 = 1_767_225_600_000;
const EPOCH: u64 = 77;

/// A start of a machine in 1970, whose records of an epoch are so far from the hub's time.
fn note(epoch: u64) -> Vec<u8> {
    let offset = Some(ClockOffset { delta_ms: DELTA_MS, error_ms: 40 });
    let (from, to) = (Timestamp::new(0), Timestamp::new(9_000));
    let stretches = vec![Stretch { from, to, zero_ms: 0, spread_ms: 2, offset }];
    ClockNote { boot: BootId::new(5), epochs: vec![Epoch::new(epoch)], stretches }.encoded()
}

fn told(site: &str, note: &[u8]) -> Vec<u8> {
    control(&Control::Clock(Clock { site, boot: BootId::new(5), note }))
}

async fn read(fleet: &Fleet, words: &[&str]) -> Vec<serde_json::Value> {
    let words = [&["log"], words].concat();
    let lines = fleet.hub.done("read", &words).await.unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_hub_tells_what_a_clock_of_1970_should_have_shown() {
    let (fleet, hub) = Fleet::running().await.unwrap();
    let token = fleet.token("buoy-1", &["--uses", "2"]).await.unwrap();
    let buoy = Identity::new("buoy-1", 1, &token).unwrap();
    let mut peer = Peer::enter(&buoy).await.unwrap();
    let mut log = Forged::new("buoy-1", "log", EPOCH);
    let body = log.batch(&["1"], |head| head.clock = ClockQuality::Unset);
    peer.send(1, &entry(0, &body, |_| {})).await;
    peer.until(|heard| matches!(heard, Heard::Durable(..))).await;
    let [plain] = &read(&fleet, &[]).await[..] else { panic!("one record") };
    let was = plain.clone();
    assert_eq!(
        (&was["timestamp"], &was["clock"]),
        (&"1970-01-01T00:00:00.000Z".into(), &"unset".into())
    );
    assert!(was.get("corrected").is_none(), "nobody asked: {was}");
    let uncertain = read(&fleet, &["--corrected"]).await;
    assert_eq!(uncertain[0].get("corrected"), Some(&serde_json::Value::Null), "nobody knows yet");
    peer.send(0, &told("ship-9", &note(EPOCH))).await;
    peer.send(0, &told("buoy-1", &note(EPOCH))).await;
    let known = async || {
        let read = read(&fleet, &["--corrected"]).await;
        read[0]["corrected"].is_string().then(|| read[0].clone())
    };
    let corrected = until("the note has come", known).await.unwrap();
    assert_eq!(corrected["corrected"], "2026-01-01T00:00:00.000Z");
    assert_eq!(corrected["error_ms"], 42);
    for field in ["timestamp", "offset", "epoch", "value"] {
        assert_eq!(corrected[field], was[field], "the record is as it was");
    }
    let status = hub.status().await.unwrap();
    assert_eq!(status.offences.get("foreign_origin"), Some(&1), "{:?}", status.offences);
    assert!(status.clock.set && status.clock.behind_ms.is_none(), "a root hears nobody");
    assert!(hub.terminate().await.unwrap().success());
    let after = read(&fleet, &["--corrected"]).await;
    assert_eq!(after, [corrected], "it is kept");
}

#[tokio::test]
async fn a_note_of_a_clock_that_is_none_ends_the_session() {
    let (fleet, hub) = Fleet::running().await.unwrap();
    let token = fleet.token("buoy-1", &["--uses", "9"]).await.unwrap();
    let buoy = Identity::new("buoy-1", 1, &token).unwrap();
    let whole = note(EPOCH);
    let (short, mut long) = (&whole[..whole.len() - 1], whole.clone());
    long.push(0);
    for malformed in [&[], short, &long] {
        let mut peer = Peer::enter(&buoy).await.unwrap();
        peer.send(0, &told("buoy-1", malformed)).await;
        peer.ended().await;
    }
    let counted = hub.status().await.unwrap().offences;
    assert_eq!(counted.get("contradiction"), Some(&3), "{counted:?}");
    drop(fleet);
}
