//! A record: what an application writes, and the only thing whose bytes never change.
//!
//! ```text
//! length     varint        bytes that follow
//! flags      u8            1 key · 2 value · 4 headers · 8 producer · others 0
//! timestamp  varint        zigzag, milliseconds since the Unix epoch
//! producer   u64, varint   id, sequence            if flagged
//! key        string        varint length, bytes    if flagged
//! headers    varint, each: string name (UTF-8), varint 0 (no value) or length + 1, bytes
//! value      the rest                              if flagged
//! ```
//!
//! - It holds nothing relative to its batch, so it can be moved to another one.
//! - Each record has exactly one encoding, so its stream hash can be taken over the bytes.

use crate::codec::{Malformed, NoRoom, Reader, Writer, unzigzag, varint_len, zigzag};
use crate::limits::{COUNTER_MAX, HEADERS_MAX, RECORD_BYTES_MAX};
use crate::num::{ProducerId, Timestamp, narrow, wide};

const HAS_KEY: u8 = 1;
const HAS_VALUE: u8 = 2;
const HAS_HEADERS: u8 = 4;
const HAS_PRODUCER: u8 = 8;

/// What an application writes to a topic.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Record<'a> {
    /// When it happened, by the clock of its origin.
    pub timestamp: Timestamp,
    /// What it is about; compaction keeps the newest record of a key.
    pub key: Option<&'a [u8]>,
    /// What happened. Absent, it is a tombstone: the key is no more.
    pub value: Option<&'a [u8]>,
    /// Named extras.
    pub headers: Headers<'a>,
    /// Who sent it and as which of its records, if it wants retries recognised.
    pub producer: Option<Producer>,
}

/// A producer's own numbering of a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Producer {
    /// The producer.
    pub id: ProducerId,
    /// Larger than that of every earlier record of this producer.
    pub sequence: u64,
}

/// A named extra of a record. The value may be absent, as in Kafka.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header<'a> {
    /// The name; names may repeat.
    pub name: &'a str,
    /// The value.
    pub value: Option<&'a [u8]>,
}

/// The headers of a record, in order.
#[derive(Clone, Copy, Debug)]
pub enum Headers<'a> {
    /// As the application gave them.
    List(&'a [Header<'a>]),
    /// As they are stored: a count and that many headers, checked when the record was decoded.
    Stored(&'a [u8]),
}

impl<'a> Record<'a> {
    /// A record with a key and a value and nothing else.
    pub const fn new(timestamp: Timestamp, key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Self {
        Self { timestamp, key, value, headers: Headers::List(&[]), producer: None }
    }

    /// Takes one record off the front of `reader`.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let mut inner = Reader::new(reader.string(RECORD_BYTES_MAX)?);
        let flags = inner.u8()?;
        if flags & !(HAS_KEY | HAS_VALUE | HAS_HEADERS | HAS_PRODUCER) != 0 {
            return Err(Malformed::Unknown);
        }
        let timestamp = Timestamp::new(unzigzag(inner.varint()?));
        let mut producer = None;
        if flags & HAS_PRODUCER != 0 {
            let id = ProducerId::new(inner.u64()?);
            producer = Some(Producer { id, sequence: inner.varint_to(COUNTER_MAX)? });
        }
        let mut key = None;
        if flags & HAS_KEY != 0 {
            key = Some(inner.string(RECORD_BYTES_MAX)?);
        }
        let mut headers = Headers::List(&[]);
        if flags & HAS_HEADERS != 0 {
            headers = Headers::Stored(stored_headers(&mut inner)?);
        }
        let value = if flags & HAS_VALUE != 0 {
            Some(inner.rest())
        } else if inner.is_empty() {
            None
        } else {
            return Err(Malformed::Contradiction);
        };
        Ok(Self { timestamp, key, value, headers, producer })
    }

    /// Appends the encoded record.
    ///
    /// # Errors
    /// The buffer has no room for it. [`Record::encoded_len`] tells beforehand.
    pub fn encode(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        writer.varint(wide(self.inner_len()))?;
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        writer.u8(flag(self.key.is_some(), HAS_KEY)
            | flag(self.value.is_some(), HAS_VALUE)
            | flag(!self.headers.is_empty(), HAS_HEADERS)
            | flag(self.producer.is_some(), HAS_PRODUCER))?;
        writer.varint(zigzag(self.timestamp.get()))?;
        if let Some(producer) = self.producer {
            writer.u64(producer.id.get())?;
            writer.varint(producer.sequence)?;
        }
        if let Some(key) = self.key {
            writer.string(key)?;
        }
        self.headers.encode(writer)?;
        writer.bytes(self.value.unwrap_or_default())
    }

    /// The bytes that the encoded record takes.
    pub fn encoded_len(&self) -> usize {
        let inner = self.inner_len();
        varint_len(wide(inner)) + inner
    }

    /// Whether it keeps within the limits of a record.
    ///
    /// # Errors
    /// [`Malformed::Limit`] if it is too long, has too many headers or too large a sequence.
    pub fn check(&self) -> Result<(), Malformed> {
        let sequence = self.producer.map_or(0, |producer| producer.sequence);
        let headers = self.headers.iter().count();
        if self.inner_len() > RECORD_BYTES_MAX || headers > HEADERS_MAX || sequence > COUNTER_MAX {
            return Err(Malformed::Limit);
        }
        Ok(())
    }

