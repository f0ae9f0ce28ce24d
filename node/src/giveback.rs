//! Giving back: a site that lost the tail of a stream gets its own records back from who has them.

use landfall_core::batch::{Batch, batches};
use landfall_core::entry::Kind;
use landfall_core::frontier::{Frontier, Point, StreamIx};
use landfall_core::journal::{Cursor, ReadStep, Reader};
use landfall_core::media::{Media, MediaError};
use landfall_core::num::{Lane, Offset};
use landfall_protocol::channel::LaneIndex;
use landfall_protocol::message::{Entry, LaneMessage, Purpose};

use super::joiner::Joiner;
use super::link::Link;
use super::sender::ENTRY_OVERHEAD;
use super::{Core, Gate};
use crate::checksum;
use crate::codec::Codec;

/// Records of a stream that are to be sent back.
#[derive(Debug)]
pub(crate) struct Giveback {
    ix: StreamIx,
    /// Behind what has been sent.
    at: Point,
    to: Offset,
    lane: Lane,
    cursor: Option<Cursor>,
}

impl Giveback {
    pub(crate) fn new(ix: StreamIx, at: Point, to: Offset) -> Self {
        Self { ix, at, to, lane: Lane::new(0), cursor: None }
    }
}

impl Link {
    /// The next frame of what is given back; it goes over the first lane.
    pub(crate) fn next_giveback<M: Media, G: Gate>(
        &mut self,
        core: &mut Core<M, G>,
        index: LaneIndex,
    ) -> Option<Vec<u8>> {
        if index.get() != 0 || !self.session.is_open() || core.waits_to_read() {
            return None;
        }
        while let Some(giveback) = self.state.givebacks.front_mut() {
            let room = self.session.lane_room(index);
            let limit = room.checked_sub(ENTRY_OVERHEAD)?;
            match core.next_returned(giveback, limit) {
                Returned::Body(body, records) => {
                    return self.frame_return(&mut core.codec, index, &body, records);
                }
                Returned::NoRoom => return None,
                Returned::Unread(error) => {
                    core.read_failed(error);
                    return None;
                }
                Returned::Over => {
                    self.state.givebacks.pop_front();
                }
            }
        }
        None
    }

    fn frame_return(
        &mut self,
        codec: &mut Codec,
        index: LaneIndex,
        stored: &[u8],
        records: u32,
    ) -> Option<Vec<u8>> {
        let (codec, body) = codec.pack(stored, self.session.features());
        let entry = Entry {
            purpose: Purpose::Return,
            seq: landfall_core::num::Seq::ZERO,
            records,
            codec,
            body_len: stored.len() as u32,
            body_crc: checksum().of(stored),
            path: &[],
            body,
        };
        let frame = self.frame(index, &LaneMessage::Entry(entry));
        assert!(frame.is_some(), "the body fits the room there was");
        frame
    }
}

enum Returned {
    Body(Vec<u8>, u32),
    NoRoom,
    /// It is to be tried again from where it has come.
    Unread(MediaError),
    Over,
}

impl<M: Media, G: Gate> Core<M, G> {
    fn next_returned(&mut self, back: &mut Giveback, limit: usize) -> Returned {
        let mut buffer = core::mem::take(&mut self.scratch);
        let returned = self.seek_returned(back, limit, &mut buffer);
        self.scratch = buffer;
        returned
    }

    fn seek_returned(&self, back: &mut Giveback, limit: usize, buffer: &mut [u8]) -> Returned {
        let mut reader = Reader::new(buffer);
        while back.at.next < back.to && back.lane.get() < self.journal.lanes() {
            let mut cursor = back.cursor.unwrap_or_else(|| self.journal.first(back.lane));
            let entry = match self.journal.read_on(back.lane, &mut cursor, &mut reader) {
                ReadStep::Entry(entry) => entry,
                ReadStep::Missing(..) => {
                    back.cursor = Some(cursor);
                    continue;
                }
                ReadStep::Failed(error) => return Returned::Unread(error),
                ReadStep::End | ReadStep::TooLong(_) => {
                    (back.lane, back.cursor) = (Lane::new(back.lane.get() + 1), None);
                    continue;
                }
            };
            let mut joiner = Joiner::default();
            let data = entry.header.kind == Kind::Data;
            for batch in batches(entry.body, checksum()).filter(|_| data).map_while(Result::ok) {
                if let Some(found) = self.behind(back, &batch) {
                    joiner.add(back.ix, &[], &found);
                    let head = &found.head;
                    let hash = Some(head.after);
                    back.at = Point { epoch: head.epoch, next: head.end(), hash };
                }
            }
            if joiner.is_empty() {
                back.cursor = Some(cursor);
                continue;
            }
            if joiner.len() > limit {
                // Wait for room; what was found is found again.
                let first = joiner.first();
                back.at = first.unwrap_or(back.at);
                return Returned::NoRoom;
            }
            back.cursor = Some(cursor);
            let records = joiner.records();
            let mut body = Vec::new();
            joiner.take(&mut body, |ix| self.journal.frontier().name(ix));
            return Returned::Body(body, records);
        }
        Returned::Over
    }

    /// The part of a batch that goes on from what has been given back.
    fn behind<'a>(&self, back: &Giveback, batch: &Batch<'a>) -> Option<Batch<'a>> {
        let head = &batch.head;
        if self.journal.frontier().find(head.stream) != Some(back.ix) || head.end() <= back.at.next
        {
            return None;
        }
        if back.at.meets(head.base, head.before) {
            return Some(*batch);
        }
        let mut hash = head.before;
        let mut skipped = 0;
        for placed in batch.records().map_while(Result::ok) {
            hash = hash.then(head.epoch, placed.offset, placed.encoded);
            skipped += placed.encoded.len();
            let after = placed.offset.plus(1);
            if back.at.meets(after, hash) {
                return Some(rest(batch, after, hash, skipped));
            }
        }
        None
    }
}

/// What a batch holds from an offset on.
fn rest<'a>(
    batch: &Batch<'a>,
    from: Offset,
    before: landfall_core::hash::StreamHash,
    skipped: usize,
) -> Batch<'a> {
    let mut head = batch.head;
    let gone = from.since(head.base) as u32;
    let records = batch.records.get(skipped..).unwrap_or_default();
    (head.base, head.before) = (from, before);
    (head.span, head.records) = (head.span - gone, head.records - gone);
    head.len = records.len() as u32;
    Batch { head, records }
}
