//! What the records in Kafka tell of their streams, by the births in their headers: from this fold
//! the frontier is rebuilt when its own topic is lost.

use std::collections::{BTreeMap, BTreeSet};

use landfall_core::frontier::{Branch, BranchIx, BranchKind, Point, Rung};
use landfall_core::hash::StreamHash;
use landfall_core::limits::RUNGS_MAX;
use landfall_core::name::StreamId;
use landfall_core::num::{Epoch, Offset, Partition, SegmentNo};
use serde::Serialize;

use super::birth::Birth;
use super::frontier_record::FrontierRecord;
use crate::coordinates::StreamName;

/// The births that were seen.
#[derive(Debug, Default)]
pub(super) struct Births {
    streams: BTreeMap<StreamName, Seen>,
}

/// What was seen of a stream.
#[derive(Debug, Default)]
struct Seen {
    runs: BTreeMap<u64, Run>,
    /// Refused records, by epoch and offset, and why.
    refused: BTreeMap<(u64, u64), String>,
}

/// What was seen of an epoch of a stream.
#[derive(Clone, Copy, Debug)]
struct Run {
    epoch: Epoch,
    first: Offset,
    next: Offset,
    /// The stream hash at `next`.
    hash: StreamHash,
    records: u64,
}

/// A branch as it is rebuilt: its runs, in order.
#[derive(Debug)]
struct Rebuilt(Vec<Run>);

/// What was rebuilt of a stream.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct RebuiltStream {
    /// The stream.
    pub stream: String,
    /// Where its branches go on, each with the stream hash there, hexadecimal.
    pub next: Vec<(u64, String)>,
    /// Records that were found.
    pub records: u64,
    /// Offsets below, of which there is no record.
    pub missing: u64,
    /// Records more than there are offsets: some coordinates are there twice.
    pub twice: u64,
}

impl Births {
    /// Takes in a record; `refused` says why if it is a dead letter.
    pub(super) fn take(&mut self, birth: &Birth, refused: Option<String>) {
        let at = &birth.at;
        let (epoch, offset) = (Epoch::new(at.epoch.unwrap_or_default()), Offset::new(at.offset));
        let seen = match self.streams.get_mut(&at.stream) {
            Some(seen) => seen,
            None => self.streams.entry(at.stream.clone()).or_default(),
        };
        let (next, hash) = (offset.plus(1), birth.hash);
        let fresh = Run { epoch, first: offset, next, hash, records: 0 };
        let run = seen.runs.entry(epoch.get()).or_insert(fresh);
        run.records += 1;
        run.first = run.first.min(offset);
        if run.next < next {
            (run.next, run.hash) = (next, hash);
        }
        if let Some(why) = refused {
            seen.refused.insert((epoch.get(), at.offset), why);
        }
    }

    /// How many streams there are.
    pub(super) fn streams(&self) -> usize {
        self.streams.len()
    }

    /// The records that the frontier topic lacks, each with the origin that it is about.
    pub(super) fn records(&self) -> impl Iterator<Item = (&str, (Vec<u8>, Vec<u8>))> {
        self.streams.iter().flat_map(|(name, seen)| {
            let all = [seen.branches(name), seen.ended(name), seen.gaps(name)].concat();
            all.into_iter().map(|record| (name.origin.as_str(), record))
        })
    }

    /// The branches by which a rebuilt frontier is told from one of another history.
    pub(super) fn has(&self, stream: StreamId<'_>, ix: u16, next: Offset) -> bool {
        let StreamId { origin, topic, partition } = stream;
        let (origin, topic) = (origin.to_owned(), topic.to_owned());
        let seen = self.streams.get(&StreamName { origin, topic, partition: partition.get() });
        let branches = seen.map(Seen::rebuilt).unwrap_or_default();
        branches.get(usize::from(ix)).is_some_and(|branch| branch.tip().next >= next)
    }

    /// What was rebuilt, for people.
    pub(super) fn told(&self) -> Vec<RebuiltStream> {
        self.streams.iter().map(|(name, seen)| seen.told(name)).collect()
    }
}

