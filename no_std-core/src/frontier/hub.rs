//! The frontier of a node that holds streams of many origins, with branches and ladders.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{
    Branch, BranchIx, BranchKind, Change, Extent, Frontier, FrontierFault, Ladder, Point, Rung,
    StreamIx,
};
use crate::hash::StreamHash;
use crate::name::StreamId;
use crate::num::{Epoch, Offset, Partition, SegmentNo};

/// Any number of streams up to a limit, each with up to 1,024 branches.
#[derive(Clone, Debug)]
pub struct HubFrontier {
    streams: Vec<Stream>,
    by_name: Vec<u32>,
    streams_max: usize,
    /// Streams that the commit being staged has touched, as they were.
    before: Vec<(StreamIx, Vec<HubBranch>)>,
}

#[derive(Clone, Debug)]
struct Stream {
    origin: Box<str>,
    topic: Box<str>,
    partition: Partition,
    branches: Vec<HubBranch>,
    touched: bool,
}

#[derive(Clone, Debug)]
struct HubBranch {
    branch: Branch,
    // Boxed: most streams of most sites are short, and a ladder is a kilobyte.
    ladder: Option<Box<Ladder>>,
}

const BRANCHES_MAX: usize = 1_024;

impl HubFrontier {
    /// Without streams; takes up to `streams_max`.
    pub fn new(streams_max: usize) -> Self {
        Self { streams: Vec::new(), by_name: Vec::new(), streams_max, before: Vec::new() }
    }

    fn search(&self, stream: StreamId<'_>) -> Result<usize, usize> {
        self.by_name.binary_search_by(|ix| self.name(StreamIx(*ix)).cmp(&stream))
    }

    fn touch(&mut self, ix: StreamIx) -> Option<&mut Stream> {
        let stream = self.streams.get_mut(ix.0 as usize)?;
        if !stream.touched {
            stream.touched = true;
            self.before.push((ix, stream.branches.clone()));
        }
        Some(stream)
    }
}

impl Frontier for HubFrontier {
    fn find(&self, stream: StreamId<'_>) -> Option<StreamIx> {
        let at = self.search(stream).ok()?;
        self.by_name.get(at).map(|ix| StreamIx(*ix))
    }

    fn add(&mut self, stream: StreamId<'_>) -> Result<StreamIx, FrontierFault> {
        let place = match self.search(stream) {
            Ok(at) => {
                return self.by_name.get(at).map(|ix| StreamIx(*ix)).ok_or(FrontierFault::Full);
            }
            Err(place) => place,
        };
        if self.streams.len() >= self.streams_max {
            return Err(FrontierFault::Full);
        }
        let ix = u32::try_from(self.streams.len()).map_err(|_| FrontierFault::Full)?;
        self.streams.push(Stream {
            origin: stream.origin.into(),
            topic: stream.topic.into(),
            partition: stream.partition,
            branches: Vec::new(),
            touched: false,
        });
        self.by_name.insert(place, ix);
        Ok(StreamIx(ix))
    }

    fn streams(&self) -> u32 {
        self.streams.len() as u32
    }

