//! Live queries: an answer of the views, and another one whenever it has changed.
//!
//! ```text
//! id: 9f2c01d4a7b3e856        names the answer; send it back as Last-Event-ID to get only another
//! data: {"columns":[…],"rows":[…],"truncated":false}
//! ```
//!
//! The number of writes is looked at before each question, so that no change is missed: what is
//! written after the look makes the question be asked again. An answer that is as the one before is
//! not sent, so that none is a phantom. Answers that follow each other faster than the question can
//! be asked are passed over, but for the last.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::Sender;
use tokio::sync::watch;

use super::backend::{Backend, QueryReply, QueryRequest};
use super::error::{ApiError, ErrorCode};
use super::limits::{FOLLOW_COMMENT_AFTER, LIVE_REST_MIN, LIVE_REST_TIMES};
use super::routes::json_text;
use super::server::stopped;
use crate::clock;

/// A question that is asked again and again.
pub(super) struct Live<N> {
    pub(super) backend: N,
    pub(super) request: QueryRequest,
    /// The writes before its answer.
    pub(super) seen: u64,
    /// The answer that the client has.
    pub(super) last_id: Option<String>,
}

/// What to do next.
enum Next {
    Ask,
    End,
}

/// Sends answers until the client is gone, the node stops, or the question fails.
pub(super) async fn send_answers<N: Backend>(
    mut live: Live<N>,
    reply: QueryReply,
    body: Sender<Bytes>,
    mut stop: watch::Receiver<bool>,
) {
    let mut answer = Some(json_text(&reply));
    drop(reply);
    let mut rest = LIVE_REST_MIN;
    loop {
        if let Some(event) = answer.take().and_then(|data| live.event(&data))
            && body.send(event).await.is_err()
        {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = body.closed() => return,
        }
        match live.wait(&body, &mut stop).await {
            Next::Ask => {}
            Next::End => return,
        }
        let began = clock::monotonic();
        live.seen = live.backend.views_seen();
        match live.backend.query(live.request.clone()).await {
            Ok(reply) => answer = Some(json_text(&reply)),
            // The file is made anew, and that is a change.
            Err(error) if error.code == ErrorCode::Internal => {}
            Err(error) => return send_error(&body, &error).await,
        }
        let took = std::time::Duration::from_millis(clock::monotonic().ms_since(began));
        rest = LIVE_REST_MIN.max(took * LIVE_REST_TIMES);
    }
}

impl<N: Backend> Live<N> {
    /// The event with an answer, if the client has another one.
    fn event(&mut self, data: &str) -> Option<Bytes> {
        let digest = Sha256::digest(data.as_bytes());
        let id: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        if self.last_id.as_ref() == Some(&id) {
            return None;
        }
        let event = format!("id: {id}\ndata: {data}\n\n");
        self.last_id = Some(id);
        Some(Bytes::from(event))
    }

    /// Waits until something was written.
    async fn wait(&self, body: &Sender<Bytes>, stop: &mut watch::Receiver<bool>) -> Next {
        loop {
            tokio::select! {
                () = self.backend.views_changed(self.seen) => return Next::Ask,
                () = body.closed() => return Next::End,
                () = stopped(stop) => {
                    let error = ApiError::new(ErrorCode::Stopping, "the node is stopping")
                        .with_hint("ask again when it runs");
                    send_error(body, &error).await;
                    return Next::End;
                }
                () = tokio::time::sleep(FOLLOW_COMMENT_AFTER) => {
                    if body.send(Bytes::from_static(b": nothing new\n\n")).await.is_err() {
                        return Next::End;
                    }
                }
            }
        }
    }
}

async fn send_error(body: &Sender<Bytes>, error: &ApiError) {
    let text = format!("event: error\ndata: {}\n\n", error.to_line());
    // A client that is gone needs no error.
    let _ = body.send(Bytes::from(text)).await;
}
