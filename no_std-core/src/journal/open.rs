//! Opening a journal: a checkpoint, what was written behind it, and a new epoch.
//!
//! 1. Survey: read the header of every slot. Where the last commits were tried, the medium itself
//!    is read, not what a failed sync left in a cache.
//! 2. Load the last complete checkpoint of the control lane.
//! 3. Scan each lane behind it, first for the last commit that anybody wrote, then to replay.
//!    That commit alone may be torn: unless it is whole, it is cut. Anything else that is invalid
//!    is damage and becomes a loss.
//! 4. Sync what was accepted, close torn ends with a cut, and write a checkpoint that names the new
//!    epoch.

use super::commit::ATTEMPTS;
use super::window::Loaded;
use super::{CheckpointFault, CommitError, Config, Journal, LaneState};
use crate::entry::{ENTRY_ALIGN, Kind};
use crate::heard::Promises;
use crate::limits::LANES_MAX;
use crate::media::{Geometry, Media, MediaError, SlotIx};
use crate::num::{BootId, CommitNo, Epoch, Lane, LogId, OpenTime, Opening, SegmentNo};
use crate::segment::{HeaderFault, SEGMENT_HEADERS_BYTES, SegmentHeader, entries_at};
use crate::tables::{OpeningNote, Parts, Slot, SlotState, Tables};

/// Random numbers for an opening, drawn by the caller.
#[derive(Clone, Copy, Debug)]
pub struct Fresh {
    /// The identity of the journal, if there is none yet.
    pub log: LogId,
    /// The epoch of this opening.
    pub epoch: Epoch,
    /// This start of the machine.
    pub boot: BootId,
    /// The first commit, if there is no journal yet. One that goes on where another store ended
    /// goes on with its numbers.
    pub first_commit: CommitNo,
}

/// What recovery found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Recovery {
    /// There was no journal; this is a new one.
    pub created: bool,
    /// The journal had been closed.
    pub clean: bool,
    /// The commit that a power cut tore. It was never acknowledged.
    pub torn: Option<Torn>,
    /// Damaged entries behind the checkpoint. What they held is among the losses.
    pub damaged: u32,
    /// Slots that hold segments of other journals. They are written over when they are needed.
    pub foreign: u32,
    /// There was no complete checkpoint, so everything was read.
    pub checkpoint_lost: bool,
    /// Bytes that were read behind the checkpoint.
    pub scanned: u64,
}

/// A commit that was cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Torn {
    /// Its lane.
    pub lane: Lane,
    /// Its number.
    pub commit: CommitNo,
    /// Bytes of it that were found.
    pub bytes: u32,
}

/// Why a journal can't be opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum OpenError {
    /// The limits of the configuration do not fit each other or the medium.
    Config,
    /// The tables or the commit buffer are too small.
    Memory,
    /// A later version of this program wrote the journal, in this format.
    NewerFormat(u16),
    /// The journal was written for another size of slots or units.
    OtherGeometry,
    /// The journal has more lanes than the configuration.
    LaneGone(Lane),
    /// The medium failed.
    Media(MediaError),
    /// The opening could not be recorded.
    Checkpoint(CheckpointFault),
}

impl From<CheckpointFault> for OpenError {
    fn from(fault: CheckpointFault) -> Self {
        Self::Checkpoint(fault)
    }
}

impl From<CommitError> for OpenError {
    fn from(error: CommitError) -> Self {
        Self::Checkpoint(CheckpointFault::Commit(error))
    }
}

/// The slots in which the last commit of each lane may have been tried: a cache may show it there
/// although it failed.
#[derive(Default)]
struct LastSlots([[Option<(SegmentNo, SlotIx)>; ATTEMPTS + 1]; LANES_MAX]);

impl LastSlots {
    fn see(&mut self, lane: Lane, slot: (SegmentNo, SlotIx)) {
        let Some(of_lane) = self.0.get_mut(usize::from(lane.get())) else { return };
        let oldest = of_lane.iter_mut().min_by_key(|seen| seen.map(|(number, _)| number));
        if let Some(oldest) = oldest.filter(|seen| seen.is_none_or(|(number, _)| number < slot.0)) {
            *oldest = Some(slot);
        }
    }

    fn all(&self) -> impl Iterator<Item = SlotIx> {
        self.0.iter().flatten().flatten().map(|(_, ix)| *ix)
    }
}

