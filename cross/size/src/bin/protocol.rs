//! A device that stores and syncs: what `landfall-core` and `landfall-protocol` take, with what
//! joins them on a device.
#![no_std]
#![no_main]

use landfall_size::sync;

/// The entry point that link.x names; unmangled, so that the linker finds it.
#[unsafe(no_mangle)]
extern "C" fn reset() {
    sync::exercise();
}
