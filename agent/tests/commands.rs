//! The commands that need whole nodes: the demonstration, `verify` and `doctor`, as processes.

use std::io::{BufRead as _, BufReader};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
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
    let plan = Plan { rate, round_trip, ..Plan::standard(PROGRAM.into()) };
    let exit = demo::run(&plan, &mut said).await.unwrap();
    let said = String::from_utf8(said).unwrap();
    assert_eq!(exit, Exit::Done, "{said}");
    let view = "The view has all 4,264 vessels";
    let parts =
        ["MarineCadastre.gov", "SIGKILL", view, "hub notices: copy", "5,020, each exactly once"];
    for part in parts {
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

#[test]
fn what_was_read_is_appended_elsewhere_with_all_that_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("ship");
    assert!(landfall(&data, &["init", "--site", "ship-17"]).status.success());
    let records = "{\"key\":\"a\",\"value\":{\"x\": 1.0},\"timestamp\":\"2022-01-03T00:00:00Z\",\
         \"headers\":[{\"name\":\"unit\",\"value\":\"kn\"},{\"name\":\"bare\"}]}\n\
         {\"key\":\"a\",\"form\":\"tombstone\"}\n\
         {\"key\":{\"base64\":\"/w==\"},\"value\":{\"base64\":\"//8=\"},\"form\":\"bytes\"}\n\
         {\"value\":\"$GPGGA\",\"form\":\"text\"}\n";
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    std::fs::write(&first, records).unwrap();
    done(&data, &["append", "one", first.to_str().unwrap(), "--records"]);
    let one = done(&data, &["read", "one"]);
    std::fs::write(&second, &one).unwrap();
    done(&data, &["append", "two", second.to_str().unwrap(), "--records"]);
    let two = done(&data, &["read", "two"]);
    // What is after the seq is what the record itself has.
    let content = |line: &str| line.split_once(",\"timestamp\":").unwrap().1.to_owned();
    let contents = |text: &str| text.lines().map(content).collect::<Vec<_>>();
    assert_eq!(contents(&one), contents(&two));
    let wanted = "\"2022-01-03T00:00:00.000Z\",\"key\":\"a\",\"value\":{\"x\": 1.0},\
         \"headers\":[{\"name\":\"unit\",\"value\":\"kn\"},{\"name\":\"bare\",\"value\":null}]}";
    assert_eq!(contents(&two)[0], wanted);
    let ends =
        ["\"tombstone\",\"headers\":[]}", "\"bytes\",\"headers\":[]}", "\"text\",\"headers\":[]}"];
    for (line, end) in contents(&two)[1..].iter().zip(ends) {
        assert!(line.ends_with(end), "{line}");
    }
}

#[test]
fn a_group_is_written_once_and_only_on_its_condition() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("ship");
    assert!(landfall(&data, &["init", "--site", "ship-17"]).status.success());
    let path = dir.path().join("group");
    let group =
        "{\"topic\":\"orders\",\"key\":\"o\",\"value\":1}\n{\"topic\":\"payments\",\"value\":2}\n";
    std::fs::write(&path, group).unwrap();
    let path = path.to_str().unwrap();
    let first = "{\"topic\":\"orders\",\"key\":\"o\"}";
    let words = ["group", path, "--key", "one", "--if-last", first];
    let written = done(&data, &words);
    assert!(
        written.starts_with("ship-17/orders/0@0~") && written.lines().count() == 2,
        "{written}"
    );
    assert_eq!(done(&data, &words), "", "it had been written");
    let refused = landfall(&data, &["group", path, "--if-last", first]);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!((refused.status.code(), told.contains("condition 1")), (Some(3), true), "{told}");
    assert_eq!(done(&data, &["read", "payments", "--raw"]), "2\n");
}

#[test]
fn a_live_query_prints_each_answer_and_waits_for_a_position() {
    let dir = tempfile::tempdir().unwrap();
    let (data, _hub) = hub_with(dir.path(), "[view.seen.latest]\ntopic = \"a\"\n");
    let (one, sql) = (dir.path().join("one"), "SELECT count(*) AS n FROM seen");
    // The view is made when the node has begun.
    while !landfall(&data, &["query", sql]).status.success() {}
    let mut live = command(&data, &["query", sql, "--live", "--json"]);
    let mut live = Running(live.stdout(Stdio::piped()).spawn().unwrap());
    let mut answers = BufReader::new(live.0.stdout.take().unwrap()).lines();
    let mut next = || answers.next().unwrap().unwrap();
    assert!(next().contains("\"rows\":[[0]]"));
    for (number, key) in ["x", "y"].iter().enumerate() {
        std::fs::write(&one, format!("{{\"key\":\"{key}\",\"value\":1}}\n")).unwrap();
        let written = done(&data, &["append", "a", one.to_str().unwrap(), "--records"]);
        let position = written.split(' ').next().unwrap();
        let seen = done(&data, &["query", sql, "--json", "--min-position", position]);
        assert_eq!(seen, format!("{{\"n\":{}}}\n", number + 1));
        assert!(next().contains(&format!("\"rows\":[[{}]]", number + 1)));
    }
    let far = landfall(&data, &["query", sql, "--min-position", "hub/a/0@9", "--wait", "1ms"]);
    assert!(String::from_utf8(far.stderr).unwrap().contains("did not come in time"));
    let early = landfall(&data, &["read", "a", "--min-position", "hub/a/0@9", "--wait", "1ms"]);
    assert!(String::from_utf8(early.stderr).unwrap().contains("did not come in time"));
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
    hub_with(dir, "")
}

fn hub_with(dir: &Path, settings: &str) -> (PathBuf, Running) {
    let data = dir.join("hub");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = listener.local_addr().unwrap().to_string();
    drop(listener);
    let made = landfall(&data, &["init", "--site", "hub", "--listen", &listen]);
    assert!(made.status.success(), "{made:?}");
    let config = data.join("landfall.toml");
    let made = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, made + settings).unwrap();
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
    // What the tests are told by variables is not for the program, which knows none of it.
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.to_string_lossy().starts_with("LANDFALL_")) {
        command.env_remove(name);
    }
    command.args(&words[..1]).arg("--data").arg(data).args(&words[1..]);
    command
}

fn landfall(data: &Path, words: &[&str]) -> Output {
    command(data, words).output().unwrap()
}

/// What a command printed that must succeed.
fn done(data: &Path, words: &[&str]) -> String {
    let output = landfall(data, words);
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
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
