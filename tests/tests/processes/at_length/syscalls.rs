//! Processes that are killed at each of their writes and syncs in turn, calls that fail once, and
//! syncs that take long. What was acknowledged is there afterwards, and at the hub exactly once.

use std::path::PathBuf;
use std::time::Duration;

use landfall::clock::monotonic;
use landfall_tests::injection::{Attached, Injection, happened, is_possible};
use landfall_tests::process::{NodeDir, PATIENCE, Running, pause};

use crate::fleet::{Fleet, append_numbered, lines, synced, through, values};

/// A small segment, so that segments change within a few commits.
const SETTINGS: &str = "[storage]\nsegment_bytes = \"512KiB\"\n";
const KILL: &str = "signal=SIGKILL";

/// The call to be killed at, for the first, second, … time.
fn kill(call: &str, when: u32) -> Injection<'_> {
    Injection { call, what: KILL, when: Some(when) }
}

#[tokio::test]
async fn an_opening_killed_at_each_write_and_sync_loses_nothing() {
    if !is_possible("an_opening_killed_at_each_write_and_sync_loses_nothing") {
        return;
    }
    let (fleet, hub) = Fleet::running().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    ship.configure(SETTINGS).unwrap();
    let trace = fleet.dir.path().join("trace");
    let (mut wanted, mut kills) = (lines("before", 5), 0);
    let file = fleet.file("in", &wanted).unwrap();
    ship.done("append", &["log", &file]).await.unwrap();
    for call in ["pwrite64", "fdatasync", "fsync", "fallocate"] {
        for when in 1.. {
            let name = format!("{call}-{when}");
            let new = lines(&name, 20);
            let file = fleet.file("in", &new).unwrap();
            let words = ["log", &file, "--producer", &name, "--json"];
            let program = kill(call, when).program(&ship.program, &trace);
            let killed = NodeDir::new(&program, ship.path.clone());
            let outcome = killed.call("append", &words).await.unwrap();
            let kept = values(&ship, "log").await.unwrap();
            let promised = [&wanted[..], &new[..through(&outcome.out)]].concat();
            assert!(kept.starts_with(&promised), "{name}: {} of {promised:?}", kept.len());
            ship.done("append", &words).await.unwrap();
            wanted.extend(new);
            if outcome.code == Some(0) {
                assert!(!happened(&trace), "{name}: it was not killed: {outcome:?}");
                break;
            }
            kills += 1;
        }
    }
    println!("{kills} kills");
    assert!(kills >= 6, "there are more writes and syncs than {kills}");
    let done = ship.call("run", &["--until-synced"]).await.unwrap();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(values(&fleet.hub, "log").await.unwrap(), wanted);
    drop(hub);
}

/// A ship and its hub, both running, and what the ship was given.
struct Pair {
    fleet: Fleet,
    ship: NodeDir,
    /// The ship, then the hub.
    runs: [Running; 2],
    wanted: Vec<String>,
}

impl Pair {
    async fn new() -> Self {
        let fleet = Fleet::new(Default::default()).await.unwrap();
        fleet.hub.configure(SETTINGS).unwrap();
        let hub = fleet.hub.run_up().await.unwrap();
        let ship = fleet.ship("ship-1").await.unwrap();
        ship.configure(SETTINGS).unwrap();
        let runs = [ship.run_up().await.unwrap(), hub];
        Self { fleet, ship, runs, wanted: Vec::new() }
    }

    fn node(&self, which: usize) -> &NodeDir {
        [&self.ship, &self.fleet.hub][which]
    }

    async fn restart(&mut self, which: usize) {
        self.runs[which] = self.node(which).run_up().await.unwrap();
    }

