//! Byte streams, as TCP has them for whoever uses it: in order, without loss, held up by what a
//! way does.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use landfall::transport::{ByteStream, Listener, Waiting};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use super::freezer::Freezer;
use super::way::SEND_AGAIN;
use super::{HostIx, Internet, Parcel, Wires};

/// A pipe's number.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct PipeIx(u64);

/// One direction of a stream.
#[derive(Debug)]
pub(super) struct Pipe {
    from: HostIx,
    to: HostIx,
    /// Parts under way, in order; an empty one is the end.
    under_way: VecDeque<Vec<u8>>,
    under_way_bytes: usize,
    arrived: VecDeque<u8>,
    ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Streams that were dialed and wait to be accepted.
#[derive(Debug)]
pub(super) struct Backlog {
    serial: u64,
    dialed: VecDeque<(Ends, SocketAddr)>,
    told: Arc<Notify>,
}

/// The two pipes of an end: what it reads, and what it writes.
#[derive(Clone, Copy, Debug)]
struct Ends {
    reads: PipeIx,
    writes: PipeIx,
}

/// Bytes that may be under way, and how many of them go together.
const UNDER_WAY_BYTES_MAX: usize = 256 * 1024;
const SEGMENT_BYTES_MAX: usize = 1_400;

/// One end of a stream; dropping it ends both directions.
struct Stream {
    internet: Internet,
    freezer: Freezer,
    ends: Ends,
    finished: bool,
}

/// Takes streams in at a port, until it is dropped.
pub(super) struct Port {
    internet: Internet,
    freezer: Freezer,
    at: (HostIx, u16),
    serial: u64,
}

impl Port {
    pub(super) fn bind(
        internet: Internet,
        freezer: Freezer,
        host: HostIx,
        port: u16,
    ) -> io::Result<Self> {
        let at = (host, port);
        let mut wires = internet.wires();
        if wires.listeners.contains_key(&at) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let serial = wires.serial();
        let backlog = Backlog { serial, dialed: VecDeque::new(), told: Arc::new(Notify::new()) };
        wires.listeners.insert(at, backlog);
        drop(wires);
        Ok(Self { internet, freezer, at, serial })
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let mut wires = self.internet.wires();
        if wires.listeners.get(&self.at).is_some_and(|backlog| backlog.serial == self.serial) {
            wires.listeners.remove(&self.at);
        }
    }
}

impl Listener for Port {
    fn accept(&mut self) -> Waiting<'_, (Box<dyn ByteStream>, SocketAddr)> {
        Box::pin(async move {
            loop {
                std::future::poll_fn(|context| self.freezer.poll_runs(context)).await;
                let told = {
                    let mut wires = self.internet.wires();
                    let unbound = io::ErrorKind::NotConnected;
                    let backlog = wires.listeners.get_mut(&self.at).ok_or(unbound)?;
                    if let Some((ends, remote)) = backlog.dialed.pop_front() {
                        drop(wires);
                        let stream = Stream::open(&self.internet, &self.freezer, ends);
                        return Ok((stream, remote));
                    }
                    backlog.told.clone()
                };
                told.notified().await;
            }
        })
    }
}

/// Dials a stream: there and back once, as often as it takes.
pub(super) async fn connect(
    internet: &Internet,
    freezer: &Freezer,
    from: HostIx,
    address: SocketAddr,
) -> io::Result<Box<dyn ByteStream>> {
    let to = internet.wires().host_at(address).ok_or(io::ErrorKind::HostUnreachable)?;
    let (there, back) = loop {
        let (there, back) = (internet.way(from, to), internet.way(to, from));
        if there.up && back.up && there.tcp && back.tcp {
            break (there, back);
        }
        internet.reach(internet.now() + 5 * SEND_AGAIN).await;
    };
    internet.reach(internet.now() + there.delay + back.delay).await;
    let mut wires = internet.wires();
    let remote = SocketAddr::new(wires.hosts[from.0], wires.free_port());
    if !wires.listeners.contains_key(&(to, address.port())) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let (forth, back) = (wires.new_pipe(from, to), wires.new_pipe(to, from));
    let backlog = wires.listeners.get_mut(&(to, address.port())).expect("looked for above");
    backlog.dialed.push_back((Ends { reads: forth, writes: back }, remote));
    backlog.told.notify_one();
    drop(wires);
    Ok(Stream::open(internet, freezer, Ends { reads: back, writes: forth }))
}