    fn inner_len(&self) -> usize {
        let producer = self.producer.map_or(0, |producer| 8 + varint_len(producer.sequence));
        let key = self.key.map_or(0, |key| varint_len(wide(key.len())) + key.len());
        let value = self.value.map_or(0, <[u8]>::len);
        1 + varint_len(zigzag(self.timestamp.get()))
            + producer
            + key
            + self.headers.encoded_len()
            + value
    }
}

impl<'a> Headers<'a> {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::List(list) => list.is_empty(),
            Self::Stored(bytes) => bytes.is_empty(),
        }
    }

    /// The headers in order.
    pub fn iter(&self) -> impl Iterator<Item = Header<'a>> + use<'a> {
        let (list, stored) = match *self {
            Self::List(list) => (list, Reader::new(&[])),
            Self::Stored(bytes) => {
                let mut reader = Reader::new(bytes);
                let counted = reader.varint().is_ok();
                debug_assert!(counted || bytes.is_empty(), "stored headers were checked");
                (Default::default(), reader)
            }
        };
        let mut stored = stored;
        let stored = core::iter::from_fn(move || header(&mut stored).ok());
        list.iter().copied().chain(stored)
    }

    fn encode(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        match self {
            Self::List([]) => Ok(()),
            Self::List(list) => {
                writer.varint(wide(list.len()))?;
                for header in *list {
                    writer.string(header.name.as_bytes())?;
                    match header.value {
                        None => writer.varint(0)?,
                        Some(value) => {
                            writer.varint(wide(value.len()) + 1)?;
                            writer.bytes(value)?;
                        }
                    }
                }
                Ok(())
            }
            Self::Stored(bytes) => writer.bytes(bytes),
        }
    }

    fn encoded_len(&self) -> usize {
        let one = |header: &Header<'_>| {
            let name = header.name.len();
            let value = header.value.map_or(1, |v| varint_len(wide(v.len()) + 1) + v.len());
            varint_len(wide(name)) + name + value
        };
        match self {
            Self::List([]) => 0,
            Self::List(list) => varint_len(wide(list.len())) + list.iter().map(one).sum::<usize>(),
            Self::Stored(bytes) => bytes.len(),
        }
    }
}

impl PartialEq for Headers<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers<'_> {}

fn stored_headers<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let start = reader.rest();
    let count = reader.varint_to(wide(HEADERS_MAX))?;
    if count == 0 {
        return Err(Malformed::Contradiction);
    }
    for _ in 0..count {
        header(reader)?;
    }
    let len = start.len() - reader.rest().len();
    Reader::new(start).bytes(len)
}

fn header<'a>(reader: &mut Reader<'a>) -> Result<Header<'a>, Malformed> {
    let name = reader.string(RECORD_BYTES_MAX)?;
    let name = core::str::from_utf8(name).map_err(|_| Malformed::Text)?;
    let value = match reader.varint()?.checked_sub(1) {
        None => None,
        Some(len) => Some(reader.bytes(narrow(len).ok_or(Malformed::Limit)?)?),
    };
    Ok(Header { name, value })
}

#[cfg(test)]
mod tests {
    use super::{Header, Headers, Producer, Record};
    use crate::codec::{Malformed, Reader, Writer};
    use crate::num::{ProducerId, Timestamp};

    fn full<'a>(headers: &'a [Header<'a>]) -> Record<'a> {
        Record {
            timestamp: Timestamp::new(-5),
            key: Some(b"mmsi"),
            value: Some(b"{}"),
            headers: Headers::List(headers),
            producer: Some(Producer { id: ProducerId::new(7), sequence: 300 }),
        }
    }

    fn round_trip(record: &Record<'_>) {
        let mut buffer = [0; 256];
        let mut writer = Writer::new(&mut buffer);
        record.encode(&mut writer).unwrap();
        assert_eq!(writer.len(), record.encoded_len());
        let mut reader = Reader::new(writer.written());
        assert_eq!(Record::decode(&mut reader).as_ref(), Ok(record));
        assert!(reader.is_empty());
    }

    #[test]
    fn every_part_comes_back() {
        let headers = [
            Header { name: "trace", value: Some(b"1") },
            Header { name: "trace", value: None },
            Header { name: "", value: Some(b"") },
        ];
        round_trip(&full(&headers));
        round_trip(&Record::new(Timestamp::new(i64::MAX), None, None));
        round_trip(&Record::new(Timestamp::new(0), Some(b""), Some(b"")));
    }

    #[test]
    fn a_tombstone_differs_from_an_empty_value() {
        let mut buffer = [0; 64];
        let mut writer = Writer::new(&mut buffer);
        Record::new(Timestamp::new(0), Some(b"k"), None).encode(&mut writer).unwrap();
        let decoded = Record::decode(&mut Reader::new(writer.written())).unwrap();
        assert_eq!(decoded.value, None);
    }

    #[test]
    fn unknown_flags_and_trailing_bytes_are_refused() {
        assert_eq!(Record::decode(&mut Reader::new(&[2, 0x10, 0])), Err(Malformed::Unknown));
        assert_eq!(Record::decode(&mut Reader::new(&[3, 0, 0, 9])), Err(Malformed::Contradiction));
        assert_eq!(Record::decode(&mut Reader::new(&[9, 0, 0])), Err(Malformed::Short));
    }

    #[test]
    fn a_cut_record_is_refused_at_every_byte() {
        let mut buffer = [0; 256];
        let mut writer = Writer::new(&mut buffer);
        let headers = [Header { name: "h", value: Some(b"v") }];
        full(&headers).encode(&mut writer).unwrap();
        for len in 0..writer.len() {
            assert!(Record::decode(&mut Reader::new(&writer.written()[..len])).is_err());
        }
    }
}
