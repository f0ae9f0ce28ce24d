//! Connections on QUIC: a bidirectional stream per channel, opened by the dialer, whose first byte
//! names the channel.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use quinn::congestion::CubicConfig;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ConnectionError, IdleTimeout, ReadError, RecvStream, SendStream, TransportConfig, VarInt,
    WriteError,
};
use quinn_proto::HashedConnectionIdGenerator;
use ring::hmac;
use rustls::pki_types::CertificateDer;
use tokio::task::JoinSet;

use crate::identity::PublicKey;
use crate::identity::tls::{self, HubKeys, RefusedKey};

use super::event::{Channel, CloseCode, CloseOrder, CloseReason, clean};
use super::link::{Link, Orders, reserve};
use super::{ResetKey, Settings, Shared};

/// Bytes handed on at once, in either direction.
const PIECE_MAX: usize = 64 * 1024;

/// An endpoint on this address; one that accepts connections if it has a server configuration.
pub(super) fn endpoint(
    shared: &Shared,
    address: SocketAddr,
    server: Option<quinn::ServerConfig>,
) -> io::Result<quinn::Endpoint> {
    let socket = shared.offload.over(shared.network.datagrams(address)?);
    let mut config = endpoint_config(&shared.reset_key);
    config.rng_seed(shared.network.seed());
    quinn::Endpoint::new_with_abstract_socket(config, server, socket, shared.network.runtime())
}

/// Resets need both: the key that makes them, and connection ids that a restarted node knows as its
/// own. By default the ids are keyed anew at each start, and packets of older connections are
/// dropped without an answer.
fn endpoint_config(reset_key: &ResetKey) -> quinn::EndpointConfig {
    let reset_key = hmac::Key::new(hmac::HMAC_SHA256, &reset_key.0);
    let tag = hmac::sign(&reset_key, b"connection ids");
    let id_key = tag.as_ref().first_chunk().expect("SHA-256 has 32 bytes");
    let id_key = u64::from_le_bytes(*id_key);
    let mut config = quinn::EndpointConfig::new(Arc::new(reset_key));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)));
    config
}

/// What an accepting endpoint uses for every connection.
pub(super) fn server_config(shared: &Shared) -> io::Result<quinn::ServerConfig> {
    let tls = tls::server_config(&shared.key).map_err(io::Error::other)?;
    let crypto = QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let mut transport = transport_config(&shared.settings)?;
    transport.max_concurrent_bidi_streams(VarInt::from_u32(Channel::COUNT as u32));
    config.transport_config(Arc::new(transport));
    config.max_incoming(shared.settings.handshakes_max);
    config.incoming_buffer_size(64 << 10);
    config.incoming_buffer_size_total(4 << 20);
    Ok(config)
}

/// What a dial uses for one attempt.
pub(super) fn client_config(
    shared: &Shared,
    pinned: HubKeys,
    refused: RefusedKey,
) -> io::Result<quinn::ClientConfig> {
    let tls = tls::client_config(&shared.key, pinned, refused).map_err(io::Error::other)?;
    let crypto = QuicClientConfig::try_from(tls).map_err(io::Error::other)?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    let mut transport = transport_config(&shared.settings)?;
    transport.max_concurrent_bidi_streams(VarInt::from_u32(0));
    transport.keep_alive_interval(Some(shared.settings.keep_alive));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

fn transport_config(settings: &Settings) -> io::Result<TransportConfig> {
    let mut config = TransportConfig::default();
    let idle = IdleTimeout::try_from(settings.idle_timeout).map_err(io::Error::other)?;
    let window = VarInt::try_from(settings.connection_window()).map_err(io::Error::other)?;
    config
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(idle))
        .stream_receive_window(VarInt::from_u32(settings.stream_window))
        .receive_window(window)
        .send_window(u64::from(settings.send_window));
    if !settings.datagram_search {
        config.mtu_discovery_config(None);
    }
    if let Some(rtt) = settings.initial_rtt {
        config.initial_rtt(rtt);
    }
    if let Some(window) = settings.initial_window {
        let mut cubic = CubicConfig::default();
        cubic.initial_window(window);
        config.congestion_controller_factory(Arc::new(cubic));
    }
    Ok(config)
}

