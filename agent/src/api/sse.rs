//! Following a topic by server-sent events: what is there, then what comes.
//!
//! ```text
//! id: 1f2e…-9a…-12-3          the place behind the record; send it back as Last-Event-ID to go on
//! data: {"topic":"ais",…}
//! ```
//!
//! Gaps come as `event: gap`; an error that ends the stream as `event: error`. Silence is broken by
//! comments, so that both ends notice when the other is gone.

use std::fmt::Write as _;

use bytes::Bytes;
use tokio::sync::mpsc::Sender;
use tokio::sync::watch;

use super::backend::{Backend, ReadFrom, ReadItem, ReadPage, ReadQuery};
use super::error::{ApiError, ErrorCode};
use super::limits::FOLLOW_COMMENT_AFTER;
use super::read::{gap_json, page_records};
use super::server::stopped;
use crate::event_json::write_record;

/// Sends records until `records_left` were sent, the client is gone or the node stops.
pub(super) async fn send_events(
    backend: impl Backend,
    mut query: ReadQuery,
    mut page: ReadPage,
    mut records_left: u64,
    body: Sender<Bytes>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let text = events(&page);
        if !text.is_empty() && body.send(Bytes::from(text)).await.is_err() {
            return;
        }
        let sent = u64::try_from(page.items.len()).unwrap_or(u64::MAX);
        records_left = records_left.saturating_sub(sent);
        if records_left == 0 {
            return;
        }
        if page.end {
            tokio::select! {
                () = backend.wait(page.through) => {}
                () = body.closed() => return,
                () = stopped(&mut stop) => {
                    let error = ApiError::new(ErrorCode::Stopping, "the node is stopping")
                        .with_hint("connect again with Last-Event-ID when it runs");
                    return send_error(&body, &error).await;
                }
                () = tokio::time::sleep(FOLLOW_COMMENT_AFTER) => {
                    if body.send(Bytes::from_static(b": nothing new\n\n")).await.is_err() {
                        return;
                    }
                }
            }
        }
        query.from = ReadFrom::After(page.cursor);
        query.records_max = page_records(records_left);
        page = match backend.read(query.clone()).await {
            Ok(page) => page,
            Err(error) => return send_error(&body, &error).await,
        };
    }
}

fn events(page: &ReadPage) -> String {
    let mut text = String::new();
    for item in &page.items {
        // Writing to a string does not fail.
        let _ = match item {
            ReadItem::Record(record, cursor) => {
                let _ = write!(text, "id: {cursor}\ndata: ");
                write_record(&mut text, record);
                write!(text, "\n\n")
            }
            ReadItem::Gap(gap, cursor) => {
                write!(text, "id: {cursor}\nevent: gap\ndata: {}\n\n", gap_json(gap))
            }
        };
    }
    text
}

async fn send_error(body: &Sender<Bytes>, error: &ApiError) {
    let text = format!("event: error\ndata: {}\n\n", error.to_line());
    // A client that is gone needs no error.
    let _ = body.send(Bytes::from(text)).await;
}
