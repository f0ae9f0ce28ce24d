//! The journal: what a node has, in the order it got it.
//!
//! Appends are *staged* and then *committed*: programmed and synced together. Nothing counts before
//! its commit is synced; a commit that fails leaves no trace in memory.
//!
//! - A commit lies in one lane and in one segment, begins at a write unit, and never touches a unit
//!   of an earlier commit. Commit n+1 is not written before n is synced, though it may be staged.
//!   So a power cut can tear the last commit only.
//! - The control lane has two slots of its own, written in turn, and holds checkpoints. Each
//!   opening, each clean close and each change of segments writes one.
//! - A failed sync poisons a segment: what was in flight is written again elsewhere.

mod checkpoint;
mod commit;
mod flight;
mod footer;
mod items;
mod load;
mod open;
mod read;
mod recover;
mod replay;
mod retain;
mod room;
mod salvage;
mod scan;
mod segments;
mod snapshot;
mod spans;
mod stage;
mod unclean;
mod verify;
mod window;

pub use checkpoint::CheckpointFault;
pub use commit::CommitError;
pub use open::{Fresh, OpenError, Recovery, Torn};
pub use read::{Cursor, Entry, ReadStep, Reader};
pub use retain::{DropError, Oldest, StreamSpan};
pub use snapshot::Keep;
pub use stage::{StageError, Staged};
pub use verify::{Fault, Finding, Tell};

use crate::checksum::Checksum;
use crate::heard::Promises;
use crate::limits::{COMMIT_BYTES_MAX, ENTRY_BYTES_MAX, LANES_MAX};
use crate::media::{Geometry, Media, SlotIx};
use crate::num::{CommitNo, Epoch, Lane, LogId, OpenTime, Opening, SegmentNo, Seq};
use crate::tables::{Loss, OpeningNote, Parts, Slot, SlotState, Tables};

/// The first two slots belong to the control lane.
pub const CONTROL_SLOTS: u32 = 2;

/// What a journal must know before it is opened.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How CRC-32C is computed.
    pub checksum: Checksum,
    /// How many lanes the node has, at most [`LANES_MAX`].
    pub lanes: u8,
    /// How many slots each lane may use, besides the control lane's two.
    pub slots: [u32; LANES_MAX],
    /// The longest body, at most [`ENTRY_BYTES_MAX`]. Half a slot must hold it.
    pub entry_max: u32,
    /// The most bytes that are synced together, at most [`COMMIT_BYTES_MAX`].
    pub commit_max: u32,
    /// Records are joined into entries up to this size while they are staged.
    pub join_max: u32,
}

/// A journal over a medium.
pub struct Journal<M: Media, T: Tables> {
    media: M,
    config: Config,
    shape: Geometry,
    parts: Parts<T>,
    log: LogId,
    epoch: Epoch,
    opening: Opening,
    next_commit: CommitNo,
    next_segment: SegmentNo,
    lanes: [LaneState; LANES_MAX],
    control: Option<SlotIx>,
    /// Whether the control lane's active segment has a whole checkpoint.
    control_whole: bool,
    /// What recovery has in the buffer.
    loaded: window::Loaded,
    staging: stage::Staging,
    /// The commit that is written and may not be synced yet.
    flight: Option<flight::Flight>,
    lost_flight: bool,
    checkpoint_due: bool,
    poisoned: u64,
    failed: bool,
    heard: Promises,
    open_time: OpenTime,
    /// What the last checkpoint says of it.
    open_time_stored: OpenTime,
}

/// Where a lane stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LaneState {
    /// The next seq, after what is written.
    next: Seq,
    /// The first seq that is still here.
    first: Seq,
    /// The segment that is appended to.
    active: Option<SlotIx>,
    /// Segments with a lower number are dropped.
    floor: SegmentNo,
    /// The segment that was appended to when the checkpoint was written that was loaded, or the
    /// number of the next one if there was none.
    checkpointed: Option<SegmentNo>,
}

impl<M: Media, T: Tables> Journal<M, T> {
    /// The medium.
    pub fn media(&self) -> &M {
        &self.media
    }

    /// The identity of the journal.
    pub fn log(&self) -> LogId {
        self.log
    }

    /// The epoch of this opening.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The latest openings, this one last.
    pub fn openings(&self) -> &[OpeningNote] {
        self.parts.openings.all()
    }

    /// The last commit that was written. It is synced, unless it is [in flight](Self::in_flight).
    pub fn last_commit(&self) -> CommitNo {
        self.next_commit.before().unwrap_or_default()
    }

    /// How far each stream has come, with what is staged.
    pub fn frontier(&self) -> &T::Frontier {
        &self.parts.frontier
    }

