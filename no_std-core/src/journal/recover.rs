//! Recovery: from the last checkpoint, and what was written behind it, to where the node was.
//!
//! Only the last commit that anybody wrote can be torn. Unless it is whole it is cut; anything else
//! that is invalid is damage. Entries that are intact count, damaged ones become losses.

use super::items::{END_ITEM, NODE_TAG};
use super::load::Loading;
use super::open::{Recovery, Torn};
use super::replay::Replay;
use super::scan::{ScanPlace, Span};
use super::{CONTROL_SLOTS, Journal};
use crate::entry::{Kind, Trailer};
use crate::frontier::Frontier;
use crate::gap::GapReason;
use crate::media::{Media, MediaError, SlotIx};
use crate::num::{CommitNo, Lane, Opening, SegmentNo, Seq};
use crate::segment::entries_at;
use crate::tables::{Loss, SlotState, Tables};

/// The last commit that anybody wrote.
#[derive(Clone, Copy, Debug, Default)]
struct Top {
    /// The checkpoint that was loaded: what stands behind it in a lane is of later commits.
    since: (Opening, CommitNo),
    /// Whether nothing was written to the lanes after a clean close.
    untouched: bool,
    seen: (Opening, CommitNo),
    /// Where it ends.
    end: Option<(SlotIx, u32)>,
    whole: Option<Trailer>,
}

impl Top {
    fn see(&mut self, ix: SlotIx, span: &Span) {
        let seen = (span.opening, span.commit);
        if seen > self.seen {
            (self.seen, self.whole, self.end) = (seen, span.whole, Some((ix, span.end)));
        }
    }

    /// The number of the commit that will be written next. A torn commit's number is used again.
    fn next_commit(&self) -> CommitNo {
        if self.whole.is_some() { self.seen.1.plus(1) } else { self.seen.1 }
    }

    fn tore(&self, span: &Span) -> bool {
        self.whole.is_none() && (span.opening, span.commit) == self.seen
    }
}

/// How far the replay of a lane has come.
#[derive(Clone, Copy, Debug)]
struct Progress {
    lane: Lane,
    slot: SlotIx,
    /// Behind the last entry that was accepted.
    end: u32,
}

impl<M: Media, T: Tables> Journal<M, T> {
    /// Brings the tables to where the node was.
    ///
    /// # Errors
    /// The medium refused to read. What seems to be missing may be there.
    pub(crate) fn recover(&mut self, recovery: &mut Recovery) -> Result<(), MediaError> {
        let checkpoint = self.load_checkpoint();
        recovery.checkpoint_lost = checkpoint.is_none();
        let since = checkpoint.map(|(_, since)| since).unwrap_or_default();
        let untouched = checkpoint.is_some_and(|(clean, _)| clean);
        let mut top = Top { since, untouched, ..Top::default() };
        for lane in self.all_lanes() {
            self.prepare_lane(lane);
            if let Some(active) = self.active(lane).filter(|_| lane != Lane::CONTROL) {
                recovery.damaged += self.check_last(lane, active);
            }
            self.each_span(lane, since, &mut |_, ix, span| {
                top.see(ix, span);
                top.untouched &= lane == Lane::CONTROL;
            });
        }
        top.whole = top.whole.filter(|_| top.end.is_none_or(|(ix, at)| self.was_guarded(ix, at)));
        recovery.clean = checkpoint == Some((true, top.seen));
        self.next_commit = self.next_commit.max(top.next_commit());
        self.opening = self.opening.max(top.seen.0);
        for lane in self.all_lanes() {
            self.replay_lane(lane, &top, recovery);
        }
        self.parts.frontier.settle();
        self.parts.producers.settle();
        for lane in (0..self.config.lanes).map(Lane::new) {
            if let Some(active) = self.active(lane) {
                self.count_footer(active);
            }
        }
        self.loaded.forget();
        // A control slot without a checkpoint may have been half erased to be begun again.
        let (end, whole) = (self.shape.slot_bytes, self.control_whole);
        if let Some(slot) = self.control.filter(|_| !whole).and_then(|ix| self.slot_mut(ix)) {
            slot.tail = end;
        }
        if self.loaded.failed() { Err(MediaError::Failed) } else { Ok(()) }
    }

    /// Looks once more at the last commit of a lane, which the checkpoint has taken in: nothing
    /// later would show that it is gone. Returns how many damaged commits there are.
    fn check_last(&mut self, lane: Lane, ix: SlotIx) -> u32 {
        let slot = self.slot(ix);
        if slot.last_at == 0 {
            return 0;
        }
        let mut whole = false;
        self.scan_slot(ix, ScanPlace::new(slot.last_at), &mut |_, _, span| {
            whole |= span.at == slot.last_at && span.whole.is_some();
        });
        if whole {
            return 0;
        }
        self.note_missing(lane, (slot.last_seq, self.seqs(lane).1));
        1
    }

