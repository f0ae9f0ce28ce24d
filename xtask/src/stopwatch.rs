//! How long a task took: the only place of this crate that asks for the time.

use std::time::{Duration, Instant};

/// Runs from its start to whenever it is read.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "tasks run in real time, never in the simulator")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// The time so far for people, such as `12.3 s`.
    pub(crate) fn text(&self) -> String {
        format!("{:.1} s", self.elapsed().as_secs_f64())
    }
}
