//! What a flash chip must be like, and what is left alone on it.

use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
use landfall_core::journal;
use landfall_core::media::{Media, MediaError, Place, SlotIx};
use landfall_device::{Nor, NorError, OpenError};

use crate::rig::{Chip, SLOT_BYTES, SLOTS, append, nor, open, open_on, stored};

fn image(chip: &Chip) -> Vec<u8> {
    let mut bytes = vec![0; (SLOTS * SLOT_BYTES) as usize];
    for (slot, bytes) in (0..).zip(bytes.chunks_mut(SLOT_BYTES as usize)) {
        chip.clone().read(slot * SLOT_BYTES, bytes).unwrap();
    }
    bytes
}

#[test]
fn a_part_must_be_whole_blocks_within_the_chip() {
    let chip = Chip::new(1);
    let part = |at, slots, bytes| Nor::new(chip.clone(), at, slots, bytes).map(|_| ());
    assert_eq!(part(0, SLOTS, SLOT_BYTES), Ok(()));
    assert_eq!(part(SLOT_BYTES, SLOTS - 1, SLOT_BYTES), Ok(()));
    assert_eq!(part(0, SLOTS / 2, 2 * SLOT_BYTES), Ok(()), "two blocks are a slot");
    assert_eq!(part(8, 2, SLOT_BYTES), Err(NorError::Blocks));
    assert_eq!(part(0, SLOTS, 2048), Err(NorError::Blocks));
    assert_eq!(part(SLOT_BYTES, SLOTS, SLOT_BYTES), Err(NorError::Capacity));
}

#[test]
fn a_chip_that_reads_words_is_read_at_any_byte() {
    let words = Chip::<4>(Chip::new(2).0);
    let (mut device, _) = open(&words, 1).unwrap();
    for number in 0..20 {
        append(&mut device, number).unwrap();
    }
    assert_eq!(stored(&device), (0..20).map(|number| (number, number)).collect::<Vec<_>>());

    let mut chip = words.clone();
    chip.erase(0, SLOT_BYTES).unwrap();
    chip.write(0, &(0..64).collect::<Vec<u8>>()).unwrap();
    let nor = nor(&words);
    for at in 0..16 {
        for len in 0..48 {
            let mut bytes = vec![0; len as usize];
            nor.read(Place { slot: SlotIx(0), at: u32::from(at) }, &mut bytes).unwrap();
            assert_eq!(bytes, (at..at + len).collect::<Vec<u8>>());
        }
    }
}

#[test]
fn a_read_that_fails_in_passing_is_tried_again_and_one_that_always_fails_is_not_for_ever() {
    let chip = Chip::new(3);
    let nor = nor(&chip);
    let (place, mut bytes) = (Place { slot: SlotIx(5), at: 0 }, [0; 8]);
    chip.0.fail_read(1);
    assert_eq!(nor.read(place, &mut bytes), Ok(()));
    chip.0.make_unreadable(SlotIx(5), 0..8);
    assert_eq!(nor.read(place, &mut bytes), Err(MediaError::Unreadable));
    assert_eq!(nor.operations().reads, 2 + 3);
    chip.0.cut();
    assert_eq!(nor.read(place, &mut bytes), Err(MediaError::Failed), "the chip does not answer");
}

#[test]
fn a_flash_with_something_else_on_it_is_refused_and_left_alone() {
    let chip = Chip::new(4);
    let mut driver = chip.clone();
    driver.erase(3 * SLOT_BYTES, 4 * SLOT_BYTES).unwrap();
    driver.write(3 * SLOT_BYTES + 800, b"firmware").unwrap();
    let before = image(&chip);
    let place = Place { slot: SlotIx(3), at: 800 };
    assert_eq!(open(&chip, 1).err(), Some(OpenError::Foreign(place)));
    assert!(image(&chip) == before, "nothing was written or erased");
}

#[test]
fn a_journal_of_another_geometry_is_refused_and_left_alone() {
    let chip = Chip::new(5);
    let (mut device, _) = open(&chip, 1).unwrap();
    append(&mut device, 1).unwrap();
    let before = image(&chip);
    let other = Nor::new(chip.clone(), 0, SLOTS / 2, 2 * SLOT_BYTES).unwrap();
    let refused = OpenError::Journal(journal::OpenError::OtherGeometry);
    assert_eq!(open_on(other, 2).err(), Some(refused));
    assert!(image(&chip) == before, "nothing was written or erased");
}
