//! What a test does to a simulated medium, whichever kind it is.

use std::fmt::Debug;

use landfall_core::media::Media;

use super::counters::Counters;
use super::damage::{DamageModel, EraseDamage, TornUnit};
use super::disk::SimDisk;
use super::nor::SimNor;
use super::power::Step;
use crate::rng::Rng;

/// A simulated medium in the hands of a test. Clones are handles on the same one.
pub trait Rig: Media + Clone {
    /// What a power cut may leave.
    type Damage: Copy + Debug + 'static;
    /// So many kinds that each step is cut in every way there is.
    const DAMAGES: &'static [Self::Damage];

    /// A medium of its own in the same state.
    fn duplicate(&self) -> Self;
    /// Lets the power go in the n-th such step from now.
    fn arm(&self, step: Step, nth: u64);
    /// Cuts the power, if it is on.
    fn power_off(&self);
    /// Brings the power back. Whatever else was to go wrong no longer does.
    fn power_on(&self);
    /// Everything that was counted so far.
    fn counters(&self) -> Counters;
    /// Sets what the next power cuts leave.
    fn set_damage(&self, damage: Self::Damage);
    /// Chooses what the next power cuts leave.
    fn choose_damage(&self, rng: &mut Rng);
    /// Lets something go wrong soon.
    fn misbehave(&self, rng: &mut Rng);
}

impl Rig for SimDisk {
    type Damage = DamageModel;
    const DAMAGES: &'static [DamageModel] = &DamageModel::ALL;

    fn duplicate(&self) -> Self {
        self.duplicate()
    }

    fn arm(&self, step: Step, nth: u64) {
        self.arm(step, nth);
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

    fn counters(&self) -> Counters {
        self.counters()
    }

    fn set_damage(&self, damage: DamageModel) {
        self.set_damage(damage);
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
    type Damage = (TornUnit, EraseDamage);
    const DAMAGES: &'static [Self::Damage] = &[
        (TornUnit::Bits, EraseDamage::ZeroedTail),
        (TornUnit::Blank, EraseDamage::PartlyBlank),
        (TornUnit::Whole, EraseDamage::RandomBits),
        (TornUnit::Random, EraseDamage::Unstable),
        (TornUnit::Bits, EraseDamage::Unreadable),
        (TornUnit::Unstable, EraseDamage::Unstable),
        (TornUnit::Unreadable, EraseDamage::Unreadable),
    ];

    fn duplicate(&self) -> Self {
        self.duplicate()
    }

    fn arm(&self, step: Step, nth: u64) {
        self.arm(step, nth);
    }

    fn power_off(&self) {
        if self.is_on() {
            self.cut();
        }
    }

    fn power_on(&self) {
        self.restart();
    }

    fn counters(&self) -> Counters {
        self.counters()
    }

    fn set_damage(&self, (torn, erase): Self::Damage) {
        self.set_torn(torn);
        self.set_erase_damage(erase);
    }

    fn choose_damage(&self, rng: &mut Rng) {
        self.set_torn(*rng.pick(&TornUnit::ALL));
        self.set_erase_damage(*rng.pick(&EraseDamage::ALL));
    }

    fn misbehave(&self, _rng: &mut Rng) {
        self.arm_cut_at_erase(1);
    }
}
