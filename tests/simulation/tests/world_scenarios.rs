//! The rules of the design as named cases, 12 to 28: catching up, chains and roaming. D is a
//! device, G1 and G2 are gateways, H is the hub at the root; `s` is a topic of D.

#![expect(clippy::single_range_in_vec_init, reason = "offsets that are here are a list of ranges")]

use landfall_core::gap::GapReason;
use landfall_core::num::{Lane, Seq};
use landfall_node::{AlarmKind, TopicSettings, TrimAt};
use landfall_simulation::world::{DiskShape, Rule, World};

#[test]
fn case_12_resume_after_a_cut_at_every_byte() {
    for bytes in 1.. {
        let mut world = World::device_and_hub(bytes as u64);
        world.offline("D");
        let epoch = world.epoch("D");
        world.append("D", "s", 3);
        world.trickle("D", "t", 2);
        world.cut_next_after(bytes);
        world.online("D");
        world.sync();
        world.expect("H", "D/s/0", epoch, &[0..3]);
        world.expect("H", "D/t/0", epoch, &[0..2]);
        world.check_delivered("H");
        world.expect_calm();
        if world.cut_is_due() {
            return assert!(bytes > 500, "only {bytes} bytes were tried");
        }
    }
}

#[test]
fn case_13_a_week_of_single_records_arrives_as_a_few_bodies() {
    let mut world = World::new(13);
    world.set_disks(DiskShape { normal_slots: 100, ..DiskShape::STANDARD });
    world.hub("H");
    world.device("D", "H");
    world.offline("D");
    let epoch = world.epoch("D");
    world.trickle("D", "s", 20_000);
    world.online("D");
    world.sync();
    world.expect("H", "D/s/0", epoch, &[0..20_000]);
    let entries = world.held("H").entries;
    assert!(entries < 40, "20,000 records came as {entries} entries");
    world.expect_calm();
}

#[test]
fn case_14_an_old_image_that_went_on_gets_its_tail_as_a_branch() {
    let mut world = World::device_and_hub(14);
    let first = world.epoch("D");
    world.append("D", "s", 1_000);
    world.sync();
    let image = world.image("D");
    world.append("D", "s", 1_000);
    world.sync();
    world.offline("D");
    world.restore("D", &image);
    let second = world.epoch("D");
    world.append("D", "s", 500);
    world.online("D");
    world.sync();
    for host in ["H", "D"] {
        world.expect(host, "D/s/0", first, &[0..2_000]);
        world.expect(host, "D/s/0", second, &[1_000..1_500]);
        world.expect_alarm(host, AlarmKind::TailLost, "D/s/0");
    }
    world.append("D", "s", 10);
    world.sync();
    world.expect("H", "D/s/0", second, &[1_000..1_510]);
    world.check_delivered("H");
}

#[test]
fn case_14_an_old_image_that_wrote_nothing_gets_its_tail_in_place() {
    let mut world = World::device_and_hub(14);
    let first = world.epoch("D");
    world.append("D", "s", 1_000);
    world.sync();
    let image = world.image("D");
    world.append("D", "s", 1_000);
    world.sync();
    world.restore("D", &image);
    let second = world.epoch("D");
    world.sync();
    world.expect("D", "D/s/0", first, &[0..2_000]);
    for host in ["H", "D"] {
        world.expect_alarm(host, AlarmKind::TailLost, "D/s/0");
    }
    world.append("D", "s", 10);
    world.sync();
    world.expect("H", "D/s/0", second, &[2_000..2_010]);
    world.expect_no_alarm("H", AlarmKind::Fork);
    world.check_delivered("H");
}

