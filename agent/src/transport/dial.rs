//! Dialing: every address of a hub in a staggered race, on each QUIC first and TCP as well when
//! that takes long. The first finished handshake wins and the others are dropped.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::identity::PublicKey;
use crate::identity::tls::{self, HubKeys, RefusedKey};

use super::event::{AttemptId, CloseReason, DialFailure, TransportEvent};
use super::link::{Established, Side, Stream};
use super::listen::canonical;
use super::{Shared, lock, quic};

/// Addresses that one dial tries, after resolving.
const ADDRESSES_MAX: usize = 16;

/// How long an address has the field to itself before the next one is tried too.
const HEAD_START: Duration = Duration::from_millis(250);

/// How long resolving one name may take.
const RESOLVE_TIME_MAX: Duration = Duration::from_secs(10);

pub(super) async fn dial(
    shared: Arc<Shared>,
    attempt: AttemptId,
    addresses: Vec<String>,
    pinned: HubKeys,
) {
    let reached = tokio::select! {
        biased;
        () = shared.stopped() => return,
        reached = reach(&shared, &addresses, &pinned) => reached,
    };
    match reached {
        Ok(Reached { stream, peer, remote }) => {
            let side = Side::Dialed(attempt);
            shared.carry(Established { stream, peer, remote, side }).await;
        }
        Err(failure) => {
            tracing::debug!(%failure, "dial failed");
            shared.report(TransportEvent::DialFailed { attempt, failure }).await;
        }
    }
}

pub(super) struct Reached {
    pub(super) stream: Stream,
    pub(super) peer: PublicKey,
    remote: SocketAddr,
}

async fn reach(
    shared: &Arc<Shared>,
    addresses: &[String],
    pinned: &HubKeys,
) -> Result<Reached, DialFailure> {
    let (resolved, mut failure) = resolve(addresses).await;
    let mut race = JoinSet::new();
    for (index, address) in resolved.into_iter().take(ADDRESSES_MAX).enumerate() {
        let (shared, pinned) = (shared.clone(), pinned.clone());
        race.spawn(async move {
            sleep(HEAD_START * index as u32).await;
            reach_address(&shared, address, pinned).await
        });
    }
    while let Some(finished) = race.join_next().await {
        match finished {
            Ok(Ok(reached)) => return Ok(reached),
            Ok(Err(other)) => failure = more_telling(failure, other),
            Err(error) => tracing::error!(%error, "a dial broke off"),
        }
    }
    Err(failure)
}

fn more_telling(one: DialFailure, other: DialFailure) -> DialFailure {
    if other.telling() > one.telling() { other } else { one }
}

async fn resolve(addresses: &[String]) -> (Vec<SocketAddr>, DialFailure) {
    let mut resolved = Vec::new();
    let mut failure = DialFailure::NoAddress;
    for address in addresses {
        let why = match timeout(RESOLVE_TIME_MAX, tokio::net::lookup_host(address)).await {
            Ok(Ok(found)) => {
                resolved.extend(found.map(canonical));
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer from the resolver".into(),
        };
        failure = more_telling(failure, DialFailure::Unresolved { address: address.clone(), why });
    }
    (resolved, failure)
}

async fn reach_address(
    shared: &Shared,
    address: SocketAddr,
    pinned: HubKeys,
) -> Result<Reached, DialFailure> {
    let target = Target { address, pinned, refused: RefusedKey::default() };
    let quic_failed = Notify::new();
    let mut quic = pin!(target.reach_quic(shared));
    let mut tcp = pin!(async {
        tokio::select! {
            biased;
            () = sleep(shared.settings.tcp_after) => {}
            () = quic_failed.notified() => {}
        }
        target.reach_tcp(shared).await
    });
    tokio::select! {
        biased;
        reached = &mut quic => match reached {
            // Somebody answered: asking the same host over TCP would only say the same.
            Ok(_) | Err(DialFailure::WrongHubKey { .. }) => reached,
            Err(failure) => {
                quic_failed.notify_one();
                tcp.await.map_err(|other| more_telling(other, failure))
            }
        },
        reached = &mut tcp => match reached {
            Ok(_) | Err(DialFailure::WrongHubKey { .. }) => reached,
            Err(failure) => quic.await.map_err(|other| more_telling(other, failure)),
        },
    }
}

/// One address, and whom to expect there.
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) pinned: HubKeys,
    pub(super) refused: RefusedKey,
}

impl Target {
    pub(super) async fn reach_quic(&self, shared: &Shared) -> Result<Reached, DialFailure> {
        let config = quic::client_config(shared, self.pinned.clone(), self.refused.clone())
            .map_err(|error| self.failure(&error))?;
        let connecting = dialer(shared)
            .map_err(|error| self.failure(&error))?
            .connect_with(config, self.address, tls::SERVER_NAME)
            .map_err(|error| self.failure(&error))?;
        let connection = match timeout(shared.settings.handshake_timeout, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(quinn::ConnectionError::TimedOut)) | Err(_) => return Err(self.timed_out()),
            Ok(Err(error)) => return Err(self.failure(&CloseReason::from(error))),
        };
        let peer = quic::peer_key(&connection).ok_or_else(|| self.failure(&"no key was shown"))?;
        Ok(Reached { stream: Stream::Quic(connection), peer, remote: self.address })
    }

    pub(super) async fn reach_tcp(&self, shared: &Shared) -> Result<Reached, DialFailure> {
        let config = tls::client_config(&shared.key, self.pinned.clone(), self.refused.clone())
            .map_err(|error| self.failure(&error))?;
        let name = ServerName::try_from(tls::SERVER_NAME).expect("the constant is a valid name");
        let handshake = async {
            let socket = shared.network.connect(self.address).await?;
            TlsConnector::from(Arc::new(config)).connect(name, socket).await
        };
        let stream = match timeout(shared.settings.handshake_timeout, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(self.timed_out());
            }
            Ok(Err(error)) => return Err(self.failure(&error)),
            Err(_) => return Err(self.timed_out()),
        };
        let (_, session) = stream.get_ref();
        let peer = session
            .peer_certificates()
            .and_then(tls::peer_key)
            .ok_or_else(|| self.failure(&"no key was shown"))?;
        let stream = Stream::Tcp(Box::new(stream.into()));
        Ok(Reached { stream, peer, remote: self.address })
    }

    fn timed_out(&self) -> DialFailure {
        DialFailure::TimedOut { address: self.address }
    }

    fn failure(&self, why: &dyn fmt::Display) -> DialFailure {
        let address = self.address;
        match self.refused.get() {
            Some(seen) => {
                DialFailure::WrongHubKey { address, expected: self.pinned.clone(), seen: *seen }
            }
            None => DialFailure::Refused { address, why: why.to_string() },
        }
    }
}

fn dialer(shared: &Shared) -> io::Result<quinn::Endpoint> {
    let mut dialer = lock(&shared.dialer);
    if let Some(endpoint) = &*dialer {
        return Ok(endpoint.clone());
    }
    // A host without IPv6 cannot bind the socket that would serve both.
    let endpoint = quic::endpoint(shared, (Ipv6Addr::UNSPECIFIED, 0).into(), None)
        .or_else(|_| quic::endpoint(shared, (Ipv4Addr::UNSPECIFIED, 0).into(), None))?;
    *dialer = Some(endpoint.clone());
    Ok(endpoint)
}
