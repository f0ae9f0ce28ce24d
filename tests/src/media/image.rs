//! A copy of a disk: a backup to restore, or the start of a clone.

use landfall_core::media::Geometry;

/// All bytes of a [`SimDisk`](super::disk::SimDisk) at one moment.
#[derive(Clone, Eq, PartialEq)]
pub struct Image {
    pub(super) shape: Geometry,
    /// By slot; none where no space was reserved.
    pub(super) slots: Vec<Option<Vec<u8>>>,
}
