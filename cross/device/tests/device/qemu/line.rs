//! The emulator's serial line to a node of this process, over a socket of the loopback.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

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
        let mut wire = Wire::default();
        let mut buffer = [0; 4096];
        while hub.arrived() <= until {
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "the emulator hung up");
            wire.up.extend(&buffer[..read]);
            hub.turn(&mut wire, self.now);
            self.now += 1;
            send(&mut stream, &mut wire);
        }
        hub.disconnect(self.now);
    }
}

/// Sends what the node says.
fn send(stream: &mut TcpStream, wire: &mut Wire) {
    let bytes: Vec<u8> = wire.down.drain(..).collect();
    match stream.write_all(&bytes) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) => panic!("the emulator can't be written to: {error}"),
    }
}
