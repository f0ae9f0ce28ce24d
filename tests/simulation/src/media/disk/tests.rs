//! Each fault of the simulated disk does what it says.

use super::*;

const UNIT: u32 = 64;
const SLOT: SlotIx = SlotIx(0);

fn disk(damage: DamageModel) -> SimDisk {
    let disk = SimDisk::new(4, UNIT * 8, UNIT, 7);
    disk.set_damage(damage);
    disk
}

/// A disk whose slot 0 holds `old` in all units, synced.
fn with_old_content(damage: DamageModel) -> SimDisk {
    let mut disk = disk(damage);
    disk.erase(SLOT).unwrap();
    write(&mut disk, 0, &[b'a'; UNIT as usize * 8]);
    disk.sync(SLOT).unwrap();
    write(&mut disk, 0, &[b'o'; UNIT as usize * 8]);
    disk.sync(SLOT).unwrap();
    disk
}

fn write(disk: &mut SimDisk, unit: u32, bytes: &[u8]) {
    disk.program(place(unit), bytes).unwrap();
}

fn place(unit: u32) -> Place {
    Place { slot: SLOT, at: unit * UNIT }
}

fn read(disk: &SimDisk, unit: u32, units: u32) -> Vec<u8> {
    let mut buffer = vec![0; (units * UNIT) as usize];
    disk.read(place(unit), &mut buffer).unwrap();
    buffer
}

fn units(of: &[u8]) -> Vec<Vec<u8>> {
    of.chunks(UNIT as usize).map(<[u8]>::to_vec).collect()
}

#[test]
fn a_cut_does_to_unsynced_units_what_the_model_says() {
    for (model, expected) in
        [(DamageModel::KeepAll, b'n'), (DamageModel::DropAll, b'o'), (DamageModel::Zero, 0)]
    {
        let mut disk = with_old_content(model);
        write(&mut disk, 2, &[b'n'; UNIT as usize * 2]);
        disk.cut();
        disk.restart();
        let expected: Vec<u8> = [b'o', b'o', expected, expected, b'o']
            .into_iter()
            .flat_map(|byte| [byte; UNIT as usize])
            .collect();
        assert_eq!(read(&disk, 0, 5), expected, "{model:?}");
    }
}

#[test]
fn a_stale_unit_holds_an_older_version_or_another_unit() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let disk = with_old_content(DamageModel::Stale);
        let mut disk = SimDisk(Arc::clone(&disk.0));
        disk.disk().rng = Rng::new(seed);
        write(&mut disk, 2, &[b'n'; UNIT as usize]);
        disk.cut();
        disk.restart();
        let unit = read(&disk, 2, 1);
        assert!(unit.iter().all(|byte| *byte == unit[0]));
        seen.insert(unit[0]);
        assert_eq!(disk.counters().stale, 1);
    }
    assert!(seen.is_superset(&[b'a', b'o'].into()), "{seen:?}");
}

#[test]
fn random_damage_does_all_of_it_unit_by_unit() {
    let mut disk = with_old_content(DamageModel::Random);
    for _ in 0..30 {
        write(&mut disk, 0, &[b'n'; UNIT as usize * 8]);
        disk.cut();
        disk.restart();
    }
    let seen = disk.counters();
    for count in [seen.kept, seen.dropped, seen.zeroed, seen.stale] {
        assert!(count > 30, "{seen:?}");
    }
    assert_eq!(seen.kept + seen.dropped + seen.zeroed + seen.stale, 240);
}

