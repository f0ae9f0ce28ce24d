//! The program as it is built for another processor or C library, in an emulator where it takes
//! one, among nodes of this machine: they speak to each other and read each other's directories,
//! whatever the size of their words.
//!
//! `cargo xtask cross --test` builds it and names it in `LANDFALL_EMULATED`, with the words that
//! run it in `LANDFALL_EMULATOR`; without them these tests are skipped.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

use landfall_simulation::rng::Rng;
use landfall_tests::injection::{denied, skipped};
use landfall_tests::process::{NodeDir, Program};

use crate::fleet::{Fleet, append_numbered, lines, synced};

/// Starts of the ship that end by a kill.
const KILLS: u64 = 4;
/// Records of each start.
const RECORDS: usize = 120;
/// Times that a 32-bit number of seconds does not hold, and the last and first that it does.
const TIMES: [&str; 6] = [
    "1901-12-13T20:45:51Z",
    "1901-12-13T20:45:52Z",
    "2038-01-19T03:14:07Z",
    "2038-01-19T03:14:08Z",
    "2106-02-07T06:28:16Z",
    "2514-05-30T01:53:04.003Z",
];

#[tokio::test]
async fn a_ship_of_another_processor_brings_each_record_once_through_kills() {
    let test = "a_ship_of_another_processor_brings_each_record_once_through_kills";
    let Some(emulated) = emulated(test) else { return };
    let (fleet, hub) = Fleet::running().await.unwrap();
    let ship = NodeDir { program: emulated, ..fleet.ship("ship-1").await.unwrap() };
    let file = fleet.file("offline", &lines("offline", 2_000)).unwrap();
    ship.done("append", &["log", &file]).await.unwrap();
    let (mut rng, mut told) = (Rng::new(7), 0);
    for start in 0..KILLS {
        let runs = ship.run_up().await.unwrap();
        let written = RECORDS / 2 + rng.below(RECORDS as u64 / 2) as usize;
        for n in 0..written {
            // What an earlier start was killed over is said again under its number.
            let number = start as usize * RECORDS / 2 + n;
            let line = format!(r#"{{"from":"running","n":{number}}}"#);
            assert!(append_numbered(runs.client(), "log", number, &line).await);
            told = told.max(number + 1);
        }
        runs.kill().await.unwrap();
    }
    let mut runs = ship.run_up().await.unwrap();
    runs.until("synced", synced).await.unwrap();
    assert!(runs.terminate().await.unwrap().success());
    let found = records(&ship, "log").await;
    assert_eq!(found.len(), 2_000 + told);
    assert_eq!(records(&fleet.hub, "log").await, found);
    drop(hub);
    // The directory of the one is a directory of the other.
    let native = NodeDir { program: fleet.program.clone(), ..ship.clone() };
    native.done("verify", &[]).await.unwrap();
    assert_eq!(records(&native, "log").await, found);
    let foreign = NodeDir { program: ship.program.clone(), ..fleet.hub.clone() };
    foreign.done("verify", &[]).await.unwrap();
    assert_eq!(records(&foreign, "log").await, found);
}

#[tokio::test]
async fn a_hub_of_another_processor_takes_a_ship_in_and_keeps_times_of_any_year() {
    let test = "a_hub_of_another_processor_takes_a_ship_in_and_keeps_times_of_any_year";
    let Some(emulated) = emulated(test) else { return };
    let mut fleet = Fleet::new(Default::default()).await.unwrap();
    fleet.hub.program = emulated;
    let hub = fleet.hub.run_up().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    let line = |time: &&str| format!(r#"{{"time":"{time}"}}"#);
    let file = fleet.file("times", &TIMES.iter().map(line).collect::<Vec<_>>()).unwrap();
    ship.done("append", &["log", &file, "--time-field", "time"]).await.unwrap();
    ship.done("run", &["--until-synced"]).await.unwrap();
    let found = records(&fleet.hub, "log").await;
    assert_eq!(found, records(&ship, "log").await);
    for time in TIMES {
        let time = time.trim_end_matches('Z');
        assert!(found.iter().any(|line| line.contains(time)), "{time} is in {found:?}");
    }
    assert!(hub.terminate().await.unwrap().success());
    fleet.hub.done("verify", &[]).await.unwrap();
}

#[tokio::test]
async fn a_node_of_another_processor_runs_on_a_machine_that_is_up_for_years() {
    let test = "a_node_of_another_processor_runs_on_a_machine_that_is_up_for_years";
    let Some(emulated) = emulated(test) else { return };
    // More seconds than 32 bits hold, and hardly less than a kernel takes.
    let clocks = ["--time", "--monotonic", "4500000000", "--boottime", "4500000000"];
    let under = [&["unshare"], &clocks[..]].concat();
    let tried = std::process::Command::new(under[0]).args(&under[1..]).arg("true").output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        return denied(test, "the system does not let a process have clocks of its own");
    }
    let (fleet, hub) = Fleet::running().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    let words = under.into_iter().map(str::to_owned);
    let program = emulated.under(words.chain(emulated.words().iter().cloned()).collect());
    let ship = NodeDir { program, ..ship };
    let file = fleet.file("in", &lines("old", 200)).unwrap();
    ship.done("append", &["log", &file]).await.unwrap();
    ship.done("run", &["--until-synced"]).await.unwrap();
    ship.done("verify", &[]).await.unwrap();
    assert_eq!(records(&fleet.hub, "log").await.len(), 200);
    drop(hub);
}

/// The records of a topic at a node, without what is only of that node. None is there twice.
async fn records(node: &NodeDir, topic: &str) -> BTreeSet<String> {
    let read = node.done("read", &[topic]).await.unwrap();
    let of_the_record = |line: &str| {
        let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
        let fields = record.as_object_mut().expect("a record is an object");
        fields.retain(|name, _| !["lane", "seq"].contains(&name.as_str()));
        record.to_string()
    };
    let found: BTreeSet<_> = read.lines().map(of_the_record).collect();
    assert_eq!(found.len(), read.lines().count(), "each record once");
    found
}

/// The emulated program, if there is one.
fn emulated(test: &str) -> Option<Program> {
    let (path, words) = (env::var_os("LANDFALL_EMULATED"), env::var("LANDFALL_EMULATOR"));
    let (Some(path), Ok(words)) = (path, words) else {
        skipped(test, "`cargo xtask cross --test` builds it and runs this");
        return None;
    };
    let own = kind(&env::current_exe().unwrap());
    assert_ne!(kind(Path::new(&path)), own, "it is built for something else than these tests");
    let words = words.split(' ').map(str::to_owned).collect();
    Some(Program::at(PathBuf::from(path)).under(words))
}

/// What the head of an executable file (ELF) says of the processor that it is for, and whether it
/// asks for the system's C library.
fn kind(program: &Path) -> ([u8; 2], bool) {
    let bytes = fs::read(program).unwrap();
    let loaded = bytes[..4096].windows(9).any(|name| name == b"/ld-linux");
    ([bytes[18], bytes[19]], loaded)
}
