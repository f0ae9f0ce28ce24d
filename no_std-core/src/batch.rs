//! A batch: consecutive records of one stream, with the offsets they cover and the stream hash
//! before and after them.
//!
//! ```text
//! head_len  u16     bytes of the head, from here to the end of its checksum
//! flags     u8      1 partial · 2 encrypted (reserved) · 4, 8 codec (reserved) · 16, 32 clock
//! stream            origin and topic behind their lengths, partition as a varint
//! epoch     u64     of every record in it
//! base      u64     the first offset it covers
//! span      u32     how many offsets it covers
//! records   u32     how many records it holds; equal to the span unless partial
//! len       u32     bytes of the records
//! before    16      stream hash before the first offset
//! after     16      stream hash after the last one
//! crc       u32     CRC-32C of the head up to here
//! records           in a partial batch each behind its distance from the base, as a varint
//! ```
//!
//! The head has a checksum of its own so that a damaged entry can still say what was in it.

use crate::checksum::Checksum;
use crate::codec::{Malformed, NoRoom, Reader, Writer};
use crate::frontier::Extent;
use crate::hash::StreamHash;
use crate::limits::{COUNTER_MAX, ENTRY_BYTES_MAX, SITE_BYTES_MAX, TOPIC_BYTES_MAX};
use crate::name::StreamId;
use crate::num::{Epoch, Offset, narrow, wide};
use crate::record::Record;

/// The longest head of a batch.
pub const HEAD_BYTES_MAX: usize = FIXED_BYTES + 1 + SITE_BYTES_MAX + 1 + TOPIC_BYTES_MAX + 5;

const FIXED_BYTES: usize = 2 + 1 + 8 + 8 + 4 + 4 + 4 + 16 + 16 + 4;
const AFTER_STREAM: usize = FIXED_BYTES - 3;
const PARTIAL: u8 = 1;
const ENCRYPTED: u8 = 2;
const CODEC: u8 = 4 | 8;
const CLOCK_SHIFT: u8 = 4;

/// How far the clock that gave the timestamps could be trusted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ClockQuality {
    /// Nothing is known of it.
    #[default]
    Unknown,
    /// It counts from the start of the machine or from an arbitrary date.
    Unset,
    /// A battery-backed clock that nothing has compared.
    Local,
    /// Kept in step with a time source.
    Synced,
}

/// What a batch says of its records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BatchHead<'a> {
    /// The stream of its records.
    pub stream: StreamId<'a>,
    /// The epoch under which they were written.
    pub epoch: Epoch,
    /// The first offset it covers.
    pub base: Offset,
    /// How many offsets it covers, at least one.
    pub span: u32,
    /// How many records it holds.
    pub records: u32,
    /// Bytes of its records.
    pub len: u32,
    /// Stream hash before its first offset.
    pub before: StreamHash,
    /// Stream hash after its last offset.
    pub after: StreamHash,
    /// Whether records within its span may be absent. It then never fills a full feed.
    pub partial: bool,
    /// The quality of the clock that gave the timestamps.
    pub clock: ClockQuality,
}

/// A batch within the body of an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Batch<'a> {
    /// What it says of its records.
    pub head: BatchHead<'a>,
    /// The encoded records.
    pub records: &'a [u8],
}

/// A record with its place and its encoded form.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PlacedRecord<'a> {
    /// Its offset in its stream.
    pub offset: Offset,
    /// Its encoded form, over which the stream hash is taken.
    pub encoded: &'a [u8],
    /// What it says.
    pub record: Record<'a>,
}

impl<'a> BatchHead<'a> {
    /// What it covers of its stream.
    pub fn extent(&self) -> Extent {
        let (epoch, base, end) = (self.epoch, self.base, self.end());
        Extent { epoch, base, end, before: self.before, after: self.after }
    }

    /// The offset after the last one it covers.
    pub fn end(&self) -> Offset {
        self.base.plus(u64::from(self.span))
    }

    /// Reads a head and verifies its checksum.
    pub fn decode(bytes: &mut Reader<'a>, checksum: Checksum) -> Result<Self, Malformed> {
        let start = bytes.rest();
        let len = usize::from(bytes.u16()?);
        if !(FIXED_BYTES..=HEAD_BYTES_MAX).contains(&len) {
            return Err(Malformed::Limit);
        }
        let summed = Reader::new(start).bytes(len - 4)?;
        let mut inner = Reader::new(bytes.bytes(len - 2)?);
        let flags = inner.u8()?;
        let stream = StreamId::decode(&mut inner)?;
        if inner.rest().len() != AFTER_STREAM {
            return Err(Malformed::Contradiction);
        }
        let head = Self {
            stream,
            epoch: Epoch::new(inner.u64()?),
            base: Offset::new(inner.counter()?),
            span: inner.u32()?,
            records: inner.u32()?,
            len: inner.u32()?,
            before: StreamHash::new(inner.array()?),
            after: StreamHash::new(inner.array()?),
            partial: flags & PARTIAL != 0,
            clock: ClockQuality::from_bits(flags >> CLOCK_SHIFT),
        };
        if inner.u32()? != checksum.of(summed) {
            return Err(Malformed::Checksum);
        }
        head.check(flags)?;
        Ok(head)
    }

