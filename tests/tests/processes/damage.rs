//! Data directories that are not as a node left them.

use std::fs;
use std::path::PathBuf;

use landfall_tests::process::NodeDir;

use crate::fleet::{Fleet, lines, synced, values};

/// The segment files of a node, by name.
fn segments(node: &NodeDir) -> Vec<PathBuf> {
    let found = fs::read_dir(node.path.join("segments")).unwrap();
    let mut found: Vec<_> = found.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[tokio::test]
async fn a_damaged_segment_becomes_a_gap_and_the_node_goes_on() {
    let (fleet, hub) = Fleet::running().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    for name in ["first", "damaged", "last"] {
        let file = fleet.file("in", &lines(name, 10)).unwrap();
        ship.done("append", &["log", &file]).await.unwrap();
    }
    let (path, mut bytes, at) = segments(&ship)
        .into_iter()
        .find_map(|path| {
            let bytes = fs::read(&path).unwrap();
            let at = bytes.windows(7).position(|window| window == b"damaged")?;
            Some((path, bytes, at))
        })
        .unwrap();
    bytes[at + 3] ^= 0x10;
    fs::write(path, bytes).unwrap();

    let checked = ship.call("verify", &[]).await.unwrap();
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.out.contains("FAILED") && checked.out.contains("damaged"), "{checked:?}");

    let mut runs = ship.run_up().await.unwrap();
    let file = fleet.file("in", &lines("after", 10)).unwrap();
    ship.done("append", &["log", &file]).await.unwrap();
    let status = runs.until("synced", synced).await.unwrap();
    let gaps: Vec<_> = status.gaps.iter().map(|gap| (gap.from, gap.to)).collect();
    assert_eq!(gaps, [(10, 20)], "{status:?}");
    let kept = [lines("first", 10), lines("last", 10), lines("after", 10)].concat();
    for node in [&ship, &fleet.hub] {
        assert_eq!(values(node, "log").await.unwrap(), kept);
        let read = node.call("read", &["log"]).await.unwrap();
        for word in ["ship-1/log/0", r#""from":10,"to":20"#] {
            assert!(read.err.contains(word), "{read:?}");
        }
    }
    assert!(runs.terminate().await.unwrap().success());
    let checked = ship.call("verify", &[]).await.unwrap();
    assert!(checked.out.contains("told before"), "{checked:?}");
    drop(hub);
}

#[tokio::test]
async fn data_of_a_newer_format_is_refused_and_stays_as_it_is() {
    let fleet = Fleet::new(Default::default()).await.unwrap();
    let file = fleet.file("in", &lines("a", 10)).unwrap();
    fleet.hub.done("append", &["log", &file]).await.unwrap();
    for path in segments(&fleet.hub) {
        let mut bytes = fs::read(&path).unwrap();
        newer(&mut bytes[..HEADER_BYTES]);
        newer(&mut bytes[HEADER_BYTES..2 * HEADER_BYTES]);
        fs::write(&path, bytes).unwrap();
    }
    let before: Vec<_> = segments(&fleet.hub).iter().map(|path| fs::read(path).unwrap()).collect();
    for command in ["run", "status", "verify"] {
        let refused = fleet.hub.call(command, &[]).await.unwrap();
        assert_eq!(refused.code, Some(3), "{refused:?}");
        for word in ["hub", "format", "newer version"] {
            assert!(refused.err.contains(word), "{refused:?}");
        }
    }
    let after: Vec<_> = segments(&fleet.hub).iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(before == after, "the files were changed");
}

const HEADER_BYTES: usize = 64;

/// Makes a segment's header one of the next format: see `docs/format.md`.
fn newer(header: &mut [u8]) {
    if header.starts_with(b"LANDFALL") {
        header[8] += 1;
        let crc = crc32c::crc32c(&header[..HEADER_BYTES - 4]);
        header[HEADER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    }
}
