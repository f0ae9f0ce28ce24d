//! What the transport tells the node.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use crate::identity::PublicKey;
use crate::identity::tls::HubKeys;

use super::link::Connection;

/// Something happened. For each connection: `Opened`, then any number of `Received` and `Sent`,
/// then `Closed`.
#[derive(Debug)]
pub enum TransportEvent {
    /// A handshake succeeded. Who the peer is, its key says; whether it may stay, the registry.
    Opened(Opened),
    /// Bytes arrived, in order within their channel.
    Received {
        /// On which connection.
        connection: ConnectionId,
        /// On which of its channels.
        channel: Channel,
        /// What arrived; dropping it makes room for more.
        bytes: ReceivedBytes,
    },
    /// Queued bytes were handed on to QUIC or to the kernel. This proves nothing about the peer.
    Sent {
        /// On which connection.
        connection: ConnectionId,
        /// On which of its channels.
        channel: Channel,
        /// How many bytes.
        bytes: usize,
    },
    /// The connection is gone; its id is never used again.
    Closed {
        /// Which connection.
        connection: ConnectionId,
        /// Why it ended.
        reason: CloseReason,
    },
    /// No address could be reached. There is no retry here: when to try again is the node's
    /// decision.
    DialFailed {
        /// Which attempt.
        attempt: AttemptId,
        /// The most telling of the failures.
        failure: DialFailure,
    },
}

/// A new connection.
#[derive(Debug)]
pub struct Opened {
    /// The handle. When its last clone is dropped, the connection is closed.
    pub connection: Connection,
    /// The key that the peer proved to hold.
    pub peer: PublicKey,
    /// The attempt that led to it, if this node dialed.
    pub attempt: Option<AttemptId>,
    /// Where the peer is, for logs only.
    pub remote: Remote,
    /// What carries it.
    pub carrier: Carrier,
}

/// Where a peer is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Remote {
    /// On the network.
    Address(SocketAddr),
    /// At the other end of a serial line of this name.
    Line(Arc<str>),
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Line(name) => f.write_str(name),
        }
    }
}

/// A connection's number, unique within a transport.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConnectionId(pub(super) u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a call of [`super::Transport::dial`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AttemptId(pub(super) u64);

/// What carries a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Carrier {
    /// QUIC on UDP.
    Quic,
    /// TLS on TCP.
    Tcp,
    /// A serial line.
    Serial,
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quic => "quic",
            Self::Tcp => "tcp",
            Self::Serial => "serial",
        })
    }
}

/// One of a connection's ordered byte channels.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Channel(u8);

impl Channel {
    /// Channels of a connection.
    pub const COUNT: usize = 8;
    /// The channel of the session itself.
    pub const CONTROL: Self = Self(0);

    /// The channel with this number, if there is one: 0 is control, 1 + n is lane n.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if (number as usize) < Self::COUNT { Some(Self(number)) } else { None }
    }

    /// The channel's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }

    pub(super) fn all() -> impl Iterator<Item = Self> + Clone {
        (0..Self::COUNT as u8).map(Self)
    }
}

/// Received bytes. They count against their channel's budget until this is dropped: a clone of the
/// bytes escapes it.
#[derive(Debug)]
pub struct ReceivedBytes {
    bytes: Bytes,
    _budget: OwnedSemaphorePermit,
}

impl ReceivedBytes {
    pub(super) fn new(bytes: Bytes, budget: OwnedSemaphorePermit) -> Self {
        Self { bytes, _budget: budget }
    }
}

impl Deref for ReceivedBytes {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

/// Why a node closes a connection, as a number that the peer's program understands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CloseCode(pub u32);

impl CloseCode {
    /// Nothing is wrong.
    pub const DONE: Self = Self(0);
    /// The node is shutting down.
    pub const SHUTDOWN: Self = Self(1);
    /// The peer broke the rules of the transport.
    pub const MISBEHAVED: Self = Self(2);
    /// The peer's key is not registered.
    pub const UNKNOWN_KEY: Self = Self(3);
    /// The peer's site was revoked.
    pub const REVOKED: Self = Self(4);
}

/// The most bytes of text that a closing carries.
pub(super) const CLOSE_TEXT_MAX: usize = 256;

/// A code and a text for the peer's log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CloseOrder {
    /// For the peer's program.
    pub code: CloseCode,
    /// For the peer's operator: one line, at most 256 bytes.
    pub text: String,
}