#[test]
fn case_15_an_old_image_through_two_gateways_keeps_both_histories() {
    let mut world = World::device_two_gateways_and_hub(15);
    let first = world.epoch("D");
    world.append("D", "s", 1_000);
    world.sync();
    let image = world.image("D");
    world.part("G1", "H");
    world.append("D", "s", 1_000);
    world.run(60_000);
    world.expect("G1", "D/s/0", first, &[0..2_000]);
    world.roam("D", "G2");
    world.restore("D", &image);
    let second = world.epoch("D");
    world.append("D", "s", 500);
    world.run(60_000);
    world.expect("H", "D/s/0", first, &[0..1_000]);
    world.expect("H", "D/s/0", second, &[1_000..1_500]);
    world.heal();
    world.sync();
    world.expect("H", "D/s/0", first, &[0..2_000]);
    world.expect("H", "D/s/0", second, &[1_000..1_500]);
    world.expect_alarm("H", AlarmKind::Fork, "D/s/0");
    world.check_delivered("H");
}

#[test]
fn case_16_what_a_lying_card_lost_comes_back() {
    let mut world = World::device_and_hub(16);
    let epoch = world.epoch("D");
    world.append("D", "s", 100);
    world.sync();
    let programs = world.disk("D").counters().programs;
    world.append("D", "s", 7);
    world.sync();
    world.kill("D");
    let disk = world.disk("D");
    disk.lose_synced((disk.counters().programs - programs) as usize);
    world.boot("D");
    world.expect("D", "D/s/0", epoch, &[0..100]);
    world.sync();
    world.expect("D", "D/s/0", epoch, &[0..107]);
    for host in ["H", "D"] {
        world.expect_alarm(host, AlarmKind::TailLost, "D/s/0");
        world.expect_no_alarm(host, AlarmKind::Copy);
    }
}

#[test]
fn case_17_many_openings_are_one_history() {
    let mut world = World::device_and_hub(17);
    world.offline("D");
    let mut epochs = Vec::new();
    for opening in 1..=50 {
        world.crash("D");
        if [3, 41].contains(&opening) {
            epochs.push(world.epoch("D"));
            world.append("D", "s", 10);
        }
    }
    world.online("D");
    world.sync();
    world.expect("H", "D/s/0", epochs[0], &[0..10]);
    world.expect("H", "D/s/0", epochs[1], &[10..20]);
    world.expect_calm();
}

#[test]
fn case_18_a_copy_that_wrote_nothing_is_noticed_and_both_are_served() {
    let mut world = World::device_and_hub(18);
    world.append("D", "s", 10);
    world.sync();
    let made = world.connections_made();
    world.copy("D2", "D");
    world.run(60_000);
    for host in ["H", "D", "D2"] {
        world.expect_alarm(host, AlarmKind::Copy, "D");
    }
    world.append("D", "s", 5);
    world.append("D2", "s", 6);
    world.run(60_000);
    world.expect("H", "D/s/0", world.epoch("D"), &[0..15]);
    world.expect("H", "D/s/0", world.epoch("D2"), &[10..16]);
    world.expect("D", "D/s/0", world.epoch("D2"), &[]);
    for host in ["H", "D", "D2"] {
        world.expect_no_alarm(host, AlarmKind::TailLost);
    }
    assert_eq!(world.connections_made(), made + 1, "nobody dials again in a loop");
    world.check_delivered("H");
}

#[test]
fn case_19_a_dead_first_session_is_superseded() {
    let mut world = World::device_and_hub(19);
    world.append("D", "s", 10);
    world.sync();
    world.vanish("D");
    world.run(20_000);
    assert_eq!(world.node("H").links().count(), 1, "{}", world.describe());
    world.append("D", "s", 10);
    world.sync();
    world.expect("H", "D/s/0", world.epoch("D"), &[0..20]);
    world.expect_calm();
}

