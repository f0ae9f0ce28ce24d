//! Derived topics: rows of a view's queries that become records, each of them once.
//!
//! ```text
//! apply ─ one transaction: rows, position, outbox ─▶ _outbox ─ send ─▶ journal (idempotent) ─┐
//!   ▲                                                   ▲                                    │
//!   └── what the log has of it (`known`), at each start └── gone when it is durable ◀────────┘
//! ```
//!
//! - A record is put into the outbox in the transaction that moves the view past its cause.
//! - It goes to the log under a sequence of its own, so that it is written once although it is
//!   sent twice, and is taken out of the outbox when it is durable.
//! - What the view's statements refuse goes the same way, as a dead letter.
//! - It names its cause. At a start the log is asked which causes have been derived from, so that
//!   nothing is derived twice if the file was lost, or the node has forgotten who wrote it.

mod check;
mod emit;
mod known;
mod letter;
mod outbox;
mod send;
#[cfg(test)]
mod tests;

use crate::api::{BY, CAUSE};
use crate::node::Derived;

pub(super) use check::check_emits;
pub(super) use emit::Emits;
pub(super) use known::{Asked, known};
pub(super) use letter::{letter_topics, put_letter};
pub(super) use outbox::{begun, count, forget, keep_behind, lowest, prune, put_derivation, topics};
pub(super) use send::{Sent, send};

/// How the names of headers begin that no statement may give.
const RESERVED: &str = "landfall.";

/// A place in this node's log: a commit, and how many of its records are before it.
pub(super) type LogPlace = (u64, u32);

/// What of the records that are applied is derived.
pub(super) struct Deriving<'d> {
    /// The name under which the records are written, and the generation that they tell.
    pub(super) derivation: &'d Derivation,
    /// What the log has.
    pub(super) known: &'d Derived,
    /// The partition of a key of a topic.
    pub(super) partition_of: &'d dyn Fn(&str, Option<&[u8]>) -> u32,
}

/// What a generation of a view derives as.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Derivation {
    /// The view.
    pub(super) view: String,
    /// Which making of its rows.
    pub(super) generation: u64,
    /// Drawn at each start, as numbers are given again when the file, or the end of it, is lost.
    pub(super) run: String,
    /// Nothing is derived up to here: a generation before this one has done it.
    pub(super) after: Option<LogPlace>,
}

impl Derivation {
    /// The name of the producer.
    fn producer(&self) -> String {
        format!("\0view\0{}\0{}\0{}", self.view, self.generation, self.run)
    }

    /// What a derived record says of who derived it.
    fn by(&self) -> String {
        format!("{}/{}", self.view, self.generation)
    }
}
