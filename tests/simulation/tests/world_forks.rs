//! Streams with two continuations, over gateways. D is a device, G its gateway, H the hub at the
//! root; `s` is a topic of D.

#![expect(clippy::single_range_in_vec_init, reason = "offsets that are here are a list of ranges")]

use landfall_core::frontier::{Branch, BranchKind, Frontier, StreamIx};
use landfall_core::gap::GapReason;
use landfall_core::num::Epoch;
use landfall_node::{AlarmKind, TrimAt};
use landfall_simulation::world::World;

#[test]
fn what_came_back_is_durable_at_the_root_although_the_session_ended_before() {
    let mut world = World::new(1);
    world.hub("H");
    world.device("G", "H");
    world.device("D", "G");
    let first = world.epoch("D");
    world.append("D", "s", 20);
    world.sync();
    let image = world.image("D");
    world.part("G", "H");
    world.append("D", "s", 10);
    world.run(30_000);
    world.restore("D", &image);
    world.append("D", "s", 5);
    world.run(30_000);
    world.expect("D", "D/s/0", first, &[0..30]);
    world.offline("D");
    world.run(30_000);
    world.heal();
    world.run(60_000);
    world.online("D");
    world.sync();
    world.expect("H", "D/s/0", first, &[0..30]);
    world.check_delivered("H");
}

#[test]
fn what_a_gateway_passed_on_is_durable_at_the_root_although_the_session_ended_before() {
    let mut world = World::new(2);
    world.hub("H");
    world.device("G2", "H");
    world.device("G1", "G2");
    world.device("D", "G1");
    world.part("G2", "H");
    world.append("D", "s", 20);
    world.run(30_000);
    world.offline("G1");
    world.run(30_000);
    world.heal();
    world.run(60_000);
    world.online("G1");
    world.sync();
    world.expect("H", "D/s/0", world.epoch("D"), &[0..20]);
    world.expect_calm();
}

#[test]
fn what_comes_in_just_before_it_is_found_to_be_lost_is_given_back_too() {
    for wait in 0..10 {
        let mut world = World::device_and_hub(3);
        world.append("D", "s", 20);
        world.sync();
        world.copy("D2", "D");
        world.offline("D2");
        world.offline("D");
        world.crash("D");
        let second = world.epoch("D");
        world.append("D", "s", 200);
        world.crash("D");
        world.run(3_000);
        world.online("D");
        world.run(wait);
        world.online("D2");
        world.run(60_000);
        world.expect("H", "D/s/0", second, &[20..220]);
        let lost = world.node("H").alarms().any(|alarm| alarm.kind == AlarmKind::TailLost);
        assert!(lost || wait < 5, "after {wait} ms\n{}", world.describe());
        let back = [20..220];
        world.expect("D2", "D/s/0", second, if lost { &back } else { &[] });
    }
}

/// D has 1,000 records of `s` at H and dials G1, G2 has none of them, and C is a copy of D.
fn copied(seed: u64) -> (World, Epoch) {
    let mut world = World::device_two_gateways_and_hub(seed);
    world.configure("D", |settings| {
        settings.trim_at = TrimAt::Hop;
        settings.keep_acked_ms = 10_000;
    });
    let epoch = world.epoch("D");
    world.append_bulk("D", "s", 1_000);
    world.sync();
    world.copy("C", "D");
    (world, epoch)
}

/// D writes 1,000 records more that only G1 gets, and forgets most of them: what it still has is
/// returned.
fn forget_what_only_g1_has(world: &mut World) -> u64 {
    world.part("G1", "H");
    world.append_bulk("D", "s", 1_000);
    world.run(60_000);
    world.append("D", "s", 1);
    world.run(10_000);
    world.first_offset("D", "D/s/0")
}

#[test]
fn a_gap_that_leads_to_what_is_here_is_no_gap_of_another_branch() {
    let (mut world, epoch) = copied(4);
    world.roam("C", "H");
    world.append_bulk("C", "s", 300);
    world.run(30_000);
    let kept = forget_what_only_g1_has(&mut world);
    assert!((1_300..2_000).contains(&kept), "D keeps from {kept}");
    world.offline("D");
    world.heal();
    world.run(90_000);
    world.expect("H", "D/s/0", epoch, &[0..2_001]);
    world.roam("D", "G2");
    world.online("D");
    world.sync();
    world.expect_gaps("G2", "D/s/0", &[(1_000..kept, GapReason::HopLost)]);
    world.expect_gaps("H", "D/s/0", &[]);
    world.expect("H", "D/s/0", epoch, &[0..2_001]);
    world.expect("H", "D/s/0", world.epoch("C"), &[1_000..1_300]);
    world.check_delivered("H");
}

