//! The power is cut in every unit of fixed traces, and again in every unit of the recovery.

use landfall_core::media::Media;
use landfall_core::tables::{Heap, Parts};
use landfall_tests::journal::{SITE, Tiny, config};
use landfall_tests::media::damage::{DamageModel, EraseDamage, TornUnit};
use landfall_tests::media::disk::SimDisk;
use landfall_tests::media::nor::SimNor;
use landfall_tests::media::rig::Rig;
use landfall_tests::trial::{LANES, Trial};

const OPERATIONS: u32 = 30;

#[test]
fn every_unit_on_a_disk() {
    for damage in DamageModel::ALL {
        for seed in 0..3 {
            every_cut(|| {
                let disk = SimDisk::new(8, 16 * 1024, 1024, seed);
                disk.set_damage(damage);
                let config = config(disk.geometry(), LANES, 2 * 1024);
                let parts: fn(&_, u32) -> Parts<Heap> =
                    |_, slots| Parts::<Heap>::new(slots, 8, 8192);
                (disk.clone(), Trial::new(disk, config, parts, seed))
            });
        }
    }
}

#[test]
fn every_unit_on_flash() {
    for torn in [TornUnit::Bits, TornUnit::Blank, TornUnit::Whole] {
        every_cut(|| flash(torn, EraseDamage::Random));
    }
}

#[test]
fn every_erase_on_flash() {
    for damage in EraseDamage::ALL {
        let (chip, mut trial) = flash(TornUnit::Blank, damage);
        trial.calm(OPERATIONS);
        for erase in 1..=chip.counters().erases {
            let (chip, mut trial) = flash(TornUnit::Blank, damage);
            chip.arm_cut_at_erase(erase);
            trial.calm(OPERATIONS);
            trial.recover(None);
            trial.calm(OPERATIONS);
        }
    }
}

fn flash(torn: TornUnit, damage: EraseDamage) -> (SimNor, Trial<SimNor, Tiny>) {
    let chip = SimNor::new(8, 4096, 64, 1);
    chip.set_torn(torn);
    chip.set_erase_damage(damage);
    let config = config(chip.geometry(), LANES, 1024);
    (chip.clone(), Trial::new(chip, config, |_, _| Parts::<Tiny>::new(SITE), 1))
}

/// Runs a trace once to learn how many units it programs, then cuts the power in each of them, and
/// in each unit that is programmed to recover from that.
fn every_cut<R: Rig, T: landfall_core::tables::Tables>(world: impl Fn() -> (R, Trial<R, T>)) {
    let (rig, mut trial) = world();
    trial.calm(OPERATIONS);
    for unit in 1..=rig.units() {
        let cut = |again| {
            let (rig, mut trial) = world();
            rig.cut_at_unit(unit);
            trial.calm(OPERATIONS);
            let units = trial.recover(again);
            trial.calm(3);
            units
        };
        for again in 1..=cut(None) {
            cut(Some(again));
        }
    }
}
