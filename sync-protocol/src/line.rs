//! A serial line as a byte stream: reliable, in order, and with a known device at its end.
//!
//! A bare line changes bytes, loses them and adds some; either end may start anew in the middle;
//! and whoever touches the wire can speak. So what is said on it stands in frames (`frame`) that
//! carry tags by a key that both ends have ([`LineKey`]). One frame with bytes is under way each
//! way, and is repeated until the other end has said that it came (`talk`).
//!
//! ```text
//! device                                      gateway
//! [`Caller`]  ── call: nonce, site, tag ────▶ [`Answerer`]   who is it, with its key?
//!             ◀── answer: nonce, tag ────────                another nonce, and I have the key
//!             ── data 0: bytes, tag ────────▶                you know both: the line is open
//!             ◀── ack 1, tag ────────────────
//! ```
//!
//! This is mutual authentication in three passes, as in ISO/IEC 9798-4, with the third in the first
//! frame of the session: tags are by a key that is made of both nonces, so that nothing which was
//! ever said on a line can be said again. An earlier session goes on until then: a call that was
//! recorded, and is played back, ends nothing.
//!
//! What is said can be read by whoever listens at the wire: frames are not encrypted.

mod answerer;
mod caller;
mod end;
mod frame;
mod key;
mod talk;

pub use answerer::{Answerer, Heard};
pub use caller::{Caller, Turn};
pub use frame::PAYLOAD_BYTES_MAX;
pub use key::{LineKey, NONCE_BYTES};
