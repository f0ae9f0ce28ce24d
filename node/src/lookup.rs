//! Looking up what is stored of a stream, where the frontier alone can't tell.

use std::collections::BTreeSet;

use landfall_core::batch::{Batch, batches};
use landfall_core::entry::Kind;
use landfall_core::frontier::{Branch, BranchKind, Frontier, StreamIx};
use landfall_core::hash::StreamHash;
use landfall_core::journal::{Cursor, ReadStep, Reader};
use landfall_core::media::{Media, MediaError};
use landfall_core::num::{Lane, Offset, SegmentNo};

use super::{Core, Gate};
use crate::checksum;

/// Whether a stream passes through a point, by what is stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Held {
    /// It does.
    Yes,
    /// The records there are others.
    No,
    /// The records there are not here any more.
    Gone,
}

/// Entries in which a point is looked for behind the last one that was found.
const NEAR_ENTRIES: usize = 64;
/// Streams of which it is known where a point was found last: those that take turns.
const LOOKED_MAX: usize = 256;

impl<M: Media, G: Gate> Core<M, G> {
    /// Whether the stored records of a stream pass through a point.
    ///
    /// # Errors
    /// The medium refused to read, so nobody knows. The same holds for the others below.
    pub(crate) fn holds(
        &self,
        ix: StreamIx,
        next: Offset,
        hash: StreamHash,
    ) -> Result<Held, MediaError> {
        if self.holds_behind_last(ix, next, hash)? {
            return Ok(Held::Yes);
        }
        let mut there = BTreeSet::new();
        self.each_batch(ix, (next, next), |(lane, before), batch| {
            there.extend(hash_at(batch, next).map(StreamHash::bytes));
            let found = there.contains(&hash.bytes());
            if found {
                self.note_looked(ix, lane, before);
            }
            !found
        })?;
        let passes = |branch: &Branch| {
            let begun = branch.kind == BranchKind::Main || branch.from < next;
            branch.kind != BranchKind::Late && begun && branch.tip.next >= next
        };
        let branches = self.journal.frontier().branches(ix);
        let branches = branches.filter(|(_, branch)| passes(branch)).count();
        Ok(match there.contains(&hash.bytes()) {
            true => Held::Yes,
            // Records of one branch say nothing of another one whose records are gone.
            false if there.is_empty() || there.len() < branches => Held::Gone,
            false => Held::No,
        })
    }

    /// The same, close behind where a point of the stream was found last: what is repeated comes in
    /// order.
    fn holds_behind_last(
        &self,
        ix: StreamIx,
        next: Offset,
        hash: StreamHash,
    ) -> Result<bool, MediaError> {
        let last = self.looked.borrow().get(&ix).copied();
        let Some((lane, start)) = last else { return Ok(false) };
        let mut buffer = vec![0; super::SCRATCH_BYTES];
        let place = Place { lane, start, reach: Reach::Entries(NEAR_ENTRIES) };
        let mut found = false;
        self.each_batch_from(place, ix, (next, next), &mut buffer, |(lane, before), batch| {
            found = hash_at(batch, next) == Some(hash);
            if found {
                self.note_looked(ix, lane, before);
            }
            !found
        })?;
        Ok(found)
    }

    fn note_looked(&self, ix: StreamIx, lane: Lane, before: Cursor) {
        let mut looked = self.looked.borrow_mut();
        if looked.len() >= LOOKED_MAX && !looked.contains_key(&ix) {
            looked.pop_first();
        }
        looked.insert(ix, (lane, before));
    }

    /// Whether the record of a stream is stored that ends at a point.
    pub(crate) fn has_record(
        &self,
        ix: StreamIx,
        next: Offset,
        hash: StreamHash,
    ) -> Result<bool, MediaError> {
        let mut found = false;
        self.each_batch(ix, (next, next), |_, batch| {
            let head = &batch.head;
            if head.base < next && next <= head.end() {
                found = hash_at(batch, next) == Some(hash);
            }
            !found
        })?;
        Ok(found)
    }

