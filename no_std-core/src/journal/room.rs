//! Room: how much a commit may have, so that its segment can still be sealed and cut.

use super::stage::Staging;
use super::{CommitError, Journal, StageError};
use crate::entry::{ENTRY_ALIGN, ENTRY_HEADER_BYTES, Trailer};
use crate::limits::COMMIT_ENTRIES_MAX;
use crate::media::Media;
use crate::num::Lane;
use crate::segment::SEGMENT_HEADERS_BYTES;
use crate::tables::Tables;

impl<M: Media, T: Tables> Journal<M, T> {
    /// Makes sure that `bytes` of bodies and `items` of a footer can be staged in `lane`,
    /// beginning a segment if need be.
    pub(crate) fn make_room(
        &mut self,
        lane: Lane,
        bytes: usize,
        items: usize,
    ) -> Result<(), StageError> {
        let need = bytes + ENTRY_HEADER_BYTES + 2 * ENTRY_ALIGN;
        match self.staging.lane {
            Some(staged) if staged != lane => return Err(StageError::OtherLane),
            Some(_) if self.staging.len + need > self.capacity(lane, items) => {
                return Err(StageError::CommitFull);
            }
            Some(_) if usize::from(self.staging.entries) + 2 > COMMIT_ENTRIES_MAX => {
                return Err(StageError::CommitFull);
            }
            Some(_) => return Ok(()),
            None => {}
        }
        if bytes > self.config.entry_max as usize {
            return Err(StageError::TooLarge);
        }
        if self.capacity(lane, items) < need {
            self.next_segment_for(lane)?;
        }
        if self.capacity(lane, items) < need {
            return Err(StageError::TooLarge);
        }
        let next = self.lane(lane).map(|state| state.next).unwrap_or_default();
        self.staging = Staging::begin(lane, next);
        Ok(())
    }

    /// Whether the commit being staged takes `bytes` of bodies more.
    pub(crate) fn has_room(&self, lane: Lane, bytes: usize) -> bool {
        let need = bytes + ENTRY_HEADER_BYTES + 2 * ENTRY_ALIGN;
        self.staging.len + need <= self.capacity(lane, 0)
    }

    /// How many bytes of entries a commit may have that goes into the lane's active segment and
    /// adds `items` bytes to its footer.
    pub(crate) fn capacity(&self, lane: Lane, items: usize) -> usize {
        let Some(active) = self.active(lane) else { return 0 };
        let slot = self.slot(active);
        let footer = slot.footer_bytes as usize + items;
        if footer > self.config.entry_max as usize && !self.staging.group {
            return 0;
        }
        let kept = self.commit_space(footer) + self.cut_room() + self.shape.guard_bytes();
        let left = self.shape.slot_bytes.saturating_sub(slot.tail).saturating_sub(kept) as usize;
        let trailer = Trailer::encoded_len(self.config.lanes);
        left.saturating_sub(trailer).min(self.commit_room())
    }

    /// How many bytes of entries a commit may have in any segment.
    pub(crate) fn commit_room(&self) -> usize {
        // Behind the commit there is room to pad it, and for the header of another segment.
        let buffer = self.parts.buffer.as_ref().len();
        let padding = 2 * self.shape.units(SEGMENT_HEADERS_BYTES as u32) as usize;
        let trailer = Trailer::encoded_len(self.config.lanes);
        let room = buffer.saturating_sub(padding).min(self.config.commit_max as usize);
        room.saturating_sub(trailer)
    }

    /// Where each unit is written once, what a power cut tore stays: a segment keeps room to say
    /// so behind it, and for the unit that has to be skipped.
    fn cut_room(&self) -> u32 {
        let cut = self.commit_space(0) + self.shape.unit_bytes;
        if self.shape.overwrites { 0 } else { cut }
    }

    fn next_segment_for(&mut self, lane: Lane) -> Result<(), StageError> {
        if self.lane(lane).is_none() && lane != Lane::CONTROL {
            return Err(StageError::Unknown);
        }
        self.rotate(lane).map_err(|error| match error {
            CommitError::LaneFull => StageError::LaneFull,
            CommitError::Media(error) => StageError::Media(error),
        })
    }
}
