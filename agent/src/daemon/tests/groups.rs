//! Groups: together or not at all, on conditions, and once.

use std::collections::BTreeMap;

use super::*;
use crate::api::{ApiError, AppendReceipt, GroupCondition, GroupRecord, GroupRequest, ReadItem};
use crate::event_json::{Header, Record};

fn record(topic: &str, key: &str, value: &str) -> GroupRecord {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
    let topic = topic.to_owned();
    GroupRecord { topic, key: Some(key), value: Some(value), ..GroupRecord::default() }
}

fn group(records: Vec<GroupRecord>) -> GroupRequest {
    GroupRequest { records, ..GroupRequest::default() }
}

/// The last record of a key in `orders` is this one.
fn last(key: &str, last: Option<u64>) -> GroupCondition {
    let (topic, key) = ("orders".to_owned(), Some(Bytes::from(key.to_owned())));
    GroupCondition { topic, partition: None, key, last }
}

async fn append_group(daemon: &Daemon, group: &GroupRequest) -> Result<AppendReceipt, ApiError> {
    daemon.handle.append_group(group.clone()).await
}

async fn all(daemon: &Daemon, topic: &str) -> Vec<Record> {
    let page = daemon.handle.read(all_of(topic)).await.unwrap();
    let records = page.items.into_iter().filter_map(|item| match item {
        ReadItem::Record(record, _) => Some(*record),
        ReadItem::Gap(..) => None,
    });
    records.collect()
}

fn values(records: &[Record]) -> Vec<String> {
    let text = |value: &Bytes| String::from_utf8_lossy(value).into_owned();
    records.iter().map(|record| record.value.as_ref().map_or("-".into(), text)).collect()
}

#[tokio::test]
async fn a_group_is_written_whole_over_topics_or_not_at_all() {
    let topics = r#"topic = [{name = "alarms", lane = "urgent"}, {name = "wide", partitions = 4}]"#;
    let (_folder, daemon) = node_with(topics);
    let mut with_header = record("orders", "1", "a");
    with_header.headers = vec![
        Header { name: "by".into(), value: Some(Bytes::from_static(b"\xff")) },
        Header { name: "by".into(), value: None },
    ];
    with_header.timestamp_ms = Some(7);
    let deleted = GroupRecord { value: None, ..record("orders", "2", "") };
    let whole = group(vec![
        with_header.clone(),
        record("wide", "x", "w"),
        record("wide", "y", "v"),
        deleted,
    ]);
    let receipt = append_group(&daemon, &whole).await.unwrap();
    let counts: BTreeMap<_, u64> =
        receipt.written.iter().map(|span| (span.first.stream.topic.as_str(), 0)).collect();
    assert_eq!(counts.len(), 2);
    assert_eq!(receipt.written.iter().map(|span| span.count).sum::<u64>(), 4);
    let orders = all(&daemon, "orders").await;
    assert_eq!(values(&orders), ["a", "-"]);
    assert_eq!((&orders[0].headers, orders[0].timestamp_ms), (&with_header.headers, 7));
    assert_eq!(all(&daemon, "wide").await.len(), 2);

    let apart = group(vec![record("orders", "1", "b"), record("alarms", "1", "b")]);
    let error = append_group(&daemon, &apart).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Conflict, "{error}");
    let long = "x".repeat(200_000);
    let wide = group(vec![record("orders", "1", &long), record("wide", "1", &long)]);
    let error = append_group(&daemon, &wide).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::TooLarge, "{error}");
    let inner = group(vec![record("orders", "1", "b"), record("_cursors", "1", "b")]);
    assert_eq!(append_group(&daemon, &inner).await.unwrap_err().code, ErrorCode::Forbidden);
    assert_eq!(all(&daemon, "orders").await.len(), 2);
    assert_eq!(all(&daemon, "alarms").await.len(), 0);
    daemon.stop().await;
}

