//! A hub, a device, and the relay between them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use landfall::identity::tls::HubKeys;
use landfall::identity::{NodeKey, PublicKey};
use landfall::transport::relay::{Relay, Shape};
use landfall::transport::{
    Carrier, Channel, CloseReason, Connection, ConnectionId, DialFailure, Opened, ReceivedBytes,
    ResetKey, Settings, Transport, TransportEvent,
};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Nothing on loopback takes this long; a test that waits for it has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// One end: its transport, and what that reports.
pub(super) struct Node {
    pub(super) key: PublicKey,
    pub(super) transport: Transport,
    pub(super) events: mpsc::Receiver<TransportEvent>,
}

impl Node {
    pub(super) fn new(settings: Settings) -> Self {
        static NODES: AtomicU8 = AtomicU8::new(0);
        let key = NodeKey::from_seed([NODES.fetch_add(1, Ordering::Relaxed); 32]);
        let (sender, events) = mpsc::channel(64);
        let transport = Transport::new(key.clone(), settings, ResetKey([1; 32]), sender);
        Self { key: key.public(), transport, events }
    }

    pub(super) fn listen(&self) -> SocketAddr {
        self.transport.listen(loopback()).unwrap()
    }

    pub(super) async fn event(&mut self) -> TransportEvent {
        timeout(PATIENCE, self.events.recv()).await.expect("an event is due").unwrap()
    }

    pub(super) async fn opened(&mut self) -> Opened {
        match self.event().await {
            TransportEvent::Opened(opened) => opened,
            other => panic!("expected a connection, got {other:?}"),
        }
    }

    pub(super) async fn dial_failure(&mut self) -> DialFailure {
        match self.event().await {
            TransportEvent::DialFailed { failure, .. } => failure,
            other => panic!("expected a failed dial, got {other:?}"),
        }
    }

    /// The end of a connection, whatever is reported before it.
    pub(super) async fn closed(&mut self, id: ConnectionId) -> CloseReason {
        loop {
            if let TransportEvent::Closed { connection, reason } = self.event().await
                && connection == id
            {
                return reason;
            }
        }
    }

    pub(super) async fn received(&mut self) -> (Channel, ReceivedBytes) {
        loop {
            match self.event().await {
                TransportEvent::Received { channel, bytes, .. } => return (channel, bytes),
                TransportEvent::Sent { .. } => {}
                other => panic!("expected bytes, got {other:?}"),
            }
        }
    }

    /// Receives until every channel has as many bytes as asked for.
    pub(super) async fn collect(
        &mut self,
        expected: &[(Channel, usize)],
    ) -> BTreeMap<Channel, Vec<u8>> {
        let mut collected: BTreeMap<Channel, Vec<u8>> = BTreeMap::new();
        while expected
            .iter()
            .any(|(channel, bytes)| collected.get(channel).map_or(0, Vec::len) < *bytes)
        {
            let (channel, bytes) = self.received().await;
            collected.entry(channel).or_default().extend_from_slice(&bytes);
        }
        collected
    }
}

/// A device with an open connection to a hub, through a relay.
pub(super) struct Pair {
    pub(super) hub: Node,
    pub(super) at_hub: Connection,
    pub(super) device: Node,
    pub(super) at_device: Connection,
    pub(super) relay: Relay,
}

impl Pair {
    pub(super) async fn new(carrier: Carrier, settings: Settings) -> Self {
        Self::shaped(carrier, settings, Shape::default()).await
    }

    pub(super) async fn shaped(carrier: Carrier, settings: Settings, shape: Shape) -> Self {
        let mut hub = Node::new(settings.clone());
        let shape = Shape { udp: carrier == Carrier::Quic, ..shape };
        let relay = Relay::start(loopback(), hub.listen(), shape, 1).unwrap();
        let mut device = Node::new(Settings { tcp_after: tcp_after(carrier), ..settings });
        let attempt = device.transport.dial(vec![relay.address().to_string()], pin(&[hub.key]));

        let there = device.opened().await;
        assert_eq!(there.peer, hub.key);
        assert_eq!(there.attempt, Some(attempt));
        assert_eq!(there.carrier, carrier);
        let here = hub.opened().await;
        assert_eq!(here.peer, device.key);
        assert_eq!(here.attempt, None);
        assert_eq!(here.carrier, carrier);
        Self { hub, at_hub: here.connection, device, at_device: there.connection, relay }
    }
}

/// Where UDP passes it must win; where it does not there is no reason to wait.
pub(super) fn tcp_after(carrier: Carrier) -> Duration {
    match carrier {
        Carrier::Quic => PATIENCE,
        Carrier::Tcp => Duration::ZERO,
        Carrier::Serial => unreachable!("nobody dials a serial line"),
    }
}

pub(super) fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

pub(super) fn pin(keys: &[PublicKey]) -> HubKeys {
    HubKeys(keys.to_vec())
}

pub(super) fn channel(number: u8) -> Channel {
    Channel::new(number).unwrap()
}
