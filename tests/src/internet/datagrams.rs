//! UDP sockets.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

use super::freezer::Freezer;
use super::{HostIx, Internet, Parcel, Wires};

/// Bytes that a socket keeps for its owner; what comes beyond them is lost.
const INBOX_BYTES_MAX: usize = 512 * 1024;

/// What has arrived for a socket.
#[derive(Debug)]
pub(super) struct Inbox {
    datagrams: VecDeque<(SocketAddr, Vec<u8>)>,
    bytes: usize,
    reader: Option<Waker>,
    serial: u64,
}

/// A socket, unbound when it is dropped.
pub(super) struct Socket {
    internet: Internet,
    freezer: Freezer,
    host: HostIx,
    address: SocketAddr,
    /// Tells it from a later one at the same port.
    serial: u64,
}

impl Socket {
    pub(super) fn bind(
        internet: Internet,
        freezer: Freezer,
        host: HostIx,
        port: u16,
    ) -> io::Result<Self> {
        let mut wires = internet.wires();
        let port = if port == 0 { wires.free_port() } else { port };
        let address = SocketAddr::new(wires.hosts[host.0], port);
        if wires.inboxes.contains_key(&(host, port)) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let serial = wires.serial();
        let inbox = Inbox { datagrams: VecDeque::new(), bytes: 0, reader: None, serial };
        wires.inboxes.insert((host, port), inbox);
        wires.public.insert(address, (host, port));
        drop(wires);
        Ok(Self { internet, freezer, host, address, serial })
    }

    fn own(&self) -> (HostIx, u16) {
        (self.host, self.address.port())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut wires = self.internet.wires();
        let own = self.own();
        if wires.inboxes.get(&own).is_some_and(|inbox| inbox.serial == self.serial) {
            wires.unbind(own);
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Socket({})", self.address)
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if self.freezer.is_frozen() {
            return Ok(());
        }
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        let mut wires = self.internet.wires();
        for datagram in transmit.contents.chunks(segment) {
            wires.send_datagram(self.own(), transmit.destination, datagram);
        }
        drop(wires);
        self.internet.sooner.notify_one();
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut wires = self.internet.wires();
        let Some(inbox) = wires.inboxes.get_mut(&self.own()) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let mut taken = 0;
        for (buffer, meta) in buffers.iter_mut().zip(meta) {
            let Some((addr, bytes)) = inbox.datagrams.pop_front() else { break };
            inbox.bytes -= bytes.len();
            // What is too long for the reader is cut, as systems do.
            let len = bytes.len().min(buffer.len());
            buffer[..len].copy_from_slice(&bytes[..len]);
            *meta = RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None };
            taken += 1;
        }
        if taken == 0 {
            inbox.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(taken))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

/// There is always room to send: what a way has no room for is lost on it.
#[derive(Debug)]
struct Writable;

impl UdpPoller for Writable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Wires {
    pub(super) fn unbind(&mut self, own: (HostIx, u16)) {
        self.inboxes.remove(&own);
        self.public.retain(|_, socket| *socket != own);
    }

    fn send_datagram(&mut self, own: (HostIx, u16), to: SocketAddr, bytes: &[u8]) {
        let seen_as = self.public.iter().find(|(_, socket)| **socket == own);
        let (Some((from, _)), Some(host)) = (seen_as, self.host_at(to)) else { return };
        let (from, now, mut bytes) = (*from, self.now(), bytes.to_vec());
        let mut rng = self.rng.clone();
        let dues = self.traffic(own.0, host).send(now, &mut bytes, &mut rng);
        self.rng = rng;
        self.note_sent(own.0, host, bytes.len(), &dues);
        for due in dues {
            self.post(due, Parcel::Datagram { from, to, bytes: bytes.clone() });
        }
    }

    pub(super) fn deliver_datagram(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let socket = self.public.get(&to);
        let Some(inbox) = socket.and_then(|socket| self.inboxes.get_mut(socket)) else { return };
        if inbox.bytes + bytes.len() > INBOX_BYTES_MAX {
            return;
        }
        inbox.bytes += bytes.len();
        inbox.datagrams.push_back((from, bytes));
        if let Some(reader) = inbox.reader.take() {
            reader.wake();
        }
    }
}
