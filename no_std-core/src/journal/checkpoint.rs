//! Checkpoints: all that the node knows of its journal, in the control lane.
//!
//! The control lane's two slots are written in turn. A checkpoint lies in one of them as a whole,
//! and the other is erased only when this one holds a complete checkpoint.

use super::items::{ITEM_BYTES_MAX, ITEM_HEAD_BYTES, ItemCursor};
use super::{CommitError, Journal};
use crate::codec::Writer;
use crate::entry::{ENTRY_HEADER_BYTES, Kind, TRAILER_BYTES_MAX};
use crate::media::Media;
use crate::num::Lane;
use crate::segment::entries_at;
use crate::tables::Tables;

/// Why a checkpoint was not written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum CheckpointFault {
    /// What the node knows does not fit a slot. The medium needs larger slots.
    TooLarge,
    /// The medium failed.
    Commit(CommitError),
}

impl From<CommitError> for CheckpointFault {
    fn from(error: CommitError) -> Self {
        Self::Commit(error)
    }
}

impl<M: Media, T: Tables> Journal<M, T> {
    /// Writes a checkpoint. `clean` says that nothing will be appended under this opening any more.
    ///
    /// # Errors
    /// The journal goes on from the checkpoint before.
    pub fn checkpoint(&mut self, clean: bool) -> Result<(), CheckpointFault> {
        assert!(self.staging.entries == 0, "a checkpoint is written between commits");
        self.abandon();
        // Landing may change what is to be written.
        self.land()?;
        let largest = self.shape.slot_bytes - entries_at(self.shape);
        let bare = self.checkpoint_size(clean, false) > largest;
        let size = self.checkpoint_size(clean, bare);
        if size > largest {
            return Err(CheckpointFault::TooLarge);
        }
        let fits = self.active(Lane::CONTROL).is_some_and(|active| {
            self.slot(active).tail.saturating_add(size) <= self.shape.slot_bytes
        });
        if !fits {
            self.rotate(Lane::CONTROL)?;
        }
        let mut cursor = ItemCursor::new(bare);
        let mut scratch = [0; ITEM_BYTES_MAX];
        loop {
            let mut writer = Writer::new(&mut scratch);
            match self.next_item(&mut cursor, clean, &mut writer) {
                Ok(true) => self.stage_item_bytes(writer.written())?,
                Ok(false) => break,
                Err(_) => return Err(CheckpointFault::TooLarge),
            }
        }
        self.end_entry(Kind::Checkpoint);
        self.commit_staged()?;
        self.checkpoint_due = false;
        self.control_whole = true;
        self.open_time_stored = self.open_time;
        Ok(())
    }

    /// An upper bound for the bytes of a checkpoint on the medium.
    fn checkpoint_size(&self, clean: bool, bare: bool) -> u32 {
        let mut cursor = ItemCursor::new(bare);
        let mut scratch = [0; ITEM_BYTES_MAX];
        let mut bytes = 0_u64;
        loop {
            let mut writer = Writer::new(&mut scratch);
            if self.next_item(&mut cursor, clean, &mut writer) != Ok(true) {
                break;
            }
            bytes += (ITEM_HEAD_BYTES + writer.len()) as u64;
        }
        // Each entry and each commit that it is split into has its own overhead.
        let entry = u64::from(self.entry_room()).max(1);
        let commit = self.commit_room() as u64 / 2;
        let entries = bytes.div_ceil(entry) * (ENTRY_HEADER_BYTES as u64 + 16);
        let padding = u64::from(self.shape.unit_bytes + self.shape.guard_bytes());
        let commit_overhead = TRAILER_BYTES_MAX as u64 + padding;
        let commits = (bytes / commit.max(1) + 1) * commit_overhead;
        u32::try_from(bytes + entries + commits).unwrap_or(u32::MAX)
    }

    /// The body bytes that an entry of a checkpoint is filled with.
    fn entry_room(&self) -> u32 {
        let commit = self.commit_room() as u32 / 2;
        self.config.entry_max.min(commit).saturating_sub(ITEM_BYTES_MAX as u32)
    }

    fn stage_item_bytes(&mut self, item: &[u8]) -> Result<(), CheckpointFault> {
        let Some((tag, body)) = item.split_first() else { return Ok(()) };
        if !self.entry_has_room(self.entry_room() as usize) {
            self.end_entry(Kind::Checkpoint);
            let another = self.entry_room() as usize + ENTRY_HEADER_BYTES + ITEM_BYTES_MAX + 16;
            if self.staging.len + another > self.commit_room() {
                self.commit_staged()?;
            }
            self.begin_control_entry(Lane::CONTROL);
        }
        let mut head = [*tag, 0, 0];
        let len = (body.len() as u16).to_le_bytes();
        head.iter_mut().skip(1).zip(len).for_each(|(to, from)| *to = from);
        self.put_bytes(&head);
        self.put_bytes(body);
        Ok(())
    }
}
