//! From a record to the records that are derived from it: each query is run, and each of its rows
//! is put into the outbox.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use landfall_core::codec::Writer;
use landfall_core::limits::RECORD_BYTES_MAX;
use landfall_core::num::{Partition, Timestamp};
use landfall_core::record::{Header as RecordHeader, Headers, Record as Encodable};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, Row, Statement};
use serde_json::Value as Json;

use super::outbox::{Entry, adding, cause_of, put};
use super::{BY, CAUSE, Deriving, LogPlace, RESERVED};
use crate::event_json::{Header, Record};
use crate::node::Target;
use crate::views::bind::Prepared;
use crate::views::definition::Definition;

/// What a query's row may have, by column.
pub(super) const COLUMNS: [&str; 4] = ["headers", "key", "timestamp", "value"];

/// The queries of a view, prepared as records need them.
pub(in crate::views) struct Emits<'c, 'd> {
    connection: &'c Connection,
    definition: &'c Definition,
    deriving: &'d Deriving<'d>,
    prepared: BTreeMap<&'c str, Vec<(&'c str, Prepared<'c>)>>,
    adding: Option<Statement<'c>>,
}

/// A record to be.
struct Made {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<Header>,
    timestamp_ms: i64,
}

impl<'c, 'd> Emits<'c, 'd> {
    pub(in crate::views) fn new(
        connection: &'c Connection,
        definition: &'c Definition,
        deriving: &'d Deriving<'d>,
    ) -> Self {
        Self { connection, definition, deriving, prepared: BTreeMap::new(), adding: None }
    }

    /// Puts what is derived from a record, which ends at a place, behind what has the sequence
    /// `last`. Returns the last sequence.
    ///
    /// # Errors
    /// A query fails, what it gives is no record, or the file refuses.
    pub(in crate::views) fn run(
        &mut self,
        record: &Record,
        at: LogPlace,
        last: u64,
    ) -> Result<u64, Error> {
        let topic = record.coordinates.stream.topic.as_str();
        let Some((topic, source)) = self.definition.sources.get_key_value(topic) else {
            return Ok(last);
        };
        let derivation = self.deriving.derivation;
        if source.emit.is_empty() || derivation.after.is_some_and(|after| at <= after) {
            return Ok(last);
        }
        if !self.prepared.contains_key(topic.as_str()) {
            let each = source.emit.iter().flat_map(|(to, list)| list.iter().map(move |s| (to, s)));
            let made = each
                .map(|(to, sql)| Ok((to.as_str(), Prepared::new(self.connection.prepare(sql)?)?)));
            let made = made.collect::<Result<Vec<_>, Error>>()?;
            self.prepared.insert(topic, made);
        }
        let mut sequence = last;
        let mut counts: BTreeMap<Target, u32> = BTreeMap::new();
        for (to, query) in self.prepared.get_mut(topic.as_str()).into_iter().flatten() {
            let mut rows = query.rows(record)?;
            while let Some(row) = rows.next()? {
                let made = made(row, record)?;
                let partition = (self.deriving.partition_of)(to, made.key.as_deref());
                let partition = Partition::new(partition);
                let target = Target { topic: (*to).to_owned(), partition };
                let count = counts.entry(target.clone()).or_default();
                let nth = *count;
                *count += 1;
                let (cause, offset) = cause_of(&record.coordinates);
                if self.deriving.known.has(&target, &cause, offset, nth) {
                    continue;
                }
                sequence += 1;
                let encoded = encoded(&made, record, &derivation.by())?;
                let cause = record.coordinates.to_string();
                let entry = Entry { sequence, at, target, cause, nth, encoded };
                let adding = match &mut self.adding {
                    Some(adding) => adding,
                    none => none.insert(adding(self.connection)?),
                };
                put(adding, derivation, &entry)?;
            }
        }
        Ok(sequence)
    }
}

