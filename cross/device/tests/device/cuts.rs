//! The power goes at any unit and in any erase.

use landfall_simulation::media::power::Step;

use crate::rig::{Chip, append, open, stored};

/// Appends until the power goes, starts again, appends once more, and looks at what is there.
fn cut(step: Step, nth: u64) -> bool {
    let chip = Chip::new(nth);
    chip.0.arm(step, nth);
    let mut acknowledged = 0;
    if let Ok((mut device, _)) = open(&chip, 1) {
        while acknowledged < 120 && append(&mut device, acknowledged).is_ok() {
            acknowledged += 1;
        }
    }
    if chip.0.is_on() {
        return false;
    }
    chip.0.restart();
    let (mut device, _) = open(&chip, 2).unwrap_or_else(|error| panic!("{step:?} {nth}: {error}"));
    let found = stored(&device);
    let there = found.len() as u64;
    let whole = there == acknowledged || there == acknowledged + 1;
    assert!(whole, "{step:?} {nth}: {acknowledged} were acknowledged, {there} are there");
    append(&mut device, there).unwrap();
    let expected: Vec<_> = (0..=there).map(|number| (number, number)).collect();
    assert_eq!(stored(&device), expected, "{step:?} {nth}");
    true
}

#[test]
fn every_acknowledged_record_is_there_once_wherever_the_power_goes() {
    let cuts = (1..).take_while(|nth| cut(Step::Unit, *nth)).count();
    assert!(cuts > 1_000, "the power went in each of {cuts} units");
    let erases = (1..).take_while(|nth| cut(Step::Erase, *nth)).count();
    assert!(erases > 5, "the power went in each of {erases} erases");
}