    /// Loads the last complete checkpoint. Returns whether it ended its opening, and its commit.
    fn load_checkpoint(&mut self) -> Option<(bool, (Opening, CommitNo))> {
        let mut complete = None;
        let mut slot = self.next_slot(Lane::CONTROL, SegmentNo::ZERO);
        while let Some(ix) = slot {
            let mut begin = None;
            self.scan_slot(ix, ScanPlace::new(entries_at(self.shape)), &mut |journal, ix, span| {
                if span.whole.is_none() {
                    return;
                }
                let (begins, ends) = journal.checkpoint_edges(ix, span);
                if begins {
                    begin = Some(span.at);
                }
                if let (true, Some(from), true) = (ends, begin, journal.was_guarded(ix, span.end)) {
                    complete = Some((ix, from, *span));
                }
            });
            slot = self.next_slot(Lane::CONTROL, self.slot(ix).number.plus(1));
        }
        let (ix, from, last) = complete?;
        self.control_whole = self.control == Some(ix);
        // An older one is of no use, and may have been half erased.
        for older in (0..CONTROL_SLOTS).map(SlotIx).filter(|older| *older != ix) {
            if self.slot(older).number < self.slot(ix).number {
                self.clear_slot(older);
            }
        }
        let mut loading = Loading::default();
        self.each_entry(ix, (from, last.end), &mut |replay, _, body| {
            // What can't be taken in is missing from the tables and shows as a loss or a misfit.
            replay.load(body.unwrap_or_default(), &mut loading).is_ok()
        });
        self.next_segment = self.next_segment.max(loading.next_segment);
        self.opening = self.opening.max(loading.opening);
        self.heard = loading.heard;
        self.open_time = loading.open_time;
        Some((loading.clean, (last.opening, last.commit)))
    }

    fn checkpoint_edges(&mut self, ix: SlotIx, span: &Span) -> (bool, bool) {
        let (mut begins, mut ends) = (false, false);
        self.each_entry(ix, (span.at, span.end), &mut |_, found, body| {
            let body = body.filter(|_| found.header.kind == Kind::Checkpoint).unwrap_or_default();
            begins |= body.first() == Some(&NODE_TAG);
            ends |= body.ends_with(&END_ITEM);
            true
        });
        (begins, ends)
    }

    /// Frees segments that were dropped, and finds where the lane begins.
    fn prepare_lane(&mut self, lane: Lane) {
        let Some(state) = self.lane(lane).copied() else { return };
        let (shape, end) = (self.shape, self.shape.slot_bytes);
        for ix in (CONTROL_SLOTS..shape.slots).map(SlotIx) {
            let slot = self.slot(ix);
            if slot.state != SlotState::Free && slot.lane == lane && slot.number < state.floor {
                self.clear_slot(ix);
            }
        }
        let base = self.next_slot(lane, SegmentNo::ZERO).map(|ix| self.slot(ix).base_seq);
        let active = self.active(lane).filter(|ix| self.slot(*ix).state != SlotState::Free);
        let begin = entries_at(shape);
        if let Some(slot) = active.and_then(|ix| self.slot_mut(ix)) {
            // A checkpoint is not believed that a commit may begin where none can.
            slot.tail = shape.units(slot.tail.clamp(begin, end));
        }
        // If the segment that was appended to is gone, the one before it is not taken for it.
        let sealed = active.filter(|ix| Some(self.slot(*ix).number) < state.checkpointed);
        if let Some(slot) = sealed.and_then(|ix| self.slot_mut(ix)) {
            (slot.state, slot.tail) = (SlotState::Sealed, end);
        }
        let first = base.unwrap_or(state.next);
        if state.checkpointed.is_some() && first > state.first {
            self.lose_unseen(lane, (state.first, first));
        }
        let Some(state) = self.lane_mut(lane) else { return };
        state.active = active.filter(|_| sealed.is_none());
        state.first = first;
        // Without a checkpoint the lane begins where its first segment does.
        state.next = state.next.max(state.first);
    }

    /// Notes that seqs are lost of which no bytes are left to tell more.
    fn lose_unseen(&mut self, lane: Lane, (first, end): (Seq, Seq)) {
        let reason = Some(GapReason::Damage);
        let known = |loss: &Loss| loss.lane == lane && loss.first <= first && loss.end >= end;
        if first < end && !self.parts.losses.all().iter().any(known) {
            self.parts.losses.push(Loss { lane, first, end, reason, ..Loss::default() });
        }
    }

