//! One slot of a simulated flash chip.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use landfall_core::media::{Geometry, MediaError};

use super::{EraseDamage, TornUnit};
use crate::rng::Rng;

const BLANK: u8 = 0xFF;

#[derive(Clone)]
pub(super) struct Block {
    unit_bytes: usize,
    bytes: Vec<u8>,
    /// By unit: whether it may be programmed.
    erased: Vec<bool>,
    /// Units that read differently each time.
    unstable: BTreeSet<usize>,
    /// Units that were torn, of which each bit that was to fall has or has not, at each read.
    wavering: BTreeMap<usize, Vec<u8>>,
    unreadable: BTreeSet<usize>,
    erases: u64,
}

impl Block {
    pub(super) fn new(shape: Geometry) -> Self {
        Self {
            unit_bytes: shape.unit_bytes as usize,
            bytes: vec![BLANK; shape.slot_bytes as usize],
            erased: vec![false; (shape.slot_bytes / shape.unit_bytes) as usize],
            unstable: BTreeSet::new(),
            wavering: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            erases: 0,
        }
    }

    pub(super) fn erases(&self) -> u64 {
        self.erases
    }

    pub(super) fn is_erased(&self, unit: u32) -> bool {
        self.erased[unit as usize]
    }

    pub(super) fn program(&mut self, unit: u32, bytes: &[u8]) {
        self.erased[unit as usize] = false;
        self.unit(unit as usize).copy_from_slice(bytes);
    }

    /// Programs a unit until the power goes.
    pub(super) fn tear(&mut self, unit: u32, bytes: &[u8], torn: TornUnit, rng: &mut Rng) {
        self.erased[unit as usize] = false;
        let mut held_back = vec![0; bytes.len()];
        match torn {
            TornUnit::Blank => held_back.fill(BLANK),
            TornUnit::Whole => {}
            TornUnit::Unstable => {
                let falling = bytes.iter().map(|byte| !byte).collect();
                self.wavering.insert(unit as usize, falling);
            }
            TornUnit::Unreadable => {
                self.unreadable.insert(unit as usize);
            }
            TornUnit::Bits | TornUnit::Random => rng.fill(&mut held_back),
        }
        for ((to, new), held) in self.unit(unit as usize).iter_mut().zip(bytes).zip(held_back) {
            *to &= new | held;
        }
    }

    pub(super) fn erase(&mut self) {
        self.erases += 1;
        self.bytes.fill(BLANK);
        self.erased.fill(true);
        self.unstable.clear();
        self.wavering.clear();
        self.unreadable.clear();
    }

    /// Erases until the power goes.
    pub(super) fn interrupt_erase(&mut self, damage: EraseDamage, rng: &mut Rng) {
        self.erases += 1;
        self.erased.fill(false);
        let units = self.erased.len();
        match damage {
            EraseDamage::ZeroedTail | EraseDamage::Random => {
                let kept = 1 + rng.below(units as u64 - 1) as usize;
                self.bytes[kept * self.unit_bytes..].fill(0);
            }
            EraseDamage::PartlyBlank => {
                for unit in (0..units).filter(|_| rng.chance(1, 2)) {
                    self.unit(unit).fill(BLANK);
                }
            }
            EraseDamage::RandomBits => {
                let mut risen = vec![0; self.bytes.len()];
                rng.fill(&mut risen);
                self.bytes.iter_mut().zip(risen).for_each(|(byte, risen)| *byte |= risen);
            }
            EraseDamage::Unstable => {
                self.bytes.fill(BLANK);
                self.unstable = some_units(units, rng);
            }
            EraseDamage::Unreadable => {
                self.bytes.fill(BLANK);
                self.unreadable = some_units(units, rng);
            }
        }
    }

    pub(super) fn read(
        &self,
        range: Range<usize>,
        buffer: &mut [u8],
        rng: &mut Rng,
    ) -> Result<(), MediaError> {
        let touched = self.touched(range.clone());
        if self.unreadable.range(touched.clone()).next().is_some() {
            return Err(MediaError::Unreadable);
        }
        buffer.copy_from_slice(&self.bytes[range.clone()]);
        let part = |unit: usize| {
            let start = (unit * self.unit_bytes).max(range.start);
            start..((unit + 1) * self.unit_bytes).min(range.end)
        };
        for unit in self.unstable.range(touched.clone()) {
            // A quarter of the bits fall: often enough to differ, rare enough to look blank.
            for at in part(*unit) {
                buffer[at - range.start] &= (rng.u64() | rng.u64()) as u8;
            }
        }
        for (unit, falling) in self.wavering.range(touched) {
            for at in part(*unit) {
                buffer[at - range.start] |= falling[at - unit * self.unit_bytes] & rng.u64() as u8;
            }
        }
        Ok(())
    }

    pub(super) fn flip(&mut self, bit: u64) {
        self.bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
    }

    pub(super) fn make_unreadable(&mut self, bytes: Range<usize>) {
        self.unreadable.extend(self.touched(bytes));
    }

    fn unit(&mut self, unit: usize) -> &mut [u8] {
        &mut self.bytes[unit * self.unit_bytes..][..self.unit_bytes]
    }

    fn touched(&self, bytes: Range<usize>) -> Range<usize> {
        bytes.start / self.unit_bytes..bytes.end.div_ceil(self.unit_bytes)
    }
}

/// A quarter of the units, and one at least.
fn some_units(units: usize, rng: &mut Rng) -> BTreeSet<usize> {
    let surely = rng.below(units as u64) as usize;
    (0..units).filter(|_| rng.chance(1, 4)).chain([surely]).collect()
}
