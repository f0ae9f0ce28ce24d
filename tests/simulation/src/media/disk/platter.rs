//! One slot of a simulated disk: what a read sees, and what would be left of it. Its write units
//! are counted from its start.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

#[derive(Clone)]
pub(super) struct Slot {
    unit_bytes: usize,
    /// What a read sees.
    bytes: Vec<u8>,
    /// The platter's content of the units that were programmed since the last sync.
    unsynced: BTreeMap<u32, Vec<u8>>,
    /// The same of units whose sync failed: cached, never to be written.
    phantom: BTreeMap<u32, Vec<u8>>,
    /// What the platter held before it held what it holds.
    older: BTreeMap<u32, Vec<u8>>,
    /// The programs since the last sync.
    programs: Vec<Range<u32>>,
    unreadable: BTreeSet<u32>,
    /// Whether the slot's own existence would survive a power cut.
    pub(super) lasting: bool,
}

/// What came to the platter, as what it held before: a synced program, what a failed sync brought
/// all the same, or what a power cut left.
#[derive(Clone)]
pub(super) struct Undo(Vec<(u32, Vec<u8>)>);

impl Undo {
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|(_, before)| before.len()).sum()
    }

    /// Whether the program wrote a unit.
    pub(super) fn has(&self, unit: u32) -> bool {
        self.0.iter().any(|(written, _)| *written == unit)
    }
}

impl Slot {
    pub(super) fn new(bytes: Vec<u8>, unit_bytes: u32, lasting: bool) -> Self {
        Self {
            unit_bytes: unit_bytes as usize,
            bytes,
            unsynced: BTreeMap::new(),
            phantom: BTreeMap::new(),
            older: BTreeMap::new(),
            programs: Vec::new(),
            unreadable: BTreeSet::new(),
            lasting,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn unit(&self, unit: u32) -> &[u8] {
        &self.bytes[self.range(unit)]
    }

    /// The synced units that are not all zeros.
    pub(super) fn used(&self) -> impl Iterator<Item = u32> {
        let units = (0..).zip(self.bytes.chunks(self.unit_bytes));
        let used = units.filter(|(_, bytes)| bytes.iter().any(|byte| *byte != 0));
        used.map(|(unit, _)| unit).filter(|unit| !self.unsynced.contains_key(unit))
    }

    pub(super) fn older(&self, unit: u32) -> Option<&Vec<u8>> {
        self.older.get(&unit)
    }

    pub(super) fn unsynced(&self) -> Vec<u32> {
        self.unsynced.keys().copied().collect()
    }

    pub(super) fn is_readable(&self, bytes: Range<usize>) -> bool {
        self.unreadable.range(self.touched(bytes)).next().is_none()
    }

    pub(super) fn make_unreadable(&mut self, bytes: Range<usize>) {
        self.unreadable.extend(self.touched(bytes));
    }

    /// Writes a unit into the cache. A device replaces a sector that it could not read.
    pub(super) fn program(&mut self, unit: u32, bytes: &[u8]) {
        let cached = self.unit(unit).to_vec();
        let platter = self.phantom.remove(&unit).unwrap_or(cached);
        self.unsynced.entry(unit).or_insert(platter);
        self.unreadable.remove(&unit);
        self.set(unit, bytes);
    }

    /// Notes which units one call of program has written.
    pub(super) fn end_program(&mut self, units: Range<u32>) {
        self.programs.push(units);
    }

    /// Brings everything to the platter.
    pub(super) fn sync(&mut self) -> Vec<Undo> {
        self.lasting = true;
        for (unit, platter) in &self.unsynced {
            self.older.insert(*unit, platter.clone());
        }
        let mut unsynced = std::mem::take(&mut self.unsynced);
        let mut undo = |units: Range<u32>| {
            Undo(units.filter_map(|unit| unsynced.remove_entry(&unit)).collect())
        };
        std::mem::take(&mut self.programs).into_iter().map(&mut undo).collect()
    }

    /// Fails a sync: the units that `is_lost` names stay in the cache only, the others are synced.
    pub(super) fn fail_sync(&mut self, mut is_lost: impl FnMut(u32) -> bool) -> Undo {
        self.programs.clear();
        let mut undo = Undo(Vec::new());
        for (unit, platter) in std::mem::take(&mut self.unsynced) {
            if is_lost(unit) {
                self.phantom.insert(unit, platter);
            } else {
                undo.0.push((unit, platter.clone()));
                self.older.insert(unit, platter);
            }
        }
        undo
    }

    /// What the platter holds of the units that are not synced: what becomes of them in a power cut
    /// can be taken back too.
    pub(super) fn undo_of_unsynced(&self) -> Undo {
        Undo(self.unsynced.iter().map(|(unit, platter)| (*unit, platter.clone())).collect())
    }

    /// Forgets what is cached but will never be written.
    pub(super) fn evict(&mut self) {
        for (unit, platter) in std::mem::take(&mut self.phantom) {
            self.set(unit, &platter);
        }
    }

    /// Ends the doubt about a unit that was not synced: its content after the power cut, from what
    /// it would have been and what the platter had.
    pub(super) fn settle(&mut self, unit: u32, end: impl FnOnce(&[u8], &[u8]) -> Vec<u8>) {
        if let Some(platter) = self.unsynced.remove(&unit) {
            let settled = end(self.unit(unit), &platter);
            self.set(unit, &settled);
        }
        self.programs.clear();
    }

    /// Takes a synced program back, behind the back of what was programmed since.
    pub(super) fn undo(&mut self, undo: Undo) {
        for (unit, before) in undo.0 {
            let platter = self.unsynced.get_mut(&unit).or(self.phantom.get_mut(&unit));
            match platter {
                Some(platter) => *platter = before,
                None => self.set(unit, &before),
            }
        }
    }

    pub(super) fn flip(&mut self, bit: u64) {
        self.bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
    }

    fn set(&mut self, unit: u32, bytes: &[u8]) {
        let range = self.range(unit);
        self.bytes[range].copy_from_slice(bytes);
    }

    fn range(&self, unit: u32) -> Range<usize> {
        let start = unit as usize * self.unit_bytes;
        start..start + self.unit_bytes
    }

    fn touched(&self, bytes: Range<usize>) -> Range<u32> {
        (bytes.start / self.unit_bytes) as u32..bytes.end.div_ceil(self.unit_bytes) as u32
    }
}
