//! What a transport stands on: the sockets of the operating system, or a network in memory on which
//! loss, delay and their like can be had at will.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use quinn::{AsyncUdpSocket, Runtime, TokioRuntime};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use super::settings::Settings;

/// Unsent bytes in the kernel: what an urgent frame has to wait for.
#[cfg(target_os = "linux")]
const UNSENT_MAX: u32 = 64 * 1024;

/// Where a transport gets its sockets from. All calls are made within a tokio runtime, whose clock
/// drives every timer.
pub trait Network: fmt::Debug + Send + Sync + 'static {
    /// What runs the tasks and timers of QUIC.
    fn runtime(&self) -> Arc<dyn Runtime>;

    /// What the random numbers of a QUIC endpoint begin with; `None` leaves it to QUIC. They choose
    /// packet numbers to skip and the like, and never keys.
    fn seed(&self) -> Option<[u8; 32]>;

    /// A socket for datagrams; port 0 takes a free one.
    ///
    /// # Errors
    /// The address cannot be had.
    fn datagrams(&self, address: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>>;

    /// Listens for byte streams.
    ///
    /// # Errors
    /// The address cannot be had; [`io::ErrorKind::AddrInUse`] if somebody else has it.
    fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Listener>>;

    /// Dials a byte stream.
    fn connect(&self, address: SocketAddr) -> Waiting<'_, Box<dyn ByteStream>>;
}

/// What is waited for: it comes, or cannot be had.
pub type Waiting<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// Takes byte streams in.
pub trait Listener: Send {
    /// Waits for the next one, and tells who dialed it. A call that is given up loses none.
    fn accept(&mut self) -> Waiting<'_, (Box<dyn ByteStream>, SocketAddr)>;
}

/// An ordered stream of bytes both ways.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// The network of the operating system.
#[derive(Clone, Copy, Debug)]
pub(super) struct System {
    udp_buffer: usize,
    keep_alive: Duration,
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux can be told"))]
    idle_timeout: Duration,
}

impl System {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            udp_buffer: settings.udp_buffer,
            keep_alive: settings.keep_alive,
            idle_timeout: settings.idle_timeout,
        }
    }

    /// Sets up a socket before its handshake. What the system refuses is not worth a connection.
    fn prepare(self, stream: TcpStream) -> Box<dyn ByteStream> {
        let _ = stream.set_nodelay(true);
        let socket = SockRef::from(&stream);
        let keep_alive =
            TcpKeepalive::new().with_time(self.keep_alive).with_interval(self.keep_alive / 3);
        let _ = socket.set_tcp_keepalive(&keep_alive);
        #[cfg(target_os = "linux")]
        {
            let _ = socket.set_tcp_user_timeout(Some(self.idle_timeout));
            let _ = socket.set_tcp_notsent_lowat(UNSENT_MAX);
        }
        Box::new(stream)
    }
}

impl Network for System {
    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(TokioRuntime)
    }

    fn seed(&self) -> Option<[u8; 32]> {
        None
    }

    fn datagrams(&self, address: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        // The system may grant less, which costs packets under load but is no reason to stop.
        let _ = socket.set_recv_buffer_size(self.udp_buffer);
        let _ = socket.set_send_buffer_size(self.udp_buffer);
        socket.bind(&address.into())?;
        TokioRuntime.wrap_udp_socket(socket.into())
    }

    fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Listener>> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        Ok(Box::new(SystemListener { system: *self, listener }))
    }

    fn connect(&self, address: SocketAddr) -> Waiting<'_, Box<dyn ByteStream>> {
        Box::pin(async move { Ok(self.prepare(TcpStream::connect(address).await?)) })
    }
}

struct SystemListener {
    system: System,
    listener: TcpListener,
}

impl Listener for SystemListener {
    fn accept(&mut self) -> Waiting<'_, (Box<dyn ByteStream>, SocketAddr)> {
        Box::pin(async move {
            let (stream, remote) = self.listener.accept().await?;
            Ok((self.system.prepare(stream), remote))
        })
    }
}
