//! What a stopped node has: its records, and what its journal says of those that it lacks.

use landfall_core::batch::{Batch, batches};
use landfall_core::control::GapBody;
use landfall_core::entry::Kind;
use landfall_core::frontier::{Frontier as _, StreamIx};
use landfall_core::gap::GapReason;
use landfall_core::journal::{Journal, ReadStep};
use landfall_core::media::MediaError;
use landfall_core::name::StreamId;
use landfall_core::num::Lane;
use landfall_core::tables::Heap;

use super::shelf::Shelves;
use crate::daemon::Inspection;
use crate::media::Overlay;
use crate::node::checksum;

/// What was found in a journal of one topic of one origin.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) shelves: Shelves,
    /// Why offsets are not there.
    pub(super) gaps: Vec<Gap>,
    /// The first offset that is still kept; none if there is no record.
    pub(super) first: Option<u64>,
    /// The openings that the journal remembers, the oldest first.
    pub(super) openings: Vec<Opening>,
    /// The commit behind the last one that is there.
    pub(super) end: u64,
    /// The journal's id.
    pub(super) log: String,
}

/// Offsets that are not there, and why: because the bytes are damaged, or as was stated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Gap {
    pub(super) from: u64,
    /// The first that is there again, or the end of all numbers.
    pub(super) to: u64,
    pub(super) why: GapReason,
}

/// An opening of the journal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Opening {
    pub(super) epoch: u64,
    pub(super) first_commit: u64,
}

/// The largest entry with its header and path.
const ENTRY_ROOM: usize = 260 * 1024;

/// Reads all of a journal.
///
/// # Errors
/// The medium refuses to read.
pub(super) fn scan(node: &Inspection, origin: &str, topic: &str) -> Result<Found, MediaError> {
    let journal = node.journal();
    let mut found = Found { log: journal.log().to_string(), ..Found::default() };
    // The last opening is that of this look: it tells where the journal ends.
    if let Some((own, openings)) = journal.openings().split_last() {
        found.end = own.first_commit.get();
        let opening = |note: &landfall_core::tables::OpeningNote| Opening {
            epoch: note.epoch.get(),
            first_commit: note.first_commit.get(),
        };
        found.openings = openings.iter().map(opening).collect();
    }
    let wanted = |stream: StreamId<'_>| stream.origin == origin && stream.topic == topic;
    for loss in journal.losses() {
        let stream = loss.stream.map(|(ix, _)| journal.frontier().name(ix));
        if stream.is_some_and(wanted) {
            let why = loss.reason.unwrap_or(GapReason::Damage);
            found.gaps.push(Gap { from: loss.from.get(), to: loss.to.get(), why });
        }
    }
    for lane in (0..journal.lanes()).map(Lane::new) {
        found.lane(journal, lane, &wanted)?;
    }
    // If nothing is left of a stream, all below its end was dropped or is missing.
    let frontier = journal.frontier();
    let mut known = (0..frontier.streams()).map(StreamIx).filter(|ix| wanted(frontier.name(*ix)));
    found.first = found.first.or(known.next().map(|ix| frontier.tip(ix).next.get()));
    Ok(found)
}

impl Found {
    fn lane(
        &mut self,
        journal: &Journal<Overlay, Heap>,
        lane: Lane,
        wanted: &dyn Fn(StreamId<'_>) -> bool,
    ) -> Result<(), MediaError> {
        let mut buffer = vec![0; ENTRY_ROOM];
        let mut cursor = journal.first(lane);
        // Whether something is missing since the last batch, and where that one ended.
        let (mut torn, mut next) = (cursor.seq > journal.seqs(lane).0, None);
        loop {
            match journal.read(lane, &mut cursor, &mut buffer) {
                ReadStep::Entry(entry) if entry.header.kind == Kind::Data => {
                    for batch in batches(entry.body, checksum()).map_while(Result::ok) {
                        if wanted(batch.head.stream) {
                            self.batch(&batch, torn, &mut next);
                            torn = false;
                        }
                    }
                }
                ReadStep::Entry(entry) if entry.header.kind == Kind::Gap => {
                    let gap = GapBody::decode(entry.body).ok();
                    if let Some(gap) = gap.filter(|gap| wanted(gap.stream)) {
                        let (from, to) = (gap.from.get(), gap.to.get());
                        self.gaps.push(Gap { from, to, why: gap.reason });
                    }
                }
                ReadStep::Entry(_) => {}
                ReadStep::Missing(..) => torn = true,
                ReadStep::Failed(error) => return Err(error),
                ReadStep::TooLong(_) | ReadStep::End => break,
            }
        }
        if let Some(from) = next.filter(|_| torn) {
            self.gaps.push(Gap { from, to: u64::MAX, why: GapReason::Damage });
        }
        Ok(())
    }

    fn batch(&mut self, batch: &Batch<'_>, torn: bool, next: &mut Option<u64>) {
        let (base, epoch) = (batch.head.base.get(), batch.head.epoch.get());
        let from = next.unwrap_or(0);
        if torn && from < base {
            self.gaps.push(Gap { from, to: base, why: GapReason::Damage });
        }
        self.first = Some(self.first.map_or(base, |first| first.min(base)));
        *next = Some(batch.head.end().get());
        for placed in batch.records().map_while(Result::ok) {
            self.shelves.take(placed.record.value, placed.offset.get(), epoch);
        }
    }
}
