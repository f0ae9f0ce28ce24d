//! What a peer sends: messages, the frames and chunks that they come in, and compressed bodies.

use landfall::node::codec::{Codec, FEATURES};
use landfall_core::batch::batches;
use landfall_core::entry::hops;
use landfall_core::limits::{ENTRY_BYTES_MAX, HOPS_MAX};
use landfall_protocol::buffer::{Buffer, Fixed, Growable};
use landfall_protocol::frame::{FrameDecoder, FrameTooLong};
use landfall_protocol::limits::{FRAME_BYTES_CAP, FRAME_PREFIX_BYTES, STREAMS_MAX};
use landfall_protocol::message::{Control, Decoded, LaneMessage};
use landfall_protocol::mux::{MuxError, MuxReader};

use super::format::check_batch;
use super::input::Input;
use landfall_simulation::journal::CHECKSUM;

/// A frame on the control channel.
pub(super) fn control(frame: &[u8]) {
    let Ok(Decoded::Message(message)) = Control::decode(frame) else { return };
    assert!(message.number() == frame[0]);
    assert!(items(&message) <= STREAMS_MAX);
    let mut again = vec![0; frame.len().max(FRAME_BYTES_CAP.min(4096))];
    let len = message.encode(&mut again).expect("what was read fits as many bytes");
    assert_eq!(message.encoded_len(), Ok(len));
    let told = Control::decode(&again[..len]);
    match (message, told) {
        // Whoever says a hello leaves out the oldest openings if the shortest frame lacks room.
        (Control::Hello(heard), Ok(Decoded::Message(Control::Hello(told)))) => {
            let all = heard.introduction.openings;
            assert!(told.introduction.openings.iter().zip(all.iter()).all(|(a, b)| a == b));
            assert_eq!(told.terms, heard.terms);
        }
        (message, told) => assert_eq!(told, Ok(Decoded::Message(message))),
    }
}

/// The items of a message's list, counted by reading them.
fn items(message: &Control<'_>) -> usize {
    match message {
        Control::Hello(hello) => hello.introduction.openings.iter().count(),
        Control::Tips(tips) => tips.tips.iter().count(),
        Control::Durable(durable) => durable.streams.iter().count(),
        _ => 0,
    }
}

/// A frame on a lane, and the body in it.
pub(super) fn lane(frame: &[u8]) {
    let Ok(Decoded::Message(message)) = LaneMessage::decode(frame) else { return };
    let mut again = vec![0; message.encoded_len()];
    assert_eq!(message.encode(&mut again), Ok(again.len()));
    assert_eq!(LaneMessage::decode(&again), Ok(Decoded::Message(message)));
    if let LaneMessage::Entry(entry) = message {
        assert!(hops(entry.path).count() <= HOPS_MAX);
        assert!(entry.body.len() <= ENTRY_BYTES_MAX && !entry.body.is_empty());
        let found = batches(entry.body, CHECKSUM).filter_map(Result::ok);
        found.for_each(|batch| check_batch(&batch));
    }
}

/// A body as it travels: codec, stated length, bytes.
pub(super) fn body(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let codec = input.u8();
    let length = u32::from(input.u16()) | u32::from(input.u8()) << 16;
    let packed = input.rest();
    let mut unpacker = Codec::default();
    let Ok(body) = unpacker.unpack(codec, packed, length) else { return };
    assert_eq!(body.len(), length as usize, "as long as was told");
    assert!(codec == 0 || body.len() <= ENTRY_BYTES_MAX);
    let mut packer = Codec::default();
    let (codec, packed) = packer.pack(&body, FEATURES);
    let again = unpacker.unpack(codec, packed, length).map(Vec::from);
    assert_eq!(again.as_deref(), Ok(&*body), "what was packed is unpacked");
    let found = batches(&body, CHECKSUM).filter_map(Result::ok);
    found.for_each(|batch| check_batch(&batch));
}

/// A byte stream cut into pieces. Whatever the cuts: the same frames and chunks, no more memory
/// than a frame, and the same end.
pub(super) fn frames(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (limit, cuts) = (usize::from(input.u16()), input.u8());
    let stream = input.rest();
    let whole = decode::<Growable>(limit, stream, usize::MAX);
    assert_eq!(decode::<Growable>(limit, stream, usize::from(cuts) + 1), whole);
    if limit + FRAME_PREFIX_BYTES <= SMALL {
        assert_eq!(decode::<Fixed<SMALL>>(limit, stream, usize::from(cuts) + 1), whole);
    }
    assert_eq!(demux(stream, usize::from(cuts) + 1), demux(stream, usize::MAX));
}

/// The buffer of a small device.
const SMALL: usize = 1024;

type Frames = (Vec<Vec<u8>>, Option<FrameTooLong>);

fn decode<B: Buffer>(limit: usize, stream: &[u8], piece: usize) -> Frames {
    let mut decoder = FrameDecoder::<B>::new(limit);
    let mut frames = Vec::new();
    for mut rest in stream.chunks(piece.min(stream.len().max(1))) {
        loop {
            let fed = match decoder.handle(rest) {
                Ok(fed) => fed,
                Err(too_long) => return (frames, Some(too_long)),
            };
            rest = &rest[fed.consumed..];
            let Some(frame) = fed.frame else { break };
            assert!(frame.len() <= limit);
            frames.push(frame.to_vec());
        }
        assert!(rest.is_empty(), "all is taken where no frame ends");
        decoder.settle();
        assert!(decoder.pending() <= limit + FRAME_PREFIX_BYTES, "no more than a frame waits");
    }
    (frames, None)
}

/// Bytes by channel, and how the stream ended.
fn demux(stream: &[u8], piece: usize) -> (Vec<(u8, u8)>, Option<MuxError>) {
    let mut reader = MuxReader::default();
    let mut taken = Vec::new();
    for mut rest in stream.chunks(piece.min(stream.len().max(1))) {
        while !rest.is_empty() {
            let found = match reader.handle(rest) {
                Ok(found) => found,
                Err(error) => return (taken, Some(error)),
            };
            rest = &rest[found.header..];
            if let Some(piece) = found.piece {
                let channel = piece.channel.number();
                taken.extend(piece.bytes.iter().map(|byte| (channel, *byte)));
                reader.taken(piece.bytes.len());
                rest = &rest[piece.bytes.len()..];
            }
        }
    }
    (taken, None)
}
