//! What the API needs of a node.

use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::consumers::{ConsumerChange, ConsumerCommit, FetchPage, FetchRequest};
use super::cursor::{Cursor, Seen};
use super::error::{ApiError, ErrorCode};
use super::status::{SiteStatus, Status, TokenGrant};
use super::trace::Passed;
use super::verdict::{ViewAt, ViewAtRequest, ViewVerdict};
use crate::coordinates::{Coordinates, Position, StreamName};
use crate::event_json::{Event, Header, Record};

/// A node, as the API sees it. Clones are handles to the same node.
pub trait Backend: Clone + Send + Sync + 'static {
    /// Takes records in, in the order of the calls, and waits for room if there is none now. The
    /// ticket resolves by itself, whether or not it is polled.
    fn append(
        &self,
        request: AppendRequest,
    ) -> impl Future<Output = Result<Ticket, ApiError>> + Send;

    /// Takes records in that are readable together or not at all, if the conditions hold.
    fn append_group(
        &self,
        _request: GroupRequest,
    ) -> impl Future<Output = Result<AppendReceipt, ApiError>> + Send {
        let error = ApiError::new(ErrorCode::NotFound, "this node takes no groups");
        std::future::ready(Err(error))
    }

    /// Makes, moves or forgets a consumer.
    fn change_consumer(
        &self,
        change: ConsumerChange,
    ) -> impl Future<Output = Result<(), ApiError>> + Send {
        let text = format!("this node keeps no consumers, so no {}", change.consumer);
        std::future::ready(Err(ApiError::new(ErrorCode::NotFound, text)))
    }

    /// What a member of a consumer is given next; never waits for records to come.
    fn fetch(
        &self,
        request: FetchRequest,
    ) -> impl Future<Output = Result<FetchPage, ApiError>> + Send {
        let text = format!("this node keeps no consumers, so no {}", request.consumer);
        std::future::ready(Err(ApiError::new(ErrorCode::NotFound, text)))
    }

    /// A member of a consumer wants no more: what it did not commit is given to others.
    fn leave(
        &self,
        _consumer: String,
        _member: String,
    ) -> impl Future<Output = Result<(), ApiError>> + Send {
        std::future::ready(Ok(()))
    }

    /// The partition of a key of a topic, as [`Backend::append`] chooses it.
    fn partition_of(&self, _topic: &str, _key: Option<&[u8]>) -> u32 {
        0
    }

    /// The next page of what is durable here; never waits for records to come.
    fn read(&self, query: ReadQuery) -> impl Future<Output = Result<ReadPage, ApiError>> + Send;

    /// Resolves when a commit behind `through`, as a page tells it, is durable here; it may hold
    /// nothing for whoever waits.
    fn wait(&self, through: u64) -> impl Future<Output = ()> + Send;

    /// What a person wants to know of the node.
    fn status(&self) -> impl Future<Output = Result<Status, ApiError>> + Send;

    /// Asks the views, when they have the question's `min_position` behind them.
    ///
    /// # Errors
    /// `not_yet` if that takes longer than its `wait_max_ms`, `conflict` if one of the views that
    /// it reads has stopped; and what is wrong with the question.
    fn query(
        &self,
        request: QueryRequest,
    ) -> impl Future<Output = Result<QueryReply, ApiError>> + Send;

    /// Compares a view's rows with what the log makes.
    fn verify_view(
        &self,
        view: String,
    ) -> impl Future<Output = Result<ViewVerdict, ApiError>> + Send {
        let error = ApiError::new(ErrorCode::NotFound, format!("there is no view `{view}`"));
        std::future::ready(Err(error))
    }

    /// Asks a view's rows as they were behind a record.
    fn view_at(
        &self,
        view: String,
        _wanted: ViewAtRequest,
    ) -> impl Future<Output = Result<ViewAt, ApiError>> + Send {
        let error = ApiError::new(ErrorCode::NotFound, format!("there is no view `{view}`"));
        std::future::ready(Err(error))
    }

    /// How a record came here, by its lane, its commit and its seq, and which topics there are.
    fn passed(
        &self,
        _lane: String,
        _commit: u64,
        _seq: u64,
    ) -> impl Future<Output = Result<Passed, ApiError>> + Send {
        std::future::ready(Ok(Passed::default()))
    }

    /// Resolves when a place is behind what is durable here; gives the commit that views must have
    /// seen to show it.
    ///
    /// # Errors
    /// The place is of another log.
    fn reach(&self, place: Place) -> impl Future<Output = Result<u64, ApiError>> + Send;

    /// A number that is another one whenever the views may answer otherwise.
    fn views_seen(&self) -> u64 {
        0
    }

    /// Resolves when [`Backend::views_seen`] is no longer `seen`.
    fn views_changed(&self, _seen: u64) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Does what an operator asks.
    fn admin(
        &self,
        command: AdminCommand,
    ) -> impl Future<Output = Result<AdminReply, ApiError>> + Send;
}

