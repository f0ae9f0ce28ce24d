//! `GET /v1/topics/{topic}/records`: where to begin, what to leave out, and whether to follow.

use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ACCEPT, HeaderValue};
use hyper::{Request, Response};

use super::parameters::Parameters;
use super::{ReplyBody, Router, bad, site_name, stream};
use crate::api::backend::{Backend, QueryRequest, ReadFrom, ReadQuery};
use crate::api::body::pieces;
use crate::api::error::ApiError;
use crate::api::limits::{PAGE_BYTES_MAX, WAIT_MAX};
use crate::api::read::{page_records, send_pages};
use crate::api::sse::send_events;
use crate::api::{Cursor, NotCursor};
use crate::coordinates::{Position, check_topic};

const PARAMETERS: [&str; 9] = [
    "after",
    "corrected",
    "follow",
    "from",
    "max",
    "min_position",
    "origin",
    "partition",
    "wait_max_ms",
];

impl<N: Backend> Router<N> {
    pub(super) async fn read(
        &self,
        topic: &str,
        request: &Request<Incoming>,
    ) -> Result<Response<ReplyBody>, ApiError> {
        check_topic(topic).map_err(|error| bad(error.to_string()))?;
        let mut query = Parameters::of(request.uri().query(), &PARAMETERS)?;
        let accept = request.headers().get(ACCEPT).map(HeaderValue::as_bytes);
        let wants_events = accept.is_some_and(|accept| accept.starts_with(b"text/event-stream"));
        let follow = query.flag("follow")? || wants_events;
        let records_left = query.number("max")?.unwrap_or(u64::MAX);
        if records_left == 0 {
            return Err(bad("`max` must be at least 1"));
        }
        let min_position = query.text("min_position");
        let wait_max_ms = query.number("wait_max_ms")?;
        let wait_max_ms = wait_max_ms.unwrap_or_else(QueryRequest::wait_max_ms_usual);
        if u128::from(wait_max_ms) > WAIT_MAX.as_millis() {
            return Err(bad(format!("`wait_max_ms` must be at most {}", WAIT_MAX.as_millis())));
        }
        let last_event = request.headers().get("last-event-id").map(HeaderValue::to_str);
        let (from, not_before) = begin(last_event, &mut query)?;
        let query = ReadQuery {
            topics: vec![topic.to_owned()],
            from,
            not_before,
            seen: None,
            corrected: query.flag("corrected")?,
            origin: query.text("origin").map(|site| site_name(&site)).transpose()?,
            partition: query.partition()?,
            records_max: page_records(records_left),
            bytes_max: PAGE_BYTES_MAX,
        };
        if let Some(place) = min_position {
            self.reach(&place, Duration::from_millis(wait_max_ms)).await?;
        }
        let page = self.backend.read(query.clone()).await?;
        let (sender, body) = pieces();
        let (backend, stop) = (self.backend.clone(), self.stop.clone());
        if follow {
            tokio::spawn(send_events(backend, query, page, records_left, sender, stop));
            return Ok(stream("text/event-stream", body));
        }
        tokio::spawn(send_pages(backend, query, page, records_left, sender));
        Ok(stream("application/x-ndjson", body))
    }
}

/// Where to begin, and what is left out all the way.
fn begin<E>(
    last_event: Option<Result<&str, E>>,
    query: &mut Parameters,
) -> Result<(ReadFrom, Option<Position>), ApiError> {
    let position = |text: String| text.parse::<Position>().map_err(|error| bad(error.to_string()));
    let after = query.text("after");
    let from = query.text("from").map(position).transpose()?;
    match (last_event, after, from) {
        // An event source that comes again names the address that it was given, and the event.
        (Some(Ok(id)), _, from) => Ok((ReadFrom::After(cursor(id)?), from)),
        (Some(Err(_)), _, _) => Err(bad("Last-Event-ID is not text")),
        (None, Some(_), Some(_)) => Err(bad("give `after` or `from`, not both")),
        (None, Some(after), None) => Ok((ReadFrom::After(cursor(&after)?), None)),
        (None, None, from) => {
            let from = from.unwrap_or(Position::Earliest);
            Ok((ReadFrom::Position(from.clone()), Some(from)))
        }
    }
}

fn cursor(text: &str) -> Result<Cursor, ApiError> {
    text.parse().map_err(|error: NotCursor| bad(format!("`{text}` is {error}")))
}
