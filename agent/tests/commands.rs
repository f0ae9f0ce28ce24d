//! The commands that need whole nodes: the demonstration, `verify` and `doctor`, as processes.

use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::Duration;

use landfall::cli::Exit;
use landfall::demo::{self, Plan};
use landfall::transport::relay::BitsPerSecond;

const PROGRAM: &str = env!("CARGO_BIN_EXE_landfall");

#[tokio::test]
async fn the_demonstration_proves_what_it_shows() {
    let rate = BitsPerSecond(NonZeroU64::new(2_000_000).unwrap());
    let round_trip = Duration::from_millis(40);
    let mut said = Vec::new();
    let plan = Plan { program: PROGRAM.into(), rate, round_trip };
    let exit = demo::run(&plan, &mut said).await.unwrap();
    let said = String::from_utf8(said).unwrap();
    assert_eq!(exit, Exit::Done, "{said}");
    for part in ["MarineCadastre.gov", "SIGKILL", "hub notices: copy", "5,020, each exactly once"] {
        assert!(said.contains(part), "{part} in:\n{said}");
    }
}

#[test]
fn verify_finds_nothing_in_a_good_store_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = ship(dir.path());
    let before = contents(&data);
    let output = landfall(&data, &["verify", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], true);
    let branch = &report["branches"][0];
    assert_eq!((&branch["stream"], &branch["next"]), (&"ship-17/ais/0".into(), &1_000.into()));
    assert_eq!(contents(&data), before);
}

#[test]
fn verify_names_a_damaged_entry_and_fails() {
    let dir = tempfile::tempdir().unwrap();
    let data = ship(dir.path());
    let (path, at) = find(&data, b"\"line\":321");
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(b"X", at as u64).unwrap();
    let output = landfall(&data, &["verify"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("FAILED") && text.contains("lane normal"), "{text}");
}

#[test]
fn verify_leaves_a_running_node_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (data, _hub) = hub(dir.path());
    let output = landfall(&data, &["verify"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("in use by process"));
}

#[test]
fn the_doctor_sees_a_hub_that_is_well_and_one_that_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (data, hub) = hub(dir.path());
    let token = landfall(&data, &["token", "ship-17"]).stdout;
    let token = String::from_utf8(token).unwrap();
    let ship = dir.path().join("ship");
    assert!(landfall(&ship, &["init", "--join", token.trim()]).status.success());

    let output = landfall(&ship, &["doctor", "--json"]);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{found}");
    let checks = found["checks"].as_array().unwrap();
    for name in ["name", "udp", "mtu", "tcp", "hub key", "clock", "disk sync", "free space"] {
        let check = checks.iter().find(|check| check["name"] == name).expect(name);
        assert!(check["verdict"] == "ok" || name.contains("s"), "{check}");
    }
    // The doctor said no hello, so nobody was mistaken for a copy.
    let status = landfall(&data, &["status", "--json"]).stdout;
    let status: serde_json::Value = serde_json::from_slice(&status).unwrap();
    assert_eq!(status["alarms"].as_array().map(Vec::len), Some(0), "{status}");

    drop(hub);
    let output = landfall(&ship, &["doctor"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("FAIL  udp"), "{text}");
}

/// A ship with 1,000 records, which does not run.
fn ship(dir: &Path) -> PathBuf {
    let data = dir.join("ship");
    assert!(landfall(&data, &["init", "--site", "ship-17"]).status.success());
    let lines: String = (0..1_000).map(|line| format!("{{\"line\":{line}}}\n")).collect();
    let path = dir.join("lines");
    std::fs::write(&path, lines).unwrap();
    let output = landfall(&data, &["append", "ais", path.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    data
}

/// A hub that runs until the second value is dropped.
fn hub(dir: &Path) -> (PathBuf, Running) {
    let data = dir.join("hub");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = listener.local_addr().unwrap().to_string();
    drop(listener);
    let made = landfall(&data, &["init", "--site", "hub", "--listen", &listen]);
    assert!(made.status.success(), "{made:?}");
    let log = std::fs::File::create(dir.join("hub.log")).unwrap();
    let mut command = command(&data, &["run"]);
    let running = Running(command.stderr(log).spawn().unwrap());
    let socket = data.join("landfall.sock");
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        std::thread::yield_now();
    }
    (data, running)
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn command(data: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(&words[..1]).arg("--data").arg(data).args(&words[1..]);
    command
}

fn landfall(data: &Path, words: &[&str]) -> Output {
    command(data, words).output().unwrap()
}

/// All segments, by name.
fn contents(data: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = std::fs::read_dir(data.join("segments")).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// The segment and the place that hold some bytes.
fn find(data: &Path, bytes: &[u8]) -> (PathBuf, usize) {
    let found = contents(data).into_iter().find_map(|(path, content)| {
        let at = content.windows(bytes.len()).position(|window| window == bytes)?;
        Some((path, at))
    });
    found.unwrap()
}
