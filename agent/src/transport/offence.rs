//! What is refused before a session begins, counted by name.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a peer did, or was refused, before or below its session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Offence {
    /// A handshake was not finished in time.
    HandshakeTimeout,
    /// A handshake failed: no key, other versions, or not TLS at all.
    HandshakeFailed,
    /// Too many handshakes were in progress, in all or of one source.
    HandshakesFull,
    /// There were too many connections.
    ConnectionsFull,
    /// A peer broke the rules of the byte channels.
    Misbehaved,
    /// Somebody called over a serial line without the key of the site that it named.
    LineKey,
    /// What came over a serial line was no frame.
    LineNoise,
}

impl Offence {
    const ALL: [Self; 7] = [
        Self::HandshakeTimeout,
        Self::HandshakeFailed,
        Self::HandshakesFull,
        Self::ConnectionsFull,
        Self::Misbehaved,
        Self::LineKey,
        Self::LineNoise,
    ];

    /// Its name, for logs, counters and programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HandshakeTimeout => "handshake_timeout",
            Self::HandshakeFailed => "handshake_failed",
            Self::HandshakesFull => "handshakes_full",
            Self::ConnectionsFull => "connections_full",
            Self::Misbehaved => "misbehaved",
            Self::LineKey => "line_key",
            Self::LineNoise => "line_noise",
        }
    }
}

/// How often each was met.
#[derive(Debug, Default)]
pub(super) struct Offences {
    counts: [AtomicU64; Offence::ALL.len()],
}

impl Offences {
    /// Counts one. The log tells of the first, second, fourth, eighth and so on, so that nobody can
    /// fill it.
    pub(super) fn count(&self, offence: Offence, remote: impl Display, why: impl Display) {
        let Some(count) = self.counts.get(offence as usize) else { return };
        let times = count.fetch_add(1, Ordering::Relaxed) + 1;
        if times.is_power_of_two() {
            tracing::warn!(offence = offence.name(), %remote, times, "{why}");
        }
    }

    /// Those that were met.
    pub(super) fn met(&self) -> impl Iterator<Item = (Offence, u64)> {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        Offence::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0)
    }
}
