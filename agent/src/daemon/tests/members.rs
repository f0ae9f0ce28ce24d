//! Members of a consumer: they share its work by key, and each record is committed once.

use std::collections::BTreeMap;

use super::*;
use crate::api::{
    ApiError, ConsumerAction, ConsumerChange, ConsumerCommit, Cursor, FetchPage, FetchRequest,
    ReadItem, ShareCursor,
};

const KEYS: u64 = 40;

/// A node with a consumer, and so many records of forty keys by turns in one partition.
async fn node_with_records(records: u64) -> (TempDir, Daemon) {
    let (folder, daemon) = node();
    append_records(&daemon, 0..records).await;
    let (topics, from) = (vec!["events".to_owned()], ReadFrom::Position(Position::Earliest));
    change(&daemon, ConsumerAction::Create { topics, from }).await.unwrap();
    (folder, daemon)
}

async fn append_records(daemon: &Daemon, records: std::ops::Range<u64>) {
    let events = records.map(|number| {
        let mut event = Event::of(1, Bytes::from(number.to_string()));
        event.key = Some(Bytes::from((number % KEYS).to_string()));
        event
    });
    let (topic, events) = ("events".to_owned(), events.collect());
    let request = AppendRequest { request: 1, topic, partition: None, producer: None, events };
    daemon.handle.append(request).await.unwrap().await.unwrap();
}

async fn change(daemon: &Daemon, action: ConsumerAction) -> Result<(), ApiError> {
    let consumer = "c".to_owned();
    daemon.handle.change_consumer(ConsumerChange { consumer, action }).await
}

async fn fetch_as(daemon: &Daemon, member: &str, max: usize, anew: bool) -> FetchPage {
    let request = FetchRequest {
        consumer: "c".to_owned(),
        member: member.to_owned(),
        lease_ms: 1_000,
        anew,
        records_max: max,
    };
    daemon.handle.fetch(request).await.unwrap()
}

async fn fetch(daemon: &Daemon, member: &str, max: usize) -> FetchPage {
    fetch_as(daemon, member, max, false).await
}

async fn commit(daemon: &Daemon, member: &str, cursor: ShareCursor) -> Result<(), ApiError> {
    let (consumer, member) = ("c".to_owned(), Some(member.to_owned()));
    change(daemon, ConsumerAction::Commit(ConsumerCommit { consumer, member, cursor })).await
}

fn numbers(page: &FetchPage) -> Vec<u64> {
    let records = page.items.iter().filter_map(|item| match item {
        ReadItem::Record(record, _) => record.value.as_ref(),
        ReadItem::Gap(..) => None,
    });
    records.map(|value| String::from_utf8_lossy(value).parse().unwrap()).collect()
}

/// What was committed: each number once, those of a key in order.
#[derive(Default)]
struct Taken(BTreeMap<u64, Vec<u64>>);

impl Taken {
    fn add(&mut self, page: &FetchPage) {
        for number in numbers(page) {
            self.0.entry(number % KEYS).or_default().push(number);
        }
    }

    fn check(&self, records: u64) {
        for (key, numbers) in &self.0 {
            let expected: Vec<_> = (*key..records).step_by(KEYS as usize).collect();
            assert_eq!(*numbers, expected, "key {key}");
        }
        assert_eq!(self.0.len() as u64, KEYS);
    }
}

#[tokio::test]
async fn members_share_one_partition_and_each_record_is_committed_once_in_order() {
    let (_folder, daemon) = node_with_records(2_000).await;
    let mut taken = Taken::default();
    let first = fetch(&daemon, "a", 100).await;
    assert_eq!((numbers(&first).len(), first.slots), (100, 64));
    assert!(fetch(&daemon, "b", 100).await.cursor.is_none(), "a has not committed its hundred");
    commit(&daemon, "a", first.cursor.unwrap()).await.unwrap();
    taken.add(&first);
    let mut shares = BTreeMap::new();
    while taken.0.values().map(Vec::len).sum::<usize>() < 2_000 {
        for member in ["a", "b", "c"] {
            let page = fetch(&daemon, member, 70).await;
            let Some(cursor) = page.cursor else { continue };
            commit(&daemon, member, cursor).await.unwrap();
            taken.add(&page);
            *shares.entry(member).or_insert(0) += page.items.len();
        }
    }
    taken.check(2_000);
    assert!(shares.len() == 3 && shares.values().all(|share| *share > 300), "{shares:?}");
    let told = &daemon.handle.status().await.unwrap().consumers[0];
    assert_eq!((told.behind_records, told.members.len()), (0, 3));
    daemon.stop().await;
}

