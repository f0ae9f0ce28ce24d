//! The gateway's end of a line: it answers whoever has the key of the site that it says it is.

use landfall_core::limits::SITE_BYTES_MAX;

use super::end::End;
use super::frame::{ANSWER, Call};
use super::key::{LineKey, NONCE_BYTES, Nonce, SessionKey, Side, Use};
use super::talk::{Said, Talk};
use crate::time::Instant;

/// The end that answers.
#[derive(Clone, Debug)]
pub struct Answerer {
    end: End,
    seed: Nonce,
    /// Nonces that were used since the start.
    nonces: u64,
    /// What was answered last, until the caller shows that it knows the answer.
    answered: Option<Answered>,
    /// The call that led to the session.
    opened_by: Option<Nonce>,
    site: Site,
}

#[derive(Clone, Debug)]
struct Answered {
    call: Nonce,
    own: Nonce,
    key: SessionKey,
    site: Site,
}

/// A site's name.
#[derive(Clone, Debug)]
struct Site {
    bytes: [u8; SITE_BYTES_MAX],
    len: usize,
}

/// What came off the line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Heard {
    /// Nothing to speak of.
    Nothing,
    /// A device has proved that it has the key of [`Answerer::site`]: a session begins, and an
    /// earlier one is over. Its first bytes are in [`Answerer::payload`].
    Opened,
    /// Bytes have come: see [`Answerer::payload`].
    Payload,
    /// Something that is no frame of a session: noise, or somebody else.
    Noise,
    /// A call, whole, for a site whose key is not known here, or by somebody who does not have it.
    Refused,
}

impl Answerer {
    /// The end of a line. `seed` is random, and drawn anew for each line.
    pub fn new(seed: [u8; NONCE_BYTES]) -> Self {
        let site = Site { bytes: [0; SITE_BYTES_MAX], len: 0 };
        Self { end: End::NEW, seed, nonces: 0, answered: None, opened_by: None, site }
    }

    /// Takes a byte off the line; `keys` has the keys of the sites that may speak on it.
    pub fn handle_byte(&mut self, byte: u8, keys: impl Fn(&str) -> Option<LineKey>) -> Heard {
        if !self.end.take(byte) {
            return Heard::Nothing;
        }
        let Some(frame) = self.end.reader.frame() else { return Heard::Noise };
        if let Some(call) = Call::read(frame) {
            let site = Site::new(call.site);
            let (nonce, tag) = (call.nonce, call.tag);
            return self.on_call(site, nonce, &tag, keys);
        }
        match self.end.hear() {
            Said::Payload(_) => Heard::Payload,
            Said::Nothing => Heard::Nothing,
            Said::Foreign if self.opens() => Heard::Opened,
            Said::Foreign => {
                self.end.reader.throw();
                Heard::Noise
            }
        }
    }

    /// The site of the device that the session is with.
    pub fn site(&self) -> Option<&str> {
        self.end.is_open().then(|| self.site.as_str())
    }

    /// Whom the last call that was refused named as its sender.
    pub fn called_as(&self) -> Option<&str> {
        Call::read(self.end.reader.frame()?).map(|call| call.site)
    }

    /// The bytes that came; the next [`Answerer::handle_byte`] takes them away.
    pub fn payload(&self) -> &[u8] {
        self.end.payload()
    }

    /// Whether there is a session, and room for bytes.
    pub fn is_ready(&self) -> bool {
        self.end.is_ready()
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

    /// When to look at what waits and whether the device is lost, if nothing else happens.
    pub fn due(&self) -> Option<Instant> {
        self.end.due()
    }

    /// Whether the device seems to be gone.
    pub fn is_lost(&self, now: Instant) -> bool {
        self.end.is_lost(now)
    }

    /// Ends the session. The device finds out when it sends.
    pub fn hang_up(&mut self) {
        self.end.close();
        self.opened_by = None;
    }

    /// How often something came that is no frame of a session.
    pub fn thrown(&self) -> u64 {
        self.end.reader.thrown()
    }

    fn on_call(
        &mut self,
        site: Site,
        call: Nonce,
        tag: &[u8; 16],
        keys: impl Fn(&str) -> Option<LineKey>,
    ) -> Heard {
        let name = site.as_str();
        let known = keys(name);
        let right = |key: &LineKey| key.is_tag(tag, Use::Call, (&call, &[0; NONCE_BYTES]), name);
        let Some(key) = known.filter(right) else {
            return Heard::Refused;
        };
        // It was sent again before the answer came.
        if self.opened_by == Some(call) {
            return Heard::Nothing;
        }
        let again = self.answered.take().filter(|answered| answered.call == call);
        let answered = again.unwrap_or_else(|| {
            let own = key.nonce(&self.seed, self.nonces, name);
            self.nonces += 1;
            let session = key.session(&call, &own, name);
            Answered { call, own, key: session, site: site.clone() }
        });
        let tag = key.tag(Use::Answer, &answered.own, &call, name);
        self.end.note.put(&[&[ANSWER], &answered.own, &tag]);
        self.answered = Some(answered);
        Heard::Nothing
    }

    /// Whether the frame is the first of the session that was answered for.
    fn opens(&mut self) -> bool {
        let (Some(answered), Some(frame)) = (&self.answered, self.end.reader.frame()) else {
            return false;
        };
        let mut none = super::frame::Data::NONE;
        let said = Talk::new(answered.key.clone(), Side::Answerer).hear(frame, &mut none);
        if !matches!(said, Said::Payload(_)) {
            return false;
        }
        let Some(answered) = self.answered.take() else { return false };
        self.end.open(answered.key, Side::Answerer);
        (self.opened_by, self.site) = (Some(answered.call), answered.site);
        matches!(self.end.hear(), Said::Payload(_))
    }
}

impl Site {
    fn new(name: &str) -> Self {
        let mut site = Self { bytes: [0; SITE_BYTES_MAX], len: name.len().min(SITE_BYTES_MAX) };
        site.bytes.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
        site
    }

    fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.len).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }
}
