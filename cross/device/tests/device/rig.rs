//! A flash chip with a driver, and a device on it.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};
use landfall_core::batch::{ClockQuality, batches};
use landfall_core::checksum::Checksum;
use landfall_core::journal::{Fresh, ReadStep, Recovery};
use landfall_core::media::{Media, MediaError, Place, SlotIx};
use landfall_core::num::{BootId, CommitNo, Epoch, Lane, LogId, Offset, Partition, Timestamp};
use landfall_core::record::Record;
use landfall_core::tables::Slot;
use landfall_device::uplink::{INBOX_BYTES, Uplink};
use landfall_device::{AppendError, Device, Memory, Nor, OpenError};
use landfall_simulation::media::nor::SimNor;

/// Slots of the chip.
pub(crate) const SLOTS: u32 = 8;
/// Bytes of a slot.
pub(crate) const SLOT_BYTES: u32 = 4096;
/// Bytes that a chip writes at once.
pub(crate) const UNIT: usize = 8;
/// Bytes lent for a commit, and for reading.
const LENT: (usize, usize) = (1536, 640);

/// A driver of a simulated chip that reads `READ` bytes at once.
#[derive(Clone, Debug)]
pub(crate) struct Chip<const READ: usize = 1>(pub(crate) SimNor);

impl Chip {
    /// A new chip.
    pub(crate) fn new(seed: u64) -> Self {
        Self(SimNor::new(SLOTS, SLOT_BYTES, UNIT as u32, seed))
    }
}

/// What a driver says when the chip failed.
#[derive(Debug)]
pub(crate) struct ChipError;

impl NorFlashError for ChipError {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl From<MediaError> for ChipError {
    fn from(_: MediaError) -> Self {
        Self
    }
}

impl<const READ: usize> ErrorType for Chip<READ> {
    type Error = ChipError;
}

fn place(at: u32) -> Place {
    Place { slot: SlotIx(at / SLOT_BYTES), at: at % SLOT_BYTES }
}

impl<const READ: usize> ReadNorFlash for Chip<READ> {
    const READ_SIZE: usize = READ;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), ChipError> {
        assert!((offset as usize).is_multiple_of(READ) && bytes.len().is_multiple_of(READ));
        Ok(Media::read(&self.0, place(offset), bytes)?)
    }

    fn capacity(&self) -> usize {
        (SLOTS * SLOT_BYTES) as usize
    }
}

impl<const READ: usize> NorFlash for Chip<READ> {
    const WRITE_SIZE: usize = UNIT;
    const ERASE_SIZE: usize = SLOT_BYTES as usize;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), ChipError> {
        for at in (from..to).step_by(SLOT_BYTES as usize) {
            Media::erase(&mut self.0, place(at).slot)?;
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), ChipError> {
        Ok(Media::program(&mut self.0, place(offset), bytes)?)
    }
}

/// The whole chip as a medium.
pub(crate) fn nor<const READ: usize>(chip: &Chip<READ>) -> Nor<Chip<READ>> {
    Nor::new(chip.clone(), 0, SLOTS, SLOT_BYTES).expect("the chip is whole slots")
}

pub(crate) type Opened<const READ: usize = 1> = Device<'static, Chip<READ>, 2>;

/// A device on the chip, after the `boot`-th start.
pub(crate) fn open<const READ: usize>(
    chip: &Chip<READ>,
    boot: u64,
) -> Result<(Opened<READ>, Recovery), OpenError> {
    open_on(nor(chip), boot)
}

/// The same on a part of a chip.
pub(crate) fn open_on<const READ: usize>(
    nor: Nor<Chip<READ>>,
    boot: u64,
) -> Result<(Opened<READ>, Recovery), OpenError> {
    let memory = Memory {
        slots: vec![Slot::default(); SLOTS as usize].leak(),
        commit: vec![0; LENT.0].leak(),
        read: vec![0; LENT.1].leak(),
    };
    let fresh = Fresh {
        log: LogId::new(77),
        epoch: Epoch::new(1_000 + boot),
        boot: BootId::new(boot),
        first_commit: CommitNo::new(1),
    };
    Device::open(nor, "buoy-4", memory, fresh)
}

/// An uplink of a device, without a connection.
pub(crate) fn uplink() -> Uplink<'static, 2> {
    Uplink::new(vec![0; INBOX_BYTES].leak(), vec![0; 640].leak())
}

/// Appends a number to the topic `sea`.
pub(crate) fn append<const READ: usize>(
    device: &mut Opened<READ>,
    number: u64,
) -> Result<Offset, AppendError> {
    let stream = device.stream("sea", Partition::new(0))?;
    let value = number.to_le_bytes();
    let record = Record::new(Timestamp::new(number as i64), None, Some(&value));
    device.append(stream, &record, ClockQuality::Unset)
}

/// The numbers that are stored, with their offsets.
pub(crate) fn stored<const READ: usize>(device: &Opened<READ>) -> Vec<(u64, u64)> {
    let (mut cursor, mut buffer) = (device.journal().first(Lane::new(0)), [0; 640]);
    let mut found = Vec::new();
    loop {
        match device.journal().read(Lane::new(0), &mut cursor, &mut buffer) {
            ReadStep::End => return found,
            ReadStep::Entry(entry) => {
                for batch in batches(entry.body, Checksum::PORTABLE).flatten() {
                    for placed in batch.records().flatten() {
                        let value = placed.record.value.unwrap_or_default();
                        let number = value.try_into().map(u64::from_le_bytes);
                        found.push((placed.offset.get(), number.expect("a number was appended")));
                    }
                }
            }
            step => panic!("the journal lost something: {step:?}"),
        }
    }
}
