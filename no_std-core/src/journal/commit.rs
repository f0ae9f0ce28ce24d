//! Committing: what is staged becomes durable, or leaves no trace.

use super::Journal;
use super::stage::Staging;
use crate::codec::Writer;
use crate::entry::{EntryHeader, Standing, Trailer};
use crate::frontier::Frontier;
use crate::limits::LANES_MAX;
use crate::media::{Media, MediaError, Place, SlotIx};
use crate::num::{CommitNo, Lane, Seq};
use crate::tables::{Slot, Tables};

/// Why a commit was given up. Nothing of it will be readable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum CommitError {
    /// The lane needs another segment and has used its budget.
    LaneFull,
    /// The medium failed, and so did writing elsewhere.
    Media(MediaError),
}

impl From<MediaError> for CommitError {
    fn from(error: MediaError) -> Self {
        Self::Media(error)
    }
}

impl core::fmt::Display for CommitError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::LaneFull => f.write_str("the lane has used its budget"),
            Self::Media(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for CommitError {}

/// How often a commit is written elsewhere before it is given up.
pub(crate) const ATTEMPTS: usize = 3;

impl<M: Media, T: Tables> Journal<M, T> {
    /// Makes what is staged durable, and what is in flight. Returns the number of the commit, or
    /// none if nothing was staged.
    ///
    /// # Errors
    /// The commit was given up: what was staged is gone, and all is as it was before.
    pub fn commit(&mut self) -> Result<Option<CommitNo>, CommitError> {
        let committed = self.commit_staged()?;
        if self.checkpoint_due {
            // The commit is durable whatever becomes of the checkpoint, which stays due.
            let _ = self.checkpoint(false);
        }
        Ok(committed)
    }

    pub(crate) fn commit_staged(&mut self) -> Result<Option<CommitNo>, CommitError> {
        self.close_entry();
        let (Some(lane), true) = (self.staging.lane, self.staging.entries > 0) else {
            self.staging = Staging::default();
            return self.land().map(|()| None);
        };
        let outcome = self
            .land()
            .and_then(|()| self.write_staged(lane).or_else(|_| self.write_elsewhere(lane)));
        self.settle_if(lane, outcome).map(Some)
    }

    /// Settles what is staged if it was written, or gives it up.
    pub(crate) fn settle_if(
        &mut self,
        lane: Lane,
        written: Result<(), CommitError>,
    ) -> Result<CommitNo, CommitError> {
        if let Err(error) = written {
            // Part of the commit may stand where it was tried. Until recovery has looked, another
            // commit of the same number could be taken for it.
            self.failed = true;
            self.abandon();
            return Err(error);
        }
        Ok(self.settle(lane))
    }

    /// Writes what is staged to another segment, because the lane's active one failed.
    pub(crate) fn write_elsewhere(&mut self, lane: Lane) -> Result<(), CommitError> {
        let mut outcome = Err(CommitError::Media(MediaError::Failed));
        for _ in 1..ATTEMPTS {
            self.poison(lane)?;
            outcome = self.write_staged(lane);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    /// Ends a lane's segment with its footer and begins the next one.
    pub(crate) fn rotate(&mut self, lane: Lane) -> Result<(), CommitError> {
        assert!(self.staging.entries == 0, "a segment is sealed between commits");
        self.land()?;
        let next = self.erase_free(lane)?;
        let sealed = lane == Lane::CONTROL || self.write_footer(lane);
        self.checkpoint_due |= lane != Lane::CONTROL;
        let begun = self.begin_segment(lane, next);
        // Behind a footer that was torn nothing may be appended.
        self.failed |= begun.is_err() && !sealed;
        begun
    }

    pub(crate) fn settle(&mut self, lane: Lane) -> CommitNo {
        let commit = self.next_commit;
        self.next_commit = commit.plus(1);
        let staging = core::mem::take(&mut self.staging);
        if let Some(state) = self.lane_mut(lane) {
            state.next = staging.next;
        }
        self.parts.frontier.settle();
        self.parts.producers.settle();
        commit
    }

    /// Programs and syncs what is staged into the lane's active segment.
    fn write_staged(&mut self, lane: Lane) -> Result<(), CommitError> {
        let active = self.active(lane).ok_or(CommitError::LaneFull)?;
        let slot = self.program_staged(lane, active)?;
        self.media.sync(active)?;
        if let Some(place) = self.slot_mut(active) {
            *place = slot;
        }
        Ok(())
    }

    /// Programs what is staged. Returns the slot as it is once that is synced.
    pub(crate) fn program_staged(
        &mut self,
        lane: Lane,
        active: SlotIx,
    ) -> Result<Slot, MediaError> {
        let slot = self.slot(active);
        let first = self.lane(lane).map(|state| state.next).unwrap_or_default();
        let (len, last_crc) = self.seal_staged(active);
        let bytes = self.parts.buffer.as_ref().get(..len).unwrap_or_default();
        self.media.program(Place { slot: active, at: slot.tail }, bytes)?;
        let tail = slot.tail + len as u32;
        Ok(Slot { last_at: slot.tail, last_seq: first, tail, last_crc, ..slot })
    }

    /// Fills in what depends on where and when the commit is written. Returns its length in whole
    /// units, with the guard, and the checksum of its last header.
    fn seal_staged(&mut self, active: SlotIx) -> (usize, u32) {
        let slot = self.slot(active);
        let checksum = self.config.checksum;
        let staging = self.staging;
        let trailer = self.trailer();
        let buffer = self.parts.buffer.as_mut();
        let (mut at, mut before) = (0, slot.last_crc);
        for index in 0..staging.entries {
            let entry = buffer.get_mut(at..staging.len).unwrap_or_default();
            let Ok(staged) = EntryHeader::decode(entry) else { break };
            let header = EntryHeader {
                last: index + 1 == staging.entries,
                commit: self.next_commit,
                opening: self.opening,
                before,
                ..staged
            };
            let standing =
                Standing { log: self.log, segment: slot.number, at: slot.tail + at as u32 };
            before = header.seal(entry, standing, checksum);
            at += header.stride();
        }
        let rest = buffer.get_mut(staging.len..).unwrap_or_default();
        let mut writer = Writer::new(rest);
        let written = trailer.encode(&mut writer, before, checksum);
        assert!(written.is_ok(), "room was left for the trailer");
        let end = staging.len + writer.len();
        let len = (self.shape.units(end as u32) + self.shape.guard_bytes()) as usize;
        if let Some(padding) = buffer.get_mut(end..len) {
            padding.fill(0);
        }
        (len, before)
    }

    fn trailer(&self) -> Trailer {
        let mut next = [Seq::ZERO; LANES_MAX];
        next.iter_mut().zip(&self.lanes).for_each(|(to, lane)| *to = lane.next);
        let staged = self.staging.lane.and_then(|lane| next.get_mut(usize::from(lane.get())));
        if let Some(seq) = staged {
            *seq = self.staging.next;
        }
        Trailer { entries: self.staging.entries, lanes: self.config.lanes, next }
    }

    /// Gives up the lane's active segment: what is in it up to now was synced and stays.
    fn poison(&mut self, lane: Lane) -> Result<(), CommitError> {
        self.poisoned += 1;
        let next = self.erase_free(lane)?;
        self.begin_segment(lane, next)?;
        // The frontier's marks still name the segment that was given up.
        if let Some(slot) = self.slot_mut(next) {
            slot.footer_known = false;
        }
        self.checkpoint_due |= lane != Lane::CONTROL;
        Ok(())
    }

    /// Writes the footer of a lane's segment, if it can have one. Returns whether the segment ends
    /// cleanly: one without a footer is read instead, and the next one voids a torn footer.
    fn write_footer(&mut self, lane: Lane) -> bool {
        let Some(active) = self.active(lane) else { return true };
        let slot = self.slot(active);
        let len = self.commit_space(slot.footer_bytes as usize);
        let fits = slot.tail.saturating_add(len) <= self.shape.slot_bytes
            && slot.footer_bytes <= self.config.entry_max
            && len as usize <= self.parts.buffer.as_ref().len();
        if !slot.footer_known || slot.footer_bytes == 0 || !fits {
            return true;
        }
        self.stage_footer(active);
        let written = self.write_staged(lane).is_ok();
        if written {
            self.settle(lane);
        } else {
            self.staging = Staging::default();
        }
        written
    }
}
