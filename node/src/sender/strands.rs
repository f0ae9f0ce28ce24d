//! How far each branch of a stream with forks was sent, of which some has become unreadable here.
//! Only its origin may say that it is gone, so whoever is below is asked for it.

use landfall_core::batch::Batch;
use landfall_core::frontier::{BranchIx, Frontier, Point, StreamIx};
use landfall_core::media::{Media, MediaError};
use landfall_core::num::{Offset, Seq};

use super::{Pump, Sender};
use crate::note::Note;
use crate::repair::Repair;
use crate::{Core, Gate};

impl Sender {
    /// A branch was sent up to there.
    pub(crate) fn note_strand(&mut self, ix: StreamIx, branch: BranchIx, end: Offset) {
        let sent = self.strands.entry((ix, branch)).or_default();
        *sent = end.max(*sent);
    }

    /// A stream is wanted again from there on.
    pub(crate) fn lower_strands(&mut self, ix: StreamIx, from: Offset) {
        for (_, sent) in self.strands.iter_mut().filter(|((of, _), _)| *of == ix) {
            *sent = from.min(*sent);
        }
    }
}

impl<M: Media, G: Gate> Pump<'_, M, G> {
    /// Whether a batch goes on from what was sent of its branch, as far as that can be told. If
    /// something before it can't be read any more, the stream is held back until it comes again.
    pub(super) fn goes_on_with_strand(&mut self, ix: StreamIx, batch: &Batch<'_>) -> bool {
        let head = &batch.head;
        let end = Point { epoch: head.epoch, next: head.end(), hash: Some(head.after) };
        let Some(at) = self.core.branch_of(ix, head.base, end) else { return true };
        let known = self.strand(ix, at);
        if head.base > known && self.lane().missing != (Seq::ZERO, Seq::ZERO) {
            match self.core.point_of(ix, at, known) {
                Err(error) => {
                    self.core.read_failed(error);
                    return false;
                }
                Ok(Some(missing)) => {
                    let to = Point { epoch: head.epoch, next: head.base, hash: Some(head.before) };
                    self.sender.hold_back(ix);
                    let repair = Repair::of_branch(self.lane, at, missing, to);
                    self.sender.repairs.insert(ix, repair);
                    self.core.notes.push_back(Note::Wanted(ix, missing, to));
                    return false;
                }
                // It can't be said of which history it is wanted.
                Ok(None) => {}
            }
        }
        self.sender.note_strand(ix, at, head.end());
        true
    }

    /// How far the next node has a branch, with what was sent.
    pub(super) fn strand(&self, ix: StreamIx, at: BranchIx) -> Offset {
        let Some(branch) = self.core.journal.frontier().branch(ix, at) else { return Offset::ZERO };
        let promised = if self.sender.from_hop { branch.hop } else { branch.root };
        let lowered = self.sender.lowered.get(&ix).copied();
        let promised = lowered.map_or(promised, |from| from.min(promised));
        let sent = self.sender.strands.get(&(ix, at)).copied();
        sent.unwrap_or(promised).max(branch.from)
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// Where a branch passes an offset, if that is known or can be read.
    fn point_of(
        &self,
        ix: StreamIx,
        at: BranchIx,
        next: Offset,
    ) -> Result<Option<Point>, MediaError> {
        let frontier = self.journal.frontier();
        if next == Offset::ZERO {
            return Ok(Some(Point::START));
        }
        if let Some(rung) = frontier.ladder(ix, at).iter().find(|rung| rung.next == next) {
            return Ok(Some(Point { epoch: rung.epoch, next, hash: Some(rung.hash) }));
        }
        let mut found = None;
        self.each_batch(ix, (next, next), |_, batch| {
            let head = &batch.head;
            let end = Point { epoch: head.epoch, next: head.end(), hash: Some(head.after) };
            if head.end() == next && self.branch_of(ix, head.base, end) == Some(at) {
                found = Some(end);
            }
            found.is_none()
        })?;
        Ok(found)
    }
}
