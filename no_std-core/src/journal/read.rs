//! Reading a lane: entry by entry, up to the last commit that was written.

use super::Journal;
use super::scan::{Found, Frame, find};
use super::window::{Loaded, Window};
use crate::entry::{ENTRY_HEADER_BYTES, EntryHeader};
use crate::media::{Media, MediaError, SlotIx};
use crate::num::{CommitNo, Lane, Opening, SegmentNo, Seq};
use crate::segment::entries_at;
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
    /// The opening and commit of the entry before. What belongs to earlier ones and stands behind
    /// it was left by a power cut.
    pub newest: (Opening, CommitNo),
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
    /// The medium refused to read, which says nothing of the bytes. Reading again may succeed.
    Failed(MediaError),
    /// The buffer is too small for the next entry, which takes this many bytes.
    TooLong(usize),
}

/// A buffer that reads ahead: entries that follow one another are found in what was read for the
/// first of them. It must hold the largest entry and its path.
#[derive(Debug)]
pub struct Reader<'b> {
    buffer: &'b mut [u8],
    loaded: Loaded,
    /// What tells the entries of the segment that was read last.
    frame: Option<Frame>,
}

impl<'b> Reader<'b> {
    /// A reader that has read nothing yet.
    pub fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, loaded: Loaded::default(), frame: None }
    }

    fn is_in(&self, segment: SegmentNo) -> bool {
        self.frame.is_some_and(|frame| frame.segment == segment)
    }
}

/// What a step came to, before anything is lent from the buffer.
enum Next {
    Found(Found),
    Other(ReadStep<'static>),
}

impl<M: Media, T: Tables> Journal<M, T> {
    /// Before the first entry that a lane still has.
    pub fn first(&self, lane: Lane) -> Cursor {
        let first = self.next_slot(lane, SegmentNo::ZERO);
        let segment = first.map(|ix| self.slot(ix).number).unwrap_or_default();
        let seq = first.map_or(self.seqs(lane).1, |ix| self.slot(ix).base_seq);
        Cursor { segment, seq, ..Cursor::default() }
    }

    /// Behind the last entry that is written of a lane. What is staged must have been committed.
    pub fn last(&self, lane: Lane) -> Cursor {
        let slots = self.parts.slots.as_ref().iter();
        let its = slots.filter(|slot| slot.state != SlotState::Free && slot.lane == lane);
        its.max_by_key(|slot| slot.number).map_or(self.first(lane), |slot| Cursor {
            segment: slot.number,
            at: slot.tail,
            seq: self.seqs(lane).1,
            ..Cursor::default()
        })
    }

    /// The start of the first segment of a lane whose number is not below `from`.
    pub fn segment_from(&self, lane: Lane, from: SegmentNo) -> Option<Cursor> {
        let slot = self.slot(self.next_slot(lane, from)?);
        let (segment, seq) = (slot.number, slot.base_seq);
        Some(Cursor { segment, seq, ..Cursor::default() })
    }

