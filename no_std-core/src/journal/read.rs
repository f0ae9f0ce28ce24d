//! Reading a lane: entry by entry, up to what is synced.

use super::Journal;
use super::scan::{Frame, find};
use super::window::Window;
use crate::entry::{ENTRY_ALIGN, EntryHeader};
use crate::media::{Media, Place, SlotIx};
use crate::num::{Lane, SegmentNo, Seq};
use crate::segment::layout;
use crate::tables::{SlotState, Tables};

/// A place in a lane. It stays good while its segment is kept.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Cursor {
    /// The segment.
    pub segment: SegmentNo,
    /// Bytes from the start of its slot; 0 is before its first entry.
    pub at: u32,
    /// The seq that is expected next.
    pub seq: Seq,
}

/// An entry as it was read into a buffer.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its header here.
    pub header: EntryHeader,
    /// The nodes it passed on its way here.
    pub path: &'a [u8],
    /// What it holds.
    pub body: &'a [u8],
}

/// What a step through a lane found.
#[derive(Clone, Copy, Debug)]
pub enum ReadStep<'a> {
    /// The next entry.
    Entry(Entry<'a>),
    /// Seqs that were dropped or damaged: the first, and the one where reading goes on.
    Missing(Seq, Seq),
    /// There is nothing behind, for now.
    End,
}

impl<M: Media, T: Tables> Journal<M, T> {
    /// Before the first entry that a lane still has.
    pub fn first(&self, lane: Lane) -> Cursor {
        let first = self.next_slot(lane, SegmentNo::ZERO);
        let segment = first.map(|ix| self.slot(ix).number).unwrap_or_default();
        let seq = first.map_or(self.seqs(lane).1, |ix| self.slot(ix).base_seq);
        Cursor { segment, at: 0, seq }
    }

    /// Before the segment that holds a seq, or before the first segment behind it. Reading on from
    /// there comes past the seq.
    pub fn near(&self, lane: Lane, seq: Seq) -> Cursor {
        let slots = self.parts.slots.as_ref().iter();
        let before = slots.filter(|slot| {
            slot.state != SlotState::Free && slot.lane == lane && slot.base_seq <= seq
        });
        before.max_by_key(|slot| slot.number).map_or(self.first(lane), |slot| Cursor {
            segment: slot.number,
            at: 0,
            seq: slot.base_seq,
        })
    }

    /// Reads the entry behind `cursor` into `buffer`, which must hold the largest entry and its
    /// path, and moves the cursor behind it. Only what is synced is read.
    pub fn read<'b>(&self, lane: Lane, cursor: &mut Cursor, buffer: &'b mut [u8]) -> ReadStep<'b> {
        loop {
            let Some(ix) = self.next_slot(lane, cursor.segment) else { return ReadStep::End };
            let slot = self.slot(ix);
            if slot.number != cursor.segment {
                *cursor = Cursor { segment: slot.number, at: 0, seq: cursor.seq };
                if slot.base_seq > cursor.seq {
                    let from = core::mem::replace(&mut cursor.seq, slot.base_seq);
                    return ReadStep::Missing(from, slot.base_seq);
                }
            }
            let begin = layout(self.shape).1;
            let at = cursor.at.max(begin);
            match self.step(ix, at, slot.tail, cursor.seq, buffer) {
                Step::Entry(header, at, next) => {
                    if header.seq > cursor.seq {
                        let from = core::mem::replace(&mut cursor.seq, header.seq);
                        cursor.at = at;
                        return ReadStep::Missing(from, header.seq);
                    }
                    cursor.at = next;
                    cursor.seq = header.end_seq();
                    return self.load_entry(ix, at, header, buffer);
                }
                Step::End if slot.state == SlotState::Active => return self.end(lane, cursor),
                Step::End => cursor.segment = slot.number.plus(1),
            }
        }
    }

    /// At the end of the lane: seqs that are still expected were damaged.
    fn end<'b>(&self, lane: Lane, cursor: &mut Cursor) -> ReadStep<'b> {
        let end = self.seqs(lane).1;
        if cursor.seq < end {
            let from = core::mem::replace(&mut cursor.seq, end);
            return ReadStep::Missing(from, end);
        }
        ReadStep::End
    }

    /// Finds the next valid entry at or behind `at`.
    fn step(&self, ix: SlotIx, at: u32, tail: u32, seq: Seq, buffer: &mut [u8]) -> Step {
        let frame = self.frame(ix);
        let mut window = Window::new(&self.media, ix, tail, buffer);
        let mut at = at;
        while at < tail {
            let found = find(&mut window, &frame, at);
            let valid = found.ok().filter(|found| found.intact && found.header.seq >= seq);
            let void = |commit| frame.void_from.is_some_and(|from| commit >= from);
            match valid {
                Some(found) if void(found.header.commit) => return Step::End,
                Some(found) if self.was_torn(&mut window, &frame, &found) => at = found.next,
                Some(found) => return Step::Entry(found.header, found.at, found.next),
                None => at += ENTRY_ALIGN as u32,
            }
        }
        Step::End
    }

    /// On a medium that writes each unit once, what a power cut tore stays among the entries. A
    /// later opening that begins again at its commit tells it.
    fn was_torn(
        &self,
        window: &mut Window<'_, M>,
        frame: &Frame,
        found: &super::scan::Found,
    ) -> bool {
        if self.shape.overwrites {
            return false;
        }
        let mut at = found.next;
        while at < window.end() {
            match find(window, frame, at) {
                Ok(next)
                    if next.header.commit == found.header.commit
                        && next.header.opening == found.header.opening =>
                {
                    at = next.next
                }
                Ok(next) => {
                    return next.header.opening > found.header.opening
                        && next.header.commit <= found.header.commit;
                }
                Err(_) => at += ENTRY_ALIGN as u32,
            }
        }
        false
    }

    fn load_entry<'b>(
        &self,
        ix: SlotIx,
        at: u32,
        header: EntryHeader,
        buffer: &'b mut [u8],
    ) -> ReadStep<'b> {
        let (body_at, end) = (header.body_at(), header.body_end());
        let Some(bytes) = buffer.get_mut(..end) else { return ReadStep::End };
        if self.media.read(Place { slot: ix, at }, bytes).is_err() {
            return ReadStep::Missing(header.seq, header.end_seq());
        }
        let (head, body) = bytes.split_at(body_at);
        let path = head.get(crate::entry::ENTRY_HEADER_BYTES..).unwrap_or_default();
        ReadStep::Entry(Entry { header, path, body })
    }
}

enum Step {
    Entry(EntryHeader, u32, u32),
    End,
}
