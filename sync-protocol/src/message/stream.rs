//! What is said about streams on the control channel: where one stands, what is promised, what is
//! wanted again, and where two nodes part.

use landfall_core::codec::{Malformed, NoRoom};
use landfall_core::hash::StreamHash;
use landfall_core::name::StreamId;
use landfall_core::num::{CommitNo, Epoch, LogId, Offset};
use serde::{Deserialize, Serialize};

use super::list::{Item, List};
use crate::limits::STREAMS_MAX;
use crate::wire::{
    CounterWire, HashWire, IdWire, Input, Output, StreamWire, hash_from_wire, hash_to_wire,
};

/// A point of a branch of a stream: everything before `next` is meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StreamPoint<'a> {
    /// The stream.
    pub stream: StreamId<'a>,
    /// The epoch of the record before `next`, by which the branch is known.
    pub epoch: Epoch,
    /// The first offset that is not meant.
    pub next: Offset,
    /// The stream hash up to there, if the sender knows it.
    pub hash: Option<StreamHash>,
}

/// The end of a stream at the sender of [`super::Control::Tips`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tip<'a> {
    /// Where it ends.
    pub point: StreamPoint<'a>,
    /// The first offset that the sender still has the record of.
    pub first_kept: Offset,
}

/// Where a node stood when it promised something: its journal, opening, and last synced commit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Promise {
    /// The journal.
    pub log: LogId,
    /// The opening.
    pub epoch: Epoch,
    /// The last synced commit.
    pub commit: CommitNo,
}

/// How far the records of some streams are promised to be synced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Durable<'a> {
    /// Where they are synced.
    pub scope: Scope,
    /// Who promises, and from what state.
    pub promise: Promise,
    /// The streams; up to 256.
    pub streams: List<'a, StreamPoint<'a>>,
}

/// Where a promise holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// At the node that promises.
    Hop,
    /// At the node without an upstream.
    Root,
}

/// The ends of streams at the sender.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tips<'a> {
    /// Whether all have been told now.
    pub last: bool,
    /// The ends; up to 256.
    pub tips: List<'a, Tip<'a>>,
}

/// The ends share a stream up to `at` and hold different records behind it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Diverged<'a> {
    /// What the sender takes it for.
    pub kind: DivergedKind,
    /// The first offset at which they differ.
    pub at: Offset,
    /// What the sender of this message holds past it.
    pub held: StreamPoint<'a>,
}

/// Why two ends hold different records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DivergedKind {
    /// The other end lost synced records, or an old image of it was restored.
    TailLost,
    /// Two nodes write as one site.
    Copy,
}

impl<'a> Durable<'a> {
    pub(crate) fn put(&self, out: &mut Output<'_>) -> Result<(), NoRoom> {
        let root = self.scope == Scope::Root;
        out.value(&(root, PromiseWire::from(self.promise)))?;
        self.streams.put(out, STREAMS_MAX)
    }

    pub(crate) fn take(input: &mut Input<'a>) -> Result<Self, Malformed> {
        let (root, promise): (bool, PromiseWire) = input.value()?;
        Ok(Self {
            scope: if root { Scope::Root } else { Scope::Hop },
            promise: promise.try_into()?,
            streams: List::take(input, STREAMS_MAX)?,
        })
    }
}

impl<'a> Tips<'a> {
    pub(crate) fn put(&self, out: &mut Output<'_>) -> Result<(), NoRoom> {
        out.value(&self.last)?;
        self.tips.put(out, STREAMS_MAX)
    }

    pub(crate) fn take(input: &mut Input<'a>) -> Result<Self, Malformed> {
        Ok(Self { last: input.value()?, tips: List::take(input, STREAMS_MAX)? })
    }
}

impl<'a> Diverged<'a> {
    pub(crate) fn put(&self, out: &mut Output<'_>) -> Result<(), NoRoom> {
        let copy = self.kind == DivergedKind::Copy;
        out.value(&(copy, CounterWire(self.at.get()), PointWire::from(self.held)))
    }

