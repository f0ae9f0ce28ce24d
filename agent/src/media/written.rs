//! What the journal's files were given to write, by lane: each byte that a slot was programmed
//! with, and the zeros with which space is reserved where the file system can't do that otherwise.
//!
//! Which lane a slot is of stands in its segment's header, which passes by here. What the file
//! system writes for itself, and what a flash card makes of it, can't be seen from here.

use std::collections::BTreeMap;

use landfall_core::media::{Geometry, SlotIx};
use landfall_core::num::Lane;
use landfall_core::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};

use crate::node::checksum;

/// Bytes since the medium was opened.
#[derive(Clone, Debug, Default)]
pub struct Written {
    lanes: BTreeMap<Lane, u64>,
    slots: BTreeMap<SlotIx, Lane>,
    /// Zeros in a slot that has no header yet.
    zeros: u64,
}

impl Written {
    /// Bytes that were written for a lane; the journal's own notes are those of
    /// [`Lane::CONTROL`].
    #[must_use]
    pub fn of(&self, lane: Lane) -> u64 {
        self.lanes.get(&lane).copied().unwrap_or_default()
    }

    /// Bytes that were written for all lanes.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.lanes.values().sum::<u64>() + self.zeros
    }

    /// A slot's space was reserved by so many zeros. Its header comes next.
    pub(super) fn add_zeros(&mut self, bytes: u64) {
        self.zeros += bytes;
    }

    /// Notes the lane of a slot if these bytes from its start have a header.
    pub(super) fn read_header(&mut self, slot: SlotIx, bytes: &[u8], shape: Geometry) {
        let header = bytes.get(..SEGMENT_HEADER_BYTES);
        let header = header.map(|header| SegmentHeader::decode(header, shape, checksum()));
        if let Some(Ok(header)) = header {
            self.slots.insert(slot, header.lane);
        }
    }

    /// Whether it is known whose slot it is.
    pub(super) fn knows(&self, slot: SlotIx) -> bool {
        self.slots.contains_key(&slot)
    }

    /// So many bytes were given to a slot.
    pub(super) fn add(&mut self, slot: SlotIx, bytes: usize) {
        let lane = self.slots.get(&slot).copied().unwrap_or(Lane::CONTROL);
        *self.lanes.entry(lane).or_default() += bytes as u64 + std::mem::take(&mut self.zeros);
    }

    /// A slot was given back.
    pub(super) fn forget(&mut self, slot: SlotIx) {
        self.slots.remove(&slot);
    }
}

#[cfg(test)]
mod tests {
    use landfall_core::codec::Writer;
    use landfall_core::media::{Media, Place};
    use landfall_core::num::{CommitNo, LogId, Opening, SegmentNo, Seq};

    use super::*;
    use crate::media::{FileMedia, FileShape};

    const SHAPE: FileShape = FileShape { slots: 4, slot_bytes: 16_384, powersafe: false };

    fn header(slot: u32, lane: u8, shape: Geometry) -> Vec<u8> {
        let mut bytes = vec![0; 4_096];
        let header = SegmentHeader {
            lane: Lane::new(lane),
            log: LogId::new(1),
            number: SegmentNo::new(1),
            base_seq: Seq::ZERO,
            base_commit: CommitNo::new(1),
            opening: Opening::new(1),
            entry_max: 1,
            slot: SlotIx(slot),
        };
        header.encode(&mut Writer::new(&mut bytes), shape, checksum()).unwrap();
        bytes
    }

    #[test]
    fn bytes_are_counted_for_the_lane_of_the_header_also_behind_one_of_an_earlier_opening() {
        let dir = tempfile::tempdir().unwrap();
        let place = |slot, at| Place { slot: SlotIx(slot), at };
        let mut media = FileMedia::open(dir.path(), SHAPE).unwrap();
        for (slot, lane) in [(0, 2), (1, 5)] {
            media.erase(SlotIx(slot)).unwrap();
            let header = header(slot, lane, media.geometry());
            media.program(place(slot, 0), &header).unwrap();
        }
        media.program(place(1, 4_096), &[1; 8_192]).unwrap();
        let of = |media: &FileMedia, lane| media.written().of(Lane::new(lane));
        assert_eq!((of(&media, 2), of(&media, 5), of(&media, 0)), (4_096, 12_288, 0));
        assert_eq!(media.written().sum(), 16_384);
        drop(media);

        let mut media = FileMedia::open(dir.path(), SHAPE).unwrap();
        assert_eq!(media.written().sum(), 0);
        media.program(place(0, 4_096), &[1; 4_096]).unwrap();
        assert_eq!((of(&media, 2), media.written().sum()), (4_096, 4_096));
    }
}
