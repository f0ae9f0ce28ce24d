//! What two nodes say to each other: messages, framing, multiplexing, and the session machine that
//! either end of a connection runs.
//!
//! - No IO, clock or randomness: bytes, time and random numbers are handed in.
//! - What is said about records is *decided* by the node, which owns a journal; the session sees to
//!   who may speak when, how much, and whether the other end is still there.
//! - Nothing that a peer sends is trusted: every list, text, frame and queue has a limit
//!   ([`limits`]), and whatever breaks a rule is a [`session::Fault`], never a panic.
//! - Without the `alloc` feature, buffers have a fixed size and nothing is allocated.
//!
//! `docs/protocol.md` has the table of messages and each exchange in steps.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod backoff;
pub mod buffer;
pub mod channel;
pub mod clock;
pub mod frame;
pub mod limits;
pub mod line;
pub mod message;
pub mod mux;
pub mod session;
pub mod time;
mod wire;
