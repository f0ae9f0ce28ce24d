//! Frames in a byte stream that may lose, change or add bytes.
//!
//! ```text
//! 0 | distance to the next zero, which is left out | bytes … | 0
//!
//! call    1 | nonce 16 | site 1..=63 | tag 16 | CRC-32C 4
//! answer  2 | nonce 16 | tag 16
//! data    3 | number 4, little-endian | bytes 1..=192 | tag 16
//! ack     4 | number of the frame that is awaited 4 | tag 16
//! ```
//!
//! A frame has no zero inside: each is replaced by the distance to the next one (consistent
//! overhead byte stuffing, Cheshire and Baker 1999). So whatever came before, a zero is where a
//! frame may begin, and its length is where the next zero stands. The call has a checksum, since
//! only there a wrong tag means more than noise.

use landfall_core::checksum::Checksum;
use landfall_core::limits::SITE_BYTES_MAX;
use landfall_core::name::site_is_valid;

use super::key::{NONCE_BYTES, TAG_BYTES};

/// The most bytes of the stream in one frame: how long something urgent may have to wait.
pub const PAYLOAD_BYTES_MAX: usize = 192;
/// Bytes before those of the stream.
pub(super) const HEAD_BYTES: usize = 5;
/// The longest frame.
const FRAME_BYTES_MAX: usize = HEAD_BYTES + PAYLOAD_BYTES_MAX + TAG_BYTES;
/// Bytes of a checksum.
const CRC_BYTES: usize = 4;
/// The longest frame that does not carry bytes of the stream.
const NOTE_BYTES_MAX: usize = 1 + NONCE_BYTES + SITE_BYTES_MAX + TAG_BYTES + CRC_BYTES;
/// Bytes that a frame takes on the line besides its own.
const AROUND_BYTES: usize = 3;

/// A frame with bytes of the stream, on the line.
pub(super) type Data = Outgoing<{ FRAME_BYTES_MAX + AROUND_BYTES }>;
/// Any other frame, on the line.
pub(super) type Note = Outgoing<{ NOTE_BYTES_MAX + AROUND_BYTES }>;

const _: () = assert!(FRAME_BYTES_MAX < u8::MAX as usize, "a distance is one byte");
const _: () = assert!(NOTE_BYTES_MAX <= FRAME_BYTES_MAX, "one reader takes both");

pub(super) const CALL: u8 = 1;
pub(super) const ANSWER: u8 = 2;
pub(super) const DATA: u8 = 3;
pub(super) const ACK: u8 = 4;

/// A frame as it goes onto the line, and how much of it has.
#[derive(Clone, Debug)]
pub(super) struct Outgoing<const N: usize> {
    bytes: [u8; N],
    len: usize,
    at: usize,
}

impl<const N: usize> Outgoing<N> {
    pub(super) const NONE: Self = Self { bytes: [0; N], len: 0, at: 0 };

    /// Makes a frame of these parts; what was here before is gone.
    pub(super) fn put(&mut self, parts: &[&[u8]]) {
        let mut end = 2;
        for byte in parts.iter().copied().flatten() {
            if let Some(place) = self.bytes.get_mut(end) {
                *place = *byte;
            }
            end += 1;
        }
        assert!(end < N, "every frame that is made fits");
        (self.len, self.at) = (end + 1, 0);
        for edge in [0, 1, end] {
            if let Some(place) = self.bytes.get_mut(edge) {
                *place = 0;
            }
        }
        let inside = self.bytes.get_mut(1..end).unwrap_or_default();
        let mut distance = 1;
        for byte in inside.iter_mut().rev() {
            if *byte == 0 {
                (*byte, distance) = (distance, 0);
            }
            distance += 1;
        }
    }

    /// What is still to go onto the line.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..self.len).unwrap_or_default()
    }

    /// Whether a part of it is on the line, and a part is not.
    pub(super) fn is_begun(&self) -> bool {
        self.at > 0 && self.at < self.len
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.at = self.len.min(self.at + bytes);
    }

    /// It goes onto the line once more.
    pub(super) fn again(&mut self) {
        self.at = 0;
    }

    pub(super) fn clear(&mut self) {
        (self.len, self.at) = (0, 0);
    }
}

/// Gathers the bytes of frames, and finds where they begin and end.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    bytes: [u8; FRAME_BYTES_MAX + 1],
    len: usize,
    whole: bool,
    thrown: u64,
}

impl Reader {
    pub(super) const EMPTY: Self =
        Self { bytes: [0; FRAME_BYTES_MAX + 1], len: 0, whole: false, thrown: 0 };

