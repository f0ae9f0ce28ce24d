//! Staging: records and control entries become the bytes of the next commit.

use super::Journal;
use crate::batch::{Batch, BatchHead, ClockQuality, batches, head_len};
use crate::codec::{Malformed, Writer};
use crate::entry::{ENTRY_ALIGN, ENTRY_HEADER_BYTES, EntryHeader, Kind};
use crate::frontier::{BranchIx, Change, Extent, Frontier, FrontierFault, StreamIx};
use crate::hash::StreamHash;
use crate::media::{Media, MediaError, SlotIx};
use crate::num::{CommitNo, Epoch, Lane, Offset, Opening, SegmentNo, Seq};
use crate::record::Record;
use crate::tables::Tables;

/// What is staged for the next commit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Staging {
    pub(crate) lane: Option<Lane>,
    /// Bytes in the buffer.
    pub(crate) len: usize,
    pub(crate) entries: u16,
    /// The seq after what is staged.
    pub(crate) next: Seq,
    entry: Option<OpenEntry>,
    pub(crate) group: bool,
}

impl Staging {
    /// Nothing yet, for a commit in `lane` whose next seq is `next`.
    pub(crate) fn begin(lane: Lane, next: Seq) -> Self {
        Self { lane: Some(lane), next, ..Self::default() }
    }
}

#[derive(Clone, Copy, Debug)]
struct OpenEntry {
    at: usize,
    body_at: usize,
    seq: Seq,
    batch: Option<OpenBatch>,
}

#[derive(Clone, Copy, Debug)]
struct OpenBatch {
    ix: StreamIx,
    head_at: usize,
    records_at: usize,
    epoch: Epoch,
    base: Offset,
    records: u32,
    before: StreamHash,
    hash: StreamHash,
    clock: ClockQuality,
}

/// Where a staged record will be once its commit is synced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Staged {
    /// Its offset in its stream.
    pub offset: Offset,
    /// Its place in its lane.
    pub seq: Seq,
    /// The commit that carries it.
    pub commit: CommitNo,
}

/// Why something can't be staged. What was staged before stays staged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StageError {
    /// The node has no such lane or stream.
    Unknown,
    /// Another lane is being staged. Commit first.
    OtherLane,
    /// The commit can't take more. Commit first.
    CommitFull,
    /// The lane has used its budget.
    LaneFull,
    /// The record or group can never fit.
    TooLarge,
    /// The record breaks a limit of the format.
    Malformed(Malformed),
    /// The producer's record has been written before.
    Duplicate,
    /// The frontier has no room, or the batch does not go on from it.
    Frontier(FrontierFault),
    /// The medium refused a new segment.
    Media(MediaError),
}

impl<M: Media, T: Tables> Journal<M, T> {
    /// Stages a record of a stream of this node.
    ///
    /// Consecutive records of a stream share a batch, and records of a lane share an entry, up to
    /// the size that is configured.
    ///
    /// # Errors
    /// See [`StageError`]; nothing is staged.
    pub fn stage_record(
        &mut self,
        lane: Lane,
        ix: StreamIx,
        record: &Record<'_>,
        clock: ClockQuality,
    ) -> Result<Staged, StageError> {
        record.check().map_err(StageError::Malformed)?;
        if let Some(producer) = record.producer {
            let last = self.parts.producers.last(producer.id);
            if last.is_some_and(|last| producer.sequence <= last) {
                return Err(StageError::Duplicate);
            }
        }
        let len = record.encoded_len();
        let head = head_len(self.parts.frontier.name(ix));
        let open = self.staging.entry.and_then(|entry| entry.batch).map(|batch| batch.ix);
        // The open batch's stream gets into the footer only when the batch is closed.
        let items = [Some(ix), open.filter(|open| *open != ix)].into_iter().flatten();
        let items: usize = items.map(|ix| self.footer_item(ix)).sum();
        self.make_room(lane, head + len, items)?;
        self.split_entry(head + len);
        self.open_batch(ix, clock)?;
        self.put_record(record)
    }

