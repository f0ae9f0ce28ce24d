//! Whole records from programs: a record stands in JSON as it is read, with `value`, and `form` if
//! that is not JSON. Groups and lines of whole records share it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::input::{Event, LineProblem};
use super::output::Header;
use crate::time_text;

/// A line that is a whole record. What tells where a record that was read came from is passed over:
/// it is written anew.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `value`")]
struct Line<'l> {
    #[serde(default)]
    key: Plain,
    #[serde(borrow, default, deserialize_with = "there")]
    value: Option<&'l RawValue>,
    #[serde(default)]
    form: Form,
    #[serde(default)]
    headers: Vec<HeaderBody>,
    timestamp: Option<Time>,
    #[serde(rename = "topic")]
    _topic: Option<IgnoredAny>,
    #[serde(rename = "origin")]
    _origin: Option<IgnoredAny>,
    #[serde(rename = "epoch")]
    _epoch: Option<IgnoredAny>,
    #[serde(rename = "partition")]
    _partition: Option<IgnoredAny>,
    #[serde(rename = "offset")]
    _offset: Option<IgnoredAny>,
    #[serde(rename = "lane")]
    _lane: Option<IgnoredAny>,
    #[serde(rename = "seq")]
    _seq: Option<IgnoredAny>,
    #[serde(rename = "clock")]
    _clock: Option<IgnoredAny>,
    #[serde(rename = "corrected")]
    _corrected: Option<IgnoredAny>,
    #[serde(rename = "error_ms")]
    _error_ms: Option<IgnoredAny>,
}

/// What a value is.
#[derive(Clone, Copy, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Form {
    #[default]
    Json,
    Text,
    Bytes,
    Tombstone,
}

/// Text, bytes, or nothing.
#[derive(Default, Deserialize)]
#[serde(untagged)]
pub(crate) enum Plain {
    #[default]
    None,
    Text(String),
    Bytes {
        base64: String,
    },
}

/// A header, with a value or without.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeaderBody {
    name: String,
    #[serde(default)]
    value: Plain,
}

/// Milliseconds since 1970, or RFC 3339.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Time {
    Ms(i64),
    Text(String),
}

/// Tells a `null` that is there from nothing: it is a value, too.
pub(crate) fn there<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// Reads a line.
pub(super) fn event(line: u64, text: &[u8]) -> Result<Event, LineProblem> {
    let read: Line<'_> = serde_json::from_slice(text).map_err(|error| {
        // What is no JSON at all is told as on other lines.
        match serde_json::from_slice::<IgnoredAny>(text) {
            Err(error) => super::input::not_json(error),
            Ok(_) => LineProblem::NotARecord(super::input::on_one_line(&error)),
        }
    })?;
    let wrong = LineProblem::NotARecord;
    Ok(Event {
        line,
        key: read.key.bytes().map_err(wrong)?,
        timestamp_ms: read.timestamp.map(Time::ms).transpose().map_err(wrong)?,
        value: value(read.form, read.value).map_err(wrong)?,
        headers: headers(read.headers).map_err(wrong)?,
    })
}

/// A record's value; none for a tombstone.
pub(crate) fn value(form: Form, value: Option<&RawValue>) -> Result<Option<Bytes>, String> {
    match (form, value) {
        (Form::Json, Some(value)) => Ok(Some(Bytes::copy_from_slice(value.get().as_bytes()))),
        (Form::Json, None) => {
            Err("there is no `value`; to delete a key, give `\"form\": \"tombstone\"`".into())
        }
        (Form::Text | Form::Bytes, value) => {
            let plain = serde_json::from_str(value.map_or("null", RawValue::get));
            let plain: Plain = plain.map_err(|_| "`value` is no text or bytes".to_owned())?;
            Ok(Some(plain.bytes()?.ok_or("there is no `value`")?))
        }
        (Form::Tombstone, None) => Ok(None),
        (Form::Tombstone, Some(value)) if value.get() == "null" => Ok(None),
        (Form::Tombstone, Some(_)) => Err("a tombstone has no `value`".into()),
    }
}

/// A record's headers.
pub(crate) fn headers(read: Vec<HeaderBody>) -> Result<Vec<Header>, String> {
    let header = |read: HeaderBody| Ok(Header { name: read.name, value: read.value.bytes()? });
    read.into_iter().map(header).collect()
}

impl Time {
    /// Milliseconds since 1970.
    pub(crate) fn ms(self) -> Result<i64, String> {
        match self {
            Self::Ms(ms) => Ok(ms),
            Self::Text(text) => time_text::parse(&text)
                .ok_or_else(|| format!("`{text}` is not a time; RFC 3339 or milliseconds is")),
        }
    }
}

impl Plain {
    /// Its bytes.
    pub(crate) fn bytes(self) -> Result<Option<Bytes>, String> {
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
