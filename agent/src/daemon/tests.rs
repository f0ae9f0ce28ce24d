//! The node's thread and its handle.

mod consumers;
mod groups;
#[cfg(feature = "views")]
mod live;
mod members;
mod wear;

use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::{Daemon, create, open};
use crate::api::{
    AdminCommand, AppendRequest, Backend, ErrorCode, ReadFrom, ReadQuery, Ticket, TokenWanted,
};
use crate::config::Config;
use crate::coordinates::Position;
use crate::event_json::Event;

fn node() -> (TempDir, Daemon) {
    node_with("")
}

fn node_with(settings: &str) -> (TempDir, Daemon) {
    let folder = TempDir::new().unwrap();
    create(folder.path(), "ship", None, "").unwrap();
    std::fs::write(folder.path().join("landfall.toml"), settings).unwrap();
    let config = Config::load(None, folder.path(), []).unwrap();
    let opened = open(folder.path(), config).unwrap();
    let daemon = Daemon::start(opened, false).unwrap();
    (folder, daemon)
}

async fn append(daemon: &Daemon, value: String) -> Ticket {
    let event = Event::of(1, Bytes::from(value));
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

#[tokio::test]
async fn a_producer_learns_the_offset_of_each_record() {
    let (_folder, daemon) = node();
    let (mut even, mut odd) = (daemon.handle.producer("log", 0), daemon.handle.producer("log", 0));
    let mut tickets = Vec::new();
    for number in 0..20_000_u32 {
        let producer = if number % 2 == 0 { &mut even } else { &mut odd };
        let value = number.to_string();
        tickets.push(producer.append(None, None, Some(value.as_bytes())).await.unwrap());
    }
    even.flush().await.unwrap();
    odd.flush().await.unwrap();
    let last = even.durable(tickets[19_998]).await.unwrap().unwrap();
    let other = odd.durable(tickets[19_999]).await.unwrap().unwrap();
    assert_eq!(last.max(other), 19_999);
    let status = daemon.handle.status().await.unwrap();
    assert_eq!(status.lanes.iter().map(|lane| lane.next_seq).sum::<u64>(), 20_000);
    assert!(daemon.stop().await.clean);
}

#[tokio::test]
async fn producers_together_have_no_more_in_flight_than_the_node_takes() {
    let (_folder, daemon) = node();
    let mut producing = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let mut producer = daemon.handle.producer("log", 0);
        producing.spawn(async move {
            for _ in 0..100 {
                producer.append(None, None, Some(&[7; 100_000])).await.unwrap();
            }
            producer.flush().await
        });
    }
    while let Some(done) = producing.join_next().await {
        done.unwrap().unwrap();
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_producer_that_was_refused_says_why_and_takes_nothing_more() {
    let (_folder, daemon) = node();
    let mut producer = daemon.handle.producer("_sites", 0);
    let ticket = producer.append(None, None, Some(b"{}")).await.unwrap();
    let refused = producer.durable(ticket).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Forbidden);
    assert_eq!(producer.append(None, None, Some(b"{}")).await, Err(refused));
    daemon.stop().await;
}

#[tokio::test]
async fn who_has_read_all_is_not_woken_by_what_is_not_for_it() {
    let (_folder, daemon) = node_with("listen = '127.0.0.1:4711'");
    append(&daemon, "{}".to_owned()).await.await.unwrap();
    let wanted = TokenWanted {
        site: "boat".to_owned(),
        uses: 1,
        valid_for: Duration::from_secs(60),
        write: Vec::new(),
        carry: Vec::new(),
        subscribe: Vec::new(),
    };
    daemon.handle.admin(AdminCommand::CreateToken(wanted)).await.unwrap();
    let page = daemon.handle.read(all_of("events")).await.unwrap();
    assert!(page.end, "the token lies behind the record");
    tokio::select! {
        biased;
        () = daemon.handle.wait(page.through) => panic!("nothing has come since"),
        () = std::future::ready(()) => {}
    }
    let appended = append(&daemon, "{}".to_owned()).await;
    daemon.handle.wait(page.through).await;
    appended.await.unwrap();
    daemon.stop().await;
}

fn all_of(topic: &str) -> ReadQuery {
    ReadQuery {
        topics: vec![topic.to_owned()],
        from: ReadFrom::Position(Position::Earliest),
        not_before: None,
        seen: None,
        corrected: false,
        origin: None,
        partition: None,
        records_max: 10_000,
        bytes_max: 10_000_000,
    }
}
