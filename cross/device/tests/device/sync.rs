//! A device brings its records to real nodes, over a stream that breaks, through starts and power
//! cuts.

use landfall_core::num::{Offset, Timestamp};
use landfall_device::uplink::{Ended, Uplink};
use landfall_protocol::time::Instant;
use landfall_simulation::media::disk::SimDisk;
use landfall_simulation::media::power::Step;
use landfall_simulation::rng::Rng;

use crate::rig::{Chip, Opened, append, open, stored, uplink};
use crate::site::{Chain, Site};
use crate::wire::Wire;

/// A device that does not know the date.
const NO_CALENDAR: Timestamp = Timestamp::new(0);

/// How far the device's records are durable at the root, as far as the device knows.
fn durable(device: &Opened) -> u64 {
    use landfall_core::frontier::{BranchIx, Frontier, StreamIx};
    let branch = device.journal().frontier().branch(StreamIx(0), BranchIx::MAIN);
    branch.map_or(0, |branch| branch.root.get())
}

/// Lets both ends work until neither has anything to do; time passes by a millisecond a turn.
fn settle(
    device: &mut Opened,
    uplink: &mut Uplink<'_, 2>,
    wire: &mut Wire,
    now: &mut u64,
    mut turn: impl FnMut(&mut Wire, u64),
) {
    let mut idle = 0;
    while idle < 5 {
        let busy = uplink.poll(device, Instant::from_millis(*now), NO_CALENDAR, wire);
        turn(wire, *now);
        idle = if busy || !wire.down.is_empty() { 0 } else { idle + 1 };
        *now += 1;
    }
}

fn connect(uplink: &mut Uplink<'_, 2>, wire: &mut Wire, now: u64) {
    *wire = Wire::default();
    uplink.connected(Instant::from_millis(now));
}

#[test]
fn records_arrive_once_and_make_room_for_more_than_the_flash_holds() {
    let (mut hub, mut wire, mut now) = (Site::new("hub", false, 500), Wire::default(), 1_000);
    let (mut device, mut uplink) = (open(&Chip::new(31), 1).unwrap().0, uplink());
    hub.connect(now);
    connect(&mut uplink, &mut wire, now);
    for number in 0..1_000 {
        append(&mut device, number).unwrap();
        if number % 10 == 0 {
            settle(&mut device, &mut uplink, &mut wire, &mut now, |wire, now| hub.turn(wire, now));
            assert_eq!(durable(&device), number + 1);
        }
    }
    settle(&mut device, &mut uplink, &mut wire, &mut now, |wire, now| hub.turn(wire, now));
    assert_eq!(hub.records(), (0..1_000).collect::<Vec<_>>());
    assert_eq!(durable(&device), 1_000);
    assert!(stored(&device).len() < 1_000, "what the hub has made room");
    assert!(uplink.is_open() && !uplink.has_parted());
    assert_eq!(hub.alarms(), [""; 0]);
}

#[test]
fn wherever_the_stream_breaks_and_the_power_goes_each_record_arrives_once() {
    let mut cuts = 0;
    for seed in 0..30 {
        let (mut rng, chip) = (Rng::new(seed), Chip::new(seed));
        let (mut hub, mut wire, mut now) = (Site::new("hub", false, 500), Wire::default(), 1_000);
        let mut acknowledged = Vec::new();
        for boot in 1..12 {
            chip.0.restart();
            chip.0.arm(Step::Unit, 1 + rng.below(3_000));
            let Ok((mut device, _)) = open(&chip, boot) else { continue };
            let mut uplink = uplink();
            'alive: for _ in 0..6 {
                hub.connect(now);
                connect(&mut uplink, &mut wire, now);
                for _ in 0..rng.below(300) {
                    if rng.chance(1, 8) {
                        let number = rng.u64();
                        let Ok(offset) = append(&mut device, number) else { break 'alive };
                        // What was in flight when the power went may have been stored.
                        acknowledged.truncate(offset.get() as usize);
                        acknowledged.resize(offset.get() as usize, None);
                        acknowledged.push(Some(number));
                    }
                    uplink.poll(&mut device, Instant::from_millis(now), NO_CALENDAR, &mut wire);
                    hub.turn(&mut wire, now);
                    now += 1;
                }
                hub.disconnect(now);
                uplink.disconnected();
            }
            cuts += u64::from(!chip.0.is_on());
        }
        chip.0.restart();
        let (mut device, _) = open(&chip, 99).unwrap();
        let mut uplink = uplink();
        hub.connect(now);
        connect(&mut uplink, &mut wire, now);
        settle(&mut device, &mut uplink, &mut wire, &mut now, |wire, now| hub.turn(wire, now));
        let found = hub.records();
        assert_eq!(found.len() as u64, durable(&device), "seed {seed}: all is durable");
        assert!(found.len() >= acknowledged.len(), "seed {seed}: nothing is lost");
        for (offset, number) in acknowledged.iter().enumerate() {
            assert!(number.is_none_or(|number| found[offset] == number), "seed {seed}: {offset}");
        }
        assert_eq!(hub.alarms(), [""; 0], "seed {seed}");
    }
    assert!(cuts > 30, "the power went {cuts} times");
}

