//! A small file system that another program fills, and frees again.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fleet::{Fleet, lines, synced, values};

const SETTINGS: &str = "backoff_max = \"1s\"\n[storage]\nsegment_bytes = \"512KiB\"\n";

#[tokio::test]
async fn a_node_on_a_full_disk_reads_drains_starts_and_recovers_by_itself() {
    let (fleet, hub) = Fleet::running().await.unwrap();
    let token = fleet.token("ship-1", &[]).await.unwrap();
    let place = fleet.node("small").path;
    fs::create_dir(&place).unwrap();
    let Some(disk) = SmallDisk::mount(&place) else { return };
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
    let filler = fill_up(disk.0);
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

    assert_eq!(fs::write(disk.0.join("more"), [1]).unwrap_err().kind(), FULL);
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

const FULL: std::io::ErrorKind = std::io::ErrorKind::StorageFull;

/// A file system of 8 MiB, unmounted when it is dropped.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// None, said loudly, where nobody may mount: the test is then skipped.
    fn mount(at: &'a Path) -> Option<Self> {
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(at).output();
        if mount.is_ok_and(|mount| mount.status.success()) {
            return Some(Self(at));
        }
        // Not eprintln, which the harness swallows when a test passes.
        let _ = writeln!(std::io::stderr(), "SKIPPED: a full disk: no right to mount a tmpfs");
        None
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.0).status();
        let unmounted = unmounted.is_ok_and(|status| status.success());
        assert!(unmounted || std::thread::panicking(), "{:?} stays mounted", self.0);
    }
}

/// Another program's file that takes all the space there is.
fn fill_up(dir: &Path) -> PathBuf {
    let path = dir.join("filler");
    let mut file = fs::File::create(&path).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    path
}