    /// Stages what follows, up to [`Journal::end_group`], as one entry: it will be readable whole
    /// or not at all. `bytes` is an upper bound for the encoded records and heads of their batches.
    ///
    /// # Errors
    /// There is no room for that many bytes; nothing has begun.
    pub fn begin_group(&mut self, lane: Lane, bytes: usize) -> Result<(), StageError> {
        if bytes > self.config.entry_max as usize {
            return Err(StageError::TooLarge);
        }
        self.close_entry();
        let footer = self.active(lane).map_or(0, |ix| self.slot(ix).footer_bytes as usize);
        // A stream's item in the footer is shorter than the head of its batch.
        let items = bytes.min((self.config.entry_max as usize).saturating_sub(footer));
        self.make_room(lane, bytes, items)?;
        self.staging.group = true;
        Ok(())
    }

    /// Ends what [`Journal::begin_group`] began.
    pub fn end_group(&mut self) {
        self.close_entry();
        self.staging.group = false;
    }

    /// Stages an entry as it came from another node: its body is not touched.
    ///
    /// # Errors
    /// With [`StageError::Frontier`] or [`StageError::Malformed`] the whole commit must be given
    /// up with [`Journal::abandon`], because batches before the fault have moved the frontier.
    pub fn stage_body(
        &mut self,
        lane: Lane,
        kind: Kind,
        path: &[u8],
        body: &[u8],
    ) -> Result<Staged, StageError> {
        if body.len() > self.config.entry_max as usize {
            return Err(StageError::TooLarge);
        }
        self.close_entry();
        self.make_room(lane, path.len() + body.len(), body.len().min(ITEMS_BYTES))?;
        let mut records = 0;
        if kind == Kind::Data {
            records = self.move_frontier(lane, body)?;
        }
        self.begin_entry(path);
        let at = self.staging.len;
        if let Some(place) = self.parts.buffer.as_mut().get_mut(at..at + body.len()) {
            place.copy_from_slice(body);
        }
        self.staging.len += body.len();
        let seq = self.staging.next;
        self.staging.next = seq.plus(records);
        self.end_entry(kind);
        Ok(Staged { offset: Offset::ZERO, seq, commit: self.next_commit })
    }

    /// Moves the frontier over a gap or to a new branch, and stages the entry that says so.
    ///
    /// # Errors
    /// See [`StageError`]; nothing is staged.
    pub fn stage_change(
        &mut self,
        lane: Lane,
        ix: StreamIx,
        change: Change,
        kind: Kind,
        body: &[u8],
    ) -> Result<BranchIx, StageError> {
        self.close_entry();
        self.make_room(lane, body.len(), 0)?;
        let branch = self.parts.frontier.apply(ix, change).map_err(StageError::Frontier)?;
        self.stage_body(lane, kind, &[], body)?;
        Ok(branch)
    }

    /// Gives up what is staged.
    pub fn abandon(&mut self) {
        let staging = core::mem::take(&mut self.staging);
        self.parts.frontier.revert();
        self.parts.producers.revert();
        if let Some(active) = staging.lane.and_then(|lane| self.active(lane)) {
            self.count_footer(active);
        }
    }

    /// Bytes that are staged.
    pub fn staged_bytes(&self) -> usize {
        self.staging.len
    }

    /// Closes the open entry if another `bytes` would make it longer than joined entries are.
    fn split_entry(&mut self, bytes: usize) {
        let Some(entry) = self.staging.entry else { return };
        let joined = self.staging.len - entry.body_at + bytes;
        if joined > self.config.join_max as usize && !self.staging.group {
            self.close_entry();
        }
    }

