//! Lines to records: cuts a stream of bytes into lines and each line into key, time and value.
//!
//! - Memory is bounded by one line of the greatest length; a longer one is skipped as it comes in.
//! - A line is checked to be JSON, but no tree of it is made.
//! - Blank lines count as lines and are no records.

use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::output::Header;
use super::whole;
use crate::time_text;

/// Where in a line its key and time are.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LineShape {
    /// Field whose value is the record's key: text without its quotes, all else as it is written.
    pub key_field: Option<String>,
    /// Field with the time of the event: RFC 3339 (UTC where no zone is given), or a number of
    /// milliseconds, or of seconds if it is below 100,000,000,000 (in milliseconds: March 1973).
    pub time_field: Option<String>,
    /// Each line is a whole record, as one is read, with its key, time, value and headers.
    pub whole: bool,
}

/// A record to be, from one line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// The line it stood on, counted from 1: the sequence of its producer.
    pub line: u64,
    /// Its key, if it has one.
    pub key: Option<Bytes>,
    /// Its time in milliseconds since 1970, if it tells one.
    pub timestamp_ms: Option<i64>,
    /// Its value; none marks the key as deleted.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Vec<Header>,
}

impl Event {
    /// A record with a value and nothing else.
    #[must_use]
    pub fn of(line: u64, value: Bytes) -> Self {
        Self { line, key: None, timestamp_ms: None, value: Some(value), headers: Vec::new() }
    }

    /// Bytes that it takes, but for what goes with each record.
    pub(crate) fn content_bytes(&self) -> usize {
        let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers = self.headers.iter().map(|header| header.name.len() + len(&header.value));
        len(&self.key) + len(&self.value) + headers.sum::<usize>()
    }
}

/// A line that is no record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BadLine {
    /// The line, counted from 1.
    pub line: u64,
    /// What is wrong with it.
    pub problem: LineProblem,
}

/// What is wrong with a line.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LineProblem {
    /// Not JSON, with what the parser says.
    NotJson(String),
    /// JSON, but not an object, though a field of it was asked for.
    NotAnObject,
    /// The field is not there.
    NoField(String),
    /// JSON, but not a record, with what is wrong.
    NotARecord(String),
    /// The field is null, a list or an object.
    NotAKey(String),
    /// The field is not a time.
    NotATime {
        /// The field.
        field: String,
        /// Its beginning.
        found: String,
    },
    /// Longer than a record may be, in bytes.
    TooLong {
        /// The limit.
        max: usize,
    },
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl fmt::Display for LineProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson(message) => write!(f, "not JSON: {message}"),
            Self::NotAnObject => f.write_str("not a JSON object, so it has no fields to take"),
            Self::NotARecord(message) => write!(f, "not a record: {message}"),
            Self::NoField(field) => write!(f, "has no field `{field}`"),
            Self::NotAKey(field) => {
                write!(f, "field `{field}` cannot be a key: it must be text, a number or a boolean")
            }
            Self::NotATime { field, found } => write!(
                f,
                "field `{field}` is not a time: {found}; RFC 3339 or a number of milliseconds or \
                 seconds is"
            ),
            Self::TooLong { max } => write!(f, "longer than a record may be ({max} bytes)"),
        }
    }
}

impl std::error::Error for BadLine {}

/// How much longer the line of a whole record may be than the record: bytes as base64, letters that
/// are escaped.
const WHOLE_LINE_TIMES: usize = 4;

/// Cuts bytes, in whatever pieces they come, into events.
#[derive(Debug)]
pub struct LineReader {
    shape: LineShape,
    record_bytes_max: usize,
    line_bytes_max: usize,
    line: u64,
    partial: Vec<u8>,
    overlong: bool,
}

impl LineReader {
    /// A reader for records of at most `record_bytes_max` bytes.
    #[must_use]
    pub fn new(shape: LineShape, record_bytes_max: usize) -> Self {
        let times = if shape.whole { WHOLE_LINE_TIMES } else { 1 };
        let line_bytes_max = record_bytes_max.saturating_mul(times);
        let partial = Vec::new();
        Self { shape, record_bytes_max, line_bytes_max, line: 0, partial, overlong: false }
    }

    /// Takes the next piece of input and gives each event or bad line that ends in it to `each`,
    /// which stops the rest of the piece by an error.
    ///
    /// # Errors
    /// Those of `each`.
    pub fn feed<E>(
        &mut self,
        piece: &Bytes,
        each: &mut dyn FnMut(Result<Event, BadLine>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = piece.clone();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = rest.split_to(end);
            let _newline = rest.split_to(1);
            self.keep_or_skip(&line);
            self.end_line(line, each)?;
        }
        self.keep_or_skip(&rest);
        if !self.overlong {
            self.partial.extend_from_slice(&rest);
        }
        Ok(())
    }

    /// Ends the input: a last line without its newline counts.
    ///
    /// # Errors
    /// Those of `each`.
    pub fn finish<E>(
        &mut self,
        each: &mut dyn FnMut(Result<Event, BadLine>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.overlong || !self.partial.is_empty() {
            self.end_line(Bytes::new(), each)?;
        }
        Ok(())
    }

    /// Lines that have ended so far.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.line
    }

    fn keep_or_skip(&mut self, more: &Bytes) {
        // Blanks around the value do not count, but a line of blanks must not grow for ever either.
        if self.partial.len() + more.len() > self.line_bytes_max.saturating_mul(2) {
            self.overlong = true;
            self.partial = Vec::new();
        }
    }

