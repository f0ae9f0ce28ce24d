//! NOR flash in memory: each unit is programmed once, slots are erased whole.
//!
//! - What was programmed is durable at once; a sync only counts.
//! - A unit is programmed once between two completed erases, but with zeros at any time; anything
//!   else panics, as it is a defect of the journal.
//! - A unit torn by a power cut, or of an interrupted erase, may read blank and still needs the
//!   erase. A new chip reads blank and needs it too.
//! - After a power cut all calls fail until [`SimNor::restart`].

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use landfall_core::media::{Geometry, Media, MediaError, Place, SlotIx};

use self::block::Block;
use super::counters::Counters;
use super::damage::{EraseDamage, TornUnit};
use super::disk::{whole_units, within};
use super::power::{Power, Step};
use crate::rng::Rng;

mod block;

/// A handle on a simulated flash chip.
#[derive(Clone)]
pub struct SimNor(Arc<Mutex<Chip>>);

#[derive(Clone)]
struct Chip {
    shape: Geometry,
    blocks: Vec<Block>,
    rng: Rng,
    power: Power,
    torn: TornUnit,
    erase_damage: EraseDamage,
    /// The read that will fail in passing.
    failing_read: Option<u64>,
    counters: Counters,
}

impl SimNor {
    /// A new chip.
    pub fn new(slots: u32, slot_bytes: u32, unit_bytes: u32, seed: u64) -> Self {
        assert!(unit_bytes.is_power_of_two(), "a write unit is a power of two");
        assert!(slot_bytes.is_multiple_of(unit_bytes), "a slot has whole write units");
        let shape = Geometry { slots, slot_bytes, unit_bytes, overwrites: false };
        Self(Arc::new(Mutex::new(Chip {
            shape,
            blocks: (0..slots).map(|_| Block::new(shape)).collect(),
            rng: Rng::new(seed),
            power: Power::on(),
            torn: TornUnit::default(),
            erase_damage: EraseDamage::default(),
            failing_read: None,
            counters: Counters::default(),
        })))
    }

    /// A chip of its own in the same state.
    pub fn duplicate(&self) -> Self {
        Self(Arc::new(Mutex::new(self.chip().clone())))
    }

    /// What the next power cuts leave of the unit being programmed.
    pub fn set_torn(&self, torn: TornUnit) {
        self.chip().torn = torn;
    }

    /// What the next power cuts leave of the slot being erased.
    pub fn set_erase_damage(&self, damage: EraseDamage) {
        self.chip().erase_damage = damage;
    }

    /// Lets the power go in the n-th such step from now; 1 is the next.
    pub fn arm(&self, step: Step, nth: u64) {
        self.chip().power.arm(step, nth);
    }

    /// Lets the power go in the n-th unit programmed from now; 1 is the next.
    pub fn arm_cut(&self, units: u64) {
        self.chip().power.arm(Step::Unit, units);
    }

    /// Lets the power go in the n-th erase from now.
    pub fn arm_cut_at_erase(&self, erases: u64) {
        self.chip().power.arm(Step::Erase, erases);
    }

    /// Cuts the power between two calls.
    pub fn cut(&self) {
        self.chip().cut();
    }

    /// Whether the power is on.
    pub fn is_on(&self) -> bool {
        self.chip().power.check().is_ok()
    }

    /// Brings the power back, with no cut armed.
    pub fn restart(&self) {
        self.chip().power.restore();
    }

    /// Flips a bit, counted from the start of the slot.
    pub fn flip_bit(&self, slot: SlotIx, bit: u64) {
        self.chip().block(slot).flip(bit);
    }

    /// Lets the `nth` read from now on fail, and no other.
    pub fn fail_read(&self, nth: u64) {
        let chip = &mut *self.chip();
        chip.failing_read = Some(chip.counters.reads + nth);
    }

    /// Makes all units that `bytes` touches unreadable until the slot is erased.
    pub fn make_unreadable(&self, slot: SlotIx, bytes: Range<u32>) {
        self.chip().block(slot).make_unreadable(bytes.start as usize..bytes.end as usize);
    }