    fn name(&self, ix: StreamIx) -> StreamId<'_> {
        let none = StreamId { origin: "", topic: "", partition: Partition::new(0) };
        self.streams.get(ix.0 as usize).map_or(none, |stream| StreamId {
            origin: &stream.origin,
            topic: &stream.topic,
            partition: stream.partition,
        })
    }

    fn branch(&self, ix: StreamIx, branch: BranchIx) -> Option<Branch> {
        let stream = self.streams.get(ix.0 as usize)?;
        stream.branches.get(usize::from(branch.0)).map(|held| held.branch)
    }

    fn ladder(&self, ix: StreamIx, branch: BranchIx) -> &[Rung] {
        let stream = self.streams.get(ix.0 as usize);
        let held = stream.and_then(|stream| stream.branches.get(usize::from(branch.0)));
        held.and_then(|held| held.ladder.as_ref()).map_or(&[], |ladder| ladder.rungs())
    }

    fn apply(&mut self, ix: StreamIx, change: Change) -> Result<BranchIx, FrontierFault> {
        let meeting = match change {
            Change::Batch(batch, _) => self.meeting(ix, &batch),
            Change::Gap { branch, to, .. } => {
                let fits = self.branch(ix, branch).is_some_and(|held| held.tip.next <= to);
                fits.then_some(branch)
            }
            Change::Branch { .. } => None,
        };
        let stream = self.touch(ix).ok_or(FrontierFault::Misfit)?;
        match (change, meeting) {
            (Change::Batch(batch, segment), Some(at)) => {
                if let Some(held) = stream.branches.get_mut(usize::from(at.0)) {
                    held.extend(batch, segment);
                }
                Ok(at)
            }
            (Change::Batch(batch, segment), None) => {
                if !stream.branches.is_empty() || !Point::START.meets(batch.base, batch.before) {
                    return Err(FrontierFault::Misfit);
                }
                let mut held = HubBranch::new(BranchKind::Main, batch.epoch, Point::START);
                held.extend(batch, segment);
                stream.branches.push(held);
                Ok(BranchIx::MAIN)
            }
            (Change::Gap { to, after, .. }, Some(at)) => {
                if let Some(held) = stream.branches.get_mut(usize::from(at.0)) {
                    held.skip(to, after);
                }
                Ok(at)
            }
            (Change::Gap { .. }, None) => Err(FrontierFault::Misfit),
            (Change::Branch { kind, first, at }, _) => {
                stream.begin(HubBranch::new(kind, first, at))
            }
        }
    }

    fn promise(&mut self, ix: StreamIx, branch: BranchIx, hop: Offset, root: Offset) {
        let promise = |held: &mut HubBranch| {
            held.branch.hop = held.branch.hop.max(hop);
            held.branch.root = held.branch.root.max(root);
        };
        let at = usize::from(branch.0);
        let stream = self.streams.get_mut(ix.0 as usize);
        stream.and_then(|stream| stream.branches.get_mut(at)).map(promise);
        // A promise is not part of a commit: taking the commit back must not take it back too.
        let before = self.before.iter_mut().find(|(touched, _)| *touched == ix);
        before.and_then(|(_, branches)| branches.get_mut(at)).map(promise);
    }

    fn restore(&mut self, ix: StreamIx, branch: Branch) -> Result<(), FrontierFault> {
        let stream = self.streams.get_mut(ix.0 as usize).ok_or(FrontierFault::Full)?;
        stream.begin(HubBranch { branch, ladder: None }).map(|_| ())
    }

    fn climb(&mut self, ix: StreamIx, rung: Rung) {
        let stream = self.streams.get_mut(ix.0 as usize);
        if let Some(held) = stream.and_then(|stream| stream.branches.last_mut()) {
            held.ladder.get_or_insert_with(|| Box::new(Ladder::EMPTY)).push(rung);
        }
    }

    fn settle(&mut self) {
        for (ix, _) in self.before.drain(..) {
            if let Some(stream) = self.streams.get_mut(ix.0 as usize) {
                stream.touched = false;
            }
        }
    }

    fn revert(&mut self) {
        for (ix, branches) in self.before.drain(..) {
            if let Some(stream) = self.streams.get_mut(ix.0 as usize) {
                stream.touched = false;
                stream.branches = branches;
            }
        }
    }
}

impl Stream {
    fn begin(&mut self, held: HubBranch) -> Result<BranchIx, FrontierFault> {
        if self.branches.len() >= BRANCHES_MAX {
            return Err(FrontierFault::Full);
        }
        let at = u16::try_from(self.branches.len()).map_err(|_| FrontierFault::Full)?;
        self.branches.push(held);
        Ok(BranchIx(at))
    }
}

impl HubBranch {
    fn new(kind: BranchKind, first: Epoch, at: Point) -> Self {
        Self { branch: Branch::new(kind, first, at), ladder: None }
    }

    fn extend(&mut self, batch: Extent, segment: SegmentNo) {
        self.climb_tip();
        self.branch.extend(batch, segment);
    }

    fn skip(&mut self, to: Offset, after: Option<StreamHash>) {
        self.climb_tip();
        self.branch.skip(to, after);
    }

