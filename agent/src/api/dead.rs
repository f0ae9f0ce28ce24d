//! Dead letters: records that a consumer, a view or a rule could not deal with, set aside in
//! `<topic>.dead` so that it goes on. A consumer's letter is written in one group with the commit
//! of what it is about, a view's through the outbox, as what it derives.
//!
//! Its key is who set it aside and the coordinates of the record, so that a letter that is written
//! twice is one, and a tombstone settles it. Its value and headers are those of the record; headers
//! that begin with `dead-` say the rest.

use bytes::Bytes;
use landfall_core::limits::RECORD_BYTES_MAX;
use landfall_core::num::Timestamp;
use landfall_core::record::{self, Headers, Record as Encodable};
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
/// The header `dead-form` of a letter about a tombstone.
pub const FORM_TOMBSTONE: &str = "tombstone";
/// The header `dead-form` of a letter that has no room for its record.
pub const FORM_LEFT_OUT: &str = "left_out";
/// Letters of an error.
const ERROR_BYTES_MAX: usize = 4_096;
/// Bytes that a producer's id and sequence and a time take besides.
const STAMP_BYTES_MAX: usize = 18 + 10;

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
    #[serde(rename = "clock")]
    _clock: Option<serde::de::IgnoredAny>,
    #[serde(rename = "corrected")]
    _corrected: Option<serde::de::IgnoredAny>,
    #[serde(rename = "error_ms")]
    _error_ms: Option<serde::de::IgnoredAny>,
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

/// Who could not deal with a record.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SetAsideBy<'n> {
    /// A consumer.
    Consumer(&'n str),
    /// A view or a rule.
    #[cfg(feature = "views")]
    View(&'n str),
}

/// A record that could not be dealt with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SetAside<'r> {
    pub(crate) coordinates: &'r Coordinates,
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<&'r Bytes>,
    pub(crate) value: Option<&'r Bytes>,
    pub(crate) headers: &'r [Header],
}

/// A letter, and the topic that it goes to.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) topic: String,
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
    pub(crate) headers: Vec<Header>,
}

impl SetAsideBy<'_> {
    /// What the name of a letter begins with. No consumer has a name with a `/`.
    fn text(self) -> String {
        match self {
            Self::Consumer(name) => name.to_owned(),
            #[cfg(feature = "views")]
            Self::View(name) => format!("view/{name}"),
        }
    }

    fn header(self) -> (&'static str, Bytes) {
        let (what, name) = match self {
            Self::Consumer(name) => ("consumer", name),
            #[cfg(feature = "views")]
            Self::View(name) => ("view", name),
        };
        (what, Bytes::copy_from_slice(name.as_bytes()))
    }
}

/// The topic of the letters of a topic; none if its name leaves no room for such a name.
pub(crate) fn dead_topic(topic: &str) -> Option<String> {
    let topic = format!("{topic}{DEAD_SUFFIX}");
    check_topic(&topic).is_ok().then_some(topic)
}

/// The letter about a record; none if no topic can take it. A record that leaves no room for what
/// the letter says besides has a letter without it.
pub(crate) fn letter_of(by: SetAsideBy<'_>, error: &str, about: SetAside<'_>) -> Option<Letter> {
    let topic = dead_topic(&about.coordinates.stream.topic)?;
    let end = (0..=ERROR_BYTES_MAX).rev().find(|at| error.is_char_boundary(*at));
    let error = error.get(..end.unwrap_or_default()).unwrap_or(error);
    let header = |name: &str, value: Bytes| Header {
        name: format!("{DEAD_HEADERS}{name}"),
        value: Some(value),
    };
    let (what, name) = by.header();
    let own = vec![
        header(what, name),
        header("error", error.to_owned().into()),
        header("record", about.coordinates.to_string().into()),
        header("timestamp", about.timestamp_ms.to_string().into()),
    ];
    // A letter that could not be dealt with either is one of its own.
    let given = about.headers.iter().filter(|header| !header.name.starts_with(DEAD_HEADERS));
    let mut headers: Vec<_> = given.cloned().chain(own.clone()).collect();
    headers.extend(about.key.map(|key| header("key", key.clone())));
    if about.value.is_none() {
        // A letter without a value would settle itself.
        headers.push(header("form", Bytes::from_static(FORM_TOMBSTONE.as_bytes())));
    }
    let key = Bytes::from(format!("{}:{}", by.text(), about.coordinates));
    let value = about.value.cloned().unwrap_or_default();
    let whole = Letter { topic, key, value, headers };
    if whole.fits() {
        return Some(whole);
    }
    let form = header("form", Bytes::from_static(FORM_LEFT_OUT.as_bytes()));
    let headers = own.into_iter().chain([form]).collect();
    Some(Letter { headers, value: Bytes::new(), ..whole })
}

