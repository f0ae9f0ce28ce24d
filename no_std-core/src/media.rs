//! The port to what bytes are kept on: files, NOR flash, or a test's faulty medium.
//!
//! A medium is a number of equal slots. A slot holds one segment at a time. The journal writes a
//! slot front to back, each write unit once between two erases unless the medium may overwrite.

/// A slot of the medium.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SlotIx(pub u32);

/// A byte of the medium.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Place {
    /// The slot.
    pub slot: SlotIx,
    /// Bytes from the start of the slot.
    pub at: u32,
}

/// The shape of a medium. It never changes while a journal lives on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Geometry {
    /// How many slots there are.
    pub slots: u32,
    /// Bytes of a slot; a multiple of the write unit.
    pub slot_bytes: u32,
    /// What a power cut tears: bytes of one unit are written together or not. A power of two.
    pub unit_bytes: u32,
    /// Whether a unit may be written again without erasing its slot (files), or not (flash).
    pub overwrites: bool,
}

/// Why a medium did not do what it was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum MediaError {
    /// These bytes can't be read, now or ever; others may be.
    Unreadable,
    /// There is no space; it may come back.
    NoSpace,
    /// The medium failed. What was written since the last sync is in doubt.
    Failed,
}

impl core::fmt::Display for MediaError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "the medium can't read these bytes",
            Self::NoSpace => "the medium has no space left",
            Self::Failed => "the medium failed to write or sync",
        })
    }
}

impl core::error::Error for MediaError {}

/// What bytes are kept on.
pub trait Media {
    /// The shape of the medium.
    fn geometry(&self) -> Geometry;

    /// Fills `buffer` from `place` on. What was never written reads as anything.
    ///
    /// # Errors
    /// [`MediaError::Unreadable`] if any of the bytes can't be read.
    fn read(&self, place: Place, buffer: &mut [u8]) -> Result<(), MediaError>;

    /// Writes whole units. They are durable only after [`Media::sync`] of their slot.
    ///
    /// # Errors
    /// After any error the units are in doubt until the slot is erased.
    fn program(&mut self, place: Place, bytes: &[u8]) -> Result<(), MediaError>;

    /// Begins what [`Media::sync`] of the slot will wait for, where that can go on beside other
    /// work. Until then nothing else is programmed, erased or freed.
    fn sync_soon(&mut self, _slot: SlotIx) {}

    /// Returns when all that was programmed into the slot would survive a power cut.
    ///
    /// # Errors
    /// After a failure nothing programmed since the last success may be trusted, even if a later
    /// sync succeeds.
    fn sync(&mut self, slot: SlotIx) -> Result<(), MediaError>;

    /// Lets reads of a slot come from the medium from now on, as far as it can be had: a system
    /// that caches may show what it failed to write, and would lose in a power cut. Where nothing
    /// is cached there is nothing to do.
    fn forget_cached(&mut self, _slot: SlotIx) {}

    /// Makes a slot ready to be written from its start, and reserves its space. Old bytes may stay
    /// readable.
    ///
    /// # Errors
    /// [`MediaError::NoSpace`] leaves the slot as it was.
    fn erase(&mut self, slot: SlotIx) -> Result<(), MediaError>;

    /// Gives the space of a slot back, where that means anything. Its content is lost.
    ///
    /// # Errors
    /// The slot may or may not have been freed.
    fn free(&mut self, slot: SlotIx) -> Result<(), MediaError>;
}

impl Geometry {
    /// `bytes` rounded up to whole write units.
    pub const fn units(&self, bytes: u32) -> u32 {
        let mask = self.unit_bytes - 1;
        assert!(bytes <= u32::MAX - mask, "a slot is far smaller than the range");
        (bytes + mask) & !mask
    }

    /// Bytes of the guard behind a commit and behind the header of a segment: a unit of zeros where
    /// each unit is written once, nothing elsewhere.
    ///
    /// Units are programmed one behind the other, so that only the last one that was begun can be
    /// torn, and may then read whole now and torn later. If that is the guard, what stands before
    /// it is not. Without a guard that was begun, what was written last does not count.
    pub const fn guard_bytes(&self) -> u32 {
        if self.overwrites { 0 } else { self.unit_bytes }
    }
}
