//! The board: its serial line, its stack, its randomness and its end. All that touches the machine,
//! and so all that is unsafe, is here.

use semihosting::fs::File;
use semihosting::io::Read;

/// The second serial line, a PL011.
const UART: usize = 0x4000_D000;
/// Its data register.
const DATA: *mut u32 = UART as *mut u32;
/// Its flags, of which one says that it takes no more.
const FLAGS: *const u32 = (UART + 0x18) as *const u32;
const FULL: u32 = 1 << 5;

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
    // SAFETY: the two are registers of this machine, which only this function uses, one byte after
    // the other; reading the flags changes nothing.
    unsafe {
        while FLAGS.read_volatile() & FULL != 0 {}
        DATA.write_volatile(u32::from(byte));
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

/// Ends the emulator: all went well.
pub(crate) fn exit() -> ! {
    semihosting::process::exit(0)
}

/// Ends the emulator: something did not.
pub(crate) fn abort() -> ! {
    semihosting::process::exit(1)
}
