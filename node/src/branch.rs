//! Which branch of a stream a point or a run of records belongs to, as far as that can be told.

use landfall_core::frontier::{Branch, BranchIx, BranchKind, Frontier, Point, StreamIx};
use landfall_core::media::Media;
use landfall_core::num::{Epoch, Offset};

use super::{Core, Gate};

impl<M: Media, G: Gate> Core<M, G> {
    /// The branch that stored records between an offset and a point belong to, if it can be told.
    /// What came late for a gap ends where the gap does.
    pub(crate) fn branch_of(&self, ix: StreamIx, base: Offset, end: Point) -> Option<BranchIx> {
        let frontier = self.journal.frontier();
        let at = self.branch_at(ix, end);
        let forked = at.and_then(|at| frontier.branch(ix, at));
        if forked.is_some_and(|branch| branch.kind == BranchKind::Fork) {
            return at;
        }
        let spans = |(_, branch): &(BranchIx, Branch)| {
            let spans = branch.from <= base && end.next <= branch.tip.next;
            spans && branch.kind == BranchKind::Late
        };
        let late: Vec<_> = frontier.branches(ix).filter(spans).collect();
        let exact = late.iter().find(|(at, branch)| self.passes(ix, *at, branch, end));
        let found = exact.or_else(|| late.iter().find(|held| self.is_under(ix, held, end)));
        let only = if let [only] = late.as_slice() { Some(only) } else { None };
        found.or(only).map(|(late, _)| *late).or(at)
    }

    /// The branch that a point which is known to be here belongs to, if it can be told.
    pub(crate) fn branch_at(&self, ix: StreamIx, point: Point) -> Option<BranchIx> {
        let frontier = self.journal.frontier();
        let rungs = |at: BranchIx| frontier.ladder(ix, at).iter();
        let spans = |(_, branch): &(BranchIx, Branch)| {
            branch.from < point.next && point.next <= branch.tip.next
        };
        let all: Vec<_> = frontier.branches(ix).collect();
        let spanning: Vec<_> = all.iter().filter(|branch| spans(branch)).collect();
        let known = |(at, branch): &(BranchIx, Branch)| {
            branch.first == point.epoch || rungs(*at).any(|rung| rung.epoch == point.epoch)
        };
        let only = if let [only] = spanning.as_slice() { Some(*only) } else { None };
        let only = only.filter(|branch| known(branch));
        // Where a stream begins in its middle, a fork may end: what leads there is of the fork.
        let exact = |(at, branch): &&(BranchIx, Branch)| self.passes(ix, *at, branch, point);
        let exact = spanning.iter().copied().find(exact).or_else(|| all.iter().find(exact));
        let found =
            exact.or_else(|| spanning.iter().copied().find(|held| self.is_under(ix, held, point)));
        found.or(only).map(|(at, _)| *at)
    }

    /// The branch with records of an epoch that goes on behind an offset.
    pub(crate) fn branch_under(
        &self,
        ix: StreamIx,
        epoch: Epoch,
        next: Offset,
    ) -> Option<(BranchIx, Branch)> {
        let spans = |branch: &Branch| branch.from <= next && next < branch.tip.next;
        let mut branches = self.journal.frontier().branches(ix);
        branches.find(|(at, branch)| spans(branch) && self.has_epoch(ix, *at, branch, epoch))
    }

    /// The branch that holds an offset of a history whose records of an epoch come later, and
    /// parted from that branch.
    pub(crate) fn branch_before(
        &self,
        ix: StreamIx,
        epoch: Epoch,
        next: Offset,
    ) -> Option<(BranchIx, Branch)> {
        let frontier = self.journal.frontier();
        let mut forks = frontier
            .branches(ix)
            .filter(|(at, branch)| branch.from > next && self.has_epoch(ix, *at, branch, epoch));
        let (_, fork) = forks.next()?;
        let leads = |branch: &Branch| branch.from <= next && fork.from <= branch.tip.next;
        frontier.branches(ix).find(|(_, branch)| leads(branch))
    }

    /// Whether records of an epoch are known of a stream.
    pub(crate) fn is_of(&self, ix: StreamIx, epoch: Epoch) -> bool {
        self.branch_of_epoch(ix, epoch).is_some()
    }

    /// The first branch that has records of an epoch.
    pub(crate) fn branch_of_epoch(&self, ix: StreamIx, epoch: Epoch) -> Option<BranchIx> {
        let mut branches = self.journal.frontier().branches(ix);
        branches.find(|(at, branch)| self.has_epoch(ix, *at, branch, epoch)).map(|(at, _)| at)
    }

    fn has_epoch(&self, ix: StreamIx, at: BranchIx, branch: &Branch, epoch: Epoch) -> bool {
        let mut rungs = self.journal.frontier().ladder(ix, at).iter();
        [branch.first, branch.tip.epoch].contains(&epoch) || rungs.any(|rung| rung.epoch == epoch)
    }

    /// Whether a branch is known to go on behind a point in the epoch of the record before it.
    fn is_under(&self, ix: StreamIx, (at, branch): &(BranchIx, Branch), point: Point) -> bool {
        let mut rungs = self.journal.frontier().ladder(ix, *at).iter();
        let tip = branch.tip.epoch == point.epoch;
        tip || rungs.any(|rung| rung.epoch == point.epoch && rung.next >= point.next)
    }

    /// Whether a branch is known to pass through a point.
    pub(crate) fn passes(
        &self,
        ix: StreamIx,
        at: BranchIx,
        branch: &Branch,
        Point { next, hash, .. }: Point,
    ) -> bool {
        let tip = branch.tip.next == next && branch.tip.hash == hash;
        let mut rungs = self.journal.frontier().ladder(ix, at).iter();
        tip || rungs.any(|rung| rung.next == next && Some(rung.hash) == hash)
    }
}
