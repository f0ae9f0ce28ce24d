//! What goes out: one message at a time, in a chunk of its own.

use landfall_core::codec::NoRoom;
use landfall_protocol::channel::{Channel, LaneIndex};
use landfall_protocol::frame::prefix;
use landfall_protocol::limits::FRAME_PREFIX_BYTES;
use landfall_protocol::message::{Control, LaneMessage};
use landfall_protocol::mux::CHUNK_HEADER_BYTES;

/// Bytes before a message: a chunk's header and a frame's prefix.
const BEFORE: usize = CHUNK_HEADER_BYTES + FRAME_PREFIX_BYTES;
/// The longest head of an entry that took no hops, with what stands before it.
pub(super) const HEAD_BYTES_MAX: usize = BEFORE + 1 + 2 + 10 + 5 + 5 + 4 + 1;

const _: () = assert!(HEAD_BYTES_MAX <= landfall_core::entry::ENTRY_HEADER_BYTES);

/// A message on its way, in memory that is lent.
#[derive(Debug)]
pub(crate) struct Outbox<'m> {
    bytes: &'m mut [u8],
    start: usize,
    end: usize,
}

impl<'m> Outbox<'m> {
    pub(crate) fn new(bytes: &'m mut [u8]) -> Self {
        Self { bytes, start: 0, end: 0 }
    }

    /// What is still to be sent.
    pub(crate) fn waiting(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// So many bytes were sent.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.end);
    }

    /// Forgets what was to be sent.
    pub(crate) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Memory to read into while nothing waits.
    pub(crate) fn free(&mut self) -> &mut [u8] {
        self.bytes
    }

    pub(crate) fn put_control(&mut self, message: &Control<'_>) -> Result<(), NoRoom> {
        let len = message.encode(self.bytes.get_mut(BEFORE..).ok_or(NoRoom)?)?;
        self.frame(Channel::CONTROL, len)
    }

    /// A statement on the lane. Returns the bytes that it costs.
    pub(crate) fn put_statement(&mut self, message: &LaneMessage<'_>) -> Result<u64, NoRoom> {
        let len = message.encode(self.bytes.get_mut(BEFORE..).ok_or(NoRoom)?)?;
        self.frame(lane(), len)?;
        Ok((FRAME_PREFIX_BYTES + len) as u64)
    }

    /// An entry whose body was read to `at`; its head is put right before it. `head` is the entry
    /// with no body, and `len` what the body takes.
    pub(crate) fn put_entry(
        &mut self,
        head: &LaneMessage<'_>,
        at: usize,
        len: usize,
    ) -> Result<u64, NoRoom> {
        let mut scratch = [0; HEAD_BYTES_MAX];
        let head_len = head.encode_head(scratch.get_mut(BEFORE..).ok_or(NoRoom)?)?;
        let start = at.checked_sub(BEFORE + head_len).ok_or(NoRoom)?;
        write_before(&mut scratch, lane(), head_len + len)?;
        let place = self.bytes.get_mut(start..at).ok_or(NoRoom)?;
        place.copy_from_slice(scratch.get(..BEFORE + head_len).ok_or(NoRoom)?);
        (self.start, self.end) = (start, at + len);
        Ok((FRAME_PREFIX_BYTES + head_len + len) as u64)
    }

    fn frame(&mut self, channel: Channel, len: usize) -> Result<(), NoRoom> {
        write_before(self.bytes, channel, len)?;
        (self.start, self.end) = (0, BEFORE + len);
        Ok(())
    }
}

/// The channel of the only lane.
fn lane() -> Channel {
    LaneIndex::new(0).map_or(Channel::CONTROL, Channel::of_lane)
}

/// The chunk's header and the frame's prefix of a message.
fn write_before(bytes: &mut [u8], channel: Channel, message: usize) -> Result<(), NoRoom> {
    let chunk = u16::try_from(FRAME_PREFIX_BYTES + message).map_err(|_| NoRoom)?;
    let [low, high] = chunk.to_le_bytes();
    let [a, b, c] = prefix(message).ok_or(NoRoom)?;
    let before = [channel.number(), low, high, a, b, c];
    bytes.get_mut(..BEFORE).ok_or(NoRoom)?.copy_from_slice(&before);
    Ok(())
}
