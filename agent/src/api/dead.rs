//! Dead letters: records that a consumer could not deal with, set aside in `<topic>.dead` so that
//! it goes on. A letter is written in one group with the commit of what it is about.
//!
//! Its key is the consumer and the coordinates of the record, so that a letter that is written
//! twice is one, and a tombstone settles it. Its value and headers are those of the record; headers
//! that begin with `dead-` say the rest.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::backend::GroupRecord;
use crate::coordinates::{Coordinates, StreamName, check_site, check_topic};
use crate::event_json::Header;
use crate::event_json::whole::{self, Form, HeaderBody, Plain, Time};
use crate::node::consumer::name_is_valid;

/// What the name of the topic ends with.
pub const DEAD_SUFFIX: &str = ".dead";
/// What the names of the headers begin with that a letter has besides its record's.
pub const DEAD_HEADERS: &str = "dead-";
/// Letters of an error.
const ERROR_BYTES_MAX: usize = 4_096;

/// An item of `dead` of a group.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeadBody<'b> {
    consumer: String,
    error: String,
    #[serde(borrow)]
    record: DeadRecord<'b>,
}

/// A record as it was read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeadRecord<'b> {
    topic: String,
    origin: String,
    epoch: String,
    partition: u32,
    offset: u64,
    #[serde(rename = "lane")]
    _lane: Option<serde::de::IgnoredAny>,
    #[serde(rename = "seq")]
    _seq: Option<serde::de::IgnoredAny>,
    timestamp: Time,
    #[serde(default)]
    key: Plain,
    #[serde(borrow, default, deserialize_with = "whole::there")]
    value: Option<&'b RawValue>,
    #[serde(default)]
    form: Form,
    #[serde(default)]
    headers: Vec<HeaderBody>,
}

/// The letter that a group writes.
pub(super) fn letter(body: DeadBody<'_>) -> Result<GroupRecord, String> {
    let DeadBody { consumer, mut error, record } = body;
    if !name_is_valid(&consumer) {
        return Err(format!("`{consumer}` cannot name a consumer"));
    }
    if error.len() > ERROR_BYTES_MAX {
        let end = (0..=ERROR_BYTES_MAX).rev().find(|at| error.is_char_boundary(*at));
        error.truncate(end.unwrap_or_default());
    }
    check_topic(&record.topic).map_err(|error| error.to_string())?;
    check_site(&record.origin).map_err(|error| error.to_string())?;
    let topic = format!("{}{DEAD_SUFFIX}", record.topic);
    check_topic(&topic).map_err(|error| error.to_string())?;
    let epoch = u64::from_str_radix(&record.epoch, 16);
    let epoch = epoch.map_err(|_| format!("`{}` is no epoch", record.epoch))?;
    let DeadRecord { topic: of, origin, partition, offset, .. } = record;
    let stream = StreamName { origin, topic: of, partition };
    let coordinates = Coordinates { stream, offset, epoch: Some(epoch) };
    let value = whole::value(record.form, record.value)?;
    let mut headers = whole::headers(record.headers)?;
    // A letter that could not be dealt with either is one of its own.
    headers.retain(|header| !header.name.starts_with(DEAD_HEADERS));
    let mut add = |name: &str, value: Bytes| {
        headers.push(Header { name: format!("{DEAD_HEADERS}{name}"), value: Some(value) });
    };
    add("consumer", consumer.clone().into());
    add("error", error.into());
    add("timestamp", record.timestamp.ms()?.to_string().into());
    if let Some(key) = record.key.bytes()? {
        add("key", key);
    }
    if value.is_none() {
        // A letter without a value would settle itself.
        add("form", Bytes::from_static(b"tombstone"));
    }
    Ok(GroupRecord {
        topic,
        key: Some(Bytes::from(format!("{consumer}:{coordinates}"))),
        value: Some(value.unwrap_or_default()),
        headers,
        ..GroupRecord::default()
    })
}
