//! The key of a device, and what both ends make of it.

use core::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Bytes of a number that is used once.
pub const NONCE_BYTES: usize = 16;
/// Bytes of a tag.
pub(super) const TAG_BYTES: usize = 16;
/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Bytes in which the hash works.
const BLOCK_BYTES: usize = 64;
/// What everything begins with that a key is used for.
const CONTEXT: &[u8] = b"landfall line 1";

pub(super) type Nonce = [u8; NONCE_BYTES];
pub(super) type Tag = [u8; TAG_BYTES];

/// What a device's key is used for. Nothing that was made for one is right for another.
#[derive(Clone, Copy, Debug)]
pub(super) enum Use {
    /// The nonce of that number, of those that begin with a random one.
    Nonce,
    /// A call's tag, over its nonce.
    Call,
    /// An answer's tag, over its nonce and the call's.
    Answer,
    /// The key of a session, from both nonces.
    Session,
    /// The name of the key.
    Name,
}

/// A key of 32 random bytes that a device and its gateways have, and nobody else.
#[derive(Clone)]
pub struct LineKey([u8; KEY_BYTES]);

/// The key of one session.
#[derive(Clone)]
pub(super) struct SessionKey([u8; KEY_BYTES]);

/// Which end said something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Caller,
    Answerer,
}

impl LineKey {
    /// The key of these bytes.
    pub const fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// Reads 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut key = [0; KEY_BYTES];
        let digits = text.as_bytes();
        for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
            let digit = |at: usize| char::from(*pair.get(at)?).to_digit(16);
            *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
        }
        (digits.len() == 2 * KEY_BYTES).then_some(Self(key))
    }

    /// A name for the key that tells nothing of it.
    pub fn name(&self, site: &str) -> [u8; KEY_BYTES] {
        let nothing = [0; NONCE_BYTES];
        self.made(Use::Name, &nothing, &nothing, site).finalize().into_bytes().into()
    }

    pub(super) fn nonce(&self, seed: &Nonce, number: u64, site: &str) -> Nonce {
        let mut second = [0; NONCE_BYTES];
        second.iter_mut().zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
        short(self.made(Use::Nonce, seed, &second, site))
    }

    pub(super) fn tag(&self, purpose: Use, first: &Nonce, second: &Nonce, site: &str) -> Tag {
        short(self.made(purpose, first, second, site))
    }

    pub(super) fn is_tag(
        &self,
        tag: &Tag,
        purpose: Use,
        (first, second): (&Nonce, &Nonce),
        site: &str,
    ) -> bool {
        self.made(purpose, first, second, site).verify_truncated_left(tag).is_ok()
    }

    pub(super) fn session(&self, caller: &Nonce, answerer: &Nonce, site: &str) -> SessionKey {
        SessionKey(self.made(Use::Session, caller, answerer, site).finalize().into_bytes().into())
    }

    /// Only the site has no fixed length, and it comes last.
    fn made(&self, purpose: Use, first: &Nonce, second: &Nonce, site: &str) -> Hmac<Sha256> {
        let parts = [CONTEXT, &[purpose as u8], first, second, site.as_bytes()];
        mac(&self.0, &parts)
    }
}

impl SessionKey {
    pub(super) fn tag(&self, side: Side, frame: &[&[u8]]) -> Tag {
        short(self.made(side, frame))
    }

    pub(super) fn is_tag(&self, tag: &Tag, side: Side, frame: &[u8]) -> bool {
        self.made(side, &[frame]).verify_truncated_left(tag).is_ok()
    }

    fn made(&self, side: Side, frame: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = mac(&self.0, &[&[side as u8]]);
        frame.iter().for_each(|part| mac.update(part));
        mac
    }
}

fn mac(key: &[u8; KEY_BYTES], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut block = [0; BLOCK_BYTES];
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    let mut mac = <Hmac<Sha256> as Mac>::new(&block.into());
    parts.iter().for_each(|part| mac.update(part));
    mac
}

fn short(mac: Hmac<Sha256>) -> [u8; 16] {
    let whole: [u8; KEY_BYTES] = mac.finalize().into_bytes().into();
    let mut front = [0; 16];
    front.iter_mut().zip(whole).for_each(|(to, from)| *to = from);
    front
}

impl fmt::Debug for LineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LineKey(hidden)")
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_the_front_of_a_published_hmac() {
        // RFC 4231, test case 4: the key is 25 bytes, which zeros do not change.
        let mut key = [0; 32];
        (1..=25).zip(&mut key).for_each(|(number, byte)| *byte = number);
        let tag = short(mac(&key, &[&[0xCD; 20], &[0xCD; 30]]));
        let expected = [
            0x82, 0x55, 0x8A, 0x38, 0x9A, 0x44, 0x3C, 0x0E, 0xA4, 0xCC, 0x81, 0x98, 0x99, 0xF2,
            0x08, 0x3A,
        ];
        assert_eq!(tag, expected);
    }

    #[test]
    fn a_tag_is_for_one_use_one_site_and_one_end() {
        let (key, nonce) = (LineKey::new([7; 32]), [1; NONCE_BYTES]);
        let tag = |purpose, site| key.tag(purpose, &nonce, &nonce, site);
        assert_ne!(tag(Use::Call, "a"), tag(Use::Answer, "a"));
        assert_ne!(tag(Use::Call, "a"), tag(Use::Call, "b"));
        let session = key.session(&nonce, &[2; NONCE_BYTES], "a");
        let said = session.tag(Side::Caller, &[b"x"]);
        assert!(session.is_tag(&said, Side::Caller, b"x"));
        assert!(!session.is_tag(&said, Side::Answerer, b"x"), "an echo is not the other end");
    }

    #[test]
    fn a_key_is_read_from_64_digits_and_from_nothing_else() {
        let digits = "00ff1a".repeat(10) + "0a0B";
        let key = LineKey::from_hex(&digits).unwrap();
        assert_eq!((key.0[1], key.0[31]), (0xFF, 0x0B));
        let long = digits.clone() + "00";
        for wrong in [&digits[1..], &long, &digits.replace('f', "g"), &digits.replace('f', "é")] {
            assert!(LineKey::from_hex(wrong).is_none(), "{wrong}");
        }
    }
}
