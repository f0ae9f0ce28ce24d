//! Coordinates and positions as people write them: `ship-17/ais/0@4711`.
//!
//! ```text
//! ship-17/ais/0@4711~1f00ba5e      origin / topic / partition @ offset ~ epoch (hex, optional)
//! ```

use std::fmt;
use std::str::FromStr;

use landfall_core::limits::{SITE_BYTES_MAX, TOPIC_BYTES_MAX};
use landfall_core::name::{site_is_valid, topic_is_valid};

use crate::time_text;

/// The identity of a record, for ever, on every node.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Coordinates {
    /// The stream the record belongs to.
    pub stream: StreamName,
    /// Its number there.
    pub offset: u64,
    /// The epoch it was written in; without one, the newest is meant.
    pub epoch: Option<u64>,
}

/// A stream as people write it: `ship-17/ais/0`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct StreamName {
    /// The site where the records were first written.
    pub origin: String,
    /// The topic.
    pub topic: String,
    /// The partition of the topic.
    pub partition: u32,
}

/// Where a reader starts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Position {
    /// The first record that is still here.
    Earliest,
    /// Behind the last record that is here now.
    Latest,
    /// This offset of the streams that are read.
    Offset(u64),
    /// This record of its stream, and all of the others that were committed here after it.
    Record(Coordinates),
    /// The first record with this timestamp (milliseconds since 1970) or a later one.
    Time(i64),
    /// This seq of each record's lane.
    Seq(u64),
}

/// A name or position that cannot be read.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NotCoordinates {
    /// A site name with wrong length or letters.
    Site(String),
    /// A topic name with wrong length or letters.
    Topic(String),
    /// Not `origin/topic/partition`.
    Stream(String),
    /// No offset behind `@`, or not a number.
    Offset(String),
    /// An epoch that is not 1 to 16 hexadecimal digits.
    Epoch(String),
    /// No word, offset, coordinates or time.
    Position(String),
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.origin, self.topic, self.partition)
    }
}

impl fmt::Display for Coordinates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.stream, self.offset)?;
        match self.epoch {
            Some(epoch) => write!(f, "~{epoch:x}"),
            None => Ok(()),
        }
    }
}

/// What [`Position::from_str`] reads.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::Offset(offset) => write!(f, "@{offset}"),
            Self::Record(coordinates) => coordinates.fmt(f),
            Self::Time(ms) => f.write_str(&time_text::format(*ms)),
            Self::Seq(seq) => write!(f, "seq:{seq}"),
        }
    }
}

impl FromStr for StreamName {
    type Err = NotCoordinates;

    fn from_str(text: &str) -> Result<Self, NotCoordinates> {
        let mut parts = text.split('/');
        let (Some(origin), Some(topic), Some(partition), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NotCoordinates::Stream(text.to_owned()));
        };
        check_site(origin)?;
        check_topic(topic)?;
        let partition =
            decimal(partition).ok_or_else(|| NotCoordinates::Stream(text.to_owned()))?;
        Ok(Self { origin: origin.to_owned(), topic: topic.to_owned(), partition })
    }
}

impl FromStr for Coordinates {
    type Err = NotCoordinates;

    fn from_str(text: &str) -> Result<Self, NotCoordinates> {
        let Some((stream, rest)) = text.split_once('@') else {
            return Err(NotCoordinates::Offset(text.to_owned()));
        };
        let (offset, epoch) = match rest.split_once('~') {
            Some((offset, epoch)) => (offset, Some(parse_epoch(epoch)?)),
            None => (rest, None),
        };
        let offset = decimal(offset).ok_or_else(|| NotCoordinates::Offset(text.to_owned()))?;
        Ok(Self { stream: stream.parse()?, offset, epoch })
    }
}

impl FromStr for Position {
    type Err = NotCoordinates;

    fn from_str(text: &str) -> Result<Self, NotCoordinates> {
        match text {
            "earliest" => return Ok(Self::Earliest),
            "latest" => return Ok(Self::Latest),
            _ => {}
        }
        if let Some(offset) = text.strip_prefix('@') {
            let offset = decimal(offset).ok_or_else(|| NotCoordinates::Offset(text.to_owned()))?;
            return Ok(Self::Offset(offset));
        }
        if let Some(seq) = text.strip_prefix("seq:") {
            let seq = decimal(seq).ok_or_else(|| NotCoordinates::Position(text.to_owned()))?;
            return Ok(Self::Seq(seq));
        }
        if text.contains('@') {
            return text.parse().map(Self::Record);
        }
        let time = time_text::parse(text).map(Self::Time);
        time.ok_or_else(|| NotCoordinates::Position(text.to_owned()))
    }
}

