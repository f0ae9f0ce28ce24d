//! What the frontier topic says: a fold over its records, from which a hub goes on.

use std::collections::BTreeMap;
use std::fmt;

use landfall_core::codec::Malformed;
use landfall_core::frontier::{Branch, Frontier, HubFrontier, Rung, StreamIx};
use landfall_core::name::StreamId;
use landfall_core::num::{CommitNo, Epoch, LogId, Offset, Partition};

use super::frontier_record::FrontierRecord;

/// How far all sites are in Kafka, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Restored {
    /// What was said of the group.
    pub(super) group: OfGroup,
    /// The last commit of any shard.
    pub(super) commit: CommitNo,
    /// Where the opening of a shard is in its partition.
    pub(super) opened_at: u64,
    branches: BTreeMap<BranchKey, (Branch, Vec<Rung>)>,
    epochs: BTreeMap<(StreamKey, Epoch), Offset>,
    gaps: BTreeMap<(StreamKey, Epoch, Offset), (Offset, String)>,
}

/// What the first partition of the frontier topic says of the group.
#[derive(Debug, Default)]
pub(super) struct OfGroup {
    /// The log that the group is, and its number of shards.
    pub(super) log: Option<(LogId, u32)>,
    /// How its hubs map topics.
    pub(super) mapping: Option<String>,
}

impl OfGroup {
    /// Takes in a record, if it is of the group.
    pub(super) fn apply(&mut self, record: &FrontierRecord<'_>) {
        match record {
            FrontierRecord::Group { log, shards } => self.log = Some((*log, *shards)),
            FrontierRecord::Mapping(text) => self.mapping = Some((*text).to_owned()),
            _ => {}
        }
    }
}

/// Gaps that are gone on from; they are told to people, and more help nobody.
const GAPS_MAX: usize = 10_000;

/// Origin, topic, partition.
type StreamKey = (String, String, u32);

/// A stream, and which of its branches.
type BranchKey = (StreamKey, u16);

/// Why the frontier topic can't be gone on from.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub(super) enum Unusable {
    /// A record was not written by a hub of this version.
    Record(Malformed),
    /// A branch is there without the one before it.
    BranchLost(String),
    /// There are more streams than a hub holds.
    TooManyStreams,
}

impl Restored {
    /// Takes in a record. Returns the epoch of an opening.
    ///
    /// # Errors
    /// [`Unusable::Record`].
    pub(super) fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<Option<Epoch>, Unusable> {
        match FrontierRecord::decode(key, value).map_err(Unusable::Record)? {
            of_group @ (FrontierRecord::Group { .. } | FrontierRecord::Mapping(_)) => {
                self.group.apply(&of_group);
            }
            FrontierRecord::Opening { epoch, .. } => return Ok(Some(epoch)),
            FrontierRecord::Commit(commit) => self.commit = self.commit.max(commit),
            FrontierRecord::Branch { stream, ix, branch, ladder } => {
                self.branches.insert((stream_key(stream), ix.0), (branch, ladder));
            }
            FrontierRecord::Epoch { stream, epoch, next } => {
                self.epochs.insert((stream_key(stream), epoch), next);
            }
            FrontierRecord::Gap { stream, epoch, from, to, why } if self.gaps.len() < GAPS_MAX => {
                self.gaps.insert((stream_key(stream), epoch, from), (to, why.to_owned()));
            }
            FrontierRecord::Gap { .. } => {}
        }
        Ok(None)
    }

    /// Adds what was read of another shard.
    pub(super) fn add(&mut self, other: Self) {
        if other.group.log.is_some() {
            self.group = other.group;
        }
        self.commit = self.commit.max(other.commit);
        self.branches.extend(other.branches);
        self.epochs.extend(other.epochs);
        self.gaps.extend(other.gaps);
    }

    /// What Kafka refused: of which stream, from where up to where, and why.
    pub(super) fn gaps(&self) -> impl Iterator<Item = (StreamId<'_>, (Offset, Offset), &str)> {
        self.gaps.iter().map(|(((origin, topic, partition), _, from), (to, why))| {
            let partition = Partition::new(*partition);
            (StreamId { origin, topic, partition }, (*from, *to), why.as_str())
        })
    }

    /// The branches: of which stream, which of its branches, and where it goes on.
    pub(super) fn branches(&self) -> impl Iterator<Item = (StreamId<'_>, u16, Offset)> {
        self.branches.iter().map(|(((origin, topic, partition), ix), (branch, _))| {
            let partition = Partition::new(*partition);
            (StreamId { origin, topic, partition }, *ix, branch.tip.next)
        })
    }