    /// Writes the head, with its checksum.
    pub fn encode(&self, writer: &mut Writer<'_>, checksum: Checksum) -> Result<(), NoRoom> {
        let start = writer.len();
        let mut scratch = [0; HEAD_BYTES_MAX];
        let mut head = Writer::new(&mut scratch);
        head.u16(0)?;
        let partial = if self.partial { PARTIAL } else { 0 };
        head.u8(partial | self.clock.bits() << CLOCK_SHIFT)?;
        self.stream.encode(&mut head)?;
        head.u64(self.epoch.get())?;
        head.u64(self.base.get())?;
        head.u32(self.span)?;
        head.u32(self.records)?;
        head.u32(self.len)?;
        head.bytes(&self.before.bytes())?;
        head.bytes(&self.after.bytes())?;
        let len = u16::try_from(head.len() + 4).map_err(|_| NoRoom)?;
        let crc =
            checksum.on(checksum.of(&len.to_le_bytes()), head.written().get(2..).unwrap_or(&[]));
        writer.u16(len)?;
        writer.bytes(head.written().get(2..).unwrap_or(&[]))?;
        writer.u32(crc)?;
        assert_eq!(writer.len() - start, usize::from(len), "the head has the length it states");
        Ok(())
    }

    /// The bytes that the encoded head takes.
    pub fn encoded_len(&self) -> usize {
        head_len(self.stream)
    }

    fn check(&self, flags: u8) -> Result<(), Malformed> {
        if flags & (ENCRYPTED | CODEC) != 0 || flags >> 6 != 0 {
            return Err(Malformed::Unknown);
        }
        if self.end().get() > COUNTER_MAX || wide_len(self.len) > ENTRY_BYTES_MAX {
            return Err(Malformed::Limit);
        }
        let counted =
            if self.partial { self.records <= self.span } else { self.records == self.span };
        // Two bytes are the shortest record: anything denser is a lie that would cost a long loop.
        if !counted || self.span == 0 || self.records > self.len / 2 {
            return Err(Malformed::Contradiction);
        }
        Ok(())
    }
}

impl<'a> Batch<'a> {
    /// Takes one batch off the front of a body.
    pub fn decode(body: &mut Reader<'a>, checksum: Checksum) -> Result<Self, Malformed> {
        let head = BatchHead::decode(body, checksum)?;
        Ok(Self { head, records: body.bytes(wide_len(head.len))? })
    }

    /// Its records in order. Ends with an error if they are not what the head says.
    pub fn records(&self) -> Records<'a> {
        Records { head: self.head, rest: Reader::new(self.records), at: 0 }
    }

    /// Recomputes the stream hash over the records.
    ///
    /// # Errors
    /// The records are malformed, or give another hash than the head says. A partial batch lacks
    /// records, so there is nothing to compare.
    pub fn verify(&self) -> Result<(), Malformed> {
        let mut hash = self.head.before;
        for placed in self.records() {
            let placed = placed?;
            hash = hash.then(self.head.epoch, placed.offset, placed.encoded);
        }
        if self.head.partial || hash == self.head.after { Ok(()) } else { Err(Malformed::Checksum) }
    }
}

/// The records of a batch; see [`Batch::records`].
#[derive(Clone, Debug)]
pub struct Records<'a> {
    head: BatchHead<'a>,
    rest: Reader<'a>,
    at: u32,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<PlacedRecord<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at == self.head.records {
            let trailing = !self.rest.is_empty();
            self.rest = Reader::new(&[]);
            return trailing.then_some(Err(Malformed::Contradiction));
        }
        let placed = self.placed();
        self.at = if placed.is_ok() { self.at + 1 } else { self.head.records };
        if placed.is_err() {
            self.rest = Reader::new(&[]);
        }
        Some(placed)
    }
}

impl<'a> Records<'a> {
    fn placed(&mut self) -> Result<PlacedRecord<'a>, Malformed> {
        let mut distance = u64::from(self.at);
        if self.head.partial {
            distance = self.rest.varint_to(u64::from(self.head.span) - 1)?;
        }
        let start = self.rest.rest();
        let record = Record::decode(&mut self.rest)?;
        let encoded = Reader::new(start).bytes(start.len() - self.rest.rest().len())?;
        Ok(PlacedRecord { offset: self.head.base.plus(distance), encoded, record })
    }
}

/// The batches of a body, in order. Ends after the first error.
pub fn batches<'a>(
    body: &'a [u8],
    checksum: Checksum,
) -> impl Iterator<Item = Result<Batch<'a>, Malformed>> {
    let mut reader = Reader::new(body);
    core::iter::from_fn(move || {
        if reader.is_empty() {
            return None;
        }
        let batch = Batch::decode(&mut reader, checksum);
        if batch.is_err() {
            reader = Reader::new(&[]);
        }
        Some(batch)
    })
}

/// The bytes that the head of a batch of `stream` takes.
pub fn head_len(stream: StreamId<'_>) -> usize {
    let names = 2 + stream.origin.len() + stream.topic.len();
    FIXED_BYTES + names + crate::codec::varint_len(u64::from(stream.partition.get()))
}

fn wide_len(len: u32) -> usize {
    narrow(u64::from(len)).unwrap_or(usize::MAX)
}

impl ClockQuality {
    fn bits(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Unset => 1,
            Self::Local => 2,
            Self::Synced => 3,
        }
    }

    fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            1 => Self::Unset,
            2 => Self::Local,
            3 => Self::Synced,
            _ => Self::Unknown,
        }
    }
}

const _: () = assert!(HEAD_BYTES_MAX < 512, "a head fits the smallest scratch buffer");
const _: () = assert!(wide(HEAD_BYTES_MAX) < 65_536, "a head's length fits its field");
