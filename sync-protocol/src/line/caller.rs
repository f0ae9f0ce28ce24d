//! The device's end of a line: it calls until it is answered.

use super::end::End;
use super::frame::{Call, read_answer};
use super::key::{LineKey, NONCE_BYTES, Nonce, Side, Use};
use super::talk::Said;
use crate::time::{Duration, Instant};

/// A call that is not answered is repeated after so long.
const CALL_AGAIN: Duration = Duration::from_secs(1);
/// After a session ended, the next call waits so long.
const CALL_AFTER: Duration = Duration::from_secs(2);
/// Calls that are alike; then one with another nonce follows.
const CALLS_ALIKE: u32 = 10;

/// The end that calls. It holds all its memory itself, about 700 bytes.
#[derive(Clone, Debug)]
pub struct Caller<'a> {
    end: End,
    site: &'a str,
    key: LineKey,
    seed: Nonce,
    /// Nonces that were used since the start.
    nonces: u64,
    nonce: Nonce,
    /// Calls with this nonce.
    calls: u32,
    call_at: Instant,
}

/// What became of the line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Turn {
    /// Nothing.
    Same,
    /// There is a new session; whatever the earlier one had under way is gone.
    Opened,
    /// Bytes have come: see [`Caller::payload`].
    Payload,
    /// The session is over.
    Lost,
}

impl<'a> Caller<'a> {
    /// The end of a line that calls as `site`, with the key that gateways know of it. `seed` is
    /// random, and drawn anew at each start: with one that was used before, what was recorded on
    /// the line then could be played back.
    pub fn new(site: &'a str, key: LineKey, seed: [u8; NONCE_BYTES]) -> Self {
        let (nonce, call_at) = ([0; NONCE_BYTES], Instant::default());
        Self { end: End::NEW, site, key, seed, nonces: 0, nonce, calls: 0, call_at }
    }

    /// Takes a byte off the line.
    pub fn handle_byte(&mut self, byte: u8) -> Turn {
        if !self.end.take(byte) {
            return Turn::Same;
        }
        let Some(frame) = self.end.reader.frame() else { return Turn::Same };
        if let Some((nonce, tag)) = read_answer(frame) {
            let answered = !self.end.is_open()
                && self.key.is_tag(tag, Use::Answer, (nonce, &self.nonce), self.site);
            if answered {
                let session = self.key.session(&self.nonce, nonce, self.site);
                self.end.open(session, Side::Caller);
                return Turn::Opened;
            }
            // A repeated answer is no noise.
            if self.end.is_open() {
                return Turn::Same;
            }
        }
        match self.end.hear() {
            Said::Payload(_) => Turn::Payload,
            Said::Nothing => Turn::Same,
            Said::Foreign => {
                self.end.reader.throw();
                Turn::Same
            }
        }
    }

    /// Time has passed: calls, if it is time to.
    pub fn handle_timeout(&mut self, now: Instant) -> Turn {
        if self.end.is_lost(now) {
            self.hang_up(now);
            return Turn::Lost;
        }
        if !self.end.is_open() && now >= self.call_at {
            self.call(now);
        }
        Turn::Same
    }

    /// The bytes that came; the next [`Caller::handle_byte`] takes them away.
    pub fn payload(&self) -> &[u8] {
        self.end.payload()
    }

    /// Whether there is a session, and room for bytes.
    pub fn is_ready(&self) -> bool {
        self.end.is_ready()
    }

    /// Whether there is a session.
    pub fn is_open(&self) -> bool {
        self.end.is_open()
    }

    /// Takes bytes to be sent, as many as a frame has; returns how many.
    pub fn put(&mut self, bytes: &[u8], now: Instant) -> usize {
        let payload = bytes.get(..super::PAYLOAD_BYTES_MAX).unwrap_or(bytes);
        if !self.is_ready() || payload.is_empty() {
            return 0;
        }
        self.end.put(payload, now);
        payload.len()
    }

    /// What is to go onto the line next.
    pub fn waiting(&mut self, now: Instant) -> &[u8] {
        self.end.waiting(now)
    }

    /// So many of the bytes that wait have gone onto the line.
    pub fn sent(&mut self, bytes: usize, now: Instant) {
        self.end.sent(bytes, now);
    }

    /// Ends the session; a call follows after two seconds.
    pub fn hang_up(&mut self, now: Instant) {
        self.end.close();
        (self.calls, self.call_at) = (0, now.plus(CALL_AFTER));
    }

    /// How often something came that is no frame of a session: noise, or somebody else.
    pub fn thrown(&self) -> u64 {
        self.end.reader.thrown()
    }

    fn call(&mut self, now: Instant) {
        if self.calls.is_multiple_of(CALLS_ALIKE) {
            self.nonce = self.key.nonce(&self.seed, self.nonces, self.site);
            self.nonces += 1;
        }
        self.calls = self.calls.wrapping_add(1);
        let nonce = self.nonce;
        let tag = self.key.tag(Use::Call, &nonce, &[0; NONCE_BYTES], self.site);
        Call { nonce, site: self.site, tag }.write(&mut self.end.note);
        self.call_at = now.plus(CALL_AGAIN);
    }
}