impl Stream {
    fn open(internet: &Internet, freezer: &Freezer, ends: Ends) -> Box<dyn ByteStream> {
        let (internet, freezer) = (internet.clone(), freezer.clone());
        Box::new(Self { internet, freezer, ends, finished: false })
    }

    fn finish(&mut self) {
        if !std::mem::replace(&mut self.finished, true) {
            self.internet.wires().send_segment(self.ends.writes, Vec::new());
            self.internet.sooner.notify_one();
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.finish();
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.freezer.poll_runs(context).is_pending() {
            return Poll::Pending;
        }
        let mut wires = self.internet.wires();
        let pipe = wires.pipe(self.ends.reads);
        if pipe.arrived.is_empty() && !pipe.ended {
            pipe.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let taken = pipe.arrived.len().min(buffer.remaining());
        let bytes: Vec<u8> = pipe.arrived.drain(..taken).collect();
        buffer.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.freezer.poll_runs(context).is_pending() {
            return Poll::Pending;
        }
        let mut wires = self.internet.wires();
        let pipe = wires.pipe(self.ends.writes);
        if pipe.under_way_bytes >= UNDER_WAY_BYTES_MAX {
            pipe.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let part = &bytes[..bytes.len().min(SEGMENT_BYTES_MAX)];
        if !part.is_empty() {
            wires.send_segment(self.ends.writes, part.to_vec());
            drop(wires);
            self.internet.sooner.notify_one();
        }
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

impl Wires {
    fn new_pipe(&mut self, from: HostIx, to: HostIx) -> PipeIx {
        let ix = PipeIx(self.next_pipe);
        self.next_pipe += 1;
        let pipe = Pipe {
            from,
            to,
            under_way: VecDeque::new(),
            under_way_bytes: 0,
            arrived: VecDeque::new(),
            ended: false,
            reader: None,
            writer: None,
        };
        self.pipes.insert(ix, pipe);
        ix
    }

    fn pipe(&mut self, ix: PipeIx) -> &mut Pipe {
        self.pipes.get_mut(&ix).expect("a pipe stays for as long as the internet")
    }

    fn send_segment(&mut self, ix: PipeIx, bytes: Vec<u8>) {
        let length = bytes.len();
        let pipe = self.pipe(ix);
        let (from, to) = (pipe.from, pipe.to);
        pipe.under_way_bytes += length;
        pipe.under_way.push_back(bytes);
        let (now, mut rng) = (self.now(), self.rng.clone());
        let due = self.traffic(from, to).send_segment(now, length, &mut rng);
        self.rng = rng;
        self.note_sent(from, to, length, &[due]);
        self.post(due, Parcel::Segment(ix));
    }

    /// The next part of a stream arrives, or waits until its way is up again.
    pub(super) fn deliver_segment(&mut self, ix: PipeIx) {
        let pipe = self.pipe(ix);
        let (from, to) = (pipe.from, pipe.to);
        if !self.traffic(from, to).takes_streams() {
            let due = self.now() + SEND_AGAIN;
            return self.post(due, Parcel::Segment(ix));
        }
        let pipe = self.pipe(ix);
        let part = pipe.under_way.pop_front().expect("each part is posted once");
        pipe.under_way_bytes -= part.len();
        pipe.ended |= part.is_empty();
        pipe.arrived.extend(part);
        [pipe.reader.take(), pipe.writer.take()].into_iter().flatten().for_each(Waker::wake);
    }
}
