//! A journal's medium on NOR flash, over any driver that offers `embedded-storage`.

use core::cell::{Cell, RefCell};
use core::fmt;

use embedded_storage::nor_flash::NorFlash;
use landfall_core::journal::CONTROL_SLOTS;
use landfall_core::media::{Geometry, Media, MediaError, Place, SlotIx};

/// A part of a flash chip, used by nobody else.
///
/// A read that the driver refuses is tried again. After that the bytes count as unreadable for good
/// only if the chip still answers elsewhere: drivers do not tell bad bytes from a bad bus. A driver
/// must return an error where the chip's error correction fails, and not fault.
#[derive(Debug)]
pub struct Nor<F> {
    flash: RefCell<F>,
    /// The first byte on the chip.
    at: u32,
    shape: Geometry,
    operations: Cell<Operations>,
}

/// What was done to the flash.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Operations {
    /// Calls that read.
    pub reads: u32,
    /// Bytes that they read.
    pub bytes_read: u32,
    /// Calls that programmed.
    pub programs: u32,
    /// Bytes that they programmed.
    pub bytes_programmed: u32,
    /// Slots that were erased.
    pub erases: u32,
}

/// Why a part of a chip can't hold a journal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum NorError {
    /// Its start or its slots are not whole blocks that the chip can erase, or there are no two.
    Blocks,
    /// The chip writes in units that are no power of two, or reads in units over 32 bytes.
    Units,
    /// It reaches beyond the end of the chip.
    Capacity,
}

/// What is read at once where the chip does not read any byte.
const BOUNCE_BYTES: usize = 32;
/// How often a read is tried.
const ATTEMPTS: usize = 3;

impl<F: NorFlash> Nor<F> {
    /// The part of `flash` that begins at byte `at` and has `slots` slots of `slot_bytes` bytes.
    /// A slot is one or more blocks that are erased together.
    ///
    /// # Errors
    /// The part does not fit the chip.
    pub fn new(flash: F, at: u32, slots: u32, slot_bytes: u32) -> Result<Self, NorError> {
        let erase = u32::try_from(F::ERASE_SIZE).map_err(|_| NorError::Blocks)?;
        let unit = u32::try_from(F::WRITE_SIZE).map_err(|_| NorError::Units)?;
        let whole = |bytes: u32| bytes.checked_rem(erase) == Some(0);
        if slot_bytes == 0 || slots < CONTROL_SLOTS || !whole(at) || !whole(slot_bytes) {
            return Err(NorError::Blocks);
        }
        let reads = (1..=BOUNCE_BYTES).contains(&F::READ_SIZE) && F::READ_SIZE.is_power_of_two();
        if !unit.is_power_of_two() || !slot_bytes.is_multiple_of(unit) || !reads {
            return Err(NorError::Units);
        }
        let end = u64::from(at) + u64::from(slots) * u64::from(slot_bytes);
        if end > flash.capacity() as u64 || end > u64::from(u32::MAX) {
            return Err(NorError::Capacity);
        }
        let shape = Geometry { slots, slot_bytes, unit_bytes: unit, overwrites: false };
        Ok(Self { flash: RefCell::new(flash), at, shape, operations: Cell::default() })
    }

    /// What was done to the flash since this was made. The counters wrap around.
    pub fn operations(&self) -> Operations {
        self.operations.get()
    }

    /// Gives the driver back.
    pub fn into_flash(self) -> F {
        self.flash.into_inner()
    }

    fn count(&self, change: impl FnOnce(&mut Operations)) {
        let mut operations = self.operations.get();
        change(&mut operations);
        self.operations.set(operations);
    }

    /// Where a place is on the chip, if the slot has `len` bytes from there on.
    fn address(&self, place: Place, len: usize) -> Option<u32> {
        let len = u32::try_from(len).ok()?;
        let end = place.at.checked_add(len)?;
        if place.slot.0 >= self.shape.slots || end > self.shape.slot_bytes {
            return None;
        }
        Some(self.at + place.slot.0 * self.shape.slot_bytes + place.at)
    }
}

