//! `POST /v1/query`: one answer, or another one whenever it changes.

use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ACCEPT, HeaderValue};
use hyper::{Request, Response, StatusCode};

use super::{ReplyBody, Router, bad, json, json_body, stream};
use crate::api::backend::{Backend, Place, QueryRequest};
use crate::api::body::pieces;
use crate::api::error::ApiError;
use crate::api::limits::{QUERY_ROWS_MAX, QUERY_TIME_MAX, WAIT_MAX};
use crate::api::live::{Live, send_answers};

impl<N: Backend> Router<N> {
    pub(super) async fn query(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<ReplyBody>, ApiError> {
        let header = |name: &str| request.headers().get(name).map(HeaderValue::as_bytes);
        let is_live =
            header(ACCEPT.as_str()).is_some_and(|kind| kind.starts_with(b"text/event-stream"));
        let last_id = header("last-event-id").map(|id| String::from_utf8_lossy(id).into_owned());
        let asked = checked(json_body(request, "a query").await?)?;
        let seen = self.backend.views_seen();
        let reply = self.backend.query(asked.clone()).await?;
        if !is_live {
            return Ok(json(StatusCode::OK, &reply));
        }
        let (sender, body) = pieces();
        // What was waited for once stays behind the views.
        let request = QueryRequest { min_position: None, ..asked };
        let live = Live { backend: self.backend.clone(), request, seen, last_id };
        tokio::spawn(send_answers(live, reply, sender, self.stop.clone()));
        Ok(stream("text/event-stream", body))
    }

    /// Waits until a place is behind what is durable here; gives the commit that shows it.
    pub(super) async fn reach(&self, place: &str, wait_max: Duration) -> Result<u64, ApiError> {
        let wanted: Place = place.parse().map_err(|error: String| bad(error))?;
        let reached = self.backend.reach(wanted);
        tokio::time::timeout(wait_max, reached).await.map_err(|_| ApiError::not_yet(place))?
    }
}

fn checked(query: QueryRequest) -> Result<QueryRequest, ApiError> {
    check_limits(query.rows_max, query.time_max_ms)?;
    if query.wait_max_ms > ms(WAIT_MAX) {
        return Err(bad(format!("`wait_max_ms` must be at most {}", ms(WAIT_MAX))));
    }
    Ok(query)
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Whether a question asks for no more than there may be.
pub(super) fn check_limits(rows_max: usize, time_max_ms: u64) -> Result<(), ApiError> {
    if rows_max == 0 || rows_max > QUERY_ROWS_MAX {
        return Err(bad(format!("`rows_max` must be from 1 to {QUERY_ROWS_MAX}")));
    }
    if time_max_ms == 0 || time_max_ms > ms(QUERY_TIME_MAX) {
        return Err(bad(format!("`time_max_ms` must be from 1 to {}", ms(QUERY_TIME_MAX))));
    }
    Ok(())
}
