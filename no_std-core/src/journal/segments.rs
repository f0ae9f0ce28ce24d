//! The segments of a lane: finding room, beginning a segment, sealing one.

use super::scan::Frame;
use super::{CONTROL_SLOTS, CommitError, Journal, OpenError};
use crate::codec::Writer;
use crate::media::{Media, MediaError, Place, SlotIx};
use crate::num::{Lane, SegmentNo};
use crate::segment::{
    HeaderFault, SEGMENT_HEADER_BYTES, SEGMENT_HEADERS_BYTES, SegmentHeader, entries_at,
};
use crate::tables::{Slot, SlotState, Tables};

impl<M: Media, T: Tables> Journal<M, T> {
    /// How many slots of a lane are in use.
    pub(crate) fn slots_used(&self, lane: Lane) -> u32 {
        let held = |slot: &&Slot| slot.state != SlotState::Free && slot.lane == lane;
        self.parts.slots.as_ref().iter().filter(held).count() as u32
    }

    /// The segments of a lane in their order, beginning with the first whose number is not below
    /// `from`.
    pub(crate) fn next_slot(&self, lane: Lane, from: SegmentNo) -> Option<SlotIx> {
        let slots = self.parts.slots.as_ref().iter().enumerate();
        let held = |slot: &Slot| slot.state != SlotState::Free && slot.lane == lane;
        slots
            .filter(|(_, slot)| held(slot) && slot.number >= from)
            .min_by_key(|(_, slot)| slot.number)
            .map(|(ix, _)| SlotIx(ix as u32))
    }

    /// What tells the entries of a slot's segment from other bytes.
    pub(crate) fn frame(&self, ix: SlotIx) -> Frame {
        let slot = self.slot(ix);
        let after = self.next_slot(slot.lane, slot.number.plus(1));
        Frame {
            log: self.log,
            segment: slot.number,
            shape: self.shape,
            checksum: self.config.checksum,
            void_from: after.map(|next| self.slot(next).base_commit),
        }
    }

    /// Erases a slot that a lane may begin a segment in. Only this may find no space.
    pub(crate) fn erase_free(&mut self, lane: Lane) -> Result<SlotIx, CommitError> {
        let ix = self.free_slot(lane).ok_or(CommitError::LaneFull)?;
        self.media.erase(ix)?;
        Ok(ix)
    }

    /// Begins a segment of a lane in a slot that was erased for it, and makes it the one that is
    /// appended to.
    pub(crate) fn begin_segment(&mut self, lane: Lane, ix: SlotIx) -> Result<(), CommitError> {
        let number = self.next_segment;
        let header = SegmentHeader {
            lane,
            log: self.log,
            number,
            base_seq: self.lane(lane).map(|state| state.next).unwrap_or_default(),
            base_commit: self.next_commit,
            opening: self.opening,
            entry_max: self.config.entry_max,
            slot: ix,
        };
        self.next_segment = number.plus(1);
        self.write_header(ix, &header)?;
        // A checkpoint may name the segment before anything is committed to it.
        self.media.sync(ix)?;
        // What was in the same slot is erased: nobody can tell any more what it goes on from.
        let empty = entries_at(self.shape);
        let is_there = |active: &SlotIx| *active != ix || self.slot(*active).tail == empty;
        let before = self.active(lane).filter(is_there).map_or(0, |at| self.slot(at).last_crc);
        let begun = Slot {
            state: SlotState::Active,
            lane,
            number,
            base_seq: header.base_seq,
            base_commit: header.base_commit,
            tail: entries_at(self.shape),
            last_crc: before,
            last_at: 0,
            last_seq: header.base_seq,
            footer_bytes: 0,
            footer_known: true,
            durable_at: None,
        };
        self.retire(lane);
        if let Some(slot) = self.slot_mut(ix) {
            *slot = begun;
        }
        if lane == Lane::CONTROL {
            self.control = Some(ix);
            self.control_whole = false;
        } else if let Some(state) = self.lane_mut(lane) {
            state.active = Some(ix);
        }
        Ok(())
    }

    /// The lane's active segment is appended to no more.
    fn retire(&mut self, lane: Lane) {
        let Some(active) = self.active(lane) else { return };
        if let Some(slot) = self.slot_mut(active) {
            slot.state = SlotState::Sealed;
        }
    }

    /// A slot that a lane may begin a segment in.
    fn free_slot(&self, lane: Lane) -> Option<SlotIx> {
        if lane == Lane::CONTROL {
            // The slot with the last whole checkpoint stays until there is another one.
            let holds = self.control.filter(|_| self.control_whole);
            let other = |ix: &SlotIx| Some(*ix) != holds;
            let again = self.control.filter(|_| !self.control_whole);
            return again.or((0..CONTROL_SLOTS).map(SlotIx).find(other));
        }
        let allowed = *self.config.slots.get(usize::from(lane.get()))?;
        if self.slots_used(lane) >= allowed {
            return None;
        }
        // The slot after the newest segment, so that flash wears evenly.
        let slots = self.parts.slots.as_ref().get(..self.shape.slots as usize)?;
        let newest = slots.iter().enumerate().skip(CONTROL_SLOTS as usize);
        let newest = newest.max_by_key(|(_, slot)| slot.number).map_or(0, |(ix, _)| ix);
        let behind = (newest + 1..slots.len()).chain(CONTROL_SLOTS as usize..=newest);
        let free = |ix: &usize| slots.get(*ix).is_some_and(|slot| slot.state == SlotState::Free);
        behind.filter(|ix| *ix >= CONTROL_SLOTS as usize).find(free).map(|ix| SlotIx(ix as u32))
    }

