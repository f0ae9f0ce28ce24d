//! Consumers: their cursors stay, whatever else is written and however the node ends.

use super::*;
use crate::api::{
    ApiError, ConsumerAction, ConsumerChange, ConsumerCommit, ConsumerStatus, Cursor,
    GroupCondition, GroupRecord, GroupRequest, ReadItem, ShareCursor,
};

fn start(folder: &TempDir) -> Daemon {
    let config = Config::load(None, folder.path(), []).unwrap();
    Daemon::start(open(folder.path(), config).unwrap(), false).unwrap()
}

async fn change(daemon: &Daemon, consumer: &str, action: ConsumerAction) -> Result<(), ApiError> {
    let consumer = consumer.to_owned();
    daemon.handle.change_consumer(ConsumerChange { consumer, action }).await
}

async fn create(daemon: &Daemon, consumer: &str, from: Position) -> Result<(), ApiError> {
    let (topics, from) = (vec!["events".to_owned()], ReadFrom::Position(from));
    change(daemon, consumer, ConsumerAction::Create { topics, from }).await
}

fn commit_of(consumer: &str, cursor: Cursor) -> ConsumerCommit {
    let cursor = ShareCursor { cursor, slots: u64::MAX };
    ConsumerCommit { consumer: consumer.to_owned(), member: None, cursor }
}

async fn commit(daemon: &Daemon, consumer: &str, cursor: Cursor) -> Result<(), ApiError> {
    change(daemon, consumer, ConsumerAction::Commit(commit_of(consumer, cursor))).await
}

async fn status(daemon: &Daemon, consumer: &str) -> Option<ConsumerStatus> {
    let consumers = daemon.handle.status().await.unwrap().consumers;
    consumers.into_iter().find(|known| known.consumer == consumer)
}

/// The values behind a consumer's cursor and the cursor behind each.
async fn rest(daemon: &Daemon, consumer: &str) -> Vec<(String, Cursor)> {
    let cursor = status(daemon, consumer).await.unwrap().cursor.unwrap();
    let from = ReadFrom::After(cursor.parse().unwrap());
    let query = ReadQuery { from, not_before: None, ..all_of("events") };
    let page = daemon.handle.read(query).await.unwrap();
    let records = page.items.into_iter().filter_map(|item| match item {
        ReadItem::Record(record, cursor) => {
            Some((String::from_utf8_lossy(&record.value?).into_owned(), cursor))
        }
        ReadItem::Gap(..) => None,
    });
    records.collect()
}

async fn append_all(daemon: &Daemon, values: std::ops::Range<u32>) {
    for value in values {
        append(daemon, value.to_string()).await.await.unwrap();
    }
}

fn values(records: &[(String, Cursor)]) -> Vec<&str> {
    records.iter().map(|(value, _)| value.as_str()).collect()
}

#[tokio::test]
async fn a_consumer_goes_on_where_it_was_when_the_node_starts_again() {
    let (folder, daemon) = node();
    append_all(&daemon, 0..5).await;
    create(&daemon, "billing", Position::Earliest).await.unwrap();
    assert_eq!(status(&daemon, "billing").await.unwrap().behind_records, 5);
    let read = rest(&daemon, "billing").await;
    assert_eq!(values(&read), ["0", "1", "2", "3", "4"]);
    commit(&daemon, "billing", read[2].1).await.unwrap();
    assert_eq!(values(&rest(&daemon, "billing").await), ["3", "4"]);
    assert_eq!(status(&daemon, "billing").await.unwrap().behind_records, 2);
    append_all(&daemon, 5..7).await;
    assert_eq!(status(&daemon, "billing").await.unwrap().behind_records, 4);
    assert!(daemon.stop().await.clean);

    let daemon = start(&folder);
    let told = status(&daemon, "billing").await.unwrap();
    assert_eq!((told.topics, told.behind_records), (vec!["events".to_owned()], 4));
    assert_eq!(values(&rest(&daemon, "billing").await), ["3", "4", "5", "6"]);
    create(&daemon, "billing", Position::Latest).await.unwrap();
    assert_eq!(rest(&daemon, "billing").await.len(), 4, "it was there already");
    change(&daemon, "billing", ConsumerAction::Drop).await.unwrap();
    assert_eq!(status(&daemon, "billing").await, None);
    daemon.stop().await;
    let daemon = start(&folder);
    assert_eq!(status(&daemon, "billing").await, None);
    daemon.stop().await;
}

