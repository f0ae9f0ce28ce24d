//! The byte stream between a device and a node, in memory.

use std::collections::VecDeque;
use std::convert::Infallible;

use embedded_io::{ErrorType, Read, ReadReady, Write, WriteReady};

/// Bytes on their way. Its two ends are the device's, through `embedded-io`, and the node's.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    pub(crate) down: VecDeque<u8>,
    pub(crate) up: VecDeque<u8>,
}

/// Bytes that the device may have under way, as in a serial line's buffer.
const BUFFERED: usize = 100;

impl ErrorType for Wire {
    type Error = Infallible;
}

impl ReadReady for Wire {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(!self.down.is_empty())
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        let len = buffer.len().min(self.down.len());
        buffer.iter_mut().zip(self.down.drain(..len)).for_each(|(to, from)| *to = from);
        Ok(len)
    }
}

impl WriteReady for Wire {
    fn write_ready(&mut self) -> Result<bool, Infallible> {
        Ok(self.up.len() < BUFFERED)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let len = bytes.len().min(BUFFERED - self.up.len());
        self.up.extend(&bytes[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
