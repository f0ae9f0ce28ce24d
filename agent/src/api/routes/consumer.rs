//! `/v1/consumers`: what consumers are, and what becomes of them.

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};

use super::{ReplyBody, Router, json, json_body, wrong_method};
use crate::api::backend::Backend;
use crate::api::consumers::{
    CommitBody, ConsumerAction, ConsumerChange, ConsumerStatus, Consumers, CreateBody, SeekBody,
    checked,
};
use crate::api::error::{ApiError, ErrorCode};

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
            [] => return Err(wrong_method(&method, "GET, POST")),
            [_] => return Err(wrong_method(&method, "DELETE, GET")),
            [_, "commit" | "seek"] => return Err(wrong_method(&method, "POST")),
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