/// Whether `name` can be a site's: 1 to 63 of `A-Z a-z 0-9 . _ -`, not beginning with `.` or `-`.
///
/// # Errors
/// [`NotCoordinates::Site`] with the name.
pub fn check_site(name: &str) -> Result<(), NotCoordinates> {
    if site_is_valid(name) { Ok(()) } else { Err(NotCoordinates::Site(name.to_owned())) }
}

/// Whether `name` can be a topic's: as for a site, up to 127 bytes.
///
/// # Errors
/// [`NotCoordinates::Topic`] with the name.
pub fn check_topic(name: &str) -> Result<(), NotCoordinates> {
    if topic_is_valid(name) { Ok(()) } else { Err(NotCoordinates::Topic(name.to_owned())) }
}

fn parse_epoch(text: &str) -> Result<u64, NotCoordinates> {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let epoch = if is_hex { u64::from_str_radix(text, 16).ok() } else { None };
    epoch.ok_or_else(|| NotCoordinates::Epoch(text.to_owned()))
}

/// A number of digits only: the standard parser would also take a sign.
fn decimal<N: FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl fmt::Display for NotCoordinates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Site(name) => write!(
                f,
                "`{name}` cannot be a site: 1 to {SITE_BYTES_MAX} of letters, digits, `.`, `_` and \
                 `-`, beginning with a letter or digit"
            ),
            Self::Topic(name) => write!(
                f,
                "`{name}` cannot be a topic: 1 to {TOPIC_BYTES_MAX} of letters, digits, `.`, `_` \
                 and `-`"
            ),
            Self::Stream(text) => write!(
                f,
                "`{text}` is not a stream: write origin/topic/partition, such as ship-17/ais/0"
            ),
            Self::Offset(text) => write!(
                f,
                "`{text}` has no offset: write a number behind `@`, such as ship-17/ais/0@4711"
            ),
            Self::Epoch(text) => {
                write!(f, "`~{text}` is not an epoch: write 1 to 16 hexadecimal digits behind `~`")
            }
            Self::Position(text) => write!(
                f,
                "`{text}` is not a position: write earliest, latest, @OFFSET, seq:SEQ, \
                 coordinates such as ship-17/ais/0@4711, or a time such as 2022-01-03T00:00:00Z"
            ),
        }
    }
}

impl std::error::Error for NotCoordinates {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_are_printed_as_they_are_parsed() {
        for text in ["ship-17/ais/0@4711", "ship-17/ais/0@4711~1f00ba5e", "a/_x.y/4294967295@0"] {
            assert_eq!(text.parse::<Coordinates>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn each_wrong_part_is_named() {
        let error = |text: &str| text.parse::<Coordinates>().unwrap_err();
        assert!(matches!(error("ship-17/ais/0"), NotCoordinates::Offset(_)));
        assert!(matches!(error("ship-17/ais@1"), NotCoordinates::Stream(_)));
        assert!(matches!(error("ship-17/ais/x@1"), NotCoordinates::Stream(_)));
        assert!(matches!(error("ship-17/a b/0@1"), NotCoordinates::Topic(_)));
        assert!(matches!(error("-x/ais/0@1"), NotCoordinates::Site(_)));
        assert!(matches!(error("ship-17/ais/0@+1"), NotCoordinates::Offset(_)));
        assert!(matches!(error("ship-17/ais/0@1~xyz"), NotCoordinates::Epoch(_)));
        assert!(matches!(error("ship-17/ais/0@1~"), NotCoordinates::Epoch(_)));
    }

    #[test]
    fn positions_are_words_offsets_records_or_times() {
        assert_eq!("earliest".parse(), Ok(Position::Earliest));
        assert_eq!("@12".parse(), Ok(Position::Offset(12)));
        assert_eq!("seq:12".parse(), Ok(Position::Seq(12)));
        assert!("seq:+1".parse::<Position>().is_err());
        assert_eq!("2022-01-03".parse(), Ok(Position::Time(1_641_168_000_000)));
        let record = "ship-17/ais/0@4711".parse().unwrap();
        assert_eq!("ship-17/ais/0@4711".parse(), Ok(Position::Record(record)));
        let error = "yesterday".parse::<Position>().unwrap_err().to_string();
        assert!(error.contains("yesterday") && error.contains("earliest"), "{error}");
    }
}
