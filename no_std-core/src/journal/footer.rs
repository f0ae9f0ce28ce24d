//! Footers: what a sealed segment says of the streams in it.
//!
//! A footer's body is one item a branch: `stream · branch u64, u64 · from u64 · tip`. The branch is
//! named by its first epoch and where it begins; `from` is the first offset in this segment.

use super::Journal;
use super::items::ITEM_BYTES_MAX;
use super::retain::StreamSpan;
use crate::codec::{Malformed, NoRoom, Reader, Writer};
use crate::control::{offset, point, put_point};
use crate::entry::{ENTRY_ALIGN, ENTRY_HEADER_BYTES, Kind, Trailer};
use crate::frontier::{Branch, BranchIx, Frontier, StreamIx};
use crate::media::{Media, SlotIx};
use crate::name::StreamId;
use crate::num::Epoch;
use crate::tables::{Slot, Tables};

/// Bytes of an item besides the stream's name.
const ITEM_FIXED_BYTES: usize = 8 + 8 + 8 + 8 + 8 + 17;

impl<M: Media, T: Tables> Journal<M, T> {
    /// Bytes that a stream's item takes in a footer.
    pub(crate) fn footer_item(&self, ix: StreamIx) -> usize {
        let name = self.parts.frontier.name(ix);
        2 + name.origin.len() + name.topic.len() + 5 + ITEM_FIXED_BYTES
    }

    /// Bytes that the footer of a segment takes as a commit.
    pub(crate) fn footer_len(&self, slot: &Slot) -> usize {
        self.commit_len(slot.footer_bytes as usize)
    }

    /// Bytes that a commit of one entry takes with a body of that many bytes.
    pub(crate) fn commit_len(&self, body: usize) -> usize {
        (ENTRY_HEADER_BYTES + body).next_multiple_of(ENTRY_ALIGN)
            + Trailer::encoded_len(self.config.lanes)
    }

    /// Stages the footer of a segment, from the marks that the frontier made.
    pub(crate) fn stage_footer(&mut self, ix: SlotIx) {
        let segment = self.slot(ix).number;
        self.begin_control_entry(self.slot(ix).lane);
        for stream in (0..self.parts.frontier.streams()).map(StreamIx) {
            let mut at = BranchIx::MAIN;
            while let Some(branch) = self.parts.frontier.branch(stream, at) {
                at = BranchIx(at.0 + 1);
                if branch.mark.0 != segment {
                    continue;
                }
                let mut scratch = [0; ITEM_BYTES_MAX];
                let mut writer = Writer::new(&mut scratch);
                let encoded = encode(self.parts.frontier.name(stream), &branch, &mut writer);
                assert!(encoded.is_ok(), "an item of a footer has a limit");
                self.put_bytes(writer.written());
            }
        }
        self.end_entry(Kind::Footer);
    }

    /// Recomputes the room that the footer of a lane's active segment needs.
    pub(crate) fn count_footer(&mut self, ix: SlotIx) {
        let segment = self.slot(ix).number;
        let mut bytes = 0;
        for stream in (0..self.parts.frontier.streams()).map(StreamIx) {
            let marks = self.parts.frontier.branches(stream);
            let marks = marks.filter(|(_, branch)| branch.mark.0 == segment).count();
            bytes += marks * self.footer_item(stream);
        }
        if let Some(slot) = self.slot_mut(ix) {
            slot.footer_bytes = bytes as u32;
        }
    }
}

fn encode(name: StreamId<'_>, branch: &Branch, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
    name.encode(writer)?;
    writer.u64(branch.first.get())?;
    writer.u64(branch.from.get())?;
    writer.u64(branch.mark.1.get())?;
    put_point(writer, branch.tip)
}

/// The items of a footer's body.
pub(crate) fn spans(body: &[u8]) -> impl Iterator<Item = Result<StreamSpan<'_>, Malformed>> {
    let mut reader = Reader::new(body);
    core::iter::from_fn(move || {
        if reader.is_empty() {
            return None;
        }
        let span = span(&mut reader);
        if span.is_err() {
            reader = Reader::new(&[]);
        }
        Some(span)
    })
}

fn span<'a>(reader: &mut Reader<'a>) -> Result<StreamSpan<'a>, Malformed> {
    Ok(StreamSpan {
        stream: StreamId::decode(reader)?,
        branch: Some((Epoch::new(reader.u64()?), offset(reader)?)),
        from: offset(reader)?,
        to: point(reader)?,
    })
}