    fn open_batch(&mut self, ix: StreamIx, clock: ClockQuality) -> Result<(), StageError> {
        if self.staging.entry.is_none() {
            self.begin_entry(&[]);
        }
        let open = self.staging.entry.and_then(|entry| entry.batch);
        if open.is_some_and(|batch| batch.ix == ix && batch.clock == clock) {
            return Ok(());
        }
        self.close_batch();
        let tip = self.parts.frontier.tip(ix);
        let before = tip.hash.unwrap_or(StreamHash::START);
        let head_at = self.staging.len;
        let records_at = head_at + head_len(self.parts.frontier.name(ix));
        let (epoch, base, records, hash) = (self.epoch, tip.next, 0, before);
        let batch =
            OpenBatch { ix, head_at, records_at, epoch, base, records, before, hash, clock };
        self.staging.len = records_at;
        if let Some(entry) = &mut self.staging.entry {
            entry.batch = Some(batch);
        }
        Ok(())
    }

    fn put_record(&mut self, record: &Record<'_>) -> Result<Staged, StageError> {
        let at = self.staging.len;
        let room = self.parts.buffer.as_mut().get_mut(at..).unwrap_or_default();
        let mut writer = Writer::new(room);
        record.encode(&mut writer).map_err(|_| StageError::CommitFull)?;
        let Some(batch) = self.staging.entry.as_mut().and_then(|entry| entry.batch.as_mut()) else {
            return Err(StageError::Unknown);
        };
        let offset = batch.base.plus(u64::from(batch.records));
        batch.hash = batch.hash.then(batch.epoch, offset, writer.written());
        batch.records += 1;
        self.staging.len += writer.len();
        let seq = self.staging.next;
        self.staging.next = seq.plus(1);
        if let Some(producer) = record.producer {
            self.parts.producers.stage(producer);
        }
        Ok(Staged { offset, seq, commit: self.next_commit })
    }

    fn close_batch(&mut self) {
        let Some(batch) = self.staging.entry.as_mut().and_then(|entry| entry.batch.take()) else {
            return;
        };
        if batch.records == 0 {
            self.staging.len = batch.head_at;
            return;
        }
        let segment = self.staging.lane.and_then(|lane| self.active(lane));
        let segment = segment.map(|ix| (ix, self.slot(ix).number));
        let head = BatchHead {
            stream: self.parts.frontier.name(batch.ix),
            epoch: batch.epoch,
            base: batch.base,
            span: batch.records,
            records: batch.records,
            len: (self.staging.len - batch.records_at) as u32,
            before: batch.before,
            after: batch.hash,
            partial: false,
            clock: batch.clock,
        };
        let place = self.parts.buffer.as_mut().get_mut(batch.head_at..batch.records_at);
        let written =
            head.encode(&mut Writer::new(place.unwrap_or_default()), self.config.checksum);
        assert!(written.is_ok(), "room was left for the head");
        let extent = head.extent();
        if let Some((slot, number)) = segment {
            self.mark(batch.ix, slot, number, extent);
        }
    }

    fn mark(&mut self, ix: StreamIx, slot: SlotIx, number: SegmentNo, extent: Extent) {
        let item = self.footer_item(ix);
        let applied = self.parts.frontier.apply(ix, Change::Batch(extent, number));
        assert!(applied.is_ok(), "a batch of this node goes on from its tip");
        let branch = applied.ok().and_then(|branch| self.parts.frontier.branch(ix, branch));
        // The mark is new if the batch is where it begins.
        if branch.is_some_and(|branch| branch.mark == (number, extent.base)) {
            self.reserve_footer(slot, item);
        }
    }

    fn reserve_footer(&mut self, slot: SlotIx, item: usize) {
        if let Some(slot) = self.slot_mut(slot) {
            slot.footer_bytes += item as u32;
        }
    }

