//! Ends that are lost: a checkpoint knows how far a stream came, and the records at its end are
//! gone from the medium. Nothing follows that would show the hole: it is looked for at the lane's
//! end.

use landfall_core::frontier::{BranchIx, Frontier, Point, StreamIx};
use landfall_core::media::Media;
use landfall_core::num::Offset;

use super::Pump;
use crate::link::Say;
use crate::note::Note;
use crate::repair::Repair;
use crate::{Core, Gate};

impl<M: Media, G: Gate> Pump<'_, M, G> {
    /// All that is stored in the lane has been sent. What should be there besides is stated to be
    /// gone, or asked for below, if it did not begin here.
    pub(super) fn look_for_lost_ends(&mut self) {
        let staged = self.core.journal.staged_bytes() > 0;
        let settled = !staged && self.core.journal.in_flight().is_none();
        if !settled || core::mem::replace(&mut self.lane().ends_known, true) {
            return;
        }
        let lane = self.lane;
        let (first, end) = self.lane().missing;
        if first == end && self.core.journal.losses().iter().all(|loss| loss.lane != lane) {
            return;
        }
        let streams = self.core.journal.frontier().streams();
        for ix in (0..streams).map(StreamIx) {
            if let Some((from, tip)) = self.lost_end(ix) {
                self.lose_end(ix, from, tip);
            }
            self.ask_for_lost_branches(ix);
        }
    }

    /// From where to where the end of a stream of this lane is missing.
    fn lost_end(&self, ix: StreamIx) -> Option<(Offset, Point)> {
        let frontier = self.core.journal.frontier();
        let topic = frontier.name(ix).topic;
        let takes = self.core.takes(self.sender.uplink, ix);
        let its = takes && self.core.lane_of_topic(topic) == self.lane;
        // How far a stream with forks was sent does not say of which of them.
        let forked = frontier.branch(ix, BranchIx(1)).is_some();
        if !its || forked || self.sender.held_back.contains(&ix) {
            return None;
        }
        let branch = frontier.branch(ix, BranchIx::MAIN)?;
        let promised = if self.sender.from_hop { branch.hop } else { branch.root };
        let known = self.sender.sent.get(&ix).copied().unwrap_or(promised).max(branch.from);
        (branch.tip.next > known).then_some((known, branch.tip))
    }

    /// Of a stream with forks that others write, the next node is asked what it has of each branch
    /// that was not sent to its end. If it lacks that, it wants it again.
    fn ask_for_lost_branches(&mut self, ix: StreamIx) {
        let frontier = self.core.journal.frontier();
        let forked = frontier.branch(ix, BranchIx(1)).is_some();
        let takes = self.core.takes(self.sender.uplink, ix);
        if !forked || !takes || self.core.is_own(ix) || self.sender.held_back.contains(&ix) {
            return;
        }
        let branches: Vec<_> = frontier.branches(ix).collect();
        for (at, branch) in branches {
            if branch.tip.next > self.strand(ix, at) {
                let tips = vec![(ix, branch.tip, Offset::ZERO)];
                self.link.state.says.push_back(Say::Tips { last: false, tips });
            }
        }
    }

    fn lose_end(&mut self, ix: StreamIx, from: Offset, tip: Point) {
        if self.core.is_own(ix) {
            self.core.note_lost_end(self.lane, ix, from, tip);
            self.lane().gone.push_back((ix, from));
        } else {
            self.sender.hold_back(ix);
            self.sender.repairs.insert(ix, Repair::new(self.lane, tip));
            let missing = Point { epoch: tip.epoch, next: from, hash: None };
            self.core.notes.push_back(Note::Wanted(ix, missing, tip));
            // The promise may be what is lost.
            let tips = vec![(ix, tip, Offset::ZERO)];
            self.link.state.says.push_back(Say::Tips { last: false, tips });
        }
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// Whether a stream is this node's own.
    pub(super) fn is_own(&self, ix: StreamIx) -> bool {
        self.journal.frontier().name(ix).origin == self.settings.site
    }
}
