//! Joining: whole adjacent entries of a lane become one body as they are sent, one batch for each
//! stream and epoch, so that a week of one-record commits travels as a few large entries.

use std::collections::BTreeMap;

use landfall_core::batch::{Batch, BatchHead, ClockQuality, head_len};
use landfall_core::codec::Writer;
use landfall_core::frontier::{Point, StreamIx};
use landfall_core::name::StreamId;
use landfall_core::num::{Epoch, Offset};

use crate::checksum;

/// A body that grows.
#[derive(Debug, Default)]
pub(crate) struct Joiner {
    parts: Vec<Part>,
    by_stream: BTreeMap<(StreamIx, Epoch, u8), usize>,
    path: Vec<u8>,
    len: usize,
    records: u32,
}

#[derive(Debug)]
struct Part {
    ix: StreamIx,
    epoch: Epoch,
    clock: ClockQuality,
    base: Offset,
    span: u32,
    before: landfall_core::hash::StreamHash,
    after: landfall_core::hash::StreamHash,
    records: Vec<u8>,
    head_len: usize,
}

impl Joiner {
    /// Whether nothing has been added.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Bytes of the body.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many records it holds.
    pub(crate) fn records(&self) -> u32 {
        self.records
    }

    /// The path that all of it took.
    pub(crate) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Whether an entry that took that path may be added, by the size that it would reach.
    pub(crate) fn takes(&self, path: &[u8], bytes: usize, limit: usize) -> bool {
        self.is_empty() || (self.path == path && self.len + bytes <= limit)
    }

    /// Adds a batch of an entry that took that path.
    pub(crate) fn add(&mut self, ix: StreamIx, path: &[u8], batch: &Batch<'_>) {
        let head = &batch.head;
        if self.is_empty() {
            self.path.clear();
            self.path.extend_from_slice(path);
        }
        self.records += head.records;
        self.len += batch.records.len();
        let key = (ix, head.epoch, head.clock as u8);
        let open = self.by_stream.get(&key).and_then(|at| self.parts.get_mut(*at));
        if let Some(part) = open {
            let end = part.base.plus(u64::from(part.span));
            if end == head.base && part.after == head.before {
                part.span += head.span;
                part.after = head.after;
                part.records.extend_from_slice(batch.records);
                return;
            }
        }
        self.by_stream.insert(key, self.parts.len());
        let head_len = head_len(head.stream);
        self.len += head_len;
        self.parts.push(Part {
            ix,
            epoch: head.epoch,
            clock: head.clock,
            base: head.base,
            span: head.span,
            before: head.before,
            after: head.after,
            records: batch.records.to_vec(),
            head_len,
        });
    }

    /// Where the first batch begins.
    pub(crate) fn first(&self) -> Option<Point> {
        self.parts.first().map(|part| Point {
            epoch: part.epoch,
            next: part.base,
            hash: Some(part.before),
        })
    }

    /// What the body holds of each stream: where it begins and ends.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (StreamIx, Offset, Point)> {
        self.parts.iter().map(|part| {
            let next = part.base.plus(u64::from(part.span));
            (part.ix, part.base, Point { epoch: part.epoch, next, hash: Some(part.after) })
        })
    }

    /// Writes the body in place of what `body` holds. The joiner is empty then.
    pub(crate) fn take<'n>(&mut self, body: &mut Vec<u8>, name: impl Fn(StreamIx) -> StreamId<'n>) {
        body.resize(self.len, 0);
        let mut writer = Writer::new(body);
        for part in self.parts.drain(..) {
            let head = BatchHead {
                stream: name(part.ix),
                epoch: part.epoch,
                base: part.base,
                span: part.span,
                records: part.span,
                len: part.records.len() as u32,
                before: part.before,
                after: part.after,
                partial: false,
                clock: part.clock,
            };
            let written =
                head.encode(&mut writer, checksum()).and_then(|()| writer.bytes(&part.records));
            assert!(written.is_ok(), "a body has the length that was counted");
            assert!(part.head_len == head.encoded_len(), "a name keeps its length");
        }
        self.by_stream.clear();
        self.len = 0;
        self.records = 0;
    }
}