    fn replay_lane(&mut self, lane: Lane, top: &Top, recovery: &mut Recovery) {
        let mut progress: Option<Progress> = None;
        let (mut torn, mut torn_end) = (None, 0);
        let checkpointed = self.lane(lane).and_then(|state| state.checkpointed);
        let there = |ix: &SlotIx| Some(self.slot(*ix).number) == checkpointed;
        if let Some(ix) = checkpointed.and_then(|number| self.next_slot(lane, number)).filter(there)
        {
            progress = Some(Progress { lane, slot: ix, end: self.slot(ix).tail });
        }
        self.each_span(lane, top.since, &mut |journal, ix, span| {
            recovery.scanned += u64::from(span.end - span.at);
            if top.tore(span) {
                torn = Some(Torn { lane, commit: span.commit, bytes: span.end - span.at });
                torn_end = span.end;
                return;
            }
            let begin = entries_at(journal.shape);
            let before = progress.filter(|before| before.slot == ix);
            let end = before.map_or(begin, |before| before.end);
            if let (None, Some(old)) = (before, progress) {
                let base = journal.slot(ix).base_seq;
                journal.lose_up_to(old, base, journal.shape.slot_bytes);
            }
            let mut at = Progress { lane, slot: ix, end };
            recovery.damaged += journal.replay_span(&mut at, span);
            progress = Some(at);
        });
        self.end_lane(lane, progress, top);
        recovery.torn = torn.or(recovery.torn);
        // The opening after a clean close may have torn a unit that reads blank.
        let may_be_torn = !top.untouched || lane == Lane::CONTROL;
        self.skip_unclean(lane, torn_end, may_be_torn);
    }

    /// Takes what is intact of a span, and notes what is not. Returns how many entries were
    /// damaged.
    fn replay_span(&mut self, at: &mut Progress, span: &Span) -> u32 {
        let (lane, ix) = (at.lane, at.slot);
        let segment = self.slot(ix).number;
        self.lose_up_to(*at, span.first.seq, span.at);
        let mut damaged = 0;
        let mut from = span.at;
        while from < span.end {
            let mut next = None;
            // One entry at a time: losses read through the same buffer.
            self.each_entry(ix, (from, span.end), &mut |replay, found, body| {
                let expected = replay.lane_next(lane);
                let fits = found.header.seq == expected || lane == Lane::CONTROL;
                if let (Some(body), true) = (body, fits) {
                    replay.replay(lane, segment, found, body);
                    replay.advance(lane, found.header.end_seq());
                }
                next = Some((*found, body.is_some(), fits));
                false
            });
            let Some((found, intact, fits)) = next else { break };
            if intact && !fits && found.header.seq > self.seqs(lane).1 {
                self.lose_up_to(Progress { end: from, ..*at }, found.header.seq, found.at);
                from = found.at;
                continue;
            }
            if !intact {
                damaged += 1;
                self.lose_up_to(Progress { end: from, ..*at }, found.header.seq, found.at);
                let end = found.header.end_seq();
                self.lose_up_to(Progress { end: found.at, ..*at }, end, found.next);
            }
            from = found.next;
            if intact {
                at.end = from;
                self.accept(ix, from, found.crc);
            }
        }
        let end = span.whole.and_then(|trailer| trailer.next.get(usize::from(lane.get())).copied());
        if let Some(end) = end {
            self.lose_up_to(*at, end, span.end);
        }
        self.accept(ix, span.end, span.last_crc);
        if let Some(slot) = self.slot_mut(ix) {
            (slot.last_at, slot.last_seq) = (span.at, span.first.seq);
        }
        at.end = span.end;
        damaged
    }

    /// A commit whose last entry is damaged may end anywhere; the next one begins at a unit.
    fn accept(&mut self, ix: SlotIx, end: u32, last_crc: u32) {
        let tail = self.shape.units(end).min(self.shape.slot_bytes);
        if let Some(slot) = self.slot_mut(ix) {
            (slot.tail, slot.last_crc) = (tail, last_crc);
        }
    }

    /// What is missing between what was accepted and `seq` is lost.
    fn lose_up_to(&mut self, at: Progress, seq: Seq, until: u32) {
        let next = self.seqs(at.lane).1;
        if at.lane == Lane::CONTROL || seq <= next {
            return;
        }
        self.lose(at.lane, (next, seq), at.slot, (at.end, until));
        if let Some(state) = self.lane_mut(at.lane) {
            state.next = seq;
        }
    }

    /// The last commit tells where each lane must have come to.
    fn end_lane(&mut self, lane: Lane, progress: Option<Progress>, top: &Top) {
        let told = top.whole.and_then(|trailer| {
            let lanes = usize::from(trailer.lanes);
            trailer.next.get(..lanes)?.get(usize::from(lane.get())).copied()
        });
        let Some(told) = told else { return };
        match progress {
            Some(at) => self.lose_up_to(at, told, self.shape.slot_bytes),
            None => {
                self.lose_unseen(lane, (self.seqs(lane).1, told));
                if let Some(state) = self.lane_mut(lane) {
                    state.next = state.next.max(told);
                }
            }
        }
    }
}

impl<T: Tables> Replay<'_, T> {
    fn lane_next(&self, lane: Lane) -> Seq {
        self.lanes.get(usize::from(lane.get())).map(|state| state.next).unwrap_or_default()
    }

    fn advance(&mut self, lane: Lane, next: Seq) {
        if let Some(state) = self.lanes.get_mut(usize::from(lane.get())) {
            state.next = next;
        }
    }
}
