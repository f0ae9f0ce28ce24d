//! Gaps are final: what arrives late for one is kept as a branch of its own. So a batch that
//! reaches into a gap is taken apart at the gap's ends.

use std::collections::BTreeMap;
use std::ops::Range;

use landfall_core::batch::{Batch, BatchHead};
use landfall_core::codec::Malformed;
use landfall_core::control::GapBody;
use landfall_core::entry::Kind;
use landfall_core::frontier::{BranchIx, BranchKind, Frontier, StreamIx};
use landfall_core::hash::StreamHash;
use landfall_core::journal::{ReadStep, Reader};
use landfall_core::media::{Media, MediaError};
use landfall_core::num::{Lane, Offset};

use super::feed::Feed;
use super::ingest::{Judged, foresee};
use super::unread::Unjudged;
use super::verdict::{Verdict, View, judge};
use super::{Core, Gate};

/// The gaps that are stored here, read when they are first needed.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    known: Option<KnownGaps>,
}

type KnownGaps = BTreeMap<StreamIx, Vec<KnownGap>>;

/// Offsets that are missing for good, and the stream hash behind them, if it was stated.
#[derive(Clone, Debug)]
struct KnownGap {
    offsets: Range<Offset>,
    after: Option<StreamHash>,
}

impl KnownGap {
    /// Whether a part of a batch may be of what is missing. What comes to another hash at the end
    /// of the gap is of another history.
    fn may_hold(&self, part: &BatchHead<'_>) -> bool {
        let Range { start, end } = self.offsets;
        let other = part.end() == end && self.after.is_some_and(|after| after != part.after);
        start <= part.base && part.end() <= end && !other
    }
}

impl Gaps {
    /// A gap has been staged.
    pub(crate) fn add(&mut self, ix: StreamIx, offsets: Range<Offset>, after: Option<StreamHash>) {
        if let Some(known) = &mut self.known {
            known.entry(ix).or_default().push(KnownGap { offsets, after });
        }
    }

    fn of(&self, ix: StreamIx) -> &[KnownGap] {
        let known = self.known.as_ref().and_then(|known| known.get(&ix));
        known.map(Vec::as_slice).unwrap_or_default()
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// The parts of a batch that lie inside of gaps of its stream, and those that don't, in order.
    pub(crate) fn parts<'a>(
        &mut self,
        ix: StreamIx,
        batch: &Batch<'a>,
    ) -> Result<Vec<(bool, Batch<'a>)>, Unjudged> {
        let head = &batch.head;
        let known = self.journal.frontier().branch(ix, BranchIx::MAIN).is_some();
        if !known || self.goes_on_from_tip(ix, batch, &[]) {
            return Ok(vec![(false, *batch)]);
        }
        // What is compared with must be readable.
        self.commit_staged();
        if !self.journal.frontier().branches(ix).any(|(_, held)| held.gaps) {
            return Ok(vec![(false, *batch)]);
        }
        self.load_gaps()?;
        let gaps = self.gaps.of(ix);
        let touches =
            |gap: &KnownGap| gap.offsets.start < head.end() && head.base < gap.offsets.end;
        if !gaps.iter().any(touches) {
            return Ok(vec![(false, *batch)]);
        }
        let ends = gaps.iter().flat_map(|gap| [gap.offsets.start, gap.offsets.end]);
        let late = self.journal.frontier().branches(ix).map(|(_, branch)| branch);
        let late = late.filter(|branch| branch.kind == BranchKind::Late);
        let cuts: Vec<_> = ends.chain(late.flat_map(|late| [late.from, late.tip.next])).collect();
        let parts = cut_at(batch, &cuts)?;
        let inside = |part: &Batch<'_>| gaps.iter().any(|gap| gap.may_hold(&part.head));
        Ok(parts.into_iter().map(|part| (inside(&part), part)).collect())
    }

