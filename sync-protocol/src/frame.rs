//! Frames: a length of three bytes, little-endian, and as many bytes. A frame holds one message.

use core::fmt;

use crate::buffer::Buffer;
use crate::limits::FRAME_PREFIX_BYTES;

/// Finds the frames in a byte stream that comes in chunks of any size.
///
/// A frame that lies whole in a chunk is lent from there; one that is cut is gathered in the
/// buffer, so each byte is copied once at most.
#[derive(Clone, Debug)]
pub struct FrameDecoder<B> {
    gathered: B,
    frame_bytes_max: usize,
    lent: bool,
}

/// What [`FrameDecoder::handle`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fed<'a> {
    /// How many bytes of the chunk it took. All of them, if there is no frame.
    pub consumed: usize,
    /// The next frame.
    pub frame: Option<&'a [u8]>,
}

/// A frame is longer than was agreed on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FrameTooLong {
    /// The length that it states.
    pub stated: usize,
    /// The limit.
    pub limit: usize,
}

/// The prefix of a frame of `len` bytes; `None` if no frame can be as long.
pub fn prefix(len: usize) -> Option<[u8; FRAME_PREFIX_BYTES]> {
    let [a, b, c, 0] = u32::try_from(len).ok()?.to_le_bytes() else { return None };
    Some([a, b, c])
}

impl<B: Buffer> FrameDecoder<B> {
    /// A decoder for frames of up to `frame_bytes_max` bytes, or fewer if the buffer cannot hold as
    /// many.
    pub fn new(frame_bytes_max: usize) -> Self {
        let gathered = B::with_limit(frame_bytes_max.saturating_add(FRAME_PREFIX_BYTES));
        let frame_bytes_max = gathered.limit().saturating_sub(FRAME_PREFIX_BYTES);
        Self { gathered, frame_bytes_max, lent: false }
    }

    /// The longest frame that it takes.
    pub fn frame_bytes_max(&self) -> usize {
        self.frame_bytes_max
    }

    /// Takes bytes off the front of a chunk, up to the end of the next frame.
    ///
    /// # Errors
    /// The frame is too long. Nothing after it can be read.
    pub fn handle<'a>(&'a mut self, chunk: &'a [u8]) -> Result<Fed<'a>, FrameTooLong> {
        self.settle();
        if self.gathered.bytes().is_empty()
            && let Some((len, rest)) = self.split(chunk)?
            && let Some(frame) = rest.get(..len)
        {
            return Ok(Fed { consumed: FRAME_PREFIX_BYTES + len, frame: Some(frame) });
        }
        let mut consumed = self.gather(chunk, FRAME_PREFIX_BYTES);
        let Some((len, _)) = self.split(self.gathered.bytes())? else {
            return Ok(Fed { consumed, frame: None });
        };
        let rest = chunk.get(consumed..).unwrap_or_default();
        consumed += self.gather(rest, FRAME_PREFIX_BYTES + len);
        let frame = self.gathered.bytes().get(FRAME_PREFIX_BYTES..FRAME_PREFIX_BYTES + len);
        self.lent = frame.is_some();
        Ok(Fed { consumed, frame })
    }

    /// Gives back the memory of a frame that was lent. The next call of [`Self::handle`] does too.
    pub fn settle(&mut self) {
        if self.lent {
            self.gathered.remove_front(usize::MAX);
            self.lent = false;
        }
    }

    /// Bytes of a frame that has not come whole.
    pub fn pending(&self) -> usize {
        if self.lent { 0 } else { self.gathered.bytes().len() }
    }

    /// The length that a prefix states, and what follows it.
    fn split<'a>(&self, bytes: &'a [u8]) -> Result<Option<(usize, &'a [u8])>, FrameTooLong> {
        let Some(([a, b, c], rest)) = bytes.split_first_chunk::<FRAME_PREFIX_BYTES>() else {
            return Ok(None);
        };
        let stated = usize::from(*a) | usize::from(*b) << 8 | usize::from(*c) << 16;
        if stated > self.frame_bytes_max {
            return Err(FrameTooLong { stated, limit: self.frame_bytes_max });
        }
        Ok(Some((stated, rest)))
    }

    /// Copies from `chunk` until `total` bytes are gathered, and returns how many it copied.
    fn gather(&mut self, chunk: &[u8], total: usize) -> usize {
        let missing = total.saturating_sub(self.gathered.bytes().len());
        let taken = chunk.get(..missing).unwrap_or(chunk);
        let appended = self.gathered.append(taken, missing - taken.len());
        assert!(appended.is_ok(), "the buffer holds the longest frame and its prefix");
        taken.len()
    }
}

impl fmt::Display for FrameTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a frame of {} bytes; {} are agreed", self.stated, self.limit)
    }
}

impl core::error::Error for FrameTooLong {}
