//! Journals do what the model does, through random operations, faults and power cuts.
//!
//! `LANDFALL_CASES` sets how many seeds are tried, `LANDFALL_SEED` where they begin.

use std::panic::{AssertUnwindSafe, catch_unwind};

use landfall_core::media::Media;
use landfall_core::tables::{Heap, Parts};
use landfall_simulation::journal::{SITE, Tiny, config};
use landfall_simulation::media::disk::SimDisk;
use landfall_simulation::media::nor::SimNor;
use landfall_simulation::trial::{LANES, Trial};

#[test]
fn disks() {
    each_seed(1_000, |seed| {
        let unit = if seed % 2 == 0 { 512 } else { 4096 };
        let disk = SimDisk::new(12, 32 * 1024, unit, seed);
        if seed % 3 == 0 {
            disk.fill_fresh_slots_with_garbage();
        }
        let config = config(disk.geometry(), LANES, 4 * 1024);
        let parts = |config: &_, slots| heap(config, slots);
        Trial::new(disk, config, parts, seed).run(60);
    });
}

#[test]
fn flash() {
    each_seed(1_000, |seed| {
        let chip = SimNor::new(18, 4096, [4, 8, 32, 64][seed as usize % 4], seed);
        let config = config(chip.geometry(), LANES, 1024);
        Trial::new(chip, config, heap, seed).run(60);
    });
}

#[test]
fn flash_without_allocation() {
    each_seed(1_000, |seed| {
        let chip = SimNor::new(14, 4096, [8, 32][seed as usize % 2], seed);
        let config = config(chip.geometry(), LANES, 1024);
        Trial::new(chip, config, |_, _| Parts::<Tiny>::new(SITE), seed).run(60);
    });
}

fn heap(config: &landfall_core::journal::Config, slots: u32) -> Parts<Heap> {
    Parts::<Heap>::new(slots, 64, config.commit_max as usize)
}

/// Tries seed after seed, and names the one that fails.
fn each_seed(cases: u64, trial: impl Fn(u64)) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let first = number("LANDFALL_SEED").unwrap_or(0);
    for seed in first..first + number("LANDFALL_CASES").unwrap_or(cases) {
        let outcome = catch_unwind(AssertUnwindSafe(|| trial(seed)));
        assert!(outcome.is_ok(), "LANDFALL_SEED={seed} LANDFALL_CASES=1 repeats this");
    }
}
