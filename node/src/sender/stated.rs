//! What the sender states besides records: that a stream begins in its middle, that records are
//! missing, and what others have stated of their streams.

use landfall_core::batch::Batch;
use landfall_core::control::{BranchBody, GapBody};
use landfall_core::frontier::{BranchIx, Frontier, Point, StreamIx};
use landfall_core::gap::GapReason;
use landfall_core::media::Media;
use landfall_core::num::Offset;
use landfall_core::tables::Loss;
use landfall_protocol::message::{self, LaneMessage, StreamPoint};

use super::{Pump, Turn};
use crate::packing::Bytes;
use crate::progress::Flight;
use crate::{Core, Gate};

impl<M: Media, G: Gate> Pump<'_, M, G> {
    /// Says how a stream begins that begins in its middle here, if that must be said. Returns
    /// whether what is at `at` may be sent. That may have to wait until it is known to whom: only
    /// the node that promised to have what is before it needs to be told nothing.
    pub(super) fn begin_in_the_middle(&mut self, ix: StreamIx, at: Point) -> bool {
        let frontier = self.core.journal.frontier();
        let root = frontier.branch(ix, BranchIx::MAIN).map(|branch| branch.root);
        let root = root.unwrap_or_default();
        let promised = frontier.branches(ix).any(|(_, branch)| branch.hop >= at.next);
        if root >= at.next {
            self.say_begin(ix, at, root)
        } else if self.link.state.hello.is_none() {
            false
        } else {
            promised && self.sender.from_hop || self.say_start(ix, at, root)
        }
    }

    /// Says that a stream begins in its middle here: behind what is durable at the root, and, if
    /// more is gone than that, behind a gap.
    fn say_start(&mut self, ix: StreamIx, at: Point, root: Offset) -> bool {
        let own = self.core.is_own(ix);
        if root == Offset::ZERO || !own {
            return self.say_begin(ix, at, root);
        }
        let rooted = Point { next: root, hash: None, ..at };
        self.say_begin(ix, rooted, root) && self.say_gap(ix, root, at)
    }

    /// Says what is missing before a batch that is the first of its branch since its stream was
    /// wanted again. Returns whether the batch may be sent.
    pub(super) fn resume_branch(&mut self, ix: StreamIx, batch: &Batch<'_>) -> bool {
        let Some((branch, from)) = self.resumes(ix, batch) else { return true };
        let head = &batch.head;
        let at = Point { epoch: head.epoch, next: head.base, hash: Some(head.before) };
        if head.base > from && !self.say_gap(ix, from, at) {
            return false;
        }
        self.sender.resumed.insert((ix, branch))
    }

    /// The branch of which a batch is the first since its stream, which is this node's and has
    /// forks, was wanted again, and from where on it was.
    pub(super) fn resumes(&self, ix: StreamIx, batch: &Batch<'_>) -> Option<(BranchIx, Offset)> {
        let frontier = self.core.journal.frontier();
        let own = self.core.is_own(ix);
        let forked = own && frontier.branch(ix, BranchIx(1)).is_some();
        let wanted = self.sender.lowered.get(&ix).filter(|_| forked)?;
        let head = &batch.head;
        let end = Point { epoch: head.epoch, next: head.end(), hash: Some(head.after) };
        let at = self.core.branch_of(ix, head.base, end)?;
        let begins = frontier.branch(ix, at)?.from;
        let new = !self.sender.resumed.contains(&(ix, at));
        new.then(|| (at, begins.max(*wanted)))
    }

    fn say_begin(&mut self, ix: StreamIx, at: Point, root: Offset) -> bool {
        let stream = self.core.journal.frontier().name(ix);
        let begin = message::Begin {
            point: StreamPoint { stream, epoch: at.epoch, next: at.next, hash: at.hash },
            durable_at: self.core.rooted_at.log().filter(|_| root >= at.next),
            reason: GapReason::NeverReceived,
        };
        let frame = self.link.frame(self.index, &LaneMessage::Begin(begin));
        self.ready(frame)
    }

    pub(super) fn say_gap(&mut self, ix: StreamIx, from: Offset, to: Point) -> bool {
        let missing = self.lane().missing;
        self.core.note_missing(self.lane, missing, ix, from, to);
        let reason = self.core.gap_reason(ix, from);
        self.say_gap_for(ix, from, to, reason)
    }

    pub(crate) fn say_gap_for(
        &mut self,
        ix: StreamIx,
        from: Offset,
        to: Point,
        reason: GapReason,
    ) -> bool {
        let stream = self.core.journal.frontier().name(ix);
        let (next, epoch, after) = (to.next, to.epoch, to.hash);
        let gap = message::Gap { stream, from, to: next, epoch, reason, after };
        let frame = self.link.frame(self.index, &LaneMessage::Gap(gap));
        self.ready(frame)
    }

    pub(super) fn relay_gap(&mut self, body: &[u8]) -> Turn {
        let Ok(gap) = GapBody::decode(body) else { return Turn::On };
        let Some(ix) = self.core.journal.frontier().find(gap.stream) else { return Turn::On };
        let end = Point { epoch: gap.branch.0, next: gap.to, hash: gap.after };
        if !self.is_wanted(ix, end.next, end) {
            return Turn::On;
        }
        let sent = self.sender.sent.get(&ix).copied();
        // How far a stream with forks was sent does not say of which of them.
        let forked = self.core.journal.frontier().branch(ix, BranchIx(1)).is_some();
        let from = sent.filter(|_| !forked).unwrap_or(gap.from).max(gap.from);
        if from >= gap.to {
            return Turn::On;
        }
        let message = message::Gap {
            stream: gap.stream,
            from,
            to: gap.to,
            epoch: gap.branch.0,
            reason: gap.reason,
            after: gap.after,
        };
        let frame = self.link.frame(self.index, &LaneMessage::Gap(message));
        self.sender.sent.insert(ix, sent.unwrap_or_default().max(gap.to));
        if !self.ready(frame) {
            return Turn::Flush;
        }
        // Nothing may follow that shows that it never arrived: it is under way until a promise.
        let after = self.lane().cursor;
        let ends = vec![(ix, from, end)];
        self.lane().flights.push_back(Flight { after, ends, bytes: Bytes::default() });
        Turn::On
    }

    pub(super) fn relay_branch(&mut self, body: &[u8]) -> Turn {
        let Ok(begun) = BranchBody::decode(body) else { return Turn::On };
        let Some(ix) = self.core.journal.frontier().find(begun.stream) else { return Turn::On };
        if self.sender.sent.contains_key(&ix) {
            // It is known above, and wanted from somewhere before: what is missing there comes
            // from below, or is stated.
            return Turn::On;
        }
        if begun.durable_at.is_none() || !self.is_wanted(ix, begun.at.next, begun.at) {
            return Turn::On;
        }
        let (epoch, next, hash) = (begun.at.epoch, begun.at.next, begun.at.hash);
        let message = message::Begin {
            point: StreamPoint { stream: begun.stream, epoch, next, hash },
            durable_at: begun.durable_at,
            reason: GapReason::NeverReceived,
        };
        let frame = self.link.frame(self.index, &LaneMessage::Begin(message));
        self.sender.sent.insert(ix, next);
        if self.ready(frame) { Turn::On } else { Turn::Flush }
    }

    /// States that the ends of streams are gone up to their tips.
    pub(super) fn state_gone(&mut self) {
        while let Some((ix, from)) = self.lane().gone.front().copied() {
            let tip = self.core.journal.frontier().tip(ix);
            // An upstream node that never had of it must hear first what the root has.
            let known = self.sender.from_hop || self.sender.sent.contains_key(&ix);
            let stated = match known || from == Offset::ZERO {
                true => tip.next <= from || self.say_gap(ix, from, tip),
                false => self.say_start(ix, tip, from),
            };
            if !stated {
                return;
            }
            self.lane().gone.pop_front();
            self.sender.sent.insert(ix, tip.next);
        }
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// Why records of a stream of this node are missing from an offset on.
    fn gap_reason(&self, ix: StreamIx, from: Offset) -> GapReason {
        let losses = self.journal.losses().iter();
        let here = |loss: &&Loss| {
            loss.stream.is_some_and(|(of, _)| of == ix) && loss.from <= from && from < loss.to
        };
        let loss = losses.rev().find(here).and_then(|loss| loss.reason);
        let branch = self.journal.frontier().branch(ix, BranchIx::MAIN);
        match (loss, branch) {
            (Some(reason), _) => reason,
            (None, Some(branch)) if branch.root > from => match self.rooted_at.log() {
                // Another root was never promised them.
                Some(log) if self.root_log.is_some_and(|root| root != log) => {
                    GapReason::NeverReceived
                }
                _ => GapReason::AcknowledgedThenLost,
            },
            (None, Some(branch)) if branch.hop > from => GapReason::HopLost,
            _ => GapReason::Dropped,
        }
    }
}