    fn move_frontier(&mut self, lane: Lane, body: &[u8]) -> Result<u64, StageError> {
        let Some(slot) = self.active(lane) else { return Err(StageError::Unknown) };
        let number = self.slot(slot).number;
        let mut records = 0;
        for batch in batches(body, self.config.checksum) {
            let Batch { head, .. } = batch.map_err(StageError::Malformed)?;
            let ix = self.parts.frontier.add(head.stream).map_err(StageError::Frontier)?;
            let item = self.footer_item(ix);
            let moved = self.parts.frontier.apply(ix, Change::Batch(head.extent(), number));
            let branch = self.parts.frontier.branch(ix, moved.map_err(StageError::Frontier)?);
            if branch.is_some_and(|branch| branch.mark == (number, head.base)) {
                self.reserve_footer(slot, item);
            }
            records += u64::from(head.records);
        }
        Ok(records)
    }

    pub(crate) fn begin_entry(&mut self, path: &[u8]) {
        let at = self.staging.len.next_multiple_of(ENTRY_ALIGN);
        let path_at = at + ENTRY_HEADER_BYTES;
        let body_at = path_at + path.len();
        let buffer = self.parts.buffer.as_mut();
        if let Some(padding) = buffer.get_mut(self.staging.len..path_at) {
            padding.fill(0);
        }
        if let Some(place) = buffer.get_mut(path_at..body_at) {
            place.copy_from_slice(path);
        }
        self.staging.len = body_at;
        self.staging.entry = Some(OpenEntry { at, body_at, seq: self.staging.next, batch: None });
    }

    /// Closes the open entry, if there is one with records.
    pub(crate) fn close_entry(&mut self) {
        self.close_batch();
        let Some(entry) = self.staging.entry else { return };
        if self.staging.len == entry.body_at {
            self.staging.len = entry.at;
            self.staging.entry = None;
            return;
        }
        self.end_entry(Kind::Data);
    }

    /// Opens an entry of a commit of the journal's own, beginning the commit if need be.
    pub(crate) fn begin_control_entry(&mut self, lane: Lane) {
        if self.staging.lane.is_none() {
            let next = self.lane(lane).map(|state| state.next).unwrap_or_default();
            self.staging = Staging::begin(lane, next);
        }
        self.begin_entry(&[]);
    }

    /// Whether an entry is open whose body is shorter than `limit`.
    pub(crate) fn entry_has_room(&self, limit: usize) -> bool {
        self.staging.entry.is_some_and(|entry| self.staging.len - entry.body_at < limit)
    }

    /// Appends to the body of the open entry.
    pub(crate) fn put_bytes(&mut self, bytes: &[u8]) {
        let end = self.staging.len + bytes.len();
        let place = self.parts.buffer.as_mut().get_mut(self.staging.len..end);
        assert!(place.is_some(), "the buffer holds an entry more than it needs to");
        if let Some(place) = place {
            place.copy_from_slice(bytes);
        }
        self.staging.len = end;
    }

    /// Ends the open entry, if there is one.
    pub(crate) fn end_entry(&mut self, kind: Kind) {
        let Some(entry) = self.staging.entry.take() else { return };
        let buffer = self.parts.buffer.as_mut();
        let body = buffer.get(entry.body_at..self.staging.len).unwrap_or_default();
        let header = EntryHeader {
            kind,
            last: false,
            index: self.staging.entries,
            path_len: (entry.body_at - entry.at - ENTRY_HEADER_BYTES) as u16,
            body_len: body.len() as u32,
            body_crc: self.config.checksum.of(body),
            commit: CommitNo::ZERO,
            seq: entry.seq,
            records: self.staging.next.since(entry.seq) as u32,
            opening: Opening::new(0),
            before: 0,
        };
        let place = buffer.get_mut(entry.at..entry.body_at).unwrap_or_default();
        // Commit, opening, position and checksum are filled in when the commit is written.
        header.put(place);
        self.staging.entries += 1;
    }
}

/// What a body from elsewhere may be expected to add to the footer. If it adds more, the segment
/// may end without one.
const ITEMS_BYTES: usize = 1_024;
