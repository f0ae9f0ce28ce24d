//! Salvage: what damaged bytes can still say. Heads of batches have checksums of their own, so a
//! damaged entry usually tells which offsets it held, and the stream hash behind them.

use super::Journal;
use super::scan::find;
use super::window::Window;
use crate::batch::{BatchHead, HEAD_BYTES_MAX};
use crate::codec::Reader;
use crate::entry::ENTRY_ALIGN;
use crate::frontier::{BranchIx, Change, Extent, Frontier, StreamIx};
use crate::gap::GapReason;
use crate::limits::COMMIT_BYTES_MAX;
use crate::media::{Media, SlotIx};
use crate::num::{Lane, Seq};
use crate::segment::entries_at;
use crate::tables::{Loss, Tables};

impl<M: Media, T: Tables> Journal<M, T> {
    /// Notes that the seqs from `first` to `end` of a lane are lost. What the bytes between `from`
    /// and `to` of a slot tell of them moves the frontier over gaps.
    pub(crate) fn lose(
        &mut self,
        lane: Lane,
        (first, end): (Seq, Seq),
        slot: SlotIx,
        (from, to): (u32, u32),
    ) {
        let to = to.min(from.saturating_add(COMMIT_BYTES_MAX as u32)).min(self.shape.slot_bytes);
        let mut at = from;
        let mut next = first;
        while at < to && next < end {
            let Some((told, after)) = self.next_head(slot, at, to) else { break };
            at = after;
            next = next.plus(self.lose_batch(lane, next, end, &told));
        }
        if next < end {
            let reason = Some(GapReason::Damage);
            self.parts.losses.push(Loss { lane, first: next, end, reason, ..Loss::default() });
        }
    }

    /// Notes that seqs of a lane that the frontier has passed can't be read any more, and which
    /// offsets of which streams they were, as far as the bytes still say so.
    pub fn note_missing(&mut self, lane: Lane, (first, end): (Seq, Seq)) {
        let covers = |loss: &Loss| loss.lane == lane && loss.first <= first && loss.end >= end;
        if self.parts.losses.all().iter().any(covers) {
            return;
        }
        let before = self.near(lane, first);
        let Some(slot) = self.next_slot(lane, before.segment) else { return };
        let (from, to) = self.hole(slot, first, end);
        let mut at = from;
        let mut next = first;
        while let Some((told, after)) = self.next_head(slot, at, to) {
            at = after;
            let tip = self.parts.frontier.tip(told.ix);
            let count = u64::from(told.records);
            if told.extent.end > tip.next || next.plus(count) > end {
                continue;
            }
            let last = next.plus(count);
            self.parts.losses.push(told.loss(lane, (next, last), BranchIx::MAIN));
            next = last;
        }
        if next < end {
            let reason = Some(GapReason::Damage);
            self.parts.losses.push(Loss { lane, first: next, end, reason, ..Loss::default() });
        }
        self.checkpoint_due = true;
    }

    /// The bytes of a slot between the last intact entry before `first` and the next one from
    /// `end` on.
    fn hole(&mut self, ix: SlotIx, first: Seq, end: Seq) -> (u32, u32) {
        let frame = self.frame(ix);
        let tail = self.slot(ix).tail;
        self.loaded.forget();
        let mut window = Window::new(&self.media, ix, tail, self.parts.buffer.as_mut());
        let (mut at, mut from) = (entries_at(self.shape), entries_at(self.shape));
        while at < tail {
            match find(&mut window, &frame, at).ok().filter(|found| found.intact) {
                Some(found) if found.header.seq >= end => break,
                Some(found) => {
                    at = found.next;
                    from = if found.header.end_seq() <= first { at } else { from };
                }
                None => at += ENTRY_ALIGN as u32,
            }
        }
        let loaded = window.loaded();
        self.loaded.note(loaded);
        (from, at.min(tail))
    }

    /// Moves the frontier over a batch that is lost, if it goes on from a branch. Returns how many
    /// seqs that explains.
    fn lose_batch(&mut self, lane: Lane, next: Seq, end: Seq, told: &Told) -> u64 {
        let meeting = self.parts.frontier.meeting(told.ix, &told.extent);
        let count = u64::from(told.records).min(end.since(next));
        let Some(branch) = meeting.filter(|_| count == u64::from(told.records)) else { return 0 };
        let after = Some(told.extent.after);
        let change = Change::Gap { branch, to: told.extent.end, after };
        if self.parts.frontier.apply(told.ix, change).is_err() {
            return 0;
        }
        self.parts.losses.push(told.loss(lane, (next, next.plus(count)), branch));
        count
    }

    /// The next head of a batch of a known stream between `from` and `to`, and where its records
    /// end.
    fn next_head(&mut self, slot: SlotIx, from: u32, to: u32) -> Option<(Told, u32)> {
        self.loaded.forget();
        let buffer = self.parts.buffer.as_mut();
        let mut window = Window::new(&self.media, slot, to, buffer);
        for at in from..to {
            let len = HEAD_BYTES_MAX.min((to - at) as usize);
            let Ok(bytes) = window.get(at, len) else { continue };
            let mut reader = Reader::new(bytes);
            let Ok(head) = BatchHead::decode(&mut reader, self.config.checksum) else { continue };
            let Some(ix) = self.parts.frontier.find(head.stream) else { continue };
            let told = Told { ix, extent: head.extent(), records: head.records };
            let after = at + head.encoded_len() as u32 + head.len;
            let loaded = window.loaded();
            self.loaded.note(loaded);
            return Some((told, after));
        }
        let loaded = window.loaded();
        self.loaded.note(loaded);
        None
    }
}

/// What a head told.
struct Told {
    ix: StreamIx,
    extent: Extent,
    records: u32,
}

impl Told {
    fn loss(&self, lane: Lane, (first, end): (Seq, Seq), branch: BranchIx) -> Loss {
        Loss {
            lane,
            first,
            end,
            stream: Some((self.ix, branch)),
            from: self.extent.base,
            to: self.extent.end,
            after: Some(self.extent.after),
            reason: Some(GapReason::Damage),
        }
    }
}
