//! A device's life: append, start again, fill up, go on.

use landfall_core::num::{Offset, Partition};
use landfall_device::nor::Operations;
use landfall_device::{AppendError, Device, Memory, OpenError};

use crate::rig::{Chip, SLOT_BYTES, SLOTS, append, nor, open, stored};

#[test]
fn what_was_appended_is_there_after_a_start() {
    let chip = Chip::new(11);
    let (mut device, recovery) = open(&chip, 1).unwrap();
    assert!(recovery.created);
    for number in 0..50 {
        assert_eq!(append(&mut device, number), Ok(Offset::new(number)));
    }
    drop(device);
    let (mut device, recovery) = open(&chip, 2).unwrap();
    assert!(!recovery.created && !recovery.clean);
    assert_eq!(append(&mut device, 50), Ok(Offset::new(50)));
    assert_eq!(stored(&device), (0..51).map(|number| (number, number)).collect::<Vec<_>>());
    device.close().unwrap();
    assert!(open(&chip, 3).unwrap().1.clean);
}

#[test]
fn a_full_flash_refuses_records_until_the_centre_has_some() {
    let chip = Chip::new(12);
    let (mut device, _) = open(&chip, 1).unwrap();
    let mut number = 0;
    while number < FAR_TOO_MANY && append(&mut device, number).is_ok() {
        number += 1;
    }
    assert_eq!(append(&mut device, number), Err(AppendError::Full));
    assert_eq!(stored(&device).len() as u64, number, "nothing was dropped");

    let sea = device.stream("sea", Partition::new(0)).unwrap();
    device.promise(sea, Offset::new(number / 2));
    for more in number..number + 20 {
        append(&mut device, more).unwrap();
    }
    let left = stored(&device);
    assert!(left[0].0 > 0 && left[0].0 <= number / 2, "only what the centre has was dropped");
    assert_eq!(left.last(), Some(&(number + 19, number + 19)));
}

/// More records than the chip has room for.
const FAR_TOO_MANY: u64 = 2_000;

/// The most that one append may do, whatever its segments and the control lane's make it do.
const APPEND_MOST: Operations =
    Operations { reads: 4, bytes_read: 1_600, programs: 8, bytes_programmed: 2_048, erases: 2 };

#[test]
fn an_append_does_a_bounded_number_of_things_to_the_flash() {
    let chip = Chip::new(13);
    let (mut device, _) = open(&chip, 1).unwrap();
    let mut most = Operations::default();
    for number in 0..3_000 {
        let before = device.operations();
        append(&mut device, number).unwrap();
        let done = device.operations().since(before);
        let sea = device.stream("sea", Partition::new(0)).unwrap();
        device.promise(sea, Offset::new(number + 1));
        most = most.max(done);
    }
    assert!(most.max(APPEND_MOST) == APPEND_MOST, "an append did {most:?}");
    assert!(most.erases == 2, "segments changed while it was counted");
}

#[test]
fn opening_a_full_flash_reads_no_more_than_one_and_a_half_times_its_bytes() {
    let chip = Chip::new(14);
    let (mut device, _) = open(&chip, 1).unwrap();
    let filled = (0..FAR_TOO_MANY).any(|number| append(&mut device, number).is_err());
    assert!(filled);
    drop(device);
    let (device, _) = open(&chip, 2).unwrap();
    let done = device.operations();
    assert!(done.bytes_read <= SLOTS * SLOT_BYTES * 3 / 2, "opening read {done:?}");
    assert!(done.erases <= 2, "opening erased {done:?}");
}

#[test]
fn memory_that_is_too_small_is_refused_before_anything_is_written() {
    let chip = Chip::new(15);
    let memory = Memory { slots: &mut [], commit: &mut [0; 1536], read: &mut [0; 640] };
    let fresh = landfall_core::journal::Fresh {
        log: landfall_core::num::LogId::new(1),
        epoch: landfall_core::num::Epoch::new(1),
        boot: landfall_core::num::BootId::new(1),
        first_commit: landfall_core::num::CommitNo::new(1),
    };
    let opened = Device::<_, 2>::open(nor(&chip), "buoy-4", memory, fresh);
    assert_eq!(opened.err(), Some(OpenError::Memory));
    assert_eq!(chip.0.counters().erases, 0);
}
