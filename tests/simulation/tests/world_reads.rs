//! Worlds in which a disk refuses to read for a moment, at one place after the other. Nothing may
//! be judged, stated or passed over because it could not be seen.

#![expect(clippy::single_range_in_vec_init, reason = "offsets that are here are a list of ranges")]

use landfall_core::gap::GapReason;
use landfall_node::{AlarmKind, TrimAt};
use landfall_simulation::world::{DiskShape, World};

/// Runs a scenario with failing reads behind none, one, two, ... others that succeed, and returns
/// in how many of the runs somebody noticed.
fn at_each_read(host: &str, scenario: impl Fn(&mut dyn FnMut(&mut World)) -> World) -> usize {
    let noticed = (1..40).filter(|first| {
        let world = scenario(&mut |world| world.disk(host).fail_reads(*first..first + 3));
        let mut alarms = world.node(host).alarms();
        alarms.any(|alarm| alarm.kind == AlarmKind::Unreadable)
    });
    noticed.count()
}

#[test]
fn what_is_sent_back_is_sent_back_whole() {
    let noticed = at_each_read("H", |fail| {
        let mut world = World::device_and_hub(1);
        let epoch = world.epoch("D");
        world.append("D", "s", 100);
        world.sync();
        let image = world.image("D");
        world.append_bulk("D", "s", 300);
        world.sync();
        world.restore("D", &image);
        fail(&mut world);
        world.run(60_000);
        world.disk("H").fail_reads(0..0);
        world.sync();
        world.expect("D", "D/s/0", epoch, &[0..400]);
        world.check_delivered("H");
        world
    });
    assert!(noticed > 3, "only {noticed} runs met a read that failed");
}

#[test]
fn what_is_wanted_again_is_not_stated_to_be_gone() {
    let noticed = at_each_read("D", |fail| {
        let mut world = World::device_and_hub(2);
        let epoch = world.epoch("D");
        world.append("D", "s", 100);
        world.sync();
        let backup = world.image("H");
        world.append_bulk("D", "s", 1_000);
        world.sync();
        world.restore("H", &backup);
        fail(&mut world);
        world.run(60_000);
        world.disk("D").fail_reads(0..0);
        world.sync();
        world.expect("H", "D/s/0", epoch, &[0..1_100]);
        world.expect_gaps("H", "D/s/0", &[]);
        world
    });
    assert!(noticed > 3, "only {noticed} runs met a read that failed");
}

#[test]
fn what_comes_twice_is_not_taken_for_another_history() {
    let noticed = at_each_read("H", |fail| {
        let mut world = World::device_and_hub(3);
        let epoch = world.epoch("D");
        world.sync();
        // More bodies than there are rungs; when the device has forgotten the promises, they come
        // again.
        for _ in 0..30 {
            world.append_bulk("D", "s", 100);
            world.run(500);
        }
        world.kill("D");
        // Far away, much is sent before the hub can say what it has.
        world.set_network(2_000, None);
        world.boot("D");
        fail(&mut world);
        world.run(60_000);
        world.disk("H").fail_reads(0..0);
        world.sync();
        world.expect("H", "D/s/0", epoch, &[0..3_000]);
        world.expect_no_alarm("H", AlarmKind::Fork);
        world
    });
    assert!(noticed > 0, "no run met a read that failed");
}

#[test]
fn what_comes_late_for_a_gap_is_kept_apart() {
    let noticed = at_each_read("H", |fail| {
        let mut world = World::device_two_gateways_and_hub(4);
        world.configure("D", |settings| {
            settings.trim_at = TrimAt::Hop;
            settings.keep_acked_ms = 10_000;
        });
        world.append_bulk("D", "s", 100);
        world.sync();
        world.part("G1", "H");
        world.append_bulk("D", "s", 700);
        world.run(60_000);
        world.append("D", "s", 1);
        let kept = world.first_offset("D", "D/s/0");
        world.run(10_000);
        world.kill("G1");
        world.roam("D", "G2");
        world.run(60_000);
        world.heal();
        world.boot("G1");
        fail(&mut world);
        world.run(60_000);
        world.disk("H").fail_reads(0..0);
        world.sync();
        world.expect("H", "D/s/0", world.epoch("D"), &[0..801]);
        world.expect_gaps("H", "D/s/0", &[(100..kept, GapReason::HopLost)]);
        world
    });
    assert!(noticed > 3, "only {noticed} runs met a read that failed");
}

#[test]
fn a_node_learns_its_own_topics_although_its_disk_refuses_at_first() {
    let mut world = World::new(5);
    world.hub("H");
    world.device("G", "H");
    world.device("D", "H");
    world.configure("D", |settings| settings.keep_acked_ms = 0);
    world.append_bulk("D", "s", 1_000);
    world.run(30_000);
    world.append("D", "s", 1);
    world.sync();
    assert!(world.first_offset("D", "D/s/0") > 0, "D has forgotten what is durable at H");
    world.roam("D", "G");
    world.offline("D");
    // A start after a crash reads a little more than the next.
    world.crash("D");
    let before = world.disk("D").counters().reads;
    world.crash("D");
    let reads = world.disk("D").counters().reads - before;
    world.kill("D");
    world.disk("D").fail_reads(reads..reads + 1);
    world.boot("D");
    world.expect_alarm("D", AlarmKind::Unreadable, "journal");
    world.append("D", "s", 1);
    world.run(5_000);
    world.online("D");
    world.sync();
    world.expect_gaps("H", "D/s/0", &[]);
    world.expect_gaps("G", "D/s/0", &[]);
    assert!(world.first_offset("G", "D/s/0") > 0, "what H has is not asked for again");
    world.check_delivered("H");
}

#[test]
fn what_is_repeated_is_not_looked_up_piece_by_piece_behind_a_pause() {
    let mut world = World::device_two_gateways_and_hub(3);
    world.device("R", "G1");
    world.roam("D", "R");
    world.offline("H");
    for _ in 0..300 {
        ["a", "b", "c", "d"].iter().for_each(|topic| world.append("D", topic, 20));
    }
    world.run(60_000);
    world.roam("R", "G2");
    world.run(60_000);
    let before = world.disk("G1").counters().reads;
    world.set_network(1, Some(10));
    world.roam("R", "G1");
    world.run(5_000);
    world.part("R", "G1");
    world.run(5_000);
    world.heal();
    world.run(60_000);
    let reads = world.disk("G1").counters().reads - before;
    assert!((1..60).contains(&reads), "{reads} reads, most of them to look at what is repeated");
    world.set_network(1, None);
    world.online("H");
    world.sync();
    world.check_delivered("H");
}

#[test]
fn streams_that_take_turns_are_looked_up_from_where_each_was_found() {
    let mut world = World::new(4);
    world.set_disks(DiskShape::LARGE);
    world.hub("H");
    ["G1", "G2"].iter().for_each(|gateway| world.device(gateway, "H"));
    world.device("R", "G1");
    world.device("D", "R");
    world.offline("H");
    for _ in 0..60 {
        ["a", "b", "c", "d"].iter().for_each(|topic| world.append_bulk("D", topic, 100));
        world.run(1_000);
        world.restart("D");
    }
    world.run(60_000);
    world.roam("R", "G2");
    world.run(60_000);
    let before = world.disk("G1").counters().reads;
    world.roam("R", "G1");
    world.run(60_000);
    let reads = world.disk("G1").counters().reads - before;
    assert!((1..4_000).contains(&reads), "{reads} reads to look at 240 entries");
    world.online("H");
    world.sync();
    world.check_delivered("H");
}
