//! Connections over serial lines, for devices without a network: a port of the system, or a
//! loopback address where an emulator or a program brings a line's bytes.
//!
//! ```text
//! port | TCP ─ wire: landfall_protocol::line ─ a device has shown its key ─ link, as any other
//! ```
//! A line stays when a session on it ends: the device starts anew, and calls.

mod port;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::OwnedSemaphorePermit;

use super::Shared;
use super::admission::Knock;
use super::event::{Carrier, CloseReason, Remote};
use super::link::Met;
use super::listen::ACCEPT_PAUSE;
use super::network::ByteStream;
use super::offence::Offence;
use crate::entropy;
use crate::identity::LineKeys;
use port::Port;
use wire::{End, Wire};

/// A port that can't be used is tried again after so long, and then after twice as long.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The longest pause between two attempts.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// A line to listen on, and who may speak there.
#[derive(Clone, Debug)]
pub struct SerialLine {
    /// Where it is.
    pub place: SerialPlace,
    /// The keys of the devices.
    pub keys: Arc<LineKeys>,
}

/// Where a line is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SerialPlace {
    /// A port of the system, and its rate in bits a second.
    Port(PathBuf, u32),
    /// Whoever connects brings a line's bytes.
    Tcp(SocketAddr),
}

impl fmt::Display for SerialPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(path, _) => path.display().fmt(f),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

/// Listens on a line. Returns the address, if it has one.
pub(super) fn listen(shared: &Arc<Shared>, line: SerialLine) -> io::Result<Option<SocketAddr>> {
    let SerialLine { place, keys } = line;
    match place {
        SerialPlace::Port(path, baud) => {
            shared.spawn(use_port(shared.clone(), path, baud, keys));
            Ok(None)
        }
        SerialPlace::Tcp(address) => {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            let address = listener.local_addr()?;
            shared.spawn(accept(shared.clone(), listener, keys));
            Ok(Some(address))
        }
    }
}

/// Uses a port whenever it can be had: an adapter may be plugged in later.
async fn use_port(shared: Arc<Shared>, path: PathBuf, baud: u32, keys: Arc<LineKeys>) {
    let mut pause = RETRY_AFTER;
    loop {
        let error = match Port::open(&path, baud) {
            Ok(port) => {
                tracing::info!(port = %path.display(), baud, "listening on a serial line");
                pause = RETRY_AFTER;
                let name: Arc<str> = path.display().to_string().into();
                match Wire::made(&shared, Box::new(port), &keys, name.clone()) {
                    Ok(wire) => shared.serve(wire, name, None).await,
                    Err(error) => Some(error),
                }
            }
            Err(error) => Some(error),
        };
        let Some(error) = error else { return };
        let port = path.display();
        tracing::warn!(%port, %error, "the serial line can't be used; trying again in {pause:?}");
        tokio::select! {
            biased;
            () = shared.stopped() => return,
            () = tokio::time::sleep(pause) => pause = (2 * pause).min(RETRY_AFTER_MAX),
        }
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, keys: Arc<LineKeys>) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.stopped() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "serial lines over TCP cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // What the system refuses costs time, and no bytes.
        let _ = stream.set_nodelay(true);
        let name: Arc<str> = format!("serial {remote}").into();
        let wire = Wire::made(&shared, Box::new(stream), &keys, name.clone());
        match (shared.admission.knock(remote.ip()), wire) {
            (Ok(knock), Ok(wire)) => {
                shared.spawn(enter(shared.clone(), wire, name, knock));
            }
            (Err(offence), _) => shared.offences.count(offence, remote, "refused"),
            (_, Err(error)) => tracing::error!(%error, "a serial line can't be used"),
        }
    }
}

/// Whoever connects must show a key in time, or makes room for others.
async fn enter(shared: Arc<Shared>, mut wire: Wire, name: Arc<str>, knock: Knock) {
    let opened = tokio::select! {
        biased;
        () = shared.stopped() => return,
        opened = tokio::time::timeout(shared.settings.handshake_timeout, wire.opened()) => opened,
    };
    match opened {
        Ok(Ok(())) => drop(shared.serve(wire, name, Some(knock.entered())).await),
        Ok(Err(error)) => tracing::debug!(remote = %name, %error, "a line ended at once"),
        Err(_) => {
            let why = "nobody showed a key in time";
            shared.offences.count(Offence::HandshakeTimeout, name, why);
        }
    }
}

impl Wire {
    fn made(
        shared: &Shared,
        stream: Box<dyn ByteStream>,
        keys: &Arc<LineKeys>,
        name: Arc<str>,
    ) -> io::Result<Self> {
        let mut seed = [0; 16];
        entropy::fill(&mut seed).map_err(io::Error::other)?;
        Ok(Self::new(stream, (keys.clone(), seed), name, shared.offences.clone()))
    }
}

impl Shared {
    /// Carries one session after the other, until the line is gone: why, or none if the transport
    /// is.
    async fn serve(
        &self,
        mut wire: Wire,
        name: Arc<str>,
        _place: Option<OwnedSemaphorePermit>,
    ) -> Option<io::Error> {
        loop {
            if wire.site().is_none() {
                tokio::select! {
                    biased;
                    () = self.stopped() => return None,
                    opened = wire.opened() => match opened {
                        Ok(()) => {}
                        Err(error) => return Some(error),
                    },
                }
            }
            let peer = wire.peer()?;
            let remote = Remote::Line(name.clone());
            let met = Met { peer, remote, carrier: Carrier::Serial, attempt: None };
            let (link, mut orders) = self.open(met).await;
            let end = tokio::select! {
                biased;
                order = orders.next() => End::Over(CloseReason::Local(order)),
                end = wire.carry(&link) => end,
            };
            match end {
                End::Anew => link.closed(CloseReason::Reset).await,
                End::Over(reason) => {
                    wire.hang_up();
                    link.closed(reason).await;
                }
                End::Gone(error) => {
                    link.closed(CloseReason::Reset).await;
                    return Some(error);
                }
            }
        }
    }
}
