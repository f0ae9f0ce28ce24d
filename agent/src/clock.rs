//! Time, as the operating system tells it. With `entropy`, the only place that asks.
//!
//! Two clocks that must not be mixed: [`monotonic`] drives every timer, never goes back and goes on
//! while the machine sleeps, so that a gateway that wakes after an hour finds its timers due;
//! [`wall`] goes into timestamps, may jump and may be wrong by decades, and orders nothing.

use std::time::Duration;

use landfall_core::batch::ClockQuality;
use landfall_protocol::clock::SET_MS_MIN;
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

    /// What the reading is worth by itself: a time before this program existed is of a clock that
    /// nobody has set since power-on. Whether a possible time is right, the machine alone cannot
    /// know.
    #[must_use]
    pub const fn quality(self) -> ClockQuality {
        if self.0 < SET_MS_MIN { ClockQuality::Unset } else { ClockQuality::Local }
    }
}

/// The quality of the clock that gave the times of several records: `one` and `other` are those of
/// a part each. Where some were set and some not, each reading tells which it was. Times that did
/// not come from this clock are unknown, and so is what they are mixed with.
#[must_use]
pub fn quality_of_both(one: ClockQuality, other: ClockQuality) -> ClockQuality {
    match (one, other) {
        _ if one == other => one,
        (ClockQuality::Unset, ClockQuality::Local) | (ClockQuality::Local, ClockQuality::Unset) => {
            ClockQuality::Unset
        }
        _ => ClockQuality::Unknown,
    }
}

/// The quality of the times of records, given this machine's quality, and for each record whether
/// its time was given with it.
pub fn quality_of(own: ClockQuality, given: impl IntoIterator<Item = bool>) -> ClockQuality {
    let each = given.into_iter().map(|given| if given { ClockQuality::Unknown } else { own });
    each.reduce(quality_of_both).unwrap_or(own)
}

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
        assert_eq!(WallMs::from_ms(86_400_000).quality(), ClockQuality::Unset);
        assert_eq!(WallMs::from_ms(SET_MS_MIN - 1).quality(), ClockQuality::Unset);
        assert_eq!(WallMs::from_ms(SET_MS_MIN).quality(), ClockQuality::Local);
    }

    #[test]
    fn times_that_were_given_say_nothing_of_this_clock() {
        let (unset, local, unknown) =
            (ClockQuality::Unset, ClockQuality::Local, ClockQuality::Unknown);
        for own in [unset, local] {
            assert_eq!(quality_of(own, [false, false]), own);
            assert_eq!(quality_of(own, [true, true]), unknown);
            assert_eq!(quality_of(own, [false, true, false]), unknown);
        }
        assert_eq!(quality_of_both(local, unset), unset, "the clock was set in between");
        assert_eq!(quality_of_both(unset, unknown), unknown);
    }

    #[test]
    fn the_monotonic_clock_does_not_go_back() {
        let first = monotonic();
        let second = monotonic();
        assert!(second >= first && first.ms() > 0);
        assert_eq!(first.ms_since(Monotonic::from_ms(first.ms() + 5)), 0);
    }
}
