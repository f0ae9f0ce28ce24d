//! What becomes of what was in the cache when the power goes.

use landfall_simulation::rng::Rng;

/// What a page holds together or not at all.
const SECTOR: usize = 512;

/// What power cuts did to pages and names.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lost {
    /// Pages that hold what was written.
    pub kept: u64,
    /// Pages that hold what they held before.
    pub dropped: u64,
    /// Pages of zeros.
    pub zeroed: u64,
    /// Pages of old and new sectors.
    pub mixed: u64,
    /// Pages that hold what belongs elsewhere in their file.
    pub misplaced: u64,
    /// Names that were made, changed or removed, and are as before.
    pub names: u64,
}

/// One kind of damage for everything, or each page its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Model {
    Keep,
    Drop,
    Zero,
    Mix,
    Misplace,
    Random,
}

const FATES: [Model; 5] = [Model::Keep, Model::Drop, Model::Zero, Model::Mix, Model::Misplace];

impl Model {
    pub(super) fn drawn(rng: &mut Rng) -> Self {
        if rng.chance(1, 2) { Self::Random } else { *rng.pick(&FATES) }
    }

    /// How many changes of names are still there, of so many in their order.
    pub(super) fn changes_kept(self, count: usize, rng: &mut Rng) -> usize {
        match self {
            Self::Keep => count,
            Self::Drop => 0,
            _ => rng.below(count as u64 + 1) as usize,
        }
    }

    /// How long a file is that was so long at its last sync.
    pub(super) fn length(self, synced: usize, now: usize, rng: &mut Rng) -> usize {
        match self {
            Self::Keep => now,
            Self::Drop => synced,
            _ => *rng.pick(&[synced, now]),
        }
    }

    /// Leaves in `old`, a page below the cache, what the cut leaves of a new one.
    pub(super) fn page(
        self,
        old: &mut [u8],
        new: &[u8],
        other: &[u8],
        rng: &mut Rng,
        lost: &mut Lost,
    ) {
        let fate = if self == Self::Random { *rng.pick(&FATES) } else { self };
        match fate {
            Self::Keep | Self::Random => {
                old.copy_from_slice(new);
                lost.kept += 1;
            }
            Self::Drop => lost.dropped += 1,
            Self::Zero => {
                old.fill(0);
                lost.zeroed += 1;
            }
            Self::Mix => {
                for (old, new) in old.chunks_mut(SECTOR).zip(new.chunks(SECTOR)) {
                    if rng.chance(1, 2) {
                        old.copy_from_slice(new);
                    }
                }
                lost.mixed += 1;
            }
            Self::Misplace => {
                let length = old.len().min(other.len());
                old[..length].copy_from_slice(&other[..length]);
                lost.misplaced += 1;
            }
        }
    }
}
