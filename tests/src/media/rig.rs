//! What a test does to a simulated medium, whichever kind it is.

use landfall_core::media::Media;

use super::damage::{DamageModel, EraseDamage, TornUnit};
use super::disk::SimDisk;
use super::nor::SimNor;
use crate::rng::Rng;

/// A simulated medium in the hands of a test. Clones are handles on the same one.
pub trait Rig: Media + Clone {
    /// Lets the power go in the n-th unit programmed from now.
    fn cut_at_unit(&self, units: u64);
    /// Cuts the power, if it is on.
    fn power_off(&self);
    /// Brings the power back. Whatever else was to go wrong no longer does.
    fn power_on(&self);
    /// Units programmed so far.
    fn units(&self) -> u64;
    /// Chooses what the next power cuts leave.
    fn choose_damage(&self, rng: &mut Rng);
    /// Lets something go wrong soon.
    fn misbehave(&self, rng: &mut Rng);
}

impl Rig for SimDisk {
    fn cut_at_unit(&self, units: u64) {
        self.arm_cut(units);
    }

    fn power_off(&self) {
        if self.is_on() {
            self.cut();
        }
    }

    fn power_on(&self) {
        self.restart();
        // What a failed sync left in the cache of a process that ended is not on the medium.
        self.evict();
        self.set_free_slots(None);
    }

    fn units(&self) -> u64 {
        self.units_programmed()
    }

    fn choose_damage(&self, rng: &mut Rng) {
        self.set_damage(*rng.pick(&DamageModel::ALL));
    }

    fn misbehave(&self, rng: &mut Rng) {
        match rng.below(5) {
            0 => self.fail_sync_once(),
            1 => self.fail_program(1 + rng.below(3)),
            2 => self.set_free_slots(Some(rng.below(2) as u32)),
            3 => self.arm_cut_at_sync(1 + rng.below(4)),
            _ => self.arm_cut_at_erase(1),
        }
    }
}

impl Rig for SimNor {
    fn cut_at_unit(&self, units: u64) {
        self.arm_cut(units);
    }

    fn power_off(&self) {
        if self.is_on() {
            self.cut();
        }
    }

    fn power_on(&self) {
        self.restart();
    }

    fn units(&self) -> u64 {
        self.units_programmed()
    }

    fn choose_damage(&self, rng: &mut Rng) {
        self.set_torn(*rng.pick(&[TornUnit::Bits, TornUnit::Blank, TornUnit::Whole]));
        self.set_erase_damage(*rng.pick(&EraseDamage::ALL));
    }

    fn misbehave(&self, _rng: &mut Rng) {
        self.arm_cut_at_erase(1);
    }
}
