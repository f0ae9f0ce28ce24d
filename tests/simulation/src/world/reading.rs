//! What a node holds, read by a fold of its own over its lanes: nothing of the node's frontier is
//! believed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use landfall_core::batch::{Batch, batches};
use landfall_core::control::{BranchBody, GapBody};
use landfall_core::entry::Kind;
use landfall_core::frontier::{BranchKind, BranchName, Frontier, StreamIx};
use landfall_core::gap::GapReason;
use landfall_core::hash::StreamHash;
use landfall_core::journal::{Journal, ReadStep};
use landfall_core::media::Media;
use landfall_core::num::{Epoch, Lane, Offset, SegmentNo};
use landfall_core::tables::Heap;
use landfall_node::checksum;

/// Coordinates: the stream as it is printed, the epoch, the offset.
pub(super) type Coordinates = (String, Epoch, u64);

/// All that a node holds.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// The records, in the order of their lanes.
    pub records: Vec<HeldRecord>,
    /// Offsets that are stated to be missing.
    pub gaps: Vec<HeldGap>,
    /// How many entries hold records.
    pub entries: usize,
    open: BTreeMap<String, Vec<Strand>>,
    /// From where on records came late for gaps, by stream.
    late: BTreeSet<(String, u64)>,
    /// Where streams begin that begin in their middle.
    middles: BTreeMap<String, u64>,
}

/// A record as a node holds it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeldRecord {
    /// Its stream, as it is printed.
    pub stream: String,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its offset.
    pub offset: u64,
    /// Its bytes.
    pub encoded: Vec<u8>,
    /// The stream hash behind it.
    pub after: StreamHash,
    /// The lane it is in.
    pub lane: Lane,
}

/// Offsets of a stream that are missing for good.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeldGap {
    /// The stream, as it is printed.
    pub stream: String,
    /// Which offsets.
    pub offsets: Range<u64>,
    /// Why.
    pub reason: GapReason,
}

/// A branch as far as it was read.
#[derive(Clone, Debug)]
struct Strand {
    name: BranchName,
    next: Offset,
    hash: Option<StreamHash>,
}

impl Held {
    /// Reads what is synced in all lanes of a journal, and panics if a lane breaks the rules of its
    /// format: records out of order within their branch, or one twice.
    pub fn read<M: Media>(journal: &Journal<M, Heap>) -> Self {
        let mut held = Self::default();
        let mut whole = keeps_every_segment(journal) && journal.losses().is_empty();
        let mut buffer = vec![0; 512 * 1024];
        for lane in (0..journal.lanes()).map(Lane::new) {
            let mut cursor = journal.first(lane);
            loop {
                let entry = match journal.read(lane, &mut cursor, &mut buffer) {
                    ReadStep::Entry(entry) => entry,
                    ReadStep::Missing(..) => {
                        whole = false;
                        continue;
                    }
                    ReadStep::End => break,
                    step => panic!("a check can't read: {step:?}"),
                };
                if entry.header.commit > journal.synced_commit() {
                    break;
                }
                match entry.header.kind {
                    Kind::Data => held.take_body(lane, entry.body, whole),
                    Kind::Gap => held.take_gap(entry.body, whole),
                    Kind::Branch => held.take_branch(entry.body),
                    _ => {}
                }
            }
        }
        held.take_losses(journal);
        held.check_unique();
        held
    }

    /// The offsets of a stream that are held under an epoch, joined.
    pub fn offsets(&self, stream: &str, epoch: Epoch) -> Vec<Range<u64>> {
        let mine = |record: &&HeldRecord| record.stream == stream && record.epoch == epoch;
        let mut offsets: Vec<u64> =
            self.records.iter().filter(mine).map(|record| record.offset).collect();
        offsets.sort_unstable();
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for offset in offsets {
            match ranges.last_mut() {
                Some(range) if range.end == offset => range.end += 1,
                _ => ranges.push(offset..offset + 1),
            }
        }
        ranges
    }

    /// Whether a gap names these coordinates.
    pub(super) fn is_gap(&self, stream: &str, offset: u64) -> bool {
        self.gaps.iter().any(|gap| gap.stream == stream && gap.offsets.contains(&offset))
    }

    fn begins_late(&self, stream: &str, offset: u64) -> bool {
        self.late.contains(&(stream.to_owned(), offset))
    }

    fn take_body(&mut self, lane: Lane, body: &[u8], whole: bool) {
        self.entries += 1;
        for batch in batches(body, checksum()) {
            let batch = batch.expect("an intact entry has whole batches");
            batch.verify().expect("the stream hash is that of the records");
            let stream = batch.head.stream.to_string();
            self.extend(&stream, &batch, whole);
            let mut hash = batch.head.before;
            for placed in batch.records() {
                let placed = placed.expect("the batch was verified");
                hash = hash.then(batch.head.epoch, placed.offset, placed.encoded);
                self.records.push(HeldRecord {
                    stream: stream.clone(),
                    epoch: batch.head.epoch,
                    offset: placed.offset.get(),
                    encoded: placed.encoded.to_vec(),
                    after: hash,
                    lane,
                });
            }
        }
    }

