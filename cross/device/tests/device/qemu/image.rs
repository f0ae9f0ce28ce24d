//! The flash's image, read as another device would read it.

use std::fs;
use std::path::{Path, PathBuf};

use landfall_core::batch::batches;
use landfall_core::checksum::Checksum;
use landfall_core::journal::{Fresh, ReadStep};
use landfall_core::media::{Media, Place, SlotIx};
use landfall_core::num::{BootId, CommitNo, Epoch, Lane, LogId};
use landfall_core::tables::Slot;
use landfall_device::{Device, Memory, Nor};

use chip::Chip;

/// Slots of the firmware's journal, and their bytes.
const SHAPE: (u32, u32) = (16, 4096);

/// The key that the firmware finds beside its chip.
pub(super) const KEY: [u8; 32] = [7; 32];

/// A file with the content of a chip.
pub(crate) struct Image(PathBuf);

impl Image {
    /// A blank chip, and a key beside it.
    pub(crate) fn blank(folder: &Path) -> Self {
        let path = folder.join("flash.bin");
        fs::write(&path, vec![0xFF; (SHAPE.0 * SHAPE.1) as usize]).unwrap();
        fs::write(folder.join("line.key"), KEY).unwrap();
        Self(path)
    }

    /// The values that it holds, in the order of their offsets, which are dense. They are looked at
    /// in a copy: the firmware's next start finds the flash as the power cut left it.
    pub(crate) fn records(&self) -> impl Iterator<Item = u64> {
        let chip = Chip(fs::read(&self.0).unwrap());
        let flash = Nor::new(chip, 0, SHAPE.0, SHAPE.1).unwrap();
        let mut mark = [0; 8];
        let begun = (0..SHAPE.0).any(|slot| {
            flash.read(Place { slot: SlotIx(slot), at: 0 }, &mut mark).unwrap();
            mark == *b"LANDFALL"
        });
        if begun { stored(flash) } else { Vec::new() }.into_iter()
    }
}

fn stored(flash: Nor<Chip>) -> Vec<u64> {
    let mut slots = [Slot::default(); SHAPE.0 as usize];
    let (mut commit, mut read) = ([0; 1_536], [0; 560]);
    let memory = Memory { slots: &mut slots, commit: &mut commit, read: &mut read };
    let fresh = Fresh {
        log: LogId::new(1),
        epoch: Epoch::new(1),
        boot: BootId::new(1),
        first_commit: CommitNo::new(1),
    };
    let (device, recovery) = Device::<_, 1>::open(flash, "buoy-4", memory, fresh).unwrap();
    assert_eq!(recovery.damaged, 0, "a power cut damages nothing that was committed");
    let (mut cursor, mut buffer) = (device.journal().first(Lane::new(0)), [0; 560]);
    let mut found = Vec::new();
    loop {
        match device.journal().read(Lane::new(0), &mut cursor, &mut buffer) {
            ReadStep::End => return found,
            ReadStep::Entry(entry) => {
                for batch in batches(entry.body, Checksum::PORTABLE).flatten() {
                    for placed in batch.records().flatten() {
                        assert_eq!(placed.offset.get(), found.len() as u64, "each offset is once");
                        let value = placed.record.value.unwrap().try_into().unwrap();
                        found.push(u64::from_le_bytes(value));
                    }
                }
            }
            step => panic!("the journal lost something: {step:?}"),
        }
    }
}

mod chip {
    //! A chip in memory.

    use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};

    /// Its content.
    pub(crate) struct Chip(pub(crate) Vec<u8>);

    impl ErrorType for Chip {
        type Error = core::convert::Infallible;
    }

    impl ReadNorFlash for Chip {
        const READ_SIZE: usize = 1;

        fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
            let at = offset as usize;
            bytes.copy_from_slice(&self.0[at..at + bytes.len()]);
            Ok(())
        }

        fn capacity(&self) -> usize {
            self.0.len()
        }
    }

    impl NorFlash for Chip {
        const WRITE_SIZE: usize = 8;
        const ERASE_SIZE: usize = 4096;

        fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
            self.0[from as usize..to as usize].fill(0xFF);
            Ok(())
        }

        fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
            let held = &mut self.0[offset as usize..][..bytes.len()];
            held.iter_mut().zip(bytes).for_each(|(held, bits)| *held &= bits);
            Ok(())
        }
    }
}
