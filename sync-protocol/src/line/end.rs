//! What both ends of a line have in common.

use super::frame::{Data, HEAD_BYTES, Note, Reader};
use super::key::{SessionKey, Side};
use super::talk::{Said, Talk};
use crate::time::Instant;

/// Frames in, frames out, and the session.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) reader: Reader,
    /// Goes onto the line first, but never into the middle of a frame.
    pub(super) note: Note,
    data: Data,
    talk: Option<Talk>,
    /// Bytes of the last frame that are the stream's.
    payload: usize,
}

impl End {
    pub(super) const NEW: Self =
        Self { reader: Reader::EMPTY, note: Note::NONE, data: Data::NONE, talk: None, payload: 0 };

    /// Takes a byte off the line. Returns whether there is something to judge.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        self.payload = 0;
        self.reader.take(byte)
    }

    /// Judges the frame as one of the session.
    pub(super) fn hear(&mut self) -> Said {
        let (Some(talk), Some(frame)) = (&mut self.talk, self.reader.frame()) else {
            return Said::Foreign;
        };
        let said = talk.hear(frame, &mut self.data);
        if let Said::Payload(len) = said {
            self.payload = len;
        }
        said
    }

    /// The bytes of the stream in the last frame.
    pub(super) fn payload(&self) -> &[u8] {
        let frame = self.reader.frame().unwrap_or_default();
        frame.get(HEAD_BYTES..HEAD_BYTES + self.payload).unwrap_or_default()
    }

    /// A session begins.
    pub(super) fn open(&mut self, key: SessionKey, side: Side) {
        self.close();
        self.talk = Some(Talk::new(key, side));
    }

    /// The session is over.
    pub(super) fn close(&mut self) {
        self.talk = None;
        // Who reads the beginning of a frame that is cut here throws it away.
        self.data.clear();
    }

    pub(super) fn is_open(&self) -> bool {
        self.talk.is_some()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.talk.as_ref().is_some_and(Talk::is_ready)
    }

    pub(super) fn put(&mut self, payload: &[u8], now: Instant) {
        if let Some(talk) = &mut self.talk {
            talk.put(payload, &mut self.data, now);
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.talk.as_ref().and_then(Talk::due)
    }

    pub(super) fn is_lost(&self, now: Instant) -> bool {
        self.talk.as_ref().is_some_and(|talk| talk.is_lost(now))
    }

    /// What is to go onto the line next.
    pub(super) fn waiting(&mut self, now: Instant) -> &[u8] {
        if let Some(talk) = &mut self.talk {
            talk.repeat(&mut self.data, now);
            if self.note.rest().is_empty() {
                talk.put_ack(&mut self.note);
            }
        }
        if self.is_data_next() { self.data.rest() } else { self.note.rest() }
    }

    /// So many of these bytes have gone onto the line.
    pub(super) fn sent(&mut self, bytes: usize, now: Instant) {
        if !self.is_data_next() {
            return self.note.sent(bytes);
        }
        self.data.sent(bytes);
        if let Some(talk) = self.talk.as_mut().filter(|_| self.data.rest().is_empty()) {
            talk.left(now);
        }
    }

    fn is_data_next(&self) -> bool {
        self.data.is_begun() || self.note.rest().is_empty()
    }
}
