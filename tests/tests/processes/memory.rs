//! A device under a limit on memory that the kernel keeps: it works within a small one, and where
//! it is killed nothing is lost.

use std::time::Duration;

use landfall::api::MemoryStatus;
use landfall_tests::budgets::budget;
use landfall_tests::memory_group::MemoryGroup;
use landfall_tests::process::{NodeDir, Outcome};

use crate::fleet::{Fleet, assert_same, lines, synced, through, values};

/// What a device has for itself and for what the system keeps of its files, in a build without
/// optimization.
const SMALL: u64 = 24 << 20;
/// The same for a node that has a cap of 21 MiB.
const CAPPED: u64 = 32 << 20;

#[tokio::test]
async fn a_device_with_little_memory_brings_a_backlog_that_is_larger() {
    let test = "a_device_with_little_memory_brings_a_backlog_that_is_larger";
    let Some(group) = MemoryGroup::make(test, SMALL) else { return };
    let (fleet, hub) = Fleet::running().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    let mut rng = landfall_simulation::rng::Rng::new(7);
    let noise = |rng: &mut landfall_simulation::rng::Rng| format!("{:016x}", rng.below(u64::MAX));
    let many: Vec<_> = (0..4_000)
        .map(|n| {
            let x: String = (0..500).map(|_| noise(&mut rng)).collect();
            format!(r#"{{"n":{n},"x":"{x}"}}"#)
        })
        .collect();
    let file = fleet.file("in", &many).unwrap();
    ship.done("append", &["log", &file]).await.unwrap();
    let held = NodeDir::new(&group.program(&ship.program), ship.path.clone());
    let mut runs = held.run_up().await.unwrap();
    runs.until("synced", synced).await.unwrap();
    println!("{} MiB at most", group.peak() >> 20);
    assert!(values(&fleet.hub, "log").await.unwrap() == many, "the hub has each line once");
    assert!(runs.terminate().await.unwrap().success());
    assert_eq!(group.kills(), 0);
    drop(hub);
}

/// Sets the cap. It stands at the top of the file.
pub(crate) fn cap(node: &NodeDir, bytes: &str) {
    let path = node.path.join(landfall::config::FILE_NAME);
    let rest = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, format!("memory_max = \"{bytes}\"\n{rest}")).unwrap();
}

/// The most that a node's heap and stacks can have been. The program's file is not in it, which is
/// several times as large without optimization.
pub(crate) fn heap_at_most(memory: &MemoryStatus) -> u64 {
    let of_files = memory.resident_bytes.unwrap() - memory.used_bytes.unwrap();
    memory.peak_bytes.unwrap().saturating_sub(of_files)
}

/// Heap and stacks of a node here, and all of the program for devices, which may be resident as a
/// whole, are within what that may take. Without optimization they are rather larger.
#[tokio::test]
async fn what_a_node_takes_of_memory_is_within_its_budgets() {
    let program = budget("agent_armv7");
    let (fleet, hub) = Fleet::running().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    let file = fleet.file("in", &lines("x", 50_000)).unwrap();
    ship.done("append", &["log", &file]).await.unwrap();
    let mut runs = ship.run_up().await.unwrap();
    runs.until("synced", synced).await.unwrap();
    let catching_up = runs.until("status", |status| Some(status.memory)).await.unwrap();
    assert!(runs.terminate().await.unwrap().success());
    let mut runs = ship.run_up().await.unwrap();
    runs.until("synced", synced).await.unwrap();
    let idle = runs.until("status", |status| Some(status.memory)).await.unwrap();
    println!("{catching_up:?}, {idle:?}");
    assert!(heap_at_most(&catching_up) + program <= budget("rss_catching_up"), "{catching_up:?}");
    assert!(idle.used_bytes.unwrap() + program <= budget("rss_idle"), "{idle:?}");
    drop(hub);
}

/// Runs a node with a view, for which its cap is too low.
async fn view_and_cap(node: &NodeDir) -> Outcome {
    let views = node.path.join("views");
    std::fs::create_dir(&views).unwrap();
    let view =
        "ddl = \"CREATE TABLE ids(id TEXT);\"\n[on.log]\nput = \"INSERT INTO ids VALUES(:key)\"\n";
    std::fs::write(views.join("ids.toml"), view).unwrap();
    node.call("run", &[]).await.unwrap()
}