impl Letter {
    /// Shows it as a record of a time, without a producer.
    pub(crate) fn as_record<T>(
        &self,
        timestamp_ms: i64,
        see: impl FnOnce(&Encodable<'_>) -> T,
    ) -> T {
        let headers = self.headers.iter();
        let headers = headers
            .map(|header| record::Header { name: &header.name, value: header.value.as_deref() });
        let headers: Vec<_> = headers.collect();
        let (key, value) = (Some(&*self.key), Some(&*self.value));
        see(&Encodable {
            headers: Headers::List(&headers),
            ..Encodable::new(Timestamp::new(timestamp_ms), key, value)
        })
    }

    /// Whether it fits into a record, with a producer's id and sequence.
    fn fits(&self) -> bool {
        self.as_record(0, |record| {
            record.check().is_ok() && record.encoded_len() + STAMP_BYTES_MAX <= RECORD_BYTES_MAX
        })
    }
}

/// The letter that a group writes.
pub(super) fn letter(body: DeadBody<'_>) -> Result<GroupRecord, String> {
    let DeadBody { consumer, error, record } = body;
    if !name_is_valid(&consumer) {
        return Err(format!("`{consumer}` cannot name a consumer"));
    }
    check_topic(&record.topic).map_err(|error| error.to_string())?;
    check_site(&record.origin).map_err(|error| error.to_string())?;
    let epoch = u64::from_str_radix(&record.epoch, 16);
    let epoch = epoch.map_err(|_| format!("`{}` is no epoch", record.epoch))?;
    let DeadRecord { topic: of, origin, partition, offset, .. } = record;
    let stream = StreamName { origin, topic: of, partition };
    let coordinates = Coordinates { stream, offset, epoch: Some(epoch) };
    let value = whole::value(record.form, record.value)?;
    let (key, headers) = (record.key.bytes()?, whole::headers(record.headers)?);
    let about = SetAside {
        coordinates: &coordinates,
        timestamp_ms: record.timestamp.ms()?,
        key: key.as_ref(),
        value: value.as_ref(),
        headers: &headers,
    };
    let letter = letter_of(SetAsideBy::Consumer(&consumer), &error, about);
    let letter = letter.ok_or_else(|| {
        let topic = &coordinates.stream.topic;
        format!("`{topic}` is too long a name to have dead letters in `{topic}{DEAD_SUFFIX}`")
    })?;
    Ok(GroupRecord {
        topic: letter.topic,
        key: Some(letter.key),
        value: Some(letter.value),
        headers: letter.headers,
        ..GroupRecord::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(value: Option<&Bytes>, headers: &[Header]) -> Letter {
        let coordinates = "ship/ais/0@4~ab".parse().unwrap();
        let key = Bytes::from_static(b"a");
        let about = SetAside {
            coordinates: &coordinates,
            timestamp_ms: 7,
            key: Some(&key),
            value,
            headers,
        };
        letter_of(SetAsideBy::Consumer("billing"), "no such customer", about).unwrap()
    }

    fn names(letter: &Letter) -> Vec<&str> {
        letter.headers.iter().map(|header| header.name.as_str()).collect()
    }

    #[test]
    fn a_letter_says_who_set_what_aside_and_why_beside_the_record_itself() {
        let header = |name: &str| Header { name: name.into(), value: None };
        let value = Bytes::from_static(b"{}");
        let told = letter(Some(&value), &[header("unit"), header("dead-error")]);
        assert_eq!(
            (told.topic.as_str(), &told.key[..]),
            ("ais.dead", &b"billing:ship/ais/0@4~ab"[..])
        );
        let own = ["dead-consumer", "dead-error", "dead-record", "dead-timestamp", "dead-key"];
        assert_eq!(names(&told), [&["unit"][..], &own[..]].concat());
        assert_eq!(told.value, value);
        let tombstone = letter(None, &[]);
        assert_eq!(tombstone.headers.last().unwrap().value.as_deref(), Some(&b"tombstone"[..]));
    }

    #[test]
    fn a_record_that_leaves_no_room_has_a_letter_without_it() {
        let most = (1..=RECORD_BYTES_MAX).rev().step_by(7).map(|len| Bytes::from(vec![b'x'; len]));
        let most = most.map(|value| letter(Some(&value), &[])).find(|told| !told.value.is_empty());
        assert!(most.unwrap().value.len() > RECORD_BYTES_MAX - 512, "all that fits is kept");
        let told = letter(Some(&Bytes::from(vec![b'x'; RECORD_BYTES_MAX])), &[]);
        assert!(told.value.is_empty() && told.fits());
        let form = told.headers.last().unwrap();
        assert_eq!(
            (form.name.as_str(), form.value.as_deref()),
            ("dead-form", Some(&b"left_out"[..]))
        );
        let topic = |len: usize| dead_topic(&"t".repeat(len));
        assert_eq!((topic(122).map(|topic| topic.len()), topic(123)), (Some(127), None));
    }
}