#[test]
fn the_armed_unit_is_torn_and_everything_fails_until_the_restart() {
    for nth in 1..=4 {
        let mut disk = with_old_content(DamageModel::KeepAll);
        let before = disk.units_programmed();
        disk.arm_cut(nth);
        assert_eq!(disk.program(place(0), &[b'n'; UNIT as usize * 4]), Err(MediaError::Failed));
        assert_eq!(disk.units_programmed() - before, nth);
        assert!(!disk.is_on());
        assert_eq!(disk.program(place(0), &[b'x'; UNIT as usize]), Err(MediaError::Failed));
        assert_eq!(disk.sync(SLOT), Err(MediaError::Failed));
        assert_eq!(disk.erase(SLOT), Err(MediaError::Failed));
        assert_eq!(disk.free(SLOT), Err(MediaError::Failed));
        assert_eq!(disk.read(place(0), &mut [0]), Err(MediaError::Failed));

        disk.restart();
        let found = units(&read(&disk, 0, 8));
        let torn = nth as usize - 1;
        assert!(found[..torn].iter().all(|unit| unit == &[b'n'; UNIT as usize]), "unit {nth}");
        let kept = found[torn].iter().take_while(|byte| **byte == b'n').count();
        assert!(kept < UNIT as usize && found[torn][kept..].iter().all(|byte| *byte == b'o'));
        assert!(found[nth as usize..].iter().all(|unit| unit == &[b'o'; UNIT as usize]));
        assert_eq!((disk.counters().cuts, disk.counters().torn), (1, 1));
    }
}

#[test]
fn units_behind_the_torn_one_may_survive_it() {
    let survived = (0..50).filter(|seed| {
        let mut disk = SimDisk::from_image(&with_old_content(DamageModel::Random).image(), *seed);
        disk.arm_cut(1);
        disk.program(place(0), &[b'n'; UNIT as usize * 2]).unwrap_err();
        disk.restart();
        read(&disk, 1, 1) == [b'n'; UNIT as usize]
    });
    assert!((5..30).contains(&survived.count()));
}

#[test]
fn synced_units_survive_every_model() {
    for model in DamageModel::ALL {
        let disk = with_old_content(model);
        disk.cut();
        disk.restart();
        assert_eq!(read(&disk, 0, 8), [b'o'; UNIT as usize * 8], "{model:?}");
    }
}

#[test]
fn a_cut_in_a_sync_promises_nothing() {
    let mut disk = with_old_content(DamageModel::DropAll);
    write(&mut disk, 0, &[b'n'; UNIT as usize]);
    disk.arm_cut_at_sync(1);
    assert_eq!(disk.sync(SLOT), Err(MediaError::Failed));
    disk.restart();
    assert_eq!(read(&disk, 0, 1), [b'o'; UNIT as usize]);
}

#[test]
fn an_erase_is_undone_with_the_power_unless_the_slot_was_synced() {
    for (synced, found) in [(false, 0), (true, 1)] {
        let mut disk = disk(DamageModel::DropAll);
        disk.set_free_slots(Some(1));
        disk.erase(SLOT).unwrap();
        write(&mut disk, 0, &[b'n'; UNIT as usize]);
        if synced {
            disk.sync(SLOT).unwrap();
        }
        disk.cut();
        disk.restart();
        assert_eq!(disk.counters().erases_lost, 1 - found);
        let expected = if synced { b'n' } else { 0 };
        assert_eq!(read(&disk, 0, 1), [expected; UNIT as usize]);
        assert_eq!(disk.erase(SlotIx(1)).is_ok(), !synced, "a lost erase gives its space back");
    }
}

#[test]
fn a_cut_in_an_erase_fails_it() {
    let mut disk = disk(DamageModel::KeepAll);
    disk.arm_cut_at_erase(2);
    disk.erase(SLOT).unwrap();
    assert_eq!(disk.erase(SlotIx(1)), Err(MediaError::Failed));
    assert!(!disk.is_on());
}