#[tokio::test]
async fn a_consumer_seeks_by_time_position_and_cursor() {
    let (_folder, daemon) = node();
    let timed = |value: u32, ms: i64| {
        let mut event = Event::of(1, Bytes::from(value.to_string()));
        event.timestamp_ms = Some(ms);
        event
    };
    let events = vec![timed(0, 1_000), timed(1, 2_000), timed(2, 3_000), timed(3, 2_500)];
    let topic = "events".to_owned();
    let request = AppendRequest { request: 1, topic, partition: None, producer: None, events };
    daemon.handle.append(request).await.unwrap().await.unwrap();
    append_all(&daemon, 4..6).await;
    create(&daemon, "c", Position::Latest).await.unwrap();
    assert_eq!(status(&daemon, "c").await.unwrap().behind_records, 0);
    let first = rest_from(&daemon, Position::Time(2_100)).await;
    assert_eq!(first, ["2", "3", "4", "5"], "an older one behind the first counts");
    assert_eq!(rest_from(&daemon, Position::Offset(4)).await, ["4", "5"]);
    assert_eq!(rest_from(&daemon, "ship/events/0@1".parse().unwrap()).await.len(), 5);
    assert_eq!(rest_from(&daemon, Position::Earliest).await.len(), 6);
    assert_eq!(status(&daemon, "c").await.unwrap().behind_records, 6);
    let read = rest(&daemon, "c").await;
    change(&daemon, "c", ConsumerAction::Seek(ReadFrom::After(read[1].1))).await.unwrap();
    assert_eq!(values(&rest(&daemon, "c").await), ["2", "3", "4", "5"]);
    assert_eq!(status(&daemon, "c").await.unwrap().behind_records, 4);
    assert!(rest_from(&daemon, Position::Latest).await.is_empty());
    daemon.stop().await;
}

async fn rest_from(daemon: &Daemon, position: Position) -> Vec<String> {
    change(daemon, "c", ConsumerAction::Seek(ReadFrom::Position(position))).await.unwrap();
    rest(daemon, "c").await.into_iter().map(|(value, _)| value).collect()
}

#[tokio::test]
async fn what_makes_no_sense_changes_no_consumer() {
    let (_folder, daemon) = node();
    append_all(&daemon, 0..3).await;
    create(&daemon, "c", Position::Earliest).await.unwrap();
    let read = rest(&daemon, "c").await;
    commit(&daemon, "c", read[1].1).await.unwrap();
    commit(&daemon, "c", read[1].1).await.unwrap();
    let code = |outcome: Result<(), ApiError>| outcome.unwrap_err().code;
    assert_eq!(code(commit(&daemon, "c", read[0].1).await), ErrorCode::Conflict, "backwards");
    assert_eq!(code(commit(&daemon, "d", read[1].1).await), ErrorCode::NotFound);
    let beyond = Cursor { commit: 1 << 40, ..read[1].1 };
    assert_eq!(code(commit(&daemon, "c", beyond).await), ErrorCode::Gone);
    let foreign = Cursor { log_id: 8, ..read[2].1 };
    assert_eq!(code(commit(&daemon, "c", foreign).await), ErrorCode::Gone);
    let (topics, from) = (vec!["other".to_owned()], ReadFrom::Position(Position::Earliest));
    let other = change(&daemon, "c", ConsumerAction::Create { topics, from }).await;
    assert_eq!(code(other), ErrorCode::Conflict);
    assert_eq!(values(&rest(&daemon, "c").await), ["2"]);
    daemon.stop().await;
}

#[tokio::test]
async fn a_consumer_commits_with_what_it_writes_or_not_at_all() {
    let (folder, daemon) = node();
    append_all(&daemon, 0..4).await;
    create(&daemon, "c", Position::Earliest).await.unwrap();
    let read = rest(&daemon, "c").await;
    let output = |value: &str, cursor: Cursor| GroupRequest {
        records: vec![GroupRecord {
            topic: "sums".into(),
            value: Some(Bytes::from(value.to_owned())),
            ..GroupRecord::default()
        }],
        commits: vec![commit_of("c", cursor)],
        ..GroupRequest::default()
    };
    daemon.handle.append_group(output("0+1", read[1].1)).await.unwrap();
    assert_eq!(values(&rest(&daemon, "c").await), ["2", "3"]);
    let none = GroupCondition { topic: "sums".into(), partition: None, key: None, last: None };
    let unmet = GroupRequest { conditions: vec![none], ..output("2", read[2].1) };
    let refused = daemon.handle.append_group(unmet).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unmet);
    let back = daemon.handle.append_group(output("0", read[0].1)).await.unwrap_err();
    assert_eq!(back.code, ErrorCode::Conflict);
    assert_eq!(values(&rest(&daemon, "c").await), ["2", "3"]);
    let once = GroupRequest { idempotency_key: Some("k".into()), ..output("2", read[2].1) };
    for duplicates in [0, 1] {
        let receipt = daemon.handle.append_group(once.clone()).await.unwrap();
        assert_eq!(receipt.duplicates, duplicates);
    }
    assert_eq!(daemon.handle.read(all_of("sums")).await.unwrap().items.len(), 2);
    daemon.stop().await;
    let daemon = start(&folder);
    assert_eq!(values(&rest(&daemon, "c").await), ["3"]);
    daemon.stop().await;
}

#[tokio::test]
async fn cursors_outlast_more_commits_than_their_lane_holds() {
    let (folder, daemon) = node_with("[storage]\nsegment_bytes = \"512KiB\"\n");
    append_all(&daemon, 0..1).await;
    create(&daemon, "still", Position::Latest).await.unwrap();
    create(&daemon, "busy", Position::Earliest).await.unwrap();
    let last = rest(&daemon, "busy").await[0].1;
    for _ in 0..2_000 {
        commit(&daemon, "busy", last).await.unwrap();
    }
    append_all(&daemon, 1..2).await;
    daemon.stop().await;
    let daemon = start(&folder);
    for consumer in ["still", "busy"] {
        assert_eq!(values(&rest(&daemon, consumer).await), ["1"], "{consumer}");
    }
    daemon.stop().await;
}
