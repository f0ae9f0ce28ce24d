//! When to dial again: later and later, at a random moment, unless there is news.

use crate::time::{Duration, Instant};

/// The times of a back-off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BackoffConfig {
    /// The longest wait after the first failure, and the shortest distance between two attempts
    /// that are hurried; 1 s.
    pub first: Duration,
    /// No wait is longer; 60 s.
    pub most: Duration,
    /// A session that lasted this long counts as a success; 10 s.
    pub lived: Duration,
}

/// Spreads the attempts to reach a node. The wait is drawn evenly from zero to a limit that doubles
/// with each failure, so that a fleet that lost its hub does not come back in step.
#[derive(Clone, Debug)]
pub struct Backoff {
    config: BackoffConfig,
    limit: Duration,
    opened: Option<Instant>,
    failed: Option<Instant>,
    due: Instant,
    told: Instant,
}

impl BackoffConfig {
    /// From 1 s to 60 s.
    pub const STANDARD: Self = Self {
        first: Duration::from_secs(1),
        most: Duration::from_secs(60),
        lived: Duration::from_secs(10),
    };
}

impl Backoff {
    /// The first attempt is due at once.
    pub fn new(config: BackoffConfig, now: Instant) -> Self {
        Self { config, limit: config.first, opened: None, failed: None, due: now, told: now }
    }

    /// When to dial.
    pub fn due(&self) -> Instant {
        self.due.max(self.told)
    }

    /// A session was opened.
    pub fn handle_opened(&mut self, now: Instant) {
        self.opened = Some(now);
    }

    /// An attempt failed, or the session ended. `random` is any number; `retry_after` is what the
    /// other end asked for, and is kept even if somebody hurries.
    pub fn handle_failed(&mut self, random: u64, retry_after: Duration, now: Instant) {
        let lived = |opened: Instant| now.since(opened) >= self.config.lived;
        if self.opened.take().is_some_and(lived) {
            self.limit = self.config.first;
        }
        let wait = Duration::from_millis(random % (self.limit.millis().saturating_add(1)));
        self.limit = self.limit.doubled_to(self.config.most);
        self.failed = Some(now);
        self.due = now.plus(wait);
        self.told = now.plus(retry_after);
    }

    /// There is news: a route changed, or something urgent was appended. The wait is cut short, but
    /// attempts stay apart by the first limit.
    pub fn hurry(&mut self, now: Instant) {
        let apart = self.failed.map_or(now, |failed| failed.plus(self.config.first));
        self.due = self.due.min(now.max(apart));
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, BackoffConfig};
    use crate::time::{Duration, Instant};

    fn at(secs: u64) -> Instant {
        Instant::from_millis(secs * 1000)
    }

    /// Waits of one failure after another, if the random numbers are as large as can be.
    fn longest_waits(backoff: &mut Backoff, failures: usize) -> std::vec::Vec<u64> {
        let mut limit = 1000;
        let step = |_| {
            let now = backoff.due();
            backoff.handle_failed(limit, Duration::ZERO, now);
            limit = (limit * 2).min(60_000);
            backoff.due().since(now).millis()
        };
        (0..failures).map(step).collect()
    }

    #[test]
    fn the_limit_doubles_to_sixty_seconds_and_the_wait_is_drawn_below_it() {
        let mut backoff = Backoff::new(BackoffConfig::STANDARD, at(0));
        assert_eq!(backoff.due(), at(0));
        let waits = longest_waits(&mut backoff, 8);
        assert_eq!(waits, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        backoff.handle_failed(60_001 * 7 + 5, Duration::ZERO, at(1000));
        assert_eq!(backoff.due().since(at(1000)).millis(), 5);
    }

    #[test]
    fn a_session_that_lived_starts_the_waits_anew_and_a_short_one_does_not() {
        let mut backoff = Backoff::new(BackoffConfig::STANDARD, at(0));
        longest_waits(&mut backoff, 8);
        backoff.handle_opened(at(1000));
        backoff.handle_failed(60_000, Duration::ZERO, at(1001));
        assert_eq!(backoff.due(), at(1061));
        backoff.handle_opened(at(1061));
        backoff.handle_failed(1000, Duration::ZERO, at(1071));
        assert_eq!(backoff.due(), at(1072));
    }

    #[test]
    fn news_cut_a_wait_short_but_not_what_the_other_end_asked_for() {
        let mut backoff = Backoff::new(BackoffConfig::STANDARD, at(0));
        longest_waits(&mut backoff, 8);
        backoff.handle_failed(60_000, Duration::ZERO, at(1000));
        backoff.hurry(at(1000));
        assert_eq!(backoff.due(), at(1001), "attempts stay a second apart");
        backoff.handle_failed(60_000, Duration::from_secs(20), at(1001));
        backoff.hurry(at(1010));
        assert_eq!(backoff.due(), at(1021));
    }
}
