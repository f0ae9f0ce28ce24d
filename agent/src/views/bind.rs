//! The parameters of a record's statements: `:key`, `:value` and the others.

use rusqlite::types::{ToSql, ToSqlOutput, Value, ValueRef};
use rusqlite::{Result, Rows, Statement};
use serde_json::{Map, Value as Json, json};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::definition::PARAMETERS;
use crate::event_json::{Header, Record};

/// A statement, and which of its parameters is what.
pub(super) struct Prepared<'c> {
    statement: Statement<'c>,
    /// The index of each of [`PARAMETERS`], if the statement has it.
    places: [Option<usize>; PARAMETERS.len()],
}

impl<'c> Prepared<'c> {
    pub(super) fn new(statement: Statement<'c>) -> Result<Self> {
        let mut places = [None; PARAMETERS.len()];
        for (place, name) in places.iter_mut().zip(PARAMETERS) {
            *place = statement.parameter_index(name)?;
        }
        Ok(Self { statement, places })
    }

    /// Runs it for a record.
    pub(super) fn run(&mut self, record: &Record) -> Result<usize> {
        self.bind(record)?;
        self.statement.raw_execute()
    }

    /// The rows that it gives for a record.
    pub(super) fn rows(&mut self, record: &Record) -> Result<Rows<'_>> {
        self.bind(record)?;
        Ok(self.statement.raw_query())
    }

    fn bind(&mut self, record: &Record) -> Result<()> {
        let stream = &record.coordinates.stream;
        let [key, value, timestamp, offset, partition, topic, origin, headers] = self.places;
        let statement = &mut self.statement;
        bind(statement, key, Bytes(record.key.as_deref()))?;
        bind(statement, value, Bytes(record.value.as_deref()))?;
        bind(statement, timestamp, record.timestamp_ms)?;
        bind(statement, offset, record.coordinates.offset.cast_signed())?;
        bind(statement, partition, stream.partition)?;
        bind(statement, topic, stream.topic.as_str())?;
        bind(statement, origin, stream.origin.as_str())?;
        if headers.is_some() {
            bind(statement, headers, headers_json(&record.headers))?;
        }
        Ok(())
    }
}

fn bind(statement: &mut Statement<'_>, at: Option<usize>, value: impl ToSql) -> Result<()> {
    at.map_or(Ok(()), |at| statement.raw_bind_parameter(at, value))
}

/// Bytes as SQLite sees them: text if they are UTF-8, else a blob.
struct Bytes<'r>(Option<&'r [u8]>);

impl ToSql for Bytes<'_> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            None => ToSqlOutput::Owned(Value::Null),
            Some(bytes) => ToSqlOutput::Borrowed(match std::str::from_utf8(bytes) {
                Ok(text) => ValueRef::Text(text.as_bytes()),
                Err(_) => ValueRef::Blob(bytes),
            }),
        })
    }
}

/// One object: the last value of each name, as text, `null`, or `{"base64": …}`.
fn headers_json(headers: &[Header]) -> String {
    let mut object = Map::new();
    for header in headers {
        let value = match header.value.as_deref().map(|bytes| (std::str::from_utf8(bytes), bytes)) {
            None => Json::Null,
            Some((Ok(text), _)) => Json::from(text),
            Some((Err(_), bytes)) => json!({"base64": STANDARD.encode(bytes)}),
        };
        object.insert(header.name.clone(), value);
    }
    Json::Object(object).to_string()
}
