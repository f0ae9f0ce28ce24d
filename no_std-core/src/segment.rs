//! A segment: one activation of a slot for one lane. It begins with this header.
//!
//! ```text
//!  0  magic        8   "LANDFALL"
//!  8  format       u16 0
//! 10  unit_log2    u8  write unit, as a power of two
//! 11  lane         u8
//! 12  slot_bytes   u32
//! 16  log          u64
//! 24  number       u64 of this activation, never used twice
//! 32  base_seq     u64 the next seq of the lane when it began
//! 40  base_commit  u64 the first commit that may be in it; entries of earlier segments of this
//!                      lane with this commit or a later one are void
//! 48  opening      u32
//! 52  entry_max    u32 the longest body that was allowed
//! 56  slot         u32 where it stands: one that was written to the wrong slot does not count
//! 60  crc          u32 CRC-32C of the 60 bytes before
//! ```
//!
//! It stands there twice, one copy behind the other, so that a flipped bit does not cost the
//! segment. Behind it comes the medium's guard, if it has one. Its entries begin at the next write
//! unit.
//!
//! An interrupted erase can leave bits that read one way now and another later. There is no mark of
//! a completed one, because no slot is used without an erase immediately before its header: what
//! reads blank or stale is never trusted to be so.

use crate::checksum::Checksum;
use crate::codec::{Malformed, NoRoom, Reader, Writer};
use crate::media::{Geometry, SlotIx};
use crate::num::{CommitNo, Lane, LogId, Opening, SegmentNo, Seq};

/// Bytes of a segment's header.
pub const SEGMENT_HEADER_BYTES: usize = 64;
/// Bytes of both copies of it.
pub const SEGMENT_HEADERS_BYTES: usize = 2 * SEGMENT_HEADER_BYTES;
/// The version of the format that this code writes.
pub const FORMAT: u16 = 0;

const SEGMENT_MAGIC: [u8; 8] = *b"LANDFALL";

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SegmentHeader {
    /// The lane whose entries it holds.
    pub lane: Lane,
    /// The journal it belongs to.
    pub log: LogId,
    /// The number of this activation.
    pub number: SegmentNo,
    /// The next seq of the lane when it began.
    pub base_seq: Seq,
    /// The first commit that may be in it.
    pub base_commit: CommitNo,
    /// The opening that began it.
    pub opening: Opening,
    /// The longest body that was allowed.
    pub entry_max: u32,
    /// The slot that it was written to.
    pub slot: SlotIx,
}

/// Why a slot's header is not one that can be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum HeaderFault {
    /// It is none, or a damaged one.
    None(Malformed),
    /// It was written by a later version of this program.
    NewerFormat(u16),
    /// It was written for another shape of medium.
    OtherGeometry,
}

impl SegmentHeader {
    /// Reads a header.
    ///
    /// # Errors
    /// See [`HeaderFault`]; only a header with a valid checksum can be of a newer format.
    pub fn decode(bytes: &[u8], shape: Geometry, checksum: Checksum) -> Result<Self, HeaderFault> {
        let (header, unit_log2, slot_bytes) = parse(bytes, checksum)?;
        if slot_bytes != shape.slot_bytes || 1_u32.checked_shl(unit_log2) != Some(shape.unit_bytes)
        {
            return Err(HeaderFault::OtherGeometry);
        }
        Ok(header)
    }

    /// Writes the header.
    pub fn encode(
        &self,
        writer: &mut Writer<'_>,
        shape: Geometry,
        checksum: Checksum,
    ) -> Result<(), NoRoom> {
        let mut scratch = [0; SEGMENT_HEADER_BYTES];
        let mut header = Writer::new(&mut scratch);
        header.bytes(&SEGMENT_MAGIC)?;
        header.u16(FORMAT)?;
        header.u8(shape.unit_bytes.trailing_zeros() as u8)?;
        header.u8(self.lane.get())?;
        header.u32(shape.slot_bytes)?;
        header.u64(self.log.get())?;
        header.u64(self.number.get())?;
        header.u64(self.base_seq.get())?;
        header.u64(self.base_commit.get())?;
        header.u32(self.opening.get())?;
        header.u32(self.entry_max)?;
        header.u32(self.slot.0)?;
        let crc = checksum.of(header.written());
        header.u32(crc)?;
        writer.bytes(&scratch)
    }
}

/// Where the entries of a segment begin.
pub const fn entries_at(shape: Geometry) -> u32 {
    shape.units(SEGMENT_HEADERS_BYTES as u32) + shape.guard_bytes()
}

fn parse(bytes: &[u8], checksum: Checksum) -> Result<(SegmentHeader, u32, u32), HeaderFault> {
    let none = HeaderFault::None;
    let mut reader = Reader::new(bytes);
    let summed = Reader::new(bytes).bytes(SEGMENT_HEADER_BYTES - 4).map_err(none)?;
    if reader.array().map_err(none)? != SEGMENT_MAGIC {
        return Err(HeaderFault::None(Malformed::Unknown));
    }
    let format = reader.u16().map_err(none)?;
    let mut crc = Reader::new(bytes.get(SEGMENT_HEADER_BYTES - 4..).unwrap_or_default());
    if crc.u32().map_err(none)? != checksum.of(summed) {
        return Err(HeaderFault::None(Malformed::Checksum));
    }
    if format > FORMAT {
        return Err(HeaderFault::NewerFormat(format));
    }
    let unit_log2 = u32::from(reader.u8().map_err(none)?);
    let lane = Lane::new(reader.u8().map_err(none)?);
    let slot_bytes = reader.u32().map_err(none)?;
    let header = SegmentHeader {
        lane,
        log: LogId::new(reader.u64().map_err(none)?),
        number: SegmentNo::new(reader.counter().map_err(none)?),
        base_seq: Seq::new(reader.counter().map_err(none)?),
        base_commit: CommitNo::new(reader.counter().map_err(none)?),
        opening: Opening::new(reader.u32().map_err(none)?),
        entry_max: reader.u32().map_err(none)?,
        slot: SlotIx(reader.u32().map_err(none)?),
    };
    Ok((header, unit_log2, slot_bytes))
}