    /// Takes a byte off the line. Returns whether a frame ended with it, or what can't be one.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        if core::mem::take(&mut self.whole) {
            self.len = 0;
        }
        if byte != 0 {
            if let Some(place) = self.bytes.get_mut(self.len) {
                *place = byte;
            }
            self.len = self.len.saturating_add(1);
            return false;
        }
        let ended = self.len > 0;
        self.whole = ended && self.unstuff();
        if ended && !self.whole {
            self.throw();
        }
        ended
    }

    /// The frame that has ended; none if it was thrown away.
    pub(super) fn frame(&self) -> Option<&[u8]> {
        self.bytes.get(1..self.len).filter(|_| self.whole)
    }

    /// What came is of no use.
    pub(super) fn throw(&mut self) {
        (self.len, self.whole) = (0, false);
        self.thrown += 1;
    }

    /// How often something was thrown away.
    pub(super) fn thrown(&self) -> u64 {
        self.thrown
    }

    /// Puts the zeros back. Returns whether the distances fit.
    fn unstuff(&mut self) -> bool {
        let Some(bytes) = self.bytes.get_mut(..self.len) else { return false };
        let mut at = 0;
        while let Some(byte) = bytes.get_mut(at) {
            at += usize::from(core::mem::take(byte));
        }
        at == bytes.len()
    }
}

/// A call, whose checksum was right.
pub(super) struct Call<'a> {
    pub(super) nonce: [u8; NONCE_BYTES],
    pub(super) site: &'a str,
    pub(super) tag: [u8; TAG_BYTES],
}

impl<'a> Call<'a> {
    pub(super) fn read(frame: &'a [u8]) -> Option<Self> {
        let (body, crc) = frame.split_last_chunk::<CRC_BYTES>()?;
        let (kind, rest) = body.split_first()?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let (site, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
        let site = core::str::from_utf8(site).ok().filter(|site| site_is_valid(site))?;
        let right = *kind == CALL && checksum(body) == *crc;
        right.then_some(Self { nonce: *nonce, site, tag: *tag })
    }

    pub(super) fn write(&self, to: &mut Note) {
        let body: [&[u8]; 4] = [&[CALL], &self.nonce, self.site.as_bytes(), &self.tag];
        let crc = body.iter().fold(0, |crc, part| Checksum::PORTABLE.on(crc, part));
        let [kind, nonce, site, tag] = body;
        to.put(&[kind, nonce, site, tag, &crc.to_le_bytes()]);
    }
}

fn checksum(bytes: &[u8]) -> [u8; CRC_BYTES] {
    Checksum::PORTABLE.on(0, bytes).to_le_bytes()
}

/// An answer's nonce and tag.
pub(super) fn read_answer(frame: &[u8]) -> Option<(&[u8; NONCE_BYTES], &[u8; TAG_BYTES])> {
    let (nonce, tag) = frame.strip_prefix(&[ANSWER])?.split_first_chunk()?;
    Some((nonce, tag.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn read(line: &[u8]) -> Vec<Vec<u8>> {
        let mut reader = Reader::EMPTY;
        let mut frames = Vec::new();
        for byte in line {
            if reader.take(*byte) {
                frames.extend(reader.frame().map(<[u8]>::to_vec));
            }
        }
        frames
    }

    fn framed(frame: &[u8]) -> Vec<u8> {
        let mut out = Data::NONE;
        out.put(&[frame]);
        out.rest().to_vec()
    }

    #[test]
    fn any_frame_is_read_as_it_was_made_and_has_no_zero_inside() {
        let long = [7; FRAME_BYTES_MAX];
        let zeros = [0; FRAME_BYTES_MAX];
        for frame in [&[0][..], &[5], &[0, 1, 0], &[1, 0, 0, 2], &long, &zeros] {
            let line = framed(frame);
            assert!(line[1..line.len() - 1].iter().all(|byte| *byte != 0));
            assert_eq!(read(&line), [frame]);
        }
    }

    #[test]
    fn whatever_comes_before_a_frame_it_is_found() {
        let frame = framed(b"abc\0def");
        for before in 0..=u8::MAX {
            let noise = [[before; 300].as_slice(), &frame].concat();
            assert_eq!(read(&noise).last().unwrap(), b"abc\0def", "after {before}");
        }
        for cut in 0..frame.len() {
            let line = [&frame[..cut], &frame].concat();
            assert_eq!(read(&line).last().unwrap(), b"abc\0def", "after a frame cut at {cut}");
        }
    }

    #[test]
    fn a_call_is_by_a_site_that_may_be() {
        for (site, may_be) in [("buoy-4", true), ("", false), ("a/b", false), ("a\nb", false)] {
            let mut note = Note::NONE;
            Call { nonce: [1; NONCE_BYTES], site, tag: [2; TAG_BYTES] }.write(&mut note);
            let frames = read(note.rest());
            let call = Call::read(&frames[0]);
            assert_eq!(call.map(|call| call.site), may_be.then_some(site));
        }
    }

    #[test]
    fn what_is_thrown_away_is_counted() {
        let mut reader = Reader::EMPTY;
        let line = [&[9, 9, 0][..], &[1; 400], &[0, 0, 0]].concat();
        assert_eq!(line.iter().filter(|byte| reader.take(**byte)).count(), 2);
        assert_eq!(reader.thrown(), 2);
    }
}
