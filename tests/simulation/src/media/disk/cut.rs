//! What a power cut leaves of a simulated disk.

use landfall_core::media::SlotIx;

use super::{DamageModel, Disk, Fate};

impl Disk {
    /// Cuts the power, in the middle of a unit or between two calls.
    pub(super) fn cut(&mut self, torn: Option<(SlotIx, u32)>) {
        self.power.cut();
        self.counters.cuts += 1;
        for slot in (0..self.shape.slots).map(SlotIx) {
            let Some(found) = &mut self.slots[slot.0 as usize] else { continue };
            found.evict();
            if !found.lasting && self.damage.drops_erase(&mut self.rng) {
                self.counters.erases_lost += 1;
                self.forget(slot);
                continue;
            }
            found.lasting = true;
            let (unsynced, undo) = (found.unsynced(), found.undo_of_unsynced());
            self.note(slot, undo);
            for unit in unsynced {
                if torn == Some((slot, unit)) {
                    self.tear(slot, unit);
                } else {
                    self.decide(slot, unit);
                }
            }
        }
    }

    /// Puts units into the cache that a program had not reached when the power went: they may
    /// survive where the ones before them don't.
    pub(super) fn hand_over(&mut self, slot: SlotIx, first: u32, units: &[&[u8]]) {
        if self.damage == DamageModel::Random {
            for (unit, bytes) in (first..).zip(units) {
                self.slot(slot).program(unit, bytes);
            }
        }
    }

    fn decide(&mut self, slot: SlotIx, unit: u32) {
        let fate = self.damage.fate(&mut self.rng);
        fate.count(&mut self.counters);
        let stale = if fate == Fate::Stale { self.stray(slot, unit) } else { Vec::new() };
        self.slot(slot).settle(unit, |new, old| match fate {
            Fate::Kept => new.to_vec(),
            Fate::Dropped => old.to_vec(),
            Fate::Zeroed => vec![0; new.len()],
            Fate::Stale => stale,
        });
    }

    fn tear(&mut self, slot: SlotIx, unit: u32) {
        self.counters.torn += 1;
        let kept = self.rng.below(self.shape.unit_bytes.into()) as usize;
        let zeroed = self.damage.fate(&mut self.rng) == Fate::Zeroed;
        self.slot(slot).settle(unit, |new, old| {
            let mut torn = if zeroed { vec![0; new.len()] } else { old.to_vec() };
            torn[..kept].copy_from_slice(&new[..kept]);
            torn
        });
    }

    /// Bytes that a unit may be found with and that are not its own: of an older version if there
    /// is one, or of another unit.
    fn stray(&mut self, slot: SlotIx, unit: u32) -> Vec<u8> {
        let of_others = self.rng.chance(1, 2);
        match self.slot(slot).older(unit) {
            Some(older) if !of_others => return older.clone(),
            _ => {}
        }
        let in_use = |(at, slot): (usize, &Option<_>)| slot.is_some().then_some(at as u32);
        let in_use: Vec<u32> = self.slots.iter().enumerate().filter_map(in_use).collect();
        let from = SlotIx(*self.rng.pick(&in_use));
        let units = self.shape.slot_bytes / self.shape.unit_bytes;
        let other = self.rng.below(units.into()) as u32;
        self.slot(from).unit(other).to_vec()
    }
}