impl CloseOrder {
    /// Makes an order; a text that is too long is cut, control characters are left out.
    #[must_use]
    pub fn new(code: CloseCode, text: &str) -> Self {
        Self { code, text: clean(text) }
    }

    /// Reads what a peer sent: nothing in it is trusted, and it may go into logs.
    pub(super) fn received(code: u32, text: &[u8]) -> Self {
        let text = &text[..text.len().min(CLOSE_TEXT_MAX)];
        Self::new(CloseCode(code), &String::from_utf8_lossy(text))
    }
}

/// Makes a text that a peer may have chosen fit for a log: no control characters, at most 256
/// bytes.
pub(super) fn clean(text: &str) -> String {
    let mut cleaned = String::new();
    for character in text.chars().filter(|c| !c.is_control()) {
        if cleaned.len() + character.len_utf8() > CLOSE_TEXT_MAX {
            break;
        }
        cleaned.push(character);
    }
    cleaned
}

/// Why a connection ended.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CloseReason {
    /// This node closed it.
    #[error("closed here: {}", .0.text)]
    Local(CloseOrder),
    /// The peer closed it.
    #[error("closed by the peer: {} (code {})", .0.text, .0.code.0)]
    Peer(CloseOrder),
    /// Nothing was heard for the idle timeout.
    #[error("nothing was heard from the peer for too long")]
    TimedOut,
    /// It ended without a word: the peer's process died, or something between cut it.
    #[error("cut off without a word")]
    Reset,
    /// The peer refused the handshake at its very end, or TLS failed later.
    #[error("TLS: {0}")]
    Tls(String),
    /// The peer broke the rules of the transport; it was told so.
    #[error("the peer misbehaved: {0}")]
    Misbehaved(&'static str),
    /// The operating system or the QUIC stack failed.
    #[error("{0}")]
    Failed(String),
}

/// Why a hub was not reached.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DialFailure {
    /// No address was given.
    #[error("no address to dial: set `upstream.addresses` to the hub's host:port")]
    NoAddress,
    /// A name could not be resolved.
    #[error("{address}: cannot be resolved ({why}); check the name, the port and the resolver")]
    Unresolved {
        /// As it was given.
        address: String,
        /// What the resolver said.
        why: String,
    },
    /// Nothing answered over UDP or TCP.
    #[error(
        "{address}: no answer; check the network, and that port {} is open for UDP or TCP",
        address.port()
    )]
    TimedOut {
        /// Where.
        address: SocketAddr,
    },
    /// There was an answer, but no connection.
    #[error("{address}: {why}; check that the hub runs there")]
    Refused {
        /// Where.
        address: SocketAddr,
        /// What the network or the peer said.
        why: String,
    },
    /// Somebody answered who is not the hub.
    #[error(
        "{address}: this is not the hub: its key is {seen}, expected {expected}; \
         if the hub was set up anew, enrol this site again with a new token"
    )]
    WrongHubKey {
        /// Where.
        address: SocketAddr,
        /// The keys that are pinned.
        expected: HubKeys,
        /// The key that was shown.
        seen: PublicKey,
    },
}

impl DialFailure {
    /// How much it tells the operator, compared with the failures of other addresses.
    pub(super) fn telling(&self) -> u8 {
        match self {
            Self::NoAddress => 0,
            Self::Unresolved { .. } => 1,
            Self::TimedOut { .. } => 2,
            Self::Refused { .. } => 3,
            Self::WrongHubKey { .. } => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_text_is_cut_and_cleaned_before_it_reaches_a_log() {
        let order = CloseOrder::received(7, b"re\x1b[31mvoked\n\xff");
        assert_eq!(order, CloseOrder { code: CloseCode(7), text: "re[31mvoked\u{fffd}".into() });
        let long = CloseOrder::received(0, "ä".repeat(1000).as_bytes());
        assert_eq!(long.text.len(), CLOSE_TEXT_MAX);
        assert!(CloseOrder::received(0, &[0xff; 1000]).text.len() <= CLOSE_TEXT_MAX);
    }

    #[test]
    fn there_are_eight_channels() {
        assert_eq!(Channel::new(0), Some(Channel::CONTROL));
        assert!(Channel::new(7).is_some());
        assert_eq!(Channel::new(8), None);
        assert_eq!(Channel::all().count(), Channel::COUNT);
    }
}
