//! Listening: UDP and TCP on one port, every handshake in a task of its own, with a timeout and a
//! place among the limits.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::TlsAcceptor;

use crate::identity::tls;

use super::admission::Knock;
use super::link::{Established, Side, Stream};
use super::network::{ByteStream, Listener};
use super::offence::Offence;
use super::{Shared, quic};

/// How often a port that is free on UDP may turn out to be taken on TCP.
const PORT_TRIES_MAX: usize = 16;

/// How long to wait when the system has no more sockets to give.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(super) fn listen(shared: &Arc<Shared>, address: SocketAddr) -> io::Result<SocketAddr> {
    let tls = tls::server_config(&shared.key).map_err(io::Error::other)?;
    let server = quic::server_config(shared)?;
    let (endpoint, listener) = bind(shared, address, &server)?;
    let listened = endpoint.local_addr()?;
    shared.spawn(accept_quic(shared.clone(), endpoint));
    shared.spawn(accept_tcp(shared.clone(), listener, TlsAcceptor::from(Arc::new(tls))));
    Ok(listened)
}

fn bind(
    shared: &Shared,
    address: SocketAddr,
    server: &quinn::ServerConfig,
) -> io::Result<(quinn::Endpoint, Box<dyn Listener>)> {
    let mut tries = 0;
    loop {
        let endpoint = quic::endpoint(shared, address, Some(server.clone()))?;
        match shared.network.listen(endpoint.local_addr()?) {
            Ok(listener) => return Ok((endpoint, listener)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && address.port() == 0 => {
                tries += 1;
                if tries == PORT_TRIES_MAX {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

async fn accept_quic(shared: Arc<Shared>, endpoint: quinn::Endpoint) {
    loop {
        let incoming = tokio::select! {
            biased;
            () = shared.stopped() => break,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { break };
        let source = incoming.remote_address().ip();
        if incoming.may_retry() && shared.admission.wants_validation(source) {
            // It fails only where `may_retry` says no.
            let _ = incoming.retry();
            continue;
        }
        match shared.admission.knock(source) {
            Ok(knock) => shared.spawn(enter_quic(shared.clone(), incoming, knock)),
            Err(offence) => {
                shared.offences.count(offence, canonical(incoming.remote_address()), "refused");
                incoming.refuse();
            }
        }
    }
    endpoint.set_server_config(None);
    endpoint.wait_idle().await;
}

async fn enter_quic(shared: Arc<Shared>, incoming: quinn::Incoming, knock: Knock) {
    let remote = canonical(incoming.remote_address());
    let handshake = async { incoming.accept()?.await };
    let Some(connection) = shake_hands(&shared, remote, handshake).await else { return };
    let Some(peer) = quic::peer_key(&connection) else {
        return tracing::debug!(%remote, "a peer without a key got through the handshake");
    };
    let side = Side::Accepted(knock.entered());
    shared.carry(Established { stream: Stream::Quic(connection), peer, remote, side }).await;
}

async fn accept_tcp(shared: Arc<Shared>, mut listener: Box<dyn Listener>, acceptor: TlsAcceptor) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.stopped() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, remote)) => {
                let remote = canonical(remote);
                let acceptor = acceptor.clone();
                match shared.admission.knock(remote.ip()) {
                    Ok(knock) => {
                        shared.spawn(enter_tcp(shared.clone(), socket, remote, acceptor, knock));
                    }
                    Err(offence) => shared.offences.count(offence, remote, "refused"),
                }
            }
            Err(error) => {
                tracing::warn!(%error, "TCP connections cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn enter_tcp(
    shared: Arc<Shared>,
    socket: Box<dyn ByteStream>,
    remote: SocketAddr,
    acceptor: TlsAcceptor,
    knock: Knock,
) {
    let Some(stream) = shake_hands(&shared, remote, acceptor.accept(socket)).await else { return };
    let (_, session) = stream.get_ref();
    let Some(peer) = session.peer_certificates().and_then(tls::peer_key) else {
        return tracing::debug!(%remote, "a peer without a key got through the handshake");
    };
    let stream = Stream::Tcp(Box::new(stream.into()));
    let side = Side::Accepted(knock.entered());
    shared.carry(Established { stream, peer, remote, side }).await;
}

/// Finishes a handshake, unless it fails, takes too long, or the transport shuts down.
async fn shake_hands<T, E: fmt::Display>(
    shared: &Shared,
    remote: SocketAddr,
    handshake: impl Future<Output = Result<T, E>>,
) -> Option<T> {
    let finished = tokio::select! {
        biased;
        () = shared.stopped() => return None,
        finished = tokio::time::timeout(shared.settings.handshake_timeout, handshake) => finished,
    };
    match finished {
        Ok(Ok(connection)) => return Some(connection),
        Ok(Err(error)) => shared.offences.count(Offence::HandshakeFailed, remote, error),
        Err(_) => {
            shared.offences.count(Offence::HandshakeTimeout, remote, "handshake took too long");
        }
    }
    None
}

/// An IPv4 peer on a socket for both families is shown as what it is.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
