//! Why offsets of a stream are missing. Gaps are final and loud.

use crate::codec::Malformed;

/// Why offsets are missing.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum GapReason {
    /// The medium lost or changed bytes that it had synced.
    Damage,
    /// A full lane dropped its oldest records, as it was configured to.
    Dropped,
    /// A node promised to have them, was restored from a backup, and nobody kept them.
    AcknowledgedThenLost,
    /// The node began to receive the stream behind them.
    NeverReceived,
    /// An operator gave them up.
    Operator,
    /// They were durable at a hop only, and that hop is gone.
    HopLost,
}

const CODES: [(u8, GapReason); 6] = [
    (1, GapReason::Damage),
    (2, GapReason::Dropped),
    (3, GapReason::AcknowledgedThenLost),
    (4, GapReason::NeverReceived),
    (5, GapReason::Operator),
    (6, GapReason::HopLost),
];

impl GapReason {
    /// The number that stands for it in a format.
    pub fn code(self) -> u8 {
        CODES.iter().find(|(_, reason)| *reason == self).map_or(0, |(code, _)| *code)
    }

    /// The reason that a number stands for.
    ///
    /// # Errors
    /// [`Malformed::Unknown`] if it stands for none.
    pub fn from_code(code: u8) -> Result<Self, Malformed> {
        let known = CODES.iter().find(|(known, _)| *known == code);
        known.map(|(_, reason)| *reason).ok_or(Malformed::Unknown)
    }
}

impl core::fmt::Display for GapReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
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
