//! Landfall on a microcontroller: what it measures is appended to a journal on NOR flash, and is
//! there after any power cut.
//!
//! - [`nor::Nor`] lets the journal live on any flash whose driver offers `embedded-storage`.
//! - [`Device`] is what a program uses: [`Device::open`], [`Device::append`].
//! - [`Uplink`] brings what is stored to a gateway, over any byte stream that offers `embedded-io`.
//! - [`Line`] makes such a stream of a bare serial line, with a gateway at its end that has the
//!   device's key.
//! - All memory is lent by the caller ([`memory::Memory`]). Nothing is allocated, nothing recurses,
//!   and each call does a bounded number of things to the flash, which [`nor::Nor`] counts.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod device;
pub mod line;
pub mod memory;
pub mod nor;
pub mod uplink;

pub use device::{AppendError, Device, OpenError};
pub use line::Line;
pub use memory::Memory;
pub use nor::{Nor, NorError};
pub use uplink::{Ended, Uplink};
