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
