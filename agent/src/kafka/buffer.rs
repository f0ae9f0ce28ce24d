//! The medium of the bridge's journal: memory. What is durable is in Kafka, and what is lost with
//! the memory comes again from the nodes below.

use landfall_core::media::{Geometry, Media, MediaError, Place, SlotIx};

/// Slots in memory; each takes no more than was written to it.
#[derive(Debug)]
pub(super) struct Buffer {
    slots: Vec<Vec<u8>>,
    slot_bytes: u32,
}

/// Bytes that are written together: entries begin at multiples of this anyway.
const UNIT_BYTES: u32 = 8;

impl Buffer {
    /// `slots` slots of up to `slot_bytes`, a multiple of 8.
    #[must_use]
    pub(super) fn new(slots: u32, slot_bytes: u32) -> Self {
        assert!(slot_bytes.is_multiple_of(UNIT_BYTES), "a slot is a number of units");
        Self { slots: vec![Vec::new(); slots as usize], slot_bytes }
    }

    fn slot(&mut self, slot: SlotIx) -> Result<&mut Vec<u8>, MediaError> {
        self.slots.get_mut(slot.0 as usize).ok_or(MediaError::Failed)
    }
}

impl Media for Buffer {
    fn geometry(&self) -> Geometry {
        let slots = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let slot_bytes = self.slot_bytes;
        Geometry { slots, slot_bytes, unit_bytes: UNIT_BYTES, overwrites: true }
    }

    fn read(&self, place: Place, buffer: &mut [u8]) -> Result<(), MediaError> {
        let slot = self.slots.get(place.slot.0 as usize).ok_or(MediaError::Failed)?;
        let written = slot.get(place.at as usize..).unwrap_or_default();
        let len = written.len().min(buffer.len());
        let (told, blank) = buffer.split_at_mut(len);
        told.copy_from_slice(written.get(..len).unwrap_or_default());
        blank.fill(0);
        Ok(())
    }

    fn program(&mut self, place: Place, bytes: &[u8]) -> Result<(), MediaError> {
        let most = self.slot_bytes as usize;
        let slot = self.slot(place.slot)?;
        let start = place.at as usize;
        let end = start + bytes.len();
        if end > most {
            return Err(MediaError::Failed);
        }
        if slot.len() < end {
            slot.resize(end, 0);
        }
        slot.get_mut(start..end).ok_or(MediaError::Failed)?.copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self, _: SlotIx) -> Result<(), MediaError> {
        Ok(())
    }

    fn erase(&mut self, slot: SlotIx) -> Result<(), MediaError> {
        self.slot(slot).map(Vec::clear)
    }

    fn free(&mut self, slot: SlotIx) -> Result<(), MediaError> {
        self.slot(slot).map(|slot| *slot = Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_the_rest_is_blank() {
        let mut buffer = Buffer::new(2, 64);
        let place = |at| Place { slot: SlotIx(1), at };
        buffer.program(place(8), b"abcdefgh").unwrap();
        let mut read = [9; 24];
        buffer.read(place(4), &mut read).unwrap();
        assert_eq!(&read, b"\0\0\0\0abcdefgh\0\0\0\0\0\0\0\0\0\0\0\0");
        buffer.erase(SlotIx(1)).unwrap();
        buffer.read(place(8), &mut read).unwrap();
        assert_eq!(read, [0; 24]);
    }

    #[test]
    fn nothing_is_written_beyond_a_slot() {
        let mut buffer = Buffer::new(1, 16);
        let place = |slot, at| Place { slot: SlotIx(slot), at };
        assert_eq!(buffer.program(place(0, 16), &[1]), Err(MediaError::Failed));
        assert_eq!(buffer.program(place(1, 0), &[1]), Err(MediaError::Failed));
    }
}
