//! The network card of a process at a host: what its transport stands on.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use landfall::transport::{ByteStream, Listener, Network, Waiting};
use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};

use super::datagrams::Socket;
use super::freezer::{Freezer, Task};
use super::streams::{self, Port};
use super::{HostIx, Internet};
use landfall_simulation::rng::Rng;

/// Gives one process its sockets, and can freeze it.
#[derive(Clone, Debug)]
pub struct Card {
    internet: Internet,
    host: HostIx,
    freezer: Freezer,
    rng: Arc<Mutex<Rng>>,
}

impl Card {
    /// A card for a process that runs at a host.
    pub fn new(internet: &Internet, host: HostIx) -> Self {
        let rng = Arc::new(Mutex::new(internet.fork_rng()));
        Self { internet: internet.clone(), host, freezer: Freezer::default(), rng }
    }

    /// Stops the process in the middle of whatever it does, as SIGSTOP would.
    pub fn freeze(&self) {
        self.freezer.freeze();
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.freezer.thaw();
    }

    /// Ends it without a word to anybody, as SIGKILL would.
    pub fn kill(&self) {
        self.freezer.freeze();
        self.internet.close_all(self.host);
    }

    /// Whether it is stopped.
    pub fn is_frozen(&self) -> bool {
        self.freezer.is_frozen()
    }
}

impl Network for Card {
    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(self.clone())
    }

    fn seed(&self) -> Option<[u8; 32]> {
        let mut seed = [0; 32];
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).fill(&mut seed);
        Some(seed)
    }

    fn datagrams(&self, address: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let (internet, freezer) = (self.internet.clone(), self.freezer.clone());
        Ok(Arc::new(Socket::bind(internet, freezer, self.host, address.port())?))
    }

    fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Listener>> {
        let (internet, freezer) = (self.internet.clone(), self.freezer.clone());
        Ok(Box::new(Port::bind(internet, freezer, self.host, address.port())?))
    }

    fn connect(&self, address: SocketAddr) -> Waiting<'_, Box<dyn ByteStream>> {
        Box::pin(streams::connect(&self.internet, &self.freezer, self.host, address))
    }
}

impl Runtime for Card {
    fn new_timer(&self, at: std::time::Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, work: Pin<Box<dyn Future<Output = ()> + Send>>) {
        tokio::spawn(Task { freezer: self.freezer.clone(), work });
    }

    fn wrap_udp_socket(&self, _: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn now(&self) -> std::time::Instant {
        TokioRuntime.now()
    }
}
