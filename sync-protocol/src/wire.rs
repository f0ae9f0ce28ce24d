//! Writing and reading the parts of a message. What serde and postcard see stays in this crate:
//! each wire type is turned into a domain type, and checked, in one place.

use landfall_core::codec::{Malformed, NoRoom};
use landfall_core::hash::StreamHash;
use landfall_core::limits::COUNTER_MAX;
use landfall_core::name::{StreamId, site_is_valid, topic_is_valid};
use landfall_core::num::{CommitNo, Epoch, LogId, Offset, Partition, Seq};
use serde::{Deserialize, Serialize};

use crate::message::Item;

/// Where a message goes: into a buffer, or only counted.
pub(crate) struct Output<'a> {
    buffer: Option<&'a mut [u8]>,
    len: usize,
}

impl<'a> Output<'a> {
    pub(crate) fn to(buffer: &'a mut [u8]) -> Self {
        Self { buffer: Some(buffer), len: 0 }
    }

    pub(crate) fn counting() -> Self {
        Self { buffer: None, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes that a value takes.
    pub(crate) fn len_of<T: Serialize>(value: &T) -> usize {
        let mut out = Self::counting();
        // Counting refuses nothing.
        let _ = out.value(value);
        out.len
    }

    /// Writes one value to the front of `buffer`, and returns how many bytes it took.
    pub(crate) fn once<T: Serialize>(buffer: &'a mut [u8], value: &T) -> Result<usize, NoRoom> {
        let mut out = Self::to(buffer);
        out.value(value)?;
        Ok(out.len)
    }

    pub(crate) fn item<'b, T: Item<'b>>(&mut self, item: &T) -> Result<(), NoRoom> {
        self.len += match &mut self.buffer {
            Some(buffer) => item.encode(buffer.get_mut(self.len..).ok_or(NoRoom)?)?,
            None => item.encoded_len(),
        };
        Ok(())
    }

    pub(crate) fn value<T: Serialize>(&mut self, value: &T) -> Result<(), NoRoom> {
        let taken = match &mut self.buffer {
            Some(buffer) => {
                let room = buffer.get_mut(self.len..).ok_or(NoRoom)?;
                postcard::to_slice(value, room).map_err(|_| NoRoom)?.len()
            }
            None => postcard::experimental::serialized_size(value).map_err(|_| NoRoom)?,
        };
        self.len += taken;
        Ok(())
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        let end = self.len.checked_add(bytes.len()).ok_or(NoRoom)?;
        if let Some(buffer) = &mut self.buffer {
            buffer.get_mut(self.len..end).ok_or(NoRoom)?.copy_from_slice(bytes);
        }
        self.len = end;
        Ok(())
    }
}

/// What is left to read of a message.
pub(crate) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn value<T: Deserialize<'a>>(&mut self) -> Result<T, Malformed> {
        let (value, rest) = postcard::take_from_bytes(self.rest).map_err(|error| match error {
            postcard::Error::DeserializeUnexpectedEnd => Malformed::Short,
            postcard::Error::DeserializeBadVarint => Malformed::Varint,
            postcard::Error::DeserializeBadUtf8 => Malformed::Text,
            _ => Malformed::Unknown,
        })?;
        self.rest = rest;
        Ok(value)
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Everything that is left: the tail of a message whose length the frame gives.
    pub(crate) fn tail(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Contradiction) }
    }
}

/// A random number: eight bytes, since a varint would mostly take ten.
#[derive(Clone, Copy, Deserialize, Serialize)]
pub(crate) struct IdWire(#[serde(with = "postcard::fixint::le")] pub(crate) u64);

impl From<Epoch> for IdWire {
    fn from(epoch: Epoch) -> Self {
        Self(epoch.get())
    }
}

impl From<LogId> for IdWire {
    fn from(log: LogId) -> Self {
        Self(log.get())
    }
}

impl IdWire {
    pub(crate) fn epoch(self) -> Epoch {
        Epoch::new(self.0)
    }

    pub(crate) fn log(self) -> LogId {
        LogId::new(self.0)
    }
}

/// A counter as it came: not yet known to be sane.
#[derive(Clone, Copy, Deserialize, Serialize)]
pub(crate) struct CounterWire(pub(crate) u64);

impl CounterWire {
    pub(crate) fn checked(self) -> Result<u64, Malformed> {
        if self.0 > COUNTER_MAX { Err(Malformed::Limit) } else { Ok(self.0) }
    }

    pub(crate) fn offset(self) -> Result<Offset, Malformed> {
        Ok(Offset::new(self.checked()?))
    }

    pub(crate) fn seq(self) -> Result<Seq, Malformed> {
        Ok(Seq::new(self.checked()?))
    }

    pub(crate) fn commit(self) -> Result<CommitNo, Malformed> {
        Ok(CommitNo::new(self.checked()?))
    }
}

pub(crate) type HashWire = [u8; 16];

pub(crate) fn hash_to_wire(hash: Option<StreamHash>) -> Option<HashWire> {
    hash.map(StreamHash::bytes)
}

pub(crate) fn hash_from_wire(hash: Option<HashWire>) -> Option<StreamHash> {
    hash.map(StreamHash::new)
}

#[derive(Clone, Copy, Deserialize, Serialize)]
pub(crate) struct StreamWire<'a> {
    origin: &'a str,
    topic: &'a str,
    partition: u32,
}

impl<'a> From<StreamId<'a>> for StreamWire<'a> {
    fn from(stream: StreamId<'a>) -> Self {
        Self { origin: stream.origin, topic: stream.topic, partition: stream.partition.get() }
    }
}

impl<'a> TryFrom<StreamWire<'a>> for StreamId<'a> {
    type Error = Malformed;

    fn try_from(wire: StreamWire<'a>) -> Result<Self, Malformed> {
        if !site_is_valid(wire.origin) || !topic_is_valid(wire.topic) {
            return Err(Malformed::Text);
        }
        let partition = Partition::new(wire.partition);
        Ok(Self { origin: wire.origin, topic: wire.topic, partition })
    }
}

/// A byte string of at most `max` bytes.
pub(crate) fn at_most(bytes: &[u8], max: usize) -> Result<&[u8], Malformed> {
    if bytes.len() > max { Err(Malformed::Limit) } else { Ok(bytes) }
}

/// A text of at most `max` bytes without control characters, so that it may be printed.
pub(crate) fn printable(text: &str, max: usize) -> Result<&str, Malformed> {
    at_most(text.as_bytes(), max)?;
    if text.chars().any(char::is_control) { Err(Malformed::Text) } else { Ok(text) }
}

/// As much of a text as the other end takes: up to `max` bytes, and to the first control character.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    let clean = text.split(char::is_control).next().unwrap_or_default();
    let end = (0..=clean.len().min(max)).rev().find(|end| clean.is_char_boundary(*end));
    clean.get(..end.unwrap_or(0)).unwrap_or_default()
}
