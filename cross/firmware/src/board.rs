//! The board: its serial lines, its clock, its stack, its randomness and its end. All that touches
//! the machine, and so all that is unsafe, is here.

use core::convert::Infallible;

use embedded_io::{ErrorType, ReadReady, WriteReady};
use landfall_device::line::LineKey;
use landfall_protocol::time::Instant;
use semihosting::fs::File;
use semihosting::io::Read;

/// The first serial line and the second, both PL011.
const UARTS: [usize; 2] = [0x4000_C000, 0x4000_D000];
/// Where its flags are, of which one says that there is nothing to read, and one that it takes no
/// more. Its data is at its start.
const FLAGS: usize = 0x18;
const EMPTY: u32 = 1 << 4;
const FULL: u32 = 1 << 5;

/// The timer of the core: control, where it begins again, and where it is on its way down.
const TIMER: *mut u32 = 0xE000_E010 as *mut u32;
const TIMER_RELOAD: *mut u32 = 0xE000_E014 as *mut u32;
const TIMER_VALUE: *mut u32 = 0xE000_E018 as *mut u32;
/// It runs by the core's clock.
const TIMER_ON: u32 = 0b101;
/// It counts 24 bits.
const TIMER_MAX: u32 = 0xFF_FFFF;
/// Ticks of a millisecond, at 12.5 MHz.
const MILLISECOND: u64 = 12_500;

/// What the start-up code paints the stack with.
const PAINT: u32 = 0xCCCC_CCCC;

unsafe extern "C" {
    static mut _stack_start: u32;
    static mut _stack_end: u32;
}

/// Says things on the second serial line.
pub(crate) struct Console;

impl Console {
    /// A word and some numbers.
    pub(crate) fn line(&self, word: &str, numbers: &[u64]) {
        word.bytes().for_each(put);
        for number in numbers {
            put(b' ');
            decimal(*number);
        }
        put(b'\n');
    }
}

fn decimal(number: u64) {
    let mut digits = [0; 20];
    let (mut left, mut count) = (number, 0);
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (left % 10) as u8;
        (left, count) = (left / 10, count + 1);
        if left == 0 {
            break;
        }
    }
    digits.iter().skip(digits.len() - count).copied().for_each(put);
}

fn put(byte: u8) {
    while flags(1) & FULL != 0 {}
    write(1, byte);
}

fn flags(line: usize) -> u32 {
    // SAFETY: it is a register of this machine, and reading it changes nothing.
    unsafe { ((UARTS[line] + FLAGS) as *const u32).read_volatile() }
}

fn write(line: usize, byte: u8) {
    // SAFETY: it is a register of this machine that takes a byte to be sent.
    unsafe { (UARTS[line] as *mut u32).write_volatile(u32::from(byte)) }
}

fn read(line: usize) -> u8 {
    // SAFETY: it is a register of this machine that gives the byte that came in.
    unsafe { (UARTS[line] as *const u32).read_volatile() as u8 }
}

/// The first serial line, as a byte stream.
pub(crate) struct Uart;

impl ErrorType for Uart {
    type Error = Infallible;
}

impl ReadReady for Uart {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(flags(0) & EMPTY == 0)
    }
}

impl embedded_io::Read for Uart {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        let mut count = 0;
        for place in buffer {
            while count == 0 && flags(0) & EMPTY != 0 {}
            if flags(0) & EMPTY != 0 {
                break;
            }
            (*place, count) = (read(0), count + 1);
        }
        Ok(count)
    }
}

impl WriteReady for Uart {
    fn write_ready(&mut self) -> Result<bool, Infallible> {
        Ok(flags(0) & FULL == 0)
    }
}

impl embedded_io::Write for Uart {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let mut count = 0;
        for byte in bytes {
            while count == 0 && flags(0) & FULL != 0 {}
            if flags(0) & FULL != 0 {
                break;
            }
            write(0, *byte);
            count += 1;
        }
        Ok(count)
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// The time since the start. It must be read once in 1.3 s.
pub(crate) struct Clock {
    ticks: u64,
    value: u32,
}

impl Clock {
    /// Starts the timer.
    pub(crate) fn start() -> Self {
        // SAFETY: the two are registers of the core's timer, which nobody else uses.
        unsafe {
            TIMER_RELOAD.write_volatile(TIMER_MAX);
            TIMER.write_volatile(TIMER_ON);
            TIMER_VALUE.write_volatile(0);
        }
        Self { ticks: 0, value: TIMER_MAX }
    }

    /// The time.
    pub(crate) fn now(&mut self) -> Instant {
        // SAFETY: as above, and reading it changes nothing.
        let value = unsafe { TIMER_VALUE.read_volatile() };
        self.ticks += u64::from(self.value.wrapping_sub(value) & TIMER_MAX);
        self.value = value;
        Instant::from_millis(self.ticks / MILLISECOND)
    }
}

/// Bytes of the stack that were ever used.
pub(crate) fn stack_used() -> u32 {
    let (start, end) = (&raw const _stack_start, &raw const _stack_end);
    let mut at = end;
    // SAFETY: the linker says that the stack lies between the two, and the words that the loop
    // reads lie below all that is in use: it ends at the first that was.
    while at < start && unsafe { at.read_volatile() } == PAINT {
        at = at.wrapping_add(1);
    }
    (start as usize - at as usize) as u32
}

/// A random number, drawn by the host. A device has a generator of its own.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    let drawn = File::open(c"/dev/urandom").and_then(|mut source| source.read(&mut bytes));
    match drawn {
        Ok(8) => u64::from_le_bytes(bytes),
        _ => abort(),
    }
}

/// Random bytes to begin with on the serial line.
pub(crate) fn seed() -> [u8; 16] {
    let number = u128::from(random()) << 64 | u128::from(random());
    number.to_le_bytes()
}

/// The device's key: the file `line.key`, in the folder that the emulator runs in. A device has it
/// in its flash, behind whatever protection the chip offers.
pub(crate) fn key() -> LineKey {
    let mut key = [0; 32];
    let read = File::open(c"line.key").and_then(|mut file| file.read(&mut key));
    match read {
        Ok(32) => LineKey::new(key),
        _ => abort(),
    }
}

/// Ends the emulator: all went well.
pub(crate) fn exit() -> ! {
    semihosting::process::exit(0)
}

/// Ends the emulator: something did not.
pub(crate) fn abort() -> ! {
    semihosting::process::exit(1)
}
