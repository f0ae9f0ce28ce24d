//! What every measured program needs besides the code that it measures.
//!
//! A program calls the functions of a device with values that went through `black_box`: what the
//! compiler could compute beforehand, or leave out, would be missing in the sum.
#![no_std]

pub mod store;
pub mod sync;

use core::panic::PanicInfo;

/// Panics end in an endless loop: a device's own handler is not Landfall's weight.
#[panic_handler]
fn stop(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
