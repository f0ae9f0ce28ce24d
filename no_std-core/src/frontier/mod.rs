//! The frontier: how far each stream has come here, branch by branch.
//!
//! It is a fold over what the journal holds: each batch, gap and branch entry moves it in one
//! definite way, so recovery arrives where the node was. What was staged for a commit that failed
//! is taken back as a whole.

#[cfg(feature = "alloc")]
mod hub;
mod ladder;
mod own;

#[cfg(feature = "alloc")]
pub use hub::HubFrontier;
pub use ladder::{Ladder, Rung};
pub use own::OwnFrontier;

use crate::codec::Malformed;
use crate::hash::StreamHash;
use crate::name::StreamId;
use crate::num::{Epoch, Offset, SegmentNo};

/// A stream within one frontier, for as long as the journal is open.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct StreamIx(pub u32);

/// A branch within its stream. The first is where the stream's own writer goes on.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BranchIx(pub u16);

impl BranchIx {
    /// The first branch of a stream.
    pub const MAIN: Self = Self(0);
}

/// A place between two records of a branch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Point {
    /// The epoch of the record before it; 0 if that is missing, or nobody knows.
    pub epoch: Epoch,
    /// The offset of the record behind it.
    pub next: Offset,
    /// The stream hash there; unknown behind some gaps.
    pub hash: Option<StreamHash>,
}

impl Point {
    /// Before the first record of any stream.
    pub const START: Self =
        Self { epoch: Epoch::new(0), next: Offset::ZERO, hash: Some(StreamHash::START) };

    /// Whether a batch with this base and hash before it goes on from here.
    pub fn meets(&self, base: Offset, before: StreamHash) -> bool {
        self.next == base && self.hash.is_none_or(|hash| hash == before)
    }
}

/// What a batch covers of its stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Extent {
    /// The epoch of its records.
    pub epoch: Epoch,
    /// The first offset it covers.
    pub base: Offset,
    /// The offset after the last one.
    pub end: Offset,
    /// Stream hash before the first offset.
    pub before: StreamHash,
    /// Stream hash after the last one.
    pub after: StreamHash,
}

/// A branch as formats name it: its first epoch here, and the offset where it begins.
pub type BranchName = (Epoch, Offset);

/// Why a branch exists.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum BranchKind {
    /// The stream, as far as this node knows.
    Main,
    /// Another continuation of a stream that had gone on: a restored image or a copy.
    Fork,
    /// What arrived for a range that had been declared a gap.
    Late,
}

/// One continuation of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Branch {
    /// Why it exists.
    pub kind: BranchKind,
    /// Its name: its first epoch here.
    pub first: Epoch,
    /// Where it begins.
    pub from: Offset,
    /// How far it has come.
    pub tip: Point,
    /// All below is durable at the next node.
    pub hop: Offset,
    /// All below is durable at the root.
    pub root: Offset,
    /// The segment that was last written to for it, and the first offset that went there.
    pub mark: (SegmentNo, Offset),
    /// Whether its tip has ever moved over a gap. Where it has not, nobody needs to look for gaps.
    pub gaps: bool,
}

/// What moves a frontier.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// A batch that goes on from the tip of a branch; the first one makes the stream's branch.
    Batch(Extent, SegmentNo),
    /// A branch's tip moves over offsets that are missing.
    Gap {
        /// Which branch.
        branch: BranchIx,
        /// Where it goes on.
        to: Offset,
        /// The stream hash there, if anybody knows.
        after: Option<StreamHash>,
    },
    /// A branch begins.
    Branch {
        /// Why.
        kind: BranchKind,
        /// Its first epoch.
        first: Epoch,
        /// Where and with which hash.
        at: Point,
    },
}

/// Why a frontier can't be moved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FrontierFault {
    /// There is no room for another stream or branch.
    Full,
    /// No branch has come to where the change begins.
    Misfit,
}

impl core::fmt::Display for FrontierFault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Full => "there is no room for another stream",
            Self::Misfit => "it does not go on from what is stored",
        })
    }
}

