//! The verdict on a batch: is it new, had before, early, or another history?
//!
//! A stream hash covers all that came before it. So if a peer's hash agrees with one of ours at any
//! offset, everything below is equal, and what nothing proves yet is proved by what follows.

use landfall_core::batch::Batch;
use landfall_core::codec::Malformed;
use landfall_core::frontier::{Branch, BranchIx, Point, Rung};
use landfall_core::hash::StreamHash;
use landfall_core::num::{Epoch, Offset};

use super::feed::Feed;

/// What a batch is to this node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// It goes on from a branch.
    Next(BranchIx),
    /// It begins a stream.
    First,
    /// All of it is here.
    Had,
    /// It repeats what should be here; what follows will prove it.
    Unproven,
    /// It is here up to this offset, where it goes on from a branch.
    Overlap(BranchIx, Offset, StreamHash),
    /// Something before it is missing here.
    Early(Point),
    /// It goes on from a known point otherwise than the branches do, as far as is known from this
    /// offset on.
    Fork(Offset, StreamHash),
    /// It belongs into a gap.
    Late,
    /// The upstream node wants it again, and it is not here any more.
    Repair,
    /// What is stored must be looked at: does the stream pass through its end?
    LookEnd,
    /// The same, where nothing has proved what came before it.
    LookOn,
    /// What is stored must be looked at: does the stream pass through its beginning?
    LookBase,
    /// Its history parted from ours earlier.
    Deeper,
}

/// A branch and its ladder, as they stand with what is staged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) ix: BranchIx,
    pub(crate) branch: Branch,
    pub(crate) ladder: &'a [Rung],
}

impl View<'_> {
    /// The points of the branch that are known without reading.
    fn points(&self) -> impl Iterator<Item = (Epoch, Offset, StreamHash)> {
        let tip = self.branch.tip;
        let tip = tip.hash.map(|hash| (tip.epoch, tip.next, hash));
        self.ladder.iter().map(|rung| (rung.epoch, rung.next, rung.hash)).chain(tip)
    }

    fn passes(&self, next: Offset, hash: StreamHash) -> bool {
        let start = next == Offset::ZERO && hash == StreamHash::START && self.starts();
        start || self.points().any(|(_, at, known)| at == next && known == hash)
    }

    fn starts(&self) -> bool {
        self.branch.from == Offset::ZERO
    }
}

/// Judges a batch by what is known without reading.
///
/// # Errors
/// The batch is malformed.
pub(crate) fn judge(
    views: &[View<'_>],
    batch: &Batch<'_>,
    feed: &Feed,
) -> Result<Verdict, Malformed> {
    let head = &batch.head;
    if views.is_empty() {
        let first = Point::START.meets(head.base, head.before);
        return Ok(if first { Verdict::First } else { Verdict::Early(Point::START) });
    }
    if feed.is_proved(head) {
        return Ok(Verdict::Had);
    }
    let next = views.iter().find(|view| view.branch.tip.meets(head.base, head.before));
    if let Some(view) = next.filter(|view| !has_joined(views, view)) {
        return Ok(Verdict::Next(view.ix));
    }
    if views.iter().any(|view| view.passes(head.end(), head.after)) {
        return Ok(Verdict::Had);
    }
    let farthest = views.iter().max_by_key(|view| view.branch.tip.next);
    let highest = farthest.map_or(Point::START, |view| view.branch.tip);
    if head.base > highest.next {
        return Ok(Verdict::Early(highest));
    }
    let inside = look_inside(views, batch)?;
    if let Some(verdict) = inside.overlap {
        return Ok(verdict);
    }
    let known = inside.agrees || views.iter().any(|view| view.passes(head.base, head.before));
    let repeats = feed.repeats(head.base, head.before);
    // Another branch may pass elsewhere; it is enough that one can hold the batch.
    let holds =
        |view: &View<'_>| view.branch.tip.next >= head.end() && !inside.differs.contains(&view.ix);
    let held = views.iter().any(holds);
    let trusted = feed.trusts(head.base) && written_under(views, head.epoch, head.base);
    Ok(match (known, repeats) {
        (false, false) => Verdict::LookBase,
        (true, _) | (_, true) if held && trusted => Verdict::Unproven,
        (true, _) if held => Verdict::LookEnd,
        (_, true) if held => Verdict::LookOn,
        (true, _) => Verdict::Fork(head.base, head.before),
        (false, true) => Verdict::Deeper,
    })
}

/// Whether a branch has come to a point of another one that goes on from there. It was taken for a
/// fork while what it began with was not here to compare.
fn has_joined(views: &[View<'_>], branch: &View<'_>) -> bool {
    let tip = branch.branch.tip;
    let Some(hash) = tip.hash.filter(|_| tip.next > branch.branch.from) else { return false };
    let passed = |view: &View<'_>| view.branch.tip.next > tip.next && view.passes(tip.next, hash);
    views.iter().any(|view| view.ix != branch.ix && passed(view))
}

/// Whether a known point above `base` is of that epoch: then a batch of it may well be here.
fn written_under(views: &[View<'_>], epoch: Epoch, base: Offset) -> bool {
    let under = |view: &View<'_>| view.points().any(|(of, next, _)| of == epoch && next > base);
    views.iter().any(under)
}

/// What comparing hashes within a batch has shown.
#[derive(Default)]
struct Inside {
    overlap: Option<Verdict>,
    agrees: bool,
    /// The branches that pass elsewhere.
    differs: Vec<BranchIx>,
}

fn look_inside(views: &[View<'_>], batch: &Batch<'_>) -> Result<Inside, Malformed> {
    let head = &batch.head;
    let within = |next: Offset| next > head.base && next <= head.end();
    let mut inside = Inside::default();
    let points = || views.iter().flat_map(|view| view.points().map(move |point| (view, point)));
    if !points().any(|(_, (_, next, _))| within(next)) {
        return Ok(inside);
    }
    let mut hash = head.before;
    for placed in batch.records() {
        let placed = placed?;
        hash = hash.then(head.epoch, placed.offset, placed.encoded);
        let after = placed.offset.plus(1);
        for (view, (_, _, known)) in points().filter(|(_, (_, next, _))| *next == after) {
            if known != hash {
                inside.differs.push(view.ix);
            } else if view.branch.tip.next == after && after < head.end() {
                inside.overlap = Some(Verdict::Overlap(view.ix, after, hash));
            } else {
                inside.agrees = true;
            }
        }
    }
    Ok(inside)
}
