//! Reading for the API and the views: records of some topics from all lanes, merged in commit
//! order.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use landfall_core::batch::{Batch, BatchHead, PlacedRecord, batches};
use landfall_core::control::GapBody;
use landfall_core::entry::Kind;
use landfall_core::frontier::Frontier;
use landfall_core::journal::{Cursor as LaneCursor, ReadStep};
use landfall_core::media::{Media, MediaError};
use landfall_core::name::StreamId;
use landfall_core::num::{CommitNo, Lane, Partition, Seq};
use landfall_core::tables::OpeningNote;

use super::corrected::{BatchClock, ClockOf};
use crate::api::{
    ApiError, Cursor, ErrorCode, Gap, Place, ReadFrom, ReadItem, ReadPage, ReadQuery, Seen,
};
use crate::coordinates::{Coordinates, Position, StreamName};
use crate::event_json::{Header, Record, RecordClock};
use crate::node::checksum;
use crate::node::consumer::slot_of;
use crate::node::members::Portion;
use crate::node::{Gate, Node};

/// The readers of one node: where they were when their last page ended, so that the next one need
/// not search.
#[derive(Debug, Default)]
pub struct Readers {
    places: VecDeque<(Cursor, Places)>,
}

/// A reader's place in each lane.
#[derive(Clone, Debug, Default)]
struct Places {
    lanes: BTreeMap<Lane, LaneCursor>,
    /// Records of the commit at hand that stand before these places.
    index: u32,
}

/// Readers that are remembered.
const READERS_MAX: usize = 64;
/// The largest entry with its header and path.
pub(super) const ENTRY_ROOM: usize = 260 * 1024;

/// A page that fills.
struct Filling<'q> {
    query: &'q ReadQuery,
    /// Finds what is known of the clock of an origin in an epoch, if times are to be corrected.
    clock_of: Option<ClockOf<'q>>,
    portion: Option<&'q Portion>,
    items: Vec<ReadItem>,
    records: usize,
    bytes: usize,
    cursor: Cursor,
    /// Records of the commit at hand that are behind the reader.
    index: u32,
    commit: CommitNo,
    /// Whether it became full before the entry at hand ended.
    overran: bool,
    /// What of the topic was lost here.
    lost: Vec<Gap>,
}

impl Readers {
    /// The next page of a query; of a consumer's member only what it was given. Nothing may be in
    /// flight that the page could show.
    ///
    /// # Errors
    /// `gone` if the node gave no such cursor or has lost what was before it; `internal` if the
    /// medium refuses to read.
    pub fn page<M: Media, G: Gate>(
        &mut self,
        node: &Node<M, G>,
        query: &ReadQuery,
        portion: Option<&Portion>,
    ) -> Result<ReadPage, ApiError> {
        let (start, mut places) = self.start(node, query)?;
        let clock_of = |origin: &str, epoch| node.clock_of(origin, epoch).cloned();
        let mut filling = Filling {
            query,
            clock_of: query.corrected.then_some(&clock_of),
            portion,
            items: Vec::new(),
            records: 0,
            bytes: 0,
            cursor: start,
            index: places.index,
            commit: CommitNo::new(start.commit),
            overran: false,
            lost: losses(node, query),
        };
        let skip = start.index;
        let end = match fill(node, &mut places, &mut filling, (CommitNo::new(start.commit), skip)) {
            Ok(end) => end,
            Err(error) if filling.items.is_empty() => return Err(refused_to_read(error)),
            // The next page says so.
            Err(_) => false,
        };
        let (seen, lacking) = come(node, query, &places, end);
        let cursor = filling.cursor;
        let all = node.journal().last_commit().get();
        let through = if end { all } else { cursor.commit.saturating_sub(1) };
        if self.places.len() == READERS_MAX {
            self.places.pop_front();
        }
        self.places.push_back((cursor, places));
        Ok(ReadPage { items: filling.items, cursor, through, end, seen, lacking })
    }

