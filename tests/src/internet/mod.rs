//! A simulated internet in one thread and on tokio's clock: hosts with addresses, and between each
//! two a [`Way`] in each direction. On a runtime whose clock is paused, the same seed gives the
//! same run, and an hour passes in no time.
//!
//! - [`Card`] gives the transport of a node its sockets, as [`landfall::transport::Network`].
//! - Datagrams are simulated one by one. A byte stream keeps its order and loses nothing: it is
//!   held up where a datagram would be lost, and knows no congestion.
//! - [`Scene`] has nodes at the hosts, and the steps of a scenario.

mod card;
mod datagrams;
mod freezer;
mod scene;
mod station;
mod streams;
mod way;

pub use card::Card;
pub use scene::{HUB, SHIP, Scene};
pub use way::{Fates, Way};

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn::{Runtime, TokioRuntime};
use tokio::sync::Notify;
use tokio::time::Instant;

use datagrams::Inbox;
use landfall_simulation::rng::Rng;
use streams::{Pipe, PipeIx};
use way::Traffic;

/// A host's number.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct HostIx(usize);

/// A handle on the internet.
#[derive(Clone, Debug)]
pub struct Internet {
    wires: Arc<Mutex<Wires>>,
    /// Told when something is to arrive earlier than anything else.
    sooner: Arc<Notify>,
}

#[derive(Debug)]
struct Wires {
    began: Instant,
    rng: Rng,
    /// Addresses as others see them.
    hosts: Vec<IpAddr>,
    traffic: BTreeMap<(HostIx, HostIx), Traffic>,
    inboxes: BTreeMap<(HostIx, u16), Inbox>,
    /// Which socket is behind an address that others see.
    public: BTreeMap<SocketAddr, (HostIx, u16)>,
    listeners: BTreeMap<(HostIx, u16), streams::Backlog>,
    pipes: BTreeMap<PipeIx, Pipe>,
    next_pipe: u64,
    next_port: u16,
    next_serial: u64,
    /// What is under way, by when it arrives and then by when it was sent.
    under_way: BTreeMap<(Duration, u64), Parcel>,
    sent: u64,
    trace: u64,
}

/// Something under way.
#[derive(Debug)]
enum Parcel {
    Datagram { from: SocketAddr, to: SocketAddr, bytes: Vec<u8> },
    Segment(PipeIx),
}

impl Internet {
    /// An internet without hosts. Must be called within a tokio runtime, on which it goes on until
    /// that ends.
    pub fn new(seed: u64) -> Self {
        let wires = Wires {
            began: Instant::from_std(TokioRuntime.now()),
            rng: Rng::new(seed),
            hosts: Vec::new(),
            traffic: BTreeMap::new(),
            inboxes: BTreeMap::new(),
            public: BTreeMap::new(),
            listeners: BTreeMap::new(),
            pipes: BTreeMap::new(),
            next_pipe: 0,
            next_port: 40_000,
            next_serial: 0,
            under_way: BTreeMap::new(),
            sent: 0,
            trace: 0,
        };
        let wires = Arc::new(Mutex::new(wires));
        let internet = Self { wires, sooner: Arc::new(Notify::new()) };
        tokio::spawn(internet.clone().deliver());
        internet
    }

    /// A new host with an address that nobody else has.
    pub fn host(&self, address: IpAddr) -> HostIx {
        let mut wires = self.wires();
        wires.hosts.push(address);
        HostIx(wires.hosts.len() - 1)
    }

    /// Sets what one direction is like. What is under way arrives as it would have.
    pub fn set_way(&self, from: HostIx, to: HostIx, way: Way) {
        self.wires().traffic(from, to).way = way;
    }

    /// What one direction is like.
    pub fn way(&self, from: HostIx, to: HostIx) -> Way {
        self.wires().traffic(from, to).way
    }

    /// What became of what was sent in one direction.
    pub fn fates(&self, from: HostIx, to: HostIx) -> Fates {
        self.wires().traffic(from, to).fates
    }

    /// Gives a host another address, or new ports at its old one, as a network does whose address
    /// translation forgot it. What is sent to the old ones is lost.
    pub fn move_to(&self, host: HostIx, address: IpAddr) {
        let mut wires = self.wires();
        wires.hosts[host.0] = address;
        let own = wires.public.values().filter(|(at, _)| *at == host);
        let ports: Vec<_> = own.map(|(_, port)| *port).collect();
        wires.public.retain(|_, (at, _)| *at != host);
        for port in ports {
            let public = SocketAddr::new(address, wires.free_port());
            wires.public.insert(public, (host, port));
        }
    }

    /// Closes all that a process at a host has open, as a system does when it ends.
    fn close_all(&self, host: HostIx) {
        let mut wires = self.wires();
        let sockets: Vec<_> = wires.inboxes.keys().filter(|at| at.0 == host).copied().collect();
        sockets.into_iter().for_each(|socket| wires.unbind(socket));
        wires.listeners.retain(|at, _| at.0 != host);
    }

    /// How long it has been going on.
    pub fn now(&self) -> Duration {
        self.wires().now()
    }

    /// Waits for a moment.
    async fn reach(&self, at: Duration) {
        let began = self.wires().began;
        tokio::time::sleep_until(began + at).await;
    }

    /// A number that the time, way, length and fate of everything that was sent went into.
    pub fn trace(&self) -> u64 {
        self.wires().trace
    }

    /// Random numbers for somebody at a host.
    pub(crate) fn fork_rng(&self) -> Rng {
        self.wires().rng.fork()
    }

    fn wires(&self) -> MutexGuard<'_, Wires> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over what arrives, when it does.
    async fn deliver(self) {
        loop {
            let next = self.wires().deliver_due();
            let due = async {
                match next {
                    Some(at) => self.reach(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.sooner.notified() => {}
                () = due => {}
            }
        }
    }
}

impl Wires {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn traffic(&mut self, from: HostIx, to: HostIx) -> &mut Traffic {
        self.traffic.entry((from, to)).or_insert_with(|| Traffic::new(Way::GOOD))
    }

    /// The host whose address that is, if somebody can be reached there.
    fn host_at(&self, address: SocketAddr) -> Option<HostIx> {
        self.hosts.iter().position(|host| *host == address.ip()).map(HostIx)
    }

    fn free_port(&mut self) -> u16 {
        self.next_port += 1;
        self.next_port
    }

    fn serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial
    }

    fn post(&mut self, due: Duration, parcel: Parcel) {
        self.sent += 1;
        self.under_way.insert((due, self.sent), parcel);
    }

    fn note(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.trace = Rng::new(self.trace ^ number).u64();
        }
    }

    fn note_sent(&mut self, from: HostIx, to: HostIx, length: usize, dues: &[Duration]) {
        let now = self.now().as_micros() as u64;
        self.note(&[now, from.0 as u64, to.0 as u64, length as u64]);
        for due in dues {
            self.note(&[due.as_micros() as u64]);
        }
    }

    /// Hands over all that is due, and tells when something is next.
    fn deliver_due(&mut self) -> Option<Duration> {
        let now = self.now();
        loop {
            let first = self.under_way.first_entry()?;
            let due = first.key().0;
            if due > now {
                return Some(due);
            }
            match first.remove() {
                Parcel::Datagram { from, to, bytes } => self.deliver_datagram(from, to, bytes),
                Parcel::Segment(pipe) => self.deliver_segment(pipe),
            }
        }
    }
}
