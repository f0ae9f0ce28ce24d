//! What a device calls to store and to sync: a journal on NOR flash, and an uplink over a stream of
//! bytes that somebody else answers for.

use core::convert::Infallible;
use core::hint::black_box;

use embedded_io::{Read, ReadReady, Write, WriteReady};
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use landfall_core::batch::ClockQuality;
use landfall_core::journal::Fresh;
use landfall_core::num::{BootId, CommitNo, Epoch, LogId, Partition, Timestamp};
use landfall_core::record::Record;
use landfall_core::tables::Slot;
use landfall_device::uplink::INBOX_BYTES;
use landfall_device::{Device, Memory, Nor, Uplink};
use landfall_protocol::time::Instant;

const SLOTS: u32 = 16;
const BLOCK_BYTES: usize = 4096;

/// Opens the journal, appends, and brings to the gateway what is stored.
pub fn exercise() {
    let mut slots = [Slot::default(); SLOTS as usize];
    let (mut commit, mut read) = ([0; 1_536], [0; 560]);
    let (mut inbox, mut outbox) = ([0; INBOX_BYTES], [0; 560]);
    let memory = Memory { slots: &mut slots, commit: &mut commit, read: &mut read };
    let Ok(flash) = Nor::new(Chip, 0, SLOTS, BLOCK_BYTES as u32) else { return };
    let fresh = Fresh {
        log: LogId::new(1),
        epoch: Epoch::new(black_box(2)),
        boot: BootId::new(3),
        first_commit: CommitNo::new(1),
    };
    let opened = Device::<_, 1>::open(flash, black_box("ship-1"), memory, fresh);
    let Ok((mut device, recovery)) = opened else { return };
    black_box(recovery);
    let Ok(stream) = device.stream(black_box("ais"), Partition::new(0)) else { return };
    let value = black_box([7_u8; 32]);
    let record = Record::new(Timestamp::new(black_box(1)), None, Some(&value));
    let mut uplink = Uplink::new(&mut inbox, &mut outbox);
    uplink.connected(black_box(Instant::default()));
    let (now, wall) = (Instant::default(), Timestamp::new(0));
    while uplink.poll(&mut device, black_box(now), black_box(wall), &mut Wire) {
        let _ = black_box(device.append(stream, &record, ClockQuality::Unset));
    }
}

/// A chip whose driver is somebody else's weight.
struct Chip;

impl ErrorType for Chip {
    type Error = Infallible;
}

impl ReadNorFlash for Chip {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Infallible> {
        black_box((offset, bytes));
        Ok(())
    }

    fn capacity(&self) -> usize {
        SLOTS as usize * BLOCK_BYTES
    }
}

impl NorFlash for Chip {
    const WRITE_SIZE: usize = 8;
    const ERASE_SIZE: usize = BLOCK_BYTES;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Infallible> {
        black_box((from, to));
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Infallible> {
        black_box((offset, bytes));
        Ok(())
    }
}

/// A stream that somebody else makes.
struct Wire;

impl embedded_io::ErrorType for Wire {
    type Error = Infallible;
}

impl Read for Wire {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Infallible> {
        let taken = bytes.len();
        black_box(bytes);
        Ok(black_box(taken))
    }
}

impl ReadReady for Wire {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(black_box(true))
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        Ok(black_box(bytes).len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

impl WriteReady for Wire {
    fn write_ready(&mut self) -> Result<bool, Infallible> {
        Ok(black_box(true))
    }
}
