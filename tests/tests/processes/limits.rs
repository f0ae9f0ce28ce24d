//! What a system may run out of besides space: descriptors, memory, inodes, and the right to write.

use std::fs;

use landfall_tests::injection::skipped;
use landfall_tests::process::{NodeDir, Program};
use landfall_tests::small_disk::SmallDisk;
#[cfg(target_os = "linux")]
use landfall_tests::volatile::VolatileDisk;

use crate::fleet::{Fleet, lines, synced, through, values};

const SETTINGS: &str = "[storage]\nsegment_bytes = \"512KiB\"\n";

/// The program under a limit of prlimit. None, said loudly, where there is no prlimit.
fn limited(program: &Program, limit: &str) -> Option<Program> {
    let found = std::process::Command::new("prlimit").arg("--version").output();
    if found.is_ok_and(|found| found.status.success()) {
        return Some(program.under(vec!["prlimit".to_owned(), limit.to_owned()]));
    }
    skipped("limits of a process", "there is no prlimit");
    None
}

/// Appends under one limit after another, each time with lines of its own; then without a limit.
/// Returns how often the limit was too low.
async fn append_under(limits: &[String]) -> Option<usize> {
    let (fleet, hub) = Fleet::running().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    ship.configure(SETTINGS).unwrap();
    let (mut wanted, mut refused) = (Vec::new(), 0);
    for limit in limits {
        let new: Vec<_> =
            (0..300).map(|n| format!(r#"{{"{limit}":{n},"x":"{}"}}"#, "x".repeat(4_000))).collect();
        let file = fleet.file("in", &new).unwrap();
        let producer = limit.replace(['-', '='], "");
        let words = ["log", &file, "--producer", &producer, "--json"];
        let held = NodeDir::new(&limited(&ship.program, limit)?, ship.path.clone());
        let outcome = held.call("append", &words).await.unwrap();
        let kept = values(&ship, "log").await.unwrap();
        let promised = [&wanted[..], &new[..through(&outcome.out)]].concat();
        assert!(kept.starts_with(&promised), "{limit}: {} of {}", kept.len(), promised.len());
        refused += usize::from(outcome.code != Some(0));
        ship.done("append", &words).await.unwrap();
        wanted.extend(new);
    }
    ship.run_up().await.unwrap().until("synced", synced).await.unwrap();
    assert!(values(&fleet.hub, "log").await.unwrap() == wanted, "the hub has each line once");
    drop(hub);
    Some(refused)
}

#[tokio::test]
async fn with_too_few_descriptors_nothing_acknowledged_is_lost() {
    let limits: Vec<_> = (10..=90).step_by(4).map(|count| format!("--nofile={count}")).collect();
    let Some(refused) = append_under(&limits).await else { return };
    assert!((2..limits.len()).contains(&refused), "{refused} of {} were too low", limits.len());
}

#[tokio::test]
async fn with_too_little_memory_nothing_acknowledged_is_lost() {
    let limits: Vec<_> = (6..=46).step_by(4).map(|mebi| format!("--as={}", mebi << 20)).collect();
    let Some(refused) = append_under(&limits).await else { return };
    assert!((2..limits.len()).contains(&refused), "{refused} of {} were too low", limits.len());
}

#[tokio::test]
async fn where_no_file_can_be_made_a_node_reads_and_recovers_by_itself() {
    let (fleet, hub) = Fleet::running().await.unwrap();
    let token = fleet.token("ship-1", &[]).await.unwrap();
    let place = fleet.node("small").path;
    fs::create_dir(&place).unwrap();
    let Some(disk) = SmallDisk::mount_with(&place, "size=64m,nr_inodes=40") else { return };
    let ship = fleet.node("small/ship");
    ship.done("init", &["--join", &token]).await.unwrap();
    ship.configure(&format!("backoff_max = \"1s\"\n{SETTINGS}")).unwrap();
    let mut runs = ship.run_up().await.unwrap();
    runs.until("synced", synced).await.unwrap();
    let fillers: Vec<_> = (0..)
        .map(|n| disk.path().join(format!("f{n}")))
        .take_while(|path| fs::write(path, []).is_ok())
        .collect();
    let many: Vec<_> =
        (0..400).map(|n| format!(r#"{{"n":{n},"x":"{}"}}"#, "x".repeat(8_000))).collect();
    let file = fleet.file("in", &many).unwrap();
    let words = ["log", &file, "--producer", "import"];
    let refused = ship.call("append", &words).await.unwrap();
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.err.contains("the disk is full"), "{refused:?}");
    let kept = values(&ship, "log").await.unwrap();
    assert!(kept.len() < many.len() && kept == many[..kept.len()], "{} are readable", kept.len());
    for filler in fillers {
        fs::remove_file(filler).unwrap();
    }
    ship.done("append", &words).await.unwrap();
    runs.until("synced", synced).await.unwrap();
    assert_eq!(values(&fleet.hub, "log").await.unwrap(), many);
    drop((runs, hub));
}

#[tokio::test]
async fn where_nothing_may_be_written_a_node_says_so_and_changes_nothing() {
    let fleet = Fleet::running().await.unwrap().0;
    let place = fleet.node("small").path;
    fs::create_dir(&place).unwrap();
    let Some(disk) = SmallDisk::mount_with(&place, "size=64m") else { return };
    let node = fleet.node("small/node");
    node.done("init", &["--site", "solo"]).await.unwrap();
    let file = fleet.file("in", &lines("a", 10)).unwrap();
    node.done("append", &["log", &file]).await.unwrap();
    disk.remount("ro");
    for (command, words) in [("append", &["log", &*file][..]), ("run", &[])] {
        let refused = node.call(command, words).await.unwrap();
        assert_eq!(refused.code, Some(3), "{refused:?}");
        let place = node.path.to_string_lossy().into_owned();
        for word in ["Read-only file system", &place] {
            assert!(refused.err.contains(word), "{refused:?}");
        }
    }
    disk.remount("rw");
    node.done("append", &["log", &file]).await.unwrap();
    let twice = [lines("a", 10), lines("a", 10)].concat();
    assert_eq!(values(&node, "log").await.unwrap(), twice);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_node_whose_disk_becomes_read_only_says_so_and_stops_and_recovers() {
    let (fleet, hub) = Fleet::running().await.unwrap();
    let ship = fleet.node("ship-1");
    fs::create_dir(&ship.path).unwrap();
    let test = "a_node_whose_disk_becomes_read_only_says_so_and_stops_and_recovers";
    let Some(disk) = VolatileDisk::mount(test, &ship.path) else { return };
    let token = fleet.token("ship-1", &[]).await.unwrap();
    ship.done("init", &["--join", &token]).await.unwrap();
    ship.configure(&format!("backoff_max = \"1s\"\n{SETTINGS}")).unwrap();
    let mut runs = ship.run_up().await.unwrap();
    let file = fleet.file("first", &lines("first", 10)).unwrap();
    ship.done("append", &["log", &file]).await.unwrap();
    runs.until("synced", synced).await.unwrap();
    disk.set_read_only(true);
    let file = fleet.file("more", &lines("more", 10)).unwrap();
    let words = ["log", &file, "--producer", "import"];
    let refused = ship.call("append", &words).await.unwrap();
    assert_eq!(refused.code, Some(3), "{refused:?}");
    for word in ["line 1: log", "the disk failed to write or sync", "the node's log says more"] {
        assert!(refused.err.contains(word), "{refused:?}");
    }
    assert_eq!(runs.ended().await.unwrap().code(), Some(1), "it trusts its disk no more");
    let log = fs::read_to_string(ship.log()).unwrap();
    for word in ["Read-only file system", "recovers when it is started again"] {
        assert!(log.contains(word), "{log}");
    }
    let refused = ship.call("run", &[]).await.unwrap();
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.err.contains("Read-only file system"), "{refused:?}");
    disk.set_read_only(false);
    let mut runs = ship.run_up().await.unwrap();
    ship.done("append", &words).await.unwrap();
    runs.until("synced", synced).await.unwrap();
    let all = [lines("first", 10), lines("more", 10)].concat();
    assert_eq!(values(&fleet.hub, "log").await.unwrap(), all);
    drop(runs);
    drop(hub);
}