impl<M: Media, T: Tables> Journal<M, T> {
    /// Opens the journal on `media` for writing, or makes one if there is none.
    ///
    /// Bad bytes never keep it from opening: what they held becomes a loss.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        media: M,
        config: Config,
        parts: Parts<T>,
        fresh: Fresh,
    ) -> Result<(Self, Recovery), OpenError> {
        let given = media.geometry();
        // Entries begin at whole units, so that a scan finds them behind damage.
        let unit_bytes = given.unit_bytes.max(ENTRY_ALIGN as u32);
        let shape = Geometry { unit_bytes, ..given };
        if !config.fits(shape) {
            return Err(OpenError::Config);
        }
        let buffer = parts.buffer.as_ref().len();
        let needed = config.entry_max as usize
            + 2 * shape.units(SEGMENT_HEADERS_BYTES as u32) as usize
            + 768;
        if parts.slots.as_ref().len() < shape.slots as usize || buffer < needed {
            return Err(OpenError::Memory);
        }
        let mut journal = Self {
            media,
            config,
            shape,
            parts,
            log: fresh.log,
            epoch: fresh.epoch,
            opening: Opening::new(0),
            next_commit: CommitNo::new(1),
            next_segment: SegmentNo::new(1),
            lanes: [LaneState::default(); LANES_MAX],
            control: None,
            control_whole: false,
            loaded: Loaded::default(),
            staging: super::stage::Staging::default(),
            flight: None,
            lost_flight: false,
            checkpoint_due: false,
            poisoned: 0,
            failed: false,
            heard: Promises::default(),
            open_time: OpenTime::ZERO,
            open_time_stored: OpenTime::ZERO,
        };
        let mut recovery = Recovery { created: true, ..Recovery::default() };
        if journal.survey(&mut recovery)? {
            recovery.created = false;
            journal.recover(&mut recovery).map_err(OpenError::Media)?;
        } else {
            journal.next_commit = journal.next_commit.max(fresh.first_commit);
        }
        journal.start(fresh, &recovery)?;
        Ok((journal, recovery))
    }

    /// Reads the headers of all slots. Returns whether there is a journal.
    fn survey(&mut self, recovery: &mut Recovery) -> Result<bool, OpenError> {
        let mut newest: Option<(bool, SegmentHeader)> = None;
        let mut last = LastSlots::default();
        (0..super::CONTROL_SLOTS).for_each(|ix| self.media.forget_cached(SlotIx(ix)));
        for ix in (0..self.shape.slots).map(SlotIx) {
            let header = self.read_header(ix)?;
            if let Some(header) = &header {
                last.see(header.lane, (header.number, ix));
            }
            // A slot that came from another journal must not speak for this one.
            let header = header.map(|header| (ix.0 < super::CONTROL_SLOTS, header));
            let rank = |(control, header): &(bool, SegmentHeader)| (*control, header.number);
            newest = newest.into_iter().chain(header).max_by_key(rank);
        }
        let Some((_, newest)) = newest else { return Ok(false) };
        self.log = newest.log;
        last.all().for_each(|ix| self.media.forget_cached(ix));
        for ix in (0..self.shape.slots).map(SlotIx) {
            let Some(header) = self.read_header(ix)? else { continue };
            let control = header.lane == Lane::CONTROL;
            if header.log != self.log || control != (ix.0 < super::CONTROL_SLOTS) {
                recovery.foreign += 1;
                continue;
            }
            if !control && header.lane.get() >= self.config.lanes {
                return Err(OpenError::LaneGone(header.lane));
            }
            self.take_slot(ix, &header);
        }
        for lane in self.all_lanes() {
            self.activate_newest(lane);
        }
        Ok(true)
    }

    fn take_slot(&mut self, ix: SlotIx, header: &SegmentHeader) {
        let tail = self.shape.slot_bytes;
        self.next_segment = self.next_segment.max(header.number.plus(1));
        self.opening = self.opening.max(header.opening);
        self.next_commit = self.next_commit.max(header.base_commit);
        if let Some(slot) = self.slot_mut(ix) {
            *slot = Slot {
                state: SlotState::Sealed,
                lane: header.lane,
                number: header.number,
                base_seq: header.base_seq,
                base_commit: header.base_commit,
                tail,
                last_crc: 0,
                last_at: 0,
                last_seq: header.base_seq,
                footer_bytes: 0,
                footer_known: false,
                durable_at: None,
            };
        }
    }

    /// The newest segment of a lane is the one that is appended to.
    fn activate_newest(&mut self, lane: Lane) {
        let slots = self.parts.slots.as_mut().iter_mut().enumerate();
        let held = slots.filter(|(_, slot)| slot.state != SlotState::Free && slot.lane == lane);
        let Some((ix, slot)) = held.max_by_key(|(_, slot)| slot.number) else { return };
        slot.state = SlotState::Active;
        slot.tail = entries_at(self.shape);
        let active = Some(SlotIx(ix as u32));
        if lane == Lane::CONTROL {
            self.control = active;
        } else if let Some(state) = self.lanes.get_mut(usize::from(lane.get())) {
            state.active = active;
        }
    }

    /// Begins to write under a new epoch.
    fn start(&mut self, fresh: Fresh, recovery: &Recovery) -> Result<(), OpenError> {
        let parent = self.parts.openings.all().last().map_or(Epoch::new(0), |note| note.epoch);
        self.opening = self.opening.next();
        let first_commit = self.next_commit;
        for lane in self.all_lanes() {
            if let Some(active) = self.active(lane) {
                self.media.sync(active).map_err(OpenError::Media)?;
            }
        }
        for lane in self.all_lanes().filter(|lane| *lane != Lane::CONTROL) {
            self.begin_torn_again(lane).map_err(OpenError::Media)?;
            if recovery.torn.is_some_and(|torn| torn.lane == lane) {
                self.cut(lane);
            }
        }
        if self.control.is_none() {
            self.reserve_control()?;
        }
        self.parts.openings.push(OpeningNote {
            opening: self.opening,
            epoch: fresh.epoch,
            parent,
            first_commit,
            boot: fresh.boot,
        });
        self.checkpoint(false)?;
        Ok(())
    }

    /// Says in a lane that what stands before it with the same commit number is void. Where there
    /// is no room for it, the opening that is about to be recorded says so too.
    fn cut(&mut self, lane: Lane) {
        let len = self.commit_space(0);
        let fits = self.active(lane).is_some_and(|active| {
            self.slot(active).tail.saturating_add(len) <= self.shape.slot_bytes
        });
        if !fits {
            // A segment that begins with the same commit says it, too.
            let _ = self.rotate(lane);
            return;
        }
        self.begin_control_entry(lane);
        self.end_entry(Kind::Cut);
        if self.commit_staged().is_err() {
            self.abandon();
        }
    }

    /// A power cut may have torn the header of a segment that had just begun. It begins again, so
    /// that a header that is found damaged has rotted.
    fn begin_torn_again(&mut self, lane: Lane) -> Result<(), MediaError> {
        let Some(active) = self.active(lane) else { return Ok(()) };
        let slot = self.slot(active);
        let empty = slot.tail == entries_at(self.shape) && slot.base_seq == self.seqs(lane).1;
        if !empty || self.has_both_headers(active)? {
            return Ok(());
        }
        let erased = self.media.erase(active).map_err(CommitError::from);
        if erased.and_then(|()| self.begin_segment(lane, active)).is_err() {
            self.clear_slot(active);
            if let Some(state) = self.lane_mut(lane) {
                state.active = None;
            }
        }
        Ok(())
    }

    /// Takes the control lane's slots, so that a full medium can still be opened and drained.
    fn reserve_control(&mut self) -> Result<(), OpenError> {
        let first = self.erase_free(Lane::CONTROL)?;
        self.begin_segment(Lane::CONTROL, first)?;
        for ix in (0..super::CONTROL_SLOTS).map(SlotIx) {
            if Some(ix) != self.control {
                self.media.erase(ix).map_err(OpenError::Media)?;
            }
        }
        Ok(())
    }

    pub(crate) fn all_lanes(&self) -> impl Iterator<Item = Lane> + use<M, T> {
        (0..self.config.lanes).map(Lane::new).chain([Lane::CONTROL])
    }
}

impl From<HeaderFault> for OpenError {
    fn from(fault: HeaderFault) -> Self {
        match fault {
            HeaderFault::NewerFormat(format) => Self::NewerFormat(format),
            HeaderFault::OtherGeometry | HeaderFault::None(_) => Self::OtherGeometry,
        }
    }
}

impl core::fmt::Display for OpenError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Config => f.write_str("its limits do not fit each other or the medium"),
            Self::Memory => f.write_str("its tables or its commit buffer are too small"),
            Self::NewerFormat(format) => write!(f, "it has format {format}, which is newer"),
            Self::OtherGeometry => f.write_str("it has slots or write units of another size"),
            Self::LaneGone(lane) => write!(f, "it has lane {lane}, which is not configured"),
            Self::Media(error) => error.fmt(f),
            Self::Checkpoint(CheckpointFault::TooLarge) => {
                f.write_str("its checkpoint does not fit a slot")
            }
            Self::Checkpoint(CheckpointFault::Commit(error)) => error.fmt(f),
        }
    }
}

impl core::error::Error for OpenError {}
