//! What every medium does, whatever it is made of.

use landfall_core::media::{Geometry, Media, Place, SlotIx};

use crate::rng::Rng;

/// Checks a medium that holds nothing yet against the contract of [`Media`], without faults. It
/// takes three slots of at least eight units.
pub fn contract(media: &mut impl Media) {
    let shape = media.geometry();
    assert!(shape.unit_bytes.is_power_of_two());
    assert!(shape.slot_bytes.is_multiple_of(shape.unit_bytes));
    assert!(shape.slots >= 3 && shape.slot_bytes / shape.unit_bytes >= 8);

    reads_what_was_programmed(media, shape);
    keeps_slots_apart(media, shape);
    takes_new_content_after_an_erase(media, shape);
    takes_a_slot_that_was_freed(media, shape);
    overwrites_if_it_says_so(media, shape);
    assert_eq!(media.geometry(), shape, "the shape never changes");
}

/// Checks that what was synced is there when `again` has let go of a medium and opened it anew.
pub fn lasts<M: Media>(mut media: M, again: impl FnOnce(M) -> M) {
    let shape = media.geometry();
    let slot = SlotIx(1);
    let bytes = pattern(3, shape.unit_bytes * 3);
    media.erase(slot).unwrap();
    media.program(Place { slot, at: 0 }, &bytes).unwrap();
    media.sync(slot).unwrap();
    let media = again(media);
    assert_eq!(media.geometry(), shape);
    assert_eq!(read(&media, slot, 0, bytes.len()), bytes);
}

fn reads_what_was_programmed(media: &mut impl Media, shape: Geometry) {
    let slot = SlotIx(0);
    let unit = shape.unit_bytes;
    read(media, slot, 0, shape.slot_bytes as usize);
    media.erase(slot).unwrap();
    let bytes = pattern(0, unit * 5);
    let (front, back) = bytes.split_at(unit as usize * 2);
    media.program(Place { slot, at: 0 }, front).unwrap();
    media.sync(slot).unwrap();
    media.program(Place { slot, at: unit * 2 }, back).unwrap();
    assert_eq!(read(media, slot, 0, bytes.len()), bytes, "programmed bytes are read before a sync");
    media.sync(slot).unwrap();
    media.sync(slot).unwrap();
    for (at, len) in [(0, 1), (1, 7), (unit - 1, 2), (unit + 3, unit as usize * 3), (unit * 5, 0)] {
        let expected = &bytes[at as usize..at as usize + len];
        assert_eq!(read(media, slot, at, len), expected, "{len} bytes at {at}");
    }
    read(media, slot, 0, shape.slot_bytes as usize);
    let last = shape.slot_bytes - unit;
    media.program(Place { slot, at: last }, front.get(..unit as usize).unwrap()).unwrap();
    assert_eq!(read(media, slot, last, unit as usize), front[..unit as usize]);
}

fn keeps_slots_apart(media: &mut impl Media, shape: Geometry) {
    let last = SlotIx(shape.slots - 1);
    let (first, other) = (pattern(1, shape.slot_bytes), pattern(2, shape.slot_bytes));
    for (slot, bytes) in [(SlotIx(0), &first), (last, &other)] {
        media.erase(slot).unwrap();
        media.program(Place { slot, at: 0 }, bytes).unwrap();
        media.sync(slot).unwrap();
    }
    assert_eq!(read(media, SlotIx(0), 0, first.len()), first);
    assert_eq!(read(media, last, 0, other.len()), other);
}

fn takes_new_content_after_an_erase(media: &mut impl Media, shape: Geometry) {
    for round in 10..14 {
        let bytes = pattern(round, shape.unit_bytes * 2);
        media.erase(SlotIx(1)).unwrap();
        media.erase(SlotIx(1)).unwrap();
        media.program(Place { slot: SlotIx(1), at: 0 }, &bytes).unwrap();
        media.sync(SlotIx(1)).unwrap();
        assert_eq!(read(media, SlotIx(1), 0, bytes.len()), bytes, "round {round}");
    }
}

fn takes_a_slot_that_was_freed(media: &mut impl Media, shape: Geometry) {
    media.free(SlotIx(1)).unwrap();
    media.free(SlotIx(1)).unwrap();
    read(media, SlotIx(1), 0, shape.slot_bytes as usize);
    let bytes = pattern(20, shape.unit_bytes);
    media.erase(SlotIx(1)).unwrap();
    media.program(Place { slot: SlotIx(1), at: 0 }, &bytes).unwrap();
    media.sync(SlotIx(1)).unwrap();
    assert_eq!(read(media, SlotIx(1), 0, bytes.len()), bytes);
}

fn overwrites_if_it_says_so(media: &mut impl Media, shape: Geometry) {
    if !shape.overwrites {
        return;
    }
    let (old, new) = (pattern(30, shape.unit_bytes * 3), pattern(31, shape.unit_bytes));
    let middle = Place { slot: SlotIx(1), at: shape.unit_bytes };
    media.program(Place { slot: SlotIx(1), at: 0 }, &old).unwrap();
    media.program(middle, &new).unwrap();
    media.sync(SlotIx(1)).unwrap();
    let unit = shape.unit_bytes as usize;
    assert_eq!(read(media, SlotIx(1), 0, unit), old[..unit]);
    assert_eq!(read(media, SlotIx(1), middle.at, unit), new);
    assert_eq!(read(media, SlotIx(1), middle.at * 2, unit), old[unit * 2..]);
}

fn read(media: &impl Media, slot: SlotIx, at: u32, len: usize) -> Vec<u8> {
    let mut buffer = vec![0xA5; len];
    media.read(Place { slot, at }, &mut buffer).unwrap();
    buffer
}

fn pattern(seed: u64, len: u32) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    Rng::new(seed).fill(&mut bytes);
    bytes
}
