//! What comes in: chunks of channels, of which the control channel's frames are gathered. What
//! comes on lanes is counted and dropped.

use landfall_protocol::channel::Channel;
use landfall_protocol::limits::FRAME_PREFIX_BYTES;
use landfall_protocol::mux::MuxReader;

use super::Ended;

/// Gathers frames in memory that is lent.
#[derive(Debug)]
pub(crate) struct Inbox<'m> {
    chunks: MuxReader,
    bytes: &'m mut [u8],
    len: usize,
    /// Bytes that came on lanes.
    pub(crate) dropped: u64,
}

impl<'m> Inbox<'m> {
    pub(crate) fn new(bytes: &'m mut [u8]) -> Self {
        Self { chunks: MuxReader::default(), bytes, len: 0, dropped: 0 }
    }

    /// Forgets what came over an earlier connection.
    pub(crate) fn clear(&mut self) {
        (self.chunks, self.len, self.dropped) = (MuxReader::default(), 0, 0);
    }

    /// Takes bytes off the front of `stream`, up to the end of a frame, and returns how many.
    ///
    /// # Errors
    /// The other end breaks the protocol, or a frame is longer than was granted.
    pub(crate) fn take(&mut self, stream: &[u8]) -> Result<usize, Ended> {
        let mut taken = 0;
        while self.frame().is_none() {
            let rest = stream.get(taken..).unwrap_or_default();
            let found = self.chunks.handle(rest).map_err(|_| Ended::PeerAtFault)?;
            taken += found.header;
            let Some(piece) = found.piece else { break };
            let used = if piece.channel == Channel::CONTROL {
                let (bytes, missing) = (piece.bytes, self.missing()?);
                let used = bytes.get(..missing).unwrap_or(bytes);
                let place = self.bytes.get_mut(self.len..self.len + used.len());
                place.ok_or(Ended::PeerAtFault)?.copy_from_slice(used);
                self.len += used.len();
                used.len()
            } else {
                self.dropped += piece.bytes.len() as u64;
                piece.bytes.len()
            };
            self.chunks.taken(used);
            taken += used;
        }
        Ok(taken)
    }

    /// The frame that has come whole.
    pub(crate) fn frame(&self) -> Option<&[u8]> {
        let len = self.stated()?;
        self.bytes.get(FRAME_PREFIX_BYTES..self.len).filter(|frame| frame.len() == len)
    }

    /// Makes room for the next frame.
    pub(crate) fn settle(&mut self) {
        self.len = 0;
    }

    /// The length that the frame's prefix states.
    fn stated(&self) -> Option<usize> {
        let prefix = self.bytes.get(..self.len)?.first_chunk::<FRAME_PREFIX_BYTES>()?;
        let [a, b, c] = *prefix;
        Some(u32::from_le_bytes([a, b, c, 0]) as usize)
    }

    /// How many bytes the prefix or the frame lacks.
    fn missing(&self) -> Result<usize, Ended> {
        let whole = match self.stated() {
            None => FRAME_PREFIX_BYTES,
            Some(len) => FRAME_PREFIX_BYTES + len,
        };
        if whole > self.bytes.len() { Err(Ended::PeerAtFault) } else { Ok(whole - self.len) }
    }
}
