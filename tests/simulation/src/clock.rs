//! Time as it really passes: how long a run took, and seeds nobody chose. A simulation asks for
//! neither.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// When something began.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins now.
    #[expect(clippy::disallowed_methods, reason = "runs are measured in real time")]
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since then.
    #[must_use]
    pub fn elapsed(self) -> std::time::Duration {
        self.0.elapsed()
    }
}

/// A seed that no run before had: the milliseconds of the calendar.
#[expect(clippy::disallowed_methods, reason = "a fresh seed comes from outside the simulation")]
#[must_use]
pub fn fresh_seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
