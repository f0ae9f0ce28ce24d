//! Two sessions over a single byte stream in each direction, as over TCP or a serial line.

use landfall_protocol::channel::Channel;
use landfall_protocol::message::Control;
use landfall_protocol::mux::{MuxReader, MuxWriter};
use landfall_protocol::time::Instant;

use crate::pair::{End, NORMAL, Pair, URGENT};

/// One direction of the stream.
struct Line {
    writer: MuxWriter,
    reader: MuxReader,
    bytes: Vec<u8>,
}

impl Line {
    fn new() -> Self {
        let (writer, reader) = (MuxWriter::new(&[10, 200], 256), MuxReader::default());
        Self { writer, reader, bytes: vec![] }
    }

    /// Puts one chunk of what an end has to send onto the line.
    fn send(&mut self, from: &mut End) -> bool {
        let waiting = |channel: Channel| &from.pipes[usize::from(channel.number())][..];
        let Some(chunk) = self.writer.next_chunk(waiting) else { return false };
        self.bytes.extend(chunk.header);
        self.bytes.extend(chunk.bytes);
        let (channel, sent) = (chunk.channel, chunk.bytes.len());
        from.pipes[usize::from(channel.number())].drain(..sent);
        if channel.lane().is_some() {
            from.session.handle_sent(channel, sent);
        }
        true
    }

    /// Brings up to 100 bytes from the line to an end, as far as it takes them.
    fn receive(&mut self, to: &mut End, now: Instant) -> bool {
        let arrived = self.bytes.len().min(100);
        let found = self.reader.handle(&self.bytes[..arrived]).unwrap();
        let taken = found.piece.map_or(0, |piece| {
            to.session.handle_received(piece.channel, piece.bytes, now, &mut to.heard)
        });
        self.reader.taken(taken);
        let moved = found.header + taken;
        self.bytes.drain(..moved);
        moved > 0
    }
}

fn settle(pair: &mut Pair, up: &mut Line, down: &mut Line) {
    let mut moved = true;
    while moved {
        moved = pair.dialer.transmit() | pair.listener.transmit();
        moved |= up.send(&mut pair.dialer) | down.send(&mut pair.listener);
        moved |= up.receive(&mut pair.listener, pair.now);
        moved |= down.receive(&mut pair.dialer, pair.now);
    }
}

#[test]
fn early_records_on_the_same_stream_neither_pass_the_acceptance_nor_block_it() {
    let (mut pair, mut up, mut down) = (Pair::standard(1), Line::new(), Line::new());
    pair.dialer.say(NORMAL, &[1; 5000]).unwrap();
    pair.dialer.session.send_control(&Control::TipsWanted).unwrap();
    settle(&mut pair, &mut up, &mut down);
    assert!(pair.listener.heard.bodies.is_empty());
    assert_eq!(pair.listener.heard.control.len(), 1);
    pair.listener.session.accept("ship", pair.now).unwrap();
    settle(&mut pair, &mut up, &mut down);
    assert_eq!(pair.listener.heard.bodies, [(0, vec![1; 5000])]);
    assert_eq!(pair.listener.heard.control[1], "TipsWanted");
    assert!(pair.dialer.session.is_open());
}

#[test]
fn an_urgent_entry_overtakes_a_backlog_on_the_same_stream() {
    let (mut pair, mut up, mut down) = (Pair::standard(2), Line::new(), Line::new());
    settle(&mut pair, &mut up, &mut down);
    pair.listener.session.accept("ship", pair.now).unwrap();
    settle(&mut pair, &mut up, &mut down);
    pair.dialer.say(NORMAL, &[1; 50_000]).unwrap();
    assert!(up.send(&mut pair.dialer), "a chunk of the backlog is on the line");
    pair.dialer.say(URGENT, &[2; 500]).unwrap();
    settle(&mut pair, &mut up, &mut down);
    let lanes: Vec<_> = pair.listener.heard.bodies.iter().map(|(lane, _)| *lane).collect();
    assert_eq!(lanes, [1, 0]);
}