#[test]
fn a_gap_of_a_short_branch_is_passed_on_behind_a_long_one() {
    let (mut world, epoch) = copied(5);
    world.part("G2", "H");
    world.roam("C", "G2");
    world.append_bulk("C", "s", 2_000);
    world.run(30_000);
    world.roam("D", "G2");
    world.append_bulk("D", "s", 200);
    world.run(30_000);
    world.expect("G2", "D/s/0", epoch, &[0..1_200]);
    world.roam("D", "G1");
    let kept = forget_what_only_g1_has(&mut world);
    assert!((1_200..2_200).contains(&kept), "D keeps from {kept}\n{}", world.describe());
    world.kill("G1");
    world.roam("D", "G2");
    world.run(60_000);
    world.heal();
    world.run(90_000);
    world.expect("H", "D/s/0", epoch, &[0..1_200, kept..2_201]);
    world.expect_gaps("H", "D/s/0", &[(1_200..kept, GapReason::HopLost)]);
    world.sync();
    world.expect("H", "D/s/0", world.epoch("C"), &[1_000..3_000]);
    world.expect_no_alarm("H", AlarmKind::Peer);
    world.check_delivered("H");
}

#[test]
fn what_is_forgotten_of_a_stream_with_forks_is_stated_and_stops_nothing() {
    let mut world = World::new(6);
    world.hub("H");
    world.device("G", "H");
    world.device("D", "G");
    world.configure("D", |settings| settings.keep_acked_ms = 10_000);
    world.append("D", "s", 100);
    world.sync();
    let (old, backup) = (world.image("D"), world.image("G"));
    world.append("D", "s", 20);
    world.sync();
    world.restore("D", &old);
    let epoch = world.epoch("D");
    world.append_bulk("D", "s", 600);
    world.run(60_000);
    world.append("D", "s", 1);
    world.run(30_000);
    let kept = world.held("D").offsets("D/s/0", epoch)[0].start;
    assert!((101..700).contains(&kept), "D keeps from {kept}");
    world.restore("G", &backup);
    world.run(60_000);
    world.append("D", "s", 5);
    world.append("D", "t", 5);
    world.sync();
    world.expect("H", "D/s/0", epoch, &[100..706]);
    world.expect("H", "D/t/0", epoch, &[0..5]);
    world.expect_gaps("H", "D/s/0", &[]);
    world.check_delivered("H");
}

#[test]
fn a_restored_device_hears_of_the_root_although_its_gateway_has_forgotten_what_it_has() {
    let mut world = World::new(7);
    world.hub("H");
    world.device("G", "H");
    world.device("D", "G");
    world.configure("G", |settings| settings.keep_acked_ms = 1_000);
    world.part("G", "H");
    world.append("D", "s", 5);
    world.run(30_000);
    world.append("D", "s", 20);
    world.run(30_000);
    world.restart("D");
    let image = world.image("D");
    world.crash("D");
    for _ in 0..5 {
        world.append_bulk("D", "s", 500);
        world.run(60_000);
    }
    world.heal();
    world.sync();
    world.run(60_000);
    world.append("D", "s", 1);
    world.run(60_000);
    assert!(world.first_offset("G", "D/s/0") > 25, "{}", world.describe());
    world.restore("D", &image);
    world.sync();
    world.check_delivered("H");
}

#[test]
fn a_fork_runs_through_a_gap_of_the_branch_that_it_left() {
    let mut world = World::new(8);
    world.hub("H");
    world.device("G", "H");
    world.device("D", "G");
    world.configure("D", |settings| settings.keep_acked_ms = 1_000);
    world.append("D", "s", 30);
    world.sync();
    for copy in ["C1", "C2"] {
        world.copy(copy, "D");
        world.offline(copy);
    }
    world.append("D", "s", 10);
    world.sync();
    let backup = world.image("G");
    world.append_bulk("D", "s", 1_000);
    world.sync();
    world.run(60_000);
    world.append("D", "s", 1);
    world.sync();
    let kept = world.first_offset("D", "D/s/0");
    world.restore("G", &backup);
    world.run(60_000);
    world.expect_gaps("G", "D/s/0", &[(40..kept, GapReason::AcknowledgedThenLost)]);
    for (copy, count) in [("C1", 40), ("C2", 20)] {
        let epoch = world.epoch(copy);
        world.append(copy, "s", count);
        world.online(copy);
        world.run(60_000);
        world.expect("G", "D/s/0", epoch, &[30..30 + count]);
        world.expect("H", "D/s/0", epoch, &[30..30 + count]);
        let frontier = world.node("G").journal().frontier();
        let ix = (0..frontier.streams()).map(StreamIx).find(|ix| {
            let name = frontier.name(*ix);
            (name.origin, name.topic) == ("D", "s")
        });
        let late = |(_, branch): (_, Branch)| branch.kind == BranchKind::Late;
        assert!(!frontier.branches(ix.unwrap()).any(late), "{}", world.describe());
    }
    world.check_delivered("H");
}