    /// Judges a part of a batch that lies inside of a gap.
    pub(crate) fn judge_late(
        &self,
        ix: StreamIx,
        part: &Batch<'_>,
        before: &[Judged<'_>],
    ) -> Result<Verdict, Unjudged> {
        let frontier = self.journal.frontier();
        if self.has_record(ix, part.head.end(), part.head.after)? {
            return Ok(Verdict::Had);
        }
        let late = frontier.branches(ix).filter(|(_, branch)| branch.kind == BranchKind::Late);
        let mut views: Vec<_> = late
            .map(|(at, branch)| View { ix: at, branch, ladder: frontier.ladder(ix, at) })
            .collect();
        for earlier in before.iter().filter(|earlier| earlier.is_late_of(ix)) {
            foresee(&mut views, earlier);
        }
        if views.is_empty() {
            return Ok(Verdict::Late);
        }
        Ok(match judge(&views, part, &Feed::default())? {
            verdict @ (Verdict::Next(_) | Verdict::Had | Verdict::Overlap(..)) => verdict,
            _ => Verdict::Late,
        })
    }

    /// Reads all lanes, once. Few nodes ever have to: only what is repeated to them needs it.
    fn load_gaps(&mut self) -> Result<(), MediaError> {
        if self.gaps.known.is_none() {
            let mut buffer = core::mem::take(&mut self.scratch);
            let known = self.read_gaps(&mut buffer);
            self.scratch = buffer;
            self.gaps.known = Some(known?);
        }
        Ok(())
    }

    fn read_gaps(&self, buffer: &mut [u8]) -> Result<KnownGaps, MediaError> {
        let mut known = KnownGaps::new();
        for lane in (0..self.journal.lanes()).map(Lane::new) {
            let mut cursor = self.journal.first(lane);
            let mut reader = Reader::new(buffer);
            loop {
                let entry = match self.journal.read_on(lane, &mut cursor, &mut reader) {
                    ReadStep::Entry(entry) => entry,
                    ReadStep::Missing(..) => continue,
                    ReadStep::End | ReadStep::TooLong(_) => break,
                    ReadStep::Failed(error) => return Err(error),
                };
                let gap = Some(entry.body).filter(|_| entry.header.kind == Kind::Gap);
                let Some(gap) = gap.and_then(|body| GapBody::decode(body).ok()) else { continue };
                if let Some(ix) = self.journal.frontier().find(gap.stream) {
                    let (offsets, after) = (gap.from..gap.to, gap.after);
                    known.entry(ix).or_default().push(KnownGap { offsets, after });
                }
            }
        }
        Ok(known)
    }
}

/// Takes a batch apart at those of the offsets that lie in it.
pub(crate) fn cut_at<'a>(batch: &Batch<'a>, cuts: &[Offset]) -> Result<Vec<Batch<'a>>, Malformed> {
    let mut parts = Vec::new();
    let mut head = batch.head;
    let (mut from, mut at, mut hash) = (0, 0, batch.head.before);
    for placed in batch.records() {
        let placed = placed?;
        hash = hash.then(head.epoch, placed.offset, placed.encoded);
        at += placed.encoded.len();
        let next = placed.offset.plus(1);
        if next != batch.head.end() && !cuts.contains(&next) {
            continue;
        }
        let records = batch.records.get(from..at).ok_or(Malformed::Contradiction)?;
        head.span = next.since(head.base) as u32;
        (head.records, head.len, head.after) = (head.span, records.len() as u32, hash);
        parts.push(Batch { head, records });
        (head.base, head.before, from) = (next, hash, at);
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use landfall_core::batch::{Batch, BatchHead, ClockQuality};
    use landfall_core::codec::Writer;
    use landfall_core::hash::StreamHash;
    use landfall_core::name::StreamId;
    use landfall_core::num::{Epoch, Offset, Partition, Timestamp};
    use landfall_core::record::Record;

    use super::cut_at;

    #[test]
    fn the_parts_of_a_batch_are_the_batch() {
        let mut records = vec![0; 64];
        let mut writer = Writer::new(&mut records);
        let (epoch, mut after) = (Epoch::new(7), StreamHash::START);
        for offset in 0..5 {
            let from = writer.len();
            Record::new(Timestamp::new(1), None, Some(b"x")).encode(&mut writer).unwrap();
            after = after.then(epoch, Offset::new(offset), &writer.written()[from..]);
        }
        let records = writer.written();
        let stream = StreamId { origin: "d", topic: "t", partition: Partition::new(0) };
        let head = BatchHead {
            stream,
            epoch,
            base: Offset::ZERO,
            span: 5,
            records: 5,
            len: records.len() as u32,
            before: StreamHash::START,
            after,
            partial: false,
            clock: ClockQuality::Local,
        };
        let cuts = [Offset::ZERO, Offset::new(2), Offset::new(4), Offset::new(9)];
        let parts = cut_at(&Batch { head, records }, &cuts).unwrap();
        let spans: Vec<_> =
            parts.iter().map(|part| (part.head.base.get(), part.head.span)).collect();
        assert_eq!(spans, [(0, 2), (2, 2), (4, 1)]);
        assert!(parts.iter().all(|part| part.verify().is_ok()));
        assert_eq!(parts.last().map(|part| part.head.after), Some(after));
    }
}