/// Reads any bytes from a chip that reads in units.
fn read_bytes<F: NorFlash>(flash: &mut F, at: u32, buffer: &mut [u8]) -> Result<(), F::Error> {
    let unit = F::READ_SIZE;
    if (at as usize).is_multiple_of(unit) && buffer.len().is_multiple_of(unit) {
        return flash.read(at, buffer);
    }
    let mut bounce = [0; BOUNCE_BYTES];
    let (mut at, mut rest) = (at as usize, buffer);
    while !rest.is_empty() {
        let skipped = at % unit;
        let len = rest.len().min(BOUNCE_BYTES - skipped);
        let whole = (skipped + len).next_multiple_of(unit).min(BOUNCE_BYTES);
        flash.read((at - skipped) as u32, &mut bounce[..whole])?;
        let (now, later) = rest.split_at_mut(len);
        now.copy_from_slice(&bounce[skipped..skipped + len]);
        (at, rest) = (at + len, later);
    }
    Ok(())
}

impl<F: NorFlash> Media for Nor<F> {
    fn geometry(&self) -> Geometry {
        self.shape
    }

    fn read(&self, place: Place, buffer: &mut [u8]) -> Result<(), MediaError> {
        let at = self.address(place, buffer.len()).ok_or(MediaError::Unreadable)?;
        let mut flash = self.flash.try_borrow_mut().map_err(|_| MediaError::Failed)?;
        for _ in 0..ATTEMPTS {
            self.count(|done| {
                done.reads = done.reads.wrapping_add(1);
                done.bytes_read = done.bytes_read.wrapping_add(buffer.len() as u32);
            });
            if read_bytes(&mut *flash, at, buffer).is_ok() {
                return Ok(());
            }
        }
        let answers = (0..CONTROL_SLOTS).any(|slot| {
            let (at, mut mark) = (self.at + slot * self.shape.slot_bytes, [0; BOUNCE_BYTES]);
            read_bytes(&mut *flash, at, &mut mark).is_ok()
        });
        Err(if answers { MediaError::Unreadable } else { MediaError::Failed })
    }

    fn program(&mut self, place: Place, bytes: &[u8]) -> Result<(), MediaError> {
        let at = self.address(place, bytes.len()).ok_or(MediaError::Failed)?;
        self.count(|done| {
            done.programs = done.programs.wrapping_add(1);
            done.bytes_programmed = done.bytes_programmed.wrapping_add(bytes.len() as u32);
        });
        self.flash.get_mut().write(at, bytes).map_err(|_| MediaError::Failed)
    }

    /// A driver returns when the flash has what it was given.
    fn sync(&mut self, _slot: SlotIx) -> Result<(), MediaError> {
        Ok(())
    }

    fn erase(&mut self, slot: SlotIx) -> Result<(), MediaError> {
        let at = self.address(Place { slot, at: 0 }, self.shape.slot_bytes as usize);
        let at = at.ok_or(MediaError::Failed)?;
        self.count(|done| done.erases = done.erases.wrapping_add(1));
        let end = at + self.shape.slot_bytes;
        self.flash.get_mut().erase(at, end).map_err(|_| MediaError::Failed)
    }

    /// An erase costs life and time, so it waits until the slot is needed.
    fn free(&mut self, _slot: SlotIx) -> Result<(), MediaError> {
        Ok(())
    }
}

impl Operations {
    /// The larger number of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            reads: self.reads.max(other.reads),
            bytes_read: self.bytes_read.max(other.bytes_read),
            programs: self.programs.max(other.programs),
            bytes_programmed: self.bytes_programmed.max(other.bytes_programmed),
            erases: self.erases.max(other.erases),
        }
    }

    /// What was done since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            reads: self.reads.wrapping_sub(before.reads),
            bytes_read: self.bytes_read.wrapping_sub(before.bytes_read),
            programs: self.programs.wrapping_sub(before.programs),
            bytes_programmed: self.bytes_programmed.wrapping_sub(before.bytes_programmed),
            erases: self.erases.wrapping_sub(before.erases),
        }
    }
}

impl fmt::Display for NorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blocks => "the part must be two or more slots of whole blocks of the flash",
            Self::Units => "the flash must write powers of two and read at most 32 bytes at once",
            Self::Capacity => "the part reaches beyond the end of the flash",
        })
    }
}

impl core::error::Error for NorError {}