    /// Makes the tip a rung, before it moves. Where a stream began in its middle is one too, and
    /// where a fork goes on from: no record of the branch ends there, but a history that was had
    /// elsewhere can be compared there.
    fn climb_tip(&mut self) {
        let (before, Branch { kind, from, .. }) = (self.branch.tip, self.branch);
        let begins = before.next <= from;
        let epoch = match kind {
            _ if !begins => before.epoch,
            BranchKind::Main => before.epoch,
            // The record before it is another branch's.
            _ => Point::START.epoch,
        };
        let known = !begins || kind != BranchKind::Late && from > Offset::ZERO;
        if let (Some(hash), true) = (before.hash, known) {
            let rung = Rung { epoch, next: before.next, hash };
            self.ladder.get_or_insert_with(|| Box::new(Ladder::EMPTY)).push(rung);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HubFrontier;
    use crate::frontier::{BranchIx, BranchKind, Change, Extent, Frontier, Point};
    use crate::hash::StreamHash;
    use crate::name::StreamId;
    use crate::num::{Epoch, Offset, Partition, SegmentNo};

    fn batch(epoch: u64, span: core::ops::Range<u64>, hashes: [u8; 2]) -> Change {
        let [before, after] = hashes.map(|byte| StreamHash::new([byte; 16]));
        let (base, end) = (Offset::new(span.start), Offset::new(span.end));
        let extent = Extent { epoch: Epoch::new(epoch), base, end, before, after };
        Change::Batch(extent, SegmentNo::new(1))
    }

    fn branch(kind: BranchKind, epoch: u64, next: u64, hash: u8) -> Change {
        let first = Epoch::new(epoch);
        let hash = Some(StreamHash::new([hash; 16]));
        Change::Branch { kind, first, at: Point { epoch: first, next: Offset::new(next), hash } }
    }

    #[test]
    fn a_branch_takes_what_it_was_begun_for_although_another_ends_there() {
        let mut frontier = HubFrontier::new(1);
        let stream = StreamId { origin: "d", topic: "t", partition: Partition::new(0) };
        let ix = frontier.add(stream).unwrap();
        frontier.apply(ix, branch(BranchKind::Main, 1, 20, 1)).unwrap();
        frontier.apply(ix, batch(1, 20..30, [1, 2])).unwrap();
        frontier.apply(ix, branch(BranchKind::Late, 2, 10, 3)).unwrap();
        frontier.apply(ix, batch(2, 10..20, [3, 4])).unwrap();
        let fork = frontier.apply(ix, branch(BranchKind::Fork, 2, 20, 4)).unwrap();
        assert_eq!(frontier.apply(ix, batch(2, 20..25, [4, 5])), Ok(fork));
        let late = frontier.branch(ix, BranchIx(1)).unwrap();
        assert_eq!(late.tip.next, Offset::new(20));
    }

    #[test]
    fn where_a_stream_begins_in_its_middle_is_a_rung() {
        let mut frontier = HubFrontier::new(1);
        let stream = StreamId { origin: "d", topic: "t", partition: Partition::new(0) };
        let ix = frontier.add(stream).unwrap();
        frontier.apply(ix, branch(BranchKind::Main, 1, 20, 1)).unwrap();
        frontier.apply(ix, batch(1, 20..30, [1, 2])).unwrap();
        let rungs = frontier.ladder(ix, BranchIx::MAIN).iter();
        assert!(rungs.map(|rung| rung.next).eq([Offset::new(20)]));
    }

    #[test]
    fn where_a_fork_goes_on_from_is_a_rung_of_no_epoch() {
        let mut frontier = HubFrontier::new(1);
        let stream = StreamId { origin: "d", topic: "t", partition: Partition::new(0) };
        let ix = frontier.add(stream).unwrap();
        frontier.apply(ix, batch(1, 0..30, [0, 1])).unwrap();
        let fork = frontier.apply(ix, branch(BranchKind::Fork, 2, 20, 2)).unwrap();
        frontier.apply(ix, batch(2, 20..30, [2, 3])).unwrap();
        let rungs = frontier.ladder(ix, fork).iter();
        assert!(rungs.map(|rung| (rung.epoch.get(), rung.next.get())).eq([(0, 20)]));
    }
}