    /// A batch goes on from a branch.
    fn extend(&mut self, stream: &str, batch: &Batch<'_>, whole: bool) {
        let head = &batch.head;
        let strands = self.open.entry(stream.into()).or_default();
        let meets = |strand: &&mut Strand| {
            strand.next == head.base && strand.hash.is_none_or(|hash| hash == head.before)
        };
        let (next, hash) = (head.end(), Some(head.after));
        match strands.iter_mut().find(meets) {
            Some(strand) => (strand.next, strand.hash) = (next, hash),
            None => {
                let first = strands.is_empty() && head.base == Offset::ZERO;
                assert!(
                    first || !whole,
                    "a batch of {stream} from {} to {} goes on from nothing: {strands:?}",
                    head.base,
                    head.end()
                );
                strands.push(Strand { name: (head.epoch, head.base), next, hash });
            }
        }
    }

    fn take_gap(&mut self, body: &[u8], whole: bool) {
        let gap = GapBody::decode(body).expect("an intact entry has a whole body");
        let stream = gap.stream.to_string();
        let strands = self.open.entry(stream.clone()).or_default();
        let named = strands.iter_mut().find(|strand| strand.name == gap.branch);
        let from = named.as_ref().map_or(gap.from, |strand| strand.next);
        // What stood before it may have rotted.
        let fits = if whole { from == gap.from } else { from <= gap.from };
        assert!(fits, "a gap of {stream} from {} on begins at {from}", gap.from);
        match named {
            Some(strand) => (strand.next, strand.hash) = (gap.to, gap.after),
            None => strands.push(Strand { name: gap.branch, next: gap.to, hash: gap.after }),
        }
        self.add_gap(stream, gap.from, gap.to, gap.reason);
    }

    fn add_gap(&mut self, stream: String, from: Offset, to: Offset, reason: GapReason) {
        self.gaps.push(HeldGap { stream, offsets: from.get()..to.get(), reason });
    }

    fn take_branch(&mut self, body: &[u8]) {
        let begun = BranchBody::decode(body).expect("an intact entry has a whole body");
        let strands = self.open.entry(begun.stream.to_string()).or_default();
        let name = (begun.first, begun.at.next);
        strands.push(Strand { name, next: begun.at.next, hash: begun.at.hash });
        let (stream, from) = (begun.stream.to_string(), begun.at.next.get());
        match begun.kind {
            BranchKind::Late => drop(self.late.insert((stream, from))),
            BranchKind::Main => drop(self.middles.insert(stream, from)),
            BranchKind::Fork => {}
        }
    }

    fn take_losses<M: Media>(&mut self, journal: &Journal<M, Heap>) {
        for loss in journal.losses() {
            if let Some((ix, _)) = loss.stream {
                let stream = journal.frontier().name(ix).to_string();
                let reason = loss.reason.unwrap_or(GapReason::Damage);
                self.add_gap(stream, loss.from, loss.to, reason);
            }
        }
    }

    fn check_unique(&self) {
        let mut seen = BTreeSet::new();
        let mut last: BTreeMap<(&str, Epoch), u64> = BTreeMap::new();
        for record in &self.records {
            let HeldRecord { stream, epoch, offset, .. } = record;
            assert!(
                seen.insert((stream, *epoch, *offset)),
                "{stream}~{epoch}@{offset} is here twice"
            );
            let before = last.insert((stream, *epoch), *offset);
            // What came late for a gap stands behind what came after the gap, which may have been
            // stated in a segment that is gone.
            let is_late = || self.is_gap(stream, *offset) || self.begins_late(stream, *offset);
            // What leads to a stream's middle is a fork that ends there, of the same epoch.
            let leads_there = || self.middles.get(stream).is_some_and(|from| offset < from);
            assert!(
                before.is_none_or(|before| before < *offset) || is_late() || leads_there(),
                "{stream}~{epoch}@{offset} comes behind {before:?}"
            );
        }
    }
}

impl HeldRecord {
    pub(super) fn is_at(&self, at: &Coordinates) -> bool {
        self.offset == at.2 && self.epoch == at.1 && self.stream == at.0
    }

    pub(super) fn coordinates(&self) -> Coordinates {
        (self.stream.clone(), self.epoch, self.offset)
    }
}

/// Whether no segment was ever dropped. Their numbers tell, where the seqs of the lanes do not: a
/// segment may hold gaps only.
fn keeps_every_segment<M: Media>(journal: &Journal<M, Heap>) -> bool {
    let mut numbers = BTreeSet::new();
    for lane in (0..journal.lanes()).map(Lane::new) {
        let mut from = SegmentNo::ZERO;
        while let Some(cursor) = journal.segment_from(lane, from) {
            numbers.insert(cursor.segment.get());
            from = cursor.segment.plus(1);
        }
    }
    numbers.into_iter().zip(1..).all(|(number, next)| number == next)
}

/// How far each stream has come at a node.
pub(super) fn describe<M: Media>(journal: &Journal<M, Heap>) -> String {
    let frontier = journal.frontier();
    let mut text = String::new();
    for ix in (0..frontier.streams()).map(StreamIx) {
        for (at, branch) in frontier.branches(ix) {
            text += &format!(
                "\n    {} #{} {:?} from {} to {} ~{} hop {} root {}",
                frontier.name(ix),
                at.0,
                branch.kind,
                branch.from,
                branch.tip.next,
                branch.tip.epoch,
                branch.hop,
                branch.root
            );
        }
    }
    text
}
