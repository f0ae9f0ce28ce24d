//! What a Landfall node *stores*: records, batches, entries, and the journal that keeps them over
//! a [`media::Media`] port.
//!
//! - No std, clock, randomness or logging: time and random numbers are handed in.
//! - Without the `alloc` feature it serves a device that writes streams of its own; with it, a hub
//!   that holds those of any number of origins.
//! - Bad input and bad bytes are errors; an assertion means a defect of this code.
//!
//! `docs/format.md` draws every byte.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod batch;
pub mod checksum;
pub mod codec;
pub mod control;
pub mod entry;
pub mod frontier;
pub mod gap;
pub mod hash;
pub mod heard;
pub mod journal;
pub mod limits;
pub mod media;
pub mod name;
pub mod num;
pub mod producers;
pub mod record;
pub mod segment;
pub mod tables;
