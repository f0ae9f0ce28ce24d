//! Why records are missing.

use core::fmt;

/// Why the offsets that a gap names are missing. Gaps are final and loud.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum GapReason {
    /// The medium no longer gives back what was stored on it.
    Damage,
    /// Dropped to make room, as the lane's overflow policy says.
    Dropped,
    /// Promised as durable by a node that was then restored to an earlier state.
    AcknowledgedThenLost,
    /// A stream was taken up in its middle, and nobody vouched for what came before.
    NeverReceived,
    /// An operator declared it.
    Operator,
    /// Trimmed because the next hop had it, and that hop is lost.
    HopLost,
}

impl GapReason {
    const ALL: [Self; 6] = [
        Self::Damage,
        Self::Dropped,
        Self::AcknowledgedThenLost,
        Self::NeverReceived,
        Self::Operator,
        Self::HopLost,
    ];

    /// The number that stands for it in formats and messages.
    pub const fn code(self) -> u8 {
        match self {
            Self::Damage => 1,
            Self::Dropped => 2,
            Self::AcknowledgedThenLost => 3,
            Self::NeverReceived => 4,
            Self::Operator => 5,
            Self::HopLost => 6,
        }
    }

    /// The reason that a number stands for, if this version knows it.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Damage => "damage",
            Self::Dropped => "dropped",
            Self::AcknowledgedThenLost => "acknowledged_then_lost",
            Self::NeverReceived => "never_received",
            Self::Operator => "operator",
            Self::HopLost => "hop_lost",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::GapReason;

    #[test]
    fn every_reason_comes_back_from_its_code() {
        for reason in GapReason::ALL {
            assert_eq!(GapReason::from_code(reason.code()), Some(reason));
        }
        assert_eq!(GapReason::from_code(0), None);
    }
}