    /// How far a batch repeats what is stored: the last point within it that stored records of the
    /// stream lead to.
    pub(crate) fn common(
        &self,
        ix: StreamIx,
        batch: &Batch<'_>,
    ) -> Result<Option<(Offset, StreamHash)>, MediaError> {
        let (base, end) = (batch.head.base, batch.head.end());
        let points: Vec<_> = points(batch).collect();
        let mut common: Option<(Offset, StreamHash)> = None;
        self.each_batch(ix, (base, end), |_, stored| {
            let head = &stored.head;
            if head.end() <= base || end <= head.base {
                return true;
            }
            for (next, hash) in self::points(stored).filter(|(next, _)| *next > base) {
                let known = points.get(next.since(base) as usize - 1) == Some(&(next, hash));
                if known && common.is_none_or(|(last, _)| last < next) {
                    common = Some((next, hash));
                }
            }
            common.is_none_or(|(last, _)| last < end)
        })?;
        Ok(common)
    }

    /// The place of the first stored batch of a stream that ends behind an offset.
    pub(crate) fn place_of(
        &self,
        ix: StreamIx,
        next: Offset,
    ) -> Result<Option<(Lane, Cursor)>, MediaError> {
        let mut found = None;
        self.each_batch(ix, (next, Offset::new(u64::MAX)), |place, batch| {
            if batch.head.end() > next {
                found = Some(place);
            }
            found.is_none()
        })?;
        Ok(found)
    }

    /// Goes through the stored batches of a stream that touch a range of offsets, until `see` has
    /// seen enough. Segments that don't hold the range are passed over by their footers.
    pub(super) fn each_batch(
        &self,
        ix: StreamIx,
        range: (Offset, Offset),
        mut see: impl FnMut((Lane, Cursor), &Batch<'_>) -> bool,
    ) -> Result<(), MediaError> {
        let mut buffer = vec![0; super::SCRATCH_BYTES];
        for lane in (0..self.journal.lanes()).map(Lane::new) {
            let mut number = SegmentNo::ZERO;
            while let Some(start) = self.journal.segment_from(lane, number) {
                number = start.segment.plus(1);
                if !self.journal.may_hold(lane, start.segment, ix, range, &mut buffer)? {
                    continue;
                }
                let place = Place { lane, start, reach: Reach::Segment };
                if !self.each_batch_from(place, ix, range, &mut buffer, &mut see)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The same from a place on, as far as it reaches. Whether `see` wants more.
    fn each_batch_from(
        &self,
        Place { lane, start, reach }: Place,
        ix: StreamIx,
        (from, to): (Offset, Offset),
        buffer: &mut [u8],
        mut see: impl FnMut((Lane, Cursor), &Batch<'_>) -> bool,
    ) -> Result<bool, MediaError> {
        let mut reader = Reader::new(buffer);
        let mut cursor = start;
        let entries_max = match reach {
            Reach::Segment => usize::MAX,
            Reach::Entries(max) => max,
        };
        for _ in 0..entries_max {
            let before = cursor;
            let step = self.journal.read_on(lane, &mut cursor, &mut reader);
            if reach == Reach::Segment && cursor.segment != start.segment {
                break;
            }
            let entry = match step {
                ReadStep::Entry(entry) => entry,
                ReadStep::Missing(..) => continue,
                ReadStep::End | ReadStep::TooLong(_) => break,
                ReadStep::Failed(error) => return Err(error),
            };
            if entry.header.kind != Kind::Data {
                continue;
            }
            for batch in batches(entry.body, checksum()).map_while(Result::ok) {
                let head = &batch.head;
                let apart = head.end() < from || to < head.base;
                let its = !apart && self.journal.frontier().find(head.stream) == Some(ix);
                if its && !see((lane, before), &batch) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// Where in a lane to look, and how far.
struct Place {
    lane: Lane,
    start: Cursor,
    reach: Reach,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reach {
    /// To the end of the segment.
    Segment,
    /// So many entries.
    Entries(usize),
}

/// The points behind each record of a batch.
fn points(batch: &Batch<'_>) -> impl Iterator<Item = (Offset, StreamHash)> {
    let epoch = batch.head.epoch;
    let records = batch.records().map_while(Result::ok);
    records.scan(batch.head.before, move |hash, placed| {
        *hash = hash.then(epoch, placed.offset, placed.encoded);
        Some((placed.offset.plus(1), *hash))
    })
}

/// The stream hash at an offset that a batch touches.
fn hash_at(batch: &Batch<'_>, next: Offset) -> Option<StreamHash> {
    let head = &batch.head;
    if next < head.base || next > head.end() {
        return None;
    }
    if next == head.base {
        return Some(head.before);
    }
    let mut hash = head.before;
    for placed in batch.records().map_while(Result::ok) {
        hash = hash.then(head.epoch, placed.offset, placed.encoded);
        if placed.offset.plus(1) == next {
            return Some(hash);
        }
    }
    None
}
