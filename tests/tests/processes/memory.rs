//! A device under a limit on memory that the kernel keeps: it works within a small one, and where
//! it is killed nothing is lost.

use std::time::Duration;

use landfall_tests::memory_group::MemoryGroup;
use landfall_tests::process::NodeDir;

use crate::fleet::{Fleet, lines, synced, through, values};

/// What a device has for itself and for what the system keeps of its files, in a build without
/// optimization.
const SMALL: u64 = 24 << 20;

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
