//! Each fault of the simulated flash does what it says.

use super::*;

const UNIT: u32 = 16;
const BLANK: [u8; UNIT as usize] = [0xFF; UNIT as usize];
const SLOT: SlotIx = SlotIx(0);

fn chip(seed: u64) -> SimNor {
    SimNor::new(4, UNIT * 16, UNIT, seed)
}

/// A chip whose slot 0 was erased and filled with `o`.
fn filled(seed: u64) -> SimNor {
    let mut chip = chip(seed);
    chip.erase(SLOT).unwrap();
    chip.program(place(0), &[b'o'; UNIT as usize * 16]).unwrap();
    chip
}

fn place(unit: u32) -> Place {
    Place { slot: SLOT, at: unit * UNIT }
}

fn read(chip: &SimNor) -> Vec<Vec<u8>> {
    let mut buffer = vec![0; UNIT as usize * 16];
    chip.read(place(0), &mut buffer).unwrap();
    buffer.chunks(UNIT as usize).map(<[u8]>::to_vec).collect()
}

fn interrupted(damage: EraseDamage, seed: u64) -> SimNor {
    let mut chip = filled(seed);
    chip.set_erase_damage(damage);
    chip.arm_cut_at_erase(1);
    assert_eq!(chip.erase(SLOT), Err(MediaError::Failed));
    assert_eq!(chip.read(place(0), &mut [0]), Err(MediaError::Failed), "the power is off");
    chip.restart();
    chip
}

#[test]
fn what_was_programmed_needs_no_sync() {
    let chip = filled(1);
    chip.cut();
    assert!(!chip.is_on());
    chip.restart();
    assert!(read(&chip).iter().all(|unit| unit == &[b'o'; UNIT as usize]));
}

#[test]
fn an_erase_blanks_its_slot_and_wears_it() {
    let mut chip = filled(1);
    chip.erase(SLOT).unwrap();
    assert!(read(&chip).iter().all(|unit| unit == &BLANK));
    assert_eq!(chip.wear(), (0, 2));
}

#[test]
#[should_panic(expected = "unit 3 of slot 0 is programmed without a completed erase")]
fn programming_a_unit_twice_is_a_defect() {
    let _ = filled(1).program(place(3), &BLANK);
}

#[test]
#[should_panic(expected = "without a completed erase")]
fn programming_a_new_chip_is_a_defect() {
    let _ = chip(1).program(place(0), &BLANK);
}

#[test]
fn a_torn_unit_has_some_bits_and_the_next_ones_none() {
    for (torn, is_right) in [
        (TornUnit::Blank, (|unit: &[u8]| unit == BLANK) as fn(&[u8]) -> bool),
        (TornUnit::Whole, |unit| unit == [b'n'; UNIT as usize]),
        (TornUnit::Bits, |unit| {
            unit != BLANK
                && unit != [b'n'; UNIT as usize]
                && unit.iter().all(|byte| byte & b'n' == b'n')
        }),
    ] {
        let mut chip = chip(3);
        chip.set_torn(torn);
        chip.erase(SLOT).unwrap();
        chip.arm_cut(2);
        let bytes = [b'n'; UNIT as usize * 3];
        assert_eq!(chip.program(place(0), &bytes), Err(MediaError::Failed));
        assert_eq!(chip.sync(SLOT), Err(MediaError::Failed));
        chip.restart();
        let found = read(&chip);
        assert_eq!(found[0], [b'n'; UNIT as usize]);
        assert!(is_right(&found[1]), "{torn:?}: {:?}", found[1]);
        assert_eq!(found[2], BLANK);
        assert_eq!((chip.units_programmed(), chip.counters().torn), (2, 1));
        chip.program(place(2), &BLANK).unwrap();
    }
}

#[test]
#[should_panic(expected = "without a completed erase")]
fn a_torn_unit_that_reads_blank_is_not() {
    let mut chip = chip(3);
    chip.set_torn(TornUnit::Blank);
    chip.erase(SLOT).unwrap();
    chip.arm_cut(1);
    chip.program(place(0), &[b'n'; UNIT as usize]).unwrap_err();
    chip.restart();
    let _ = chip.program(place(0), &[b'n'; UNIT as usize]);
}

