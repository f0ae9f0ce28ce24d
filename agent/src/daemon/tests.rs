//! The node's thread and its handle.

use bytes::Bytes;
use tempfile::TempDir;

use super::{Daemon, create, open};
use crate::api::{AppendRequest, Backend, Ticket};
use crate::config::Config;
use crate::event_json::Event;

fn node() -> (TempDir, Daemon) {
    let folder = TempDir::new().unwrap();
    create(folder.path(), "ship", None, "").unwrap();
    let config = Config::load(None, folder.path(), []).unwrap();
    let opened = open(folder.path(), config).unwrap();
    let daemon = Daemon::start(opened, false).unwrap();
    (folder, daemon)
}

async fn append(daemon: &Daemon, value: String) -> Ticket {
    let event = Event { line: 1, key: None, timestamp_ms: None, value: Bytes::from(value) };
    let (topic, events) = ("events".to_owned(), vec![event]);
    let request = AppendRequest { request: 1, topic, partition: None, producer: None, events };
    daemon.handle.append(request).await.unwrap()
}

#[tokio::test]
async fn every_append_is_answered_when_more_wait_than_a_turn_takes() {
    let (_folder, daemon) = node();
    let mut tickets = Vec::new();
    for number in 0..3_000 {
        tickets.push(append(&daemon, format!("{{\"number\":{number}}}")).await);
    }
    for (offset, ticket) in tickets.into_iter().enumerate() {
        let receipt = ticket.await.unwrap();
        assert_eq!(receipt.written[0].first.offset, offset as u64);
    }
    assert!(daemon.stop().await.clean);
}
