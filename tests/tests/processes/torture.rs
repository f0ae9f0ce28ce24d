//! `landfall torture`: what it says of kills, of media that forget, of old images and of damage.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Stdio;

use landfall_tests::process::{NodeDir, Running, until};
use serde_json::Value;
use tokio::process::Child;

use crate::copies::copy_folder;
use crate::fleet::{Fleet, synced};

/// A ship that is tortured, and the ledger of it.
struct Rig {
    fleet: Fleet,
    hub: Running,
    ship: NodeDir,
    ledger: String,
}

impl Rig {
    async fn new() -> Self {
        let (fleet, hub) = Fleet::running().await.unwrap();
        let ship = fleet.ship("ship-1").await.unwrap();
        let ledger = fleet.dir.path().join("ledger").to_string_lossy().into_owned();
        Self { fleet, hub, ship, ledger }
    }

    /// Writes so many records to the node that runs, and says how many the writer told.
    async fn write(&self, records: u64) -> u64 {
        let records = records.to_string();
        let words = ["--write", "--ledger", &self.ledger, "--records", &records, "--json"];
        let wrote = self.ship.done("torture", &words).await.unwrap();
        let wrote: Value = serde_json::from_str(&wrote).unwrap();
        wrote["acknowledged"].as_u64().unwrap()
    }

    /// Starts a writer that goes on until it is killed.
    fn writer(&self) -> Child {
        let data = self.ship.path.to_string_lossy();
        let words = ["torture", "--data", &data, "--write", "--ledger", &self.ledger];
        let mut command = self.ship.program.command(&words);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Waits until the ledger tells of so many acknowledgements.
    async fn until_acked(&self, lines: usize) {
        let told = until("acknowledgements in the ledger", async || {
            (acked(Path::new(&self.ledger)) >= lines).then_some(())
        });
        told.await.unwrap();
    }

    async fn check(&self, words: &[&str]) -> Checked {
        let words = [&["--check", "--ledger", &self.ledger, "--json"], words].concat();
        let outcome = self.ship.call("torture", &words).await.unwrap();
        let report = serde_json::from_str(&outcome.out);
        Checked { code: outcome.code, report: report.unwrap_or_else(|_| panic!("{outcome:?}")) }
    }

    async fn stop(&self, runs: Running) {
        assert!(runs.terminate().await.unwrap().success());
    }
}

fn acked(ledger: &Path) -> usize {
    let text = fs::read_to_string(ledger).unwrap_or_default();
    text.lines().filter(|line| line.starts_with("{\"acked\"")).count()
}

/// What a check came to.
#[derive(Debug)]
struct Checked {
    code: Option<i32>,
    report: Value,
}

impl Checked {
    fn assert_kept(&self, what: &str) {
        assert_eq!(
            (self.code, &self.report["ok"]),
            (Some(0), &Value::Bool(true)),
            "{what}: {self:?}"
        );
        assert_eq!(self.report["faults"], Value::Array(Vec::new()));
    }

    fn assert_broken_by(&self, whom: &str) {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert_eq!(self.report["broke"], whom, "{self:?}");
    }

    /// The numbers of the faults of a kind, and why.
    fn faults(&self, what: &str) -> (Vec<u64>, String) {
        let faults = self.report["faults"].as_array().unwrap();
        let faults = faults.iter().filter(|fault| fault["what"] == what);
        let (mut numbers, mut whys) = (Vec::new(), Vec::new());
        for fault in faults {
            let number = |name: &str| fault[name].as_u64().unwrap();
            numbers.extend(number("first")..=number("last"));
            whys.push(fault["why"].as_str().unwrap());
        }
        (numbers, whys.join("; "))
    }

