//! Consumers in JSON: what they are, what a program asks of them, and what it is told.

use serde::{Deserialize, Serialize};

use super::backend::ReadFrom;
use super::cursor::ShareCursor;
use super::error::{ApiError, ErrorCode};
use super::limits::{CONSUMER_TOPICS_MAX, GROUP_COMMITS_MAX};
use crate::coordinates::{Position, check_topic};
use crate::node::consumer::{NAME_BYTES_MAX, name_is_valid};

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
    /// The place behind what it has taken in.
    pub cursor: ShareCursor,
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
    /// Commits of this node behind that, of whatever topic.
    pub behind_commits: u64,
    /// How far its shares have come, the one that is furthest behind first.
    pub shares: Vec<ShareStatus>,
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
}

impl CommitBody {
    pub(super) fn change(self, consumer: &str) -> Result<ConsumerChange, ApiError> {
        checked(consumer)?;
        let commit = ConsumerCommit { consumer: consumer.into(), cursor: cursor(&self.cursor)? };
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

/// An item of `commits` of a group.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupCommitBody {
    consumer: String,
    cursor: String,
}

/// The commits of a group.
pub(super) fn group_commits(bodies: Vec<GroupCommitBody>) -> Result<Vec<ConsumerCommit>, ApiError> {
    if bodies.len() > GROUP_COMMITS_MAX {
        return Err(bad(format!("a group has up to {GROUP_COMMITS_MAX} commits")));
    }
    let commits = bodies.into_iter().map(|GroupCommitBody { consumer, cursor: told }| {
        checked(&consumer)?;
        Ok(ConsumerCommit { cursor: cursor(&told)?, consumer })
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