#[tokio::test]
async fn of_those_who_go_on_from_the_same_event_one_goes_on() {
    const WRITERS: usize = 6;
    const EVENTS: usize = 25;
    let (_folder, daemon) = node();
    let daemon = std::sync::Arc::new(daemon);
    let mut writing = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        let daemon = daemon.clone();
        writing.spawn(async move {
            let mut refused = 0;
            for _ in 0..EVENTS {
                loop {
                    // The aggregate is the count of its events, with others between them.
                    let orders = all(&daemon, "orders").await;
                    let own = orders.iter().filter(|record| record.key.as_deref() == Some(b"o"));
                    let seen = own.clone().next_back().map(|record| record.coordinates.offset);
                    let next = own.count() + 1;
                    let other = record("orders", "other", "0");
                    let conditions = vec![last("o", seen)];
                    let records = vec![other, record("orders", "o", &next.to_string())];
                    let step = GroupRequest { conditions, ..group(records) };
                    match append_group(&daemon, &step).await {
                        Ok(_) => break,
                        Err(error) if error.code == ErrorCode::Unmet => refused += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            refused
        });
    }
    let mut refused = 0;
    while let Some(done) = writing.join_next().await {
        refused += done.unwrap();
    }
    assert!(refused > 0, "they were never in each other's way");
    let orders = all(&daemon, "orders").await;
    let own: Vec<_> =
        orders.into_iter().filter(|record| record.key.as_deref() == Some(b"o")).collect();
    let expected: Vec<_> = (1..=WRITERS * EVENTS).map(|n| n.to_string()).collect();
    assert_eq!(values(&own), expected);
}

#[tokio::test]
async fn a_condition_is_about_the_key_or_about_all() {
    let (_folder, daemon) = node();
    append_group(&daemon, &group(vec![record("orders", "a", "1"), record("orders", "b", "2")]))
        .await
        .unwrap();
    let on = |condition: GroupCondition| GroupRequest {
        conditions: vec![condition],
        ..group(vec![record("log", "k", "x")])
    };
    let of_all = |offset| GroupCondition { key: None, ..last("", offset) };
    for met in [last("a", Some(0)), last("a", Some(1)), last("c", None), of_all(Some(1))] {
        append_group(&daemon, &on(met.clone())).await.unwrap_or_else(|error| panic!("{error}"));
    }
    for unmet in [last("a", None), last("b", Some(0)), of_all(Some(0)), of_all(None)] {
        let error = append_group(&daemon, &on(unmet.clone())).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Unmet, "{unmet:?}");
    }
    let error = append_group(&daemon, &on(last("b", None))).await.unwrap_err();
    assert!(error.message.contains("condition 1 does not hold: 1 is there"), "{error}");
    assert_eq!(all(&daemon, "log").await.len(), 4);

    let mut producer = daemon.handle.producer("orders", 0);
    for _ in 0..100_000 {
        producer.append(None, None, Some(b"")).await.unwrap();
    }
    producer.flush().await.unwrap();
    let error = append_group(&daemon, &on(last("c", None))).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Conflict, "{error}");
    append_group(&daemon, &on(last("c", Some(1)))).await.unwrap();
    daemon.stop().await;
}

#[tokio::test]
async fn a_group_with_a_key_is_written_once_also_when_the_node_was_started_again() {
    let (folder, daemon) = node();
    // Of two topics by turns, so that they are staged in another order.
    let records: Vec<_> =
        (0..6).map(|n| record(["orders", "log"][n % 2], "k", &n.to_string())).collect();
    let request = GroupRequest {
        conditions: vec![last("k", None)],
        idempotency_key: Some("order 1".into()),
        ..group(records)
    };
    let receipt = append_group(&daemon, &request).await.unwrap();
    assert_eq!((receipt.written.len(), receipt.duplicates), (2, 0));
    let again = append_group(&daemon, &request).await.unwrap();
    assert_eq!((again.written.len(), again.duplicates), (0, 6), "although the condition is gone");
    let other = GroupRequest { idempotency_key: Some("order 2".into()), ..request.clone() };
    assert_eq!(append_group(&daemon, &other).await.unwrap_err().code, ErrorCode::Unmet);
    daemon.stop().await;
    let config = Config::load(None, folder.path(), []).unwrap();
    let daemon = Daemon::start(open(folder.path(), config).unwrap(), false).unwrap();
    let again = append_group(&daemon, &request).await.unwrap();
    assert_eq!((again.written.len(), again.duplicates), (0, 6));
    assert_eq!(values(&all(&daemon, "orders").await), ["0", "2", "4"]);
    assert_eq!(values(&all(&daemon, "log").await), ["1", "3", "5"]);
    daemon.stop().await;
}
