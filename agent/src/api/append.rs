//! Lines in, receipts out: `POST /v1/topics/{topic}/records`.
//!
//! The body is cut into appends as it arrives, whatever its length; up to [`APPENDS_IN_FLIGHT_MAX`]
//! of them wait to be durable while the next are read. The answer begins with the outcome of the
//! first, so that a request that fails at once gets the right status. It has one JSON object a
//! line:
//!
//! ```text
//! {"written":[{"first":"ship-17/ais/0@0~1f00ba5e","count":512}],"duplicates":0,"through_line":512}
//! …
//! {"done":{"records":5000,"duplicates":0,"skipped":0,"lines":5000}}     or     {"error":{…}}
//! ```
//!
//! What receipts name is durable, also if an error follows; nothing else was written. Without a
//! producer, an append behind a refused one may still succeed: it has its receipt before the error.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Body;
use serde::{Deserialize, Serialize};

use super::backend::{AppendReceipt, AppendRequest, Backend, ProducerName, Ticket};
use super::error::{ApiError, ErrorCode};
use super::limits::{APPEND_BYTES_MAX, APPEND_RECORDS_MAX, APPENDS_IN_FLIGHT_MAX, DRAIN_TIMEOUT};
use crate::event_json::{BadLine, Event, LineProblem, LineReader, LineShape};

/// How the lines of a request are to be taken.
#[derive(Clone, Debug)]
pub(super) struct AppendOptions {
    pub(super) topic: String,
    pub(super) partition: Option<u32>,
    pub(super) producer: Option<ProducerName>,
    pub(super) shape: LineShape,
    pub(super) skip_bad: bool,
    pub(super) record_bytes_max: usize,
}

/// One line of the answer: records that are durable.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReceiptLine {
    /// The coordinates written.
    pub written: Vec<SpanText>,
    /// Records that the producer had written before.
    pub duplicates: u64,
    /// All lines of the input up to this one are settled.
    pub through_line: u64,
}

/// Consecutive offsets of one stream.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SpanText {
    /// Coordinates of the first, with the epoch.
    pub first: String,
    /// How many.
    pub count: u64,
}

/// The last line of the answer, if all went well.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct AppendDone {
    /// Records written.
    pub records: u64,
    /// Records that the producer had written before.
    pub duplicates: u64,
    /// Lines that are no records, passed over as asked.
    pub skipped: u64,
    /// What was wrong with the first of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_skipped: Option<String>,
    /// Lines of the input.
    pub lines: u64,
}

/// Numbers the requests of this process.
static REQUESTS: AtomicU64 = AtomicU64::new(1);

/// A request on its way.
pub(super) struct Appending<N, B> {
    request: u64,
    backend: N,
    body: B,
    options: AppendOptions,
    lines: LineReader,
    ready: VecDeque<Vec<Event>>,
    in_flight: VecDeque<InFlight>,
    through_line: u64,
    done: AppendDone,
    input: Input,
    refused: bool,
}

/// An append that waits to be durable.
struct InFlight {
    ticket: Ticket,
    first_line: u64,
    last_line: u64,
}

/// How far the body is.
enum Input {
    Open,
    Ended,
    /// Nothing more is taken; what was taken before is waited for, then this is said.
    Failed(Option<ApiError>),
}

impl<N: Backend, B: Body<Data = Bytes, Error: std::fmt::Display> + Unpin> Appending<N, B> {
    pub(super) fn new(backend: N, body: B, options: AppendOptions) -> Self {
        let lines = LineReader::new(options.shape.clone(), options.record_bytes_max);
        Self {
            request: REQUESTS.fetch_add(1, Ordering::Relaxed),
            backend,
            body,
            options,
            lines,
            ready: VecDeque::new(),
            in_flight: VecDeque::new(),
            through_line: 0,
            done: AppendDone::default(),
            input: Input::Open,
            refused: false,
        }
    }

