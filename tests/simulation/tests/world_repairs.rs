//! A hub that was restored from a backup is refilled through a gateway that has forgotten what it
//! passed on. D is a device, G its gateway, H the hub at the root; `s` is a topic of D.

#![expect(clippy::single_range_in_vec_init, reason = "offsets that are here are a list of ranges")]

use landfall_core::gap::GapReason;
use landfall_core::num::Epoch;
use landfall_node::AlarmKind;
use landfall_simulation::world::{Backup, DiskShape, World};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// H had 100 records of `s` when it was copied and has 350 more for each slot of G now. G has a
/// small disk and forgets what is in the way; D keeps what H has for so long.
fn hub_has_more_than_its_backup(
    seed: u64,
    keep_acked_ms: u64,
    slots: u32,
) -> (World, Backup, Epoch) {
    let mut world = World::new(seed);
    world.hub("H");
    world.device("D", "G");
    world.configure("D", |settings| settings.keep_acked_ms = keep_acked_ms);
    world.set_disks(DiskShape { normal_slots: slots, ..DiskShape::STANDARD });
    world.device("G", "H");
    world.run(5_000);
    let epoch = world.epoch("D");
    world.append("D", "s", 100);
    world.append("D", "quiet", 5);
    world.sync();
    let backup = world.image("H");
    world.append("D", "quiet", 5);
    world.append_bulk("D", "s", 350 * u64::from(slots));
    world.run(60_000);
    world.append("D", "t", 1);
    world.run(30_000);
    world.sync();
    (world, backup, epoch)
}

#[test]
fn hub_restored_gateway_forgot_device_keeps_and_the_hub_is_refilled() {
    let (mut world, backup, epoch) = hub_has_more_than_its_backup(1, DAY_MS, 4);
    let kept = world.first_offset("G", "D/s/0");
    assert!(kept > 100, "G keeps from {kept}");
    world.restore("H", &backup);
    world.run(120_000);
    world.expect("H", "D/s/0", epoch, &[0..1_500]);
    world.expect("H", "D/quiet/0", epoch, &[0..10]);
    world.expect_gaps("H", "D/s/0", &[]);
    world.append("D", "s", 10);
    world.sync();
    world.expect("H", "D/s/0", epoch, &[0..1_510]);
    world.expect_no_alarm("H", AlarmKind::Fork);
    world.check_delivered("H");
}

#[test]
fn what_the_device_forgot_too_is_a_gap_at_the_hub() {
    let (mut world, backup, epoch) = hub_has_more_than_its_backup(2, 0, 4);
    let kept = world.first_offset("D", "D/s/0");
    assert!(kept > 1_000, "D keeps from {kept}");
    let kept = world.first_offset("G", "D/s/0");
    assert!((200..1_000).contains(&kept), "G keeps from {kept}");
    world.restore("H", &backup);
    world.run(120_000);
    world.expect("H", "D/s/0", epoch, &[0..100, kept..1_500]);
    world.expect_gaps("H", "D/s/0", &[(100..kept, GapReason::AcknowledgedThenLost)]);
    world.expect_gaps("G", "D/s/0", &[]);
    world.append("D", "s", 10);
    world.sync();
    world.expect("H", "D/s/0", epoch, &[0..100, kept..1_510]);
    world.check_delivered("H");
}

#[test]
fn a_repair_waits_until_the_device_is_there_and_stops_no_other_stream() {
    let (mut world, backup, epoch) = hub_has_more_than_its_backup(3, DAY_MS, 4);
    world.offline("D");
    world.restore("H", &backup);
    world.run(60_000);
    world.append("G", "own", 10);
    world.run(10_000);
    world.expect("H", "G/own/0", world.epoch("G"), &[0..10]);
    world.expect("H", "D/s/0", epoch, &[0..100]);
    world.expect_alarm("G", AlarmKind::Stalled, "D/s/0");
    world.online("D");
    world.run(120_000);
    world.expect("H", "D/s/0", epoch, &[0..1_500]);
    world.check_delivered("H");
}