#[test]
fn a_device_changes_its_gateway_after_it_forgot_the_beginning() {
    let (mut wire, mut now) = (Wire::default(), 1_000);
    let (mut device, mut uplink) = (open(&Chip::new(33), 1).unwrap().0, uplink());
    let mut chain = Chain::new(Site::new("first", true, 501), Site::new("hub", false, 500), now);
    chain.gateway.connect(now);
    connect(&mut uplink, &mut wire, now);
    for number in 0..300 {
        append(&mut device, number).unwrap();
        settle(&mut device, &mut uplink, &mut wire, &mut now, |wire, now| chain.turn(wire, now));
    }
    assert_eq!(durable(&device), 300, "the root has it, the gateway says");
    assert!(stored(&device)[0].0 > 0, "the beginning is forgotten");

    // Offline it goes on, and then it meets a gateway that never saw it.
    for number in 300..320 {
        append(&mut device, number).unwrap();
    }
    let mut chain = Chain::new(Site::new("second", true, 502), chain.root, now);
    chain.gateway.connect(now);
    connect(&mut uplink, &mut wire, now);
    settle(&mut device, &mut uplink, &mut wire, &mut now, |wire, now| chain.turn(wire, now));
    assert_eq!(uplink.ended(), Some(Ended::RootUnknown), "the gateway had just been connected");
    chain.gateway.connect(now);
    connect(&mut uplink, &mut wire, now);
    settle(&mut device, &mut uplink, &mut wire, &mut now, |wire, now| chain.turn(wire, now));
    assert_eq!(durable(&device), 320);
    assert_eq!(chain.root.records(), (0..320).collect::<Vec<_>>());
    assert_eq!(chain.root.alarms(), [""; 0]);
    assert_eq!(chain.gateway.alarms(), [""; 0]);
}

#[test]
fn a_hub_that_was_restored_from_a_backup_gets_again_what_the_device_still_has() {
    let (mut wire, mut now) = (Wire::default(), 1_000);
    let (mut device, mut uplink) = (open(&Chip::new(34), 1).unwrap().0, uplink());
    let disk = SimDisk::memory(66, 2 * 1024 * 1024);
    let mut hub = Site::on(disk.clone(), "hub", false, 500);
    hub.connect(now);
    connect(&mut uplink, &mut wire, now);
    let mut backup = None;
    for number in 0..60 {
        append(&mut device, number).unwrap();
        settle(&mut device, &mut uplink, &mut wire, &mut now, |wire, now| hub.turn(wire, now));
        if number == 0 {
            backup = Some(disk.image());
        }
    }
    assert_eq!(durable(&device), 60);
    let disk = SimDisk::from_image(&backup.unwrap(), 7);
    let mut hub = Site::on(disk, "hub", false, 777);
    assert_eq!(hub.records().len(), 1);
    hub.connect(now);
    connect(&mut uplink, &mut wire, now);
    settle(&mut device, &mut uplink, &mut wire, &mut now, |wire, now| hub.turn(wire, now));
    assert_eq!(hub.records(), (0..60).collect::<Vec<_>>());
}

