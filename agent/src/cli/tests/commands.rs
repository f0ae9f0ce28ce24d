//! Commands against a node in memory.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use super::super::*;
use crate::api::tests::memory::Memory;
use crate::api::{
    Alarm, Client, ClockStatus, GapStatus, LaneStatus, LinkState, LinkStatus, MediumStatus,
    MemoryStatus, SiteStatus, Status, Target, serve_connection,
};

struct World {
    node: Memory,
    client: Client,
    folder: tempfile::TempDir,
    _stop: watch::Sender<bool>,
}

impl World {
    fn new() -> Self {
        let node = Memory::default();
        let (stop, stopped) = watch::channel(false);
        let served = node.clone();
        let connect = move || {
            let (client, server) = tokio::io::duplex(64 << 10);
            tokio::spawn(serve_connection(server, served.clone(), 64 << 10, stopped.clone()));
            client
        };
        let client = Client::new(Target::InProcess(Arc::new(connect)));
        Self { node, client, folder: tempfile::tempdir().unwrap(), _stop: stop }
    }

    fn file(&self, text: &str) -> String {
        let path = self.folder.path().join("in.ndjson");
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Runs a command; `FILE` in the line stands for `file`.
    async fn run(&self, line: &str, file: &str) -> (String, Result<Exit, Failure>) {
        let line = line.replace("FILE", file);
        let words = line.split_whitespace().map(OsString::from);
        let command = parse(words, &|_| Some(OsString::from("/node"))).unwrap();
        let mut out = Vec::new();
        let (client, out_ref) = (&self.client, &mut out);
        let exit = match command {
            Command::Append(options) => append::run(&options, client, out_ref).await,
            Command::Read(options) => read::run(&options, client, out_ref).await,
            Command::Status(options) => status::run(&options, client, out_ref).await,
            Command::Sites(options) => sites::run(&options, client, out_ref).await,
            Command::Token(options) => token::run(&options, client, out_ref).await,
            other => panic!("not a client of the API: {other:?}"),
        };
        (String::from_utf8(out).unwrap(), exit)
    }
}

#[tokio::test]
async fn a_file_is_appended_and_read_back() {
    let world = World::new();
    let text: String = (0..5_000).map(|n| format!("{{\"n\": {n}}}\n")).collect();
    let file = world.file(&text);
    let (out, exit) = world.run("append ais FILE --producer import", &file).await;
    assert_eq!(exit, Ok(Exit::Done));
    assert_eq!(out, "ship-17/ais/0@0~1f00ba5e ship-17/ais/0@4999~1f00ba5e 5000\n");
    let (out, _) = world.run("append ais FILE --producer import --json", &file).await;
    let last = out.lines().last().unwrap();
    assert!(last.starts_with("{\"done\":{\"records\":0,\"duplicates\":5000,"), "{last}");

    let (out, exit) = world.run("read ais --raw", "").await;
    assert_eq!(exit, Ok(Exit::Done));
    assert_eq!(out, text);
    let (out, _) = world.run("read ais --from @4998 --max 1", "").await;
    assert!(out.starts_with("{\"topic\":\"ais\"") && out.lines().count() == 1, "{out}");
    let (out, exit) = world.run("read ais --follow --max 4999", "").await;
    assert_eq!((out.lines().count(), exit), (4_999, Ok(Exit::Done)));
}

#[tokio::test]
async fn what_was_written_before_a_bad_line_is_printed_and_the_line_named() {
    let world = World::new();
    let file = world.file("{\"n\":1}\n{\"n\":2}\nnonsense\n");
    let (out, exit) = world.run("append ais FILE", &file).await;
    assert_eq!(out, "ship-17/ais/0@0~1f00ba5e ship-17/ais/0@1~1f00ba5e 2\n");
    let failure = exit.unwrap_err();
    assert_eq!(failure.exit, Exit::Refused);
    assert!(failure.message.contains(": line 3: not JSON"), "{failure}");
    assert!(failure.message.contains("nothing from this line on was written"), "{failure}");
    let (_, exit) = world.run("append ais FILE --skip-bad", &file).await;
    assert_eq!(exit, Ok(Exit::Done));
    assert_eq!(world.node.values().len(), 4);
    let (_, exit) = world.run("append ais FILE", "/nonexistent").await;
    assert_eq!(exit.unwrap_err().exit, Exit::Usage);
    let (_, exit) = world.run("read ais --from @0 --origin x --partition 0", "").await;
    assert_eq!(exit, Ok(Exit::Done));
}

#[tokio::test]
async fn operators_get_a_token_and_see_sites() {
    let world = World::new();
    let (out, _) = world.run("token ship-* --uses 3 --valid-for 24h", "").await;
    assert_eq!(out, "lf1-secret\n");
    let (out, _) = world.run("sites", "").await;
    assert!(out.contains("`landfall token`"), "{out}");
    let (_, exit) = world.run("sites revoke nobody", "").await;
    assert_eq!(exit.unwrap_err().exit, Exit::Refused);
    let (out, _) = world.run("status --json", "").await;
    assert!(out.starts_with("{\"site\":\"ship-17\""), "{out}");
}

#[tokio::test]
async fn no_node_is_found_where_none_runs() {
    let world = World::new();
    let data = world.folder.path().to_owned();
    let options = DataOptions { data, config: None };
    assert!(connect::running_node(&options, []).await.unwrap().is_none());
    let wrong = [("LANDFALL_SIET".to_owned(), "x".to_owned())];
    let failure = connect::running_node(&options, wrong).await.err().unwrap();
    assert!(failure.exit == Exit::Usage && failure.message.contains("`LANDFALL_SITE`"));
    let _listener = crate::api::Listener::unix(&options.data.join("landfall.sock")).await.unwrap();
    assert!(connect::running_node(&options, []).await.unwrap().is_some());
    assert!(Path::new(&options.data).exists());
}

/// What the node does to its medium, and takes of memory.
fn add_costs(status: &mut Status) {
    status.medium = MediumStatus {
        written_bytes: 300 << 10,
        payload_bytes: 200 << 10,
        process_bytes: 5 << 20,
        life_bytes: 9 << 20,
        bears_bytes: Some(1 << 40),
        days_left: Some(812),
    };
    status.memory = MemoryStatus {
        cap_bytes: Some(32 << 20),
        used_bytes: Some(4 << 20),
        resident_bytes: Some(7 << 20),
        peak_bytes: Some(8 << 20),
    };
}

#[tokio::test]
async fn people_see_lanes_link_gaps_and_alarms() {
    let world = World::new();
    let mut status = world.client.status().await.unwrap();
    status.now_ms = 1_000_000;
    status.lanes.push(LaneStatus {
        name: "normal".to_owned(),
        next_seq: 5_000,
        durable_seq: 5_000,
        root_seq: 1_200,
        behind_records: 3_800,
        behind_bytes: 1 << 20,
        budget_bytes: 1 << 30,
        used_bytes: 32 << 20,
        written_bytes: 3 << 20,
        payload_bytes: 2 << 20,
        on_full: "reject".to_owned(),
    });
    status.link = Some(LinkStatus {
        state: LinkState::Waiting,
        since_ms: 820_000,
        why: "hub.example.org does not answer".to_owned(),
        address: Some("hub.example.org:4520".to_owned()),
        carrier: None,
        attempts: 7,
    });
    let (stream, why) = ("ship-17/ais/0".to_owned(), "damaged".to_owned());
    status.gaps.push(GapStatus { stream, from: 7, to: 9, why });
    status.alarms.push(Alarm {
        what: "the disk is full".to_owned(),
        place: "/data".to_owned(),
        hint: "free space".to_owned(),
        since_ms: 999_000,
    });
    add_costs(&mut status);
    status.sites.push(SiteStatus {
        site: "ship-1".to_owned(),
        state: "away".to_owned(),
        last_contact_ms: Some(400_000),
        version: None,
        behind_records: Some(12),
        behind_bytes: Some(2048),
        oldest_unsent_ms: None,
        full_at_ms: Some(4_600_000),
        alarms: vec!["copy".to_owned()],
    });
    let text = status::status_text(&status);
    for line in [
        "link: down, for 3m, hub.example.org:4520, 7 attempts\n  \
         hub.example.org does not answer",
        "normal     5,000      5,000  1,200   3,800  1 MiB  32 MiB of 1 GiB  3 MiB, \
         1.50 a byte  reject",
        "gap: ship-17/ais/0@7 to @8: damaged",
        "ALARM: the disk is full (/data, 1s ago)\n  free space",
        "written since the start: 300 KiB, 1.50 a byte of records in the log, 5 MiB in all; 9 MiB",
        "memory: 4 MiB of 32 MiB; 7 MiB with the program's file, 8 MiB at most",
        "  the medium bears 1024 GiB: 812 days left at this rate",
        "ship-1  away   10m ago       -            12  2 KiB  -              in 1h  copy",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn people_see_a_clock_that_is_wrong_and_only_then() {
    let world = World::new();
    let mut status = world.client.status().await.unwrap();
    for (set, behind_ms, line) in [
        (true, None, None),
        (true, Some(-2_010), None),
        (true, Some(90_000), Some("clock: 1m 30s behind the hub's, give or take 20ms")),
        (true, Some(-90_000), Some("clock: 1m 30s ahead of the hub's, give or take 20ms")),
        (false, None, Some("clock: nobody has set it; times are marked")),
    ] {
        status.clock = ClockStatus { set, behind_ms, error_ms: behind_ms.map(|_| 20) };
        let text = status::status_text(&status);
        match line {
            Some(line) => assert!(text.contains(line), "{line} is not in\n{text}"),
            None => assert!(!text.contains("clock"), "nothing is wrong:\n{text}"),
        }
    }
}
