//! The cap on what is sent to the upstream node: a bucket of bytes that time fills.
//!
//! Urgent lanes are never held up by it. What they send is counted, so that the others wait longer.

use landfall_core::media::Media;
use landfall_core::num::Lane;
use landfall_protocol::time::{Duration, Instant};

use super::{Core, Gate};

/// Bytes that may be sent, and how fast they become more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    bytes_per_s: u64,
    /// Bytes that may be sent at once; below zero after a frame that was larger.
    left: i64,
    filled_at: Instant,
    /// Whether something waits for it.
    waits: bool,
}

impl Pace {
    pub(crate) fn new(bytes_per_s: u64, now: Instant) -> Self {
        Self { bytes_per_s: bytes_per_s.max(1), left: 0, filled_at: now, waits: false }
    }

    /// Time has passed: what was not used for a second is gone.
    pub(crate) fn fill(&mut self, now: Instant) {
        let passed = now.since(self.filled_at).millis();
        let more = i64::try_from(self.bytes_per_s.saturating_mul(passed) / 1_000);
        let more = more.unwrap_or(i64::MAX);
        if more > 0 {
            let most = i64::try_from(self.bytes_per_s).unwrap_or(i64::MAX);
            self.left = self.left.saturating_add(more).min(most);
            self.filled_at = now;
        }
    }

    /// Whether a lane may send now.
    fn is_open(&mut self) -> bool {
        self.waits = self.left <= 0;
        !self.waits
    }

    fn take(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// When something that waits may go on.
    pub(crate) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let lacks = u64::try_from(self.left.saturating_neg()).ok().filter(|_| self.waits)?;
        let wait = lacks.saturating_add(1).saturating_mul(1_000).div_ceil(self.bytes_per_s);
        Some((self.filled_at.plus(Duration::from_millis(wait)), "send at the rate that is allowed"))
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// Whether the rate cap lets a lane send to the upstream node now.
    pub(crate) fn may_send(&mut self, lane: Lane) -> bool {
        let urgent = self.lane_is_urgent(lane);
        self.pace.as_mut().is_none_or(|pace| pace.is_open() || urgent)
    }

    /// Bytes were sent to the upstream node.
    pub(crate) fn note_sent(&mut self, bytes: usize) {
        if let Some(pace) = &mut self.pace {
            pace.take(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_in_a_minute_is_a_minute_of_the_rate() {
        let start = Instant::from_millis(5_000);
        let (mut pace, mut now, mut sent) = (Pace::new(1_000, start), start, 0);
        let end = start.plus(Duration::from_secs(60));
        while now < end {
            pace.fill(now);
            while pace.is_open() {
                pace.take(700);
                sent += 700;
            }
            let (due, _) = pace.poll_timeout().unwrap();
            assert!(due > now, "it waits for something");
            now = due;
        }
        assert!((59_000..=61_000).contains(&sent), "{sent} bytes");
    }

    #[test]
    fn an_idle_minute_is_not_saved_up() {
        let mut pace = Pace::new(1_000, Instant::from_millis(0));
        pace.fill(Instant::from_millis(60_000));
        pace.take(1_001);
        assert!(!pace.is_open());
    }
}