    fn sum(&self, column: &str) -> u64 {
        let runs = self.report["runs"].as_array().unwrap();
        runs.iter().map(|run| run[column].as_u64().unwrap()).sum()
    }
}

/// The numbers of the test's records at a node, as reading tells.
async fn numbers(node: &NodeDir) -> Vec<u64> {
    let read = node.done("read", &["torture", "--raw"]).await.unwrap();
    let number = |line: &str| serde_json::from_str::<Value>(line).ok()?["n"].as_u64();
    read.lines().filter_map(number).collect()
}

#[tokio::test]
async fn a_node_and_a_writer_that_are_killed_lose_nothing() {
    let rig = Rig::new().await;
    let mut runs = rig.ship.run_up().await.unwrap();
    let mut writer = rig.writer();
    for kill in 1..=3 {
        rig.until_acked(kill * 15).await;
        runs.kill().await.unwrap();
        runs = rig.ship.run_up().await.unwrap();
    }
    rig.until_acked(60).await;
    writer.kill().await.unwrap();
    runs.kill().await.unwrap();
    let checked = rig.check(&[]).await;
    checked.assert_kept("after kills");
    let all = checked.sum("acknowledged");
    assert!(all > 60 && checked.sum("here") == all, "{checked:?}");

    // A second run is added to the ledger; the hub has both, once, whether it runs or not.
    let mut runs = rig.ship.run_up().await.unwrap();
    assert_eq!(rig.write(500).await, 500);
    runs.until("synced", synced).await.unwrap();
    rig.stop(runs).await;
    let hub = rig.fleet.hub.path.to_string_lossy().into_owned();
    let socket = rig.fleet.hub.path.join("landfall.sock").to_string_lossy().into_owned();
    for place in [&hub, &socket] {
        let checked = rig.check(&["--hub", place]).await;
        checked.assert_kept("at the hub");
        assert_eq!((checked.sum("acknowledged"), checked.sum("at_hub")), (all + 500, all + 500));
    }
    let Rig { fleet, hub: runs, ledger, .. } = rig;
    assert!(runs.terminate().await.unwrap().success());
    let words = ["--check", "--ledger", &ledger];
    let checked = fleet.hub.call("torture", &words).await.unwrap();
    assert_eq!(checked.code, Some(0), "a hub alone, as people read it: {checked:?}");
    assert!(checked.out.contains("KEPT"), "{checked:?}");
}

#[tokio::test]
async fn an_older_copy_of_the_directory_is_told_from_an_error_of_the_agent() {
    let rig = Rig::new().await;
    let runs = rig.ship.run_up().await.unwrap();
    rig.write(200).await;
    rig.stop(runs).await;
    let image = rig.fleet.dir.path().join("image");
    copy_folder(&rig.ship.path, &image);
    let runs = rig.ship.run_up().await.unwrap();
    rig.write(300).await;
    runs.kill().await.unwrap();
    rig.check(&[]).await.assert_kept("before the image is restored");

    fs::remove_dir_all(&rig.ship.path).unwrap();
    copy_folder(&image, &rig.ship.path);
    let checked = rig.check(&[]).await;
    checked.assert_broken_by("medium");
    let (lost, why) = checked.faults("lost");
    assert_eq!(lost, (1..=300).collect::<Vec<_>>());
    assert!(why.contains("old image"), "{why}");
    assert_eq!((checked.sum("here"), checked.sum("lost")), (200, 300));

    fs::remove_dir_all(&rig.ship.path).unwrap();
    fs::create_dir(&rig.ship.path).unwrap();
    let words = ["--check", "--ledger", &rig.ledger];
    let gone = rig.ship.call("torture", &words).await.unwrap();
    assert_eq!(gone.code, Some(1), "{gone:?}");
    assert!(gone.err.contains("500 records") && gone.err.contains("no node"), "{gone:?}");
}

/// The state of a ship in the middle of an opening, and the numbers that were written behind it.
async fn rolled_back(rig: &Rig, with_control: bool) -> Checked {
    let mut runs = rig.ship.run_up().await.unwrap();
    rig.write(200).await;
    runs.until("it is idle", synced).await.unwrap();
    let image = rig.fleet.dir.path().join("image");
    copy_folder(&rig.ship.path.join("segments"), &image);
    rig.write(300).await;
    runs.kill().await.unwrap();
    let segments = rig.ship.path.join("segments");
    fs::remove_dir_all(&segments).unwrap();
    copy_folder(&image, &segments);
    if !with_control {
        let folder = rig.ship.path.join("torture");
        let newest = newest(&folder).unwrap();
        fs::remove_file(newest).unwrap();
    }
    rig.check(&[]).await
}

fn newest(folder: &Path) -> io::Result<std::path::PathBuf> {
    let found = fs::read_dir(folder)?.map(|entry| {
        let path = entry?.path();
        Ok((path.metadata()?.modified()?, path))
    });
    let found: Vec<_> = found.collect::<io::Result<_>>()?;
    found.into_iter().max().map(|(_, path)| path).ok_or(io::ErrorKind::NotFound.into())
}

#[tokio::test]
async fn a_medium_that_forgets_the_end_of_everything_is_blamed() {
    let rig = Rig::new().await;
    let checked = rolled_back(&rig, false).await;
    checked.assert_broken_by("medium");
    let (lost, why) = checked.faults("lost");
    assert_eq!(lost, (1..=300).collect::<Vec<_>>());
    assert!(why.contains("control file"), "{why}");
}

#[tokio::test]
async fn an_agent_whose_journal_ends_before_the_control_file_is_blamed() {
    let rig = Rig::new().await;
    let checked = rolled_back(&rig, true).await;
    checked.assert_broken_by("agent");
    let (lost, why) = checked.faults("lost");
    assert_eq!(lost, (1..=300).collect::<Vec<_>>());
    assert!(why.contains("acknowledged what it had not synced"), "{why}");
}

#[tokio::test]
async fn a_damaged_segment_is_the_mediums_with_the_exact_numbers() {
    let rig = Rig::new().await;
    let runs = rig.ship.run_up().await.unwrap();
    rig.write(600).await;
    runs.kill().await.unwrap();
    let mark = br#""n":300,"#;
    let segments = rig.ship.path.join("segments");
    let (path, mut bytes, at) = fs::read_dir(segments)
        .unwrap()
        .find_map(|entry| {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            let at = bytes.windows(mark.len()).position(|window| window == mark)?;
            Some((path, bytes, at))
        })
        .unwrap();
    bytes[at + 5] ^= 1;
    fs::write(path, bytes).unwrap();

    let checked = rig.check(&[]).await;
    checked.assert_broken_by("medium");
    let (lost, why) = checked.faults("lost");
    assert!(why.contains("damaged"), "{why}");
    let evidence = checked.report["evidence"].to_string();
    assert!(evidence.contains("damage: lane normal, segment"), "{evidence}");
    let left = numbers(&rig.ship).await;
    let wanted: Vec<_> = (1..=600).filter(|number| !left.contains(number)).collect();
    assert_eq!(lost, wanted);
    assert!(lost.contains(&300) && lost.len() <= 128, "{lost:?}");
    let Rig { ship, ledger, .. } = &rig;
    let read = ship.call("torture", &["--check", "--ledger", ledger]).await.unwrap();
    assert!(read.out.contains("THE MEDIUM BROKE ITS PROMISE"), "as people read it: {read:?}");
}

#[tokio::test]
async fn a_record_that_is_there_twice_or_changed_is_told() {
    let rig = Rig::new().await;
    let mut runs = rig.ship.run_up().await.unwrap();
    rig.write(50).await;
    let lines = rig.ship.done("read", &["torture", "--raw"]).await.unwrap();
    let seventh = lines.lines().nth(6).unwrap();
    let changed = seventh.replace(r#""crc":"#, r#""more":0,"crc":"#);
    let file = rig.fleet.file("in", &[seventh.to_owned(), changed]).unwrap();
    rig.ship.done("append", &["torture", &file, "--partition", "0"]).await.unwrap();
    runs.until("synced", synced).await.unwrap();
    rig.stop(runs).await;
    let hub = rig.fleet.hub.path.to_string_lossy().into_owned();
    let checked = rig.check(&["--hub", &hub]).await;
    checked.assert_broken_by("agent");
    for place in ["node", "hub"] {
        let faults = checked.report["faults"].as_array().unwrap();
        let here = |what: &str| {
            let mut faults = faults.iter().filter(|fault| fault["place"] == place);
            faults.any(|fault| fault["what"] == what && fault["first"] == 7)
        };
        assert!(here("twice") && here("changed"), "{place}: {checked:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_tested_is_refused_with_what_to_do() {
    let rig = Rig::new().await;
    let write = rig.ship.call("torture", &["--write", "--ledger", &rig.ledger]).await.unwrap();
    assert_eq!(write.code, Some(3), "{write:?}");
    assert!(write.err.contains("no node runs") && write.err.contains("landfall run"), "{write:?}");
    let runs = rig.ship.run_up().await.unwrap();
    rig.write(10).await;
    let words = ["--check", "--ledger", &rig.ledger];
    let check = rig.ship.call("torture", &words).await.unwrap();
    assert_eq!(check.code, Some(3), "{check:?}");
    assert!(check.err.contains("stop it"), "{check:?}");
    rig.stop(runs).await;
    let empty = rig.fleet.file("empty", &[]).unwrap();
    for ledger in [&empty, "/nonexistent"] {
        let check = rig.ship.call("torture", &["--check", "--ledger", ledger]).await.unwrap();
        assert_eq!(check.code, Some(2), "{check:?}");
        assert!(check.err.contains(ledger), "{check:?}");
    }
    drop(rig.hub);
}