/// Records to append. Either all of them are durable in the end or an error says that none is, but
/// for a receipt's duplicates.
#[derive(Clone, Debug)]
pub struct AppendRequest {
    /// Which request to the API it is a part of. What is refused of a request refuses all of it
    /// that stands behind.
    pub request: u64,
    /// Where to.
    pub topic: String,
    /// Which partition; by key, or any, if none.
    pub partition: Option<u32>,
    /// Who writes, if each record is to be written once however often it is sent.
    pub producer: Option<ProducerName>,
    /// What.
    pub events: Vec<Event>,
}

impl AppendRequest {
    /// The producer's sequence of `event`.
    #[must_use]
    pub fn sequence(&self, event: &Event) -> Option<u64> {
        let producer = self.producer.as_ref()?;
        Some(producer.first_sequence.saturating_add(event.line.saturating_sub(1)))
    }
}

/// A producer that numbers its records.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProducerName {
    /// Its name.
    pub name: String,
    /// The sequence of the first line of its input; that of line n is n − 1 more.
    pub first_sequence: u64,
}

/// Records that are durable together or not at all, in topics of one lane.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct GroupRequest {
    /// The records, at least one.
    pub records: Vec<GroupRecord>,
    /// What must hold of what this node has written; else none is.
    pub conditions: Vec<GroupCondition>,
    /// What consumers have taken in with it.
    pub commits: Vec<ConsumerCommit>,
    /// Names the group, so that it is written once however often it is sent.
    pub idempotency_key: Option<String>,
}

/// A record of a group.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct GroupRecord {
    /// The topic.
    pub topic: String,
    /// The partition; by key if none.
    pub partition: Option<u32>,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; none deletes the key.
    pub value: Option<Bytes>,
    /// Named extras.
    pub headers: Vec<Header>,
    /// Milliseconds since 1970; the time of the append if none.
    pub timestamp_ms: Option<i64>,
}

/// The last record that this node has written to a partition, or of a key in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupCondition {
    /// The topic.
    pub topic: String,
    /// The partition; by key if none.
    pub partition: Option<u32>,
    /// The key; none for all records.
    pub key: Option<Bytes>,
    /// The offset behind which there is none; without one, there is none at all.
    pub last: Option<u64>,
}

/// The promise of an outcome; dropping it does not take the records back.
pub struct Ticket(Pin<Box<dyn Future<Output = Result<AppendReceipt, ApiError>> + Send>>);

impl Ticket {
    /// A ticket that resolves as `outcome` does.
    pub fn new(
        outcome: impl Future<Output = Result<AppendReceipt, ApiError>> + Send + 'static,
    ) -> Self {
        Self(Box::pin(outcome))
    }
}

impl Future for Ticket {
    type Output = Result<AppendReceipt, ApiError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

/// What became of an append: durable here.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AppendReceipt {
    /// The coordinates written, as runs of offsets.
    pub written: Vec<Span>,
    /// Records that the producer had already written before.
    pub duplicates: u64,
}

/// Consecutive offsets of one stream and epoch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Span {
    /// The first, with its epoch.
    pub first: Coordinates,
    /// How many, at least one.
    pub count: u64,
}

/// What to read.
#[derive(Clone, Debug)]
pub struct ReadQuery {
    /// The topics, merged in the order of this node's commits.
    pub topics: Vec<String>,
    /// From where.
    pub from: ReadFrom,
    /// Only records that this position does not leave out, on later pages too.
    pub not_before: Option<Position>,
    /// How far the reader has come, if it wants to know what went before it came.
    pub seen: Option<Seen>,
    /// Whether times of clocks that were wrong are to be corrected, as far as that is known.
    pub corrected: bool,
    /// Only records first written at this site.
    pub origin: Option<String>,
    /// Only records of this partition.
    pub partition: Option<u32>,
    /// Most records in the page, at least one.
    pub records_max: usize,
    /// Bytes after which the page ends; it may exceed them by one record.
    pub bytes_max: usize,
}

impl ReadQuery {
    /// Whether it asks for this topic.
    #[must_use]
    pub fn names(&self, topic: &str) -> bool {
        self.topics.iter().any(|named| named == topic)
    }
}

/// What a reader wants to have behind it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// A record, as an append told it.
    Record(Coordinates),
    /// Where a page ended.
    Cursor(Cursor),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('@') {
            return text.parse().map(Self::Record).map_err(|error| error.to_string());
        }
        let told = |error| format!("`{text}` is neither coordinates nor {error}");
        text.parse().map(Self::Cursor).map_err(|_| told("a cursor that an answer gave"))
    }
}