impl Seen {
    /// The branches: each epoch goes on from the branch whose end is nearest below it. What can go
    /// on from none begins another, as a restored image does.
    fn rebuilt(&self) -> Vec<Rebuilt> {
        let mut runs: Vec<_> = self.runs.values().copied().collect();
        runs.sort_by_key(|run| (run.first, run.next, run.epoch));
        let mut branches: Vec<Rebuilt> = Vec::new();
        for run in runs {
            let before = branches.iter_mut().filter(|branch| branch.tip().next <= run.first);
            // The first of several.
            match before.rev().max_by_key(|branch| branch.tip().next) {
                Some(branch) => branch.0.push(run),
                None => branches.push(Rebuilt(vec![run])),
            }
        }
        branches
    }

    fn branches(&self, name: &StreamName) -> Vec<(Vec<u8>, Vec<u8>)> {
        let record = |(ix, rebuilt): (u16, Rebuilt)| {
            let main = ix == BranchIx::MAIN.0;
            let (branch, ladder) = (rebuilt.branch(main), rebuilt.ladder());
            let (stream, ix) = (id(name), BranchIx(ix));
            FrontierRecord::Branch { stream, ix, branch, ladder }.encode()
        };
        (0..).zip(self.rebuilt()).map(record).collect()
    }

    /// Epochs that write no more.
    fn ended(&self, name: &StreamName) -> Vec<(Vec<u8>, Vec<u8>)> {
        let tips: BTreeSet<_> = self.rebuilt().iter().map(|branch| branch.tip().epoch).collect();
        let ended = self.runs.values().filter(|run| !tips.contains(&run.epoch));
        let record = |run: &Run| {
            FrontierRecord::Epoch { stream: id(name), epoch: run.epoch, next: run.next }.encode()
        };
        ended.map(record).collect()
    }

    /// What Kafka refused: neighbours that were refused for the same reason are one gap.
    fn gaps(&self, name: &StreamName) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut gaps: Vec<(u64, u64, u64, &str)> = Vec::new();
        for ((epoch, at), why) in &self.refused {
            match gaps.last_mut() {
                Some((of, _, to, same)) if of == epoch && to == at && same == why => *to += 1,
                _ => gaps.push((*epoch, *at, at + 1, why)),
            }
        }
        let record = |(epoch, from, to, why): (u64, u64, u64, &str)| {
            let (epoch, from, to) = (Epoch::new(epoch), Offset::new(from), Offset::new(to));
            FrontierRecord::Gap { stream: id(name), epoch, from, to, why }.encode()
        };
        gaps.into_iter().map(record).collect()
    }

    fn told(&self, name: &StreamName) -> RebuiltStream {
        let rebuilt = self.rebuilt();
        let next = |branch: &Rebuilt| (branch.tip().next.get(), branch.tip().hash.to_string());
        let spans = rebuilt.iter().enumerate().map(|(ix, branch)| {
            let branch = branch.branch(ix == 0);
            branch.tip.next.since(branch.from)
        });
        let records = self.runs.values().map(|run| run.records).sum();
        let over = |run: &Run| run.records.saturating_sub(run.next.since(run.first));
        let twice = self.runs.values().map(over).sum();
        let missing = spans.sum::<u64>().saturating_sub(records - twice);
        let next = rebuilt.iter().map(next).collect();
        RebuiltStream { stream: name.to_string(), next, records, missing, twice }
    }
}

impl Rebuilt {
    /// The last epoch that went on here.
    fn tip(&self) -> &Run {
        let Some(last) = self.0.last() else { unreachable!("a branch begins with a run") };
        last
    }

    fn branch(&self, main: bool) -> Branch {
        let first = self.0.first().unwrap_or(self.tip());
        let Run { epoch, next, hash, .. } = *self.tip();
        // Whoever writes a stream begins it with 0, whatever is left of it.
        let from = if main { Offset::ZERO } else { first.first };
        let records = self.0.iter().map(|run| run.records).sum::<u64>();
        Branch {
            kind: if main { BranchKind::Main } else { BranchKind::Fork },
            first: first.epoch,
            from,
            tip: Point { epoch, next, hash: Some(hash) },
            hop: next,
            root: next,
            mark: (SegmentNo::ZERO, Offset::ZERO),
            gaps: records < next.since(from),
        }
    }

    /// Where earlier epochs ended, as many as a ladder holds.
    fn ladder(&self) -> Vec<Rung> {
        let earlier = self.0.len().saturating_sub(1);
        let left_out = earlier.saturating_sub(RUNGS_MAX);
        let rung = |run: &Run| Rung { epoch: run.epoch, next: run.next, hash: run.hash };
        self.0.iter().take(earlier).skip(left_out).map(rung).collect()
    }
}

