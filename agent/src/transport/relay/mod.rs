//! A bad link in a box: a relay for UDP and TCP with a rate, a delay, a queue, loss and a switch.
//!
//! It stands between a dialer and a hub on one machine, where a real link cannot be had: in the
//! demonstration, in tests and in benchmarks. Both directions have the same shape, and UDP and TCP
//! share each direction's rate.

mod tcp;
mod udp;
mod wire;

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use wire::Wire;

/// What the link is like, in each direction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shape {
    /// How fast it is; `None` is as fast as the machine.
    pub rate: Option<BitsPerSecond>,
    /// How long a byte is on the way, once sent.
    pub delay: Duration,
    /// Bytes that wait to be sent: a datagram over it is dropped, a TCP sender waits. At least one
    /// datagram always fits.
    pub queue: usize,
    /// Datagrams lost of a thousand; TCP loses nothing here.
    pub loss_per_mille: u16,
    /// Datagrams of a thousand that arrive twice.
    pub duplicate_per_mille: u16,
    /// Datagrams of a thousand that arrive with a bit changed.
    pub corrupt_per_mille: u16,
    /// How much longer a datagram may be on the way, drawn for each: it may be overtaken.
    pub jitter: Duration,
    /// Whether datagrams pass at all.
    pub udp: bool,
}

/// Bits per second; not zero.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BitsPerSecond(pub std::num::NonZeroU64);

impl Default for Shape {
    /// A link like the loopback it stands on.
    fn default() -> Self {
        Self {
            rate: None,
            delay: Duration::ZERO,
            queue: 1 << 20,
            loss_per_mille: 0,
            duplicate_per_mille: 0,
            corrupt_per_mille: 0,
            jitter: Duration::ZERO,
            udp: true,
        }
    }
}

/// A running relay; dropping it ends it and all connections through it.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    link: Arc<Link>,
    /// Runs the relay for as long as this is held.
    _tasks: JoinSet<()>,
}

impl Relay {
    /// Relays what arrives at `listen` (port 0 takes a free one) to `target`. `seed` decides which
    /// datagrams are lost. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// What the operating system says if the address cannot be bound.
    pub fn start(
        listen: SocketAddr,
        target: SocketAddr,
        shape: Shape,
        seed: u64,
    ) -> io::Result<Self> {
        let (datagrams, listener) = bind(listen)?;
        let address = listener.local_addr()?;
        let (to_target, target_queue) = Wire::new(shape, seed);
        let (to_dialer, dialer_queue) = Wire::new(shape, !seed);
        let up = watch::Sender::new(true);
        let link = Arc::new(Link { up, bindings: AtomicU64::new(0), to_target, to_dialer });
        let mut tasks = JoinSet::new();
        tasks.spawn(wire::send_queued(target_queue, shape));
        tasks.spawn(wire::send_queued(dialer_queue, shape));
        tasks.spawn(udp::relay(datagrams, target, link.clone()));
        tasks.spawn(tcp::relay(listener, target, link.clone()));
        Ok(Self { address, link, _tasks: tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes the link down or up. Datagrams are lost meanwhile, TCP stands still.
    pub fn set_up(&self, up: bool) {
        self.link.up.send_replace(up);
    }

    /// Forgets all bindings, as a NAT does: from the next datagram on, the target sees each dialer
    /// at another port, and what it sends to the old one is lost.
    pub fn rebind(&self) {
        self.link.bindings.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes delivered to the target, without the headers of UDP, TCP and IP.
    #[must_use]
    pub fn bytes_to_target(&self) -> u64 {
        self.link.to_target.delivered()
    }

    /// Bytes delivered to the dialer, without the headers of UDP, TCP and IP.
    #[must_use]
    pub fn bytes_to_dialer(&self) -> u64 {
        self.link.to_dialer.delivered()
    }
}

/// What all tasks of a relay share.
#[derive(Debug)]
struct Link {
    up: watch::Sender<bool>,
    /// How often the bindings were forgotten.
    bindings: AtomicU64,
    to_target: Wire,
    to_dialer: Wire,
}

#[derive(Clone, Copy)]
enum Toward {
    Target,
    Dialer,
}

impl Link {
    fn wire(&self, toward: Toward) -> &Wire {
        match toward {
            Toward::Target => &self.to_target,
            Toward::Dialer => &self.to_dialer,
        }
    }

    fn is_up(&self) -> bool {
        *self.up.borrow()
    }

    async fn until_up(&self) {
        // It cannot fail: the sender is in `self`.
        let _ = self.up.subscribe().wait_for(|up| *up).await;
    }
}

/// How often a port that is free on TCP may turn out to be taken on UDP.
const PORT_TRIES_MAX: usize = 16;

fn bind(address: SocketAddr) -> io::Result<(tokio::net::UdpSocket, tokio::net::TcpListener)> {
    let mut tries = 0;
    loop {
        let listener = TcpListener::bind(address)?;
        match UdpSocket::bind(listener.local_addr()?) {
            Ok(datagrams) => {
                listener.set_nonblocking(true)?;
                datagrams.set_nonblocking(true)?;
                return Ok((
                    tokio::net::UdpSocket::from_std(datagrams)?,
                    tokio::net::TcpListener::from_std(listener)?,
                ));
            }
            Err(error) if address.port() == 0 && tries < PORT_TRIES_MAX => {
                tries += 1;
                tracing::debug!(%error, "the port is taken on UDP, trying another");
            }
            Err(error) => return Err(error),
        }
    }
}