#[test]
fn an_interrupted_erase_may_keep_the_front_and_zero_the_rest() {
    for seed in 0..20 {
        let found = read(&interrupted(EraseDamage::ZeroedTail, seed));
        let kept = found.iter().take_while(|unit| **unit == [b'o'; UNIT as usize]).count();
        assert!((1..16).contains(&kept));
        assert!(found[kept..].iter().all(|unit| unit == &[0; UNIT as usize]));
    }
}

#[test]
fn an_interrupted_erase_may_blank_some_units() {
    let found = read(&interrupted(EraseDamage::PartlyBlank, 1));
    let blank = found.iter().filter(|unit| **unit == BLANK).count();
    let old = found.iter().filter(|unit| **unit == [b'o'; UNIT as usize]).count();
    assert!(blank > 0 && old > 0 && blank + old == 16, "{blank} blank, {old} old");
}

#[test]
fn an_interrupted_erase_may_raise_some_bits() {
    let found = read(&interrupted(EraseDamage::RandomBits, 1)).concat();
    assert!(found.iter().all(|byte| byte & b'o' == b'o'));
    assert!(found.iter().any(|byte| *byte != b'o') && found.iter().any(|byte| *byte != 0xFF));
}

#[test]
fn an_interrupted_erase_may_leave_units_that_read_differently_each_time() {
    let mut chip = interrupted(EraseDamage::Unstable, 1);
    assert_ne!(read(&chip), read(&chip));
    chip.erase(SLOT).unwrap();
    assert!((0..10).all(|_| read(&chip).iter().all(|unit| unit == &BLANK)));
}

#[test]
fn an_interrupted_erase_must_be_repeated() {
    for damage in EraseDamage::ALL {
        let mut chip = interrupted(damage, 5);
        assert!((0..16).all(|unit| !chip.chip().block(SLOT).is_erased(unit)), "{damage:?}");
        chip.erase(SLOT).unwrap();
        chip.program(place(0), &BLANK).unwrap();
        assert_eq!((chip.wear(), chip.counters().erases_lost), ((0, 3), 1));
    }
}

#[test]
fn unreadable_units_are_so_until_they_are_erased() {
    let mut chip = filled(1);
    chip.make_unreadable(SLOT, UNIT..UNIT + 1);
    assert_eq!(chip.read(place(1), &mut [0]), Err(MediaError::Unreadable));
    assert_eq!(chip.read(place(2), &mut [0]), Ok(()));
    chip.erase(SLOT).unwrap();
    assert_eq!(chip.read(place(1), &mut [0]), Ok(()));
}

#[test]
fn a_torn_unit_may_waver_or_be_unreadable_until_it_is_erased() {
    for torn in [TornUnit::Unstable, TornUnit::Unreadable] {
        let mut chip = chip(3);
        chip.set_torn(torn);
        chip.erase(SLOT).unwrap();
        chip.arm_cut(1);
        chip.program(place(0), &[b'n'; UNIT as usize]).unwrap_err();
        chip.restart();
        if torn == TornUnit::Unstable {
            let (one, other) = (read(&chip), read(&chip));
            assert_ne!(one[0], other[0]);
            assert!(one[0].iter().all(|byte| byte & b'n' == b'n'), "no bit fell that was to stay");
            assert_eq!(one[1], BLANK);
        } else {
            assert_eq!(chip.read(place(0), &mut [0]), Err(MediaError::Unreadable));
        }
        chip.erase(SLOT).unwrap();
        assert!((0..10).all(|_| read(&chip).iter().all(|unit| unit == &BLANK)));
    }
}

#[test]
fn an_interrupted_erase_may_leave_units_that_cannot_be_read() {
    let mut chip = interrupted(EraseDamage::Unreadable, 1);
    let lost = (0..16).filter(|unit| chip.read(place(*unit), &mut [0]).is_err()).count();
    assert!((1..16).contains(&lost), "{lost} units");
    chip.erase(SLOT).unwrap();
    assert!(read(&chip).iter().all(|unit| unit == &BLANK));
}

#[test]
fn a_flipped_bit_is_one_bit() {
    let chip = filled(1);
    chip.flip_bit(SLOT, 9);
    let found = read(&chip).concat();
    assert_eq!(found.iter().filter(|byte| **byte != b'o').count(), 1);
    assert_eq!(found[1], b'o' ^ 2);
}
