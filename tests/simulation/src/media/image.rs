//! A copy of a disk: a backup to restore, or the start of a clone.

use std::fmt;

use landfall_core::media::Geometry;

/// All bytes of a [`SimDisk`](super::disk::SimDisk) at one moment.
#[derive(Clone, Eq, PartialEq)]
pub struct Image {
    pub(super) shape: Geometry,
    /// By slot; none where no space was reserved.
    pub(super) slots: Vec<Option<Vec<u8>>>,
}

impl Image {
    /// A disk with these bytes by slot; none where no space is reserved.
    pub fn new(shape: Geometry, slots: Vec<Option<Vec<u8>>>) -> Self {
        let fits = |bytes: &Vec<u8>| bytes.len() == shape.slot_bytes as usize;
        assert!(slots.len() == shape.slots as usize && slots.iter().flatten().all(fits));
        Self { shape, slots }
    }

    /// The bytes of a slot, with space for them if there was none.
    pub fn slot_mut(&mut self, slot: usize) -> &mut [u8] {
        self.slots[slot].get_or_insert_with(|| vec![0; self.shape.slot_bytes as usize])
    }

    /// The bytes of all slots that have space, with their numbers.
    pub fn used_mut(&mut self) -> impl Iterator<Item = (usize, &mut [u8])> {
        let slots = self.slots.iter_mut().enumerate();
        slots.filter_map(|(ix, slot)| Some((ix, slot.as_deref_mut()?)))
    }
}

impl fmt::Debug for Image {
    /// Says which slots have space: the bytes would fill screens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots: Vec<bool> = self.slots.iter().map(Option::is_some).collect();
        f.debug_struct("Image").field("slots", &slots).finish_non_exhaustive()
    }
}