#[test]
fn a_failed_sync_shows_what_is_never_written() {
    let mut disk = with_old_content(DamageModel::KeepAll);
    write(&mut disk, 0, &[b'n'; UNIT as usize]);
    disk.fail_sync_once();
    assert_eq!(disk.sync(SLOT), Err(MediaError::Failed));
    assert_eq!(disk.sync(SLOT), Ok(()), "the next one has nothing to say");
    assert_eq!(read(&disk, 0, 1), [b'n'; UNIT as usize], "it still stands in the cache");
    disk.cut();
    disk.restart();
    assert_eq!(read(&disk, 0, 1), [b'o'; UNIT as usize], "and was never written");
    assert_eq!(disk.counters().syncs_failed, 1);
}

#[test]
fn what_a_failed_sync_left_in_the_cache_is_evicted_or_written_anew() {
    let mut disk = with_old_content(DamageModel::KeepAll);
    write(&mut disk, 0, &[b'n'; UNIT as usize * 2]);
    disk.fail_sync_once();
    disk.sync(SLOT).unwrap_err();
    write(&mut disk, 1, &[b'm'; UNIT as usize]);
    disk.sync(SLOT).unwrap();
    disk.evict();
    assert_eq!(read(&disk, 0, 1), [b'o'; UNIT as usize]);
    assert_eq!(read(&disk, 1, 1), [b'm'; UNIT as usize]);
}

#[test]
fn the_nth_program_fails_after_some_units() {
    let mut disk = with_old_content(DamageModel::KeepAll);
    disk.fail_program(2);
    write(&mut disk, 0, &[b'n'; UNIT as usize]);
    assert_eq!(disk.program(place(1), &[b'n'; UNIT as usize * 4]), Err(MediaError::Failed));
    let whole = units(&read(&disk, 1, 4));
    let done = whole.iter().take_while(|unit| unit[0] == b'n').count();
    assert!(whole[done..].iter().all(|unit| unit == &[b'o'; UNIT as usize]));
    write(&mut disk, 1, &[b'n'; UNIT as usize]);
    assert_eq!(disk.counters().programs_failed, 1);
}

#[test]
fn a_full_disk_refuses_new_slots_only_and_recovers() {
    let mut disk = with_old_content(DamageModel::Random);
    disk.set_free_slots(Some(1));
    disk.erase(SlotIx(1)).unwrap();
    assert_eq!(disk.erase(SlotIx(2)), Err(MediaError::NoSpace));
    disk.erase(SLOT).unwrap();
    assert_eq!(read(&disk, 0, 1), [b'o'; UNIT as usize], "old bytes stay readable");
    disk.free(SLOT).unwrap();
    disk.erase(SlotIx(2)).unwrap();
    assert_eq!(disk.erase(SLOT), Err(MediaError::NoSpace));
    disk.set_free_slots(None);
    disk.erase(SLOT).unwrap();
    assert_eq!(disk.counters().no_space, 2);
}

#[test]
fn a_flipped_bit_is_one_bit_and_lasts() {
    let disk = with_old_content(DamageModel::Random);
    disk.flip_bit(SLOT, 8 * 70 + 3);
    disk.cut();
    disk.restart();
    let found = read(&disk, 0, 8);
    let different: Vec<usize> = (0..found.len()).filter(|at| found[*at] != b'o').collect();
    assert_eq!(different, [70]);
    assert_eq!(found[70], b'o' ^ 8);
}

#[test]
fn unreadable_units_are_so_until_they_are_programmed() {
    let mut disk = with_old_content(DamageModel::Random);
    disk.make_unreadable(SLOT, UNIT + 5..UNIT * 2 + 1);
    let mut byte = [0];
    for (at, outcome) in [
        (0, Ok(())),
        (UNIT, Err(MediaError::Unreadable)),
        (UNIT * 2, Err(MediaError::Unreadable)),
        (UNIT * 3, Ok(())),
    ] {
        assert_eq!(disk.read(Place { slot: SLOT, at }, &mut byte), outcome, "at {at}");
    }
    write(&mut disk, 1, &[b'n'; UNIT as usize * 2]);
    assert_eq!(read(&disk, 1, 2), [b'n'; UNIT as usize * 2]);
}

