//! What a program on a microcontroller uses: a journal that is opened once and appended to.

use core::fmt;

use embedded_storage::nor_flash::NorFlash;
use landfall_core::batch::ClockQuality;
use landfall_core::checksum::Checksum;
use landfall_core::frontier::{BranchIx, Frontier, FrontierFault, StreamIx};
use landfall_core::journal::{self, CONTROL_SLOTS, CommitError, Config, DropError, Journal};
use landfall_core::journal::{Fresh, Recovery, StageError};
use landfall_core::limits::{ENTRY_BYTES_MAX, LANES_MAX, SITE_BYTES_MAX};
use landfall_core::media::{Media, MediaError, Place, SlotIx};
use landfall_core::name::{StreamId, site_is_valid, topic_is_internal, topic_is_valid};
use landfall_core::num::{Lane, Offset, Partition};
use landfall_core::record::Record;
use landfall_core::segment::SEGMENT_HEADERS_BYTES;

use crate::memory::{Lent, Memory, parts};
use crate::nor::{Nor, Operations};

/// The one lane of a device.
pub(crate) const LANE: Lane = Lane::new(0);
/// Bytes of a commit beside the body of its entry.
const COMMIT_BYTES_MORE: usize = 768 + 2 * SEGMENT_HEADERS_BYTES;
/// Bytes of an entry's header, which is read with the body.
const HEADER_BYTES: usize = landfall_core::entry::ENTRY_HEADER_BYTES;
/// The shortest body of an entry with which a checkpoint and its largest item fit.
const BODY_BYTES_MIN: usize = 512;
/// How every journal's slots begin.
const MARK: [u8; 8] = *b"LANDFALL";

/// A journal on flash, with up to `STREAMS` streams.
pub struct Device<'m, F: NorFlash, const STREAMS: usize> {
    pub(crate) journal: Journal<Nor<F>, Lent<'m, STREAMS>>,
    /// Whether the frontier is ahead of what is on the flash.
    pub(crate) staged: bool,
    pub(crate) site: &'m str,
    read: &'m mut [u8],
}

/// Why a device can't be opened. The flash is as it was, or as a power cut would leave it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum OpenError {
    /// The name is no site's name.
    Site,
    /// The lent memory is too small: one place for each slot, a body of 512 bytes.
    Memory,
    /// The flash holds something else, from this byte of this slot on. Nothing was written.
    Foreign(Place),
    /// The journal can't be opened.
    Journal(journal::OpenError),
}

/// Why a record was not appended. Nothing of it will be readable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum AppendError {
    /// The flash is full of records that the centre does not have yet.
    Full,
    /// The record is longer than an entry may be in the lent memory, or breaks a limit.
    Record,
    /// The topic has no valid name, or there are as many streams as there can be.
    Stream,
    /// The flash failed. What was appended before is safe; open the journal anew.
    Flash(MediaError),
}

impl<'m, F: NorFlash, const STREAMS: usize> Device<'m, F, STREAMS> {
    /// Opens the journal of `site` on the flash, or makes one if the flash is blank.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        flash: Nor<F>,
        site: &'m str,
        memory: Memory<'m>,
        fresh: Fresh,
    ) -> Result<(Self, Recovery), OpenError> {
        if !site_is_valid(site) || site.len() > SITE_BYTES_MAX {
            return Err(OpenError::Site);
        }
        let Memory { slots, commit, read } = memory;
        let config = config(&flash, commit.len(), read.len()).ok_or(OpenError::Memory)?;
        if slots.len() < flash.geometry().slots as usize {
            return Err(OpenError::Memory);
        }
        if let Some(place) = foreign(&flash, read)? {
            return Err(OpenError::Foreign(place));
        }
        let parts = parts(site, slots, commit);
        let (journal, recovery) =
            Journal::open(flash, config, parts, fresh).map_err(OpenError::Journal)?;
        Ok((Self { journal, staged: false, site, read }, recovery))
    }

    /// The stream of a topic, to append to; made known if it is new.
    ///
    /// # Errors
    /// [`AppendError::Stream`].
    pub fn stream(&mut self, topic: &str, partition: Partition) -> Result<StreamIx, AppendError> {
        if !topic_is_valid(topic) || topic_is_internal(topic) {
            return Err(AppendError::Stream);
        }
        let stream = StreamId { origin: self.site, topic, partition };
        let added = self.journal.frontier_mut().add(stream);
        added.map_err(|_: FrontierFault| AppendError::Stream)
    }

    /// Appends a record. When this returns, it is on the flash, and its offset is final.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append(
        &mut self,
        stream: StreamIx,
        record: &Record<'_>,
        clock: ClockQuality,
    ) -> Result<Offset, AppendError> {
        let offset = self.stage(stream, record, clock)?;
        self.commit()?;
        Ok(offset)
    }

    /// Takes a record for the next [`Device::commit`], and commits what was taken before if there
    /// is no room for more. Records that are committed together cost the flash far less.
    ///
    /// # Errors
    /// See [`AppendError`]; what was staged before stays staged, unless the flash failed.
    pub fn stage(
        &mut self,
        stream: StreamIx,
        record: &Record<'_>,
        clock: ClockQuality,
    ) -> Result<Offset, AppendError> {
        let mut staged = self.journal.stage_record(LANE, stream, record, clock);
        if staged == Err(StageError::CommitFull) {
            self.commit()?;
            staged = self.journal.stage_record(LANE, stream, record, clock);
        }
        if staged == Err(StageError::LaneFull) && self.trim()? {
            staged = self.journal.stage_record(LANE, stream, record, clock);
        }
        self.staged |= staged.is_ok();
        staged.map(|staged| staged.offset).map_err(AppendError::from)
    }

    /// Writes what is staged. When this returns, all of it is on the flash.
    ///
    /// # Errors
    /// What was staged is gone.
    pub fn commit(&mut self) -> Result<(), AppendError> {
        self.staged = false;
        self.journal.commit().map(|_| ()).map_err(|error| match error {
            CommitError::LaneFull => AppendError::Full,
            CommitError::Media(error) => AppendError::Flash(error),
            _ => AppendError::Flash(MediaError::Failed),
        })
    }

    /// The offset that the next record of a stream gets.
    pub fn next(&self, stream: StreamIx) -> Offset {
        self.journal.frontier().tip(stream).next
    }

    /// The centre has all records of a stream below this offset: their place may be used again.
    pub fn promise(&mut self, stream: StreamIx, root: Offset) {
        let root = root.min(self.next(stream));
        self.journal.frontier_mut().promise(stream, BranchIx::MAIN, root, root);
    }

    /// What is stored.
    pub fn journal(&self) -> &Journal<Nor<F>, Lent<'m, STREAMS>> {
        &self.journal
    }

    /// What was done to the flash since it was handed over.
    pub fn operations(&self) -> Operations {
        self.journal.media().operations()
    }

    /// Ends the opening, so that the next one need not look for a torn end.
    ///
    /// # Errors
    /// The flash failed. What was appended is safe.
    pub fn close(self) -> Result<Nor<F>, journal::CheckpointFault> {
        self.journal.close()
    }

    /// Gives the flash back, as a power cut would leave it.
    pub fn into_flash(self) -> Nor<F> {
        self.journal.into_media()
    }

    /// Drops the oldest segment if the centre has all of it. Returns whether it did.
    fn trim(&mut self) -> Result<bool, AppendError> {
        let waiting = self.journal.oldest(LANE).is_some();
        if !waiting || !self.journal.oldest_is_durable(LANE, false, self.read) {
            return Ok(false);
        }
        match self.journal.drop_oldest(LANE, None, self.read) {
            Ok(()) => Ok(true),
            Err(DropError::None) => Ok(false),
            Err(DropError::Media(error)) => Err(AppendError::Flash(error)),
            Err(_) => Err(AppendError::Flash(MediaError::Failed)),
        }
    }
}