    fn start<M: Media, G: Gate>(
        &mut self,
        node: &Node<M, G>,
        query: &ReadQuery,
    ) -> Result<(Cursor, Places), ApiError> {
        let journal = node.journal();
        let (log_id, epoch) = (journal.log().get(), journal.epoch().get());
        let first = Cursor { log_id, epoch, commit: 0, index: 0 };
        let places = |from: u64| {
            let lanes = (0..node.settings().lanes.len() as u8).map(Lane::new);
            let near = |lane| (lane, journal.near_commit(lane, CommitNo::new(from)));
            Places { lanes: lanes.map(near).collect(), index: 0 }
        };
        match &query.from {
            ReadFrom::Position(Position::Latest) => {
                let commit = journal.last_commit().get();
                Ok((Cursor { commit, index: u32::MAX, ..first }, places(commit)))
            }
            ReadFrom::Position(_) => Ok((first, places(0))),
            ReadFrom::After(cursor) => {
                check(node, cursor)?;
                // It holds in this opening too, and later ones ask how far this one has come.
                let cursor = Cursor { epoch, ..*cursor };
                let held = self.places.iter().position(|(held, _)| *held == cursor);
                let held = held.and_then(|at| self.places.remove(at));
                Ok((cursor, held.map_or_else(|| places(cursor.commit), |(_, places)| places)))
            }
        }
    }
}

/// Whether a cursor was given here, and what is before it was not lost since.
fn check<M: Media, G: Gate>(node: &Node<M, G>, cursor: &Cursor) -> Result<(), ApiError> {
    let journal = node.journal();
    if cursor.log_id == journal.log().get()
        && cursor.commit <= had_by(journal.openings(), cursor.epoch)
        && cursor.commit <= journal.last_commit().get()
    {
        return Ok(());
    }
    let text = "the cursor is of another log, or beyond what this node has";
    let hint = "this node may have been restored; read again from the earliest";
    Err(ApiError::new(ErrorCode::Gone, text).with_hint(hint))
}

/// The commit up to which the log must be seen to have a place behind one; none if it is not here.
pub(super) fn reached<M: Media, G: Gate>(
    node: &Node<M, G>,
    place: &Place,
) -> Result<Option<u64>, ApiError> {
    match place {
        Place::Cursor(cursor) => check(node, cursor).map(|()| Some(cursor.commit)),
        Place::Record(Coordinates { stream, offset, .. }) => {
            let StreamName { origin, topic, partition } = stream;
            let partition = Partition::new(*partition);
            let frontier = node.journal().frontier();
            let found = frontier.find(StreamId { origin, topic, partition });
            let here = found.is_some_and(|ix| frontier.tip(ix).next.get() > *offset);
            Ok(here.then(|| node.journal().last_commit().get()))
        }
    }
}

/// How far a reader has come with a page, and how many records were forgotten before it.
fn come<M: Media, G: Gate>(
    node: &Node<M, G>,
    query: &ReadQuery,
    places: &Places,
    end: bool,
) -> (Seen, u64) {
    let mut seen = query.seen.unwrap_or_default();
    let mut lacking = 0;
    for (seen, at) in seen.0.iter_mut().zip(0..node.settings().lanes.len() as u8) {
        let lane = Lane::new(at);
        let (first, next) = node.journal().seqs(lane);
        if query.seen.is_some() {
            lacking += first.get().saturating_sub(*seen);
        }
        let place = places.lanes.get(&lane).map_or(0, |place| place.seq.get());
        let come = if end { next.get() } else { place };
        *seen = come.max(*seen).max(first.get());
    }
    (seen, lacking)
}

/// The last commit of an opening that the next one found; none if the epoch is not known. What a
/// reader saw behind it was lost, and other records may have its numbers.
fn had_by(openings: &[OpeningNote], epoch: u64) -> u64 {
    let mut openings = openings.iter().skip_while(|note| note.epoch.get() != epoch);
    match (openings.next(), openings.next()) {
        (None, _) => 0,
        (Some(_), None) => u64::MAX,
        (Some(_), Some(next)) => next.first_commit.get().saturating_sub(1),
    }
}

/// What this node lost of what is asked for.
fn losses<M: Media, G: Gate>(node: &Node<M, G>, query: &ReadQuery) -> Vec<Gap> {
    let frontier = node.journal().frontier();
    let losses = node.journal().losses().iter().filter_map(|loss| {
        let stream = frontier.name(loss.stream?.0);
        let origin = query.origin.as_deref().is_none_or(|origin| origin == stream.origin);
        let partition = query.partition.is_none_or(|number| number == stream.partition.get());
        let wanted = query.names(stream.topic) && origin && partition;
        wanted.then(|| Gap {
            stream: name(stream),
            from: loss.from.get(),
            to: loss.to.get(),
            why: loss.reason.map(|reason| reason.to_string()).unwrap_or_default(),
        })
    });
    losses.collect()
}

pub(super) fn refused_to_read(error: MediaError) -> ApiError {
    let text = format!("what is stored can't be read now: {error}");
    ApiError::new(ErrorCode::Internal, text).with_hint("check the disk, and read on from here")
}

