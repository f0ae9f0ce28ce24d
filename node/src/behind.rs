//! What is behind a consumer's place: how many records of its topics, and which would be missed if
//! a segment were forgotten.

use std::collections::BTreeMap;

use landfall_core::batch::batches;
use landfall_core::entry::Kind;
use landfall_core::frontier::{Frontier, StreamIx};
use landfall_core::journal::{ReadStep, Reader};
use landfall_core::media::{Media, MediaError};
use landfall_core::num::{Lane, Offset, SegmentNo};

use super::consumer::{Consumer, Place};
use super::{Core, Gate, Node};
use crate::checksum;

/// Offsets of streams, from one up to but not another.
pub(crate) type Ranges = BTreeMap<StreamIx, (Offset, Offset)>;

impl<M: Media, G: Gate> Node<M, G> {
    /// How many records of its topics are behind a consumer's place: in whole segments as their
    /// footers say, in the others one by one.
    ///
    /// # Errors
    /// The medium refused to read.
    pub fn records_behind(&self, consumer: &Consumer) -> Result<u64, MediaError> {
        let (core, at) = (&self.core, consumer.at());
        let mut buffer = vec![0; super::SCRATCH_BYTES];
        let mut behind = 0;
        for lane in (0..core.settings.lanes.len() as u8).map(Lane::new) {
            let first = core.journal.near_commit(lane, at.commit).segment;
            let mut count = |_, (from, to): (Offset, Offset)| behind += to.since(from);
            core.each_behind(consumer, lane, first, &mut buffer, &mut count)?;
            let mut next = first.plus(1);
            while let Some(segment) =
                core.tell_topics(consumer, lane, next, &mut buffer, &mut count)?
            {
                next = segment.plus(1);
            }
        }
        Ok(behind)
    }
}

/// Takes a stream and offsets of it.
type See<'a> = &'a mut dyn FnMut(StreamIx, (Offset, Offset));

impl<M: Media, G: Gate> Core<M, G> {
    /// What the oldest segment of a lane holds that a consumer has not taken in.
    pub(crate) fn missed_with_oldest(
        &self,
        consumer: &Consumer,
        lane: Lane,
        buffer: &mut [u8],
    ) -> Result<Ranges, MediaError> {
        let mut missed = Ranges::new();
        let Some(oldest) = self.journal.oldest(lane) else { return Ok(missed) };
        let first = self.journal.near_commit(lane, consumer.at().commit);
        let mut add = |ix, (from, to): (Offset, Offset)| {
            let range = missed.entry(ix).or_insert((from, to));
            *range = (range.0.min(from), range.1.max(to));
        };
        let begun = self.journal.base_commit(lane, oldest.segment);
        if first.segment > oldest.segment {
            return Ok(missed);
        }
        if begun.is_some_and(|begun| consumer.at().commit < begun) {
            self.tell_topics(consumer, lane, oldest.segment, buffer, &mut add)?;
        } else {
            self.each_behind(consumer, lane, oldest.segment, buffer, &mut add)?;
        }
        Ok(missed)
    }

    /// Tells what the first segment from a number on holds of a consumer's topics.
    fn tell_topics(
        &self,
        consumer: &Consumer,
        lane: Lane,
        from: SegmentNo,
        buffer: &mut [u8],
        see: See<'_>,
    ) -> Result<Option<SegmentNo>, MediaError> {
        self.journal.tell_segment(lane, from, buffer, &mut |span| {
            let known = self.journal.frontier().find(span.stream);
            if let Some(ix) = known.filter(|_| consumer.names(span.stream.topic)) {
                see(ix, (span.from, span.to.next));
            }
        })
    }

    /// Tells what is behind a consumer's place in the segment that it lies in.
    fn each_behind(
        &self,
        consumer: &Consumer,
        lane: Lane,
        segment: SegmentNo,
        buffer: &mut [u8],
        see: See<'_>,
    ) -> Result<(), MediaError> {
        let at = consumer.at();
        let Some(mut cursor) = self.journal.segment_from(lane, segment) else { return Ok(()) };
        let mut reader = Reader::new(buffer);
        let mut index = 0;
        loop {
            let entry = match self.journal.read_on(lane, &mut cursor, &mut reader) {
                ReadStep::Failed(error) => return Err(error),
                _ if cursor.segment != segment => return Ok(()),
                ReadStep::Entry(entry) => entry,
                ReadStep::Missing(..) => continue,
                ReadStep::End | ReadStep::TooLong(_) => return Ok(()),
            };
            let commit = entry.header.commit;
            if commit < at.commit {
                continue;
            }
            let inside = commit == at.commit;
            match entry.header.kind {
                Kind::Gap => index += u32::from(inside),
                Kind::Data => {
                    for batch in batches(entry.body, checksum()).map_while(Result::ok) {
                        let head = &batch.head;
                        let taken = if inside { taken_of(&at, index, head.records) } else { 0 };
                        index += if inside { head.records } else { 0 };
                        let known = self.journal.frontier().find(head.stream);
                        let known = known.filter(|_| consumer.names(head.stream.topic));
                        if let Some(ix) = known.filter(|_| taken < head.records) {
                            see(ix, (head.base.plus(u64::from(taken)), head.end()));
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

/// How many of so many records, the first of which has an index in the commit of a place, are
/// before the place.
fn taken_of(at: &Place, index: u32, records: u32) -> u32 {
    at.index.saturating_sub(index).min(records)
}
