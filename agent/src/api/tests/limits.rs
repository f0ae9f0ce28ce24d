//! What a client cannot take.

use std::time::Duration;

use tokio::io::AsyncReadExt as _;

use super::super::limits::{
    APPENDS_IN_FLIGHT_MAX, JSON_BODY_BYTES_MAX, PAGES_QUEUED_MAX, READ_BUFFER_BYTES,
};
use super::*;

#[tokio::test]
async fn a_line_over_the_limit_names_its_line_and_the_limit() {
    let world = World::new().await;
    let body = format!("1\n\"{}\"\n2\n", "x".repeat(10 * RECORD_BYTES_MAX));
    let error = world.append("", &body).await.1.unwrap_err();
    assert_eq!((error.code, error.line), (ErrorCode::TooLarge, Some(2)));
    assert!(error.message.contains("(65536 bytes)"), "{error}");
    let done = world.append("skip_bad=true", &body).await.1.unwrap();
    assert_eq!((done.records, done.skipped), (2, 1));
}

#[tokio::test]
async fn appends_in_flight_are_bounded_while_the_disk_is_slow() {
    let world = World::new().await;
    world.node.set_synced(false);
    let (body, channel) = body::pieces();
    let client = world.client.clone();
    let answer = tokio::spawn(async move { client.append("ais", "", channel).await });
    let piece = Bytes::from(lines(1_000));
    // The body is taken until the node has enough in flight and the buffers between are full.
    let mut sent = 0;
    loop {
        let taken = tokio::time::timeout(Duration::from_millis(100), body.send(piece.clone()));
        match taken.await {
            Ok(taken) => taken.unwrap(),
            Err(_) if world.node.appends_waiting_max() < APPENDS_IN_FLIGHT_MAX => continue,
            Err(_) => break,
        }
        sent += 1;
        assert!(sent < 10_000, "the body is taken without end");
    }
    assert_eq!(world.node.appends_waiting_max(), APPENDS_IN_FLIGHT_MAX);
    world.node.set_synced(true);
    drop(body);
    let done = rest(answer.await.unwrap().unwrap()).await.1.unwrap();
    // The piece whose sending was given up was not sent.
    assert_eq!(done.records, sent * 1_000);
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_nothing_but_itself() {
    let world = World::new().await;
    world.append("", &lines(200_000)).await.1.unwrap();
    let slow = world.client.read("ais", "").await.unwrap();
    let mut follow = world.client.follow("ais", "from=latest", None).await.unwrap();
    world.append("", "\"new\"\n").await.1.unwrap();
    assert!(follow.next().await.unwrap().is_some());
    // What was read ahead for the slow client fits into the queue and the sockets' buffers.
    let pages = world.node.reads();
    assert!(pages < 40 + PAGES_QUEUED_MAX, "{pages} pages were read");
    let (records, _) = count(slow).await;
    assert_eq!(records, 200_001);
}

async fn count(mut lines: Lines) -> (u64, String) {
    let (mut records, mut last) = (0, Bytes::new());
    while let Some(line) = lines.next().await.unwrap() {
        records += u64::from(line.starts_with(b"{\"topic\""));
        last = line;
    }
    (records, String::from_utf8(last.to_vec()).unwrap())
}

#[tokio::test]
async fn heads_and_small_bodies_have_limits() {
    let world = World::new().await;
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(2 * READ_BUFFER_BYTES));
    let answer = raw(&world, long.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 414") || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many = "x: y\r\n".repeat(100);
    let answer = raw(&world, format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let body = "x".repeat(2 * JSON_BODY_BYTES_MAX);
    let request = format!(
        "POST /v1/tokens HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = raw(&world, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("\"code\":\"too_large\""), "{answer}");
}

#[tokio::test]
async fn connections_over_the_limit_are_told_so() {
    let world = World::with_connections(1).await;
    let follow = world.client.follow("ais", "", None).await.unwrap();
    let mut refused = tokio::net::UnixStream::connect(world.socket()).await.unwrap();
    let mut answer = String::new();
    refused.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("`api.connections_max`"));
    drop(follow);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_never_ends_is_cut_off() {
    let world = World::new().await;
    let mut stream = tokio::net::UnixStream::connect(world.socket()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET / HT").await.unwrap();
    let mut answer = Vec::new();
    // Time is virtual: the wait ends when the server gives up, not after real seconds.
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"));
}
