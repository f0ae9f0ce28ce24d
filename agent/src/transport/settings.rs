//! What can be set about the transport: limits, windows and times.

use std::fmt;
use std::time::Duration;

use super::event::Channel;
use super::offload::Offloading;

/// What can be set. [`Settings::device`] and [`Settings::hub`] are the two sensible starting
/// points.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Handshakes of dialing peers in progress. More are refused; from half of it on, addresses are
    /// validated first.
    pub handshakes_max: usize,
    /// The same for one IPv4 address or IPv6 /64. A fleet behind one NAT shares it.
    pub handshakes_per_source_max: usize,
    /// Open connections that peers dialed. More are refused.
    pub connections_max: usize,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// How long a dial waits for QUIC before it tries TCP as well. Too low wastes bytes on slow
    /// links.
    pub tcp_after: Duration,
    /// After how long without a packet a connection counts as dead.
    pub idle_timeout: Duration,
    /// How often the dialer sends a packet in silence: half the idle timeout at most, or a lost
    /// packet ends the connection. Each costs about 120 bytes, with its answer and all headers.
    pub keep_alive: Duration,
    /// Bytes that may be on the way on one channel to this node (QUIC). Lower than bandwidth ×
    /// round trip caps the rate. With the peer's `send_window` it decides how many channels may
    /// have a backlog before one of them keeps what is urgent out of that window.
    pub stream_window: u32,
    /// Bytes that QUIC holds until they are acknowledged, all channels together, at most. The same
    /// warning applies. On fast links with a short round trip it holds less.
    pub send_window: u32,
    /// Bytes of one channel that the node has received and not yet dropped. On TCP a channel over
    /// its budget holds up the others, so a session grants a lane less credit than this.
    pub receive_budget: u32,
    /// Bytes of one channel that may be queued for sending.
    pub queue_max: usize,
    /// Priority of each channel, highest first served; as many channels as there are entries are
    /// opened by a dialer.
    pub priorities: Vec<i32>,
    /// When the kernel is handed many packets at once. Fast, but some network drivers claim it and
    /// fail.
    pub segmentation_offload: Offloading,
    /// Look for the longest datagrams that the way takes: some 6 KB for each connection, which
    /// short visits over a metered link do not earn back.
    pub datagram_search: bool,
    /// Round-trip time assumed before the first measurement; `None` is 333 ms.
    pub initial_rtt: Option<Duration>,
    /// Congestion window at the start, in bytes; `None` is ten packets.
    pub initial_window: Option<u64>,
    /// Kernel buffers of a UDP socket, in bytes each way, as far as the system allows.
    pub udp_buffer: usize,
}

/// QUIC holds as many bytes on the shortest round trip: two bodies and more, which keeps it busy.
const SEND_WINDOW_MIN: u32 = 160 << 10;

impl Settings {
    /// For a device: little memory, unknown network hardware, one hub, perhaps a few devices behind
    /// it.
    #[must_use]
    pub fn device() -> Self {
        Self {
            handshakes_max: 16,
            handshakes_per_source_max: 8,
            connections_max: 64,
            handshake_timeout: Duration::from_secs(10),
            tcp_after: Duration::from_secs(3),
            idle_timeout: Duration::from_secs(90),
            keep_alive: Duration::from_secs(30),
            stream_window: 1 << 20,
            send_window: 4 << 20,
            receive_budget: 256 << 10,
            queue_max: 1 << 20,
            priorities: Self::control_then(&[0, 10]),
            segmentation_offload: Offloading::OnFastLinks,
            datagram_search: true,
            initial_rtt: None,
            initial_window: None,
            udp_buffer: 512 << 10,
        }
    }

    /// For a hub: many peers, server hardware.
    #[must_use]
    pub fn hub() -> Self {
        Self {
            handshakes_max: 1024,
            handshakes_per_source_max: 512,
            connections_max: 20_000,
            stream_window: 3 << 19,
            send_window: 4 << 20,
            receive_budget: 1 << 20,
            queue_max: 4 << 20,
            segmentation_offload: Offloading::Always,
            udp_buffer: 4 << 20,
            ..Self::device()
        }
    }

    /// Priorities with the control channel above all of the given lanes.
    ///
    /// # Panics
    /// With more lanes than there are channels for.
    #[must_use]
    pub fn control_then(lanes: &[i32]) -> Vec<i32> {
        assert!(lanes.len() < Channel::COUNT, "a connection has seven channels for lanes");
        std::iter::once(i32::MAX).chain(lanes.iter().copied()).collect()
    }

    /// What no configuration may break: without it nothing would ever be received, sent, or kept
    /// alive.
    pub(super) fn check(&self) {
        assert!(self.receive_budget > 0, "a channel without a budget receives nothing");
        assert!(self.queue_max > 0, "a channel without a queue sends nothing");
        assert!(self.keep_alive < self.idle_timeout, "a silent connection would not live");
        assert!(
            (1..=Channel::COUNT).contains(&self.priorities.len()),
            "a connection has one to eight channels"
        );
    }

    pub(super) fn priority(&self, channel: Channel) -> i32 {
        self.priorities.get(channel.index()).copied().unwrap_or(i32::MIN)
    }

    /// Bytes that QUIC holds on a fast link: what one of 120 MB/s has under way in a round trip, so
    /// that a short one does not cost the memory that a long one needs.
    pub(super) fn send_window_at(&self, round_trip: Duration) -> u32 {
        let under_way = round_trip.as_micros().saturating_mul(120);
        let under_way = u32::try_from(under_way).unwrap_or(u32::MAX);
        under_way.max(SEND_WINDOW_MIN).min(self.send_window)
    }

    /// One channel that is not read must not use up what the others may receive.
    pub(super) fn connection_window(&self) -> u64 {
        u64::from(self.stream_window) * Channel::COUNT as u64
    }
}

/// 32 random bytes, kept over restarts: a restarted node tells its peers at once that their
/// connections are gone, by packets that only the holder of this key can make.
#[derive(Clone)]
pub struct ResetKey(pub [u8; 32]);

impl fmt::Debug for ResetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResetKey(hidden)")
    }
}
