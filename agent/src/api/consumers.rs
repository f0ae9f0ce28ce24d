//! Consumers in JSON: what they are, what a program asks of them, and what it is told.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::backend::{ReadFrom, ReadItem};
use super::cursor::ShareCursor;
use super::error::{ApiError, ErrorCode};
use super::limits::{CONSUMER_TOPICS_MAX, GROUP_COMMITS_MAX, PAGE_RECORDS_MAX, WAIT_MAX};
use crate::coordinates::{Position, check_topic};
use crate::node::consumer::{NAME_BYTES_MAX, name_is_valid};
use crate::node::members::{LEASE_MAX, LEASE_MIN};

/// What becomes of a consumer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConsumerChange {
    /// Its name.
    pub consumer: String,
    /// What.
    pub action: ConsumerAction,
}

/// What becomes of a consumer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ConsumerAction {
    /// It is made, unless it is there with these topics.
    Create {
        /// What it takes in.
        topics: Vec<String>,
        /// From where.
        from: ReadFrom,
    },
    /// What it was given up to a place has been taken in.
    Commit(ConsumerCommit),
    /// It goes on at a place, before or behind.
    Seek(ReadFrom),
    /// It is forgotten.
    Drop,
}

/// How far a consumer has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConsumerCommit {
    /// Its name.
    pub consumer: String,
    /// The member that was given it, if the consumer is shared.
    pub member: Option<String>,
    /// The place behind what it has taken in.
    pub cursor: ShareCursor,
}

/// What a member of a consumer wants.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FetchRequest {
    /// The consumer.
    pub consumer: String,
    /// The member; it joins by asking.
    pub member: String,
    /// How long it counts as alive from now on.
    pub lease_ms: u64,
    /// Whether it is given again what it was given and has not committed.
    pub anew: bool,
    /// Records at most. With none, its lease is renewed and nothing is given.
    pub records_max: usize,
}

/// What a member of a consumer is given.
#[derive(Clone, Debug)]
pub struct FetchPage {
    /// Records and gaps.
    pub items: Vec<ReadItem>,
    /// What to commit once they are taken in; none if it has no keys now.
    pub cursor: Option<ShareCursor>,
    /// Nothing more comes before a commit behind this one.
    pub through: u64,
    /// How many of the 64 slots they are of.
    pub slots: u32,
}

/// The last line of what a member is given.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FetchEnd {
    /// What to commit once the records are taken in; none if there are none.
    pub cursor: Option<String>,
    /// Records in the answer.
    pub records: u64,
    /// How many of the 64 slots that keys fall into they are of.
    pub slots: u32,
}

/// A consumer at one moment.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ConsumerStatus {
    /// Its name.
    pub consumer: String,
    /// What it takes in.
    pub topics: Vec<String>,
    /// How far all of it has come; none if the place was lost and it must seek.
    pub cursor: Option<String>,
    /// Records of its topics behind that.
    pub behind_records: u64,
    /// Records that were forgotten before it took them in.
    pub lacking: u64,
    /// Commits of this node behind that, of whatever topic.
    pub behind_commits: u64,
    /// How far its shares have come, the one that is furthest behind first.
    pub shares: Vec<ShareStatus>,
    /// Who shares its work now.
    pub members: Vec<MemberStatus>,
}

/// A member of a consumer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct MemberStatus {
    /// Its name.
    pub member: String,
    /// How many of the 64 slots that keys fall into it has.
    pub slots: u32,
    /// Milliseconds until it counts as dead, unless it is heard of.
    pub lease_ms: u64,
}

/// A share of a consumer's keys.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ShareStatus {
    /// How far it has come; none if the place was lost.
    pub cursor: Option<String>,
    /// How many of the 64 slots that keys fall into it has.
    pub slots: u32,
}

/// All consumers of a node.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Consumers {
    /// By name.
    pub consumers: Vec<ConsumerStatus>,
}

/// The body of `POST /v1/consumers`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBody {
    consumer: String,
    topics: Vec<String>,
    from: Option<String>,
}

impl CreateBody {
    pub(super) fn change(self) -> Result<ConsumerChange, ApiError> {
        let Self { consumer, mut topics, from } = self;
        checked(&consumer)?;
        for topic in &topics {
            check_topic(topic).map_err(|error| bad(error.to_string()))?;
        }
        topics.sort();
        topics.dedup();
        if !(1..=CONSUMER_TOPICS_MAX).contains(&topics.len()) {
            return Err(bad(format!("a consumer has 1 to {CONSUMER_TOPICS_MAX} topics")));
        }
        let from = from.map_or(Ok(ReadFrom::Position(Position::Earliest)), |from| place(&from))?;
        Ok(ConsumerChange { consumer, action: ConsumerAction::Create { topics, from } })
    }
}

