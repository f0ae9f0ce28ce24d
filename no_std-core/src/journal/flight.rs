//! A commit in flight: written, being synced, while the next one is staged.
//!
//! ```text
//! commit_ahead    land n-1 → program n → begin its sync ┐
//! stage …                          (n+1)                │ the medium syncs n
//! commit_ahead    land n   ◀────────────────────────────┘ → program n+1 → …
//! ```
//!
//! In memory the commit is settled when it is written: what is staged behind it goes on from it.
//! Only [`Journal::land`] makes it true. Whatever else writes to the medium lands it first.

use super::stage::Staging;
use super::{CommitError, Journal};
use crate::media::{Media, MediaError, SlotIx};
use crate::num::{CommitNo, Lane, Seq};
use crate::tables::{Slot, Tables};

/// What it takes to write a commit again elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight {
    lane: Lane,
    commit: CommitNo,
    staging: Staging,
    /// The lane's next seq before it.
    first: Seq,
    slot: SlotIx,
    /// The slot before it.
    before: Slot,
}

impl<M: Media, T: Tables> Journal<M, T> {
    /// The last commit, if it may not be synced yet.
    pub fn in_flight(&self) -> Option<CommitNo> {
        self.flight.map(|flight| flight.commit)
    }

    /// The last commit that is known to be synced.
    pub fn synced_commit(&self) -> CommitNo {
        let before = self.in_flight().and_then(CommitNo::before);
        before.unwrap_or_else(|| self.last_commit())
    }

    /// Whether a commit that was in flight could not be made durable. What is known in memory is
    /// more than the medium holds, and nobody may hear of it.
    pub fn has_lost_flight(&self) -> bool {
        self.lost_flight
    }

    /// Whether the commit being staged may have no room for the largest entry.
    pub fn is_full(&self) -> bool {
        let lane = self.staging.lane;
        lane.is_some_and(|lane| !self.has_room(lane, self.config.entry_max as usize))
    }

    /// Writes what is staged, and returns when everything before it is durable. The commit itself
    /// is durable when [`Journal::land`] has returned; meanwhile the next one can be staged. Where
    /// there is no memory for that, it is made durable like any other.
    ///
    /// # Errors
    /// Like [`Journal::commit`].
    pub fn commit_ahead(&mut self) -> Result<Option<CommitNo>, CommitError> {
        self.close_entry();
        if self.staging.entries == 0 && !self.checkpoint_due {
            self.staging = Staging::default();
            return Ok(None);
        }
        if !T::FLIES || self.staging.entries == 0 || self.land().is_err() {
            return self.commit();
        }
        let place = self.staging.lane.and_then(|lane| Some((lane, self.active(lane)?)));
        let Some((lane, slot)) = place else { return self.commit() };
        let commit = match self.program_staged(lane, slot) {
            Ok(after) => self.depart(lane, slot, after),
            Err(_) => {
                let outcome = self.write_elsewhere(lane);
                self.settle_if(lane, outcome)?
            }
        };
        if self.checkpoint_due {
            // It stays due if it fails.
            let _ = self.checkpoint(false);
        }
        Ok(Some(commit))
    }

    /// Returns when the last commit is durable. If its sync fails, it is written again elsewhere.
    ///
    /// # Errors
    /// The journal has failed, now or before; see [`Journal::has_lost_flight`].
    pub fn land(&mut self) -> Result<(), CommitError> {
        match self.flight.take() {
            Some(flight) => self.media.sync(flight.slot).or_else(|_| self.write_again(flight)),
            None if self.failed => Err(CommitError::Media(MediaError::Failed)),
            None => Ok(()),
        }
    }

    /// What is staged was programmed: begins to sync it, and makes room for the next commit.
    fn depart(&mut self, lane: Lane, slot: SlotIx, after: Slot) -> CommitNo {
        self.media.sync_soon(slot);
        let before = self.slot(slot);
        if let Some(place) = self.slot_mut(slot) {
            *place = after;
        }
        T::swap(&mut self.parts.buffer, &mut self.parts.aside);
        let (commit, staging) = (self.next_commit, self.staging);
        self.flight = Some(Flight { lane, commit, staging, slot, before, first: after.last_seq });
        self.settle(lane)
    }

    /// Goes back to before the commit was written, and writes it elsewhere.
    fn write_again(&mut self, flight: Flight) -> Result<(), CommitError> {
        let Flight { lane, commit, first, .. } = flight;
        let next = core::mem::replace(&mut self.staging, flight.staging);
        T::swap(&mut self.parts.buffer, &mut self.parts.aside);
        self.next_commit = commit;
        if let Some(state) = self.lane_mut(lane) {
            state.next = first;
        }
        if let Some(place) = self.slot_mut(flight.slot) {
            *place = flight.before;
        }
        let outcome = self.write_elsewhere(lane);
        self.next_commit = commit.plus(1);
        if let Some(state) = self.lane_mut(lane) {
            state.next = flight.staging.next;
        }
        self.staging = next;
        T::swap(&mut self.parts.buffer, &mut self.parts.aside);
        if outcome.is_err() {
            self.failed = true;
            self.lost_flight = true;
            self.abandon();
        }
        outcome
    }
}