/// Where a page begins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ReadFrom {
    /// As a person said.
    Position(Position),
    /// Where the page before ended.
    After(Cursor),
}

/// Records in this node's commit order.
#[derive(Clone, Debug)]
pub struct ReadPage {
    /// The records, and the gaps between them.
    pub items: Vec<ReadItem>,
    /// The place behind the page, also if it is empty.
    pub cursor: Cursor,
    /// All commits up to this one are behind it, also those that hold nothing for any reader.
    pub through: u64,
    /// Whether nothing durable is beyond it now.
    pub end: bool,
    /// How far the reader has come with it.
    pub seen: Seen,
    /// Records of the lanes, of whatever topic, that were forgotten before the reader came to them;
    /// none if it did not say how far it was.
    pub lacking: u64,
}

/// What a reader finds.
#[derive(Clone, Debug)]
pub enum ReadItem {
    /// A record, and the place behind it.
    Record(Box<Record>, Cursor),
    /// Records that are missing here, for good, and the place behind them.
    Gap(Gap, Cursor),
}

/// Offsets of a stream that are missing here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Gap {
    /// The stream.
    pub stream: StreamName,
    /// The first that is missing.
    pub from: u64,
    /// The first that is there again.
    pub to: u64,
    /// Why.
    pub why: String,
}

/// A question to the views.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct QueryRequest {
    /// One statement of SQL that only reads.
    pub sql: String,
    /// Most rows of the answer.
    #[serde(default = "QueryRequest::rows_max_usual")]
    pub rows_max: usize,
    /// Milliseconds after which it is given up.
    #[serde(default = "QueryRequest::time_max_ms_usual")]
    pub time_max_ms: u64,
    /// Coordinates or a cursor that the views must have behind them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_position: Option<String>,
    /// Milliseconds that this is waited for.
    #[serde(default = "QueryRequest::wait_max_ms_usual")]
    pub wait_max_ms: u64,
}

impl QueryRequest {
    /// A question with the usual limits.
    #[must_use]
    pub fn new(sql: impl Into<String>) -> Self {
        Self {
            sql: sql.into(),
            rows_max: Self::rows_max_usual(),
            time_max_ms: Self::time_max_ms_usual(),
            min_position: None,
            wait_max_ms: Self::wait_max_ms_usual(),
        }
    }

    pub(in crate::api) fn rows_max_usual() -> usize {
        1_000
    }

    pub(in crate::api) fn time_max_ms_usual() -> u64 {
        5_000
    }

    pub(in crate::api) fn wait_max_ms_usual() -> u64 {
        5_000
    }
}

/// What the views answer.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct QueryReply {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows, each with a value for each column: a number, text, `null`, or `{"base64": …}`.
    pub rows: Vec<Vec<serde_json::Value>>,
    /// Whether there were more rows than the answer may have.
    pub truncated: bool,
}

/// What an operator can ask for.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum AdminCommand {
    /// A token that lets a site enrol here.
    CreateToken(TokenWanted),
    /// All sites that are registered.
    Sites,
    /// Takes a site's rights and cuts its connections.
    Revoke {
        /// The site.
        site: String,
    },
    /// Settles that two copies of a site live on, as two sites.
    Split {
        /// The site.
        site: String,
        /// The name of the copy from then on; one that is free if left out.
        name: Option<String>,
    },
    /// Changes what a site may do, or only tells it.
    Rights {
        /// The site.
        site: String,
        /// What to change.
        change: RightsChange,
    },
}

/// What of a site's rights is to be other than it is. What is left out stays.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct RightsChange {
    /// Topics, or patterns, that it may write.
    pub write: Option<Vec<String>>,
    /// Other sites, or patterns, whose records it may bring.
    pub carry: Option<Vec<String>>,
    /// Topics, or patterns, that it may have come down; `{site}` stands for its name.
    pub subscribe: Option<Vec<String>>,
}

impl RightsChange {
    /// Whether nothing is to be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What an enrolment token is to be good for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenWanted {
    /// The site, or a pattern such as `ship-*`.
    pub site: String,
    /// How many sites may use it.
    pub uses: u32,
    /// For how long.
    pub valid_for: Duration,
    /// Topics, or patterns, that the site may write; empty: all that are not internal.
    pub write: Vec<String>,
    /// Other sites, or patterns, whose records it may bring.
    pub carry: Vec<String>,
    /// Topics, or patterns, that it may have come down; `{site}` stands for its name.
    pub subscribe: Vec<String>,
}

/// What an operator gets.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AdminReply {
    /// The token.
    Token(TokenGrant),
    /// The sites.
    Sites(Vec<SiteStatus>),
    /// It is done, and what that means.
    Done {
        /// In a sentence.
        message: String,
    },
}
