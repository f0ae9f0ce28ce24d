//! Points in time and spans of it, in whole milliseconds. The caller reads the clock.

use core::fmt;

/// A point on a clock that never goes back and counts while the machine is suspended, in
/// milliseconds since an arbitrary start.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Instant(u64);

/// A span of time in milliseconds.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Duration(u64);

impl Instant {
    /// A point that many milliseconds after the start of the clock.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the start of the clock.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// The point that much later; the end of time if it lies beyond.
    #[must_use]
    pub const fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// The span from `earlier` to this point; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }
}

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of that many milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// A span of that many seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Its length in milliseconds.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Twice as long, if no longer than `most`.
    #[must_use]
    pub const fn doubled_to(self, most: Self) -> Self {
        let twice = self.0.saturating_mul(2);
        if twice < most.0 { Self(twice) } else { most }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}