    /// The commit that a segment of a lane began with; none if it is not there.
    pub fn base_commit(&self, lane: Lane, segment: SegmentNo) -> Option<CommitNo> {
        let slot = self.slot(self.next_slot(lane, segment)?);
        (slot.number == segment).then_some(slot.base_commit)
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
            seq: slot.base_seq,
            ..Cursor::default()
        })
    }

    /// Before the segment of a lane that a commit lies in, if it lies in the lane, or before the
    /// first segment behind it. Reading on from there comes past the commit.
    pub fn near_commit(&self, lane: Lane, commit: CommitNo) -> Cursor {
        let slots = self.parts.slots.as_ref().iter();
        let before = slots.filter(|slot| {
            slot.state != SlotState::Free && slot.lane == lane && slot.base_commit <= commit
        });
        before.max_by_key(|slot| slot.number).map_or(self.first(lane), |slot| Cursor {
            segment: slot.number,
            seq: slot.base_seq,
            ..Cursor::default()
        })
    }

    /// Reads the entry behind `cursor` into `buffer`, which must hold the largest entry and its
    /// path, and moves the cursor behind it. What is in flight is read, too: see
    /// [`Journal::synced_commit`].
    pub fn read<'b>(&self, lane: Lane, cursor: &mut Cursor, buffer: &'b mut [u8]) -> ReadStep<'b> {
        let mut reader = Reader::new(buffer);
        match self.next(lane, cursor, &mut reader) {
            Next::Other(step) => step,
            Next::Found(found) => {
                entry(&found, reader.loaded.part(reader.buffer, found.at, found.header.body_end()))
            }
        }
    }

    /// As [`Journal::read`], with what the reader has read ahead.
    pub fn read_on<'r>(
        &self,
        lane: Lane,
        cursor: &mut Cursor,
        reader: &'r mut Reader<'_>,
    ) -> ReadStep<'r> {
        match self.next(lane, cursor, reader) {
            Next::Other(step) => step,
            Next::Found(found) => {
                entry(&found, reader.loaded.part(reader.buffer, found.at, found.header.body_end()))
            }
        }
    }

    fn next(&self, lane: Lane, cursor: &mut Cursor, reader: &mut Reader<'_>) -> Next {
        loop {
            let Some(ix) = self.slot_behind(lane, cursor, reader) else {
                return Next::Other(self.end(lane, cursor));
            };
            let slot = self.slot(ix);
            if slot.number != cursor.segment {
                (cursor.segment, cursor.at) = (slot.number, 0);
            }
            if slot.base_seq > cursor.seq {
                return Next::Other(skip_to(cursor, slot.base_seq));
            }
            // The last segment of a lane gets no successor while it is read.
            let frame = match reader.frame.filter(|frame| frame.segment == slot.number) {
                Some(frame) => frame,
                None => {
                    reader.loaded = Loaded::of(ix);
                    *reader.frame.insert(self.frame(ix))
                }
            };
            let mut window =
                Window::new(&self.media, ix, slot.tail, reader.buffer).resume(reader.loaded);
            let found = self.step_in(&mut window, &frame, cursor);
            let whole = found.map(|found| found.map(|found| (found, load(&mut window, &found))));
            reader.loaded = window.loaded().without_fault();
            match whole {
                Err(error) => return Next::Other(ReadStep::Failed(error)),
                Ok(Some((found, _))) if found.header.seq > cursor.seq => {
                    cursor.at = found.at;
                    return Next::Other(skip_to(cursor, found.header.seq));
                }
                Ok(Some((_, Load::TooLong(len)))) => {
                    return Next::Other(ReadStep::TooLong(len));
                }
                Ok(Some((_, Load::Failed))) => {
                    return Next::Other(ReadStep::Failed(MediaError::Failed));
                }
                Ok(Some((found, load))) => {
                    cursor.at = found.next;
                    cursor.newest = (found.header.opening, found.header.commit);
                    if load == Load::Whole {
                        cursor.seq = found.header.end_seq();
                        return Next::Found(found);
                    }
                }
                Ok(None) if slot.state == SlotState::Active => {
                    return Next::Other(self.end(lane, cursor));
                }
                Ok(None) => (cursor.segment, cursor.at) = (slot.number.plus(1), 0),
            }
        }
    }

    /// The slot to read on in. Mostly it is the one of the step before, and need not be searched.
    fn slot_behind(&self, lane: Lane, cursor: &Cursor, reader: &Reader<'_>) -> Option<SlotIx> {
        let last = reader.loaded.slot();
        let slot = self.slot(last);
        let same = reader.is_in(cursor.segment) && slot.number == cursor.segment;
        if same && slot.lane == lane && slot.state != SlotState::Free {
            return Some(last);
        }
        self.next_slot(lane, cursor.segment)
    }

    /// At the end of the lane: seqs that are still expected were damaged.
    fn end(&self, lane: Lane, cursor: &mut Cursor) -> ReadStep<'static> {
        let end = self.seqs(lane).1;
        if cursor.seq < end { skip_to(cursor, end) } else { ReadStep::End }
    }

    /// Finds the next intact entry behind a cursor.
    pub(crate) fn step(
        &self,
        ix: SlotIx,
        tail: u32,
        cursor: &Cursor,
        buffer: &mut [u8],
    ) -> Result<Option<Found>, MediaError> {
        self.step_in(&mut Window::new(&self.media, ix, tail, buffer), &self.frame(ix), cursor)
    }

    pub(crate) fn step_in(
        &self,
        window: &mut Window<'_, M>,
        frame: &Frame,
        cursor: &Cursor,
    ) -> Result<Option<Found>, MediaError> {
        let mut cursor = *cursor;
        loop {
            let found = self.next_in(window, frame, &cursor)?;
            let Some(found) = found else { return Ok(None) };
            if found.intact && found.header.seq >= cursor.seq {
                return Ok(Some(found));
            }
            cursor.at = found.next;
            cursor.newest = (found.header.opening, found.header.commit);
        }
    }

    /// Finds the next entry behind a cursor that is not void, whether its body is intact or not.
    pub(crate) fn next_entry(
        &self,
        ix: SlotIx,
        tail: u32,
        cursor: &Cursor,
        buffer: &mut [u8],
    ) -> Result<Option<Found>, MediaError> {
        self.next_in(&mut Window::new(&self.media, ix, tail, buffer), &self.frame(ix), cursor)
    }

    fn next_in(
        &self,
        window: &mut Window<'_, M>,
        frame: &Frame,
        cursor: &Cursor,
    ) -> Result<Option<Found>, MediaError> {
        let mut at = cursor.at.max(entries_at(self.shape));
        while at < window.end() {
            let found = find(window, frame, at);
            if window.loaded().failed() {
                return Err(MediaError::Failed);
            }
            let Ok(found) = found else {
                at = window.next_place(at);
                continue;
            };
            let known = (found.header.opening, found.header.commit);
            if frame.void_from.is_some_and(|from| known.1 >= from) {
                return Ok(None);
            }
            let stale = known.0 < cursor.newest.0 || known.1 < cursor.newest.1;
            let mut torn = || known != cursor.newest && self.was_torn(window, frame, &found);
            if !stale && !torn() {
                return Ok(Some(found));
            }
            at = found.next;
        }
        Ok(None)
    }

    /// On a medium that writes each unit once, what a power cut tore stays among the entries. A
    /// later opening that begins again at its commit tells it.
    fn was_torn(&self, window: &mut Window<'_, M>, frame: &Frame, found: &Found) -> bool {
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
                Err(_) => at = window.next_place(at),
            }
        }
        false
    }
}

fn skip_to<'b>(cursor: &mut Cursor, seq: Seq) -> ReadStep<'b> {
    let from = core::mem::replace(&mut cursor.seq, seq);
    ReadStep::Missing(from, seq)
}

/// Whether an entry that was found is in the buffer as a whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Load {
    Whole,
    Unreadable,
    Failed,
    TooLong(usize),
}

fn load<M: Media>(window: &mut Window<'_, M>, found: &Found) -> Load {
    let len = found.header.body_end();
    if len > window.capacity() {
        return Load::TooLong(len);
    }
    match window.get(found.at, len).is_ok() {
        true => Load::Whole,
        false if window.loaded().failed() => Load::Failed,
        false => Load::Unreadable,
    }
}

fn entry<'r>(found: &Found, bytes: &'r [u8]) -> ReadStep<'r> {
    let (head, body) = bytes.split_at(found.header.body_at().min(bytes.len()));
    let path = head.get(ENTRY_HEADER_BYTES..).unwrap_or_default();
    ReadStep::Entry(Entry { header: found.header, path, body })
}
