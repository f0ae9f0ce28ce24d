//! Footers: what a sealed segment says of the streams in it.
//!
//! A footer's body is one item a branch: `stream · branch u64, u64 · from u64 · tip`. The branch is
//! named by its first epoch and where it begins; `from` is the first offset in this segment.

use super::items::ITEM_BYTES_MAX;
use super::read::Reader;
use super::retain::StreamSpan;
use super::scan::find;
use super::window::Window;
use super::{Cursor, Journal, ReadStep};
use crate::codec::{self, Malformed, NoRoom, Writer};
use crate::control::{offset, point, put_point};
use crate::entry::{ENTRY_ALIGN, ENTRY_HEADER_BYTES, Kind, Trailer};
use crate::frontier::{Branch, BranchIx, Frontier, StreamIx};
use crate::media::{Media, MediaError, SlotIx};
use crate::name::StreamId;
use crate::num::{Epoch, Lane, Offset, SegmentNo};
use crate::segment::entries_at;
use crate::tables::{SlotState, Tables};

/// Bytes of an item besides the stream's name.
const ITEM_FIXED_BYTES: usize = 8 + 8 + 8 + 8 + 8 + 17;

impl<M: Media, T: Tables> Journal<M, T> {
    /// Bytes that a stream's item takes in a footer.
    pub(crate) fn footer_item(&self, ix: StreamIx) -> usize {
        let name = self.parts.frontier.name(ix);
        2 + name.origin.len() + name.topic.len() + 5 + ITEM_FIXED_BYTES
    }

    /// Bytes that a commit of one entry takes with a body of that many bytes.
    pub(crate) fn commit_len(&self, body: usize) -> usize {
        (ENTRY_HEADER_BYTES + body).next_multiple_of(ENTRY_ALIGN)
            + Trailer::encoded_len(self.config.lanes)
    }

    /// What such a commit takes of a slot.
    pub(crate) fn commit_space(&self, body: usize) -> u32 {
        self.shape.units(self.commit_len(body) as u32) + self.shape.guard_bytes()
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

    /// Calls `tell` with what the footer of a sealed segment says of each stream. Returns false if
    /// it has none that can be read; then what was told counts for nothing.
    ///
    /// # Errors
    /// The medium refused to read.
    pub(crate) fn tell_footer(
        &self,
        ix: SlotIx,
        buffer: &mut [u8],
        tell: &mut dyn FnMut(StreamSpan<'_>),
    ) -> Result<bool, MediaError> {
        let slot = self.slot(ix);
        if slot.state != SlotState::Sealed {
            return Ok(false);
        }
        let at = self.footer_at(ix, buffer)?.unwrap_or(slot.last_at);
        let mut cursor = Cursor { segment: slot.number, at, ..Cursor::default() };
        let mut reader = Reader::new(buffer);
        loop {
            let entry = match self.read_on(slot.lane, &mut cursor, &mut reader) {
                ReadStep::Entry(entry) if cursor.segment == slot.number => entry,
                ReadStep::Missing(..) if cursor.segment == slot.number => continue,
                ReadStep::Failed(error) => return Err(error),
                _ => return Ok(false),
            };
            if entry.header.kind != Kind::Footer {
                continue;
            }
            for span in spans(entry.body) {
                let Ok(span) = span else { return Ok(false) };
                tell(span);
            }
            return Ok(true);
        }
    }

    /// Where the footer of a sealed segment stands: it is the last commit, begins with a unit, and
    /// is one entry. None if none is found from the end, as far as the buffer reaches.
    fn footer_at(&self, ix: SlotIx, buffer: &mut [u8]) -> Result<Option<u32>, MediaError> {
        let (tail, unit) = (self.slot(ix).tail, self.shape.unit_bytes);
        let reach =
            (buffer.len() as u32 / unit * unit).min(tail - entries_at(self.shape).min(tail));
        let mut window = Window::new(&self.media, ix, tail, buffer);
        let frame = self.frame(ix);
        let mut back = unit;
        // Loads all of it at once; what can't be read is looked for unit by unit.
        let _ = window.get(tail - reach, reach as usize);
        while back <= reach {
            let found = find(&mut window, &frame, tail - back);
            if window.loaded().failed() {
                return Err(MediaError::Failed);
            }
            if let Ok(found) = found {
                return Ok((found.header.kind == Kind::Footer).then_some(found.at));
            }
            back += unit;
        }
        Ok(None)
    }

    /// Whether a segment may hold records of a stream between two offsets, both included, or end
    /// or begin at one: by its footer, or by what is known of the one that is appended to.
    ///
    /// # Errors
    /// The medium refused to read.
    pub fn may_hold(
        &self,
        lane: Lane,
        segment: SegmentNo,
        stream: StreamIx,
        (from, to): (Offset, Offset),
        buffer: &mut [u8],
    ) -> Result<bool, MediaError> {
        let Some(ix) = self.next_slot(lane, segment) else { return Ok(false) };
        let slot = self.slot(ix);
        if slot.state == SlotState::Active && slot.footer_known {
            let here = |branch: &Branch| {
                branch.mark.0 == slot.number && branch.mark.1 <= to && from <= branch.tip.next
            };
            return Ok(self.parts.frontier.branches(stream).any(|(_, branch)| here(&branch)));
        }
        let name = self.parts.frontier.name(stream);
        let mut here = false;
        let told = self.tell_footer(ix, buffer, &mut |span| {
            here |= span.stream == name && span.from <= to && from <= span.to.next;
        })?;
        Ok(here || !told)
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
    let mut reader = codec::Reader::new(body);
    core::iter::from_fn(move || {
        if reader.is_empty() {
            return None;
        }
        let span = span(&mut reader);
        if span.is_err() {
            reader = codec::Reader::new(&[]);
        }
        Some(span)
    })
}

fn span<'a>(reader: &mut codec::Reader<'a>) -> Result<StreamSpan<'a>, Malformed> {
    Ok(StreamSpan {
        stream: StreamId::decode(reader)?,
        branch: Some((Epoch::new(reader.u64()?), offset(reader)?)),
        from: offset(reader)?,
        to: point(reader)?,
    })
}
