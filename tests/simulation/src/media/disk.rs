//! A disk in memory that overwrites, caches what was not synced, and fails on demand.
//!
//! - A power cut decides over each unit that was not synced, as its [`DamageModel`] says. The unit
//!   in flight is torn. All calls fail until [`SimDisk::restart`].
//! - The first erase of a slot, too, is lost in a power cut unless the slot was synced since.
//! - A free is final at once.
//! - Using it wrongly (units not whole, bytes outside a slot, a slot that was not erased) panics:
//!   that is a defect of the journal.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use landfall_core::media::{Geometry, Media, MediaError, Place, SlotIx};

use self::platter::{Slot, Undo};
use super::counters::Counters;
use super::damage::{DamageModel, Fate};
use super::image::Image;
use super::power::{Power, Step};
use crate::rng::Rng;

mod cut;
mod platter;

/// How many synced programs a lying card may lose at most.
pub const LOSE_MAX: usize = 64;
/// Programs that may belong to the last commit.
const RECENT: usize = 24;
/// How many bytes of them, unless the last one alone has more.
pub const LOSE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A handle on a simulated disk.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<Disk>>);

#[derive(Clone)]
struct Disk {
    shape: Geometry,
    /// None where no space is reserved.
    slots: Vec<Option<Slot>>,
    rng: Rng,
    damage: DamageModel,
    power: Power,
    fail_sync: bool,
    fail_program: Option<u64>,
    fail_reads: Option<Range<u64>>,
    free_slots: Option<u32>,
    garbage: bool,
    /// The bytes of the slot that was freed last, if the next fresh one has them.
    spare: Option<Vec<u8>>,
    /// The last programs that came to the platter, oldest first.
    history: VecDeque<(SlotIx, Undo)>,
    counters: Counters,
}

impl SimDisk {
    /// An empty disk. Nothing goes wrong until it is asked to.
    pub fn new(slots: u32, slot_bytes: u32, unit_bytes: u32, seed: u64) -> Self {
        let shape = Geometry { slots, slot_bytes, unit_bytes, overwrites: true };
        Self::from_image(&Image { shape, slots: vec![None; slots as usize] }, seed)
    }

    /// A medium in memory, for tests that have no faults: write units of 512 bytes.
    pub fn memory(slots: u32, slot_bytes: u32) -> Self {
        Self::new(slots, slot_bytes, 512, 0)
    }

    /// A disk with the content of another, all of it synced.
    pub fn from_image(image: &Image, seed: u64) -> Self {
        let shape = image.shape;
        assert!(shape.unit_bytes.is_power_of_two(), "a write unit is a power of two");
        assert!(shape.slot_bytes.is_multiple_of(shape.unit_bytes), "a slot has whole write units");
        Self(Arc::new(Mutex::new(Disk {
            shape,
            slots: slots_of(image),
            rng: Rng::new(seed),
            damage: DamageModel::default(),
            power: Power::on(),
            fail_sync: false,
            fail_program: None,
            fail_reads: None,
            free_slots: None,
            garbage: false,
            spare: None,
            history: VecDeque::new(),
            counters: Counters::default(),
        })))
    }

    /// A disk of its own in the same state, with all that is cached, armed and still random.
    pub fn duplicate(&self) -> Self {
        Self(Arc::new(Mutex::new(self.disk().clone())))
    }

    /// A copy of all bytes as a reader sees them.
    pub fn image(&self) -> Image {
        let disk = self.disk();
        let slots = disk.slots.iter().map(|slot| slot.as_ref().map(|slot| slot.bytes().to_vec()));
        Image { shape: disk.shape, slots: slots.collect() }
    }

    /// Puts an image of the same shape back. All of it is synced.
    pub fn restore(&self, image: &Image) {
        let mut disk = self.disk();
        assert!(disk.shape == image.shape, "an image is restored to a disk of its shape");
        disk.slots = slots_of(image);
        disk.history.clear();
    }

    /// What the next power cuts do. [`DamageModel::Random`] at first.
    pub fn set_damage(&self, damage: DamageModel) {
        self.disk().damage = damage;
    }

    /// Lets slots hold other bytes than zeros when they are erased for the first time: those of the
    /// slot that was freed last, as where files are used again, or random ones.
    pub fn fill_fresh_slots_with_garbage(&self) {
        self.disk().garbage = true;
    }

    /// Lets the power go in the n-th such step from now; 1 is the next.
    pub fn arm(&self, step: Step, nth: u64) {
        self.disk().power.arm(step, nth);
    }

