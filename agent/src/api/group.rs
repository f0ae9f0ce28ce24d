//! Groups in JSON. A record stands there as it is read: with `value`, and `form` if that is not
//! JSON.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::append::SpanText;
use super::backend::{AppendReceipt, GroupCondition, GroupRecord, GroupRequest};
use super::consumers::{GroupCommitBody, group_commits};
use super::dead::{DeadBody, letter};
use super::error::{ApiError, ErrorCode};
use super::limits::{GROUP_CONDITIONS_MAX, GROUP_RECORDS_MAX};
use crate::coordinates::check_topic;
use crate::event_json::whole::{self, Form, HeaderBody, Plain, Time};

/// What became of a group.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct GroupDone {
    /// The coordinates written; empty if the group had been written before.
    pub written: Vec<SpanText>,
    /// Its records, if it had been written before.
    pub duplicates: u64,
}

impl From<&AppendReceipt> for GroupDone {
    fn from(receipt: &AppendReceipt) -> Self {
        let written = receipt.written.iter();
        let written = written
            .map(|span| SpanText { first: span.first.to_string(), count: span.count })
            .collect();
        Self { written, duplicates: receipt.duplicates }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupBody<'b> {
    #[serde(borrow, default)]
    records: Vec<RecordBody<'b>>,
    #[serde(borrow, default)]
    dead: Vec<DeadBody<'b>>,
    #[serde(default)]
    if_last: Vec<ConditionBody>,
    #[serde(default)]
    commits: Vec<GroupCommitBody>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordBody<'b> {
    topic: String,
    partition: Option<u32>,
    #[serde(default)]
    key: Plain,
    /// `null` is a value, too.
    #[serde(borrow, default, deserialize_with = "whole::there")]
    value: Option<&'b RawValue>,
    #[serde(default)]
    form: Form,
    #[serde(default)]
    headers: Vec<HeaderBody>,
    timestamp: Option<Time>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConditionBody {
    topic: String,
    partition: Option<u32>,
    #[serde(default)]
    key: Plain,
    offset: Option<u64>,
}

/// Reads a group.
pub(super) fn group(
    body: &[u8],
    idempotency_key: Option<String>,
) -> Result<GroupRequest, ApiError> {
    let read: GroupBody<'_> = serde_json::from_slice(body)
        .map_err(|error| bad(format!("the body is not what a group needs: {error}")))?;
    let (records, conditions) = (read.records.len() + read.dead.len(), read.if_last.len());
    if !(1..=GROUP_RECORDS_MAX).contains(&records) {
        return Err(bad(format!("a group has 1 to {GROUP_RECORDS_MAX} records, not {records}")));
    }
    if conditions > GROUP_CONDITIONS_MAX {
        return Err(bad(format!("a group has up to {GROUP_CONDITIONS_MAX} conditions")));
    }
    let records = (1..).zip(read.records).map(|(number, read)| {
        record(read).map_err(|wrong| bad(format!("record {number}: {wrong}")))
    });
    let letters = (1..).zip(read.dead).map(|(number, read)| {
        letter(read).map_err(|wrong| bad(format!("dead letter {number}: {wrong}")))
    });
    let records = records.chain(letters).collect::<Result<_, _>>()?;
    let conditions = (1..).zip(read.if_last).map(|(number, read)| {
        condition(read).map_err(|wrong| bad(format!("condition {number}: {wrong}")))
    });
    let conditions = conditions.collect::<Result<_, _>>()?;
    let commits = group_commits(read.commits)?;
    Ok(GroupRequest { records, conditions, commits, idempotency_key })
}

fn record(read: RecordBody<'_>) -> Result<GroupRecord, String> {
    check_topic(&read.topic).map_err(|error| error.to_string())?;
    let value = whole::value(read.form, read.value)?;
    let headers = whole::headers(read.headers)?;
    let timestamp_ms = read.timestamp.map(Time::ms).transpose()?;
    let RecordBody { topic, partition, key, .. } = read;
    Ok(GroupRecord { topic, partition, key: key.bytes()?, value, headers, timestamp_ms })
}

fn condition(read: ConditionBody) -> Result<GroupCondition, String> {
    check_topic(&read.topic).map_err(|error| error.to_string())?;
    let ConditionBody { topic, partition, key, offset: last } = read;
    Ok(GroupCondition { topic, partition, key: key.bytes()?, last })
}

fn bad(message: String) -> ApiError {
    ApiError::new(ErrorCode::BadRequest, message)
}