/// Fills a page. Returns whether nothing durable is behind it.
///
/// # Errors
/// The medium refused to read; what is in the page was read before.
fn fill<M: Media, G: Gate>(
    node: &Node<M, G>,
    places: &mut Places,
    page: &mut Filling<'_>,
    start: (CommitNo, u32),
) -> Result<bool, MediaError> {
    let mut heads = BTreeMap::new();
    let mut buffer = vec![0; ENTRY_ROOM];
    loop {
        for (lane, place) in &places.lanes {
            if !heads.contains_key(lane) {
                let mut cursor = *place;
                let head = next_commit(node, *lane, &mut cursor, &mut buffer, start.0)?;
                heads.insert(*lane, head);
            }
        }
        let next = heads.iter().filter_map(|(lane, head)| head.map(|head| (head, *lane))).min();
        let Some(((commit, before), lane)) = next else { return Ok(true) };
        let mut cursor = before.0;
        let step = node.journal().read(lane, &mut cursor, &mut buffer);
        if let ReadStep::Failed(error) = step {
            return Err(error);
        }
        if let ReadStep::Entry(entry) = step {
            if commit != page.commit {
                (page.commit, page.index) = (commit, 0);
            }
            if page.is_over() {
                page.end_portion();
                return Ok(false);
            }
            places.index = page.index;
            let skip = if commit == start.0 { start.1 } else { 0 };
            let name = node.settings().lanes.get(usize::from(lane.get()));
            let name = name.map(|lane| lane.name.as_str()).unwrap_or_default();
            page.take(entry.header.kind, entry.header.seq, entry.body, name, skip);
            page.cursor.commit = commit.get();
            page.cursor.index = page.index;
        }
        if page.overran {
            // The entry is read again for the next page; the index tells how far it was taken.
            places.lanes.insert(lane, before.0);
            return Ok(false);
        }
        places.lanes.insert(lane, cursor);
        places.index = page.index;
        heads.remove(&lane);
        if page.is_full() {
            return Ok(false);
        }
    }
}

/// A place that orders with its commit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Before(LaneCursor);

impl PartialOrd for Before {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Before {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0.segment, self.0.at).cmp(&(other.0.segment, other.0.at))
    }
}

/// The commit of the next entry of a lane that is not before `from`, and the place before it.
fn next_commit<M: Media, G: Gate>(
    node: &Node<M, G>,
    lane: Lane,
    cursor: &mut LaneCursor,
    buffer: &mut [u8],
    from: CommitNo,
) -> Result<Option<(CommitNo, Before)>, MediaError> {
    loop {
        let before = *cursor;
        match node.journal().read(lane, cursor, buffer) {
            ReadStep::Entry(entry) if entry.header.commit >= from => {
                return Ok(Some((entry.header.commit, Before(before))));
            }
            ReadStep::Entry(_) | ReadStep::Missing(..) => {}
            ReadStep::End | ReadStep::TooLong(_) => return Ok(None),
            ReadStep::Failed(error) => return Err(error),
        }
    }
}