    /// Lets the power go in the n-th unit programmed from now; 1 is the next.
    pub fn arm_cut(&self, units: u64) {
        self.disk().power.arm(Step::Unit, units);
    }

    /// Lets the power go in the n-th sync from now.
    pub fn arm_cut_at_sync(&self, syncs: u64) {
        self.disk().power.arm(Step::Sync, syncs);
    }

    /// Lets the power go in the n-th erase from now.
    pub fn arm_cut_at_erase(&self, erases: u64) {
        self.disk().power.arm(Step::Erase, erases);
    }

    /// Cuts the power between two calls.
    pub fn cut(&self) {
        self.disk().cut(None);
    }

    /// Whether the power is on.
    pub fn is_on(&self) -> bool {
        self.disk().power.check().is_ok()
    }

    /// Brings the power back, with no cut armed.
    pub fn restart(&self) {
        self.disk().power.restore();
    }

    /// Lets the next sync of a slot with something to sync fail. What it was to sync stays
    /// readable from the cache, and is never written. With [`DamageModel::Random`] a part of it is
    /// written all the same.
    pub fn fail_sync_once(&self) {
        self.disk().fail_sync = true;
    }

    /// Lets the n-th call of program from now fail after some of its units; 1 is the next.
    pub fn fail_program(&self, nth: u64) {
        assert!(nth > 0, "the next program is the first");
        self.disk().fail_program = Some(nth);
    }

    /// Lets these calls of read fail, counted from now; 1 is the next. An empty range ends it.
    pub fn fail_reads(&self, reads: Range<u64>) {
        assert!(reads.start > 0 || reads.is_empty(), "the next read is the first");
        self.disk().fail_reads = Some(reads).filter(|reads| !reads.is_empty());
    }

    /// Sets which reads fail, and returns what was set before.
    pub fn set_read_faults(&self, reads: Option<Range<u64>>) -> Option<Range<u64>> {
        core::mem::replace(&mut self.disk().fail_reads, reads)
    }

    /// Whether something was asked to fail and has not yet.
    pub fn may_fail(&self) -> bool {
        let disk = self.disk();
        disk.fail_sync || disk.fail_program.is_some() || disk.fail_reads.is_some()
    }

    /// Lets nothing fail any more that was asked to, and gives space again.
    pub fn repair(&self) {
        let mut disk = self.disk();
        (disk.fail_sync, disk.fail_program, disk.fail_reads) = (false, None, None);
        disk.free_slots = None;
    }

    /// Drops from the cache what failed syncs left there.
    pub fn evict(&self) {
        self.disk().slots.iter_mut().flatten().for_each(Slot::evict);
    }

    /// For how many slots that have no space there is some; none: for all.
    pub fn set_free_slots(&self, slots: Option<u32>) {
        self.disk().free_slots = slots;
    }

    /// Flips a bit, counted from the start of the slot.
    pub fn flip_bit(&self, slot: SlotIx, bit: u64) {
        self.disk().slot(slot).flip(bit);
    }

    /// Flips a random bit of a unit that holds something and is older than the last synced
    /// programs, so that no opening can take it for a torn end. Returns whether there was one.
    pub fn rot(&self, rng: &mut Rng) -> bool {
        let mut disk = self.disk();
        let recent: Vec<_> = disk.history.iter().rev().take(RECENT).collect();
        let is_recent = |slot, unit| recent.iter().any(|(of, undo)| *of == slot && undo.has(unit));
        let mut old = Vec::new();
        for (ix, slot) in (0..).map(SlotIx).zip(&disk.slots) {
            let used = slot.iter().flat_map(Slot::used).map(|unit| (ix, unit));
            old.extend(used.filter(|(ix, unit)| !is_recent(*ix, *unit)));
        }
        if old.is_empty() {
            return false;
        }
        let (slot, unit) = *rng.pick(&old);
        let bits = u64::from(disk.shape.unit_bytes) * 8;
        disk.slot(slot).flip(u64::from(unit) * bits + rng.below(bits));
        true
    }

    /// Makes all units that `bytes` touches unreadable, each until it is programmed again.
    pub fn make_unreadable(&self, slot: SlotIx, bytes: Range<u32>) {
        self.disk().slot(slot).make_unreadable(bytes.start as usize..bytes.end as usize);
    }

