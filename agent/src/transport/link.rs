//! An open connection, seen from the node ([`Connection`]) and from the task that carries it
//! ([`Link`]).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use crate::identity::PublicKey;

use super::event::{
    AttemptId, Carrier, Channel, CloseCode, CloseOrder, CloseReason, ConnectionId, Opened,
    ReceivedBytes, Remote, TransportEvent,
};
use super::offence::{Offence, Offences};
use super::offload::Offload;
use super::outbox::{Outbox, SendFault};
use super::settings::Settings;
use super::{Shared, lock, quic, tcp};

/// The handle of an open connection. Clones are handles of the same one; dropping the last closes
/// it.
#[derive(Clone, Debug)]
pub struct Connection {
    id: ConnectionId,
    outbox: Arc<Outbox>,
    order: Arc<Mutex<Option<oneshot::Sender<CloseOrder>>>>,
}

impl Connection {
    /// Its number in events.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Queues bytes on a channel. Each byte comes back as counted in [`TransportEvent::Sent`],
    /// unless the connection ends. What is sent on a channel that the dialer has not opened waits
    /// for ever.
    ///
    /// # Errors
    /// [`SendFault::Full`] if the channel holds `queue_max` bytes, [`SendFault::Closed`] at the
    /// end.
    pub fn send(&self, channel: Channel, bytes: Bytes) -> Result<(), SendFault> {
        self.outbox.push(channel, bytes)
    }

    /// Ends the connection now and tells the peer why. What is queued is dropped. Closing again
    /// changes nothing.
    pub fn close(&self, code: CloseCode, text: &str) {
        self.outbox.close();
        if let Some(order) = lock(&self.order).take() {
            // The receiver is gone if the connection has just ended by itself.
            let _ = order.send(CloseOrder::new(code, text));
        }
    }
}

/// What the carrying task has of a connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: ConnectionId,
    pub(super) settings: Arc<Settings>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) offload: Arc<Offload>,
    events: mpsc::Sender<TransportEvent>,
    remote: Remote,
    offences: Arc<Offences>,
}

/// What the node is told of a connection as it begins.
pub(super) struct Met {
    pub(super) peer: PublicKey,
    pub(super) remote: Remote,
    pub(super) carrier: Carrier,
    /// The attempt that led to it, if this node dialed.
    pub(super) attempt: Option<AttemptId>,
}

/// What is known about a connection when its handshake is over.
pub(super) struct Established {
    pub(super) stream: Stream,
    pub(super) peer: PublicKey,
    pub(super) remote: SocketAddr,
    /// Who dialed: this node with this attempt, or the peer with this place among the connections.
    pub(super) side: Side,
}

pub(super) enum Stream {
    Quic(quinn::Connection),
    Tcp(Box<tcp::TlsStream>),
}

pub(super) enum Side {
    Dialed(AttemptId),
    Accepted(OwnedSemaphorePermit),
}

impl Shared {
    /// Reports the connection and carries it until it ends.
    pub(super) async fn carry(&self, established: Established) {
        let Established { stream, peer, remote, side } = established;
        let carrier = match &stream {
            Stream::Quic(_) => Carrier::Quic,
            Stream::Tcp(_) => Carrier::Tcp,
        };
        let (attempt, _place) = match side {
            Side::Dialed(attempt) => (Some(attempt), None),
            Side::Accepted(place) => (None, Some(place)),
        };
        let remote = Remote::Address(remote);
        let (link, order) = self.open(Met { peer, remote, carrier, attempt }).await;
        match stream {
            Stream::Quic(connection) => {
                quic::carry(connection, attempt.is_some(), link, order).await;
            }
            Stream::Tcp(stream) => tcp::carry(stream, link, order).await,
        }
    }

    /// Reports a connection. Whoever carries it has what is returned.
    pub(super) async fn open(&self, met: Met) -> (Arc<Link>, Orders) {
        let Met { peer, remote, carrier, attempt } = met;
        let id = ConnectionId(self.next_id());
        let (order_sender, order) = oneshot::channel();
        let outbox = Arc::new(Outbox::new(self.settings.queue_max));
        let connection = Connection {
            id,
            outbox: outbox.clone(),
            order: Arc::new(Mutex::new(Some(order_sender))),
        };
        tracing::debug!(%id, peer = peer.short(), %remote, %carrier, "connection opened");
        let opened = Opened { connection, peer, attempt, remote: remote.clone(), carrier };
        self.report(TransportEvent::Opened(opened)).await;
        let link = Arc::new(Link {
            id,
            remote,
            settings: self.settings.clone(),
            outbox,
            offload: self.offload.clone(),
            events: self.events.clone(),
            offences: self.offences.clone(),
        });
        (link, Orders { order, stop: self.stop.subscribe() })
    }
}

/// Where the order to close a connection comes from.
pub(super) struct Orders {
    order: oneshot::Receiver<CloseOrder>,
    stop: watch::Receiver<Option<CloseOrder>>,
}

impl Orders {
    /// Waits for the order: from the handle, from its end, or from the transport's shutdown.
    pub(super) async fn next(&mut self) -> CloseOrder {
        tokio::select! {
            biased;
            order = &mut self.order => {
                order.unwrap_or_else(|_| CloseOrder::new(CloseCode::DONE, "no longer needed"))
            }
            order = self.stop.wait_for(Option::is_some) => match order {
                Ok(order) => order.clone().unwrap_or(CloseOrder::new(CloseCode::SHUTDOWN, "")),
                Err(_) => CloseOrder::new(CloseCode::SHUTDOWN, "shut down"),
            },
        }
    }
}

impl Link {
    /// What one channel may have received and not yet dropped.
    pub(super) fn receive_budget(&self) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(self.settings.receive_budget as usize))
    }

    pub(super) async fn received(
        &self,
        channel: Channel,
        bytes: Bytes,
        budget: OwnedSemaphorePermit,
    ) {
        let bytes = ReceivedBytes::new(bytes, budget);
        self.report(TransportEvent::Received { connection: self.id, channel, bytes }).await;
    }

    pub(super) async fn sent(&self, channel: Channel, bytes: usize) {
        self.report(TransportEvent::Sent { connection: self.id, channel, bytes }).await;
    }

    pub(super) async fn closed(&self, reason: CloseReason) {
        self.outbox.close();
        if let CloseReason::Misbehaved(rule) = reason {
            self.offences.count(Offence::Misbehaved, &self.remote, rule);
        }
        tracing::debug!(id = %self.id, %reason, "connection closed");
        self.report(TransportEvent::Closed { connection: self.id, reason }).await;
    }

    async fn report(&self, event: TransportEvent) {
        // Nobody reads the events any more only when the node is gone.
        let _ = self.events.send(event).await;
    }
}

/// Takes room for `bytes` from a channel's budget, waiting until the node has dropped enough of
/// what it got.
pub(super) async fn reserve(budget: &Arc<Semaphore>, bytes: usize) -> OwnedSemaphorePermit {
    let bytes = u32::try_from(bytes).expect("pieces have at most 64 KiB");
    budget.clone().acquire_many_owned(bytes).await.expect("a budget is never closed")
}
