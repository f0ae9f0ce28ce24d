//! Channels on one byte stream (TCP).
//!
//! ```text
//! frame   channel 1 (0..7, or 0xff = closing) | length 3, little-endian, 1..=65536 | bytes
//! closing code 4, little-endian | text, at most 256 bytes
//! ```

use bytes::{BufMut, BytesMut};

use super::event::{CLOSE_TEXT_MAX, Channel, CloseOrder};

pub(super) const HEADER_LENGTH: usize = 4;

/// What a sender puts into a frame: with the header it fills one TLS record. More urgent channels
/// wait for one of them.
pub(super) const SENT_PAYLOAD_MAX: usize = 16 * 1024 - HEADER_LENGTH;

/// What a receiver takes.
pub(super) const PAYLOAD_MAX: usize = 64 * 1024;

const CLOSING: u8 = 0xff;
const CODE_LENGTH: usize = 4;

/// What a frame's header announces.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Header {
    Payload { channel: Channel, length: usize },
    Closing { length: usize },
}

impl Header {
    /// # Errors
    /// What the peer did wrong.
    pub(super) fn decode(bytes: [u8; HEADER_LENGTH]) -> Result<Self, &'static str> {
        let [kind, low, middle, high] = bytes;
        let length = u32::from_le_bytes([low, middle, high, 0]) as usize;
        if kind == CLOSING {
            if !(CODE_LENGTH..=CODE_LENGTH + CLOSE_TEXT_MAX).contains(&length) {
                return Err("a closing of impossible length");
            }
            return Ok(Self::Closing { length });
        }
        let channel = Channel::new(kind).ok_or("a frame on a channel that does not exist")?;
        if !(1..=PAYLOAD_MAX).contains(&length) {
            return Err("a frame of impossible length");
        }
        Ok(Self::Payload { channel, length })
    }
}

pub(super) fn put_payload(frames: &mut BytesMut, channel: Channel, payload: &[u8]) {
    assert!((1..=SENT_PAYLOAD_MAX).contains(&payload.len()), "a queue gives no more than asked");
    put_header(frames, channel.number(), payload.len());
    frames.put_slice(payload);
}

pub(super) fn put_closing(frames: &mut BytesMut, order: &CloseOrder) {
    put_header(frames, CLOSING, CODE_LENGTH + order.text.len());
    frames.put_u32_le(order.code.0);
    frames.put_slice(order.text.as_bytes());
}

/// Reads what follows the header of a closing; its length was checked there.
pub(super) fn closing(payload: &[u8]) -> Option<CloseOrder> {
    let (code, text) = payload.split_first_chunk::<CODE_LENGTH>()?;
    Some(CloseOrder::received(u32::from_le_bytes(*code), text))
}

fn put_header(frames: &mut BytesMut, kind: u8, length: usize) {
    frames.put_u8(kind);
    frames.put_uint_le(length as u64, 3);
}

#[cfg(test)]
mod tests {
    use super::super::event::CloseCode;
    use super::*;

    fn header(frames: &BytesMut) -> Result<Header, &'static str> {
        Header::decode(frames[..HEADER_LENGTH].try_into().unwrap())
    }

    #[test]
    fn what_is_put_is_read() {
        let channel = Channel::new(3).unwrap();
        let mut frames = BytesMut::new();
        put_payload(&mut frames, channel, &[9; SENT_PAYLOAD_MAX]);
        assert_eq!(header(&frames), Ok(Header::Payload { channel, length: SENT_PAYLOAD_MAX }));
        assert_eq!(frames.len(), HEADER_LENGTH + SENT_PAYLOAD_MAX);

        let order = CloseOrder::new(CloseCode::REVOKED, "ship-17 was revoked");
        let mut frames = BytesMut::new();
        put_closing(&mut frames, &order);
        assert_eq!(header(&frames), Ok(Header::Closing { length: frames.len() - HEADER_LENGTH }));
        assert_eq!(closing(&frames[HEADER_LENGTH..]), Some(order));
    }

    #[test]
    fn impossible_frames_are_refused() {
        let refused = |bytes| Header::decode(bytes).unwrap_err();
        refused([8, 1, 0, 0]);
        refused([0xfe, 1, 0, 0]);
        refused([0, 0, 0, 0]);
        refused([0, 1, 0, 1]);
        refused([CLOSING, 3, 0, 0]);
        refused([CLOSING, 5, 1, 0]);
        assert!(Header::decode([0, 0, 0, 1]).is_ok(), "64 KiB exactly");
        assert!(Header::decode([CLOSING, 4, 1, 0]).is_ok(), "256 bytes of text");
    }
}
