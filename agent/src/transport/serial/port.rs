//! A serial port of the system, as a stream of bytes.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::fs::{Mode, OFlags};
use rustix::termios::{ControlModes, OptionalActions, QueueSelector};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;

/// An open port. Nobody else can open it meanwhile.
#[derive(Debug)]
pub(super) struct Port {
    reader: pipe::Receiver,
    writer: pipe::Sender,
}

impl Port {
    /// Opens a port: eight bits, no parity, one stop bit, no flow control.
    pub(super) fn open(path: &Path, baud: u32) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let port = rustix::fs::open(path, flags, Mode::empty())?;
        let mut settings = rustix::termios::tcgetattr(&port)?;
        settings.make_raw();
        settings.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
        settings.control_modes -= ControlModes::CRTSCTS | ControlModes::CSTOPB;
        settings.set_speed(baud)?;
        rustix::termios::ioctl_tiocexcl(&port)?;
        rustix::termios::tcsetattr(&port, OptionalActions::Now, &settings)?;
        rustix::termios::tcflush(&port, QueueSelector::IOFlush)?;
        Self::of(port)
    }

    /// A port that is open, and does not block. What waits for a pipe waits for any file that the
    /// system can wait for, and takes no unsafe code, which a file of any kind would.
    pub(super) fn of(port: OwnedFd) -> io::Result<Self> {
        let writer = pipe::Sender::from_owned_fd_unchecked(port.try_clone()?)?;
        Ok(Self { reader: pipe::Receiver::from_owned_fd_unchecked(port)?, writer })
    }
}

impl AsyncRead for Port {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(context, buffer)
    }
}

impl AsyncWrite for Port {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
