//! What waits to be sent: control messages in a queue, lanes only as counts, since their frames go
//! straight to the transport.

use core::fmt;

use landfall_core::codec::NoRoom;

use crate::buffer::Buffer;
use crate::frame::prefix;
use crate::limits::{CONTROL_RESERVE_BYTES, FRAME_PREFIX_BYTES, GOODBYE_BYTES_MAX, TEXT_BYTES_MAX};
use crate::message::{Control, Goodbye};

/// Why something cannot be sent now. Nothing was sent, and nothing is charged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SendError {
    /// The session is not open yet, or is over.
    NotOpen,
    /// The other end has not granted as much; more credit may come.
    NoCredit,
    /// The queue, the lane, or the buffer that was given has no room; more may be made by sending.
    NoRoom,
    /// The message is longer than a frame may ever be in this session, or a list is over its limit.
    TooLong,
    /// The lane was not announced, or its codec not agreed on.
    NotAgreed,
    /// The session says this itself.
    NotYours,
}

#[derive(Clone, Debug)]
pub(super) struct Output<B, const LANES: usize> {
    queue: B,
    /// Bytes of each lane that the transport holds.
    unsent: [usize; LANES],
    pub(super) soon: Soon,
}

/// What the session itself is about to say. Of each kind only the newest matters, so a flood of
/// pings cannot fill the queue.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Soon {
    pub(super) ping: Option<u64>,
    pub(super) pong: Option<u64>,
    pub(super) probe: Option<u64>,
    pub(super) probe_answer: Option<u64>,
}

impl<B: Buffer, const LANES: usize> Output<B, LANES> {
    pub(super) fn new(limit: usize) -> Self {
        Self { queue: B::with_limit(limit), unsent: [0; LANES], soon: Soon::default() }
    }

    pub(super) fn limit(&self) -> usize {
        self.queue.limit()
    }

    pub(super) fn waiting(&self) -> &[u8] {
        self.queue.bytes()
    }

    /// Bytes of control frames, without prefix, that the node may queue now.
    pub(super) fn control_room(&self) -> usize {
        let used = self.queue.bytes().len() + CONTROL_RESERVE_BYTES + FRAME_PREFIX_BYTES;
        self.queue.limit().saturating_sub(used)
    }

    /// Queues a frame and leaves `keep` bytes free.
    pub(super) fn queue(&mut self, message: &Control<'_>, keep: usize) -> Result<(), SendError> {
        let len = message.encoded_len().map_err(|NoRoom| SendError::TooLong)?;
        let prefix = prefix(len).ok_or(SendError::TooLong)?;
        let whole = prefix.len() + len;
        if self.queue.bytes().len() + whole + keep > self.queue.limit() {
            return Err(SendError::NoRoom);
        }
        let place = self.queue.grow(whole).map_err(|NoRoom| SendError::NoRoom)?;
        let (head, rest) = place.split_at_mut(prefix.len());
        head.copy_from_slice(&prefix);
        assert_eq!(message.encode(rest), Ok(len), "a message has the length that was counted");
        Ok(())
    }

    /// Queues what the session itself has to say, as far as there is room.
    pub(super) fn flush(&mut self) {
        let Soon { ping, pong, probe, probe_answer } = self.soon;
        self.soon.pong = self.say(pong, Control::Pong);
        self.soon.probe_answer = self.say(probe_answer, Control::ProbeAnswer);
        self.soon.ping = self.say(ping, Control::Ping);
        self.soon.probe = self.say(probe, Control::Probe);
    }

    /// Queues a message that holds a number; returns the number if there is no room.
    pub(super) fn say(
        &mut self,
        number: Option<u64>,
        message: fn(u64) -> Control<'static>,
    ) -> Option<u64> {
        number.filter(|number| self.queue(&message(*number), GOODBYE_BYTES_MAX).is_err())
    }

    /// Queues the last message.
    pub(super) fn farewell(&mut self, goodbye: Goodbye<'_>) {
        let queued = self.queue(&Control::Goodbye(goodbye), 0);
        assert!(queued.is_ok(), "room is kept for a goodbye");
    }

    pub(super) fn clear(&mut self) {
        self.queue.remove_front(usize::MAX);
    }

    pub(super) fn sent_control(&mut self, bytes: usize) {
        assert!(bytes <= self.queue.bytes().len(), "only what was lent can be sent");
        self.queue.remove_front(bytes);
    }

    pub(super) fn lane_unsent(&self, lane: usize) -> usize {
        self.unsent.get(lane).copied().unwrap_or(usize::MAX)
    }

    pub(super) fn add_unsent(&mut self, lane: usize, bytes: usize) {
        if let Some(unsent) = self.unsent.get_mut(lane) {
            *unsent += bytes;
        }
    }

    pub(super) fn sent_lane(&mut self, lane: usize, bytes: usize) {
        assert!(bytes <= self.lane_unsent(lane), "only what was framed can be sent");
        if let Some(unsent) = self.unsent.get_mut(lane) {
            *unsent -= bytes;
        }
    }
}

/// An explanation that fits a goodbye; what is longer is cut.
pub(super) struct Text {
    bytes: [u8; TEXT_BYTES_MAX],
    len: usize,
}

impl Text {
    pub(super) fn of(value: &impl fmt::Display) -> Self {
        let mut text = Self { bytes: [0; TEXT_BYTES_MAX], len: 0 };
        // Only a full text refuses more, and then it is cut as it should be.
        let _ = fmt::write(&mut text, format_args!("{value}"));
        text
    }

    pub(super) fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.len).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        for character in part.chars() {
            let end = self.len + character.len_utf8();
            let place = self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?;
            character.encode_utf8(place);
            self.len = end;
        }
        Ok(())
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOpen => "the session is not open",
            Self::NoCredit => "the other end has not granted as much",
            Self::NoRoom => "there is no room until something was sent",
            Self::TooLong => "the message is longer than the session's frames may be",
            Self::NotAgreed => "the lane or codec was not agreed on",
            Self::NotYours => "the session says this itself",
        })
    }
}

impl core::error::Error for SendError {}