    /// Takes back the last synced programs, as a card does that lied about them. Returns how many:
    /// fewer than asked for if there were not that many, and [`LOSE_MAX`] and [`LOSE_BYTES_MAX`] at
    /// most. Of two programs of one unit without a sync between them, only both can be taken back.
    pub fn lose_synced(&self, programs: usize) -> usize {
        let mut disk = self.disk();
        let lost = programs.min(disk.history.len());
        for _ in 0..lost {
            if let Some((slot, undo)) = disk.history.pop_back() {
                disk.slot(slot).undo(undo);
            }
        }
        lost
    }

    /// Units programmed so far. A test runs once to learn it, then cuts the power in each.
    pub fn units_programmed(&self) -> u64 {
        self.disk().counters.units
    }

    /// Everything that was counted so far.
    pub fn counters(&self) -> Counters {
        self.disk().counters
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().expect("no test goes on after one of its threads panicked")
    }
}

impl Disk {
    fn slot(&mut self, slot: SlotIx) -> &mut Slot {
        let found = self.slots.get_mut(slot.0 as usize).and_then(Option::as_mut);
        found.unwrap_or_else(|| panic!("slot {} is used before it is erased", slot.0))
    }

    /// How many units of a program of that many succeed before it fails on demand.
    fn failing_after(&mut self, units: usize) -> Option<usize> {
        self.fail_program = self.fail_program.map(|left| left - 1);
        self.fail_program.take_if(|left| *left == 0)?;
        self.counters.programs_failed += 1;
        Some(self.rng.below(units as u64 + 1) as usize)
    }

    fn read_fails(&mut self) -> bool {
        let Some(reads) = &mut self.fail_reads else { return false };
        *reads = reads.start.saturating_sub(1)..reads.end.saturating_sub(1);
        if reads.end == 0 {
            self.fail_reads = None;
            return false;
        }
        reads.start == 0
    }

    fn program(&mut self, place: Place, bytes: &[u8]) -> Result<(), MediaError> {
        self.power.check()?;
        let first = whole_units(self.shape, place, bytes.len());
        self.counters.programs += 1;
        self.counters.bytes += bytes.len() as u64;
        let units: Vec<&[u8]> = bytes.chunks(self.shape.unit_bytes as usize).collect();
        let fails_after = self.failing_after(units.len());
        let reached = fails_after.unwrap_or(units.len());
        for (unit, done) in (first..).zip(0..reached) {
            self.counters.units += 1;
            self.slot(place.slot).program(unit, units[done]);
            if self.power.goes_in(Step::Unit) {
                self.hand_over(place.slot, unit + 1, &units[done + 1..]);
                self.cut(Some((place.slot, unit)));
                return Err(MediaError::Failed);
            }
        }
        self.slot(place.slot).end_program(first..first + reached as u32);
        if fails_after.is_some() { Err(MediaError::Failed) } else { Ok(()) }
    }

    fn sync(&mut self, slot: SlotIx) -> Result<(), MediaError> {
        self.power.check()?;
        self.counters.syncs += 1;
        if self.power.goes_in(Step::Sync) {
            let found = self.slots.get(slot.0 as usize).and_then(Option::as_ref);
            let idle = found.is_none_or(|found| found.lasting && found.unsynced().is_empty());
            self.counters.idle_cuts += u64::from(idle);
            self.cut(None);
            return Err(MediaError::Failed);
        }
        let Some(found) = self.slots.get_mut(slot.0 as usize).and_then(Option::as_mut) else {
            return Ok(());
        };
        let unsynced = found.unsynced();
        if self.fail_sync && !unsynced.is_empty() {
            self.fail_sync = false;
            self.counters.syncs_failed += 1;
            let surely = *self.rng.pick(&unsynced);
            let (partly, rng) = (self.damage == DamageModel::Random, &mut self.rng);
            let undo = found.fail_sync(|unit| unit == surely || !partly || rng.chance(1, 2));
            self.note(slot, undo);
            return Err(MediaError::Failed);
        }
        found.sync().into_iter().for_each(|undo| self.note(slot, undo));
        Ok(())
    }

    /// What a lying card loses is always the last of all that came to the platter: without what
    /// was not synced and came there too, it would lose something from the middle.
    fn note(&mut self, slot: SlotIx, undo: Undo) {
        if undo.bytes() > 0 {
            self.history.push_back((slot, undo));
        }
        let mut bytes: usize = self.history.iter().map(|(_, undo)| undo.bytes()).sum();
        while self.history.len() > LOSE_MAX || (bytes > LOSE_BYTES_MAX && self.history.len() > 1) {
            bytes -= self.history.pop_front().map_or(0, |(_, undo)| undo.bytes());
        }
    }