    /// The next outcome, in the order of the lines; `None` when all is written.
    pub(super) async fn next(&mut self) -> Option<Result<ReceiptLine, ApiError>> {
        loop {
            let has_room = self.in_flight.len() < APPENDS_IN_FLIGHT_MAX;
            if has_room && let Some(events) = self.ready.pop_front() {
                self.append(events).await;
                continue;
            }
            let reads = has_room && matches!(self.input, Input::Open);
            if !reads && self.in_flight.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                settled = front(&mut self.in_flight), if !self.in_flight.is_empty() => {
                    match settled {
                        (Ok(receipt), lines) => return Some(Ok(self.settle(&receipt, &lines))),
                        (Err(error), lines) => self.refuse(error, lines.start),
                    }
                }
                frame = self.body.frame(), if reads => match frame {
                    Some(Ok(frame)) => self.take(frame.into_data().unwrap_or_default()),
                    Some(Err(error)) => self.fail(cut_off(&error)),
                    None => self.end_input(),
                },
            }
        }
        match &mut self.input {
            Input::Failed(error) => error.take().map(Err),
            Input::Open | Input::Ended => None,
        }
    }

    /// What became of the whole, once [`Appending::next`] gave `None`.
    pub(super) fn done(&self) -> AppendDone {
        AppendDone { lines: self.lines.lines(), ..self.done.clone() }
    }

    /// Reads on for a while after an error: a client that is still sending would otherwise lose its
    /// connection before it sees the answer.
    pub(super) async fn drain(mut self) {
        let rest = async { while let Some(Ok(_)) = self.body.frame().await {} };
        // When time is up, the connection is closed.
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, rest).await;
    }

    fn settle(&mut self, receipt: &AppendReceipt, lines: &Range<u64>) -> ReceiptLine {
        if !self.refused {
            self.through_line = lines.end.saturating_sub(1);
        }
        let written = receipt.written.iter();
        self.done.records += written.clone().map(|span| span.count).sum::<u64>();
        self.done.duplicates += receipt.duplicates;
        let written = written
            .map(|span| SpanText { first: span.first.to_string(), count: span.count })
            .collect();
        ReceiptLine { written, duplicates: receipt.duplicates, through_line: self.through_line }
    }

    /// The first refusal is the one to tell: it stands before a bad line that was read since.
    fn refuse(&mut self, error: ApiError, line: u64) {
        if !self.refused {
            self.refused = true;
            self.ready.clear();
            let line = error.line.unwrap_or(line);
            let message = format!("line {line}: {}", error.message);
            self.fail(ApiError { message, ..error }.at_line(line));
        }
    }

    async fn append(&mut self, events: Vec<Event>) {
        let line = |event: Option<&Event>| event.map_or(0, |event| event.line);
        let (first_line, last_line) = (line(events.first()), line(events.last()));
        let request = AppendRequest {
            request: self.request,
            topic: self.options.topic.clone(),
            partition: self.options.partition,
            producer: self.options.producer.clone(),
            events,
        };
        match self.backend.append(request).await {
            Ok(ticket) => self.in_flight.push_back(InFlight { ticket, first_line, last_line }),
            Err(error) => self.refuse(error, first_line),
        }
    }

    fn take(&mut self, piece: Bytes) {
        self.parse(|lines, each| lines.feed(&piece, each));
    }

    fn end_input(&mut self) {
        self.input = Input::Ended;
        self.parse(|lines, each| lines.finish(each));
    }

    fn parse(
        &mut self,
        feed: impl FnOnce(
            &mut LineReader,
            &mut dyn FnMut(Result<Event, BadLine>) -> Result<(), BadLine>,
        ) -> Result<(), BadLine>,
    ) {
        let mut bytes = 0;
        let (ready, done, skip_bad) = (&mut self.ready, &mut self.done, self.options.skip_bad);
        let mut each = |line: Result<Event, BadLine>| match line {
            Ok(event) => {
                let full = |events: &Vec<Event>| events.len() >= APPEND_RECORDS_MAX;
                if bytes >= APPEND_BYTES_MAX || ready.back().is_none_or(full) {
                    ready.push_back(Vec::new());
                    bytes = 0;
                }
                bytes += event.content_bytes();
                if let Some(events) = ready.back_mut() {
                    events.push(event);
                }
                Ok(())
            }
            Err(bad) if skip_bad => {
                done.skipped += 1;
                done.first_skipped.get_or_insert_with(|| bad.to_string());
                Ok(())
            }
            Err(bad) => Err(bad),
        };
        if let Err(bad) = feed(&mut self.lines, &mut each) {
            self.fail(bad_line(&bad));
        }
    }

    fn fail(&mut self, error: ApiError) {
        self.input = Input::Failed(Some(error));
    }
}

/// The outcome of the oldest append, and its lines.
async fn front(
    in_flight: &mut VecDeque<InFlight>,
) -> (Result<AppendReceipt, ApiError>, Range<u64>) {
    match in_flight.front_mut() {
        Some(InFlight { ticket, first_line, last_line }) => {
            let settled = (ticket.await, *first_line..*last_line + 1);
            in_flight.pop_front();
            settled
        }
        None => std::future::pending().await,
    }
}

fn bad_line(bad: &BadLine) -> ApiError {
    let code = match bad.problem {
        LineProblem::TooLong { .. } => ErrorCode::TooLarge,
        _ => ErrorCode::BadLine,
    };
    ApiError::new(code, bad.to_string())
        .with_hint(
            "nothing from this line on was written; correct it, or skip such lines (--skip-bad)",
        )
        .at_line(bad.line)
}

fn cut_off(error: &dyn std::fmt::Display) -> ApiError {
    ApiError::new(ErrorCode::BadRequest, format!("the request's body was cut off: {error}"))
}
