//! A way from one host to another: what it does to what is sent on it.

use std::time::Duration;

use landfall_simulation::rng::Rng;

/// What one direction between two hosts is like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Way {
    /// Whether anything passes.
    pub up: bool,
    /// Whether datagrams pass.
    pub udp: bool,
    /// Whether byte streams do.
    pub tcp: bool,
    /// The longest datagram that passes, without headers. Longer ones vanish without a word.
    pub datagram_max: usize,
    /// Datagrams lost of a thousand. A stream is held up instead.
    pub loss_per_mille: u64,
    /// Datagrams of a thousand that arrive twice.
    pub duplicate_per_mille: u64,
    /// Datagrams of a thousand that arrive with one bit changed.
    pub corrupt_per_mille: u64,
    /// How long everything is under way.
    pub delay: Duration,
    /// How much longer something may be, at random.
    pub jitter: Duration,
    /// Whether what was sent later may come first.
    pub overtakes: bool,
    /// Bytes that pass in a second, with headers.
    pub rate: Option<u64>,
    /// Bytes that wait for their turn at that rate. A datagram beyond them is lost.
    pub queue: u64,
}

impl Way {
    /// Twenty milliseconds, room for everything and nothing wrong.
    pub const GOOD: Self = Self {
        up: true,
        udp: true,
        tcp: true,
        datagram_max: 1_472,
        loss_per_mille: 0,
        duplicate_per_mille: 0,
        corrupt_per_mille: 0,
        delay: Duration::from_millis(20),
        jitter: Duration::ZERO,
        overtakes: false,
        rate: None,
        queue: 256 * 1024,
    };

    /// A good way on which nothing passes.
    pub const DOWN: Self = Self { up: false, ..Self::GOOD };
}

/// What became of datagrams on a way.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Fates {
    /// Bytes that were sent, with headers, whatever became of them, also in streams.
    pub bytes: u64,
    /// Datagrams that arrive, each copy counted.
    pub arrive: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Lost because the way was down, or lets no datagrams pass.
    pub barred: u64,
    /// Lost because they were too long.
    pub too_long: u64,
    /// Lost because the queue was full.
    pub overflowed: u64,
    /// Arrive twice.
    pub doubled: u64,
    /// Arrive with one bit changed.
    pub corrupted: u64,
    /// Arrive before something that was sent earlier.
    pub overtook: u64,
}

/// A way and what is on it.
#[derive(Clone, Debug)]
pub(super) struct Traffic {
    pub(super) way: Way,
    pub(super) fates: Fates,
    /// Until when what waits will have been sent.
    busy_until: Duration,
    /// When the last of what was sent arrives.
    last_due: Duration,
}

/// IP and UDP headers, and IP and TCP headers.
pub(super) const DATAGRAM_HEADERS: u64 = 28;
pub(super) const SEGMENT_HEADERS: u64 = 40;

/// How long a stream waits before it sends again what was lost.
pub(super) const SEND_AGAIN: Duration = Duration::from_millis(200);

impl Traffic {
    pub(super) fn new(way: Way) -> Self {
        let (busy_until, last_due) = (Duration::ZERO, Duration::ZERO);
        Self { way, fates: Fates::default(), busy_until, last_due }
    }

    /// Sends a datagram: when it arrives, once for each copy. It may be changed on the way.
    pub(super) fn send(&mut self, now: Duration, bytes: &mut [u8], rng: &mut Rng) -> Vec<Duration> {
        let way = self.way;
        let length = bytes.len() as u64 + DATAGRAM_HEADERS;
        self.fates.bytes += length;
        if !way.up || !way.udp {
            self.fates.barred += 1;
            return Vec::new();
        }
        if bytes.len() > way.datagram_max {
            self.fates.too_long += 1;
            return Vec::new();
        }
        if self.backlog(now) + length > way.queue {
            self.fates.overflowed += 1;
            return Vec::new();
        }
        let sent = self.transmit(now, length);
        if rng.chance(way.loss_per_mille, 1_000) {
            self.fates.lost += 1;
            return Vec::new();
        }
        if rng.chance(way.corrupt_per_mille, 1_000) {
            self.fates.corrupted += 1;
            let bit = rng.below(bytes.len() as u64 * 8);
            bytes[bit as usize / 8] ^= 1 << (bit % 8);
        }
        let doubled = rng.chance(way.duplicate_per_mille, 1_000);
        self.fates.doubled += u64::from(doubled);
        let copies = 1 + u64::from(doubled);
        self.fates.arrive += copies;
        (0..copies).map(|_| self.due(sent, way.overtakes, rng)).collect()
    }

    /// Whether streams are not held up.
    pub(super) fn takes_streams(&self) -> bool {
        self.way.up && self.way.tcp
    }

    /// Sends a part of a stream: when it arrives. Nothing of it is lost, and nothing overtakes.
    pub(super) fn send_segment(&mut self, now: Duration, length: usize, rng: &mut Rng) -> Duration {
        let length = length as u64 + SEGMENT_HEADERS;
        let mut sent = now;
        loop {
            self.fates.bytes += length;
            sent = self.transmit(sent, length);
            if !rng.chance(self.way.loss_per_mille, 1_000) {
                return self.due(sent, false, rng);
            }
            sent += 2 * self.way.delay + SEND_AGAIN;
        }
    }

    /// Bytes that wait for their turn.
    fn backlog(&self, now: Duration) -> u64 {
        let wait = self.busy_until.saturating_sub(now);
        self.way.rate.map_or(0, |rate| (wait.as_secs_f64() * rate as f64) as u64)
    }

    /// When the last byte has left.
    fn transmit(&mut self, now: Duration, length: u64) -> Duration {
        let Some(rate) = self.way.rate else { return now };
        let takes = Duration::from_micros(length * 1_000_000 / rate);
        self.busy_until = self.busy_until.max(now) + takes;
        self.busy_until
    }

    fn due(&mut self, sent: Duration, overtakes: bool, rng: &mut Rng) -> Duration {
        let jitter = Duration::from_micros(rng.below(self.way.jitter.as_micros() as u64 + 1));
        let due = sent + self.way.delay + jitter;
        if due < self.last_due {
            if !overtakes {
                return self.last_due;
            }
            self.fates.overtook += 1;
        }
        self.last_due = self.last_due.max(due);
        due
    }
}
