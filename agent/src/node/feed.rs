//! How a peer's history of a stream relates to this node's, for as long as the link lasts.

use landfall_core::frontier::{BranchIx, Point, StreamIx};
use landfall_core::media::{Media, MediaError};
use landfall_core::num::Offset;
use landfall_protocol::time::{Duration, Instant};

use super::ingest::Judged;
use super::link::{LinkState, Say};
use super::lookup::Held;
use super::verdict::Verdict;
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
    /// The same, where what comes from there is known to be another history, or can't be told from
    /// one.
    Parted(Point),
}

impl Feed {
    /// Whether a batch repeats on from where the feed has come.
    pub(crate) fn repeats(&self, base: Offset, before: landfall_core::hash::StreamHash) -> bool {
        matches!(self, Self::Behind { at, .. } if at.meets(base, before))
    }

    /// What it is behind batches of one entry that have been judged.
    pub(crate) fn behind(self, ix: StreamIx, judged: &[Judged<'_>]) -> Self {
        let of_stream = judged.iter().filter(|judged| judged.is_current_of(ix));
        of_stream.fold(self, |feed, judged| {
            let (base, at) = judged.ends();
            match (judged.verdict, feed) {
                (Verdict::Unproven, Self::Behind { start, .. }) => Self::Behind { start, at },
                (Verdict::Unproven, _) => Self::Behind { start: base, at },
                _ => feed,
            }
        })
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
            // Where the records are gone, an equal epoch counts as equal.
            let (want, asked) = match held {
                Held::No => self.parted_before(ix, feed, start),
                Held::Gone if !self.is_written_under(ix, at.epoch, start.next) => {
                    (start, Feed::Parted(start))
                }
                _ => {
                    let branch = self.branch_at(ix, at);
                    state.feeds.insert(ix, Feed::Level(branch));
                    state.proven.insert((ix, branch), at);
                    continue;
                }
            };
            state.feeds.insert(ix, asked);
            state.says.push_back(Say::NeedFrom(ix, want));
        }
        Ok(())
    }
}