/// How far each stream has come.
pub trait Frontier {
    /// The stream of that name, if it is known.
    fn find(&self, stream: StreamId<'_>) -> Option<StreamIx>;

    /// The stream of that name, made known if need be.
    ///
    /// # Errors
    /// [`FrontierFault::Full`].
    fn add(&mut self, stream: StreamId<'_>) -> Result<StreamIx, FrontierFault>;

    /// How many streams are known. Their indices are dense.
    fn streams(&self) -> u32;

    /// The name of a stream.
    fn name(&self, ix: StreamIx) -> StreamId<'_>;

    /// A branch of a stream. Their indices are dense.
    fn branch(&self, ix: StreamIx, branch: BranchIx) -> Option<Branch>;

    /// Older points of a branch, the oldest first.
    fn ladder(&self, ix: StreamIx, branch: BranchIx) -> &[Rung];

    /// Moves the frontier for the commit that is being staged.
    ///
    /// # Errors
    /// The frontier is as it was.
    fn apply(&mut self, ix: StreamIx, change: Change) -> Result<BranchIx, FrontierFault>;

    /// Notes that all below these offsets of a branch is durable at the next node, and at the root.
    /// Neither ever goes back.
    fn promise(&mut self, ix: StreamIx, branch: BranchIx, hop: Offset, root: Offset);

    /// Puts a stored branch back, as the next one of its stream.
    ///
    /// # Errors
    /// [`FrontierFault::Full`].
    fn restore(&mut self, ix: StreamIx, branch: Branch) -> Result<(), FrontierFault>;

    /// Puts a stored rung back, above the others of the stream's last branch.
    fn climb(&mut self, ix: StreamIx, rung: Rung);

    /// What was staged has been synced.
    fn settle(&mut self);

    /// What was staged is given up: back to the last [`Frontier::settle`].
    fn revert(&mut self);

    /// The branches of a stream, in order.
    fn branches(&self, ix: StreamIx) -> impl Iterator<Item = (BranchIx, Branch)> {
        (0..=u16::MAX).map_while(move |at| Some((BranchIx(at), self.branch(ix, BranchIx(at))?)))
    }

    /// The branch of that name.
    fn named(&self, ix: StreamIx, name: BranchName) -> Option<BranchIx> {
        let named = |(_, held): &(BranchIx, Branch)| (held.first, held.from) == name;
        self.branches(ix).find(named).map(|(at, _)| at)
    }

    /// The stream's writer goes on from here.
    fn tip(&self, ix: StreamIx) -> Point {
        self.branch(ix, BranchIx::MAIN).map_or(Point::START, |branch| branch.tip)
    }

    /// The branch that a batch goes on from. One that has nothing yet and begins with the batch's
    /// epoch was begun for this batch, whatever else ends there.
    fn meeting(&self, ix: StreamIx, batch: &Extent) -> Option<BranchIx> {
        let meets = |(_, branch): &(BranchIx, Branch)| branch.tip.meets(batch.base, batch.before);
        let begun = |branch: &Branch| branch.is_empty() && branch.first == batch.epoch;
        let meeting = self.branches(ix).filter(meets);
        let found = meeting.min_by_key(|(_, branch)| (!begun(branch), !branch.is_empty()));
        found.map(|(at, _)| at)
    }
}

impl BranchKind {
    /// The number that stands for it in a format.
    pub fn code(self) -> u8 {
        match self {
            Self::Main => 0,
            Self::Fork => 1,
            Self::Late => 2,
        }
    }

    /// The kind that a number stands for.
    ///
    /// # Errors
    /// [`Malformed::Unknown`] if it stands for none.
    pub fn from_code(code: u8) -> Result<Self, Malformed> {
        match code {
            0 => Ok(Self::Main),
            1 => Ok(Self::Fork),
            2 => Ok(Self::Late),
            _ => Err(Malformed::Unknown),
        }
    }
}

impl Branch {
    /// A branch that begins at `at` and has nothing yet.
    pub(crate) fn new(kind: BranchKind, first: Epoch, at: Point) -> Self {
        let none = (SegmentNo::ZERO, Offset::ZERO);
        let (hop, root) = (Offset::ZERO, Offset::ZERO);
        Self { kind, first, from: at.next, tip: at, hop, root, mark: none, gaps: false }
    }

    /// Whether it has nothing yet: it was begun for records that are not here.
    pub fn is_empty(&self) -> bool {
        self.tip.next == self.from
    }

    /// Moves the tip over a batch that meets it.
    pub(crate) fn extend(&mut self, batch: Extent, segment: SegmentNo) {
        assert!(self.tip.meets(batch.base, batch.before), "a batch goes on from the tip");
        self.tip = Point { epoch: batch.epoch, next: batch.end, hash: Some(batch.after) };
        if self.mark.0 != segment {
            self.mark = (segment, batch.base);
        }
    }

    /// Moves the tip over a gap.
    pub(crate) fn skip(&mut self, to: Offset, after: Option<StreamHash>) {
        assert!(to >= self.tip.next, "a gap lies ahead");
        self.tip = Point { epoch: Point::START.epoch, next: to, hash: after };
        self.gaps = true;
    }
}