#[test]
fn what_was_not_repaired_in_one_session_is_in_the_next() {
    let (mut world, backup, epoch) = hub_has_more_than_its_backup(4, DAY_MS, 4);
    world.offline("D");
    world.restore("H", &backup);
    world.run(60_000);
    world.append("G", "own", 10);
    world.run(10_000);
    world.crash("H");
    world.run(10_000);
    world.append("G", "own", 10);
    world.offline("G");
    world.run(10_000);
    world.online("G");
    world.run(60_000);
    world.expect("H", "D/quiet/0", epoch, &[0..5]);
    world.online("D");
    world.run(120_000);
    world.expect("H", "D/s/0", epoch, &[0..1_500]);
    world.expect("H", "D/quiet/0", epoch, &[0..10]);
    world.check_delivered("H");
}

#[test]
fn a_repair_that_is_cut_off_ends_all_the_same() {
    for step in 1..12 {
        let (mut world, backup, epoch) = hub_has_more_than_its_backup(10 + step, DAY_MS, 8);
        world.restore("H", &backup);
        world.run(step * 100);
        if step % 2 == 0 {
            world.offline("G");
            world.run(1_000);
            world.online("G");
        } else {
            world.crash("D");
        }
        world.run(120_000);
        world.append("D", "s", 10);
        world.run(120_000);
        world.sync();
        let end = if world.epoch("D") == epoch { 2_910 } else { 2_900 };
        world.expect("H", "D/s/0", epoch, &[0..end]);
        world.expect_gaps("H", "D/s/0", &[]);
        world.check_delivered("H");
    }
}

#[test]
fn a_statement_that_a_broken_link_swallows_is_made_again() {
    for wait in (0..200).step_by(10) {
        let mut world = World::new(9);
        world.hub("H");
        world.device("G", "H");
        world.device("D", "G");
        world.configure("D", |settings| settings.keep_acked_ms = 1_000);
        world.run(5_000);
        let empty = world.image("G");
        world.append("D", "s", 20);
        world.append_bulk("D", "t", 500);
        world.sync();
        world.run(60_000);
        world.append("D", "t", 1);
        world.sync();
        world.expect("D", "D/s/0", world.epoch("D"), &[]);
        world.restore("G", &empty);
        while world.node("G").links().filter(|link| link.open).count() < 2 {
            world.run(5);
        }
        world.run(wait);
        world.part("G", "H");
        world.run(60_000);
        world.heal();
        world.sync();
        world.check_delivered("H");
    }
}

#[test]
fn who_was_below_another_node_since_still_tells_the_hub_what_it_had_promised() {
    let mut world = World::new(11);
    world.hub("H");
    world.device("G", "H");
    world.device("D", "H");
    world.append("D", "s", 10);
    world.sync();
    let backup = world.image("H");
    world.append("D", "s", 10);
    world.sync();
    world.roam("D", "G");
    world.append("D", "t", 10);
    world.sync();
    world.offline("G");
    world.restore("H", &backup);
    world.roam("D", "H");
    world.run(60_000);
    world.expect("H", "D/s/0", world.epoch("D"), &[0..20]);
    world.expect_alarm("H", AlarmKind::PromiseLacking, "D");
    world.check_delivered("H");
}

#[test]
fn who_only_heard_through_another_node_what_the_hub_had_promised_tells_it() {
    let mut world = World::new(12);
    world.hub("H");
    world.device("G", "H");
    world.device("D", "G");
    world.append("D", "s", 10);
    world.sync();
    let backup = world.image("H");
    world.append("D", "s", 10);
    world.sync();
    world.offline("G");
    world.restore("H", &backup);
    world.roam("D", "H");
    world.run(60_000);
    world.expect("H", "D/s/0", world.epoch("D"), &[0..20]);
    world.expect_alarm("H", AlarmKind::PromiseLacking, "D");
    world.check_delivered("H");
}
