//! The emulator's serial line to a node of this process, over a socket of the loopback.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use landfall_protocol::line::{Answerer, Heard, LineKey};
use landfall_protocol::time::Instant;

use super::image::KEY;
use crate::site::Site;
use crate::wire::Wire;

/// Where emulators connect.
pub(crate) struct Line {
    listener: TcpListener,
    /// Time as the node sees it: a millisecond for each turn.
    now: u64,
}

impl Line {
    pub(crate) fn listen() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap(), now: 1_000 }
    }

    /// The line, as the emulator takes it.
    pub(crate) fn address(&self) -> String {
        format!("tcp:{}", self.listener.local_addr().unwrap())
    }

    /// Takes the next emulator's call and carries bytes until more than `until` of its records are
    /// at the node.
    pub(crate) fn carry(&mut self, hub: &mut Site, until: u64) {
        let (mut stream, _) = self.listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        hub.connect(self.now);
        let (mut wire, mut answerer) = (Wire::default(), Answerer::new([1; 16]));
        let keys = |site: &str| (site == "buoy-4").then_some(LineKey::new(KEY));
        let mut buffer = [0; 4096];
        while hub.arrived() <= until {
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "the emulator hung up");
            for byte in &buffer[..read] {
                match answerer.handle_byte(*byte, keys) {
                    Heard::Opened | Heard::Payload => wire.up.extend(answerer.payload()),
                    Heard::Nothing => {}
                    heard => panic!("the line damages nothing: {heard:?}"),
                }
            }
            hub.turn(&mut wire, self.now);
            self.now += 1;
            send(&mut stream, &mut answerer, &mut wire, Instant::from_millis(self.now));
        }
        hub.disconnect(self.now);
    }
}

/// Sends what the node says, and what the line needs.
fn send(stream: &mut TcpStream, answerer: &mut Answerer, wire: &mut Wire, now: Instant) {
    let taken = answerer.put(wire.down.make_contiguous(), now);
    wire.down.drain(..taken);
    let mut bytes = Vec::new();
    while let waiting @ [_, ..] = answerer.waiting(now) {
        let sent = waiting.len();
        bytes.extend(waiting);
        answerer.sent(sent, now);
    }
    match stream.write_all(&bytes) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) => panic!("the emulator can't be written to: {error}"),
    }
}