#[test]
fn case_20_identical_lines_of_two_copies_are_both_kept() {
    let mut world = World::device_and_hub(20);
    world.append("D", "s", 10);
    world.sync();
    world.copy("D2", "D");
    world.offline("D2");
    world.append_lines("D", "s", &["a", "b"]);
    world.append_lines("D2", "s", &["a", "b"]);
    world.sync();
    world.online("D2");
    world.run(60_000);
    world.expect("H", "D/s/0", world.epoch("D"), &[0..12]);
    world.expect("H", "D/s/0", world.epoch("D2"), &[10..12]);
    world.expect_alarm("H", AlarmKind::Fork, "D/s/0");
    world.check_delivered("H");
}

#[test]
fn case_21_a_hub_restored_from_a_backup_is_refilled_and_the_rest_is_a_gap() {
    let mut world = World::device_and_hub(21);
    world.configure("D", |settings| settings.keep_acked_ms = 60_000);
    let epoch = world.epoch("D");
    world.append("D", "quiet", 10);
    world.append_bulk("D", "s", 3_000);
    world.sync();
    let backup = world.image("H");
    world.append("D", "quiet", 10);
    world.append_bulk("D", "s", 1_000);
    world.run(120_000);
    world.append_bulk("D", "s", 1_000);
    world.append("D", "quiet", 10);
    world.sync();
    let kept = world.first_offset("D", "D/s/0");
    assert!((3_000..5_000).contains(&kept), "D keeps from {kept}");
    world.restore("H", &backup);
    world.run(60_000);
    world.expect("H", "D/s/0", epoch, &[0..3_000, kept..5_000]);
    world.expect_gaps("H", "D/s/0", &[(3_000..kept, GapReason::AcknowledgedThenLost)]);
    world.expect_gaps("H", "D/quiet/0", &[(10..20, GapReason::AcknowledgedThenLost)]);
    world.expect_alarm("H", AlarmKind::PromiseLacking, "D");
    world.expect_alarm("D", AlarmKind::PromiseLacking, "H");
    world.check_delivered("H");
}

#[test]
fn case_22_a_stream_ahead_rewinds_and_others_go_on() {
    let mut world = World::device_and_hub(22);
    let epoch = world.epoch("D");
    for (topic, count) in [("a", 4), ("b", 7), ("c", 3)] {
        world.append("D", topic, count);
    }
    world.sync();
    let backup = world.image("H");
    world.append("D", "a", 1);
    world.sync();
    world.offline("D");
    for topic in ["a", "b", "c"] {
        world.append("D", topic, 1);
    }
    world.restore("H", &backup);
    world.online("D");
    world.sync();
    world.expect("H", "D/a/0", epoch, &[0..6]);
    world.expect("H", "D/b/0", epoch, &[0..8]);
    world.expect("H", "D/c/0", epoch, &[0..4]);
    world.expect_no_alarm("H", AlarmKind::Gap);
    world.check_delivered("H");
}

#[test]
fn case_23_what_is_urgent_overtakes() {
    let mut world = World::device_and_hub(23);
    let urgent = TopicSettings { lane: Lane::new(1), ..TopicSettings::STANDARD };
    for host in ["D", "H"] {
        world.configure(host, |settings| settings.topics.extend([("alert".into(), urgent)]));
    }
    world.offline("D");
    world.append_bulk("D", "s", 4_000);
    world.set_network(100, Some(100));
    world.online("D");
    world.run(5_000);
    world.append("D", "alert", 1);
    world.run(2_000);
    world.expect("H", "D/alert/0", world.epoch("D"), &[0..1]);
    assert!(world.node("H").journal().seqs(Lane::new(0)).1 < Seq::new(2_000));
    world.set_network(20, None);
    world.sync();
    world.expect("H", "D/s/0", world.epoch("D"), &[0..4_000]);
    world.expect_calm();
}