    pub(crate) fn take(input: &mut Input<'a>) -> Result<Self, Malformed> {
        let (copy, at, held): (bool, CounterWire, PointWire<'a>) = input.value()?;
        let kind = if copy { DivergedKind::Copy } else { DivergedKind::TailLost };
        let held = StreamPoint::try_from(held)?;
        let at = at.offset()?;
        if at > held.next { Err(Malformed::Contradiction) } else { Ok(Self { kind, at, held }) }
    }
}

impl<'a> StreamPoint<'a> {
    pub(crate) fn put(&self, out: &mut Output<'_>) -> Result<(), NoRoom> {
        out.value(&PointWire::from(*self))
    }

    pub(crate) fn take(input: &mut Input<'a>) -> Result<Self, Malformed> {
        input.value::<PointWire<'a>>()?.try_into()
    }
}

impl Promise {
    pub(crate) fn put(&self, out: &mut Output<'_>) -> Result<(), NoRoom> {
        out.value(&PromiseWire::from(*self))
    }

    pub(crate) fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        input.value::<PromiseWire>()?.try_into()
    }
}

impl<'a> Item<'a> for StreamPoint<'a> {
    fn encoded_len(&self) -> usize {
        Output::len_of(&PointWire::from(*self))
    }

    fn encode(&self, out: &mut [u8]) -> Result<usize, NoRoom> {
        Output::once(out, &PointWire::from(*self))
    }

    fn decode(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let mut input = Input::new(bytes);
        let point = Self::take(&mut input)?;
        Ok((point, input.rest()))
    }
}

impl<'a> Item<'a> for Tip<'a> {
    fn encoded_len(&self) -> usize {
        Output::len_of(&TipWire::from(*self))
    }

    fn encode(&self, out: &mut [u8]) -> Result<usize, NoRoom> {
        Output::once(out, &TipWire::from(*self))
    }

    fn decode(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let mut input = Input::new(bytes);
        let wire: TipWire<'a> = input.value()?;
        let tip = Self { point: wire.point.try_into()?, first_kept: wire.first_kept.offset()? };
        if tip.first_kept > tip.point.next {
            return Err(Malformed::Contradiction);
        }
        Ok((tip, input.rest()))
    }
}

#[derive(Clone, Copy, Deserialize, Serialize)]
pub(super) struct PromiseWire {
    log: IdWire,
    epoch: IdWire,
    commit: CounterWire,
}

impl From<Promise> for PromiseWire {
    fn from(promise: Promise) -> Self {
        Self {
            log: promise.log.into(),
            epoch: promise.epoch.into(),
            commit: CounterWire(promise.commit.get()),
        }
    }
}

impl TryFrom<PromiseWire> for Promise {
    type Error = Malformed;

    fn try_from(wire: PromiseWire) -> Result<Self, Malformed> {
        let commit = wire.commit.commit()?;
        Ok(Self { log: wire.log.log(), epoch: wire.epoch.epoch(), commit })
    }
}

#[derive(Deserialize, Serialize)]
struct PointWire<'a> {
    #[serde(borrow)]
    stream: StreamWire<'a>,
    epoch: IdWire,
    next: CounterWire,
    hash: Option<HashWire>,
}

impl<'a> From<StreamPoint<'a>> for PointWire<'a> {
    fn from(point: StreamPoint<'a>) -> Self {
        Self {
            stream: point.stream.into(),
            epoch: point.epoch.into(),
            next: CounterWire(point.next.get()),
            hash: hash_to_wire(point.hash),
        }
    }
}

impl<'a> TryFrom<PointWire<'a>> for StreamPoint<'a> {
    type Error = Malformed;

    fn try_from(wire: PointWire<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            stream: wire.stream.try_into()?,
            epoch: wire.epoch.epoch(),
            next: wire.next.offset()?,
            hash: hash_from_wire(wire.hash),
        })
    }
}

#[derive(Deserialize, Serialize)]
struct TipWire<'a> {
    #[serde(borrow)]
    point: PointWire<'a>,
    first_kept: CounterWire,
}

impl<'a> From<Tip<'a>> for TipWire<'a> {
    fn from(tip: Tip<'a>) -> Self {
        Self { point: tip.point.into(), first_kept: CounterWire(tip.first_kept.get()) }
    }
}
