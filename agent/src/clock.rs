//! Time, as the operating system tells it. With `entropy`, the only place that asks.
//!
//! Two clocks that must not be mixed: [`monotonic`] drives every timer, never goes back and goes on
//! while the machine sleeps, so that a gateway that wakes after an hour finds its timers due;
//! [`wall`] goes into timestamps, may jump and may be wrong by decades, and orders nothing.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Milliseconds on a clock that never goes back and counts suspend; its zero is arbitrary.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Monotonic(u64);

impl Monotonic {
    /// A reading made elsewhere, such as a simulator's.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the clock's arbitrary zero.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// Milliseconds since `earlier`, 0 if that is not earlier.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds, as the machine believes.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct WallMs(i64);

impl WallMs {
    /// A reading made elsewhere, such as a simulator's.
    #[must_use]
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the epoch; negative before 1970.
    #[must_use]
    pub const fn ms(self) -> i64 {
        self.0
    }

    /// What the reading is worth by itself.
    #[must_use]
    pub const fn quality(self) -> ClockQuality {
        if self.0 < PLAUSIBLE_MS_MIN { ClockQuality::Unknown } else { ClockQuality::Set }
    }
}

/// How far a wall clock can be believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClockQuality {
    /// The clock shows a time before this program existed: nobody has set it since power-on.
    Unknown,
    /// The clock shows a possible time; whether it is right, the machine alone cannot know.
    Set,
}

/// 2025-01-01T00:00:00Z; no node ran before.
const PLAUSIBLE_MS_MIN: i64 = 1_735_689_600_000;

/// The time for timers.
#[must_use]
pub fn monotonic() -> Monotonic {
    #[cfg(target_os = "linux")]
    let id = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let id = ClockId::Monotonic;
    Monotonic(u64::try_from(milliseconds(clock_gettime(id))).unwrap_or(0))
}

/// Time since an arbitrary zero, as fine as the system has it: for who measures short times. It
/// stands still while the machine sleeps.
#[must_use]
pub fn precise() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The time for timestamps.
#[must_use]
pub fn wall() -> WallMs {
    WallMs(milliseconds(clock_gettime(ClockId::Realtime)))
}

fn milliseconds(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_nobody_set_is_recognised() {
        assert_eq!(WallMs::from_ms(86_400_000).quality(), ClockQuality::Unknown);
        assert_eq!(WallMs::from_ms(PLAUSIBLE_MS_MIN).quality(), ClockQuality::Set);
    }

    #[test]
    fn the_monotonic_clock_does_not_go_back() {
        let first = monotonic();
        let second = monotonic();
        assert!(second >= first && first.ms() > 0);
        assert_eq!(first.ms_since(Monotonic::from_ms(first.ms() + 5)), 0);
    }
}