#[test]
fn case_24_roaming_repeats_and_duplicates_are_dropped() {
    let mut world = World::device_two_gateways_and_hub(24);
    let epoch = world.epoch("D");
    world.append("D", "s", 60);
    world.sync();
    world.part("G1", "H");
    world.append("D", "s", 20);
    world.run(30_000);
    world.expect("G1", "D/s/0", epoch, &[0..80]);
    world.expect("H", "D/s/0", epoch, &[0..60]);
    world.roam("D", "G2");
    world.run(30_000);
    world.expect("G2", "D/s/0", epoch, &[60..80]);
    world.expect("H", "D/s/0", epoch, &[0..80]);
    world.heal();
    world.sync();
    world.expect("H", "D/s/0", epoch, &[0..80]);
    world.expect_gaps("G2", "D/s/0", &[]);
    world.check_delivered("H");
    world.expect_calm();
}

#[test]
fn case_24_what_one_gateway_has_is_not_taken_to_be_at_the_next_node() {
    let mut world = World::device_two_gateways_and_hub(24);
    world.part("G1", "H");
    world.append("D", "t", 5);
    world.append_bulk("D", "s", 500);
    world.run(30_000);
    world.kill("G1");
    world.set_network(20, Some(20));
    world.roam("D", "H");
    while world.held("H").offsets("D/t/0", world.epoch("D")).is_empty() {
        world.run(100);
    }
    world.run(200);
    world.offline("D");
    world.set_network(20, None);
    world.online("D");
    world.sync();
    world.expect("H", "D/s/0", world.epoch("D"), &[0..500]);
    world.check_delivered("H");
}

#[test]
fn case_24_what_is_new_while_roaming_makes_no_gap_of_what_is_under_way() {
    let mut world = World::device_two_gateways_and_hub(24);
    let epoch = world.epoch("D");
    world.roam("D", "G2");
    world.run(30_000);
    world.append("D", "s", 60);
    world.sync();
    world.roam("D", "G1");
    world.part("G1", "H");
    world.append("D", "s", 20);
    world.run(30_000);
    world.expect("G1", "D/s/0", epoch, &[60..80]);
    world.roam("D", "G2");
    world.append("D", "s", 5);
    world.run(30_000);
    world.expect("H", "D/s/0", epoch, &[0..85]);
    world.heal();
    world.sync();
    world.expect("H", "D/s/0", epoch, &[0..85]);
    world.check_delivered("H");
    world.expect_calm();
}

#[test]
fn case_25_a_sunk_gateway_takes_nothing_with_it() {
    let mut world = World::device_two_gateways_and_hub(25);
    world.append("D", "s", 60);
    world.sync();
    world.part("G1", "H");
    world.append("D", "s", 20);
    world.run(30_000);
    world.kill("G1");
    world.roam("D", "G2");
    world.run(30_000);
    world.expect("H", "D/s/0", world.epoch("D"), &[0..80]);
    world.check_delivered("H");
}

/// D trims at the hop, G1 has more than H, and is gone; D goes on through G2.
fn sink_what_only_a_gateway_has(seed: u64) -> (World, u64) {
    let mut world = World::device_two_gateways_and_hub(seed);
    world.configure("D", |settings| {
        settings.trim_at = TrimAt::Hop;
        settings.keep_acked_ms = 10_000;
    });
    world.append_bulk("D", "s", 1_000);
    world.sync();
    world.part("G1", "H");
    world.append_bulk("D", "s", 1_000);
    world.run(60_000);
    world.append("D", "s", 1);
    let kept = world.first_offset("D", "D/s/0");
    assert!((1_000..2_000).contains(&kept), "D keeps from {kept}");
    world.run(10_000);
    world.kill("G1");
    world.roam("D", "G2");
    world.run(60_000);
    (world, kept)
}

#[test]
fn case_25_what_was_trimmed_at_a_sunk_gateway_is_a_gap() {
    let (world, kept) = sink_what_only_a_gateway_has(25);
    world.expect("H", "D/s/0", world.epoch("D"), &[0..1_000, kept..2_001]);
    world.expect_gaps("H", "D/s/0", &[(1_000..kept, GapReason::HopLost)]);
    world.expect_alarm("H", AlarmKind::Gap, "D/s/0");
}

