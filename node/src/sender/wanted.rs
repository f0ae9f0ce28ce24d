//! Which batches of a lane are to be sent: those that nobody above is known to have, and those that
//! are wanted again.

use landfall_core::batch::{Batch, batches};
use landfall_core::frontier::{Branch, BranchIx, Frontier, Point, StreamIx};
use landfall_core::journal::Entry;
use landfall_core::media::Media;
use landfall_core::num::Offset;

use super::Pump;
use crate::{Gate, checksum};

impl<M: Media, G: Gate> Pump<'_, M, G> {
    /// The batches of an entry that are to be sent.
    pub(super) fn wanted<'e>(&mut self, entry: &Entry<'e>) -> Vec<(StreamIx, Batch<'e>)> {
        let mut wanted = Vec::new();
        for batch in batches(entry.body, checksum()).map_while(Result::ok) {
            let Some(ix) = self.core.journal.frontier().find(batch.head.stream) else { continue };
            let (epoch, next) = (batch.head.epoch, batch.head.end());
            let end = Point { epoch, next, hash: Some(batch.head.after) };
            let base = batch.head.base;
            if self.is_wanted(ix, base, end) {
                wanted.push((ix, batch));
            } else if self.core.takes(self.sender.uplink, ix) {
                let rooted = self.promised(ix, base, end, |_, branch| branch.root);
                self.lane().passed_unrooted |= end.next > rooted;
            }
        }
        wanted
    }

    /// Whether a batch is to be sent at all.
    pub(super) fn is_wanted(&self, ix: StreamIx, base: Offset, end: Point) -> bool {
        let takes = self.core.takes(self.sender.uplink, ix);
        if !takes || self.sender.held_back.contains(&ix) {
            return false;
        }
        end.next > self.passed(ix, base, end)
    }

    /// Up to where the branch of a batch need not be sent.
    pub(super) fn passed(&self, ix: StreamIx, base: Offset, end: Point) -> Offset {
        let sent = self.sender.sent.get(&ix).copied().unwrap_or_default();
        let promised = self.promised(ix, base, end, |at, branch| {
            let before = if self.sender.from_hop { branch.hop } else { branch.root };
            // What was sent in this session and is promised does not go again with a repair.
            let since = self.sender.promised.get(&(ix, at)).copied().unwrap_or_default();
            before.max(since.min(sent))
        });
        // From where it is wanted again says nothing of a branch that has not come there.
        let lowered = self.sender.lowered.get(&ix).copied();
        lowered.map_or(promised, |from| from.min(promised))
    }

    /// How far the branch of a batch is promised. What is known for all branches is known for the
    /// one that the batch is of.
    fn promised(
        &self,
        ix: StreamIx,
        base: Offset,
        end: Point,
        of: impl Fn(BranchIx, Branch) -> Offset,
    ) -> Offset {
        let frontier = self.core.journal.frontier();
        let at = self.core.branch_of(ix, base, end);
        let its = at.and_then(|at| Some(of(at, frontier.branch(ix, at)?)));
        let all = || frontier.branches(ix).map(|(at, branch)| of(at, branch)).min();
        its.or_else(all).unwrap_or_default()
    }

    /// Whether a batch does not go on from what was sent of its stream.
    pub(super) fn skips(&self, ix: StreamIx, batch: &Batch<'_>) -> bool {
        let sent = self.sender.sent.get(&ix).copied().unwrap_or_default();
        batch.head.base > sent || self.resumes(ix, batch).is_some()
    }
}