    fn write_header(&mut self, ix: SlotIx, header: &SegmentHeader) -> Result<(), MediaError> {
        let mut bytes = [0; SEGMENT_HEADERS_BYTES];
        let mut writer = Writer::new(&mut bytes);
        for _ in 0..2 {
            let encoded = header.encode(&mut writer, self.shape, self.config.checksum);
            assert!(encoded.is_ok(), "a header fits its own length");
        }
        self.program_padded(Place { slot: ix, at: 0 }, &bytes, entries_at(self.shape))
    }

    /// Programs a few bytes, padded to `len` through the end of the commit buffer.
    fn program_padded(&mut self, place: Place, bytes: &[u8], len: u32) -> Result<(), MediaError> {
        let staged = self.staging.len;
        let room = self.parts.buffer.as_mut().get_mut(staged..).unwrap_or_default();
        let Some(room) = room.get_mut(..len as usize) else { return Err(MediaError::NoSpace) };
        room.fill(0);
        room.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        self.media.program(place, room)
    }

    /// Whether both copies of a slot's header are whole and say the same.
    ///
    /// # Errors
    /// The medium refused to read.
    pub(crate) fn has_both_headers(&self, ix: SlotIx) -> Result<bool, MediaError> {
        let mut bytes = [0; SEGMENT_HEADERS_BYTES];
        match self.media.read(Place { slot: ix, at: 0 }, &mut bytes) {
            Ok(()) => {}
            Err(MediaError::Unreadable) => return Ok(false),
            Err(error) => return Err(error),
        }
        let (first, second) = bytes.split_at(SEGMENT_HEADER_BYTES);
        let header = SegmentHeader::decode(first, self.shape, self.config.checksum);
        Ok(first == second && header.is_ok())
    }

    /// Reads the header of a slot. One that a power cut may have torn is none.
    ///
    /// # Errors
    /// The medium refused to read, or the header is one that this program can't serve.
    pub(crate) fn read_header(&self, ix: SlotIx) -> Result<Option<SegmentHeader>, OpenError> {
        for at in [0, SEGMENT_HEADER_BYTES as u32] {
            let mut bytes = [0; SEGMENT_HEADER_BYTES];
            match self.media.read(Place { slot: ix, at }, &mut bytes) {
                Ok(()) => {}
                Err(MediaError::Unreadable) => continue,
                Err(error) => return Err(OpenError::Media(error)),
            }
            match SegmentHeader::decode(&bytes, self.shape, self.config.checksum) {
                Ok(header) if header.slot == ix => {
                    let begun = self.is_begun(ix).map_err(OpenError::Media)?;
                    return Ok(begun.then_some(header));
                }
                Ok(_) | Err(HeaderFault::None(_)) => {}
                Err(fault) => return Err(OpenError::from(fault)),
            }
        }
        Ok(None)
    }

    /// Whether the guard that ends at `end` of a slot was begun to be written: what stands before
    /// it was then written as a whole. What stands behind a commit says nothing of it: an opening
    /// that took it for torn may have skipped a unit there.
    pub(crate) fn is_guarded(&self, ix: SlotIx, end: u32) -> Result<bool, MediaError> {
        let guard = self.shape.guard_bytes();
        Ok(guard == 0 || self.last_unclean(ix, (end.saturating_sub(guard), end))?.is_some())
    }

    /// The same in recovery, which ends with an error if nobody can tell.
    pub(crate) fn was_guarded(&mut self, ix: SlotIx, end: u32) -> bool {
        self.is_guarded(ix, end).unwrap_or_else(|_| {
            self.loaded.fail();
            false
        })
    }

    /// The same for the header of a segment. Its guard may waver, but whoever took the header for
    /// whole has written behind it.
    fn is_begun(&self, ix: SlotIx) -> Result<bool, MediaError> {
        let end = entries_at(self.shape);
        let first = end.saturating_add(self.shape.guard_bytes()).min(self.shape.slot_bytes);
        Ok(self.is_guarded(ix, end)? || self.last_unclean(ix, (end, first))?.is_some())
    }

    /// Forgets a slot's segment.
    pub(crate) fn clear_slot(&mut self, ix: SlotIx) {
        if let Some(slot) = self.slot_mut(ix) {
            // The number stays: it tells which slot was used last.
            *slot = Slot { number: slot.number, ..Slot::default() };
        }
    }
}
