//! How a peer's history of a stream relates to this node's, for as long as the link lasts.

use landfall_core::frontier::{BranchIx, Point};
use landfall_core::media::{Media, MediaError};
use landfall_core::num::Offset;
use landfall_protocol::time::{Duration, Instant};

use super::link::{LinkState, Say};
use super::lookup::Held;
use super::{Core, Gate};

/// What nothing has proved for so long is looked up.
const PROOF_WITHIN: Duration = Duration::from_secs(1);

/// A stream as a peer sends it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Feed {
    /// Nothing has come yet.
    #[default]
    New,
    /// It goes on from a branch, if it could be told from which.
    Level(Option<BranchIx>),
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

impl LinkState {
    /// When what nothing has proved is to be looked up.
    pub(crate) fn proof_due(&self) -> Option<(Instant, &'static str)> {
        self.unproven.map(|since| (since.plus(PROOF_WITHIN), "nothing proved what was repeated"))
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// Looks up what a peer repeated and nothing behind it has proved.
    pub(crate) fn prove(&mut self, state: &mut LinkState) {
        state.unproven = None;
        if let Err(error) = self.look_up_unproven(state) {
            self.read_failed(error);
            state.unproven = Some(self.arrived_at.instant);
        }
    }

    fn look_up_unproven(&mut self, state: &mut LinkState) -> Result<(), MediaError> {
        for (ix, feed) in state.feeds.clone() {
            let Feed::Behind { start, at } = feed else { continue };
            let held = match at.hash {
                Some(hash) => self.holds(ix, at.next, hash)?,
                None => Held::Gone,
            };
            if held == Held::No {
                let want = self.deeper(ix, Some(&feed), start.next);
                state.feeds.insert(ix, Feed::Asked(want.next));
                state.says.push_back(Say::NeedFrom(ix, want));
                continue;
            }
            // Where the records are gone, an equal epoch counts as equal.
            let branch = self.branch_at(ix, at);
            state.feeds.insert(ix, Feed::Level(branch));
            state.proven.insert((ix, branch), at);
        }
        Ok(())
    }
}
