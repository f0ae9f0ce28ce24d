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

impl fmt::Debug for Image {
    /// Says which slots have space: the bytes would fill screens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots: Vec<bool> = self.slots.iter().map(Option::is_some).collect();
        f.debug_struct("Image").field("slots", &slots).finish_non_exhaustive()
    }
}