    /// Appends the next line, under its number. Says whether the ship acknowledged it; if not, it
    /// is the next one still.
    async fn append(&mut self) -> bool {
        let number = self.wanted.len() + 1;
        let line = format!(r#"{{"n":{number},"x":"{}"}}"#, "x".repeat(number * 7_919 % 60_000));
        let done = append_numbered(self.runs[0].client(), "log", number, &line).await;
        if done {
            self.wanted.push(line);
        }
        done
    }

    async fn inject(&self, which: usize, injection: Injection<'_>) -> (Attached, PathBuf) {
        let trace = self.fleet.dir.path().join("trace");
        let process = self.runs[which].id().unwrap();
        (injection.attach(process, trace.clone()).await.unwrap(), trace)
    }

    /// Everything that was acknowledged is at both ends, once and in order.
    async fn check(mut self) {
        self.runs[0].until("synced", synced).await.unwrap();
        for node in [&self.ship, &self.fleet.hub] {
            let held = values(node, "log").await.unwrap();
            assert_eq!(held.len(), self.wanted.len());
            assert!(held == self.wanted, "{:?} holds something else", node.path);
        }
        for (runs, node) in self.runs.into_iter().zip([&self.ship, &self.fleet.hub]) {
            assert!(runs.terminate().await.unwrap().success());
            let verified = node.call("verify", &[]).await.unwrap();
            assert_eq!(verified.code, Some(0), "{verified:?}");
        }
    }
}

#[tokio::test]
async fn ship_and_hub_killed_at_each_write_and_sync_keep_everything_once() {
    if !is_possible("ship_and_hub_killed_at_each_write_and_sync_keep_everything_once") {
        return;
    }
    let mut pair = Pair::new().await;
    let mut kills = 0;
    for when in 1..=14 {
        for (which, call) in [(0, "pwrite64"), (1, "pwrite64"), (0, "fdatasync"), (1, "fdatasync")]
        {
            pair.runs[0].until("connected", synced).await.unwrap();
            let (attached, _) = pair.inject(which, kill(call, when)).await;
            let started = monotonic();
            // The ship's end is seen by the append, the hub's a little later.
            while pair.runs[which].ended_within(Duration::from_millis(1)).await.is_err() {
                pair.append().await;
                let taken = monotonic().ms_since(started);
                assert!(taken < PATIENCE.as_millis() as u64, "{call} {when} does not come");
            }
            drop(attached);
            pair.restart(which).await;
            kills += 1;
        }
    }
    println!("{kills} kills, {} records", pair.wanted.len());
    pair.check().await;
}

#[tokio::test]
async fn a_write_or_sync_that_fails_once_breaks_no_promise() {
    if !is_possible("a_write_or_sync_that_fails_once_breaks_no_promise") {
        return;
    }
    let mut pair = Pair::new().await;
    let (mut failed, mut refused) = (0, 0);
    for when in 1..=4 {
        for (which, call, error) in [
            (0, "fdatasync", "error=EIO"),
            (0, "pwrite64", "error=EIO"),
            (0, "pwrite64", "error=ENOSPC"),
            (1, "fdatasync", "error=EIO"),
            (1, "pwrite64", "error=EIO"),
        ] {
            let injection = Injection { call, what: error, when: Some(when) };
            let (attached, trace) = pair.inject(which, injection).await;
            let started = monotonic();
            while !happened(&trace) {
                refused += u64::from(!pair.append().await);
                let taken = monotonic().ms_since(started);
                // A hub without room for a moment tells the ship to come back in 10 s or later.
                assert!(taken < 2 * PATIENCE.as_millis() as u64, "{call} {when} does not come");
                pause(Duration::from_millis(1)).await;
            }
            assert!(attached.detach().await.unwrap());
            failed += 1;
            // A node that trusts its medium no more may say so and end.
            if pair.runs[which].ended_within(Duration::from_millis(50)).await.is_ok() {
                pair.restart(which).await;
            }
            while !pair.append().await {
                refused += 1;
                assert!(monotonic().ms_since(started) < 2 * PATIENCE.as_millis() as u64);
            }
        }
    }
    println!("{failed} calls failed, {refused} appends were refused, {} not", pair.wanted.len());
    pair.check().await;
}

#[tokio::test]
async fn a_call_that_a_signal_interrupts_is_made_again_and_nobody_hears_of_it() {
    if !is_possible("a_call_that_a_signal_interrupts_is_made_again_and_nobody_hears_of_it") {
        return;
    }
    let mut pair = Pair::new().await;
    pair.runs[0].until("connected", synced).await.unwrap();
    for when in 1..=3 {
        for (which, call) in [
            (0, "pwrite64"),
            (0, "fdatasync"),
            (0, "fallocate"),
            (0, "fsync"),
            (1, "pwrite64"),
            (1, "fdatasync"),
        ] {
            let interrupt = Injection { call, what: "error=EINTR", when: Some(when) };
            let (attached, trace) = pair.inject(which, interrupt).await;
            let started = monotonic();
            while !happened(&trace) {
                assert!(pair.append().await, "{call} {when} was not made again");
                let taken = monotonic().ms_since(started);
                assert!(taken < PATIENCE.as_millis() as u64, "{call} {when} does not come");
            }
            assert!(attached.detach().await.unwrap());
        }
    }
    println!("18 calls interrupted, {} appends", pair.wanted.len());
    pair.check().await;
}

#[tokio::test]
async fn an_append_is_not_acknowledged_before_its_slow_sync_is_done() {
    if !is_possible("an_append_is_not_acknowledged_before_its_slow_sync_is_done") {
        return;
    }
    let mut pair = Pair::new().await;
    pair.runs[0].until("connected", synced).await.unwrap();
    let slow = Injection { call: "fdatasync", what: "delay_enter=400000", when: None };
    let (attached, trace) = pair.inject(0, slow).await;
    for _ in 0..3 {
        let started = monotonic();
        assert!(pair.append().await);
        let taken = monotonic().ms_since(started);
        assert!(taken >= 400, "acknowledged after {taken} ms");
    }
    assert!(happened(&trace));
    attached.detach().await.unwrap();
    pair.check().await;
}
