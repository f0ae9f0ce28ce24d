//! What a link has to say on its control channel, as it waits for room.

use landfall_core::frontier::{Frontier, Point, StreamIx};
use landfall_core::name::StreamId;
use landfall_core::num::{Epoch, Offset};
use landfall_protocol::buffer::Growable;
use landfall_protocol::message::{
    Clock, Control, Diverged, DivergedKind, Durable, List, Promise, Refused, RefusedCode, Scope,
    Standing, StreamPoint, Subscribe, Tip, Tips,
};
use landfall_protocol::session::{SendError, Session};

use super::clock::ClockNote;
use super::root_gap::RootGap;

/// A control message that waits, with streams by their index.
#[derive(Clone, Debug)]
pub(crate) enum Say {
    Tips { last: bool, tips: Vec<(StreamIx, Point, Offset)> },
    TipsWanted,
    Durable { scope: Scope, promise: Promise, points: Vec<(StreamIx, Point)> },
    NeedFrom(StreamIx, Point),
    Refused { stream: OwnedStream, code: RefusedCode, text: String },
    Diverged { ix: StreamIx, kind: DivergedKind, at: Offset, held: Point },
    CopySeen(Epoch),
    PromiseLacking(Promise),
    Promised(Promise),
    Standing(Standing),
    RootGap(RootGap),
    Subscribe { topic: String, last: bool, held: Vec<(StreamIx, Point)> },
    Clock { site: String, note: Box<ClockNote> },
}

/// A stream by its name, for one that this node does not know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct OwnedStream {
    pub(crate) origin: String,
    pub(crate) topic: String,
    pub(crate) partition: landfall_core::num::Partition,
}

impl OwnedStream {
    pub(crate) fn id(&self) -> StreamId<'_> {
        StreamId { origin: &self.origin, topic: &self.topic, partition: self.partition }
    }
}

impl From<StreamId<'_>> for OwnedStream {
    fn from(stream: StreamId<'_>) -> Self {
        let StreamId { origin, topic, partition } = stream;
        Self { origin: origin.into(), topic: topic.into(), partition }
    }
}

impl Say {
    /// Hands the message to the session, if it has room.
    pub(crate) fn send(
        &self,
        frontier: &impl Frontier,
        session: &mut Session<Growable, 7>,
    ) -> Result<(), SendError> {
        let point = |ix: StreamIx, point: Point| StreamPoint {
            stream: frontier.name(ix),
            epoch: point.epoch,
            next: point.next,
            hash: point.hash,
        };
        match self {
            Self::Tips { last, tips } => {
                let tip = |(ix, at, first_kept): &(StreamIx, Point, Offset)| Tip {
                    point: point(*ix, *at),
                    first_kept: *first_kept,
                };
                let tips: Vec<_> = tips.iter().map(tip).collect();
                let tips = List::new(&tips);
                session.send_control(&Control::Tips(Tips { last: *last, tips }))
            }
            Self::TipsWanted => session.send_control(&Control::TipsWanted),
            Self::Durable { scope, promise, points } => {
                let streams: Vec<_> = points.iter().map(|(ix, at)| point(*ix, *at)).collect();
                let streams = List::new(&streams);
                let durable = Durable { scope: *scope, promise: *promise, streams };
                session.send_control(&Control::Durable(durable))
            }
            Self::NeedFrom(ix, at) => session.send_control(&Control::NeedFrom(point(*ix, *at))),
            Self::Refused { stream, code, text } => {
                let stream = stream.id();
                session.send_control(&Control::Refused(Refused { stream, code: *code, text }))
            }
            Self::Diverged { ix, kind, at, held } => {
                let held = point(*ix, *held);
                session.send_control(&Control::Diverged(Diverged { kind: *kind, at: *at, held }))
            }
            Self::CopySeen(epoch) => session.send_control(&Control::CopySeen(*epoch)),
            Self::PromiseLacking(promise) => {
                session.send_control(&Control::PromiseLacking(*promise))
            }
            Self::Promised(promise) => session.send_control(&Control::Promised(*promise)),
            Self::Standing(standing) => session.send_control(&Control::Standing(*standing)),
            Self::Subscribe { topic, last, held } => {
                let held: Vec<_> = held.iter().map(|(ix, at)| point(*ix, *at)).collect();
                let held = List::new(&held);
                session.send_control(&Control::Subscribe(Subscribe { topic, last: *last, held }))
            }
            Self::RootGap(gap) => session.send_control(&Control::RootGap(gap.told())),
            Self::Clock { site, note } => {
                let clock = Clock { site, boot: note.boot, note: &note.encoded() };
                session.send_control(&Control::Clock(clock))
            }
        }
    }
}