#[test]
fn case_26_what_arrives_late_for_a_gap_is_a_branch() {
    let (mut world, kept) = sink_what_only_a_gateway_has(26);
    world.heal();
    world.boot("G1");
    world.sync();
    world.expect("H", "D/s/0", world.epoch("D"), &[0..2_001]);
    world.expect_gaps("H", "D/s/0", &[(1_000..kept, GapReason::HopLost)]);
    world.append("D", "s", 1);
    world.sync();
    world.expect("H", "D/s/0", world.epoch("D"), &[0..2_002]);
    world.check_delivered("H");
}

#[test]
fn case_27_a_stream_begins_in_its_middle() {
    let mut world = World::device_two_gateways_and_hub(27);
    world.configure("D", |settings| settings.keep_acked_ms = 0);
    let epoch = world.epoch("D");
    world.append_bulk("D", "s", 1_000);
    world.run(30_000);
    world.append("D", "s", 1);
    world.sync();
    let kept = world.first_offset("D", "D/s/0");
    assert!(kept > 0, "D has forgotten what is durable at H");
    world.roam("D", "G2");
    world.append("D", "s", 20);
    world.sync();
    world.expect("H", "D/s/0", epoch, &[0..1_021]);
    world.expect_gaps("G2", "D/s/0", &[]);
    assert!(world.first_offset("G2", "D/s/0") > 0, "it begins in its middle at G2");
    world.expect_calm();
    world.hub("X");
    world.roam("D", "X");
    world.append("D", "s", 20);
    world.sync();
    world.expect("X", "D/s/0", epoch, &[kept..1_041]);
    world.expect_gaps("X", "D/s/0", &[(0..kept, GapReason::NeverReceived)]);
    world.expect_alarm("X", AlarmKind::Gap, "D/s/0");
}

#[test]
fn case_28_what_is_not_allowed_is_refused_and_the_rest_goes_on() {
    let mut world = World::new(28);
    world.hub("H");
    world.device("G1", "H");
    for (name, upstream) in [("D", "G1"), ("E", "G1"), ("F", "H")] {
        world.device(name, upstream);
    }
    world.forbid("H", Rule::Carry("G1", "E"));
    world.forbid("H", Rule::Write("F", "secret"));
    for (name, topic) in [("D", "s"), ("E", "s"), ("F", "secret"), ("F", "s")] {
        world.append(name, topic, 10);
    }
    world.run(60_000);
    world.expect("H", "D/s/0", world.epoch("D"), &[0..10]);
    world.expect("H", "F/s/0", world.epoch("F"), &[0..10]);
    world.expect("H", "E/s/0", world.epoch("E"), &[]);
    world.expect("H", "F/secret/0", world.epoch("F"), &[]);
    world.expect_alarm("H", AlarmKind::Peer, "G1");
    world.expect_alarm("H", AlarmKind::Peer, "F");
    world.expect_alarm("G1", AlarmKind::Stalled, "E/s/0");
    world.expect_alarm("F", AlarmKind::Stalled, "F/secret/0");
}

#[test]
fn what_is_refused_comes_when_it_is_allowed_and_stops_nothing_until_then() {
    let mut world = World::device_and_hub(29);
    world.forbid("H", Rule::Write("D", "secret"));
    let epoch = world.epoch("D");
    world.append("D", "secret", 10);
    for _ in 0..20 {
        world.append("D", "s", 10);
        world.append("D", "secret", 1);
        world.run(5_000);
    }
    world.expect("H", "D/s/0", epoch, &[0..200]);
    assert_eq!(world.node("D").behind_records(Lane::new(0)), 30, "only what is refused is behind");
    world.allow("H");
    world.sync();
    world.expect("H", "D/secret/0", epoch, &[0..30]);
    world.check_delivered("H");
}
