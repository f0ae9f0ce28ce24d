//! `POST /v1/groups`: records that are written together or not at all.

use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Request, Response, StatusCode};

use super::{ReplyBody, Router, bad, json, whole_body};
use crate::api::application::Caller;
use crate::api::backend::Backend;
use crate::api::error::ApiError;
use crate::api::group::{GroupDone, group};
use crate::api::limits::{GROUP_BODY_BYTES_MAX, IDEMPOTENCY_KEY_MAX};

impl<N: Backend> Router<N> {
    pub(super) async fn group(
        &self,
        request: Request<Incoming>,
        caller: &Caller,
    ) -> Result<Response<ReplyBody>, ApiError> {
        let key = request.headers().get("idempotency-key").map(HeaderValue::to_str);
        let idempotency_key = match key {
            None => None,
            Some(Ok(key)) if (1..=IDEMPOTENCY_KEY_MAX).contains(&key.len()) => Some(key.to_owned()),
            Some(_) => {
                let text = format!("Idempotency-Key has 1 to {IDEMPOTENCY_KEY_MAX} letters");
                return Err(bad(text));
            }
        };
        let body = whole_body(request, GROUP_BODY_BYTES_MAX).await?;
        let group = group(&body, idempotency_key)?;
        for record in &group.records {
            self.applications.may_write(caller, &record.topic)?;
        }
        let receipt = self.backend.append_group(group).await?;
        Ok(json(StatusCode::OK, &GroupDone::from(&receipt)))
    }
}
