//! How processes end, and what their next start finds.

use std::process::Stdio;
use std::time::Duration;

use landfall::media::DirLock;
use landfall_tests::process::{PATIENCE, pause};
use landfall_tests::soak::{self, Options};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::UnixDatagram;

use crate::fleet::{Fleet, lines, synced};

#[tokio::test]
async fn soak_survives_100_kills() {
    let dir = tempfile::tempdir().unwrap();
    let seed = landfall::entropy::number().unwrap();
    println!("seed {seed}");
    let (dir, minutes) = (dir.path().to_path_buf(), Some(3));
    let options = Options { kills: 100, seed, dir, minutes, verbose: true };
    let tally = soak::run(&options).await.unwrap_or_else(|error| panic!("{error}"));
    println!("{tally}");
    assert!(tally.kills >= 100, "only {} kills within the time", tally.kills);
    assert!(tally.records >= tally.acknowledged && tally.acknowledged > 1_000);
}

#[tokio::test]
async fn a_node_that_was_told_to_stop_says_so_at_its_next_start() {
    let (fleet, hub) = Fleet::running().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    let mut runs = ship.run_up().await.unwrap();
    let file = fleet.file("in", &lines("a", 10)).unwrap();
    ship.done("append", &["log", &file]).await.unwrap();
    runs.until("synced", synced).await.unwrap();
    for node in [runs, hub] {
        assert!(node.terminate().await.unwrap().success());
    }
    for node in [&ship, &fleet.hub] {
        std::fs::remove_file(node.log()).unwrap();
        let again = node.run_up().await.unwrap();
        let log = std::fs::read_to_string(node.log()).unwrap();
        assert!(log.contains("had been closed in good order"), "{log}");
        again.kill().await.unwrap();
        std::fs::remove_file(node.log()).unwrap();
        let again = node.run_up().await.unwrap();
        let log = std::fs::read_to_string(node.log()).unwrap();
        assert!(log.contains("had not been closed in good order"), "{log}");
        drop(again);
    }
}

#[tokio::test]
async fn a_service_manager_is_told_that_the_node_runs_that_it_still_does_and_that_it_stops() {
    let (fleet, hub) = Fleet::running().await.unwrap();
    hub.terminate().await.unwrap();
    let socket = fleet.dir.path().join("manager");
    let manager = UnixDatagram::bind(&socket).unwrap();
    let hears = async || {
        let mut line = [0; 64];
        let heard = tokio::time::timeout(PATIENCE, manager.recv(&mut line)).await;
        let bytes = heard.expect("the manager is told something").unwrap();
        String::from_utf8_lossy(&line[..bytes]).into_owned()
    };
    let data = fleet.hub.path.to_string_lossy().into_owned();
    let mut command = fleet.program.command(&["run", "--data", &data]);
    command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "400000");
    let mut node = command.stderr(Stdio::null()).spawn().unwrap();
    assert_eq!(hears().await, "READY=1");
    assert!(fleet.hub.client().status().await.is_ok(), "it says so when it answers");
    for _ in 0..3 {
        assert_eq!(hears().await, "WATCHDOG=1");
    }
    let pid = node.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let last = async {
        loop {
            match hears().await.as_str() {
                "WATCHDOG=1" => {}
                told => return told.to_owned(),
            }
        }
    };
    assert_eq!(last.await, "STOPPING=1");
    assert!(node.wait().await.unwrap().success());
}

#[tokio::test]
async fn a_second_process_on_a_directory_is_refused_and_told_who_has_it() {
    let (fleet, hub) = Fleet::running().await.unwrap();
    let second = fleet.hub.call("run", &[]).await.unwrap();
    assert_eq!(second.code, Some(3), "{second:?}");
    assert!(second.err.contains("is in use by process"), "{second:?}");
    assert!(hub.status().await.is_some(), "the first goes on");
}

#[tokio::test]
async fn a_command_that_comes_while_a_node_starts_waits_for_it() {
    let (fleet, hub) = Fleet::running().await.unwrap();
    hub.kill().await.unwrap();
    for _ in 0..10 {
        let starting = fleet.hub.run(&[]).unwrap();
        fleet.hub.done("status", &[]).await.unwrap();
        starting.kill().await.unwrap();
    }
}

#[tokio::test]
async fn a_node_starts_as_soon_as_a_command_that_has_its_directory_is_through() {
    let (fleet, hub) = Fleet::running().await.unwrap();
    assert!(hub.terminate().await.unwrap().success());
    let held = DirLock::take(&fleet.hub.path).unwrap();
    let mut starting = fleet.hub.run(&[]).unwrap();
    let early = starting.ended_within(Duration::from_secs(2)).await;
    assert!(early.is_err(), "it waits: {early:?}");
    drop(held);
    starting.up().await.unwrap();
    assert!(starting.terminate().await.unwrap().success());
    let held = DirLock::take(&fleet.hub.path).unwrap();
    let waiting = fleet.hub.run(&[]).unwrap();
    pause(Duration::from_secs(2)).await;
    assert!(waiting.terminate().await.unwrap().success(), "who waits can be told to stop");
    drop(held);
}

#[tokio::test]
async fn who_follows_a_node_that_does_not_run_waits_for_it_and_does_not_keep_it_from_starting() {
    let (fleet, hub) = Fleet::running().await.unwrap();
    let file = fleet.file("in", &lines("a", 10)).unwrap();
    fleet.hub.done("append", &["log", &file]).await.unwrap();
    assert!(hub.terminate().await.unwrap().success());
    let follow = fleet.hub.call("read", &["log", "--follow", "--max", "10"]);
    let mut follow = std::pin::pin!(follow);
    let early = tokio::time::timeout(Duration::from_secs(1), &mut follow).await;
    assert!(early.is_err(), "it waits: {early:?}");
    let hub = fleet.hub.run_up().await.unwrap();
    let followed = follow.await.unwrap();
    assert_eq!((followed.code, followed.out.lines().count()), (Some(0), 10), "{followed:?}");
    assert!(followed.err.contains("waiting for it"), "{followed:?}");
    drop(hub);
}

#[tokio::test]
async fn the_status_for_machines_says_how_far_a_ship_is_and_why() {
    let (fleet, hub) = Fleet::running().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    let file = fleet.file("in", &lines("a", 25)).unwrap();
    ship.done("append", &["log", &file]).await.unwrap();
    let status = ship.done("status", &["--json"]).await.unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let normal = |status: &serde_json::Value| {
        let lanes = status["lanes"].as_array().unwrap();
        let lane = lanes.iter().find(|lane| lane["name"] == "normal").unwrap();
        ["next_seq", "root_seq", "behind_records"].map(|name| lane[name].as_u64().unwrap())
    };
    assert_eq!(normal(&status), [25, 0, 25]);
    assert!(status["link"]["why"].is_string(), "{status}");
    let done = ship.call("run", &["--until-synced"]).await.unwrap();
    assert_eq!(done.code, Some(0), "{done:?}");
    let status = ship.done("status", &["--json"]).await.unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(normal(&status), [25, 25, 0]);
    for list in ["alarms", "gaps", "forks"] {
        assert_eq!(status[list], serde_json::json!([]), "{list}");
    }
    drop(hub);
}
