//! What travels on a lane: entries, and statements about streams that must stay in order with them.

use landfall_core::codec::{Malformed, NoRoom};
use landfall_core::entry::{PATH_BYTES_MAX, hops};
use landfall_core::gap::GapReason;
use landfall_core::hash::StreamHash;
use landfall_core::limits::{ENTRY_BYTES_MAX, HOPS_MAX};
use landfall_core::name::StreamId;
use landfall_core::num::{Epoch, LogId, Offset, Seq};
use serde::{Deserialize, Serialize};

use super::stream::StreamPoint;
use crate::wire::{
    CounterWire, HashWire, IdWire, Input, Output, StreamWire, at_most, hash_from_wire, hash_to_wire,
};

/// The shortest record takes two bytes: more records than this are a lie.
const RECORD_BYTES_MIN: usize = 2;

/// Batches of records. The receiver checks the body against its checksum before it uses it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Entry<'a> {
    /// What it is sent for.
    pub purpose: Purpose,
    /// The seq of its first record at the sender.
    pub seq: Seq,
    /// How many records it holds.
    pub records: u32,
    /// How the body is encoded: 0 as stored, others as agreed by [`super::Features`].
    pub codec: u8,
    /// Bytes of the body as stored.
    pub body_len: u32,
    /// CRC-32C of the body as stored.
    pub body_crc: u32,
    /// The hops that the records took to the sender.
    pub path: &'a [u8],
    /// The body.
    pub body: &'a [u8],
}

/// What an entry is sent for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// Records on their way to the root.
    Uplink,
    /// Records that the receiver once had and lost.
    Return,
    /// Records of a topic that the receiver asked for.
    Down,
}

/// A statement that offsets `from..to` of a stream are missing at the sender for good.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Gap<'a> {
    /// The stream.
    pub stream: StreamId<'a>,
    /// The first missing offset.
    pub from: Offset,
    /// The first offset that is not missing.
    pub to: Offset,
    /// The epoch of the last missing record, or of the next one where that is unknown.
    pub epoch: Epoch,
    /// Why they are missing.
    pub reason: GapReason,
    /// The stream hash before `to`, if the sender knows it.
    pub after: Option<StreamHash>,
}

/// A stream that the receiver has never seen starts in its middle.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Begin<'a> {
    /// Where it starts.
    pub point: StreamPoint<'a>,
    /// The journal at which everything before is durable, if there is one.
    pub durable_at: Option<LogId>,
    /// Why the records before are missing if they are not durable there.
    pub reason: GapReason,
}

impl Purpose {
    const fn code(self) -> u8 {
        match self {
            Self::Uplink => 0,
            Self::Return => 1,
            Self::Down => 2,
        }
    }

    const fn of_code(code: u8) -> Result<Self, Malformed> {
        Ok(match code {
            0 => Self::Uplink,
            1 => Self::Return,
            2 => Self::Down,
            _ => return Err(Malformed::Unknown),
        })
    }
}

impl<'a> Entry<'a> {
    /// Everything but the body, which follows as it is.
    pub(crate) fn put_head(&self, out: &mut Output<'_>) -> Result<(), NoRoom> {
        out.value(&EntryWire {
            purpose: self.purpose.code(),
            codec: self.codec,
            seq: CounterWire(self.seq.get()),
            records: self.records,
            body_len: self.body_len,
            body_crc: self.body_crc,
            path: self.path,
        })
    }

    pub(crate) fn take(input: &mut Input<'a>) -> Result<Self, Malformed> {
        let wire: EntryWire<'a> = input.value()?;
        let entry = Self {
            purpose: Purpose::of_code(wire.purpose)?,
            seq: wire.seq.seq()?,
            records: wire.records,
            codec: wire.codec,
            body_len: wire.body_len,
            body_crc: wire.body_crc,
            path: at_most(wire.path, PATH_BYTES_MAX)?,
            body: at_most(input.tail(), ENTRY_BYTES_MAX)?,
        };
        entry.check()?;
        Ok(entry)
    }

    fn check(&self) -> Result<(), Malformed> {
        let stored = usize::try_from(self.body_len).unwrap_or(usize::MAX);
        if stored > ENTRY_BYTES_MAX {
            return Err(Malformed::Limit);
        }
        let dense = usize::try_from(self.records).unwrap_or(usize::MAX) > stored / RECORD_BYTES_MIN;
        let as_stored = self.codec == 0 && self.body.len() != stored;
        if dense || as_stored || self.body.is_empty() {
            return Err(Malformed::Contradiction);
        }
        let taken = hops(self.path).try_fold(0, |taken, hop| hop.map(|_| taken + 1))?;
        if taken > HOPS_MAX { Err(Malformed::Limit) } else { Ok(()) }
    }
}

impl<'a> Gap<'a> {
    pub(crate) fn put(&self, out: &mut Output<'_>) -> Result<(), NoRoom> {
        out.value(&GapWire {
            stream: self.stream.into(),
            from: CounterWire(self.from.get()),
            to: CounterWire(self.to.get()),
            epoch: self.epoch.into(),
            reason: self.reason.code(),
            after: hash_to_wire(self.after),
        })
    }

    pub(crate) fn take(input: &mut Input<'a>) -> Result<Self, Malformed> {
        let wire: GapWire<'a> = input.value()?;
        let gap = Self {
            stream: wire.stream.try_into()?,
            from: wire.from.offset()?,
            to: wire.to.offset()?,
            epoch: wire.epoch.epoch(),
            reason: GapReason::from_code(wire.reason)?,
            after: hash_from_wire(wire.after),
        };
        if gap.from >= gap.to { Err(Malformed::Contradiction) } else { Ok(gap) }
    }
}

impl<'a> Begin<'a> {
    pub(crate) fn put(&self, out: &mut Output<'_>) -> Result<(), NoRoom> {
        self.point.put(out)?;
        out.value(&(self.durable_at.map(IdWire::from), self.reason.code()))
    }

    pub(crate) fn take(input: &mut Input<'a>) -> Result<Self, Malformed> {
        let point = StreamPoint::take(input)?;
        let (durable_at, reason): (Option<IdWire>, u8) = input.value()?;
        Ok(Self {
            point,
            durable_at: durable_at.map(IdWire::log),
            reason: GapReason::from_code(reason)?,
        })
    }
}

#[derive(Deserialize, Serialize)]
struct EntryWire<'a> {
    purpose: u8,
    codec: u8,
    seq: CounterWire,
    records: u32,
    body_len: u32,
    #[serde(with = "postcard::fixint::le")]
    body_crc: u32,
    path: &'a [u8],
}

#[derive(Deserialize, Serialize)]
struct GapWire<'a> {
    #[serde(borrow)]
    stream: StreamWire<'a>,
    from: CounterWire,
    to: CounterWire,
    epoch: IdWire,
    reason: u8,
    after: Option<HashWire>,
}