#[test]
fn a_lying_card_loses_its_last_synced_programs() {
    let mut disk = with_old_content(DamageModel::KeepAll);
    for (unit, byte) in [(0, b'1'), (1, b'2'), (2, b'3')] {
        write(&mut disk, unit, &[byte; UNIT as usize]);
        disk.sync(SLOT).unwrap();
    }
    assert_eq!(disk.lose_synced(2), 2);
    let firsts: Vec<u8> = units(&read(&disk, 0, 3)).iter().map(|unit| unit[0]).collect();
    assert_eq!(firsts, [b'1', b'o', b'o']);
    assert_eq!(disk.lose_synced(100), 3, "the two programs of all units are the rest");
}

#[test]
fn what_a_card_can_lose_is_bounded() {
    let mut disk = with_old_content(DamageModel::KeepAll);
    for _ in 0..LOSE_MAX {
        write(&mut disk, 0, &[b'n'; UNIT as usize]);
        disk.sync(SLOT).unwrap();
    }
    assert_eq!(disk.lose_synced(LOSE_MAX + 10), LOSE_MAX);
    assert_eq!(read(&disk, 0, 1), [b'o'; UNIT as usize]);
}

#[test]
fn what_was_not_synced_yet_hides_what_a_card_loses() {
    let mut disk = with_old_content(DamageModel::DropAll);
    write(&mut disk, 0, &[b'n'; UNIT as usize]);
    assert_eq!(disk.lose_synced(1), 1);
    assert_eq!(read(&disk, 0, 1), [b'n'; UNIT as usize]);
    disk.cut();
    disk.restart();
    assert_eq!(read(&disk, 0, 2), [b'a'; UNIT as usize * 2]);
}

#[test]
fn an_image_restores_and_clones() {
    let mut disk = with_old_content(DamageModel::Random);
    let image = disk.image();
    write(&mut disk, 0, &[b'n'; UNIT as usize]);
    disk.sync(SLOT).unwrap();

    let clone = SimDisk::from_image(&image, 1);
    assert_eq!(read(&clone, 0, 8), [b'o'; UNIT as usize * 8]);
    assert_eq!(read(&disk, 0, 1), [b'n'; UNIT as usize], "a clone is apart");
    disk.restore(&image);
    assert_eq!(disk.image(), image);
}

#[test]
fn garbage_fills_fresh_slots() {
    let mut disk = disk(DamageModel::Random);
    disk.fill_fresh_slots_with_garbage();
    disk.erase(SLOT).unwrap();
    assert!(read(&disk, 0, 8).iter().any(|byte| *byte != 0));
    disk.program(place(0), &[b'o'; UNIT as usize * 8]).unwrap();
    disk.free(SLOT).unwrap();
    disk.erase(SLOT).unwrap();
    assert_eq!(read(&disk, 0, 8), [b'o'; UNIT as usize * 8], "a slot that was freed is used again");
}

#[test]
fn the_same_seed_does_the_same_damage() {
    let run = |seed| {
        let mut disk = SimDisk::from_image(&with_old_content(DamageModel::Random).image(), seed);
        disk.arm_cut(5);
        disk.program(place(0), &[b'n'; UNIT as usize * 8]).unwrap_err();
        (disk.image(), disk.counters())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
#[should_panic(expected = "not whole units")]
fn parts_of_units_are_a_defect() {
    let _ = with_old_content(DamageModel::Random).program(place(0), &[0; 10]);
}

#[test]
#[should_panic(expected = "leave their slot")]
fn leaving_a_slot_is_a_defect() {
    let _ = with_old_content(DamageModel::Random).program(place(7), &[0; UNIT as usize * 2]);
}

#[test]
#[should_panic(expected = "before it is erased")]
fn programming_a_slot_without_space_is_a_defect() {
    let _ = disk(DamageModel::Random).program(place(0), &[0; UNIT as usize]);
}
