//! One session over a line: frames with bytes, one at a time each way, until each has come.

use super::frame::{ACK, DATA, Data, HEAD_BYTES, Note};
use super::key::{SessionKey, Side, TAG_BYTES};
use crate::time::{Duration, Instant};

/// When a frame is repeated that nobody says has come. At 9,600 baud a frame, one of the other end
/// before the answer, and the answer take less.
const REPEAT_AFTER: Duration = Duration::from_millis(500);
/// The same when it was repeated before.
const REPEAT_AFTER_MAX: Duration = Duration::from_secs(1);
/// The line is given up when a frame has not come for so long.
const LOST_AFTER: Duration = Duration::from_secs(20);

/// What an end knows of an open session.
#[derive(Clone, Debug)]
pub(super) struct Talk {
    key: SessionKey,
    /// This end.
    side: Side,
    /// The number of the frame that comes next.
    awaited: u32,
    /// The number of the frame that is under way, or is sent next.
    number: u32,
    under_way: Option<UnderWay>,
    ack_due: bool,
}

#[derive(Clone, Copy, Debug)]
struct UnderWay {
    since: Instant,
    repeat_at: Instant,
    wait: Duration,
}

/// What a frame of a session was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Said {
    /// No frame of this session.
    Foreign,
    /// Bytes that are new: this many.
    Payload(usize),
    /// Nothing new.
    Nothing,
}

impl Talk {
    pub(super) fn new(key: SessionKey, side: Side) -> Self {
        Self { key, side, awaited: 0, number: 0, under_way: None, ack_due: false }
    }

    /// A frame has come.
    pub(super) fn hear(&mut self, frame: &[u8], data: &mut Data) -> Said {
        let Some((body, tag)) = frame.split_last_chunk::<TAG_BYTES>() else { return Said::Foreign };
        let Some(([kind, number @ ..], payload)) = body.split_first_chunk::<HEAD_BYTES>() else {
            return Said::Foreign;
        };
        let other = if self.side == Side::Caller { Side::Answerer } else { Side::Caller };
        if !self.key.is_tag(tag, other, body) {
            return Said::Foreign;
        }
        let number = u32::from_le_bytes(*number);
        match (*kind, payload.len()) {
            (DATA, 1..) => {
                self.ack_due |= number <= self.awaited;
                if number != self.awaited {
                    // It came before, and the ack did not.
                    return Said::Nothing;
                }
                self.awaited = self.awaited.saturating_add(1);
                Said::Payload(payload.len())
            }
            (ACK, 0) => {
                if self.under_way.is_some() && number == self.number.saturating_add(1) {
                    (self.number, self.under_way) = (number, None);
                    data.clear();
                }
                Said::Nothing
            }
            _ => Said::Foreign,
        }
    }

    /// Whether bytes can be sent.
    pub(super) fn is_ready(&self) -> bool {
        // The last number of all is never used: what it would be awaited by is not one more.
        self.under_way.is_none() && self.number < u32::MAX
    }

    /// Sends bytes, which are no more than a frame takes.
    pub(super) fn put(&mut self, payload: &[u8], data: &mut Data, now: Instant) {
        assert!(self.is_ready(), "one frame at a time");
        let head = head(DATA, self.number);
        let tag = self.key.tag(self.side, &[&head, payload]);
        data.put(&[&head, payload, &tag]);
        let wait = REPEAT_AFTER;
        self.under_way = Some(UnderWay { since: now, repeat_at: now.plus(wait), wait });
    }

    /// Says what has come, if it was not said yet.
    pub(super) fn put_ack(&mut self, note: &mut Note) {
        if core::mem::take(&mut self.ack_due) {
            let head = head(ACK, self.awaited);
            note.put(&[&head, &self.key.tag(self.side, &[&head])]);
        }
    }

    /// The frame under way is on the line.
    pub(super) fn left(&mut self, now: Instant) {
        if let Some(under_way) = &mut self.under_way {
            under_way.repeat_at = now.plus(under_way.wait);
        }
    }

    /// Repeats the frame under way if it is time to.
    pub(super) fn repeat(&mut self, data: &mut Data, now: Instant) {
        let Some(under_way) = &mut self.under_way else { return };
        if data.rest().is_empty() && now >= under_way.repeat_at {
            under_way.wait = under_way.wait.doubled_to(REPEAT_AFTER_MAX);
            under_way.repeat_at = now.plus(under_way.wait);
            data.again();
        }
    }

    /// When something is to be done without any input.
    pub(super) fn due(&self) -> Option<Instant> {
        let lost = |under_way: UnderWay| under_way.since.plus(LOST_AFTER);
        self.under_way.map(|under_way| under_way.repeat_at.min(lost(under_way)))
    }

    /// Whether nobody seems to be at the other end any more.
    pub(super) fn is_lost(&self, now: Instant) -> bool {
        let lost = |under_way: UnderWay| now.since(under_way.since) >= LOST_AFTER;
        self.number == u32::MAX || self.under_way.is_some_and(lost)
    }
}

fn head(kind: u8, number: u32) -> [u8; HEAD_BYTES] {
    let [a, b, c, d] = number.to_le_bytes();
    [kind, a, b, c, d]
}
