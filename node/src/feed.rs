//! How a peer's history of a stream relates to this node's, for as long as the link lasts.
//!
//! The branches of a stream come mixed. What is not known yet to be ours is therefore kept by its
//! epoch, which no two branches have in common behind the point where they part: that one branch
//! goes on says nothing of another.

use std::collections::BTreeMap;

use landfall_core::batch::BatchHead;
use landfall_core::frontier::{BranchIx, Point, StreamIx};
use landfall_core::hash::StreamHash;
use landfall_core::media::{Media, MediaError};
use landfall_core::num::{Epoch, Offset};
use landfall_protocol::time::{Duration, Instant};

use super::ingest::Judged;
use super::link::{LinkState, Say};
use super::lookup::Held;
use super::promise::{self, STATED};
use super::verdict::Verdict;
use super::{Core, Gate};

/// What nothing has proved for so long is looked up.
const PROOF_WITHIN: Duration = Duration::from_secs(1);
/// Histories of a stream that are told apart at a time; a stream has fewer, or its peer is odd.
const STRANDS_MAX: usize = 32;

/// Asking again without anything new is given up after so many times, until the next session: the
/// peer has not what would tell how its histories and ours relate.
const ASKS_MAX: u32 = 256;

/// From so many times on, it is asked for from its beginning.
const CIRCLE: u32 = 16;

/// Whether a stream is asked for once more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Asking {
    Again,
    /// Not any more, as of now.
    GivesUp,
    GaveUp,
}

/// A stream as a peer sends it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Feed {
    /// The branch that it went on from last, if it could be told from which.
    branch: Option<BranchIx>,
    /// Where that was: all up to there is here.
    end: Option<Point>,
    /// It is wanted again from there.
    asked: Option<Offset>,
    /// What seemed to repeat ours was not ours: up to there, all is looked up at once.
    doubted: Offset,
    /// Histories that are not known to be ours, by the epoch of what comes of them next.
    strands: BTreeMap<Epoch, Strand>,
    /// How often it was wanted again since something new came of it.
    asks: u32,
    /// How far it was seen to be ours, by epoch. An epoch has one history, so all of it that is
    /// before is ours too, although its records may be gone.
    proved: BTreeMap<Epoch, Offset>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Strand {
    /// It repeats what should be here, from `start` to `at`, but nothing has proved it so far.
    Behind { start: Point, at: Point },
    /// It is wanted again from there, and is another history, or can't be told from one.
    Parted(Point),
}

/// What a peer is asked for again.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Want {
    /// What is behind a point, to see how it relates to what is here.
    Behind(Point),
    /// A history that parts from ours there.
    Parted(Point),
}

impl Want {
    /// From where.
    pub(crate) fn point(self) -> Point {
        let (Self::Behind(point) | Self::Parted(point)) = self;
        point
    }
}

impl Strand {
    fn end(&self) -> Point {
        let (Self::Behind { at, .. } | Self::Parted(at)) = self;
        *at
    }
}

impl Feed {
    /// The branch that it goes on from, if nothing else of it is in doubt.
    pub(crate) fn branch(&self) -> Option<BranchIx> {
        self.branch.filter(|_| self.asked.is_none() && self.strands.is_empty())
    }

    /// Up to where what came last is here, if nothing of it is in doubt.
    pub(crate) fn end(&self) -> Option<Point> {
        self.end.filter(|_| self.branch().is_some())
    }

    /// Whether it is wanted again from one of these offsets.
    pub(crate) fn is_asked_from(&self, offsets: core::ops::Range<Offset>) -> bool {
        self.asked.is_some_and(|from| offsets.contains(&from))
    }

    /// Whether a batch goes on from where one of its histories has come, which is here or seems to
    /// be.
    pub(crate) fn repeats(&self, base: Offset, before: StreamHash) -> bool {
        let behind = self.strands.values().filter_map(|strand| match strand {
            Strand::Behind { at, .. } => Some(*at),
            Strand::Parted(_) => None,
        });
        behind.chain(self.end).any(|at| at.meets(base, before))
    }

    /// Whether a batch that seems to repeat ours may be taken to, until something proves it.
    pub(crate) fn trusts(&self, base: Offset) -> bool {
        base >= self.doubted
    }

    /// Where the history of a batch parts from ours, if it is known to. Others may go on from the
    /// same point, so only its epoch tells, unless nobody knows that.
    pub(crate) fn parted(&self, head: &BatchHead<'_>) -> Option<Point> {
        let mut parted = self.strands.iter().filter_map(|(epoch, strand)| match strand {
            Strand::Parted(at) => Some((*epoch, at)),
            Strand::Behind { .. } => None,
        });
        let its = |epoch: Epoch, at: &Point| match epoch {
            STATED => at.meets(head.base, head.before),
            epoch => epoch == head.epoch && at.next < head.end(),
        };
        parted.find(|(epoch, at)| its(*epoch, at)).map(|(_, at)| *at)
    }

    /// Whether a batch lies below what was seen to be ours of its epoch.
    pub(crate) fn is_proved(&self, head: &BatchHead<'_>) -> bool {
        self.proved.get(&head.epoch).is_some_and(|to| head.end() <= *to)
    }

    fn note_proved(&mut self, base: Point, end: Point) {
        if base.next >= end.next {
            // A statement: no record leads there.
            return;
        }
        if self.proved.len() >= STRANDS_MAX && !self.proved.contains_key(&end.epoch) {
            self.proved.pop_first();
        }
        let to = self.proved.entry(end.epoch).or_default();
        *to = end.next.max(*to);
    }

    /// Whether it is not asked for any more in this session.
    pub(crate) fn is_given_up(&self) -> bool {
        self.asks >= ASKS_MAX
    }

