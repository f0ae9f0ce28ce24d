//! Every medium keeps the contract of the port; files do so on a full disk, too.

use std::fs;

use landfall::media::{FileMedia, FileShape};
use landfall_core::media::{Media, MediaError, Place, SlotIx};
use landfall_simulation::media::contract::{contract, lasts};
use landfall_simulation::media::damage::DamageModel;
use landfall_simulation::media::disk::SimDisk;
use landfall_simulation::media::nor::SimNor;
use landfall_tests::small_disk::SmallDisk;

const SHAPE: FileShape = FileShape { slots: 8, slot_bytes: 65_536, powersafe: false };

#[test]
fn memory_keeps_the_contract() {
    contract(&mut SimDisk::memory(4, 16_384));
}

#[test]
fn a_simulated_disk_keeps_the_contract() {
    let disk = SimDisk::new(4, 32_768, 4096, 1);
    disk.fill_fresh_slots_with_garbage();
    contract(&mut disk.clone());
    lasts(disk, |disk| {
        disk.set_damage(DamageModel::DropAll);
        disk.cut();
        disk.restart();
        disk
    });
}

#[test]
fn simulated_flash_keeps_the_contract() {
    let chip = SimNor::new(4, 4096, 16, 1);
    contract(&mut chip.clone());
    lasts(chip, |chip| {
        chip.cut();
        chip.restart();
        chip
    });
}

#[test]
fn files_keep_the_contract() {
    for powersafe in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let open = || FileMedia::open(dir.path(), FileShape { powersafe, ..SHAPE }).unwrap();
        let mut media = open();
        assert_eq!(media.geometry().unit_bytes, if powersafe { 512 } else { 4096 });
        contract(&mut media);
        lasts(media, |media| {
            drop(media);
            open()
        });
    }
}

#[test]
fn a_full_disk_refuses_a_slot_and_serves_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(dir.path(), 512) else { return };
    let mut media = FileMedia::open(disk.path(), SHAPE).unwrap();
    media.erase(SlotIx(0)).unwrap();
    let filler = disk.fill_up();

    assert_eq!(media.erase(SlotIx(1)), Err(MediaError::NoSpace));
    assert!(!disk.path().join("segments/00000001.seg").exists(), "the slot is as it was");
    for at in (0..SHAPE.slot_bytes).step_by(4096) {
        media.program(Place { slot: SlotIx(0), at }, &[7; 4096]).unwrap();
    }
    media.sync(SlotIx(0)).unwrap();
    drop(media);

    let mut media = FileMedia::open(disk.path(), SHAPE).expect("a node starts on a full disk");
    let mut byte = [0];
    media.read(Place { slot: SlotIx(0), at: 65_535 }, &mut byte).unwrap();
    assert_eq!(byte, [7]);
    media.erase(SlotIx(0)).expect("a slot that has its space needs none");
    assert_eq!(media.erase(SlotIx(1)), Err(MediaError::NoSpace));

    fs::remove_file(filler).unwrap();
    media.erase(SlotIx(1)).expect("space came back");
}

#[test]
fn a_freed_slot_gives_its_space_to_another() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(dir.path(), 512) else { return };
    let mut media = FileMedia::open(disk.path(), SHAPE).unwrap();
    media.erase(SlotIx(0)).unwrap();
    media.program(Place { slot: SlotIx(0), at: 0 }, &[7; 4096]).unwrap();
    let _filler = disk.fill_up();

    assert_eq!(media.erase(SlotIx(1)), Err(MediaError::NoSpace));
    media.free(SlotIx(0)).unwrap();
    media.erase(SlotIx(1)).unwrap();
    assert_eq!(media.erase(SlotIx(0)), Err(MediaError::NoSpace));
}