    fn erase(&mut self, slot: SlotIx) -> Result<(), MediaError> {
        self.power.check()?;
        assert!(slot.0 < self.shape.slots, "slot {} is erased and does not exist", slot.0);
        self.counters.erases += 1;
        let cut = self.power.goes_in(Step::Erase);
        if self.slots[slot.0 as usize].is_none() {
            if self.free_slots == Some(0) {
                self.counters.no_space += 1;
                return Err(MediaError::NoSpace);
            }
            self.free_slots = self.free_slots.map(|left| left - 1);
            let mut bytes = vec![0; self.shape.slot_bytes as usize];
            if self.garbage {
                self.rng.fill(&mut bytes);
                bytes = self.spare.take().unwrap_or(bytes);
            }
            self.slots[slot.0 as usize] = Some(Slot::new(bytes, self.shape.unit_bytes, false));
        }
        if cut {
            self.cut(None);
        }
        self.power.check()
    }

    fn free(&mut self, slot: SlotIx) -> Result<(), MediaError> {
        self.power.check()?;
        assert!(slot.0 < self.shape.slots, "slot {} is freed and does not exist", slot.0);
        self.counters.frees += 1;
        if let Some(freed) = self.slots[slot.0 as usize].as_ref().filter(|_| self.garbage) {
            self.spare = Some(freed.bytes().to_vec());
        }
        self.forget(slot);
        Ok(())
    }

    fn forget(&mut self, slot: SlotIx) {
        if self.slots[slot.0 as usize].take().is_some() {
            self.free_slots = self.free_slots.map(|left| left + 1);
        }
        self.history.retain(|(of, _)| *of != slot);
    }
}

impl Media for SimDisk {
    fn geometry(&self) -> Geometry {
        self.disk().shape
    }

    fn read(&self, place: Place, buffer: &mut [u8]) -> Result<(), MediaError> {
        let mut disk = self.disk();
        disk.power.check()?;
        let range = within(disk.shape, place, buffer.len());
        disk.counters.reads += 1;
        if disk.read_fails() {
            return Err(MediaError::Failed);
        }
        disk.counters.bytes_read += buffer.len() as u64;
        match &disk.slots[place.slot.0 as usize] {
            None => buffer.fill(0),
            Some(slot) if !slot.is_readable(range.clone()) => return Err(MediaError::Unreadable),
            Some(slot) => buffer.copy_from_slice(&slot.bytes()[range]),
        }
        Ok(())
    }

    fn program(&mut self, place: Place, bytes: &[u8]) -> Result<(), MediaError> {
        self.disk().program(place, bytes)
    }

    fn sync(&mut self, slot: SlotIx) -> Result<(), MediaError> {
        self.disk().sync(slot)
    }

    fn forget_cached(&mut self, slot: SlotIx) {
        let mut disk = self.disk();
        // What is not synced yet is synced first, if that can be.
        let _ = disk.sync(slot);
        if let Some(slot) = disk.slots.get_mut(slot.0 as usize).and_then(Option::as_mut) {
            slot.evict();
        }
    }

    fn erase(&mut self, slot: SlotIx) -> Result<(), MediaError> {
        self.disk().erase(slot)
    }

    fn free(&mut self, slot: SlotIx) -> Result<(), MediaError> {
        self.disk().free(slot)
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").finish_non_exhaustive()
    }
}

fn slots_of(image: &Image) -> Vec<Option<Slot>> {
    let slot = |bytes: &Vec<u8>| Slot::new(bytes.clone(), image.shape.unit_bytes, true);
    image.slots.iter().map(|bytes| bytes.as_ref().map(slot)).collect()
}

/// The bytes of a slot from `place` on; a journal that leaves its slots is defective.
pub(super) fn within(shape: Geometry, place: Place, len: usize) -> Range<usize> {
    let range = place.at as usize..place.at as usize + len;
    assert!(place.slot.0 < shape.slots, "{place:?} is in no slot");
    assert!(range.end <= shape.slot_bytes as usize, "{len} bytes at {place:?} leave their slot");
    range
}

/// The first unit of a program; a journal that programs parts of units is defective.
pub(super) fn whole_units(shape: Geometry, place: Place, len: usize) -> u32 {
    within(shape, place, len);
    let whole = |count: u64| count.is_multiple_of(u64::from(shape.unit_bytes));
    assert!(
        whole(place.at.into()) && whole(len as u64),
        "{len} bytes at {place:?} are programmed: not whole units of {} bytes",
        shape.unit_bytes
    );
    place.at / shape.unit_bytes
}

#[cfg(test)]
mod tests;
