//! Bodies as they travel over one hop: compressed where that pays, as stored otherwise.
//!
//! | codec | the body is |
//! |---|---|
//! | 0 | as stored |
//! | 1 | one zstd frame |
//!
//! Nothing is remembered from body to body, so that any body can be sent again alone. What comes in
//! is unpacked into a buffer of the length that was told beforehand and never beyond it: a frame
//! that would unpack to more is refused, and its window costs nothing, because the buffer is it.

use std::borrow::Cow;
use std::fmt;

use landfall_core::limits::{ENTRY_BYTES_MAX, JOINED_BYTES_MAX};
use landfall_protocol::message::Features;
use zstd::bulk::{Compressor, Decompressor};

/// What a node with this module understands, and whoever accepts connections must.
pub const FEATURES: Features = Features::NONE.with_codec(ZSTD);

const STORED: u8 = 0;
const ZSTD: u8 = 1;

/// On real positions level 1 comes as low as level 5, at several times the speed.
const LEVEL: i32 = 1;

/// Shorter bodies are sent as stored: what could be saved is less than a packet's headers.
const PACKED_BYTES_MIN: usize = 512;

/// A body that can't be unpacked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unpackable {
    /// Its codec is unknown here.
    Codec(u8),
    /// It is damaged, or not as long as was told.
    Damaged,
}

/// Packs and unpacks, and keeps the memory that this takes from body to body: to make it anew would
/// cost as much as a tenth of the work.
#[derive(Default)]
pub struct Codec {
    packer: Option<Compressor<'static>>,
    packed: Vec<u8>,
    unpacker: Option<Decompressor<'static>>,
}

impl Codec {
    /// The codec and the bytes by which a body is sent to somebody who can do `agreed`.
    #[must_use]
    pub fn pack<'b>(&'b mut self, body: &'b [u8], agreed: Features) -> (u8, &'b [u8]) {
        let stored = (STORED, body);
        if body.len() < PACKED_BYTES_MIN || !agreed.has_codec(ZSTD) {
            return stored;
        }
        let packer = match &mut self.packer {
            Some(packer) => packer,
            None => match Compressor::new(LEVEL) {
                Ok(packer) => self.packer.insert(packer),
                Err(_) => return stored,
            },
        };
        let kept = body.len().max(JOINED_BYTES_MAX);
        if self.packed.len() != kept {
            self.packed = vec![0; kept];
        }
        // What doesn't fit into less than the body fails, which is the wanted outcome.
        let Some(room) = self.packed.get_mut(..body.len() - 1) else { return stored };
        match packer.compress_to_buffer(body, room) {
            Ok(length) => self.packed.get(..length).map_or(stored, |packed| (ZSTD, packed)),
            Err(_) => stored,
        }
    }

    /// The body that was packed into `bytes`, which is said to have `length` bytes.
    ///
    /// # Errors
    /// See [`Unpackable`]. The body's own checksum is for the caller to check.
    pub fn unpack<'b>(
        &mut self,
        codec: u8,
        bytes: &'b [u8],
        length: u32,
    ) -> Result<Cow<'b, [u8]>, Unpackable> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        match codec {
            STORED if bytes.len() == length => Ok(Cow::Borrowed(bytes)),
            ZSTD if length <= ENTRY_BYTES_MAX => self.unzip(bytes, length).map(Cow::Owned),
            STORED | ZSTD => Err(Unpackable::Damaged),
            unknown => Err(Unpackable::Codec(unknown)),
        }
    }

    fn unzip(&mut self, bytes: &[u8], length: usize) -> Result<Vec<u8>, Unpackable> {
        let unpacker = match &mut self.unpacker {
            Some(unpacker) => unpacker,
            None => self.unpacker.insert(Decompressor::new().map_err(|_| Unpackable::Damaged)?),
        };
        let mut body = vec![0; length];
        match unpacker.decompress_to_buffer(bytes, body.as_mut_slice()) {
            Ok(unpacked) if unpacked == length => Ok(body),
            _ => Err(Unpackable::Damaged),
        }
    }
}

impl fmt::Display for Unpackable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Codec(codec) => write!(f, "codec {codec} is unknown here"),
            Self::Damaged => f.write_str("a compressed body is damaged"),
        }
    }
}

impl std::error::Error for Unpackable {}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<u8> {
        let line = |at| format!("{{\"mmsi\":{},\"sog\":{}.4}}\n", 366_000_000 + at * 7, at % 23);
        (0..2_000).map(line).collect::<String>().into_bytes()
    }

    #[test]
    fn a_body_comes_back_as_it_was() {
        let body = lines();
        let mut packer = Codec::default();
        let (codec, packed) = packer.pack(&body, FEATURES);
        assert_eq!(codec, ZSTD);
        assert!(packed.len() * 3 < body.len(), "{} of {}", packed.len(), body.len());
        assert_eq!(*Codec::default().unpack(codec, packed, body.len() as u32).unwrap(), body[..]);
    }

    #[test]
    fn what_does_not_pay_or_was_not_agreed_is_sent_as_stored() {
        let mut noise = 1_u32;
        let random: Vec<u8> = (0..4_096)
            .map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (noise >> 24) as u8
            })
            .collect();
        let short = [b'a'; PACKED_BYTES_MIN - 1];
        let cases: [(&[u8], Features); 3] =
            [(&random, FEATURES), (&short, FEATURES), (&lines(), Features::NONE)];
        for (body, agreed) in cases {
            let mut packer = Codec::default();
            let (codec, packed) = packer.pack(body, agreed);
            assert_eq!((codec, packed), (STORED, body));
            assert_eq!(*Codec::default().unpack(codec, packed, body.len() as u32).unwrap(), *body);
        }
    }

    #[test]
    fn a_bomb_is_refused_within_the_length_that_was_told() {
        let zeros = vec![0; 64 << 20];
        let bomb = zstd::bulk::compress(&zeros, 19).unwrap();
        assert!(bomb.len() < ENTRY_BYTES_MAX);
        for told in [0, 1, 65_536, ENTRY_BYTES_MAX as u32, ENTRY_BYTES_MAX as u32 + 1, u32::MAX] {
            assert_eq!(
                Codec::default().unpack(ZSTD, &bomb, told),
                Err(Unpackable::Damaged),
                "told {told}"
            );
        }
    }

    #[test]
    fn lies_and_damage_are_refused() {
        let body = lines();
        let mut packer = Codec::default();
        let (_, packed) = packer.pack(&body, FEATURES);
        let length = body.len() as u32;
        for told in [0, length - 1, length + 1] {
            assert_eq!(Codec::default().unpack(ZSTD, packed, told), Err(Unpackable::Damaged));
            assert_eq!(Codec::default().unpack(STORED, &body, told), Err(Unpackable::Damaged));
        }
        assert_eq!(Codec::default().unpack(2, packed, length), Err(Unpackable::Codec(2)));
        for cut in 0..packed.len().min(200) {
            assert_eq!(
                Codec::default().unpack(ZSTD, &packed[..cut], length),
                Err(Unpackable::Damaged)
            );
        }
        // Some flips go unseen here and are found by the body's checksum; none may panic.
        for at in 0..packed.len().min(2_000) {
            let mut damaged = packed.to_vec();
            damaged[at] ^= 0x10;
            let _ = Codec::default().unpack(ZSTD, &damaged, length);
        }
    }
}