    /// How far each stream has come, to make streams known and note promises. Batches move it only
    /// through the journal.
    pub fn frontier_mut(&mut self) -> &mut T::Frontier {
        &mut self.parts.frontier
    }

    /// The last sequence of a producer, with what is staged.
    pub fn producer(&self, id: crate::num::ProducerId) -> Option<u64> {
        self.parts.producers.last(id)
    }

    /// How many producers were forgotten for want of room.
    pub fn producers_evicted(&self) -> u64 {
        self.parts.producers.evicted()
    }

    /// What was lost here, the oldest first.
    pub fn losses(&self) -> &[Loss] {
        self.parts.losses.all()
    }

    /// Notes a loss that was found while reading. It is stored with the next checkpoint; until
    /// then, reading finds it again.
    pub fn note_loss(&mut self, loss: Loss) {
        self.parts.losses.push(loss);
    }

    /// How many segments were given up because the medium failed to write or sync them.
    pub fn poisoned(&self) -> u64 {
        self.poisoned
    }

    /// Whether the medium failed in a way that only opening the journal anew can mend. Until then
    /// it can be read, and commits are refused.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// The seqs of a lane that are here: from the first that is still kept to the next one.
    pub fn seqs(&self, lane: Lane) -> (Seq, Seq) {
        self.lane(lane).map_or((Seq::ZERO, Seq::ZERO), |state| (state.first, state.next))
    }

    /// The last promises of other nodes that a checkpoint tells of, or that were noted since.
    pub fn heard(&self) -> &Promises {
        &self.heard
    }

    /// The same, to note others. They are stored with the next checkpoint: an older one that is
    /// found instead only costs bytes.
    pub fn heard_mut(&mut self) -> &mut Promises {
        &mut self.heard
    }

    /// How long the journal has been open, as far as [`Journal::pass_time`] told.
    pub fn open_time(&self) -> OpenTime {
        self.open_time
    }

    /// How many lanes the node has.
    pub fn lanes(&self) -> u8 {
        self.config.lanes
    }

    /// Bytes of a lane that are written, and that it may use.
    pub fn usage(&self, lane: Lane) -> (u64, u64) {
        let held = |slot: &&Slot| slot.state != SlotState::Free && slot.lane == lane;
        let used = self.parts.slots.as_ref().iter().filter(held).map(|slot| u64::from(slot.tail));
        let allowed = self.config.slots.get(usize::from(lane.get())).copied().unwrap_or_default();
        (used.sum(), u64::from(allowed) * u64::from(self.shape.slot_bytes))
    }

    /// Ends the opening: says that nothing will be appended under it any more.
    ///
    /// # Errors
    /// The next opening will have to look for a torn end.
    pub fn close(mut self) -> Result<M, CheckpointFault> {
        self.checkpoint(true)?;
        Ok(self.media)
    }

    /// Gives the medium back, as a crash would leave it.
    pub fn into_media(self) -> M {
        self.media
    }

    fn lane(&self, lane: Lane) -> Option<&LaneState> {
        self.lanes.get(usize::from(lane.get())).filter(|_| lane.get() < self.config.lanes)
    }

    fn lane_mut(&mut self, lane: Lane) -> Option<&mut LaneState> {
        let known = lane.get() < self.config.lanes;
        self.lanes.get_mut(usize::from(lane.get())).filter(|_| known)
    }

    fn slot(&self, ix: SlotIx) -> Slot {
        self.parts.slots.as_ref().get(ix.0 as usize).copied().unwrap_or_default()
    }

    fn slot_mut(&mut self, ix: SlotIx) -> Option<&mut Slot> {
        self.parts.slots.as_mut().get_mut(ix.0 as usize)
    }

    fn active(&self, lane: Lane) -> Option<SlotIx> {
        if lane == Lane::CONTROL { self.control } else { self.lane(lane)?.active }
    }
}

impl Config {
    /// Whether the limits fit each other and the medium.
    pub(crate) fn fits(&self, shape: Geometry) -> bool {
        let header = crate::segment::entries_at(shape);
        let slots: u64 = self.slots.iter().map(|slots| u64::from(*slots)).sum();
        (1..=LANES_MAX).contains(&usize::from(self.lanes))
            && self.entry_max as usize <= ENTRY_BYTES_MAX
            && self.commit_max as usize <= COMMIT_BYTES_MAX
            && self.entry_max < self.commit_max
            && header + self.commit_max.min(self.entry_max + 1_024) <= shape.slot_bytes
            && shape.unit_bytes.is_power_of_two()
            && shape.slot_bytes.is_multiple_of(shape.unit_bytes)
            && slots + u64::from(CONTROL_SLOTS) <= u64::from(shape.slots)
    }
}
