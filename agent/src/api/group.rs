//! Groups in JSON. A record stands there as it is read: with `value`, and `form` if that is not
//! JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::append::SpanText;
use super::backend::{AppendReceipt, GroupCondition, GroupRecord, GroupRequest};
use super::error::{ApiError, ErrorCode};
use super::limits::{GROUP_CONDITIONS_MAX, GROUP_RECORDS_MAX};
use crate::coordinates::check_topic;
use crate::event_json::Header;
use crate::time_text;

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
    #[serde(borrow)]
    records: Vec<RecordBody<'b>>,
    #[serde(default)]
    if_last: Vec<ConditionBody>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordBody<'b> {
    topic: String,
    partition: Option<u32>,
    #[serde(default)]
    key: Plain,
    /// `null` is a value, too.
    #[serde(borrow, default, deserialize_with = "there")]
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderBody {
    name: String,
    #[serde(default)]
    value: Plain,
}

/// What a value is.
#[derive(Clone, Copy, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Form {
    #[default]
    Json,
    Text,
    Bytes,
    Tombstone,
}

/// Text, bytes, or nothing.
#[derive(Default, Deserialize)]
#[serde(untagged)]
enum Plain {
    #[default]
    None,
    Text(String),
    Bytes {
        base64: String,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Time {
    Ms(i64),
    Text(String),
}

fn there<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// Reads a group.
pub(super) fn group(
    body: &[u8],
    idempotency_key: Option<String>,
) -> Result<GroupRequest, ApiError> {
    let read: GroupBody<'_> = serde_json::from_slice(body)
        .map_err(|error| bad(format!("the body is not what a group needs: {error}")))?;
    let (records, conditions) = (read.records.len(), read.if_last.len());
    if !(1..=GROUP_RECORDS_MAX).contains(&records) {
        return Err(bad(format!("a group has 1 to {GROUP_RECORDS_MAX} records, not {records}")));
    }
    if conditions > GROUP_CONDITIONS_MAX {
        return Err(bad(format!("a group has up to {GROUP_CONDITIONS_MAX} conditions")));
    }
    let records = (1..).zip(read.records).map(|(number, read)| {
        record(read).map_err(|wrong| bad(format!("record {number}: {wrong}")))
    });
    let records = records.collect::<Result<_, _>>()?;
    let conditions = (1..).zip(read.if_last).map(|(number, read)| {
        condition(read).map_err(|wrong| bad(format!("condition {number}: {wrong}")))
    });
    Ok(GroupRequest { records, conditions: conditions.collect::<Result<_, _>>()?, idempotency_key })
}

fn record(read: RecordBody<'_>) -> Result<GroupRecord, String> {
    check_topic(&read.topic).map_err(|error| error.to_string())?;
    let value = match (read.form, read.value) {
        (Form::Json, Some(value)) => Some(Bytes::copy_from_slice(value.get().as_bytes())),
        (Form::Json, None) => {
            return Err(
                "there is no `value`; to delete a key, give `\"form\": \"tombstone\"`".into()
            );
        }
        (Form::Text | Form::Bytes, value) => {
            let plain = serde_json::from_str(value.map_or("null", RawValue::get));
            let plain: Plain = plain.map_err(|_| "`value` is no text or bytes".to_owned())?;
            Some(plain.bytes()?.ok_or("there is no `value`")?)
        }
        (Form::Tombstone, None) => None,
        (Form::Tombstone, Some(value)) if value.get() == "null" => None,
        (Form::Tombstone, Some(_)) => return Err("a tombstone has no `value`".into()),
    };
    let header = |read: HeaderBody| Ok(Header { name: read.name, value: read.value.bytes()? });
    let headers = read.headers.into_iter().map(header).collect::<Result<_, String>>()?;
    let timestamp_ms = match read.timestamp {
        None => None,
        Some(Time::Ms(ms)) => Some(ms),
        Some(Time::Text(text)) => {
            let ms = time_text::parse(&text);
            Some(ms.ok_or_else(|| format!("`{text}` is not a time; RFC 3339 or milliseconds is"))?)
        }
    };
    let RecordBody { topic, partition, key, .. } = read;
    Ok(GroupRecord { topic, partition, key: key.bytes()?, value, headers, timestamp_ms })
}

fn condition(read: ConditionBody) -> Result<GroupCondition, String> {
    check_topic(&read.topic).map_err(|error| error.to_string())?;
    let ConditionBody { topic, partition, key, offset: last } = read;
    Ok(GroupCondition { topic, partition, key: key.bytes()?, last })
}

impl Plain {
    fn bytes(self) -> Result<Option<Bytes>, String> {
        match self {
            Self::None => Ok(None),
            Self::Text(text) => Ok(Some(Bytes::from(text))),
            Self::Bytes { base64 } => {
                let bytes = STANDARD.decode(&base64).map_err(|error| format!("base64: {error}"))?;
                Ok(Some(Bytes::from(bytes)))
            }
        }
    }
}

fn bad(message: String) -> ApiError {
    ApiError::new(ErrorCode::BadRequest, message)
}
