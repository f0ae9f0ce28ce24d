//! Several channels over one byte stream.
//!
//! The stream is a sequence of chunks: the channel's number (one byte), the length (two bytes,
//! little-endian, not zero), and as many bytes. A chunk of the most important channel that has
//! something to send goes next, so whatever is urgent waits for one chunk at most. The stream must
//! be reliable and in order; a bare serial line is made so by [`crate::line`].
//!
//! There is one flow control for all channels, so a lane that is held back holds back what follows
//! it. That is safe, because control goes before lanes: the message that lets a lane be read has
//! left before the lane's first byte.

use core::fmt;

use crate::channel::Channel;
use crate::limits::CHANNELS_MAX;

/// Bytes of a chunk's header.
pub const CHUNK_HEADER_BYTES: usize = 3;

/// Finds the chunks in a byte stream that comes in pieces of any size. It holds no payload.
#[derive(Clone, Debug, Default)]
pub struct MuxReader {
    header: [u8; CHUNK_HEADER_BYTES],
    header_len: usize,
    left: usize,
}

/// Bytes of one channel; see [`MuxReader::handle`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Piece<'a> {
    /// Whose they are.
    pub channel: Channel,
    /// The bytes, at least one.
    pub bytes: &'a [u8],
}

/// What stands at the front of a byte stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Demuxed<'a> {
    /// Bytes of a header; they have been taken.
    pub header: usize,
    /// The bytes behind it. How many of them were used is told by [`MuxReader::taken`].
    pub piece: Option<Piece<'a>>,
}

/// The stream is not one of chunks. Nothing after this can be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MuxError {
    /// There is no channel of that number.
    Channel(u8),
    /// A chunk has no bytes.
    Empty,
}

/// Decides which channel sends next.
#[derive(Clone, Debug)]
pub struct MuxWriter {
    order: [Channel; CHANNELS_MAX],
    chunk_bytes_max: u16,
}

/// A chunk to be sent whole: the header, then the bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Chunk<'a> {
    /// Its channel.
    pub channel: Channel,
    /// Its header.
    pub header: [u8; CHUNK_HEADER_BYTES],
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl MuxReader {
    /// Reads a header off the front of `stream`, if one is due, and shows the bytes behind it.
    ///
    /// # Errors
    /// The other end does not send chunks.
    pub fn handle<'a>(&mut self, stream: &'a [u8]) -> Result<Demuxed<'a>, MuxError> {
        let header = if self.left == 0 { self.read_header(stream)? } else { 0 };
        let rest = stream.get(header..).unwrap_or_default();
        let bytes = rest.get(..self.left).unwrap_or(rest);
        let [number, ..] = self.header;
        let channel = Channel::new(number).ok_or(MuxError::Channel(number))?;
        let piece = (!bytes.is_empty()).then_some(Piece { channel, bytes });
        Ok(Demuxed { header, piece })
    }

    /// Tells how many bytes of the last piece were used; the others come again.
    pub fn taken(&mut self, bytes: usize) {
        assert!(bytes <= self.left, "no more can be used than there was");
        self.left -= bytes;
    }

    fn read_header(&mut self, stream: &[u8]) -> Result<usize, MuxError> {
        let missing = self.header.iter_mut().skip(self.header_len);
        let read = missing.zip(stream).map(|(to, from)| *to = *from).count();
        self.header_len += read;
        if self.header_len == CHUNK_HEADER_BYTES {
            let [number, low, high] = self.header;
            Channel::new(number).ok_or(MuxError::Channel(number))?;
            self.left = usize::from(u16::from_le_bytes([low, high]));
            self.header_len = 0;
            if self.left == 0 {
                return Err(MuxError::Empty);
            }
        }
        Ok(read)
    }
}

impl MuxWriter {
    /// Control goes first, then the lanes by their priorities (as in the hello, by lane index; the
    /// higher goes first, and of equals the first). A chunk has up to `chunk_bytes_max` bytes: how
    /// long something urgent may have to wait, on this line.
    pub fn new(priorities: &[u8], chunk_bytes_max: u16) -> Self {
        let mut order = [Channel::CONTROL; CHANNELS_MAX];
        for (place, number) in order.iter_mut().zip(0..) {
            *place = Channel::new(number).unwrap_or(Channel::CONTROL);
        }
        let rank = |channel: &Channel| match channel.lane() {
            None => (0, 0),
            Some(lane) => (1, u8::MAX - priorities.get(lane.get()).copied().unwrap_or(0)),
        };
        order.sort_unstable_by_key(|channel| (rank(channel), *channel));
        Self { order, chunk_bytes_max: chunk_bytes_max.max(1) }
    }

    /// The next chunk. `waiting` shows what a channel has to send; the caller sends the whole chunk
    /// and takes its bytes from the channel.
    #[must_use]
    pub fn next_chunk<'a>(&self, waiting: impl Fn(Channel) -> &'a [u8]) -> Option<Chunk<'a>> {
        self.order.iter().find_map(|channel| {
            let bytes = waiting(*channel);
            let most = bytes.get(..usize::from(self.chunk_bytes_max)).unwrap_or(bytes);
            let len = u16::try_from(most.len()).ok().filter(|len| *len > 0)?;
            let [low, high] = len.to_le_bytes();
            Some(Chunk { channel: *channel, header: [channel.number(), low, high], bytes: most })
        })
    }
}

impl fmt::Display for MuxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(number) => write!(f, "there is no channel {number}"),
            Self::Empty => f.write_str("a chunk is empty"),
        }
    }
}

impl core::error::Error for MuxError {}
