//! `/v1/consumers`: what consumers are, and what becomes of them.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};

use super::{ReplyBody, Router, json, json_body, named, with_type, wrong_method};
use crate::api::backend::Backend;
use crate::api::consumers::{
    CommitBody, ConsumerAction, ConsumerChange, ConsumerStatus, Consumers, CreateBody, FetchBody,
    FetchEnd, FetchPage, FetchRequest, LeaveBody, SeekBody, checked,
};
use crate::api::error::{ApiError, ErrorCode};
use crate::api::limits::FETCH_AGAIN_AFTER;
use crate::api::read::write_item;
use crate::api::server::stopped;
use crate::clock;

impl<N: Backend> Router<N> {
    /// Answers for what stands behind `/v1/consumers`.
    pub(super) async fn consumers(
        &self,
        path: &[&str],
        request: Request<Incoming>,
    ) -> Result<Response<ReplyBody>, ApiError> {
        let method = request.method().clone();
        let change = match path {
            [] if method == Method::GET => {
                let consumers = self.backend.status().await?.consumers;
                return Ok(json(StatusCode::OK, &Consumers { consumers }));
            }
            [] if method == Method::POST => {
                json_body::<CreateBody>(request, "a consumer").await?.change()?
            }
            [consumer] if method == Method::GET => {
                let told = self.consumer(consumer).await?;
                return Ok(json(StatusCode::OK, &told));
            }
            [consumer] if method == Method::DELETE => {
                checked(consumer)?;
                let consumer = (*consumer).to_owned();
                ConsumerChange { consumer, action: ConsumerAction::Drop }
            }
            [consumer, "commit"] if method == Method::POST => {
                json_body::<CommitBody>(request, "a commit").await?.change(consumer)?
            }
            [consumer, "seek"] if method == Method::POST => {
                json_body::<SeekBody>(request, "a seek").await?.change(consumer)?
            }
            [consumer, "fetch"] if method == Method::POST => {
                let body = json_body::<FetchBody>(request, "a fetch").await?;
                let (wanted, wait) = body.wanted(consumer)?;
                return self.fetch(wanted, wait).await;
            }
            [consumer, "leave"] if method == Method::POST => {
                let LeaveBody { member } = json_body(request, "leaving").await?;
                return self.leave(consumer, member).await;
            }
            [] => return Err(wrong_method(&method, "GET, POST")),
            [_] => return Err(wrong_method(&method, "DELETE, GET")),
            [_, "commit" | "fetch" | "leave" | "seek"] => {
                return Err(wrong_method(&method, "POST"));
            }
            _ => {
                return Err(ApiError::new(ErrorCode::NotFound, "a consumer has no such thing")
                    .with_hint("/v1/openapi.json lists all paths"));
            }
        };
        self.change(change).await
    }

    async fn change(&self, change: ConsumerChange) -> Result<Response<ReplyBody>, ApiError> {
        let done = match &change.action {
            ConsumerAction::Create { .. } => "is there",
            ConsumerAction::Commit(_) => "has come so far",
            ConsumerAction::Seek(_) => "goes on there",
            ConsumerAction::Drop => "is forgotten",
        };
        let message = format!("{} {done}", change.consumer);
        self.backend.change_consumer(change).await?;
        Ok(json(StatusCode::OK, &serde_json::json!({ "done": { "message": message } })))
    }

    /// Gives a member records, and waits for them if there are none.
    async fn fetch(
        &self,
        mut wanted: FetchRequest,
        wait: Duration,
    ) -> Result<Response<ReplyBody>, ApiError> {
        let began = clock::monotonic();
        let mut stop = self.stop.clone();
        loop {
            let page = self.backend.fetch(wanted.clone()).await?;
            let waited = Duration::from_millis(clock::monotonic().ms_since(began));
            let left = wait.saturating_sub(waited);
            if !page.items.is_empty() || left.is_zero() {
                return Ok(with_type(StatusCode::OK, "application/x-ndjson", fetched(&page)));
            }
            wanted.anew = false;
            // Its lease is renewed, and the share of a member that has died may have come to it.
            tokio::select! {
                () = self.backend.wait(page.through) => {}
                () = tokio::time::sleep(left.min(FETCH_AGAIN_AFTER)) => {}
                () = stopped(&mut stop) => {
                    return Err(ApiError::new(ErrorCode::Stopping, "the node is stopping")
                        .with_hint("fetch again when it runs"));
                }
            }
        }
    }

    async fn leave(&self, consumer: &str, member: String) -> Result<Response<ReplyBody>, ApiError> {
        checked(consumer)?;
        checked(&member)?;
        let message = format!("{member} has left {consumer}");
        self.backend.leave(consumer.to_owned(), member).await?;
        Ok(json(StatusCode::OK, &serde_json::json!({ "done": { "message": message } })))
    }

    async fn consumer(&self, name: &str) -> Result<ConsumerStatus, ApiError> {
        checked(name)?;
        let consumers = self.backend.status().await?.consumers;
        let found = consumers.into_iter().find(|consumer| consumer.consumer == name);
        found.ok_or_else(|| {
            ApiError::new(ErrorCode::NotFound, format!("there is no consumer `{name}`"))
                .with_hint("make it by `POST /v1/consumers`")
        })
    }
}

/// The lines of what a member is given.
fn fetched(page: &FetchPage) -> ReplyBody {
    let (mut text, mut records) = (String::new(), 0);
    for item in &page.items {
        records += write_item(&mut text, item);
    }
    let cursor = page.cursor.map(|cursor| cursor.to_string());
    text.push_str(&named("end", &FetchEnd { cursor, records, slots: page.slots }));
    text.push('\n');
    Full::new(Bytes::from(text)).boxed()
}
