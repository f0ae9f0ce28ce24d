//! The frontier of a device that holds only streams of its own: one branch each, no ladder, no
//! allocation.

use super::{Branch, BranchIx, BranchKind, Change, Frontier, FrontierFault, Point, Rung, StreamIx};
use crate::limits::SITE_BYTES_MAX;
use crate::name::StreamId;
use crate::num::{Offset, Partition};

/// Up to `STREAMS` streams of one origin, whose topics have names of up to `TOPIC` bytes.
#[derive(Clone, Debug)]
pub struct OwnFrontier<const STREAMS: usize, const TOPIC: usize> {
    origin: [u8; SITE_BYTES_MAX],
    origin_len: usize,
    streams: [Option<OwnStream<TOPIC>>; STREAMS],
}

#[derive(Clone, Copy, Debug)]
struct OwnStream<const TOPIC: usize> {
    topic: [u8; TOPIC],
    topic_len: usize,
    partition: Partition,
    settled: Option<Branch>,
    staged: Option<Branch>,
}

impl<const STREAMS: usize, const TOPIC: usize> OwnFrontier<STREAMS, TOPIC> {
    /// The frontier of the site `origin`, which may not be longer than a site's name.
    pub fn new(origin: &str) -> Self {
        let mut bytes = [0; SITE_BYTES_MAX];
        assert!(origin.len() <= SITE_BYTES_MAX, "a site's name was checked");
        bytes.iter_mut().zip(origin.bytes()).for_each(|(to, from)| *to = from);
        Self { origin: bytes, origin_len: origin.len(), streams: [None; STREAMS] }
    }

    fn at(&self, ix: StreamIx) -> Option<&OwnStream<TOPIC>> {
        self.streams.get(ix.0 as usize)?.as_ref()
    }

    fn at_mut(&mut self, ix: StreamIx) -> Option<&mut OwnStream<TOPIC>> {
        self.streams.get_mut(ix.0 as usize)?.as_mut()
    }

    fn origin(&self) -> &str {
        text(self.origin.get(..self.origin_len))
    }
}

impl<const STREAMS: usize, const TOPIC: usize> Frontier for OwnFrontier<STREAMS, TOPIC> {
    fn find(&self, stream: StreamId<'_>) -> Option<StreamIx> {
        (0..self.streams()).map(StreamIx).find(|ix| self.name(*ix) == stream)
    }

    fn add(&mut self, stream: StreamId<'_>) -> Result<StreamIx, FrontierFault> {
        if let Some(ix) = self.find(stream) {
            return Ok(ix);
        }
        if stream.origin != self.origin() || stream.topic.len() > TOPIC {
            return Err(FrontierFault::Full);
        }
        let ix = StreamIx(self.streams());
        let free = self.streams.iter_mut().find(|slot| slot.is_none());
        let mut topic = [0; TOPIC];
        topic.iter_mut().zip(stream.topic.bytes()).for_each(|(to, from)| *to = from);
        let topic_len = stream.topic.len();
        let partition = stream.partition;
        let new = OwnStream { topic, topic_len, partition, settled: None, staged: None };
        *free.ok_or(FrontierFault::Full)? = Some(new);
        Ok(ix)
    }

    fn streams(&self) -> u32 {
        self.streams.iter().flatten().count() as u32
    }

    fn name(&self, ix: StreamIx) -> StreamId<'_> {
        let (topic, partition) = self.at(ix).map_or(("", Partition::new(0)), |stream| {
            (text(stream.topic.get(..stream.topic_len)), stream.partition)
        });
        StreamId { origin: self.origin(), topic, partition }
    }

    fn branch(&self, ix: StreamIx, branch: BranchIx) -> Option<Branch> {
        if branch == BranchIx::MAIN { self.at(ix)?.staged } else { None }
    }

    fn ladder(&self, _ix: StreamIx, _branch: BranchIx) -> &[Rung] {
        &[]
    }

    fn apply(&mut self, ix: StreamIx, change: Change) -> Result<BranchIx, FrontierFault> {
        let stream = self.at_mut(ix).ok_or(FrontierFault::Full)?;
        match (change, &mut stream.staged) {
            (Change::Batch(batch, segment), staged) => {
                let new = Branch::new(BranchKind::Main, batch.epoch, Point::START);
                if !staged.unwrap_or(new).tip.meets(batch.base, batch.before) {
                    return Err(FrontierFault::Misfit);
                }
                staged.get_or_insert(new).extend(batch, segment);
            }
            (Change::Gap { branch, to, after }, Some(staged)) => {
                if branch != BranchIx::MAIN || to < staged.tip.next {
                    return Err(FrontierFault::Misfit);
                }
                staged.skip(to, after);
            }
            (Change::Branch { kind, first, at }, staged @ None) => {
                *staged = Some(Branch::new(kind, first, at));
            }
            (Change::Gap { .. }, None) => return Err(FrontierFault::Misfit),
            (Change::Branch { .. }, Some(_)) => return Err(FrontierFault::Full),
        }
        Ok(BranchIx::MAIN)
    }

    fn promise(&mut self, ix: StreamIx, branch: BranchIx, hop: Offset, root: Offset) {
        let Some(stream) = self.at_mut(ix).filter(|_| branch == BranchIx::MAIN) else { return };
        for branch in [&mut stream.settled, &mut stream.staged].into_iter().flatten() {
            branch.hop = branch.hop.max(hop);
            branch.root = branch.root.max(root);
        }
    }

    fn restore(&mut self, ix: StreamIx, branch: Branch) -> Result<(), FrontierFault> {
        let stream = self.at_mut(ix).ok_or(FrontierFault::Full)?;
        if stream.staged.is_some() {
            return Err(FrontierFault::Full);
        }
        stream.staged = Some(branch);
        Ok(())
    }

    fn climb(&mut self, _ix: StreamIx, _rung: Rung) {}

    fn settle(&mut self) {
        for stream in self.streams.iter_mut().flatten() {
            stream.settled = stream.staged;
        }
    }

    fn revert(&mut self) {
        for stream in self.streams.iter_mut().flatten() {
            stream.staged = stream.settled;
        }
    }
}

fn text(bytes: Option<&[u8]>) -> &str {
    core::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
}
