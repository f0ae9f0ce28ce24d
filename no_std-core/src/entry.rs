//! An entry: the unit of atomicity, storage and transfer, as it stands in a segment.
//!
//! ```text
//!  0  magic     u16  0x454C
//!  2  kind      u8   see `Kind`
//!  3  flags     u8   1 the last of its commit
//!  4  index     u16  within its commit
//!  6  path_len  u16
//!  8  body_len  u32
//! 12  body_crc  u32  CRC-32C of the body, unseeded: it travels with the body
//! 16  commit    u64
//! 24  seq       u64  of its first record; of the next record if it has none
//! 32  records   u32  how many seqs it takes
//! 36  opening   u32
//! 40  before    u32  header checksum of the entry before in this lane; 0 where nobody knew it
//! 44  crc       u32  CRC-32C of these 44 bytes and the path, seeded with log, segment, position
//! 48  path           hops in the order they were taken: site, then receive time
//!     body
//!     trailer        if it is the last of its commit
//!     zeros          to a multiple of 8; after the last of a commit, to a whole write unit
//!
//! trailer
//!  0  entries   u16  of the commit
//!  2  lanes     u8
//!  3  reserved  u8   0
//!  4  next      u64  next seq of each lane, after this commit
//!     crc       u32  CRC-32C of the trailer, seeded with the header's checksum
//! ```
//!
//! Because the checksum is seeded, bytes left by an earlier use of the slot, or written to the
//! wrong place, never validate. The header is made anew at each node; path and body are not.

use crate::checksum::Checksum;
use crate::codec::{Malformed, NoRoom, Reader, Writer, zigzag};
use crate::limits::{COUNTER_MAX, ENTRY_BYTES_MAX, HOPS_MAX, LANES_MAX, SITE_BYTES_MAX};
use crate::name::site_is_valid;
use crate::num::{CommitNo, LogId, Opening, SegmentNo, Seq, Timestamp, wide};

/// Bytes of the fixed part of an entry's header.
pub const ENTRY_HEADER_BYTES: usize = 48;
/// Entries begin at multiples of this.
pub const ENTRY_ALIGN: usize = 8;
/// The longest path.
pub const PATH_BYTES_MAX: usize = 1 + HOPS_MAX * (1 + SITE_BYTES_MAX + 10);
/// The longest trailer.
pub const TRAILER_BYTES_MAX: usize = 4 + LANES_MAX * 8 + 4;

/// The first two bytes of an entry.
pub const ENTRY_MAGIC: [u8; 2] = *b"LE";
const LAST: u8 = 1;
const CRC_AT: usize = 44;
const MUST_UNDERSTAND: u8 = 0x80;

/// What an entry holds.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Kind {
    /// Batches of records.
    Data,
    /// Records of compacted topics that were saved from a segment that was dropped.
    Snapshot,
    /// Batches that were here before and are passed on once more.
    Repair,
    /// A statement that offsets are missing.
    Gap,
    /// The beginning of a branch.
    Branch,
    /// What the sealed segment before it holds.
    Footer,
    /// The end of what a power cut tore: what stands before it in this segment with the same
    /// commit or a later one is void.
    Cut,
    /// A part of a checkpoint.
    Checkpoint,
    /// A kind of a later version that may be skipped.
    Unknown(u8),
}

/// The header of an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EntryHeader {
    /// What it holds.
    pub kind: Kind,
    /// Whether it is the last of its commit.
    pub last: bool,
    /// Its place in its commit.
    pub index: u16,
    /// Bytes of the path.
    pub path_len: u16,
    /// Bytes of the body.
    pub body_len: u32,
    /// CRC-32C of the body.
    pub body_crc: u32,
    /// The commit it was written in.
    pub commit: CommitNo,
    /// The seq of its first record.
    pub seq: Seq,
    /// How many records it holds that take a seq.
    pub records: u32,
    /// The opening under which it was written.
    pub opening: Opening,
    /// Header checksum of the entry before.
    pub before: u32,
}

/// Where an entry stands; part of its checksum.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Standing {
    /// The journal.
    pub log: LogId,
    /// The activation of its slot.
    pub segment: SegmentNo,
    /// Bytes from the start of the slot.
    pub at: u32,
}

impl Standing {
    fn seed(&self, checksum: Checksum) -> u32 {
        let crc = checksum.of(&self.log.get().to_le_bytes());
        let crc = checksum.on(crc, &self.segment.get().to_le_bytes());
        checksum.on(crc, &self.at.to_le_bytes())
    }
}

