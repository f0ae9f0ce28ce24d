//! What a power cut does to what was not synced.

use super::counters::Counters;
use crate::rng::Rng;

/// What a power cut does to the units of a disk that were not synced. The unit in flight is torn
/// in any case: the front of it is new, the rest as the model says.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum DamageModel {
    /// All of them survive.
    KeepAll,
    /// All of them are as before; slots whose first erase was not synced are gone.
    DropAll,
    /// All of them are zeros.
    Zero,
    /// All of them hold something older than before, or what belongs elsewhere.
    Stale,
    /// Each has a fate of its own, and so have the units that the call cut short had not reached.
    #[default]
    Random,
}

/// What a cut in the program of a flash unit leaves of it. It needs an erase in any case.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TornUnit {
    /// A random part of the bits was programmed.
    Bits,
    /// It reads blank.
    Blank,
    /// It reads as if the program had ended.
    Whole,
    /// Each bit that was to fall has or has not, at each read.
    Unstable,
    /// It can't be read: its bits and the code that corrects them do not fit.
    Unreadable,
    /// Any of [`TornUnit::ALL`].
    #[default]
    Random,
}

/// What an interrupted erase of a flash slot leaves. The whole slot needs an erase in any case.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum EraseDamage {
    /// The first unit or more is as before, the rest zeros.
    ZeroedTail,
    /// Each unit is as before or blank.
    PartlyBlank,
    /// A random part of the zero bits is back to one.
    RandomBits,
    /// It reads blank, but some units read differently each time.
    Unstable,
    /// It reads blank, but some units can't be read.
    Unreadable,
    /// Any of these.
    #[default]
    Random,
}

/// What becomes of a unit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    Kept,
    Dropped,
    Zeroed,
    Stale,
}

impl DamageModel {
    /// Every model.
    pub const ALL: [Self; 5] =
        [Self::KeepAll, Self::DropAll, Self::Zero, Self::Stale, Self::Random];

    pub(super) fn fate(self, rng: &mut Rng) -> Fate {
        match self {
            Self::KeepAll => Fate::Kept,
            Self::DropAll => Fate::Dropped,
            Self::Zero => Fate::Zeroed,
            Self::Stale => Fate::Stale,
            Self::Random => *rng.pick(&[Fate::Kept, Fate::Dropped, Fate::Zeroed, Fate::Stale]),
        }
    }

    pub(super) fn drops_erase(self, rng: &mut Rng) -> bool {
        match self {
            Self::DropAll => true,
            Self::Random => rng.chance(1, 2),
            Self::KeepAll | Self::Zero | Self::Stale => false,
        }
    }
}

impl TornUnit {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Bits, Self::Blank, Self::Whole, Self::Unstable, Self::Unreadable, Self::Random];

    pub(super) fn settled(self, rng: &mut Rng) -> Self {
        match self {
            Self::Random => *rng.pick(&Self::ALL[..5]),
            one => one,
        }
    }
}

impl EraseDamage {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::ZeroedTail,
        Self::PartlyBlank,
        Self::RandomBits,
        Self::Unstable,
        Self::Unreadable,
        Self::Random,
    ];

    pub(super) fn settled(self, rng: &mut Rng) -> Self {
        match self {
            Self::Random => *rng.pick(&Self::ALL[..5]),
            one => one,
        }
    }
}

impl Fate {
    pub(super) fn count(self, counters: &mut Counters) {
        *match self {
            Self::Kept => &mut counters.kept,
            Self::Dropped => &mut counters.dropped,
            Self::Zeroed => &mut counters.zeroed,
            Self::Stale => &mut counters.stale,
        } += 1;
    }
}
