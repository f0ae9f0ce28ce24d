//! Records to lines: one JSON object for each, in a fixed order of fields.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::IgnoredAny;

use crate::coordinates::Coordinates;
use crate::time_text;

/// A record as a reader sees it, with both its addresses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// Its identity. The epoch is always there.
    pub coordinates: Coordinates,
    /// Its place in its lane of this node.
    pub seq: u64,
    /// The lane.
    pub lane: String,
    /// Milliseconds since 1970, as its producer or its origin said.
    pub timestamp_ms: i64,
    /// What is known of the clock that gave its timestamp.
    pub clock: RecordClock,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; none marks the key as deleted.
    pub value: Option<Bytes>,
    /// Its headers, in their order.
    pub headers: Vec<Header>,
}

/// What is known of the clock that gave a record its timestamp.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RecordClock {
    /// Whether nobody had set it.
    pub unset: bool,
    /// What it would have shown, if that was asked for.
    pub correction: Correction,
}

/// What a timestamp would have been by the clock of the node above.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Correction {
    /// Nothing says that it was wrong, or it was not asked for.
    #[default]
    None,
    /// This.
    At {
        /// Milliseconds since 1970.
        ms: i64,
        /// By how many of them it may be wrong, to either side.
        error_ms: u32,
    },
    /// It was wrong, and nobody knows how far.
    Uncertain,
}

/// One header of a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Header {
    /// Its name; names may repeat.
    pub name: String,
    /// Its value, if it has one.
    pub value: Option<Bytes>,
}

/// Appends the record to `line` as one JSON object, without a newline:
///
/// ```text
/// {"topic":"ais","origin":"ship-17","epoch":"1f00ba5e00000001","partition":0,"offset":4711,
///  "lane":"normal","seq":4720,"timestamp":"2022-01-03T00:00:00.000Z","key":"338148873",
///  "value":{…},"headers":[{"name":"unit","value":"kn"}]}
/// ```
///
/// The timestamp is RFC 3339 in UTC with milliseconds. A value that is JSON stands there as it is;
/// other text is a JSON string with `"form":"text"` behind it, other bytes are `{"base64":"…"}`
/// with `"form":"bytes"`, a tombstone is `null` with `"form":"tombstone"`; so a JSON value that
/// looks like one of them is not mistaken for it. Keys and header values are text or bytes, never
/// JSON. Behind the timestamp stands `"clock":"unset"` if nobody had set the clock that gave it,
/// and where a correction was asked for, `"corrected":"…","error_ms":…`, or `"corrected":null` if
/// none is known.
pub fn write_record(line: &mut String, record: &Record) {
    let Coordinates { stream, offset, epoch } = &record.coordinates;
    line.push_str("{\"topic\":");
    write_text(line, &stream.topic);
    line.push_str(",\"origin\":");
    write_text(line, &stream.origin);
    // Writing to a string does not fail.
    let _ = write!(line, ",\"epoch\":\"{:016x}\"", epoch.unwrap_or_default());
    let _ = write!(line, ",\"partition\":{},\"offset\":{offset}", stream.partition);
    line.push_str(",\"lane\":");
    write_text(line, &record.lane);
    let _ = write!(line, ",\"seq\":{}", record.seq);
    let _ = write!(line, ",\"timestamp\":\"{}\"", time_text::format(record.timestamp_ms));
    write_clock(line, record.clock);
    line.push_str(",\"key\":");
    write_bytes(line, record.key.as_deref());
    line.push_str(",\"value\":");
    match &record.value {
        Some(value) => write_value(line, value),
        None => line.push_str("null,\"form\":\"tombstone\""),
    }
    line.push_str(",\"headers\":[");
    for (index, header) in record.headers.iter().enumerate() {
        line.push_str(if index == 0 { "{\"name\":" } else { ",{\"name\":" });
        write_text(line, &header.name);
        line.push_str(",\"value\":");
        write_bytes(line, header.value.as_deref());
        line.push('}');
    }
    line.push_str("]}");
}

fn write_clock(line: &mut String, clock: RecordClock) {
    if clock.unset {
        line.push_str(",\"clock\":\"unset\"");
    }
    match clock.correction {
        Correction::None => {}
        Correction::At { ms, error_ms } => {
            let time = time_text::format(ms);
            // Writing to a string does not fail.
            let _ = write!(line, ",\"corrected\":\"{time}\",\"error_ms\":{error_ms}");
        }
        Correction::Uncertain => line.push_str(",\"corrected\":null"),
    }
}

