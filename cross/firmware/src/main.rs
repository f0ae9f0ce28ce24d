//! A sensor that appends a number to its journal, again and again, brings it to a gateway over its
//! first serial line, and tells on its second one what is stored. It is killed at any time; what it
//! told must be on the flash, and arrive.
//!
//! It runs in QEMU (`cargo xtask firmware`), on a chip whose flash is a file of the host.
#![no_std]
#![no_main]

mod board;
mod flash;

use core::panic::PanicInfo;

use cortex_m_rt::entry;
use landfall_core::batch::ClockQuality;
use landfall_core::journal::Fresh;
use landfall_core::num::{BootId, CommitNo, Epoch, LogId, Partition, Timestamp};
use landfall_core::record::Record;
use landfall_core::tables::Slot;
use landfall_device::uplink::INBOX_BYTES;
use landfall_device::{AppendError, Device, Line, Memory, Nor, Uplink};

use board::{Clock, Console, Uart};
use flash::{BLOCK_BYTES, FileFlash};

/// Slots of the journal; each is a block of the flash.
const SLOTS: u32 = 16;

/// Who this is; the gateway has a key of it.
const SITE: &str = "buoy-4";
/// The board knows no date. Records have the time since the start, and the hub tells readers when
/// that was.
const NO_CALENDAR: Timestamp = Timestamp::new(0);
/// Turns of the loop for each reading.
const TURNS: u32 = 16;
/// Readings for which there is no room, until nobody is taken to be at the other end of the line.
const REFUSED_MAX: u32 = 10_000;

#[entry]
fn main() -> ! {
    let mut slots = [Slot::default(); SLOTS as usize];
    let (mut commit, mut read) = ([0; 1_536], [0; 560]);
    let (mut inbox, mut outbox) = ([0; INBOX_BYTES], [0; 560]);
    let memory = Memory { slots: &mut slots, commit: &mut commit, read: &mut read };
    let mut uplink = Uplink::new(&mut inbox, &mut outbox);
    let ended = run(memory, &mut uplink);
    Console.line("stack", &[u64::from(board::stack_used())]);
    match ended {
        Ended::Full => board::exit(),
        Ended::Failed(what) => Console.line("failed", &[what]),
    }
    board::abort()
}

/// Why the sensor stopped.
enum Ended {
    /// The flash is full, and there is nobody at the other end of the line.
    Full,
    /// A step failed: 1 to reach the flash, 2 to open the journal, 3 to append.
    Failed(u64),
}

/// Opens the journal, appends, and brings to the node what is stored.
fn run(memory: Memory<'_>, uplink: &mut Uplink<'_, 1>) -> Ended {
    let flash = FileFlash::open().and_then(|file| Nor::new(file, 0, SLOTS, BLOCK_BYTES).ok());
    let Some(flash) = flash else { return Ended::Failed(1) };
    let boot = board::random();
    let fresh = Fresh {
        log: LogId::new(board::random()),
        epoch: Epoch::new(board::random()),
        boot: BootId::new(boot),
        first_commit: CommitNo::new(1),
    };
    let opened = Device::<_, 1>::open(flash, SITE, memory, fresh);
    let Ok((mut device, _)) = opened else { return Ended::Failed(2) };
    let Ok(sea) = device.stream("sea", Partition::new(0)) else { return Ended::Failed(3) };
    Console.line("opened", &[device.next(sea).get()]);
    let (mut clock, mut reading, mut refused) = (Clock::start(), boot, 0);
    let mut line = Line::new(Uart, SITE, board::key(), board::seed());
    loop {
        for _ in 0..TURNS {
            line.poll(&mut device, uplink, clock.now(), NO_CALENDAR);
        }
        // What a sensor would say; no two starts say the same.
        reading = reading.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let value = reading.to_le_bytes();
        let stamp = Timestamp::new(clock.now().millis() as i64);
        let record = Record::new(stamp, None, Some(&value));
        match device.append(sea, &record, ClockQuality::Unset) {
            Ok(offset) => {
                refused = 0;
                Console.line("stored", &[offset.get(), reading]);
            }
            // The gateway makes room, once it has accepted us.
            Err(AppendError::Full) if uplink.is_open() || refused < REFUSED_MAX => refused += 1,
            Err(AppendError::Full) => return Ended::Full,
            Err(_) => return Ended::Failed(3),
        }
    }
}

/// A defect: it shows as an exit with a failure.
#[panic_handler]
fn stop(_: &PanicInfo<'_>) -> ! {
    Console.line("panicked", &[]);
    board::abort()
}
