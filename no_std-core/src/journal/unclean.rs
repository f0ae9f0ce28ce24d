//! Where appending may go on after an opening that did not end cleanly.

use super::Journal;
use crate::media::{Media, MediaError, Place, SlotIx};
use crate::num::Lane;
use crate::tables::Tables;

impl<M: Media, T: Tables> Journal<M, T> {
    /// On a medium that writes each unit once, the unit that a power cut tore may read blank.
    /// Appending goes on behind all that does not, and behind one unit more: that one is programmed
    /// with zeros, so that it never reads blank again, however often this is cut short. Where
    /// nothing may be torn and all reads blank, appending goes on where it ended: what does not
    /// has rotted.
    pub(crate) fn skip_unclean(&mut self, lane: Lane, torn_end: u32, may_be_torn: bool) {
        let Some(ix) = self.active(lane).filter(|_| !self.shape.overwrites) else { return };
        let tail = self.slot(ix).tail;
        let end = tail.max(torn_end);
        let Ok(used) = self.last_unclean(ix, (end, self.shape.slot_bytes)) else {
            return self.loaded.fail();
        };
        let used = used.unwrap_or(end);
        if !may_be_torn && used == tail {
            return;
        }
        let at = self.shape.units(used);
        let (unit, end) = (self.shape.unit_bytes, self.shape.slot_bytes);
        if at < end {
            self.loaded.forget();
            let zeros = self.parts.buffer.as_mut().get_mut(..unit as usize).unwrap_or_default();
            zeros.fill(0);
            // A medium that refuses has the unit skipped all the same.
            let _ = self.media.program(Place { slot: ix, at }, zeros);
        }
        if let Some(slot) = self.slot_mut(ix) {
            slot.tail = at.saturating_add(unit).min(end);
        }
    }

    /// Behind the last byte between two places of a slot that does not read blank, or can't be
    /// read.
    ///
    /// # Errors
    /// The medium refused to read, so nobody knows.
    pub(crate) fn last_unclean(
        &self,
        ix: SlotIx,
        (from, to): (u32, u32),
    ) -> Result<Option<u32>, MediaError> {
        let (mut used, mut at) = (None, from);
        while at < to {
            let mut part = [0; 64];
            let len = (to - at).min(64) as usize;
            let part = part.get_mut(..len).unwrap_or_default();
            let read = self.media.read(Place { slot: ix, at }, part);
            let last = part.iter().rposition(|byte| *byte != BLANK).map_or(0, |last| last + 1);
            match read {
                Ok(()) if last > 0 => used = Some(at + last as u32),
                Ok(()) => {}
                Err(MediaError::Unreadable) => used = Some(at + len as u32),
                Err(error) => return Err(error),
            }
            at += len as u32;
        }
        Ok(used)
    }
}

/// What an erased byte of flash reads as.
const BLANK: u8 = 0xFF;