#[test]
fn what_an_old_image_of_the_flash_writes_is_not_taken_for_what_it_lost() {
    let (mut hub, mut wire, mut now) = (Site::new("hub", false, 500), Wire::default(), 1_000);
    let (chip, mut old) = (Chip::new(37), None);
    let (mut device, mut link) = (open(&chip, 1).unwrap().0, uplink());
    hub.connect(now);
    connect(&mut link, &mut wire, now);
    for number in 0..60 {
        if number == 30 {
            old = Some(Chip(chip.0.duplicate()));
        }
        append(&mut device, number).unwrap();
        settle(&mut device, &mut link, &mut wire, &mut now, |wire, now| hub.turn(wire, now));
    }
    assert!(!link.has_parted());

    let (mut device, mut link) = (open(&old.unwrap(), 2).unwrap().0, uplink());
    for number in 1_000..1_010 {
        append(&mut device, number).unwrap();
    }
    hub.connect(now);
    connect(&mut link, &mut wire, now);
    settle(&mut device, &mut link, &mut wire, &mut now, |wire, now| hub.turn(wire, now));
    assert!(link.has_parted(), "a person should look at it");
    assert_eq!(durable(&device), 40, "the hub has the new records too");
    let lost: Vec<_> = (0..60).chain(1_000..1_010).collect();
    assert_eq!(hub.values(), lost, "and keeps the old ones");
}

#[test]
fn a_gateway_that_falls_silent_is_pinged_and_given_up() {
    let (mut hub, mut wire, mut now) = (Site::new("hub", false, 500), Wire::default(), 1_000);
    let (mut device, mut uplink) = (open(&Chip::new(35), 1).unwrap().0, uplink());
    hub.connect(now);
    connect(&mut uplink, &mut wire, now);
    settle(&mut device, &mut uplink, &mut wire, &mut now, |wire, now| hub.turn(wire, now));
    assert!(uplink.is_open());
    for _ in 0..4 {
        now += 20_000;
        settle(&mut device, &mut uplink, &mut wire, &mut now, |wire, now| hub.turn(wire, now));
    }
    assert!(uplink.is_open(), "pings and their answers keep it open");
    let heard = now;
    while uplink.ended().is_none() && now < heard + 120_000 {
        uplink.poll(&mut device, Instant::from_millis(now), NO_CALENDAR, &mut wire);
        wire.up.clear();
        now += 1_000;
    }
    assert_eq!(uplink.ended(), Some(Ended::Silent));
    assert!((44_000..=66_000).contains(&(now - heard)), "after {} ms", now - heard);
}

#[test]
fn any_bytes_end_the_session_and_nothing_else() {
    let mut ended = 0;
    for seed in 0..400 {
        let (mut hub, mut wire, mut now) = (Site::new("hub", false, 500), Wire::default(), 1_000);
        let (mut device, mut uplink, mut rng) =
            (open(&Chip::new(36), 1).unwrap().0, uplink(), Rng::new(seed));
        append(&mut device, 7).unwrap();
        hub.connect(now);
        connect(&mut uplink, &mut wire, now);
        for _ in 0..rng.below(40) {
            uplink.poll(&mut device, Instant::from_millis(now), NO_CALENDAR, &mut wire);
            hub.turn(&mut wire, now);
            now += 1;
        }
        for _ in 0..50 {
            // Some of it has the form of a chunk on the control channel.
            let mut noise = vec![0; 1 + rng.below(60) as usize];
            rng.fill(&mut noise);
            if rng.chance(1, 2) {
                wire.down.extend([0, noise.len() as u8, 0]);
            }
            wire.down.extend(noise);
            uplink.poll(&mut device, Instant::from_millis(now), NO_CALENDAR, &mut wire);
        }
        ended += u64::from(uplink.ended().is_some());
        assert_eq!(append(&mut device, 8), Ok(Offset::new(1)), "seed {seed}");
    }
    assert!(ended > 350, "{ended} of 400 sessions ended");
}
