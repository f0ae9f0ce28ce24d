//! A small file system that another program fills, and frees again.

use std::fs;

use landfall_tests::small_disk::SmallDisk;

use crate::fleet::{Fleet, lines, synced, values};

const FULL: std::io::ErrorKind = std::io::ErrorKind::StorageFull;
const SETTINGS: &str = "backoff_max = \"1s\"\n[storage]\nsegment_bytes = \"512KiB\"\n";

#[tokio::test]
async fn a_node_on_a_full_disk_reads_drains_starts_and_recovers_by_itself() {
    let (fleet, hub) = Fleet::running().await.unwrap();
    let token = fleet.token("ship-1", &[]).await.unwrap();
    let place = fleet.node("small").path;
    fs::create_dir(&place).unwrap();
    let Some(disk) = SmallDisk::mount(&place, 8 << 10) else { return };
    let ship = fleet.node("small/ship");
    ship.done("init", &["--join", &token]).await.unwrap();
    ship.configure(SETTINGS).unwrap();
    // The hub has met the ship, so that it need not be enrolled with a full disk at either end.
    let done = ship.call("run", &["--until-synced"]).await.unwrap();
    assert_eq!(done.code, Some(0), "{done:?}");
    hub.kill().await.unwrap();

    let runs = ship.run_up().await.unwrap();
    let first = fleet.file("first", &lines("first", 10)).unwrap();
    ship.done("append", &["log", &first]).await.unwrap();
    let filler = disk.fill_up();
    let many: Vec<_> =
        (0..400).map(|n| format!(r#"{{"n":{n},"x":"{}"}}"#, "x".repeat(8_000))).collect();
    let file = fleet.file("in", &many).unwrap();
    let words = ["log", &file, "--producer", "import"];
    let refused = ship.call("append", &words).await.unwrap();
    assert_eq!(refused.code, Some(3), "{refused:?}");
    for word in ["log", "line ", "the disk is full", "free space"] {
        assert!(refused.err.contains(word), "{refused:?}");
    }
    let kept = values(&ship, "log").await.unwrap();
    let written = [&lines("first", 10)[..], &many].concat();
    assert!(kept.len() > 10 && kept == written[..kept.len()], "{} are readable", kept.len());
    assert!(runs.terminate().await.unwrap().success());

    assert_eq!(fs::write(disk.path().join("more"), [1]).unwrap_err().kind(), FULL);
    let mut runs = ship.run_up().await.unwrap();
    assert_eq!(values(&ship, "log").await.unwrap(), kept);
    let hub = fleet.hub.run_up().await.unwrap();
    runs.until("it drains although its disk is full", synced).await.unwrap();
    assert_eq!(values(&fleet.hub, "log").await.unwrap(), kept);

    fs::remove_file(filler).unwrap();
    ship.done("append", &words).await.unwrap();
    let more = fleet.file("more", &lines("more", 10)).unwrap();
    ship.done("append", &["log", &more]).await.unwrap();
    runs.until("synced", synced).await.unwrap();
    assert_eq!(values(&fleet.hub, "log").await.unwrap(), [written, lines("more", 10)].concat());
    drop((runs, hub));
}
