//! A device that only stores: what `landfall-core` takes.
#![no_std]
#![no_main]

use landfall_size::store;

/// The entry point that link.x names; unmangled, so that the linker finds it.
#[unsafe(no_mangle)]
extern "C" fn reset() {
    store::exercise();
}