    fn end_line<E>(
        &mut self,
        tail: Bytes,
        each: &mut dyn FnMut(Result<Event, BadLine>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.line += 1;
        let line = self.line;
        let bad = |problem| Err(BadLine { line, problem });
        let too_long = LineProblem::TooLong { max: self.record_bytes_max };
        if std::mem::take(&mut self.overlong) {
            return each(bad(too_long));
        }
        let whole = if self.partial.is_empty() {
            tail
        } else {
            self.partial.extend_from_slice(&tail);
            Bytes::from(std::mem::take(&mut self.partial))
        };
        let value = whole.slice_ref(whole.trim_ascii());
        if value.is_empty() {
            return Ok(());
        }
        if value.len() > self.line_bytes_max {
            return each(bad(too_long));
        }
        match self.shape.event(line, value) {
            Ok(event) if self.shape.whole && event.content_bytes() > self.record_bytes_max => {
                each(bad(too_long))
            }
            event => each(event.or_else(bad)),
        }
    }
}

impl LineShape {
    fn event(&self, line: u64, value: Bytes) -> Result<Event, LineProblem> {
        // The parser passes over text that nobody asked for without looking at it.
        if let Err(error) = std::str::from_utf8(&value) {
            let column = error.valid_up_to() + 1;
            return Err(LineProblem::NotJson(format!("not UTF-8 at column {column}")));
        }
        if self.whole {
            return whole::event(line, &value);
        }
        if self.key_field.is_none() && self.time_field.is_none() {
            serde_json::from_slice::<IgnoredAny>(&value).map_err(not_json)?;
            return Ok(Event::of(line, value));
        }
        if value.first() != Some(&b'{') {
            serde_json::from_slice::<IgnoredAny>(&value).map_err(not_json)?;
            return Err(LineProblem::NotAnObject);
        }
        let mut parser = serde_json::Deserializer::from_slice(&value);
        let found = Wanted(self).deserialize(&mut parser).map_err(not_json)?;
        parser.end().map_err(not_json)?;
        let key = taken(self.key_field.as_deref(), found.key, key_of)?;
        let timestamp_ms = taken(self.time_field.as_deref(), found.time, time_of)?;
        Ok(Event { key, timestamp_ms, ..Event::of(line, value) })
    }
}

fn taken<T>(
    field: Option<&str>,
    found: Option<&RawValue>,
    read: fn(&str, &RawValue) -> Result<T, LineProblem>,
) -> Result<Option<T>, LineProblem> {
    let Some(field) = field else { return Ok(None) };
    let found = found.ok_or_else(|| LineProblem::NoField(field.to_owned()))?;
    read(field, found).map(Some)
}

fn key_of(field: &str, found: &RawValue) -> Result<Bytes, LineProblem> {
    let text = found.get();
    match text.as_bytes().first() {
        Some(b'"') => {
            let text: String = serde_json::from_str(text).map_err(not_json)?;
            Ok(Bytes::from(text))
        }
        Some(b'{' | b'[' | b'n') | None => Err(LineProblem::NotAKey(field.to_owned())),
        Some(_) => Ok(Bytes::copy_from_slice(text.as_bytes())),
    }
}

/// Numbers below this are seconds: as such year 5138, as milliseconds March 1973.
const SECONDS_MAX: f64 = 100_000_000_000.0;
/// Times further from 1970 than this are mistakes: year 9999.
const TIME_MS_MAX: f64 = 253_402_300_799_999.0;

fn time_of(field: &str, found: &RawValue) -> Result<i64, LineProblem> {
    let text = found.get();
    let ms = if text.starts_with('"') {
        serde_json::from_str::<String>(text).ok().and_then(|text| time_text::parse(&text))
    } else {
        text.parse::<f64>().ok().and_then(number_ms)
    };
    ms.ok_or_else(|| LineProblem::NotATime {
        field: field.to_owned(),
        found: text.chars().take(40).collect(),
    })
}

fn number_ms(number: f64) -> Option<i64> {
    let ms = if number.abs() < SECONDS_MAX { number * 1_000.0 } else { number };
    // Within the bound, a float holds every millisecond exactly, and the cast cannot cut.
    (ms.abs() <= TIME_MS_MAX).then(|| ms.round() as i64)
}

pub(super) fn not_json(error: serde_json::Error) -> LineProblem {
    LineProblem::NotJson(on_one_line(&error))
}

/// The parser counts lines from the start of what it was given, which is always the first.
pub(super) fn on_one_line(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

/// The fields found in a line, as they are written there.
#[derive(Default)]
struct Found<'a> {
    key: Option<&'a RawValue>,
    time: Option<&'a RawValue>,
}

struct Wanted<'s>(&'s LineShape);

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = Found<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, parser: D) -> Result<Found<'de>, D::Error> {
        parser.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found<'de>, A::Error> {
        let mut found = Found::default();
        while let Some(name) = map.next_key_seed(Name)? {
            let is_key = self.0.key_field.as_deref() == Some(&*name);
            let is_time = self.0.time_field.as_deref() == Some(&*name);
            if !is_key && !is_time {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = map.next_value::<&RawValue>()?;
            let twice = (is_key && found.key.is_some()) || (is_time && found.time.is_some());
            if twice {
                return Err(A::Error::custom(format!("field `{name}` is there twice")));
            }
            if is_key {
                found.key = Some(value);
            }
            if is_time {
                found.time = Some(value);
            }
        }
        Ok(found)
    }
}

/// A field's name, borrowed where it holds no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = std::borrow::Cow<'de, str>;

    fn deserialize<D: serde::Deserializer<'de>>(self, parser: D) -> Result<Self::Value, D::Error> {
        parser.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = std::borrow::Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(name.into())
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(name.to_owned().into())
    }
}

#[cfg(test)]
mod tests;
