//! Byte channels between nodes: QUIC, and TLS on TCP where UDP is blocked, on one port and behind
//! one interface.
//!
//! A connection has up to [`Channel::COUNT`] ordered byte channels: control, and one per lane.
//! Nothing here knows what the bytes mean, and nothing delivered here is durable: a connection that
//! ends may lose what was queued.
//!
//! ```text
//! dial ─┐                                   ┌─ quic: a stream per channel ─┐
//!       ├─ handshake (identity::tls) ─ link ┤                              ├─▶ TransportEvent
//! listen┘   under admission's limits    │   └─ tcp: mux frames ────────────┤
//! listen_serial ─ a device's key ───────┴───── serial: frames and chunks ──┘
//! ```
//! Bounds: handshakes and connections by [`Settings`]; received bytes by a budget per channel that
//! the reader of events gives back by dropping [`ReceivedBytes`]; queued bytes by the sender, who
//! waits for [`TransportEvent::Sent`].
//!
//! What is waited for at once is always looked at in the same order (`biased`), so that over a
//! simulated [`Network`] the same seed gives the same run.

mod admission;
mod dial;
mod event;
mod link;
mod listen;
mod mux;
mod network;
mod offence;
mod offload;
mod outbox;
mod probe;
mod quic;
pub mod relay;
mod serial;
mod settings;
mod tcp;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::identity::NodeKey;
use crate::identity::tls::HubKeys;

use admission::Admission;
use offload::Offload;

pub use event::{
    AttemptId, Carrier, Channel, CloseCode, CloseOrder, CloseReason, ConnectionId, DialFailure,
    Opened, ReceivedBytes, Remote, TransportEvent,
};
pub use link::Connection;
pub use network::{ByteStream, Listener, Network, Waiting};
pub use offence::Offence;
pub use offload::Offloading;
pub use outbox::SendFault;
pub use probe::Probe;
pub use serial::{SerialLine, SerialPlace};
pub use settings::{ResetKey, Settings};

/// The transport of a node: what it listens on, dials and holds open. Dropping it cuts everything
/// off at once; [`Transport::shutdown`] says goodbye first.
#[derive(Debug)]
pub struct Transport {
    shared: Arc<Shared>,
}

/// What the tasks of a transport have in common.
#[derive(Debug)]
struct Shared {
    key: NodeKey,
    network: Arc<dyn Network>,
    settings: Arc<Settings>,
    reset_key: ResetKey,
    events: mpsc::Sender<TransportEvent>,
    admission: Arc<Admission>,
    offload: Arc<Offload>,
    offences: Arc<offence::Offences>,
    next_id: AtomicU64,
    stop: watch::Sender<Option<CloseOrder>>,
    /// Made at the first dial and used for all: one socket for any number of hubs.
    dialer: Mutex<Option<quinn::Endpoint>>,
    /// `None` once the transport is shut down.
    tasks: Mutex<Option<JoinSet<()>>>,
}

impl Transport {
    /// Makes a transport that reports to `events`. Whoever holds the other end must keep reading
    /// it.
    ///
    /// # Panics
    /// If the settings contradict themselves: no budget, no queue, no channel, or a keep-alive
    /// beyond the idle timeout.
    #[must_use]
    pub fn new(
        key: NodeKey,
        settings: Settings,
        reset_key: ResetKey,
        events: mpsc::Sender<TransportEvent>,
    ) -> Self {
        let system = Arc::new(network::System::new(&settings));
        Self::over(system, key, settings, reset_key, events)
    }

    /// The same as [`Transport::new`], over another network than the system's.
    ///
    /// # Panics
    /// As [`Transport::new`].
    #[must_use]
    pub fn over(
        network: Arc<dyn Network>,
        key: NodeKey,
        settings: Settings,
        reset_key: ResetKey,
        events: mpsc::Sender<TransportEvent>,
    ) -> Self {
        settings.check();
        let admission = Arc::new(Admission::new(&settings));
        let offload = Offload::new(settings.segmentation_offload);
        let shared = Shared {
            key,
            network,
            settings: Arc::new(settings),
            reset_key,
            events,
            admission,
            offload,
            offences: Arc::default(),
            next_id: AtomicU64::new(1),
            stop: watch::Sender::new(None),
            dialer: Mutex::new(None),
            tasks: Mutex::new(Some(JoinSet::new())),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Listens on UDP and TCP at the same port; port 0 takes one that is free on both. Returns the
    /// address listened on. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// What the operating system says if either cannot be bound.
    pub fn listen(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        listen::listen(&self.shared, address)
    }

    /// Listens on a serial line for devices that have a key of it. Returns the address, if the line
    /// is brought over TCP; port 0 takes one that is free. A port that is not there is tried again
    /// and again. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// What the operating system says if the address cannot be bound.
    pub fn listen_serial(&self, line: SerialLine) -> io::Result<Option<SocketAddr>> {
        serial::listen(&self.shared, line)
    }

    /// Dials a hub at any of `addresses` (`host:port`), which must show one of the `pinned` keys:
    /// QUIC first, TCP too when that takes long. Ends in one [`TransportEvent::Opened`] or
    /// [`TransportEvent::DialFailed`] with the id returned. Must be called within a tokio runtime.
    pub fn dial(&self, addresses: Vec<String>, pinned: HubKeys) -> AttemptId {
        let attempt = AttemptId(self.shared.next_id());
        let shared = self.shared.clone();
        self.shared.spawn(dial::dial(shared, attempt, addresses, pinned));
        attempt
    }

    /// What was refused or done before or below a session since the start, and how often.
    pub fn offences(&self) -> impl Iterator<Item = (Offence, u64)> {
        self.shared.offences.met()
    }

    /// Closes everything with a reason and waits until the peers had a chance to hear it, for
    /// `patience` at most.
    ///
    /// Every open connection still reports [`TransportEvent::Closed`], so the events must be read
    /// meanwhile.
    pub async fn shutdown(self, code: CloseCode, text: &str, patience: Duration) {
        let tasks = lock(&self.shared.tasks).take();
        self.shared.stop.send_replace(Some(CloseOrder::new(code, text)));
        let Some(mut tasks) = tasks else { return };
        let dialer = lock(&self.shared.dialer).take();
        let goodbye = async {
            while tasks.join_next().await.is_some() {}
            if let Some(dialer) = dialer {
                dialer.wait_idle().await;
            }
        };
        if tokio::time::timeout(patience, goodbye).await.is_err() {
            tracing::debug!("some peers were not told about the shutdown in time");
        }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        // The tasks hold `shared`, and `shared` holds the tasks: taking them out ends both.
        drop(lock(&self.shared.tasks).take());
    }
}

impl Shared {
    fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Starts a task that ends with the transport; does nothing after a shutdown.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(tasks) = lock(&self.tasks).as_mut() {
            while tasks.try_join_next().is_some() {}
            tasks.spawn(task);
        }
    }

    /// Waits for the shutdown.
    async fn stopped(&self) {
        // It cannot fail: the sender is in `self`.
        let _ = self.stop.subscribe().wait_for(Option::is_some).await;
    }

    async fn report(&self, event: TransportEvent) {
        // Nobody reads the events any more only when the node is gone, and then nobody needs them.
        let _ = self.events.send(event).await;
    }
}

/// A panic elsewhere in the process must not make the transport panic: what the mutexes guard is
/// valid at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