/// JSON as it is, on one line; anything else as text or bytes.
fn write_value(line: &mut String, value: &[u8]) {
    let text = std::str::from_utf8(value).ok();
    let json = text.filter(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    match json {
        Some(json) if json.contains(['\n', '\r']) => write_on_one_line(line, json),
        Some(json) => line.push_str(json.trim()),
        None => {
            write_bytes(line, Some(value));
            let form = if text.is_some() { "text" } else { "bytes" };
            let _ = write!(line, ",\"form\":\"{form}\"");
        }
    }
}

/// In JSON, bare line ends stand only between tokens, where they mean nothing.
fn write_on_one_line(line: &mut String, json: &str) {
    line.extend(json.trim().chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }));
}

fn write_bytes(line: &mut String, bytes: Option<&[u8]>) {
    match bytes.map(std::str::from_utf8) {
        None => line.push_str("null"),
        Some(Ok(text)) => write_text(line, text),
        Some(Err(_)) => {
            line.push_str("{\"base64\":\"");
            STANDARD.encode_string(bytes.unwrap_or_default(), line);
            line.push_str("\"}");
        }
    }
}

fn write_text(line: &mut String, text: &str) {
    line.push('"');
    for c in text.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            c if u32::from(c) < 0x20 => {
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(key: Option<&'static [u8]>, value: Option<&'static [u8]>) -> String {
        let record = Record {
            coordinates: "ship-17/ais/0@4711~1f00ba5e".parse().unwrap(),
            seq: 4720,
            lane: "normal".to_owned(),
            timestamp_ms: 1_641_168_000_000,
            clock: RecordClock::default(),
            key: key.map(Bytes::from_static),
            value: value.map(Bytes::from_static),
            headers: vec![Header { name: "u".to_owned(), value: Some(Bytes::from_static(b"kn")) }],
        };
        let mut line = String::new();
        write_record(&mut line, &record);
        line
    }

    #[test]
    fn a_record_is_one_object_in_a_fixed_order() {
        assert_eq!(
            line(Some(b"7"), Some(b"{\"sog\": 1.50}")),
            "{\"topic\":\"ais\",\"origin\":\"ship-17\",\"epoch\":\"000000001f00ba5e\",\
             \"partition\":0,\"offset\":4711,\"lane\":\"normal\",\"seq\":4720,\
             \"timestamp\":\"2022-01-03T00:00:00.000Z\",\"key\":\"7\",\"value\":{\"sog\": 1.50},\
             \"headers\":[{\"name\":\"u\",\"value\":\"kn\"}]}"
        );
    }

    #[test]
    fn a_clock_that_was_wrong_is_told_behind_the_time_that_it_gave() {
        let told = |unset, correction| {
            let mut line = String::new();
            write_clock(&mut line, RecordClock { unset, correction });
            line
        };
        assert_eq!(told(false, Correction::None), "");
        assert_eq!(told(true, Correction::None), ",\"clock\":\"unset\"");
        assert_eq!(
            told(true, Correction::At { ms: 0, error_ms: 40 }),
            ",\"clock\":\"unset\",\"corrected\":\"1970-01-01T00:00:00.000Z\",\"error_ms\":40"
        );
        assert_eq!(told(false, Correction::Uncertain), ",\"corrected\":null");
    }

    #[test]
    fn what_is_read_with_its_clock_can_be_appended_elsewhere() {
        let plain = line(None, Some(b"1"));
        let corrected = Correction::At { ms: 0, error_ms: 40 };
        for correction in [Correction::None, corrected, Correction::Uncertain] {
            let mut clock = String::from("Z\"");
            write_clock(&mut clock, RecordClock { unset: true, correction });
            let read = plain.replacen("Z\"", &clock, 1);
            let event = super::super::whole::event(1, read.as_bytes());
            assert!(event.is_ok(), "{read}: {event:?}");
        }
    }

    #[test]
    fn any_bytes_make_a_line_of_json() {
        let values: [(&'static [u8], &str); 6] = [
            (b"{\n\"a\":\r\n1}", "{ \"a\":  1}"),
            (b"say \"hi\"\n\x01", "\"say \\\"hi\\\"\\n\\u0001\",\"form\":\"text\""),
            (b"\xff\x00", "{\"base64\":\"/wA=\"},\"form\":\"bytes\""),
            (b"", "\"\",\"form\":\"text\""),
            (b"\"a\\nb\"", "\"a\\nb\""),
            (b"007", "\"007\",\"form\":\"text\""),
        ];
        for (value, expected) in values {
            let line = line(Some(value), Some(value));
            assert!(!line.contains('\n'));
            assert!(line.contains(&format!("\"value\":{expected},\"headers\"")), "{line}");
            serde_json::from_str::<IgnoredAny>(&line).unwrap();
        }
        assert!(line(None, None).contains("\"key\":null,\"value\":null,\"form\":\"tombstone\""));
    }
}
