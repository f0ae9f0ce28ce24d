//! What is wanted and is nowhere: its origin went back to before it and can't know of it, and who
//! passed it on has forgotten it. It is stated to be missing; if it turns up all the same, it comes
//! late.

use landfall_core::frontier::{Frontier, Point, StreamIx};
use landfall_core::gap::GapReason;
use landfall_core::media::Media;

use super::ingest::Judged;
use super::link::LinkState;
use super::note::Note;
use super::repair::Missing;
use super::verdict::Verdict;
use super::{Core, Gate};

impl LinkState {
    /// The peer has a stream up to there; if it is its own, that may be farther than it said.
    pub(crate) fn note_own_end(&mut self, ix: StreamIx, at: Point) {
        if let Some(end) = self.own_ends.get_mut(&ix).filter(|end| end.next < at.next) {
            *end = at;
        }
    }

    /// Whether the peer has its own stream up to a point: an epoch has one history.
    pub(crate) fn has_own(&self, ix: StreamIx, at: Point) -> bool {
        let end = self.own_ends.get(&ix);
        end.is_some_and(|end| end.epoch == at.epoch && at.next <= end.next)
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// A stream ends at its origin before what is wanted of it.
    pub(crate) fn give_up_behind_end(&mut self, state: &LinkState, ix: StreamIx) {
        let Some((at, to)) = self.hole(ix) else { return };
        if state.own_ends.get(&ix).is_some_and(|end| end.next <= at.next) {
            self.give_up(ix, at, to);
        }
    }

    /// An origin has another history where something is wanted of its stream. While a copy of it is
    /// connected, that one may have it.
    pub(crate) fn give_up_what_parted(&mut self, state: &LinkState, item: &Judged<'_>) {
        let Some((at, to)) = self.hole(item.ix) else { return };
        let (head, own) = (&item.batch.head, self.journal.frontier().name(item.ix).origin);
        let origin = state.site.as_deref() == Some(own) && self.is_alone(own);
        let covers = head.base <= at.next && at.next < head.end();
        let parted = item.verdict != Verdict::Repair && ![at.epoch, to.epoch].contains(&head.epoch);
        if origin && covers && parted {
            self.give_up(item.ix, at, to);
        }
    }

    /// What is wanted of a stream before what is here.
    fn hole(&self, ix: StreamIx) -> Option<(Point, Point)> {
        self.wants.get(&ix).copied().filter(|(at, to)| at.next < to.next)
    }

    fn give_up(&mut self, ix: StreamIx, at: Point, to: Point) {
        let reason = GapReason::AcknowledgedThenLost;
        self.notes.push_back(Note::Missing(ix, Missing { from: at.next, to, reason }));
        self.repaired(ix, to);
    }
}