/// What a row says.
fn made(row: &Row<'_>, cause: &Record) -> Result<Made, Error> {
    let statement: &Statement<'_> = row.as_ref();
    let mut made =
        Made { key: None, value: None, headers: Vec::new(), timestamp_ms: cause.timestamp_ms };
    for (at, name) in statement.column_names().enumerate() {
        let value = row.get_ref(at)?;
        match name {
            "key" => made.key = bytes(value)?,
            "value" => made.value = bytes(value)?,
            "headers" => made.headers = headers(value)?,
            _ => match value {
                ValueRef::Null => {}
                ValueRef::Integer(ms) => made.timestamp_ms = ms,
                _ => return Err(wrong("`timestamp` must be milliseconds since 1970")),
            },
        }
    }
    if made.key.is_none() && made.value.is_none() {
        return Err(wrong("a derived record needs a `key` or a `value`"));
    }
    Ok(made)
}

/// Text and blobs as they are, numbers as they are written in JSON.
fn bytes(value: ValueRef<'_>) -> Result<Option<Vec<u8>>, Error> {
    Ok(match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string().into_bytes()),
        ValueRef::Real(number) if number.is_finite() => Some(format!("{number:?}").into_bytes()),
        ValueRef::Real(_) => return Err(wrong("a number beyond all bounds is no value")),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes.to_vec()),
    })
}

/// A JSON object, as the parameter `:headers` is.
fn headers(value: ValueRef<'_>) -> Result<Vec<Header>, Error> {
    if value == ValueRef::Null {
        return Ok(Vec::new());
    }
    let read = value.as_bytes().ok().and_then(|text| serde_json::from_slice(text).ok());
    let Some(Json::Object(object)) = read else {
        return Err(wrong("`headers` must be a JSON object"));
    };
    let header = |(name, value): (String, Json)| {
        if name.starts_with(RESERVED) {
            return Err(wrong(&format!("headers with `{RESERVED}` first are the node's own")));
        }
        let value = match value {
            Json::Null => None,
            Json::String(text) => Some(text.into_bytes()),
            Json::Object(object) => {
                let text = object.get("base64").and_then(Json::as_str);
                let bytes = text.and_then(|text| STANDARD.decode(text).ok());
                Some(bytes.ok_or_else(|| wrong(&format!("the header `{name}` is no base64")))?)
            }
            other => Some(other.to_string().into_bytes()),
        };
        Ok(Header { name, value: value.map(Into::into) })
    };
    // What is passed on from a derived record names a cause that is not this one's.
    let own = |(name, _): &(String, Json)| name != CAUSE && name != BY;
    object.into_iter().filter(own).map(header).collect()
}

/// The record as it is stored, but for its producer, which is added when it is sent.
fn encoded(made: &Made, cause: &Record, by: &str) -> Result<Vec<u8>, Error> {
    let coordinates = cause.coordinates.to_string();
    let given = made.headers.iter();
    let given = given.map(|h| RecordHeader { name: &h.name, value: h.value.as_deref() });
    let own = [(CAUSE, coordinates.as_str()), (BY, by)];
    let own = own.map(|(name, value)| RecordHeader { name, value: Some(value.as_bytes()) });
    let headers: Vec<_> = given.chain(own).collect();
    let timestamp = Timestamp::new(made.timestamp_ms);
    let record = Encodable {
        headers: Headers::List(&headers),
        ..Encodable::new(timestamp, made.key.as_deref(), made.value.as_deref())
    };
    let len = record.encoded_len();
    // The producer's id and sequence take up to 18 bytes.
    if record.check().is_err() || len + 18 > RECORD_BYTES_MAX {
        return Err(wrong(&format!(
            "a derived record takes {len} bytes with its headers; at most {RECORD_BYTES_MAX} fit"
        )));
    }
    let mut bytes = vec![0; len];
    let written = record.encode(&mut Writer::new(&mut bytes));
    assert!(written.is_ok(), "a record takes the length that it says");
    Ok(bytes)
}

/// What the author of the query must mend.
fn wrong(what: &str) -> Error {
    Error::ToSqlConversionFailure(what.into())
}