fn id(name: &StreamName) -> StreamId<'_> {
    let partition = Partition::new(name.partition);
    StreamId { origin: &name.origin, topic: &name.topic, partition }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::restored::Restored;

    fn births(records: &[(u64, u64)]) -> Births {
        let mut births = Births::default();
        for (epoch, offset) in records {
            births.take(&birth(*epoch, *offset), None);
        }
        births
    }

    fn birth(epoch: u64, offset: u64) -> Birth {
        let at = format!("s/t/0@{offset}~{epoch:x}").parse().unwrap();
        Birth { at, hash: StreamHash::new([epoch as u8 * 16 + offset as u8; 16]) }
    }

    /// What a hub makes of what was rebuilt: where branches begin and go on, with their rungs, the
    /// ends of other epochs, and gaps.
    fn read(births: &Births) -> Read {
        let mut restored = Restored::default();
        for (origin, (key, value)) in births.records() {
            assert_eq!(origin, "s");
            restored.apply(&key, &value).unwrap();
        }
        let gaps = restored.gaps().map(|(_, (from, to), why)| (from.get(), to.get(), why.into()));
        let gaps = gaps.collect();
        let (frontier, ended) = restored.frontier(9).unwrap();
        use landfall_core::frontier::{Frontier as _, StreamIx};
        let branches = frontier.branches(StreamIx(0)).map(|(ix, branch)| {
            let rungs = frontier.ladder(StreamIx(0), ix).iter().map(|rung| rung.next.get());
            (branch.from.get(), branch.tip.next.get(), branch.gaps, rungs.collect())
        });
        let ended = ended.iter().map(|(_, epoch, next)| (epoch.get(), next.get())).collect();
        Read { branches: branches.collect(), ended, gaps }
    }

    #[derive(Debug, Eq, PartialEq)]
    struct Read {
        branches: Vec<(u64, u64, bool, Vec<u64>)>,
        ended: Vec<(u64, u64)>,
        gaps: Vec<(u64, u64, String)>,
    }

    #[test]
    fn epochs_go_on_from_each_other_in_whatever_order_partitions_give_them() {
        let births = births(&[(9, 3), (2, 1), (2, 0), (5, 2), (9, 4)]);
        let read = read(&births);
        assert_eq!(read.branches, [(0, 5, false, vec![2, 3])]);
        assert_eq!(read.ended, [(2, 2), (5, 3)]);
        assert_eq!(births.told()[0].next, [(5, StreamHash::new([9 * 16 + 4; 16]).to_string())]);
    }

    #[test]
    fn what_is_no_more_there_is_counted_and_looked_for_as_a_gap() {
        let births = births(&[(2, 3), (2, 5), (4, 8)]);
        assert_eq!(read(&births).branches, [(0, 9, true, vec![6])]);
        let told = &births.told()[0];
        assert_eq!((told.records, told.missing, told.twice), (3, 6, 0));
    }

    #[test]
    fn two_continuations_are_two_branches() {
        let births = births(&[(1, 0), (1, 1), (2, 2), (2, 3), (3, 2), (4, 4)]);
        let read = read(&births);
        assert_eq!(read.branches, [(0, 3, false, vec![2]), (2, 5, false, vec![4])]);
    }

    #[test]
    fn coordinates_that_are_there_twice_are_told() {
        assert_eq!(births(&[(1, 0), (1, 0), (1, 1)]).told()[0].twice, 1);
    }

    #[test]
    fn dead_letters_count_as_records_and_are_gaps_again() {
        let mut births = births(&[(1, 0), (1, 3)]);
        for at in [1, 2] {
            births.take(&birth(1, at), Some("too large".into()));
        }
        let read = read(&births);
        assert_eq!(read.branches, [(0, 4, false, vec![])]);
        assert_eq!(read.gaps, [(1, 3, "too large".into())]);
    }

    #[test]
    fn a_frontier_that_has_more_is_of_another_history() {
        let births = births(&[(1, 0), (1, 1)]);
        let stream = StreamId { origin: "s", topic: "t", partition: Partition::new(0) };
        assert!(births.has(stream, 0, Offset::new(2)));
        assert!(!births.has(stream, 0, Offset::new(3)));
        assert!(!births.has(stream, 1, Offset::new(1)));
        assert!(!births.has(StreamId { topic: "u", ..stream }, 0, Offset::new(1)));
    }
}
