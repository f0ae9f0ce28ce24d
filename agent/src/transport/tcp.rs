//! Connections on TLS on TCP, where UDP is blocked: the channels share one byte stream in frames
//! ([`super::mux`]).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::Semaphore;

use super::event::{Channel, CloseCode, CloseOrder, CloseReason};
use super::link::{Link, Orders, reserve};
use super::mux::{self, Header};
use super::network::ByteStream;

pub(super) type TlsStream = tokio_rustls::TlsStream<Box<dyn ByteStream>>;

/// How long a closing may take until the connection is cut off without one.
const CLOSING_TIME_MAX: Duration = Duration::from_secs(1);

/// Carries a connection until it ends.
pub(super) async fn carry(stream: Box<TlsStream>, link: Arc<Link>, mut orders: Orders) {
    let (receiver, sender) = tokio::io::split(stream);
    let mut sender = FrameSender { sender, frames: BytesMut::new() };
    let mut receiver = FrameReceiver { receiver, budgets: Default::default() };
    let reason = tokio::select! {
        biased;
        order = orders.next() => CloseReason::Local(order),
        reason = receiver.receive_all(&link) => reason,
        error = sender.send_all(&link) => reason_of(&error),
    };
    let farewell = match &reason {
        CloseReason::Local(order) => Some(order.clone()),
        CloseReason::Misbehaved(rule) => Some(CloseOrder::new(CloseCode::MISBEHAVED, rule)),
        _ => None,
    };
    link.closed(reason).await;
    if let Some(order) = farewell {
        let closing = async {
            sender.close(&order).await?;
            receiver.drain().await
        };
        // A peer that does not read in time hears of it as a cut.
        let _ = tokio::time::timeout(CLOSING_TIME_MAX, closing).await;
    }
}

fn reason_of(error: &io::Error) -> CloseReason {
    use io::ErrorKind as Kind;
    if let Some(error) = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
        return CloseReason::Tls(error.to_string());
    }
    match error.kind() {
        Kind::TimedOut => CloseReason::TimedOut,
        Kind::UnexpectedEof | Kind::ConnectionReset | Kind::BrokenPipe => CloseReason::Reset,
        _ => CloseReason::Failed(error.to_string()),
    }
}

struct FrameSender {
    sender: WriteHalf<Box<TlsStream>>,
    /// Made, and not yet taken by the stream. It outlives a sending that is given up, so that a
    /// closing can follow.
    frames: BytesMut,
}

impl FrameSender {
    async fn send_all(&mut self, link: &Link) -> io::Error {
        let priority = |channel| link.settings.priority(channel);
        loop {
            let (channel, payload) = link.outbox.take_first(priority, mux::SENT_PAYLOAD_MAX).await;
            mux::put_payload(&mut self.frames, channel, &payload);
            if let Err(error) = self.flush().await {
                return error;
            }
            link.sent(channel, payload.len()).await;
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        while !self.frames.is_empty() {
            self.sender.write_buf(&mut self.frames).await?;
        }
        self.sender.flush().await
    }

    async fn close(&mut self, order: &CloseOrder) -> io::Result<()> {
        mux::put_closing(&mut self.frames, order);
        self.flush().await?;
        self.sender.shutdown().await
    }
}

struct FrameReceiver {
    receiver: ReadHalf<Box<TlsStream>>,
    budgets: [Option<Arc<Semaphore>>; Channel::COUNT],
}

impl FrameReceiver {
    async fn receive_all(&mut self, link: &Link) -> CloseReason {
        loop {
            match self.receive_frame(link).await {
                Ok(()) => {}
                Err(reason) => return reason,
            }
        }
    }

    async fn receive_frame(&mut self, link: &Link) -> Result<(), CloseReason> {
        let mut header = [0; mux::HEADER_LENGTH];
        self.receiver.read_exact(&mut header).await.map_err(|error| reason_of(&error))?;
        match Header::decode(header).map_err(CloseReason::Misbehaved)? {
            Header::Payload { channel, length } => {
                self.receive_payload(channel, length, link).await
            }
            Header::Closing { length } => {
                let payload = self.receive(length).await?;
                let order = mux::closing(&payload)
                    .ok_or(CloseReason::Misbehaved("a closing of impossible length"))?;
                Err(CloseReason::Peer(order))
            }
        }
    }

    /// A payload is handed on in parts that its channel's budget can hold.
    async fn receive_payload(
        &mut self,
        channel: Channel,
        mut length: usize,
        link: &Link,
    ) -> Result<(), CloseReason> {
        let budget =
            self.budgets[channel.index()].get_or_insert_with(|| link.receive_budget()).clone();
        while length > 0 {
            let part = length.min(link.settings.receive_budget as usize);
            let room = reserve(&budget, part).await;
            let bytes = self.receive(part).await?;
            link.received(channel, bytes, room).await;
            length -= part;
        }
        Ok(())
    }

    async fn receive(&mut self, length: usize) -> Result<Bytes, CloseReason> {
        let mut bytes = BytesMut::zeroed(length);
        self.receiver.read_exact(&mut bytes).await.map_err(|error| reason_of(&error))?;
        Ok(bytes.freeze())
    }

    /// Reads to the end without looking: a socket closed over unread bytes would reset the closing
    /// on its way.
    async fn drain(&mut self) -> io::Result<()> {
        let mut unread = [0; 4096];
        while self.receiver.read(&mut unread).await? > 0 {}
        Ok(())
    }
}