impl EntryHeader {
    /// Reads the fixed part, without its checksum.
    ///
    /// # Errors
    /// It is none, or has lengths over the limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.array()? != ENTRY_MAGIC {
            return Err(Malformed::Unknown);
        }
        let kind = Kind::from_code(reader.u8()?)?;
        let flags = reader.u8()?;
        let header = Self {
            kind,
            last: flags & LAST != 0,
            index: reader.u16()?,
            path_len: reader.u16()?,
            body_len: reader.u32()?,
            body_crc: reader.u32()?,
            commit: CommitNo::new(reader.counter()?),
            seq: Seq::new(reader.counter()?),
            records: reader.u32()?,
            opening: Opening::new(reader.u32()?),
            before: reader.u32()?,
        };
        let over = usize::from(header.path_len) > PATH_BYTES_MAX
            || wide(ENTRY_BYTES_MAX) < u64::from(header.body_len)
            || header.end_seq().get() > COUNTER_MAX;
        if over || flags & !LAST != 0 {
            return Err(Malformed::Limit);
        }
        Ok(header)
    }

    /// The checksum stored with a header, and whether it matches header and path.
    ///
    /// # Errors
    /// [`Malformed::Checksum`] if it does not.
    pub fn verify(
        bytes: &[u8],
        path: &[u8],
        standing: Standing,
        checksum: Checksum,
    ) -> Result<u32, Malformed> {
        let mut reader = Reader::new(bytes);
        let crc = checksum.on(standing.seed(checksum), reader.bytes(CRC_AT)?);
        let stored = reader.u32()?;
        if checksum.on(crc, path) == stored { Ok(stored) } else { Err(Malformed::Checksum) }
    }

    /// Writes the fixed part over the first bytes of `entry`, whose path already stands behind it.
    /// Returns the checksum.
    pub fn seal(&self, entry: &mut [u8], standing: Standing, checksum: Checksum) -> u32 {
        let path_end = ENTRY_HEADER_BYTES + usize::from(self.path_len);
        assert!(entry.len() >= path_end, "an entry has room for its header and path");
        self.put(entry);
        let crc = standing.seed(checksum);
        let crc = checksum.on(crc, entry.get(..CRC_AT).unwrap_or_default());
        let path = entry.get(ENTRY_HEADER_BYTES..path_end).unwrap_or_default();
        let crc = checksum.on(crc, path);
        if let Some(place) = entry.get_mut(CRC_AT..ENTRY_HEADER_BYTES) {
            place.copy_from_slice(&crc.to_le_bytes());
        }
        crc
    }

    /// Bytes from the start of the entry to the start of its body.
    pub fn body_at(&self) -> usize {
        ENTRY_HEADER_BYTES + usize::from(self.path_len)
    }

    /// Bytes of header, path and body.
    pub fn body_end(&self) -> usize {
        self.body_at() + self.body_len as usize
    }

    /// Bytes from the start of the entry to where the next one of its commit begins.
    pub fn stride(&self) -> usize {
        self.body_end().next_multiple_of(ENTRY_ALIGN)
    }

    /// The seq after its last record.
    pub fn end_seq(&self) -> Seq {
        self.seq.plus(u64::from(self.records))
    }

    /// Writes the fixed part, without a checksum, over the first bytes of `entry`.
    pub(crate) fn put(&self, entry: &mut [u8]) {
        let written = self.encode(entry);
        assert!(written.is_ok(), "an entry has room for its header");
    }

    fn encode(&self, entry: &mut [u8]) -> Result<(), NoRoom> {
        let mut writer = Writer::new(entry);
        writer.bytes(&ENTRY_MAGIC)?;
        writer.u8(self.kind.code())?;
        writer.u8(if self.last { LAST } else { 0 })?;
        writer.u16(self.index)?;
        writer.u16(self.path_len)?;
        writer.u32(self.body_len)?;
        writer.u32(self.body_crc)?;
        writer.u64(self.commit.get())?;
        writer.u64(self.seq.get())?;
        writer.u32(self.records)?;
        writer.u32(self.opening.get())?;
        writer.u32(self.before)
    }
}

