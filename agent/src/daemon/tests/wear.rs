//! What a node writes, and how its appends share that.

use std::time::Duration;

use super::*;

/// Records of 1,000 bytes, on their way.
async fn begin_many(daemon: &Daemon, count: usize) -> Vec<Ticket> {
    let mut tickets = Vec::new();
    for _ in 0..count {
        tickets.push(append(daemon, format!("\"{}\"", "x".repeat(998))).await);
    }
    tickets
}

async fn append_many(daemon: &Daemon, count: usize) {
    for ticket in begin_many(daemon, count).await {
        ticket.await.unwrap();
    }
}

#[tokio::test]
async fn what_is_written_for_a_lane_is_told_beside_its_records() {
    let (_folder, daemon) = node();
    append_many(&daemon, 500).await;
    let status = daemon.handle.status().await.unwrap();
    let lane = status.lanes.iter().find(|lane| lane.name == "normal").unwrap();
    let idle = status.lanes.iter().find(|lane| lane.name == "urgent").unwrap();
    assert!((500_000..520_000).contains(&lane.payload_bytes), "{lane:?}");
    assert!(lane.written_bytes > lane.payload_bytes && lane.written_bytes < 3 << 20, "{lane:?}");
    assert!(lane.written_bytes.is_multiple_of(4_096), "{lane:?}");
    assert_eq!((idle.payload_bytes, idle.written_bytes), (0, 0));
    let medium = status.medium;
    assert_eq!(medium.payload_bytes, lane.payload_bytes);
    assert!(medium.written_bytes > lane.written_bytes, "checkpoints are written, too: {medium:?}");
    assert!(medium.process_bytes >= medium.written_bytes, "{medium:?}");
    assert!(daemon.stop().await.clean);
}

#[tokio::test]
async fn what_a_node_wrote_in_its_life_is_known_after_a_stop() {
    let (folder, daemon) = node_with("[storage]\nmedium_writes_max = \"1TB\"\n");
    append_many(&daemon, 500).await;
    let first = daemon.handle.status().await.unwrap().medium;
    assert_eq!((first.bears_bytes, first.days_left), (Some(1_000_000_000_000), None));
    assert!(daemon.stop().await.clean);
    let config = Config::load(None, folder.path(), []).unwrap();
    let daemon = Daemon::start(open(folder.path(), config).unwrap(), false).unwrap();
    let second = daemon.handle.status().await.unwrap().medium;
    assert!(second.payload_bytes == 0 && second.written_bytes < first.written_bytes, "{second:?}");
    assert!(second.life_bytes >= first.life_bytes + second.written_bytes, "{first:?} {second:?}");
    assert!(daemon.stop().await.clean);
}

#[tokio::test]
async fn appends_of_a_lane_that_collects_them_are_durable_when_they_are_answered_and_not_before() {
    let lane = "[[lane]]\nname = \"normal\"\npriority = 0\ncommit_every = \"1m\"\n";
    let (folder, daemon) = node_with(lane);
    let mut waiting = append(&daemon, "1".into()).await;
    let early = tokio::time::timeout(Duration::from_millis(100), &mut waiting).await;
    assert!(early.is_err(), "nothing is acknowledged before it is synced");
    let nothing = daemon.handle.status().await.unwrap();
    assert_eq!((nothing.lanes[0].next_seq, nothing.lanes[0].payload_bytes), (0, 0));
    // More than is collected goes at once, and so does all that waits at a stop.
    let many = begin_many(&daemon, 300).await;
    assert_eq!(waiting.await.unwrap().written[0].first.offset, 0);
    assert!(daemon.stop().await.clean);
    for (ticket, offset) in many.into_iter().zip(1..) {
        assert_eq!(ticket.await.unwrap().written[0].first.offset, offset);
    }
    let config = Config::load(None, folder.path(), []).unwrap();
    let daemon = Daemon::start(open(folder.path(), config).unwrap(), false).unwrap();
    assert_eq!(daemon.handle.status().await.unwrap().lanes[0].next_seq, 301);
    assert!(daemon.stop().await.clean);
}

#[tokio::test]
async fn lone_appends_share_a_sync_where_their_lane_collects_them() {
    let alone = "[[lane]]\nname = \"normal\"\npriority = 0\n";
    let written =
        async |daemon: &Daemon| daemon.handle.status().await.unwrap().lanes[0].written_bytes;
    let (_folder, daemon) = node_with(alone);
    append(&daemon, "0".into()).await.await.unwrap();
    let begun = written(&daemon).await;
    for number in 0..20 {
        append(&daemon, number.to_string()).await.await.unwrap();
    }
    assert_eq!(written(&daemon).await - begun, 20 * 4_096);
    assert!(daemon.stop().await.clean);
    let (_folder, daemon) = node_with(&format!("{alone}commit_every = \"100ms\"\n"));
    append(&daemon, "0".into()).await.await.unwrap();
    let begun = written(&daemon).await;
    let mut tickets = Vec::new();
    for number in 0..20 {
        tickets.push(append(&daemon, number.to_string()).await);
        tokio::time::timeout(Duration::from_millis(2), std::future::pending::<()>()).await.ok();
    }
    for ticket in tickets {
        ticket.await.unwrap();
    }
    assert!(written(&daemon).await - begun <= 4 * 4_096);
    assert!(daemon.stop().await.clean);
}
