//! Where the power is cut: a medium, how full it is, and how much then happens on it.

use std::fmt;

use landfall_core::journal::Config;
use landfall_core::media::Media;
use landfall_core::tables::{Heap, Parts};

use crate::journal::{SITE, Tiny, config};
use crate::media::disk::SimDisk;
use crate::media::nor::SimNor;
use crate::rng::Rng;
use crate::trial::{LANES, Trial};

/// Operations of the longest trace.
pub const OPERATIONS_MAX: u64 = 30;

/// How large a journal is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Size {
    /// 128 KiB of disk, 32 KiB of flash. Half of them begin empty.
    Small,
    /// 1 MiB of disk, 128 KiB of flash.
    Medium,
    /// 4 MiB of disk, 1 MiB of flash.
    Large,
}

/// A medium.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A disk that caches what is not synced.
    Disk,
    /// NOR flash.
    Flash,
}

/// A journal and a trace, drawn from a seed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Scene {
    /// The seed.
    pub seed: u64,
    /// How large the journal is.
    pub size: Size,
    /// What it lies on.
    pub kind: Kind,
    /// Bytes that are programmed together or not.
    pub unit_bytes: u32,
    /// How many bytes are written before the trace begins.
    pub filled: u64,
    /// Operations of the trace.
    pub operations: u32,
}

impl Scene {
    /// The scene of a seed. Of 40 seeds that follow each other, 33 have a small journal, six a
    /// medium and one a large one; of three, two have a disk and one flash.
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let size = match seed % 40 {
            7 => Size::Large,
            2 | 9 | 15 | 22 | 29 | 35 => Size::Medium,
            _ => Size::Small,
        };
        let kind = if seed % 3 == 2 { Kind::Flash } else { Kind::Disk };
        // Smaller units of flash would make most of the cuts, and be the same again and again.
        let units: &[u32] = match (kind, size) {
            (Kind::Disk, _) => &[512, 1024, 4096],
            (Kind::Flash, Size::Small) => &[64, 128, 256],
            (Kind::Flash, Size::Medium) => &[128, 256],
            (Kind::Flash, Size::Large) => &[256],
        };
        let empty = size == Size::Small && rng.chance(1, 2);
        let mut scene = Self {
            seed,
            size,
            kind,
            unit_bytes: *rng.pick(units),
            filled: 0,
            operations: 1 + rng.below(OPERATIONS_MAX) as u32,
        };
        let (slots, slot_bytes) = scene.slots();
        let capacity = u64::from(slots) * u64::from(slot_bytes);
        scene.filled = if empty { 0 } else { capacity * (30 + rng.below(60)) / 100 };
        scene
    }

    /// A trial on a disk, filled.
    pub fn on_disk(&self) -> Trial<SimDisk, Heap> {
        let (slots, slot_bytes) = self.slots();
        let disk = SimDisk::new(slots, slot_bytes, self.unit_bytes, self.seed);
        if self.seed.is_multiple_of(2) {
            disk.fill_fresh_slots_with_garbage();
        }
        let config = config(disk.geometry(), LANES, slot_bytes / 8);
        self.filled(Trial::new(disk, config, heap, self.seed))
    }

    /// A trial on flash, filled, with tables on the heap.
    pub fn on_flash(&self) -> Trial<SimNor, Heap> {
        let (chip, config) = self.chip();
        self.filled(Trial::new(chip, config, heap, self.seed))
    }

    /// A trial on flash, filled, without allocation.
    pub fn on_flash_without_allocation(&self) -> Trial<SimNor, Tiny> {
        let (chip, config) = self.chip();
        self.filled(Trial::new(chip, config, |_, _| Parts::<Tiny>::new(SITE), self.seed))
    }

    fn chip(&self) -> (SimNor, Config) {
        let (slots, slot_bytes) = self.slots();
        let chip = SimNor::new(slots, slot_bytes, self.unit_bytes, self.seed);
        let config = config(chip.geometry(), LANES, slot_bytes / 4);
        (chip, config)
    }

    fn filled<R, T>(&self, mut trial: Trial<R, T>) -> Trial<R, T>
    where
        R: crate::media::rig::Rig,
        T: landfall_core::tables::Tables,
    {
        if self.filled > 0 {
            trial.fill(self.filled);
        }
        trial
    }

    fn slots(&self) -> (u32, u32) {
        match (self.kind, self.size) {
            (Kind::Disk, Size::Small) => (8, 16 * 1024),
            (Kind::Disk, Size::Medium) => (16, 64 * 1024),
            (Kind::Disk, Size::Large) => (16, 256 * 1024),
            (Kind::Flash, Size::Small) => (8, 4096),
            (Kind::Flash, Size::Medium) => (32, 4096),
            (Kind::Flash, Size::Large) => (256, 4096),
        }
    }
}

fn heap(config: &Config, slots: u32) -> Parts<Heap> {
    Parts::<Heap>::new(slots, 64, config.commit_max as usize)
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} {:?}, units of {} bytes, filled with {} bytes, {} operations",
            self.size, self.kind, self.unit_bytes, self.filled, self.operations
        )
    }
}