/// The journal's limits, as the lent memory and the flash allow.
fn config<F: NorFlash>(flash: &Nor<F>, commit: usize, read: usize) -> Option<Config> {
    let shape = flash.geometry();
    // Half a slot, so that a footer and the largest entry always fit one.
    let by_flash = (shape.slot_bytes / 2) as usize;
    let by_read = read.saturating_sub(HEADER_BYTES);
    let body = commit.saturating_sub(COMMIT_BYTES_MORE).min(by_read).min(by_flash);
    let body = body.min(ENTRY_BYTES_MAX);
    if body < BODY_BYTES_MIN {
        return None;
    }
    let mut slots = [0; LANES_MAX];
    *slots.first_mut()? = shape.slots.checked_sub(CONTROL_SLOTS)?;
    Some(Config {
        checksum: Checksum::PORTABLE,
        lanes: 1,
        slots,
        entry_max: body as u32,
        commit_max: body as u32 + 512,
        join_max: body as u32,
    })
}

/// The first byte that is neither blank nor a journal's, in a flash that has no journal. The slots
/// of the control lane may hold what a power cut left of the first opening.
fn foreign<F: NorFlash>(flash: &Nor<F>, buffer: &mut [u8]) -> Result<Option<Place>, OpenError> {
    let shape = flash.geometry();
    let mut mark = [0; MARK.len()];
    for slot in (0..shape.slots).map(SlotIx) {
        if flash.read(Place { slot, at: 0 }, &mut mark).is_ok() && mark == MARK {
            return Ok(None);
        }
    }
    for slot in (CONTROL_SLOTS..shape.slots).map(SlotIx) {
        let mut at = 0;
        while at < shape.slot_bytes {
            let len = buffer.len().min((shape.slot_bytes - at) as usize);
            let bytes = buffer.get_mut(..len).unwrap_or_default();
            let read = flash.read(Place { slot, at }, bytes);
            let blank = read.is_ok().then(|| bytes.iter().position(|byte| *byte != 0xFF));
            match blank {
                Some(None) => at += len as u32,
                Some(Some(first)) => return Ok(Some(Place { slot, at: at + first as u32 })),
                None => return Ok(Some(Place { slot, at })),
            }
        }
    }
    Ok(None)
}

impl From<StageError> for AppendError {
    fn from(error: StageError) -> Self {
        match error {
            StageError::LaneFull => Self::Full,
            StageError::Unknown | StageError::Frontier(_) => Self::Stream,
            StageError::Media(error) => Self::Flash(error),
            _ => Self::Record,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Site => f.write_str("the name is no site's name"),
            Self::Memory => f.write_str("the lent memory is too small"),
            Self::Foreign(place) => write!(
                f,
                "the flash holds something else at byte {} of slot {}; erase what is not needed",
                place.at, place.slot.0
            ),
            Self::Journal(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for OpenError {}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the flash is full of records that the centre has not got"),
            Self::Record => f.write_str("the record is too long or breaks a limit"),
            Self::Stream => f.write_str("the topic's name is wrong, or there are too many streams"),
            Self::Flash(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for AppendError {}