/// Appends and catches up with a cap, which the kernel watches over with room for what the system
/// keeps of files, and brings each line once.
#[tokio::test]
async fn a_node_with_a_cap_takes_in_and_passes_on_more_than_it_may_have_in_memory() {
    let test = "a_node_with_a_cap_takes_in_and_passes_on_more_than_it_may_have_in_memory";
    let Some(group) = MemoryGroup::make(test, CAPPED) else { return };
    let (fleet, hub) = Fleet::running().await.unwrap();
    let gateway = fleet.ship("ship-1").await.unwrap();
    let held = NodeDir::new(&group.program(&gateway.program), gateway.path.clone());
    cap(&gateway, "21MiB");
    let refused = view_and_cap(&held).await;
    assert!(refused.code == Some(2) && refused.err.contains("48 MiB"), "{refused:?}");
    std::fs::remove_dir_all(gateway.path.join("views")).unwrap();
    let mut runs = held.run_up().await.unwrap();
    let large = |line: &String| line.replace('}', &format!(r#","x":"{}"}}"#, "y".repeat(5_000)));
    let many: Vec<Vec<_>> =
        (0..4).map(|n| lines(&format!("p{n}"), 2_000).iter().map(large).collect()).collect();
    let files: Vec<_> = (0..4).map(|n| fleet.file(&format!("in{n}"), &many[n]).unwrap()).collect();
    let words: Vec<_> = files.iter().map(|file| ["log", file.as_str()]).collect();
    // Four programs at once, outside of the group.
    let appended = tokio::join!(
        gateway.done("append", &words[0]),
        gateway.done("append", &words[1]),
        gateway.done("append", &words[2]),
        gateway.done("append", &words[3]),
    );
    for done in [appended.0, appended.1, appended.2, appended.3] {
        done.unwrap();
    }
    runs.until("synced", synced).await.unwrap();
    let memory = runs.until("status", |status| Some(status.memory)).await.unwrap();
    println!("{memory:?}, {} MiB with files", group.peak() >> 20);
    assert_eq!(memory.cap_bytes, Some(21 << 20));
    assert!(heap_at_most(&memory) <= 21 << 20, "{memory:?}");
    let wanted: Vec<_> = many.iter().map(Vec::as_slice).collect();
    assert_same(values(&fleet.hub, "log").await.unwrap(), &wanted);
    assert!(runs.terminate().await.unwrap().success());
    assert_eq!(group.kills(), 0);
    drop(hub);
}

#[tokio::test]
async fn what_was_acknowledged_before_the_kernel_killed_a_node_for_its_memory_is_there() {
    let test = "what_was_acknowledged_before_the_kernel_killed_a_node_for_its_memory_is_there";
    let (fleet, hub) = Fleet::running().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    let (mut wanted, mut kills, mut acknowledged) = (Vec::new(), 0, 0);
    for mebi in 1..=8 {
        let Some(group) = MemoryGroup::make(test, mebi << 20) else { return };
        let new: Vec<_> = lines(&format!("{mebi}"), 300)
            .iter()
            .map(|line| line.replace('}', &format!(r#","x":"{}"}}"#, "x".repeat(8_000))))
            .collect();
        let file = fleet.file("in", &new).unwrap();
        let producer = format!("p{mebi}");
        let words = ["log", &file, "--producer", &producer, "--json"];
        let held = NodeDir::new(&group.program(&ship.program), ship.path.clone());
        let mut runs = held.run(&[]).unwrap();
        // It may be killed while it opens.
        let mut told = 0;
        if runs.up().await.is_ok() {
            told = through(&ship.call("append", &words).await.unwrap().out);
        }
        if runs.ended_within(Duration::from_millis(100)).await.is_err() {
            runs.kill().await.unwrap();
        }
        kills += group.kills();
        acknowledged += told;
        let kept = values(&ship, "log").await.unwrap();
        let promised = [&wanted[..], &new[..told]].concat();
        assert!(kept.starts_with(&promised), "{mebi} MiB: {} of {}", kept.len(), promised.len());
        ship.done("append", &words).await.unwrap();
        wanted.extend(new);
    }
    println!("{kills} kills, {acknowledged} lines acknowledged");
    assert!(kills > 0, "a limit was too low");
    ship.run_up().await.unwrap().until("synced", synced).await.unwrap();
    assert!(values(&fleet.hub, "log").await.unwrap() == wanted, "the hub has each line once");
    drop(hub);
}