    /// Whether there is no stream.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.branches.is_empty()
    }

    /// The frontier, for up to `streams_max` streams, and how far the epochs of its streams came
    /// that write no more.
    ///
    /// # Errors
    /// Something is missing, or it is too much.
    pub(super) fn frontier(
        self,
        streams_max: usize,
    ) -> Result<(HubFrontier, Vec<EpochEnd>), Unusable> {
        let mut frontier = HubFrontier::new(streams_max);
        for (((origin, topic, partition), ix), (branch, ladder)) in self.branches {
            let partition = Partition::new(partition);
            let stream = StreamId { origin: &origin, topic: &topic, partition };
            let at = frontier.add(stream).map_err(|_| Unusable::TooManyStreams)?;
            if frontier.branches(at).count() != usize::from(ix) {
                return Err(Unusable::BranchLost(stream.to_string()));
            }
            frontier.restore(at, branch).map_err(|_| Unusable::TooManyStreams)?;
            ladder.into_iter().for_each(|rung| frontier.climb(at, rung));
        }
        let ended =
            self.epochs.into_iter().filter_map(|(((origin, topic, partition), epoch), next)| {
                let partition = Partition::new(partition);
                let stream = StreamId { origin: &origin, topic: &topic, partition };
                Some((frontier.find(stream)?, epoch, next))
            });
        let ended = ended.collect();
        Ok((frontier, ended))
    }
}

/// How far an epoch of a stream came.
pub(super) type EpochEnd = (StreamIx, Epoch, Offset);

fn stream_key(stream: StreamId<'_>) -> StreamKey {
    (stream.origin.into(), stream.topic.into(), stream.partition.get())
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(why) => {
                write!(f, "it has a record that no hub of this version wrote: {why}")
            }
            Self::BranchLost(stream) => write!(f, "records of {stream} are missing in it"),
            Self::TooManyStreams => f.write_str("it has more streams than a hub holds"),
        }
    }
}

impl std::error::Error for Unusable {}

#[cfg(test)]
mod tests {
    use landfall_core::frontier::{BranchIx, BranchKind, Point};
    use landfall_core::hash::StreamHash;
    use landfall_core::num::SegmentNo;

    use super::*;

    fn told(restored: &mut Restored, record: &FrontierRecord<'_>) -> Option<Epoch> {
        let (key, value) = record.encode();
        restored.apply(&key, &value).unwrap()
    }

    fn branch(ix: u16, next: u64) -> FrontierRecord<'static> {
        let stream = StreamId { origin: "s", topic: "t", partition: Partition::new(0) };
        let (epoch, next) = (Epoch::new(1), Offset::new(next));
        let hash = Some(StreamHash::new([next.get() as u8; 16]));
        let kind = if ix == 0 { BranchKind::Main } else { BranchKind::Fork };
        let branch = Branch {
            kind,
            first: epoch,
            from: Offset::ZERO,
            tip: Point { epoch, next, hash },
            hop: next,
            root: next,
            mark: (SegmentNo::ZERO, Offset::ZERO),
            gaps: false,
        };
        let hash = StreamHash::new([1; 16]);
        let ladder = vec![Rung { epoch, next: Offset::new(1), hash }];
        FrontierRecord::Branch { stream, ix: BranchIx(ix), branch, ladder }
    }

    #[test]
    fn the_newest_record_of_a_branch_counts_and_all_of_it_is_durable() {
        let mut restored = Restored::default();
        for record in [branch(0, 4), branch(1, 7), branch(0, 9)] {
            told(&mut restored, &record);
        }
        let ended = FrontierRecord::Epoch {
            stream: StreamId { origin: "s", topic: "t", partition: Partition::new(0) },
            epoch: Epoch::new(8),
            next: Offset::new(3),
        };
        told(&mut restored, &ended);
        let (frontier, epochs) = restored.frontier(10).unwrap();
        assert_eq!(epochs, [(StreamIx(0), Epoch::new(8), Offset::new(3))]);
        let stream = StreamId { origin: "s", topic: "t", partition: Partition::new(0) };
        let ix = frontier.find(stream).unwrap();
        let tips: Vec<_> =
            frontier.branches(ix).map(|(_, branch)| (branch.tip.next, branch.root)).collect();
        assert_eq!(tips, [9, 7].map(|at| (Offset::new(at), Offset::new(at))));
        assert_eq!(frontier.ladder(ix, BranchIx(1)).len(), 1);
    }

    #[test]
    fn an_opening_is_told_and_commits_go_on_from_the_highest() {
        let mut restored = Restored::default();
        let opening = FrontierRecord::Opening { epoch: Epoch::new(6), site: "hub" };
        assert_eq!(told(&mut restored, &opening), Some(Epoch::new(6)));
        for commit in [5, 9, 7] {
            assert_eq!(told(&mut restored, &FrontierRecord::Commit(CommitNo::new(commit))), None);
        }
        assert_eq!(restored.commit, CommitNo::new(9));
    }

    #[test]
    fn a_branch_without_the_one_before_it_is_not_guessed_at() {
        let mut restored = Restored::default();
        told(&mut restored, &branch(1, 7));
        let unusable = restored.frontier(10).map(|_| ()).unwrap_err();
        assert_eq!(unusable, Unusable::BranchLost("s/t/0".into()));
    }

    #[test]
    fn what_others_wrote_is_not_passed_over() {
        let mut restored = Restored::default();
        assert!(matches!(restored.apply(b"hello", b"world"), Err(Unusable::Record(_))));
    }
}
