//! Names of sites and topics, and the identity of a stream.

use crate::codec::{Malformed, NoRoom, Reader, Writer};
use crate::limits::{SITE_BYTES_MAX, TOPIC_BYTES_MAX};
use crate::num::Partition;

/// A log with a single writer: one partition of one topic, as one origin writes it.
///
/// The names are checked where they enter the node; see [`site_is_valid`] and [`topic_is_valid`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StreamId<'a> {
    /// The site where the records were first written.
    pub origin: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The partition of the topic.
    pub partition: Partition,
}

impl<'a> StreamId<'a> {
    /// Reads what [`StreamId::encode`] wrote, and checks the names.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let origin = text(reader.string(SITE_BYTES_MAX)?)?;
        let topic = text(reader.string(TOPIC_BYTES_MAX)?)?;
        let partition = reader.varint_to(u64::from(u32::MAX))?;
        if !site_is_valid(origin) || !topic_is_valid(topic) {
            return Err(Malformed::Text);
        }
        let partition = Partition::new(u32::try_from(partition).map_err(|_| Malformed::Limit)?);
        Ok(Self { origin, topic, partition })
    }

    /// Writes both names behind their lengths, and the partition as a varint.
    pub fn encode(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        writer.string(self.origin.as_bytes())?;
        writer.string(self.topic.as_bytes())?;
        writer.varint(u64::from(self.partition.get()))
    }
}

impl core::fmt::Display for StreamId<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}/{}/{}", self.origin, self.topic, self.partition)
    }
}

/// Whether `name` may name a site: 1 to 63 of `a-z A-Z 0-9 . _ -`, not beginning with `.` or `-`.
pub fn site_is_valid(name: &str) -> bool {
    name.len() <= SITE_BYTES_MAX && name_is_valid(name)
}

/// Whether `name` may name a topic: as for a site, up to 127 bytes. Names that begin with `_` are
/// the node's own.
pub fn topic_is_valid(name: &str) -> bool {
    name.len() <= TOPIC_BYTES_MAX && name_is_valid(name)
}

/// Whether a topic is one of the node's own.
pub fn topic_is_internal(name: &str) -> bool {
    name.starts_with('_')
}

fn name_is_valid(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.is_empty() && !name.starts_with(['.', '-']) && name.bytes().all(allowed)
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    core::str::from_utf8(bytes).map_err(|_| Malformed::Text)
}
