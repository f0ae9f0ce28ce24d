//! Retention: dropping the oldest segments of a lane.
//!
//! What only a dropped segment said is in the checkpoint that is written before it is erased.
//!
//! A segment's age is how long the journal has been open since all that the segment holds was found
//! durable. It rests on the time that the caller lets pass, and on no calendar.

use core::ops::ControlFlow;

use super::read::Cursor;
use super::scan::Found;
use super::{CheckpointFault, Journal};
use crate::batch::batches;
use crate::entry::Kind;
use crate::frontier::{BranchIx, BranchName, Frontier, Point};
use crate::gap::GapReason;
use crate::limits::COUNTER_MAX;
use crate::media::{Media, MediaError, Place, SlotIx};
use crate::name::StreamId;
use crate::num::{Lane, Offset, OpenTime, SegmentNo, Seq};
use crate::tables::{Loss, Slot, SlotState, Tables};

/// What a segment holds of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StreamSpan<'a> {
    /// The stream.
    pub stream: StreamId<'a>,
    /// The branch, if the segment's footer tells.
    pub branch: Option<BranchName>,
    /// The first offset.
    pub from: Offset,
    /// Behind the last one.
    pub to: Point,
}

/// A segment that could be dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Oldest {
    /// Its number.
    pub segment: SegmentNo,
    /// The seqs it holds.
    pub seqs: (Seq, Seq),
    /// Since when all that it holds is durable elsewhere, if [`Journal::date_durable`] found it so.
    pub durable_at: Option<OpenTime>,
    /// Bytes of it.
    pub bytes: u32,
}

/// Why a segment was not dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DropError {
    /// The lane has only the segment that is appended to.
    None,
    /// The medium refused to read what the segment holds.
    Media(MediaError),
    /// The checkpoint could not be written; nothing was erased.
    Checkpoint(CheckpointFault),
}

impl<M: Media, T: Tables> Journal<M, T> {
    /// The oldest segment of a lane that is appended to no more.
    pub fn oldest(&self, lane: Lane) -> Option<Oldest> {
        let ix = self.next_slot(lane, SegmentNo::ZERO)?;
        let slot = self.slot(ix);
        if slot.state != SlotState::Sealed {
            return None;
        }
        let after = self.next_slot(lane, slot.number.plus(1)).map(|ix| self.slot(ix).base_seq);
        let seqs = (slot.base_seq, after.unwrap_or(slot.base_seq));
        let (segment, durable_at, bytes) = (slot.number, slot.durable_at, slot.tail);
        Some(Oldest { segment, seqs, durable_at, bytes })
    }

