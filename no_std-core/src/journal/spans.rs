//! Walks over the spans of a lane and the entries of a slot, as recovery needs them.

use super::Journal;
use super::replay::Replay;
use super::scan::{Found, Scan, ScanPlace, Span, find};
use super::window::Window;
use crate::media::{Media, SlotIx};
use crate::num::{CommitNo, Lane, Opening, SegmentNo};
use crate::segment::entries_at;
use crate::tables::Tables;

/// Takes an entry and its body, unless that is damaged, and says whether to go on.
pub(crate) type SeeEntry<'a, T> =
    &'a mut dyn FnMut(&mut Replay<'_, T>, &Found, Option<&[u8]>) -> bool;

impl<M: Media, T: Tables> Journal<M, T> {
    /// Goes through the spans of a lane behind the checkpoint.
    pub(crate) fn each_span(
        &mut self,
        lane: Lane,
        since: (Opening, CommitNo),
        see: &mut dyn FnMut(&mut Self, SlotIx, &Span),
    ) {
        let since = if lane == Lane::CONTROL { Default::default() } else { since };
        let start = entries_at(self.shape);
        let checkpointed = self.lane(lane).and_then(|state| state.checkpointed);
        let mut from = checkpointed.unwrap_or(SegmentNo::ZERO);
        while let Some(ix) = self.next_slot(lane, from) {
            let slot = self.slot(ix);
            let mut at = slot.tail;
            if Some(slot.number) != checkpointed {
                // Read from its start, all that it holds leaves its mark on the frontier.
                at = start;
                self.mark_known(ix);
            }
            self.scan_slot(ix, ScanPlace::behind(at, since), see);
            from = slot.number.plus(1);
        }
    }

    fn mark_known(&mut self, ix: SlotIx) {
        if let Some(slot) = self.slot_mut(ix) {
            slot.footer_known = true;
        }
    }

    /// Goes through the spans of a slot from a place on.
    pub(crate) fn scan_slot(
        &mut self,
        ix: SlotIx,
        from: ScanPlace,
        see: &mut dyn FnMut(&mut Self, SlotIx, &Span),
    ) {
        let frame = self.frame(ix);
        let mut place = from;
        loop {
            let loaded = core::mem::take(&mut self.loaded);
            let buffer = self.parts.buffer.as_mut();
            let window = Window::new(&self.media, ix, self.shape.slot_bytes, buffer);
            let mut scan = Scan { window: window.resume(loaded), frame, place };
            let span = scan.next_span();
            (self.loaded, place) = (scan.window.loaded(), scan.place);
            let Some(span) = span else { return };
            if !self.superseded(&span) {
                see(self, ix, &span);
            }
        }
    }

    /// Whether a later opening says that it began at this commit or before it.
    fn superseded(&self, span: &Span) -> bool {
        let later = |note: &crate::tables::OpeningNote| {
            note.opening > span.opening && note.first_commit <= span.commit
        };
        self.parts.openings.all().iter().any(later)
    }

    /// Goes through the entries between two places of a slot, as long as `see` says so. Those that
    /// are damaged have no body.
    pub(crate) fn each_entry(&mut self, ix: SlotIx, (from, to): (u32, u32), see: SeeEntry<'_, T>) {
        let frame = self.frame(ix);
        let end = self.shape.slot_bytes;
        let parts = &mut self.parts;
        let window = Window::new(&self.media, ix, end, parts.buffer.as_mut());
        let mut window = window.resume(core::mem::take(&mut self.loaded));
        let mut replay = Replay::<T> {
            frontier: &mut parts.frontier,
            slots: &mut parts.slots,
            producers: &mut parts.producers,
            losses: &mut parts.losses,
            openings: &mut parts.openings,
            lanes: &mut self.lanes,
            checksum: self.config.checksum,
        };
        let mut at = from;
        while at < to {
            let Ok(found) = find(&mut window, &frame, at) else {
                at = window.next_place(at);
                continue;
            };
            let body_at = at + found.header.body_at() as u32;
            let body = window.get(body_at, found.header.body_len as usize).ok();
            if !see(&mut replay, &found, body.filter(|_| found.intact)) {
                break;
            }
            at = found.next;
        }
        self.loaded = window.loaded();
    }
}
