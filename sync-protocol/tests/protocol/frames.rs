//! Frames and chunks are found wherever the byte stream is cut.

use landfall_protocol::buffer::{Buffer, Fixed, Growable};
use landfall_protocol::channel::{Channel, LaneIndex};
use landfall_protocol::frame::{FrameDecoder, prefix};
use landfall_protocol::mux::{MuxError, MuxReader, MuxWriter};
use proptest::prelude::*;

fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
    let frame = |message: &Vec<u8>| [&prefix(message.len()).unwrap()[..], message].concat();
    messages.iter().flat_map(frame).collect()
}

/// The frames of a stream that comes in chunks, and how many of them were lent from a chunk.
fn decoded<B: Buffer>(decoder: &mut FrameDecoder<B>, chunks: &[&[u8]]) -> (Vec<Vec<u8>>, usize) {
    let (mut frames, mut lent) = (vec![], 0);
    for chunk in chunks {
        let mut taken = 0;
        loop {
            let fed = decoder.handle(&chunk[taken..]).unwrap();
            taken += fed.consumed;
            let Some(frame) = fed.frame else { break };
            lent += usize::from(chunk.as_ptr_range().contains(&frame.as_ptr()));
            frames.push(frame.to_vec());
        }
        assert_eq!(taken, chunk.len(), "a decoder takes what holds no whole frame");
        decoder.settle();
    }
    (frames, lent)
}

#[test]
fn a_frame_is_found_wherever_the_stream_is_cut() {
    let messages = [b"one".to_vec(), vec![], vec![2; 300], b"three".to_vec()];
    let stream = framed(&messages);
    for cut in 0..=stream.len() {
        let mut decoder = FrameDecoder::<Fixed<303>>::new(300);
        let (left, right) = stream.split_at(cut);
        assert_eq!(decoded(&mut decoder, &[left, right]).0, messages, "cut at {cut}");
    }
    let single: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(decoded(&mut FrameDecoder::<Growable>::new(300), &single).0, messages);
}

#[test]
fn whole_frames_are_lent_without_copying() {
    let stream = framed(&[vec![1; 50], vec![2; 60], vec![3; 70]]);
    let mut decoder = FrameDecoder::<Growable>::new(300);
    let (frames, lent) = decoded(&mut decoder, &[&stream[..80], &stream[80..]]);
    assert_eq!((frames.len(), lent), (3, 2), "only the one that was cut is copied");
    assert_eq!(decoder.pending(), 0);
}

#[test]
fn a_frame_over_the_limit_is_refused_by_its_prefix_alone() {
    let mut decoder = FrameDecoder::<Growable>::new(300);
    let error = decoder.handle(&prefix(301).unwrap()).unwrap_err();
    assert_eq!((error.stated, error.limit), (301, 300));
    assert_eq!(prefix(1 << 24), None);
}

/// Both ends of a multiplexed stream; the reader uses at most `most` bytes of a piece at a time.
fn demuxed(stream: &[u8], cut: usize, most: usize) -> Result<Vec<Vec<u8>>, MuxError> {
    let mut channels = vec![vec![]; 8];
    let mut reader = MuxReader::default();
    let mut waiting: Vec<u8> = vec![];
    for part in stream.chunks(cut) {
        waiting.extend(part);
        loop {
            let found = reader.handle(&waiting)?;
            let header = found.header;
            let used = found.piece.map_or(0, |piece| piece.bytes.len().min(most));
            if let Some(piece) = found.piece {
                channels[usize::from(piece.channel.number())].extend(&piece.bytes[..used]);
            }
            reader.taken(used);
            waiting.drain(..header + used);
            if header + used == 0 {
                break;
            }
        }
    }
    Ok(channels)
}

#[test]
fn channels_come_apart_wherever_the_stream_is_cut_and_urgent_ones_go_first() {
    let writer = MuxWriter::new(&[10, 200], 16);
    let mut sent = vec![b"control".to_vec(), vec![b'n'; 40], vec![b'u'; 20]];
    let expected = sent.clone();
    let (mut stream, mut order) = (vec![], vec![]);
    loop {
        let waiting = |channel: Channel| sent.get(usize::from(channel.number()));
        let chunk = writer.next_chunk(|channel| waiting(channel).map_or(&[][..], |bytes| bytes));
        let Some(chunk) = chunk else { break };
        let (number, len) = (usize::from(chunk.channel.number()), chunk.bytes.len());
        stream.extend(chunk.header);
        stream.extend(chunk.bytes);
        order.push(number);
        sent[number].drain(..len);
    }
    assert_eq!(order, [0, 2, 2, 1, 1, 1]);
    for cut in 1..stream.len() {
        assert_eq!(demuxed(&stream, cut, 5).unwrap()[..3], expected, "cut at {cut}");
    }
}

#[test]
fn a_stream_that_is_not_multiplexed_is_refused() {
    assert_eq!(demuxed(&[9, 1, 0, 0], 2, 9), Err(MuxError::Channel(9)));
    assert_eq!(demuxed(&[1, 0, 0], 1, 9), Err(MuxError::Empty));
    assert_eq!(Channel::new(8), None);
    let lane = LaneIndex::new(6).unwrap();
    assert_eq!(Channel::of_lane(lane).number(), 7);
    assert_eq!(LaneIndex::new(7), None);
}

proptest! {
    #[test]
    fn random_streams_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        cut in 1_usize..50,
    ) {
        let _ = demuxed(&bytes, cut, 7);
        let mut decoder = FrameDecoder::<Fixed<64>>::new(61);
        for chunk in bytes.chunks(cut) {
            let mut taken = 0;
            while let Ok(fed) = decoder.handle(&chunk[taken..]) {
                taken += fed.consumed;
                if fed.frame.is_none() {
                    break;
                }
            }
        }
    }

    #[test]
    fn frames_survive_any_cutting(
        messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..90), 0..8),
        cut in 1_usize..100,
    ) {
        let stream = framed(&messages);
        let chunks: Vec<&[u8]> = stream.chunks(cut).collect();
        let mut decoder = FrameDecoder::<Fixed<128>>::new(100);
        prop_assert_eq!(decoded(&mut decoder, &chunks).0, messages);
    }
}
