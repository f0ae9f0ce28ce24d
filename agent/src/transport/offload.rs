//! Segmentation offload: many packets are handed to the kernel at once, where that pays and does no
//! harm.
//!
//! Some network drivers claim to cut what they are given into packets, and refuse it when they get
//! it. Then QUIC does without, but what was handed over is lost. So a device begins without, and
//! cuts packets itself until a connection shows that packets are what holds it up.

use std::fmt::Debug;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, ConnectionStats, UdpPoller};

/// Bytes a second that the congestion control must allow: 160 Mbit/s.
const FAST_BYTES_PER_S: u64 = 20_000_000;
/// Bytes that a connection must have sent before its congestion control is believed.
const SENT_BYTES_MIN: u64 = 1 << 20;

/// When packets are handed over together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Offloading {
    /// From the first packet.
    Always,
    /// Once a connection has sent a megabyte and may send 20 MB/s.
    OnFastLinks,
}

/// Whether packets are handed over together, for all sockets of a transport.
#[derive(Debug)]
pub(super) struct Offload(AtomicBool);

impl Offload {
    pub(super) fn new(offloading: Offloading) -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(offloading == Offloading::Always)))
    }

    fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// A connection goes on sending, and `stats` say how it has fared: its round trip, if it is
    /// fast.
    pub(super) fn fast_round_trip(&self, stats: &ConnectionStats) -> Option<Duration> {
        let ConnectionStats { udp_tx, path, .. } = stats;
        let fast = udp_tx.bytes >= SENT_BYTES_MIN && is_fast(path.cwnd, path.rtt);
        if fast && !self.0.swap(true, Ordering::Relaxed) {
            tracing::debug!("the link is fast: packets are handed over together");
        }
        fast.then_some(path.rtt)
    }

    /// A socket that takes many packets at once only while that is on.
    pub(super) fn over(self: &Arc<Self>, socket: Arc<dyn AsyncUdpSocket>) -> Arc<Gated> {
        Arc::new(Gated { socket, offload: self.clone() })
    }
}

/// Whether a window of so many bytes in each round trip is as much as a fast link has.
fn is_fast(window: u64, round_trip: Duration) -> bool {
    let needs = u128::from(FAST_BYTES_PER_S) * round_trip.as_nanos() / 1_000_000_000;
    u128::from(window) >= needs
}

#[derive(Debug)]
pub(super) struct Gated {
    socket: Arc<dyn AsyncUdpSocket>,
    offload: Arc<Offload>,
}

impl AsyncUdpSocket for Gated {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.socket.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_recv(context, buffers, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        if self.offload.is_on() { self.socket.max_transmit_segments() } else { 1 }
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(sent: u64, cwnd: u64, rtt_us: u64) -> ConnectionStats {
        let mut stats = ConnectionStats::default();
        stats.udp_tx.bytes = sent;
        (stats.path.cwnd, stats.path.rtt) = (cwnd, Duration::from_micros(rtt_us));
        stats
    }

    #[test]
    fn packets_go_together_once_a_connection_is_fast() {
        let offload = Offload::new(Offloading::OnFastLinks);
        let slow = [
            ("has hardly sent", stats(SENT_BYTES_MIN - 1, 1 << 20, 100)),
            ("is far away", stats(1 << 30, 1 << 20, 600_000)),
            ("lost packets", stats(1 << 30, 3_000, 1_000)),
        ];
        for (why, stats) in slow {
            assert_eq!(offload.fast_round_trip(&stats), None, "one that {why}");
            assert!(!offload.is_on(), "one that {why}");
        }
        let near = stats(SENT_BYTES_MIN, 100_000, 200);
        assert_eq!(offload.fast_round_trip(&near), Some(Duration::from_micros(200)));
        assert!(offload.is_on());
        assert!(Offload::new(Offloading::Always).is_on());
    }
}
