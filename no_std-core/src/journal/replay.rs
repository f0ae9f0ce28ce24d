//! Replaying entries into the tables, as recovery finds them behind the checkpoint.

use super::LaneState;
use super::scan::Found;
use crate::batch::{Batch, BatchHead, batches};
use crate::checksum::Checksum;
use crate::control::{BranchBody, GapBody};
use crate::entry::Kind;
use crate::frontier::{BranchIx, BranchKind, Change, Frontier, Point, StreamIx};
use crate::gap::GapReason;
use crate::limits::LANES_MAX;
use crate::num::{Lane, SegmentNo, Seq};
use crate::producers::Producers;
use crate::tables::{Loss, OpeningNote, Ring, Tables};

/// The tables that what is read moves, apart from the buffer that it is read through.
pub(crate) struct Replay<'a, T: Tables> {
    pub(crate) frontier: &'a mut T::Frontier,
    pub(crate) slots: &'a mut T::Slots,
    pub(crate) producers: &'a mut Producers<T::Producers>,
    pub(crate) losses: &'a mut Ring<Loss, T::Losses>,
    pub(crate) openings: &'a mut Ring<OpeningNote, T::Openings>,
    pub(crate) lanes: &'a mut [LaneState; LANES_MAX],
    pub(crate) checksum: Checksum,
}

impl<T: Tables> Replay<'_, T> {
    /// Takes an entry's body into the frontier and the producers.
    pub(crate) fn replay(&mut self, lane: Lane, segment: SegmentNo, found: &Found, body: &[u8]) {
        match found.header.kind {
            Kind::Data => {
                for batch in batches(body, self.checksum).map_while(Result::ok) {
                    self.replay_batch(lane, segment, found, &batch);
                }
            }
            Kind::Gap => self.replay_gap(body),
            Kind::Branch => self.replay_branch(body),
            Kind::Snapshot
            | Kind::Repair
            | Kind::Footer
            | Kind::Cut
            | Kind::Checkpoint
            | Kind::Unknown(_) => {}
        }
    }

    fn replay_batch(&mut self, lane: Lane, segment: SegmentNo, found: &Found, batch: &Batch<'_>) {
        let head = &batch.head;
        let Ok(ix) = self.frontier.add(head.stream) else { return };
        let change = Change::Batch(head.extent(), segment);
        if self.frontier.apply(ix, change).is_err() {
            self.bridge(lane, ix, head);
            // Where there is no room for another branch, the batch is readable and no more.
            let _ = self.frontier.apply(ix, change);
        }
        if self.is_own(found, head) {
            for producer in batch.records().flatten().filter_map(|placed| placed.record.producer) {
                self.producers.found(producer);
            }
        }
    }

    /// Whether this node wrote a batch: under the epoch of its opening. If what said so is lost,
    /// it came no way from elsewhere.
    fn is_own(&self, found: &Found, head: &BatchHead<'_>) -> bool {
        let mut notes = self.openings.all().iter();
        let note = notes.find(|note| note.opening == found.header.opening);
        note.map_or(found.header.path_len == 0, |note| note.epoch == head.epoch)
    }

    /// Moves the frontier to where a batch begins that does not go on from it: what lies between,
    /// or what began the branch, is lost.
    fn bridge(&mut self, lane: Lane, ix: StreamIx, head: &BatchHead<'_>) {
        let tip = self.frontier.tip(ix);
        let known = self.frontier.branch(ix, BranchIx::MAIN).is_some();
        let at = Point { epoch: head.epoch, next: head.base, hash: Some(head.before) };
        let (kind, first) = (BranchKind::Fork, head.epoch);
        let change = if !known {
            Change::Branch { kind: BranchKind::Main, first, at }
        } else if head.base > tip.next {
            Change::Gap { branch: BranchIx::MAIN, to: head.base, after: Some(head.before) }
        } else {
            Change::Branch { kind, first, at }
        };
        let moved = self.frontier.apply(ix, change);
        if moved.is_ok() && head.base > tip.next {
            self.name_loss(lane, ix, tip, &at);
        }
    }

    /// Notes which offsets of a stream were lost; a loss of as many seqs of the lane that had no
    /// stream yet is the same one.
    fn name_loss(&mut self, lane: Lane, ix: StreamIx, tip: Point, at: &Point) {
        let missing = at.next.since(tip.next);
        let nameless = |loss: &&mut Loss| {
            loss.lane == lane && loss.stream.is_none() && loss.end.since(loss.first) == missing
        };
        let named = Loss {
            lane,
            first: Seq::ZERO,
            end: Seq::ZERO,
            stream: Some((ix, BranchIx::MAIN)),
            from: tip.next,
            to: at.next,
            after: at.hash,
            reason: Some(GapReason::Damage),
        };
        match self.losses.all_mut().iter_mut().find(nameless) {
            Some(loss) => *loss = Loss { first: loss.first, end: loss.end, ..named },
            None => self.losses.push(named),
        }
    }

    fn replay_gap(&mut self, body: &[u8]) {
        let Ok(gap) = GapBody::decode(body) else { return };
        let Some(ix) = self.frontier.find(gap.stream) else { return };
        let Some(branch) = self.frontier.named(ix, gap.branch) else { return };
        let change = Change::Gap { branch, to: gap.to, after: gap.after };
        // A gap that does not fit was overtaken by damage, which is reported by itself.
        let _ = self.frontier.apply(ix, change);
    }

    fn replay_branch(&mut self, body: &[u8]) {
        let Ok(begun) = BranchBody::decode(body) else { return };
        let Ok(ix) = self.frontier.add(begun.stream) else { return };
        let change = Change::Branch { kind: begun.kind, first: begun.first, at: begun.at };
        let _ = self.frontier.apply(ix, change);
    }
}