    /// Whether it was wanted again so often without anything new that what was asked for can't
    /// be what is missing: all of the history that comes is.
    pub(crate) fn is_in_a_circle(&self) -> bool {
        self.asks >= CIRCLE
    }

    /// Something new came of it.
    pub(crate) fn note_news(&mut self) {
        self.asks = 0;
    }

    /// Counts that it is about to be wanted again. Returns whether that may still help.
    pub(crate) fn count_ask(&mut self) -> Asking {
        self.asks = self.asks.saturating_add(1);
        match self.asks {
            asks if asks < ASKS_MAX => Asking::Again,
            ASKS_MAX => Asking::GivesUp,
            _ => Asking::GaveUp,
        }
    }

    /// It is wanted again. Returns whether that is news.
    pub(crate) fn want(&mut self, want: Want) -> bool {
        match want {
            Want::Behind(point) => self.asked.replace(point.next) != Some(point.next),
            Want::Parted(point) => {
                self.asked = None;
                self.put(point.epoch, Strand::Parted(point)) != Some(Strand::Parted(point))
            }
        }
    }

    /// What lies between two points goes on from a branch, or is here.
    pub(crate) fn goes_on(&mut self, branch: Option<BranchIx>, base: Point, end: Point) {
        (self.branch, self.end, self.asked) = (branch, Some(end), None);
        self.note_proved(base, end);
        let its = self.strands.get(&end.epoch).copied();
        let mut proved = base;
        match its {
            Some(Strand::Behind { start, at }) if at.next <= end.next => {
                self.strands.remove(&end.epoch);
                proved = if start.next < base.next { start } else { base };
            }
            Some(Strand::Parted(at)) if at.next < end.next => {
                self.strands.remove(&end.epoch);
            }
            _ => {}
        }
        if let Some(Strand::Parted(at)) = self.strands.get(&STATED)
            && (at.next, at.hash) == (base.next, base.hash)
        {
            self.strands.remove(&STATED);
        }
        // What leads there is proved with it.
        while let Some((epoch, start)) = self.leading_to(proved) {
            self.strands.remove(&epoch);
            proved = start;
        }
    }

    /// What repeats ours up to a point: its epoch, and where it began.
    fn leading_to(&self, point: Point) -> Option<(Epoch, Point)> {
        self.strands.iter().find_map(|(epoch, strand)| match *strand {
            Strand::Behind { start, at } if at.next == point.next && at.hash == point.hash => {
                Some((*epoch, start))
            }
            _ => None,
        })
    }

    /// What lies between two points repeats what should be here.
    pub(crate) fn repeat(&mut self, base: Point, end: Point) {
        if let Some(Strand::Parted(at)) = self.strands.get(&end.epoch)
            && end.next <= at.next
        {
            return;
        }
        let start = match self.strands.get(&end.epoch) {
            Some(Strand::Behind { start, .. }) if start.next < base.next => *start,
            _ => base,
        };
        self.put(end.epoch, Strand::Behind { start, at: end });
    }

    fn is_behind(&self, at: Point) -> bool {
        matches!(self.strands.get(&at.epoch), Some(Strand::Behind { at: end, .. }) if *end == at)
    }

    /// A history that has come to a point is not taken to repeat ours any more. Returns where that
    /// began.
    pub(crate) fn give_up(&mut self, at: Point) -> Point {
        let its = match self.strands.get(&at.epoch) {
            Some(Strand::Behind { start, .. }) => Some((at.epoch, *start)),
            _ => self.leading_to(at),
        };
        let Some((epoch, start)) = its else { return at };
        self.strands.remove(&epoch);
        if start.next < at.next { start } else { at }
    }

    fn put(&mut self, epoch: Epoch, strand: Strand) -> Option<Strand> {
        if self.strands.len() >= STRANDS_MAX && !self.strands.contains_key(&epoch) {
            self.strands.pop_first();
        }
        self.strands.insert(epoch, strand)
    }

    /// What it is behind batches of one entry that have been judged.
    pub(crate) fn behind(&self, ix: StreamIx, judged: &[Judged<'_>]) -> Self {
        let mut feed = self.clone();
        let of_stream = judged.iter().filter(|judged| judged.is_current_of(ix));
        for judged in of_stream.filter(|judged| judged.verdict == Verdict::Unproven) {
            let (base, end) = judged.ends();
            feed.repeat(base, end);
        }
        feed
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
        let feeds = state.feeds.iter();
        let mut unproven: Vec<_> = feeds
            .flat_map(|(ix, feed)| feed.strands.values().map(|strand| (*ix, *strand)))
            .collect();
        unproven.sort_by_key(|(_, strand)| core::cmp::Reverse(strand.end().next));
        for (ix, strand) in unproven {
            let Strand::Behind { start, at } = strand else { continue };
            if !state.feeds.get(&ix).is_some_and(|feed| feed.is_behind(at)) {
                // It was proved with what follows it.
                continue;
            }
            let held = match at.hash {
                Some(hash) => self.holds(ix, at.next, hash)?,
                None => Held::Gone,
            };
            let feed = state.feeds.entry(ix).or_default();
            feed.give_up(at);
            // Where the records are gone, an equal epoch counts as equal.
            let want = match held {
                Held::No => {
                    feed.doubted = feed.doubted.max(at.next);
                    self.parted_before(ix, start)
                }
                Held::Gone if !self.is_written_under(ix, at.epoch, start.next) => {
                    Want::Parted(start)
                }
                _ => {
                    let branch = self.branch_at(ix, at);
                    feed.goes_on(branch, start, at);
                    promise::add(&mut state.proven, ix, branch, at);
                    continue;
                }
            };
            feed.want(want);
            state.says.push_back(Say::NeedFrom(ix, want.point()));
        }
        Ok(())
    }
}
