//! The bodies of control entries that stand among the data of a lane: gaps and branches. Both move
//! the frontier, so they stand before the data that goes on from them.
//!
//! ```text
//! gap     stream · branch u64, u64 · from u64 · to u64 · reason u8 · after flag u8, 16
//! branch  stream · kind u8 · first u64 · epoch u64 · next u64 · hash flag u8, 16
//!         · durable_at flag u8, u64
//! ```
//!
//! A branch is named by its first epoch and where it begins. A hash or log that is absent has flag
//! 0 and no bytes.

use crate::codec::{Malformed, NoRoom, Reader, Writer};
use crate::frontier::{BranchKind, BranchName, Point};
use crate::gap::GapReason;
use crate::hash::StreamHash;
use crate::name::StreamId;
use crate::num::{Epoch, LogId, Offset};

/// Offsets of a stream that are missing here, up to where it goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GapBody<'a> {
    /// The stream.
    pub stream: StreamId<'a>,
    /// The branch.
    pub branch: BranchName,
    /// The branch's tip, where the gap begins.
    pub from: Offset,
    /// Where the stream goes on.
    pub to: Offset,
    /// Why.
    pub reason: GapReason,
    /// The stream hash where it goes on, if anybody knows.
    pub after: Option<StreamHash>,
}

/// The beginning of a branch, or of a stream at another offset than zero.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BranchBody<'a> {
    /// The stream.
    pub stream: StreamId<'a>,
    /// Why the branch exists.
    pub kind: BranchKind,
    /// Its first epoch.
    pub first: Epoch,
    /// Where it begins.
    pub at: Point,
    /// The log where all before it is durable, if the sender said so.
    pub durable_at: Option<LogId>,
}

impl<'a> GapBody<'a> {
    /// Reads a body.
    pub fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let gap = Self {
            stream: StreamId::decode(&mut reader)?,
            branch: (Epoch::new(reader.u64()?), offset(&mut reader)?),
            from: offset(&mut reader)?,
            to: offset(&mut reader)?,
            reason: GapReason::from_code(reader.u8()?)?,
            after: hash(&mut reader)?,
        };
        if reader.is_empty() { Ok(gap) } else { Err(Malformed::Contradiction) }
    }

    /// Writes the body.
    pub fn encode(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        self.stream.encode(writer)?;
        writer.u64(self.branch.0.get())?;
        writer.u64(self.branch.1.get())?;
        writer.u64(self.from.get())?;
        writer.u64(self.to.get())?;
        writer.u8(self.reason.code())?;
        put_hash(writer, self.after)
    }
}

impl<'a> BranchBody<'a> {
    /// Reads a body.
    pub fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let stream = StreamId::decode(&mut reader)?;
        let kind = BranchKind::from_code(reader.u8()?)?;
        let first = Epoch::new(reader.u64()?);
        let at = point(&mut reader)?;
        let durable_at = match reader.u8()? {
            0 => None,
            1 => Some(LogId::new(reader.u64()?)),
            _ => return Err(Malformed::Unknown),
        };
        let branch = Self { stream, kind, first, at, durable_at };
        if reader.is_empty() { Ok(branch) } else { Err(Malformed::Contradiction) }
    }

    /// Writes the body.
    pub fn encode(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        self.stream.encode(writer)?;
        writer.u8(self.kind.code())?;
        writer.u64(self.first.get())?;
        put_point(writer, self.at)?;
        match self.durable_at {
            None => writer.u8(0),
            Some(log) => {
                writer.u8(1)?;
                writer.u64(log.get())
            }
        }
    }
}

pub(crate) fn offset(reader: &mut Reader<'_>) -> Result<Offset, Malformed> {
    Ok(Offset::new(reader.counter()?))
}

pub(crate) fn hash(reader: &mut Reader<'_>) -> Result<Option<StreamHash>, Malformed> {
    match reader.u8()? {
        0 => Ok(None),
        1 => Ok(Some(StreamHash::new(reader.array()?))),
        _ => Err(Malformed::Unknown),
    }
}

pub(crate) fn put_hash(writer: &mut Writer<'_>, hash: Option<StreamHash>) -> Result<(), NoRoom> {
    match hash {
        None => writer.u8(0),
        Some(hash) => {
            writer.u8(1)?;
            writer.bytes(&hash.bytes())
        }
    }
}

pub(crate) fn point(reader: &mut Reader<'_>) -> Result<Point, Malformed> {
    let epoch = Epoch::new(reader.u64()?);
    Ok(Point { epoch, next: offset(reader)?, hash: hash(reader)? })
}

pub(crate) fn put_point(writer: &mut Writer<'_>, point: Point) -> Result<(), NoRoom> {
    writer.u64(point.epoch.get())?;
    writer.u64(point.next.get())?;
    put_hash(writer, point.hash)
}