impl Filling<'_> {
    /// Whether the portion that is to be read has ended.
    fn is_over(&self) -> bool {
        let here = (self.commit, self.index);
        self.portion.and_then(|portion| portion.to).is_some_and(|to| here >= (to.commit, to.index))
    }

    /// Ends where the portion does, also if nothing lies just before that.
    fn end_portion(&mut self) {
        if let Some(to) = self.portion.and_then(|portion| portion.to) {
            (self.cursor.commit, self.cursor.index) = (to.commit.get(), to.index);
        }
    }

    fn is_full(&self) -> bool {
        self.records >= self.query.records_max || self.bytes >= self.query.bytes_max
    }

    fn take(&mut self, kind: Kind, seq: Seq, body: &[u8], lane: &str, skip: u32) {
        match kind {
            Kind::Data | Kind::Snapshot => self.take_data(seq, body, lane, skip),
            Kind::Gap => self.take_gap(body, skip),
            _ => {}
        }
    }

    fn take_gap(&mut self, body: &[u8], skip: u32) {
        let Ok(gap) = GapBody::decode(body) else { return };
        if self.is_over() {
            self.overran = true;
            return;
        }
        self.index += 1;
        if self.index <= skip || !self.query.names(gap.stream.topic) {
            return;
        }
        let stream = name(gap.stream);
        let (from, to, why) = (gap.from.get(), gap.to.get(), gap.reason.to_string());
        let cursor = Cursor { commit: self.commit.get(), index: self.index, ..self.cursor };
        self.items.push(ReadItem::Gap(Gap { stream, from, to, why }, cursor));
    }

    /// What was lost here just before a batch.
    fn take_loss(&mut self, head: &BatchHead<'_>) {
        let ends = |lost: &&Gap| lost.to == head.base.get() && lost.stream == name(head.stream);
        if let Some(lost) = self.lost.iter().find(ends) {
            self.items.push(ReadItem::Gap(lost.clone(), self.cursor));
        }
    }

    fn take_data(&mut self, seq: Seq, body: &[u8], lane: &str, skip: u32) {
        let mut at = seq;
        for batch in batches(body, checksum()).map_while(Result::ok) {
            if self.index >= skip {
                self.take_loss(&batch.head);
            }
            let clock = BatchClock::of(&batch.head, self.clock_of);
            for placed in batch.records().map_while(Result::ok) {
                if self.is_full() || self.is_over() {
                    self.overran = true;
                    return;
                }
                self.index += 1;
                let seq = at;
                at = at.plus(1);
                if self.index > skip && self.wants(&batch, &placed, seq) {
                    let cursor =
                        Cursor { commit: self.commit.get(), index: self.index, ..self.cursor };
                    let mut record = record(&batch, &placed, seq, lane);
                    record.clock = clock.told(placed.record.timestamp);
                    self.bytes += placed.encoded.len() + RECORD_OVERHEAD;
                    self.records += 1;
                    self.items.push(ReadItem::Record(Box::new(record), cursor));
                }
            }
        }
    }

    fn wants(&self, batch: &Batch<'_>, placed: &PlacedRecord<'_>, seq: Seq) -> bool {
        let stream = batch.head.stream;
        let query = self.query;
        let slot = slot_of(placed.record.key, placed.offset.get());
        if self.portion.is_some_and(|portion| !portion.slots.has(slot)) {
            return false;
        }
        let position = match &query.not_before {
            Some(Position::Offset(offset)) => placed.offset.get() >= *offset,
            Some(Position::Time(ms)) => placed.record.timestamp.get() >= *ms,
            Some(Position::Seq(from)) => seq.get() >= *from,
            Some(Position::Record(from)) => {
                let this = name(stream) == from.stream;
                !this || placed.offset.get() >= from.offset
            }
            Some(Position::Earliest | Position::Latest) | None => true,
        };
        position
            && query.names(stream.topic)
            && query.origin.as_ref().is_none_or(|origin| origin == stream.origin)
            && query.partition.is_none_or(|partition| partition == stream.partition.get())
    }
}

/// What a record costs in a page besides its bytes.
const RECORD_OVERHEAD: usize = 128;

fn name(stream: landfall_core::name::StreamId<'_>) -> StreamName {
    StreamName {
        origin: stream.origin.into(),
        topic: stream.topic.into(),
        partition: stream.partition.get(),
    }
}

fn record(batch: &Batch<'_>, placed: &PlacedRecord<'_>, seq: Seq, lane: &str) -> Record {
    let head = &batch.head;
    let told = &placed.record;
    let headers = told.headers.iter().map(|header| Header {
        name: header.name.into(),
        value: header.value.map(Bytes::copy_from_slice),
    });
    Record {
        coordinates: Coordinates {
            stream: name(head.stream),
            offset: placed.offset.get(),
            epoch: Some(head.epoch.get()),
        },
        seq: seq.get(),
        lane: lane.to_owned(),
        timestamp_ms: told.timestamp.get(),
        clock: RecordClock::default(),
        key: told.key.map(Bytes::copy_from_slice),
        value: told.value.map(Bytes::copy_from_slice),
        headers: headers.collect(),
    }
}

#[cfg(test)]
mod tests {
    use landfall_core::num::{BootId, Epoch, Opening};

    use super::*;

    #[test]
    fn what_was_seen_behind_the_end_that_an_opening_found_is_of_no_opening() {
        let note = |opening, epoch, first_commit| OpeningNote {
            opening: Opening::new(opening),
            epoch: Epoch::new(epoch),
            parent: Epoch::new(epoch - 1),
            first_commit: CommitNo::new(first_commit),
            boot: BootId::new(1),
        };
        // The opening of epoch 12 found nothing behind commit 60, whatever that of 11 had shown.
        let openings = [note(1, 10, 1), note(2, 11, 40), note(3, 12, 61)];
        let last = [10, 11, 12, 13].map(|epoch| had_by(&openings, epoch));
        assert_eq!(last, [39, 60, u64::MAX, 0]);
    }
}