/// The body of `POST /v1/consumers/{consumer}/commit`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CommitBody {
    cursor: String,
    member: Option<String>,
}

impl CommitBody {
    pub(super) fn change(self, consumer: &str) -> Result<ConsumerChange, ApiError> {
        checked(consumer)?;
        let Self { cursor: told, member } = self;
        member.as_deref().map_or(Ok(()), checked)?;
        let commit = ConsumerCommit { consumer: consumer.into(), member, cursor: cursor(&told)? };
        Ok(ConsumerChange { consumer: consumer.into(), action: ConsumerAction::Commit(commit) })
    }
}

/// The body of `POST /v1/consumers/{consumer}/seek`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SeekBody {
    to: String,
}

impl SeekBody {
    pub(super) fn change(self, consumer: &str) -> Result<ConsumerChange, ApiError> {
        checked(consumer)?;
        let action = ConsumerAction::Seek(place(&self.to)?);
        Ok(ConsumerChange { consumer: consumer.into(), action })
    }
}

/// The body of `POST /v1/consumers/{consumer}/fetch`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FetchBody {
    member: String,
    max: Option<usize>,
    wait_max_ms: Option<u64>,
    lease_ms: Option<u64>,
    #[serde(default)]
    anew: bool,
}

impl FetchBody {
    /// What is wanted, and how long it is waited for.
    pub(super) fn wanted(self, consumer: &str) -> Result<(FetchRequest, Duration), ApiError> {
        let Self { member, max, wait_max_ms, lease_ms, anew } = self;
        checked(consumer)?;
        checked(&member)?;
        let records_max = max.unwrap_or(FETCH_RECORDS_USUAL);
        if records_max > PAGE_RECORDS_MAX {
            return Err(bad(format!("`max` must be at most {PAGE_RECORDS_MAX}")));
        }
        // Nothing is what it waits for.
        let wait = wait_max_ms.filter(|_| records_max > 0).unwrap_or_default();
        let wait = Duration::from_millis(wait);
        if wait > WAIT_MAX {
            return Err(bad(format!("`wait_max_ms` must be at most {}", WAIT_MAX.as_millis())));
        }
        let lease_ms = lease_ms.unwrap_or(LEASE_USUAL_MS);
        let (least, most) = (LEASE_MIN.millis(), LEASE_MAX.millis());
        if !(least..=most).contains(&lease_ms) {
            return Err(bad(format!("`lease_ms` must be from {least} to {most}")));
        }
        let consumer = consumer.to_owned();
        Ok((FetchRequest { consumer, member, lease_ms, anew, records_max }, wait))
    }
}

/// The body of `POST /v1/consumers/{consumer}/leave`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LeaveBody {
    pub(super) member: String,
}

/// Records that a member is given if it does not say how many.
const FETCH_RECORDS_USUAL: usize = 100;
/// How long a member counts as alive if it does not say how long: a dead one's share is taken over
/// in less than ten seconds.
const LEASE_USUAL_MS: u64 = 5_000;

/// An item of `commits` of a group.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupCommitBody {
    consumer: String,
    member: Option<String>,
    cursor: String,
}

/// The commits of a group.
pub(super) fn group_commits(bodies: Vec<GroupCommitBody>) -> Result<Vec<ConsumerCommit>, ApiError> {
    if bodies.len() > GROUP_COMMITS_MAX {
        return Err(bad(format!("a group has up to {GROUP_COMMITS_MAX} commits")));
    }
    let commits = bodies.into_iter().map(|GroupCommitBody { consumer, member, cursor: told }| {
        checked(&consumer)?;
        member.as_deref().map_or(Ok(()), checked)?;
        Ok(ConsumerCommit { consumer, member, cursor: cursor(&told)? })
    });
    commits.collect()
}

/// A name that a consumer or a member may have.
pub(super) fn checked(name: &str) -> Result<(), ApiError> {
    match name_is_valid(name) {
        true => Ok(()),
        false => Err(bad(format!(
            "`{name}` cannot name a consumer; use up to {NAME_BYTES_MAX} letters, digits, `.`, \
             `_`, `-`"
        ))),
    }
}

fn cursor(text: &str) -> Result<ShareCursor, ApiError> {
    text.parse().map_err(|error| bad(format!("`{text}` is {error}")))
}

/// A cursor, or a position as in reading.
fn place(text: &str) -> Result<ReadFrom, ApiError> {
    if let Ok(cursor) = text.parse() {
        return Ok(ReadFrom::After(cursor));
    }
    let position = text.parse::<Position>().map_err(|error| bad(error.to_string()))?;
    Ok(ReadFrom::Position(position))
}

fn bad(message: String) -> ApiError {
    ApiError::new(ErrorCode::BadRequest, message)
}
