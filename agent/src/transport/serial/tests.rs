//! A device at the end of a serial port, which here is a pseudo-terminal.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use landfall_protocol::line::{Caller, LineKey, Turn};
use landfall_protocol::time::Instant;
use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::LocalModes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::super::{Carrier, Channel, CloseReason, ResetKey, Settings, Transport, TransportEvent};
use super::*;
use crate::clock;
use crate::identity::NodeKey;

const HEX: &str = "0707070707070707070707070707070707070707070707070707070707070707";

fn now() -> Instant {
    Instant::from_millis(clock::monotonic().ms())
}

/// The other end of a port, with a device on it.
struct Pier {
    port: Port,
    caller: Caller<'static>,
    /// What the gateway said.
    heard: Vec<u8>,
}

impl Pier {
    fn device(port: Port, seed: u8) -> Self {
        let caller = Caller::new("buoy-4", LineKey::new([7; 32]), [seed; 16]);
        Self { port, caller, heard: Vec::new() }
    }

    /// Works until something is as wanted; what is to be said is put as there is room.
    async fn until(&mut self, mut say: &[u8], mut wanted: impl FnMut(&Self) -> bool) {
        while !say.is_empty() || !wanted(self) {
            self.caller.handle_timeout(now());
            say = &say[self.caller.put(say, now())..];
            let waiting = self.caller.waiting(now()).to_vec();
            if !waiting.is_empty() {
                let sent = self.port.write(&waiting).await.unwrap();
                self.caller.sent(sent, now());
            }
            let mut buffer = [0; 64];
            let read = tokio::time::timeout(Duration::from_millis(5), self.port.read(&mut buffer));
            let Ok(read) = read.await else { continue };
            for byte in &buffer[..read.unwrap()] {
                if self.caller.handle_byte(*byte) == Turn::Payload {
                    self.heard.extend(self.caller.payload());
                }
            }
        }
    }
}

/// A transport that listens on a port, and the port's other end.
async fn pier() -> (Transport, mpsc::Receiver<TransportEvent>, Port, OwnedFd) {
    let pier = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    rustix::pty::grantpt(&pier).unwrap();
    rustix::pty::unlockpt(&pier).unwrap();
    let name = rustix::pty::ptsname(&pier, Vec::new()).unwrap();
    let path = PathBuf::from(name.to_str().unwrap());
    // Held open, so that the other end can be used before the transport has it.
    let held = rustix::fs::open(&path, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    rustix::fs::fcntl_setfl(&pier, OFlags::NONBLOCK).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    crate::whole_file::write_whole(&keys, format!("buoy-4 {HEX}").as_bytes(), 0o600).unwrap();
    let keys = Arc::new(LineKeys::read(&keys).unwrap());
    let (events, reported) = mpsc::channel(64);
    let key = NodeKey::from_seed([1; 32]);
    let transport = Transport::new(key, Settings::device(), ResetKey([2; 32]), events);
    let line = SerialLine { place: SerialPlace::Port(path, 115_200), keys };
    assert_eq!(transport.listen_serial(line).unwrap(), None);
    // Until then the system would answer by itself.
    let echoes = || rustix::termios::tcgetattr(&held).unwrap().local_modes;
    while echoes().contains(LocalModes::ECHO) {
        tokio::task::yield_now().await;
    }
    (transport, reported, Port::of(pier).unwrap(), held)
}

#[tokio::test]
async fn a_device_on_a_port_is_a_connection_until_it_starts_anew() {
    let (transport, mut events, port, _held) = pier().await;
    let mut device = Pier::device(port, 1);
    // A chunk on the control channel, after some noise, and one on the first lane.
    device.port.write_all(b"\0\0noise\0").await.unwrap();
    device.until(b"\x00\x05\x00hello\x01\x02\x00ab", |device| device.caller.is_ready()).await;
    let Some(TransportEvent::Opened(opened)) = events.recv().await else { panic!("no device") };
    assert_eq!((opened.carrier, opened.attempt), (Carrier::Serial, None));
    assert!(opened.remote.to_string().starts_with("/dev/pts/"));
    for (number, expected) in [(0, &b"hello"[..]), (1, b"ab")] {
        let Some(TransportEvent::Received { channel, bytes, .. }) = events.recv().await else {
            panic!("{expected:?} did not come");
        };
        assert_eq!((channel.number(), &bytes[..]), (number, expected));
    }
    let answer = Bytes::from(vec![9; 1_000]);
    opened.connection.send(Channel::CONTROL, answer).unwrap();
    device.until(b"", |device| device.heard.len() >= 1_000 + 6 * 3).await;
    assert_eq!(device.heard[..4], [0, 189, 0, 9]);
    assert!(transport.offences().any(|(offence, _)| offence == Offence::LineNoise));

    let mut device = Pier::device(device.port, 2);
    device.until(b"\x00\x01\x00!", |device| device.caller.is_ready()).await;
    let mut reopened = false;
    while !reopened {
        match events.recv().await.unwrap() {
            TransportEvent::Sent { .. } => {}
            TransportEvent::Closed { connection, reason } => {
                assert_eq!((connection, reason), (opened.connection.id(), CloseReason::Reset));
            }
            TransportEvent::Opened(again) => {
                assert_eq!(again.peer, opened.peer);
                reopened = true;
            }
            event => panic!("{event:?}"),
        }
    }
}
