//! A device that stores and syncs: what `landfall-protocol` takes, with the core below it.
#![no_std]
#![no_main]

use landfall_protocol as _;
use landfall_size::store;

/// The entry point that link.x names; unmangled, so that the linker finds it.
#[unsafe(no_mangle)]
extern "C" fn reset() {
    store::exercise();
}