/// The key that the peer of an open connection proved to hold.
pub(super) fn peer_key(connection: &quinn::Connection) -> Option<PublicKey> {
    let shown = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    tls::peer_key(&shown)
}

/// Carries a connection until it ends.
pub(super) async fn carry(
    connection: quinn::Connection,
    dialed: bool,
    link: Arc<Link>,
    mut orders: Orders,
) {
    let mut channels = JoinSet::new();
    let reason = tokio::select! {
        biased;
        order = orders.next() => {
            connection.close(VarInt::from_u32(order.code.0), order.text.as_bytes());
            CloseReason::Local(order)
        }
        reason = run_channels(&connection, dialed, &link, &mut channels) => reason,
    };
    if let CloseReason::Misbehaved(rule) = reason {
        connection.close(VarInt::from_u32(CloseCode::MISBEHAVED.0), rule.as_bytes());
    }
    channels.shutdown().await;
    link.closed(reason).await;
}

async fn run_channels(
    connection: &quinn::Connection,
    dialed: bool,
    link: &Arc<Link>,
    channels: &mut JoinSet<Result<Infallible, ChannelFault>>,
) -> CloseReason {
    if dialed {
        let count = link.settings.priorities.len();
        for channel in Channel::all().take(count) {
            match connection.open_bi().await {
                Ok((sender, receiver)) => {
                    let carrying = Carrying { connection: connection.clone(), link: link.clone() };
                    channels.spawn(open_channel(channel, sender, receiver, carrying));
                }
                Err(error) => return error.into(),
            }
        }
    }
    let named = NamedChannels::default();
    loop {
        tokio::select! {
            biased;
            error = connection.closed() => return error.into(),
            accepted = connection.accept_bi(), if !dialed => match accepted {
                Ok((sender, receiver)) => {
                    let carrying = Carrying { connection: connection.clone(), link: link.clone() };
                    channels.spawn(accept_channel(sender, receiver, carrying, named.clone()));
                }
                Err(error) => return error.into(),
            },
            Some(ended) = channels.join_next() => match ended {
                Ok(Err(ChannelFault::Misbehaved(rule))) => return CloseReason::Misbehaved(rule),
                // The connection's own end is about to be seen above.
                Ok(Err(ChannelFault::ConnectionLost)) => {}
                Ok(Ok(never)) => match never {},
                Err(error) => return CloseReason::Failed(error.to_string()),
            },
        }
    }
}

/// The channels that the peer has opened: each at most once.
type NamedChannels = Arc<std::sync::Mutex<BTreeSet<Channel>>>;

/// What a channel runs on.
struct Carrying {
    connection: quinn::Connection,
    link: Arc<Link>,
}