    /// Calls `tell` with what the oldest segment of a lane holds of each stream: from its footer,
    /// or batch by batch if that is missing or damaged. `buffer` must hold the largest entry.
    ///
    /// # Errors
    /// The medium refused to read; not all was told.
    pub fn tell_oldest(
        &self,
        lane: Lane,
        buffer: &mut [u8],
        tell: &mut dyn FnMut(StreamSpan<'_>),
    ) -> Result<(), MediaError> {
        let Some(ix) = self.next_slot(lane, SegmentNo::ZERO) else { return Ok(()) };
        self.tell(ix, buffer, &mut |span| {
            tell(span);
            ControlFlow::Continue(())
        })
    }

    /// The same for the first segment of a lane whose number is not below `from`. Returns its
    /// number; none if there is none.
    ///
    /// # Errors
    /// The medium refused to read; not all was told.
    pub fn tell_segment(
        &self,
        lane: Lane,
        from: SegmentNo,
        buffer: &mut [u8],
        tell: &mut dyn FnMut(StreamSpan<'_>),
    ) -> Result<Option<SegmentNo>, MediaError> {
        let Some(ix) = self.next_slot(lane, from) else { return Ok(None) };
        self.tell(ix, buffer, &mut |span| {
            tell(span);
            ControlFlow::Continue(())
        })?;
        Ok(Some(self.slot(ix).number))
    }

    /// Tells what a slot's segment holds of each stream, until `tell` has heard enough.
    fn tell(
        &self,
        ix: SlotIx,
        buffer: &mut [u8],
        tell: &mut dyn FnMut(StreamSpan<'_>) -> ControlFlow<()>,
    ) -> Result<(), MediaError> {
        let mut heard = ControlFlow::Continue(());
        let told = self.tell_footer(ix, buffer, &mut |span| {
            if heard.is_continue() {
                heard = tell(span);
            }
        })?;
        if told {
            return Ok(());
        }
        self.walk(ix, buffer, &mut |found, body| {
            let data = found.header.kind == Kind::Data;
            let batches = batches(body, self.config.checksum).map_while(Result::ok);
            for batch in batches.filter(|_| data) {
                let head = batch.head;
                let hash = Some(head.after);
                let to = Point { epoch: head.epoch, next: head.end(), hash };
                tell(StreamSpan { stream: head.stream, branch: None, from: head.base, to })?;
            }
            ControlFlow::Continue(())
        })
    }

    /// Whether all that the oldest segment of a lane holds is durable at the root, or at the next
    /// node if `hop`.
    pub fn oldest_is_durable(&self, lane: Lane, hop: bool, buffer: &mut [u8]) -> bool {
        let oldest = self.next_slot(lane, SegmentNo::ZERO);
        oldest.is_none_or(|ix| self.is_durable(ix, hop, buffer))
    }

    fn is_durable(&self, ix: SlotIx, hop: bool, buffer: &mut [u8]) -> bool {
        let mut durable = ControlFlow::Continue(());
        let told = self.tell(ix, buffer, &mut |span| {
            let held = self.parts.frontier.find(span.stream).is_some_and(|ix| {
                let mut branches = self.parts.frontier.branches(ix);
                branches.any(|(_, branch)| {
                    let named = span.branch.is_none_or(|name| name == (branch.first, branch.from));
                    let promised = if hop { branch.hop } else { branch.root };
                    named && span.to.next <= promised
                })
            });
            if !held {
                durable = ControlFlow::Break(());
            }
            durable
        });
        durable.is_continue() && told.is_ok()
    }

    /// Notes that segments of a lane are durable from now on, the oldest first, as far as all that
    /// they hold is: at the root, or at the next node if `hop`. Only so many are looked at in a
    /// call. `buffer` must hold the largest entry.
    pub fn date_durable(&mut self, lane: Lane, hop: bool, buffer: &mut [u8]) {
        for _ in 0..DATED_AT_ONCE {
            let Some(ix) = self.first_undated(lane) else { return };
            if !self.is_durable(ix, hop, buffer) {
                return;
            }
            let since = self.open_time;
            if let Some(slot) = self.slot_mut(ix) {
                slot.durable_at = Some(since);
            }
        }
    }

    fn first_undated(&self, lane: Lane) -> Option<SlotIx> {
        let slots = self.parts.slots.as_ref().iter().enumerate();
        let undated = slots.filter(|(_, slot)| {
            slot.state == SlotState::Sealed && slot.lane == lane && slot.durable_at.is_none()
        });
        undated.min_by_key(|(_, slot)| slot.number).map(|(ix, _)| SlotIx(ix as u32))
    }

    /// The journal has been open for so many milliseconds more. Now and then, while segments age,
    /// this makes a checkpoint due, so that a power cut does not make them young again.
    pub fn pass_time(&mut self, millis: u64) {
        let passed = self.open_time.get().saturating_add(millis);
        self.open_time = OpenTime::new(passed.min(COUNTER_MAX));
        let stored = self.open_time.since(self.open_time_stored);
        let ages = |slot: &Slot| slot.durable_at.is_some();
        self.checkpoint_due |=
            stored >= TIME_STORED_EVERY_MS && self.parts.slots.as_ref().iter().any(ages);
    }

    /// Drops the oldest segment of a lane. If its records are not durable elsewhere, `reason` says
    /// why they go all the same, and a loss tells which.
    ///
    /// # Errors
    /// See [`DropError`].
    pub fn drop_oldest(
        &mut self,
        lane: Lane,
        reason: Option<GapReason>,
        buffer: &mut [u8],
    ) -> Result<(), DropError> {
        assert!(self.staging.entries == 0, "segments are dropped between commits");
        self.land().map_err(|error| DropError::Checkpoint(error.into()))?;
        let oldest = self.oldest(lane).ok_or(DropError::None)?;
        let ix = self.next_slot(lane, SegmentNo::ZERO).ok_or(DropError::None)?;
        if let Some(reason) = reason {
            self.lose_oldest(lane, &oldest, reason, buffer).map_err(DropError::Media)?;
        }
        let slot = self.slot(ix);
        let before = self.lane(lane).copied().unwrap_or_default();
        self.clear_slot(ix);
        if let Some(state) = self.lane_mut(lane) {
            state.floor = slot.number.plus(1);
            state.first = oldest.seqs.1;
        }
        if let Err(fault) = self.checkpoint(false) {
            if let Some(place) = self.slot_mut(ix) {
                *place = slot;
            }
            if let Some(state) = self.lane_mut(lane) {
                (state.floor, state.first) = (before.floor, before.first);
            }
            return Err(DropError::Checkpoint(fault));
        }
        // If the space can't be given back now, the slot is written over when it is needed.
        let _ = self.media.free(ix);
        Ok(())
    }

    fn lose_oldest(
        &mut self,
        lane: Lane,
        oldest: &Oldest,
        reason: GapReason,
        buffer: &mut [u8],
    ) -> Result<(), MediaError> {
        let mut losses = crate::tables::Ring::new([Loss::default(); LOSSES_AT_ONCE]);
        self.tell_oldest(lane, buffer, &mut |span| {
            let Some(ix) = self.parts.frontier.find(span.stream) else { return };
            let named = span.branch.and_then(|name| self.parts.frontier.named(ix, name));
            let branch = named.unwrap_or(BranchIx::MAIN);
            let held = self.parts.frontier.branch(ix, branch);
            let root = held.map(|held| held.root).unwrap_or_default();
            if span.to.next > root {
                losses.push(Loss {
                    lane,
                    first: oldest.seqs.0,
                    end: oldest.seqs.1,
                    stream: Some((ix, branch)),
                    from: span.from.max(root),
                    to: span.to.next,
                    after: span.to.hash,
                    reason: Some(reason),
                });
            }
        })?;
        for loss in losses.all() {
            self.join_loss(*loss);
        }
        if losses.forgotten() > 0 {
            let (first, end) = oldest.seqs;
            let reason = Some(reason);
            self.parts.losses.push(Loss { lane, first, end, reason, ..Loss::default() });
        }
        Ok(())
    }

    /// Adds a loss, or lets one that it goes on from grow.
    fn join_loss(&mut self, loss: Loss) {
        let same = |known: &Loss| known.stream == loss.stream && known.reason == loss.reason;
        let covers = |known: &Loss| known.from <= loss.from && known.to >= loss.to;
        // The drop before may have failed after its losses were noted.
        if self.parts.losses.all().iter().any(|known| same(known) && covers(known)) {
            return;
        }
        let meets = |known: &&mut Loss| same(known) && known.to == loss.from;
        match self.parts.losses.all_mut().iter_mut().find(meets) {
            Some(known) => {
                (known.end, known.to, known.after) = (loss.end, loss.to, loss.after);
            }
            None => self.parts.losses.push(loss),
        }
    }

    /// Goes through the entries of a slot, apart from those that the buffer is too small for.
    fn walk(&self, ix: SlotIx, buffer: &mut [u8], see: SeeEntry<'_>) -> Result<(), MediaError> {
        let slot = self.slot(ix);
        let mut cursor = Cursor { segment: slot.number, ..Cursor::default() };
        while let Some(found) = self.step(ix, slot.tail, &cursor, buffer)? {
            cursor.at = found.next;
            cursor.newest = (found.header.opening, found.header.commit);
            let place = Place { slot: ix, at: found.at + found.header.body_at() as u32 };
            let body = buffer.get_mut(..found.header.body_len as usize);
            let Some(body) = body else { continue };
            match self.media.read(place, body) {
                Ok(()) => {
                    if see(&found, body).is_break() {
                        return Ok(());
                    }
                }
                Err(MediaError::Unreadable) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Takes an entry of a slot and its body, and says whether to go on.
type SeeEntry<'a> = &'a mut dyn FnMut(&Found, &[u8]) -> ControlFlow<()>;

/// Segments that are dated in one call. Each costs reading a footer.
const DATED_AT_ONCE: usize = 16;
/// Milliseconds of age that a power cut may take off.
const TIME_STORED_EVERY_MS: u64 = 10 * 60 * 1_000;

/// Streams of a dropped segment that are told one by one; of more, only the seqs are told.
const LOSSES_AT_ONCE: usize = 64;
