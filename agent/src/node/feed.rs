//! How a peer's history of a stream relates to this node's, for as long as the link lasts.

use landfall_core::frontier::{BranchIx, Point};
use landfall_core::num::Offset;

/// A stream as a peer sends it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Feed {
    /// Nothing has come yet.
    #[default]
    New,
    /// It goes on from a branch.
    Level(BranchIx),
    /// It repeats what should be here, from `start` on, but nothing has proved it so far.
    Behind {
        /// Where the repetition began.
        start: Point,
        /// How far it has come.
        at: Point,
    },
    /// It is wanted again from an offset, and nothing behind it is taken before that has come.
    Asked(Offset),
}

impl Feed {
    /// Whether a batch repeats on from where the feed has come.
    pub(crate) fn repeats(&self, base: Offset, before: landfall_core::hash::StreamHash) -> bool {
        matches!(self, Self::Behind { at, .. } if at.meets(base, before))
    }
}