#[tokio::test]
async fn what_a_silent_member_had_is_taken_over_and_it_can_not_commit_it_any_more() {
    let (_folder, daemon) = node_with_records(400).await;
    let mut taken = Taken::default();
    for member in ["a", "b"] {
        fetch_as(&daemon, member, 1, false).await;
    }
    let begun = fetch_as(&daemon, "a", 50, true).await;
    commit(&daemon, "a", begun.cursor.unwrap()).await.unwrap();
    taken.add(&begun);
    let unfinished = fetch(&daemon, "a", 50).await;
    assert!(!unfinished.items.is_empty());
    // From here on, nothing is heard of a.
    while taken.0.values().map(Vec::len).sum::<usize>() < 400 {
        let page = fetch(&daemon, "b", 100).await;
        let Some(cursor) = page.cursor.filter(|_| !page.items.is_empty()) else {
            let through = daemon.handle.wait(page.through);
            let _ = tokio::time::timeout(Duration::from_millis(50), through).await;
            continue;
        };
        commit(&daemon, "b", cursor).await.unwrap();
        taken.add(&page);
    }
    taken.check(400);
    let late = commit(&daemon, "a", unfinished.cursor.unwrap()).await.unwrap_err();
    assert_eq!(late.code, ErrorCode::Conflict, "{late}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_member_is_given_again_what_it_did_not_commit_also_when_the_node_was_started_again() {
    let (folder, daemon) = node_with_records(10).await;
    let page = fetch(&daemon, "a", 4).await;
    commit(&daemon, "a", page.cursor.unwrap()).await.unwrap();
    assert_eq!(numbers(&fetch(&daemon, "a", 3).await), [4, 5, 6]);
    assert_eq!(numbers(&fetch(&daemon, "a", 3).await), [7, 8, 9]);
    assert_eq!(numbers(&fetch_as(&daemon, "a", 3, true).await), [4, 5, 6]);
    let page = fetch(&daemon, "a", 100).await;
    daemon.stop().await;
    let config = Config::load(None, folder.path(), []).unwrap();
    let daemon = Daemon::start(open(folder.path(), config).unwrap(), false).unwrap();
    let refused = commit(&daemon, "a", page.cursor.unwrap()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict, "it has joined nothing since the start");
    let page = fetch(&daemon, "a", 100).await;
    assert_eq!(numbers(&page), [4, 5, 6, 7, 8, 9]);
    commit(&daemon, "a", page.cursor.unwrap()).await.unwrap();
    let to = ReadFrom::Position(Position::Offset(8));
    change(&daemon, ConsumerAction::Seek(to)).await.unwrap();
    assert_eq!(numbers(&fetch(&daemon, "a", 100).await), [8, 9], "it begins where it was sought");
    daemon.stop().await;
}

#[tokio::test]
async fn a_share_that_was_committed_between_two_records_meets_the_others_there() {
    let (_folder, daemon) = node_with_records(40).await;
    append_records(&daemon, 40..80).await;
    let first = fetch(&daemon, "a", 40).await.cursor.unwrap();
    let all = fetch(&daemon, "a", 100).await.cursor.unwrap();
    // Behind all of the first commit, wherever its last record is.
    let end = Cursor { index: u32::MAX, ..first.cursor };
    let some = ShareCursor { cursor: end, slots: 0xffff };
    commit(&daemon, "a", some).await.unwrap();
    let page = fetch_as(&daemon, "a", 100, true).await;
    assert_eq!(page.slots, 48, "the others are behind");
    let rest = fetch(&daemon, "a", 100).await;
    assert_eq!((numbers(&rest), rest.slots), ((40..80).collect(), 64));
    assert_eq!(rest.cursor.unwrap(), all);
    daemon.stop().await;
}

#[tokio::test]
async fn a_consumer_of_a_quiet_topic_passes_what_is_not_for_it() {
    let (_folder, daemon) = node_with_records(1).await;
    let page = fetch(&daemon, "a", 10).await;
    commit(&daemon, "a", page.cursor.unwrap()).await.unwrap();
    let place = || async { daemon.handle.status().await.unwrap().consumers[0].cursor.clone() };
    let before = place().await;
    let mut producer = daemon.handle.producer("others", 0);
    producer.append(None, None, Some(b"1")).await.unwrap();
    producer.flush().await.unwrap();
    assert_eq!(place().await, before);
    assert!(fetch(&daemon, "a", 10).await.items.is_empty());
    let passed = place().await;
    assert_ne!(passed, before);
    append_records(&daemon, 1..2).await;
    assert_eq!(numbers(&fetch(&daemon, "a", 10).await), [1]);
    assert_eq!(place().await, passed, "what was given and not committed is not passed");
    assert!(fetch(&daemon, "a", 10).await.items.is_empty());
    assert_eq!(place().await, passed);
    daemon.stop().await;
}