    /// The fewest and the most erases that a slot has seen, interrupted ones included.
    pub fn wear(&self) -> (u64, u64) {
        let erases: Vec<u64> = self.chip().blocks.iter().map(Block::erases).collect();
        (
            erases.iter().copied().min().unwrap_or_default(),
            erases.iter().copied().max().unwrap_or_default(),
        )
    }

    /// Units programmed so far. A test runs once to learn it, then cuts the power in each.
    pub fn units_programmed(&self) -> u64 {
        self.chip().counters.units
    }

    /// Everything that was counted so far.
    pub fn counters(&self) -> Counters {
        self.chip().counters
    }

    fn chip(&self) -> MutexGuard<'_, Chip> {
        self.0.lock().expect("no test goes on after one of its threads panicked")
    }
}

impl Chip {
    fn block(&mut self, slot: SlotIx) -> &mut Block {
        assert!(slot.0 < self.shape.slots, "slot {} does not exist", slot.0);
        &mut self.blocks[slot.0 as usize]
    }

    fn cut(&mut self) {
        self.power.cut();
        self.counters.cuts += 1;
    }

    fn program(&mut self, place: Place, bytes: &[u8]) -> Result<(), MediaError> {
        self.power.check()?;
        let first = whole_units(self.shape, place, bytes.len());
        self.counters.programs += 1;
        self.counters.bytes += bytes.len() as u64;
        for (unit, bytes) in (first..).zip(bytes.chunks(self.shape.unit_bytes as usize)) {
            assert!(
                self.block(place.slot).is_erased(unit) || bytes.iter().all(|byte| *byte == 0),
                "unit {unit} of slot {} is programmed without a completed erase since it was last \
                 programmed",
                place.slot.0
            );
            self.counters.units += 1;
            if self.power.goes_in(Step::Unit) {
                let torn = self.torn.settled(&mut self.rng);
                self.blocks[place.slot.0 as usize].tear(unit, bytes, torn, &mut self.rng);
                self.counters.torn += 1;
                self.cut();
                return Err(MediaError::Failed);
            }
            self.block(place.slot).program(unit, bytes);
        }
        Ok(())
    }

    fn erase(&mut self, slot: SlotIx) -> Result<(), MediaError> {
        self.power.check()?;
        self.counters.erases += 1;
        if self.power.goes_in(Step::Erase) {
            let damage = self.erase_damage.settled(&mut self.rng);
            self.blocks[slot.0 as usize].interrupt_erase(damage, &mut self.rng);
            self.counters.erases_lost += 1;
            self.cut();
            return Err(MediaError::Failed);
        }
        self.block(slot).erase();
        Ok(())
    }
}

impl Media for SimNor {
    fn geometry(&self) -> Geometry {
        self.chip().shape
    }

    fn read(&self, place: Place, buffer: &mut [u8]) -> Result<(), MediaError> {
        let chip = &mut *self.chip();
        chip.power.check()?;
        let range = within(chip.shape, place, buffer.len());
        chip.counters.reads += 1;
        chip.counters.bytes_read += buffer.len() as u64;
        if chip.failing_read == Some(chip.counters.reads) {
            return Err(MediaError::Failed);
        }
        chip.blocks[place.slot.0 as usize].read(range, buffer, &mut chip.rng)
    }

    fn program(&mut self, place: Place, bytes: &[u8]) -> Result<(), MediaError> {
        self.chip().program(place, bytes)
    }

    fn sync(&mut self, _slot: SlotIx) -> Result<(), MediaError> {
        let mut chip = self.chip();
        chip.power.check()?;
        chip.counters.syncs += 1;
        if chip.power.goes_in(Step::Sync) {
            chip.counters.idle_cuts += 1;
            chip.cut();
        }
        chip.power.check()
    }

    fn erase(&mut self, slot: SlotIx) -> Result<(), MediaError> {
        self.chip().erase(slot)
    }

    /// Flash has no space to give back.
    fn free(&mut self, _slot: SlotIx) -> Result<(), MediaError> {
        let mut chip = self.chip();
        chip.power.check()?;
        chip.counters.frees += 1;
        Ok(())
    }
}

impl fmt::Debug for SimNor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimNor").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
