//! A bare serial line, made a stream that an [`Uplink`] can be brought over: what the line damages
//! is said again, and at its other end is a gateway that has this device's key.

use embedded_io::{ErrorType, Read, ReadReady, Write, WriteReady};
use embedded_storage::nor_flash::NorFlash;
use landfall_core::num::Timestamp;
use landfall_protocol::line::{Caller, Turn};
use landfall_protocol::time::Instant;

pub use landfall_protocol::line::{LineKey, NONCE_BYTES};

use crate::device::Device;
use crate::uplink::Uplink;

/// Bytes that are taken off the line in one call.
const READ_BYTES: usize = 64;

/// The device's end of a serial line. It holds its buffers itself, 700 bytes.
#[derive(Debug)]
pub struct Line<'a, S> {
    /// The line itself.
    serial: S,
    caller: Caller<'a>,
    /// How much was read of the bytes that came last.
    read: usize,
    now: Instant,
}

impl<'a, S: Read + ReadReady + Write + WriteReady> Line<'a, S> {
    /// The end of `serial`, whose driver should hold what comes in between two polls. The device is
    /// `site` there, and has the key that the gateway knows of it. `seed` is random, and drawn anew
    /// at each start: with one that was used before, somebody at the line could play back what was
    /// said to this device then.
    pub fn new(serial: S, site: &'a str, key: LineKey, seed: [u8; NONCE_BYTES]) -> Self {
        let caller = Caller::new(site, key, seed);
        Self { serial, caller, read: 0, now: Instant::default() }
    }

    /// Lets the uplink and the line work: at most 64 bytes in, and as many out of one frame as the
    /// line takes. Calls the gateway, and calls again whenever a session has ended. `now`, `wall`
    /// and what is returned are those of [`Uplink::poll`].
    pub fn poll<F: NorFlash, const STREAMS: usize>(
        &mut self,
        device: &mut Device<'_, F, STREAMS>,
        uplink: &mut Uplink<'_, STREAMS>,
        now: Instant,
        wall: Timestamp,
    ) -> bool {
        self.now = now;
        match self.turn() {
            Ok(Turn::Opened) => uplink.connected(now),
            Ok(Turn::Same | Turn::Payload) => {}
            Ok(Turn::Lost) | Err(_) => uplink.disconnected(),
        }
        let busy = uplink.poll(device, now, wall, self);
        if uplink.ended().is_some() && self.caller.is_open() {
            self.caller.hang_up(now);
        }
        busy
    }

    /// How often something came that is no frame of a session: noise, or somebody else.
    pub fn thrown(&self) -> u64 {
        self.caller.thrown()
    }

    fn turn(&mut self) -> Result<Turn, S::Error> {
        let mut turn = self.caller.handle_timeout(self.now);
        for _ in 0..READ_BYTES {
            // What came is read before the next byte takes its place.
            if turn != Turn::Same || self.has_bytes() || !self.serial.read_ready()? {
                break;
            }
            let mut byte = [0];
            if self.serial.read(&mut byte)? == 0 {
                break;
            }
            let [byte] = byte;
            self.read = 0;
            turn = self.caller.handle_byte(byte);
        }
        let waiting = self.caller.waiting(self.now);
        if !waiting.is_empty() && self.serial.write_ready()? {
            let sent = self.serial.write(waiting)?;
            self.caller.sent(sent, self.now);
        }
        Ok(turn)
    }

    fn has_bytes(&self) -> bool {
        self.read < self.caller.payload().len()
    }
}

impl<S: ErrorType> ErrorType for Line<'_, S> {
    type Error = S::Error;
}

impl<S: Read + ReadReady + Write + WriteReady> ReadReady for Line<'_, S> {
    fn read_ready(&mut self) -> Result<bool, S::Error> {
        Ok(self.has_bytes())
    }
}

impl<S: Read + ReadReady + Write + WriteReady> Read for Line<'_, S> {
    /// Never waits: where nothing is ready, nothing is read.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, S::Error> {
        let bytes = self.caller.payload().iter().skip(self.read);
        let read = buffer.iter_mut().zip(bytes).map(|(to, from)| *to = *from).count();
        self.read += read;
        Ok(read)
    }
}

impl<S: Read + ReadReady + Write + WriteReady> WriteReady for Line<'_, S> {
    fn write_ready(&mut self) -> Result<bool, S::Error> {
        Ok(self.caller.is_ready())
    }
}

impl<S: Read + ReadReady + Write + WriteReady> Write for Line<'_, S> {
    /// Never waits: where a frame is under way, nothing is taken.
    fn write(&mut self, buffer: &[u8]) -> Result<usize, S::Error> {
        Ok(self.caller.put(buffer, self.now))
    }

    fn flush(&mut self) -> Result<(), S::Error> {
        self.serial.flush()
    }
}