/// Why a channel ended.
enum ChannelFault {
    /// Its connection ended, and knows why.
    ConnectionLost,
    Misbehaved(&'static str),
}

async fn open_channel(
    channel: Channel,
    mut sender: SendStream,
    receiver: RecvStream,
    carrying: Carrying,
) -> Result<Infallible, ChannelFault> {
    set_priority(&sender, channel, &carrying.link)?;
    sender.write_all(&[channel.number()]).await?;
    run_channel(channel, sender, receiver, &carrying).await
}

async fn accept_channel(
    sender: SendStream,
    mut receiver: RecvStream,
    carrying: Carrying,
    named: NamedChannels,
) -> Result<Infallible, ChannelFault> {
    let name = receiver
        .read_chunk(1, true)
        .await?
        .ok_or(ChannelFault::Misbehaved("a stream ended before it named its channel"))?;
    let channel = Channel::new(name.bytes[0])
        .ok_or(ChannelFault::Misbehaved("a stream named a channel that does not exist"))?;
    if !super::lock(&named).insert(channel) {
        return Err(ChannelFault::Misbehaved("a channel was opened twice"));
    }
    set_priority(&sender, channel, &carrying.link)?;
    run_channel(channel, sender, receiver, &carrying).await
}

fn set_priority(sender: &SendStream, channel: Channel, link: &Link) -> Result<(), ChannelFault> {
    sender
        .set_priority(link.settings.priority(channel))
        .map_err(|_| ChannelFault::Misbehaved("a channel was stopped"))
}

async fn run_channel(
    channel: Channel,
    sender: SendStream,
    receiver: RecvStream,
    carrying: &Carrying,
) -> Result<Infallible, ChannelFault> {
    tokio::select! {
        biased;
        ended = send_all(channel, sender, carrying) => ended,
        ended = receive_all(channel, receiver, &carrying.link) => ended,
    }
}

async fn send_all(
    channel: Channel,
    mut sender: SendStream,
    carrying: &Carrying,
) -> Result<Infallible, ChannelFault> {
    let Carrying { connection, link } = carrying;
    let mut window = link.settings.send_window;
    loop {
        let piece = link.outbox.take(channel, PIECE_MAX).await;
        let length = piece.len();
        sender.write_chunk(piece).await?;
        link.sent(channel, length).await;
        let wanted = match link.offload.fast_round_trip(&connection.stats()) {
            Some(round_trip) => link.settings.send_window_at(round_trip),
            None => link.settings.send_window,
        };
        if core::mem::replace(&mut window, wanted) != wanted {
            connection.set_send_window(u64::from(wanted));
        }
    }
}

async fn receive_all(
    channel: Channel,
    mut receiver: RecvStream,
    link: &Link,
) -> Result<Infallible, ChannelFault> {
    let budget = link.receive_budget();
    let piece_max = PIECE_MAX.min(link.settings.receive_budget as usize);
    loop {
        let bytes = receive_piece(&mut receiver, piece_max)
            .await?
            .ok_or(ChannelFault::Misbehaved("a channel ended before its connection"))?;
        // The piece is in memory before there is room for it: one per channel, and QUIC stops the
        // peer meanwhile.
        let room = reserve(&budget, bytes.len()).await;
        link.received(channel, bytes, room).await;
    }
}

/// Waits for bytes and takes what else has arrived by then, copied together: single packets would
/// cost an event each, and keep the large buffer alive that they were received in.
async fn receive_piece(receiver: &mut RecvStream, max: usize) -> Result<Option<Bytes>, ReadError> {
    let Some(first) = receiver.read_chunk(max, true).await? else { return Ok(None) };
    let mut piece = BytesMut::from(first.bytes.as_ref());
    while piece.len() < max {
        match arrived(receiver, max - piece.len()).await? {
            Some(more) => piece.extend_from_slice(&more),
            None => break,
        }
    }
    Ok(Some(piece.freeze()))
}

/// What can be read without waiting. An end of the stream is seen by whoever waits next.
async fn arrived(receiver: &mut RecvStream, max: usize) -> Result<Option<Bytes>, ReadError> {
    let mut read = pin!(receiver.read_chunk(max, true));
    poll_fn(|context| match read.as_mut().poll(context) {
        Poll::Ready(Ok(chunk)) => Poll::Ready(Ok(chunk.map(|chunk| chunk.bytes))),
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => Poll::Ready(Ok(None)),
    })
    .await
}

impl From<ReadError> for ChannelFault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::ConnectionLost(_) => Self::ConnectionLost,
            _ => Self::Misbehaved("a channel was reset"),
        }
    }
}

impl From<WriteError> for ChannelFault {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::ConnectionLost(_) => Self::ConnectionLost,
            _ => Self::Misbehaved("a channel was stopped"),
        }
    }
}

impl From<ConnectionError> for CloseReason {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => {
                // A code that no node of this version sends is shown as the highest one.
                let code = u32::try_from(close.error_code.into_inner()).unwrap_or(u32::MAX);
                Self::Peer(CloseOrder::received(code, &close.reason))
            }
            ConnectionError::TimedOut => Self::TimedOut,
            ConnectionError::Reset => Self::Reset,
            ConnectionError::ConnectionClosed(close) if is_tls(close.error_code) => {
                Self::Tls(clean(&close.to_string()))
            }
            error => Self::Failed(clean(&error.to_string())),
        }
    }
}

/// QUIC carries a TLS alert as an error code whose second byte is one.
fn is_tls(code: quinn::TransportErrorCode) -> bool {
    (0x100..0x200).contains(&u64::from(code))
}