impl Kind {
    const KNOWN: [(u8, Self); 8] = [
        (MUST_UNDERSTAND | 1, Self::Data),
        (MUST_UNDERSTAND | 2, Self::Snapshot),
        (MUST_UNDERSTAND | 3, Self::Gap),
        (MUST_UNDERSTAND | 4, Self::Branch),
        (5, Self::Footer),
        (MUST_UNDERSTAND | 6, Self::Cut),
        (MUST_UNDERSTAND | 7, Self::Checkpoint),
        (8, Self::Repair),
    ];

    /// The number that stands for it in a format. The highest bit says that a reader who does not
    /// know it must not go on.
    pub fn code(self) -> u8 {
        let known = Self::KNOWN.iter().find(|(_, kind)| *kind == self);
        match (known, self) {
            (Some((code, _)), _) => *code,
            (None, Self::Unknown(code)) => code,
            (None, _) => 0,
        }
    }

    /// The kind that a number stands for.
    ///
    /// # Errors
    /// [`Malformed::Unknown`] if it must be understood and is not.
    pub fn from_code(code: u8) -> Result<Self, Malformed> {
        match Self::KNOWN.iter().find(|(known, _)| *known == code) {
            Some((_, kind)) => Ok(*kind),
            None if code & MUST_UNDERSTAND == 0 => Ok(Self::Unknown(code)),
            None => Err(Malformed::Unknown),
        }
    }
}

/// The end of a commit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Trailer {
    /// How many entries the commit has.
    pub entries: u16,
    /// How many lanes the node has.
    pub lanes: u8,
    /// The next seq of each lane after this commit.
    pub next: [Seq; LANES_MAX],
}

impl Trailer {
    /// Reads a trailer behind an entry whose header has the checksum `header_crc`.
    pub fn decode(bytes: &[u8], header_crc: u32, checksum: Checksum) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let entries = reader.u16()?;
        let lanes = reader.u8()?;
        if reader.u8()? != 0 || usize::from(lanes) > LANES_MAX {
            return Err(Malformed::Limit);
        }
        let mut next = [Seq::ZERO; LANES_MAX];
        for seq in next.iter_mut().take(usize::from(lanes)) {
            *seq = Seq::new(reader.counter()?);
        }
        let summed = Reader::new(bytes).bytes(bytes.len() - reader.rest().len())?;
        if reader.u32()? != checksum.on(header_crc, summed) {
            return Err(Malformed::Checksum);
        }
        Ok(Self { entries, lanes, next })
    }

    /// Writes the trailer.
    pub fn encode(
        &self,
        writer: &mut Writer<'_>,
        header_crc: u32,
        checksum: Checksum,
    ) -> Result<(), NoRoom> {
        let mut scratch = [0; TRAILER_BYTES_MAX];
        let mut trailer = Writer::new(&mut scratch);
        trailer.u16(self.entries)?;
        trailer.u8(self.lanes)?;
        trailer.u8(0)?;
        for seq in self.next.iter().take(usize::from(self.lanes)) {
            trailer.u64(seq.get())?;
        }
        let crc = checksum.on(header_crc, trailer.written());
        trailer.u32(crc)?;
        writer.bytes(trailer.written())
    }

    /// Bytes that a trailer takes in a journal with that many lanes.
    pub const fn encoded_len(lanes: u8) -> usize {
        4 + lanes as usize * 8 + 4
    }
}

/// A node that records passed on their way here, and when it took them in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hop<'a> {
    /// The node.
    pub site: &'a str,
    /// When it took them in, by its clock.
    pub received: Timestamp,
}

impl<'a> Hop<'a> {
    /// Takes a hop off the front of a path.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let site = reader.string(SITE_BYTES_MAX)?;
        let site = core::str::from_utf8(site).map_err(|_| Malformed::Text)?;
        if !site_is_valid(site) {
            return Err(Malformed::Text);
        }
        let received = Timestamp::new(crate::codec::unzigzag(reader.varint()?));
        Ok(Self { site, received })
    }

    /// Appends the hop to a path.
    pub fn encode(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        writer.string(self.site.as_bytes())?;
        writer.varint(zigzag(self.received.get()))
    }
}

/// The hops of a path, in the order they were taken.
pub fn hops(path: &[u8]) -> impl Iterator<Item = Result<Hop<'_>, Malformed>> {
    let mut reader = Reader::new(path);
    core::iter::from_fn(move || {
        if reader.is_empty() {
            return None;
        }
        let hop = Hop::decode(&mut reader);
        if hop.is_err() {
            reader = Reader::new(&[]);
        }
        Some(hop)
    })
}
