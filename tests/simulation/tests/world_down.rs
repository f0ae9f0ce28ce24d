//! Topics that come down: a device has what the node above it has, each record once. H is a hub, D
//! and E are devices, G is a gateway; `s` is a topic that comes down.

#![expect(clippy::single_range_in_vec_init, reason = "offsets that are here are a list of ranges")]

use landfall_core::gap::GapReason;
use landfall_core::num::Lane;
use landfall_node::{AlarmKind, AppendOutcome, Coming, Offence, Refusal, Replicate, TopicSettings};
use landfall_simulation::world::{DiskShape, Rule, World};

/// The device D, to which `s` comes down from H.
fn hub_and_subscriber(seed: u64) -> World {
    let mut world = World::new(seed);
    world.hub("H");
    world.subscriber("D", "H", &["s"]);
    world
}

#[test]
fn what_was_written_while_the_device_was_away_waits_at_the_hub() {
    let mut world = hub_and_subscriber(1);
    world.offline("D");
    assert_eq!(world.coming("D", "s"), Coming::Offline);
    world.append("H", "s", 20);
    world.append("H", "other", 20);
    world.online("D");
    world.sync_down(&["D"], "s");
    let epoch = world.epoch("H");
    world.expect("D", "H/s/0", epoch, &[0..20]);
    world.expect("D", "H/other/0", epoch, &[]);
    world.trickle("H", "s", 5);
    world.run(1_000);
    world.expect("D", "H/s/0", epoch, &[0..25]);
    world.expect_copy("D", "H", "s");
    world.expect_calm();
}

#[test]
fn it_goes_on_where_it_was_and_nothing_is_sent_twice() {
    for seed in [2, 3] {
        let mut world = hub_and_subscriber(seed);
        world.append_bulk("H", "s", 500);
        world.sync_down(&["D"], "s");
        let sent = world.bytes_sent("H");
        assert!(sent > 500_000, "all of it came down, in {sent} bytes");
        for _ in 0..4 {
            world.crash("D");
            world.run(30_000);
            world.restart("H");
            world.run(30_000);
        }
        world.append("H", "s", 1);
        world.sync_down(&["D"], "s");
        let again = world.bytes_sent("H") - sent;
        assert!(again < 20_000, "nothing of it came again, in {again} bytes");
        world.expect_copy("D", "H", "s");
        world.expect_calm();
    }
}

#[test]
fn it_comes_once_although_the_power_goes_at_any_time() {
    for seed in 10..22 {
        let mut world = hub_and_subscriber(seed);
        for round in 0..6 {
            world.append_bulk("H", "s", 100);
            world.run(20 + 37 * (seed + round));
            world.cut_power(if round % 3 == 2 { "H" } else { "D" });
            world.run(200);
            world.boot("D");
            world.boot("H");
        }
        world.run(60_000);
        world.sync_down(&["D"], "s");
        world.expect_copy("D", "H", "s");
    }
}

#[test]
fn an_old_image_of_the_device_is_filled_up() {
    let mut world = hub_and_subscriber(4);
    world.append("H", "s", 10);
    world.sync_down(&["D"], "s");
    let old = world.image("D");
    world.append("H", "s", 10);
    world.sync_down(&["D"], "s");
    world.restore("D", &old);
    world.sync_down(&["D"], "s");
    world.expect_copy("D", "H", "s");
    world.expect("D", "H/s/0", world.epoch("H"), &[0..20]);
}

#[test]
fn a_hub_that_was_restored_and_wrote_on_makes_a_fork_and_nothing_is_lost() {
    for (seed, behind) in [(5, 3), (6, 12), (7, 400)] {
        let mut world = hub_and_subscriber(seed);
        world.append("H", "s", 10);
        world.sync_down(&["D"], "s");
        let (old, first) = (world.image("H"), world.epoch("H"));
        world.append("H", "s", 10);
        world.sync_down(&["D"], "s");
        world.offline("D");
        world.restore("H", &old);
        let second = world.epoch("H");
        world.trickle("H", "s", behind);
        world.online("D");
        world.sync_down(&["D"], "s");
        world.expect("D", "H/s/0", first, &[0..20]);
        world.expect("D", "H/s/0", second, &[10..10 + behind]);
        world.expect_alarm("D", AlarmKind::Fork, "H/s/0");
        world.append("H", "s", 5);
        world.crash("D");
        world.sync_down(&["D"], "s");
        world.expect("D", "H/s/0", second, &[10..15 + behind]);
    }
}

#[test]
fn records_of_others_come_down_and_its_own_do_not() {
    let mut world = World::new(8);
    world.hub("H");
    world.device("E", "H");
    world.device("D", "H");
    world.append("D", "s", 7);
    world.append("E", "s", 9);
    world.append("H", "s", 3);
    world.sync();
    let own = world.epoch("D");
    let down = TopicSettings { lane: Lane::new(0), replicate: Replicate::Down };
    world.configure("D", |settings| settings.topics.extend([("s".into(), down)]));
    world.append("E", "s", 9);
    world.sync_down(&["D"], "s");
    world.expect_copy("D", "H", "s");
    world.expect("D", "D/s/0", own, &[0..7]);
    world.expect("D", "E/s/0", world.epoch("E"), &[0..18]);
    world.expect_calm();
}

#[test]
fn what_comes_down_is_not_written_here_nor_brought_from_below() {
    let mut world = World::new(9);
    world.hub("H");
    world.subscriber("G", "H", &["s"]);
    world.device("D", "G");
    let record = world.new_record();
    let outcome = world.append_records("G", "s", vec![record]);
    let why = Refusal::ComesDown;
    assert_eq!(outcome, Some(AppendOutcome::Refused { written: 0, why }));
    world.append("G", "s.dead", 1);
    world.append("D", "s", 1);
    world.run(30_000);
    world.expect("G", "D/s/0", world.epoch("D"), &[]);
    world.expect_alarm("D", AlarmKind::Stalled, "D/s/0");
    world.expect("H", "G/s.dead/0", world.epoch("G"), &[0..1]);
    let mut accused = world.node("G").offences();
    assert!(accused.any(|(offence, _)| offence == Offence::ForeignTopic));
}

#[test]
fn it_comes_through_a_gateway_to_two_devices() {
    let mut world = World::new(30);
    world.hub("H");
    world.subscriber("G", "H", &["s", "urgent"]);
    world.subscriber("D", "G", &["s"]);
    world.subscriber("E", "G", &["urgent", "s"]);
    world.append("H", "s", 40);
    world.append("H", "urgent", 40);
    world.part("G", "H");
    world.run(60_000);
    world.append_bulk("H", "s", 300);
    world.append("H", "urgent", 4);
    world.heal();
    world.run(120_000);
    world.sync_down(&["G", "D", "E"], "s");
    for name in ["G", "D", "E"] {
        world.expect_copy(name, "H", "s");
    }
    world.expect_copy("G", "H", "urgent");
    world.expect_copy("E", "H", "urgent");
    world.expect("D", "H/urgent/0", world.epoch("H"), &[]);
    world.expect_calm();
}

#[test]
fn who_roams_goes_on_by_what_it_has() {
    let mut world = World::new(31);
    world.hub("H");
    world.subscriber("G", "H", &["s"]);
    world.subscriber("D", "G", &["s"]);
    world.append_bulk("H", "s", 400);
    world.sync_down(&["G", "D"], "s");
    let sent = world.bytes_sent("H");
    world.roam("D", "H");
    world.append("H", "s", 10);
    world.sync_down(&["G", "D"], "s");
    world.expect_copy("D", "H", "s");
    let again = world.bytes_sent("H") - sent;
    assert!(again < 20_000, "it was not sent again, in {again} bytes");
    world.expect_calm();
}

#[test]
fn who_may_not_have_it_is_told_so_and_gets_nothing() {
    let mut world = hub_and_subscriber(32);
    world.forbid("H", Rule::Subscribe("D", "s"));
    world.append("H", "s", 10);
    world.run(30_000);
    world.expect("D", "H/s/0", world.epoch("H"), &[]);
    assert!(matches!(world.coming("D", "s"), Coming::Refused(_)));
    world.expect_alarm("D", AlarmKind::Stalled, "s");
    let mut accused = world.node("H").offences();
    assert!(accused.any(|(offence, _)| offence == Offence::ForeignSubscription));
    drop(accused);
    world.append("D", "up", 10);
    world.sync();
    world.check_delivered("H");
}

#[test]
fn a_right_that_is_taken_away_ends_it() {
    let mut world = hub_and_subscriber(33);
    world.append("H", "s", 10);
    world.sync_down(&["D"], "s");
    assert!(world.revoke("H", "D/s", true));
    world.run(1_000);
    world.append("H", "s", 10);
    world.run(60_000);
    let epoch = world.epoch("H");
    world.expect("D", "H/s/0", epoch, &[0..10]);
    assert!(matches!(world.coming("D", "s"), Coming::Refused(_)));
    assert!(world.revoke("H", "D/s", false));
    world.call_back("H", "D");
    world.sync_down(&["D"], "s");
    world.expect("D", "H/s/0", epoch, &[0..20]);
}

#[test]
fn what_the_hub_dropped_before_it_came_down_is_a_gap() {
    let mut world = World::new(34);
    world.set_disks(DiskShape::SMALL);
    world.hub("H");
    world.set_disks(DiskShape::LARGE);
    world.subscriber("D", "H", &["s"]);
    world.append("H", "s", 20);
    world.sync_down(&["D"], "s");
    world.offline("D");
    world.append_bulk("H", "s", 3_000);
    let from = world.first_offset("H", "H/s/0");
    assert!(from > 20, "the hub has dropped some");
    world.online("D");
    world.run(60_000);
    let from = world.first_offset("H", "H/s/0").min(from);
    let gaps = world.held("D").gaps;
    let gap = gaps.first().expect("a gap says what is missing");
    assert_eq!((gap.offsets.start, gap.reason), (20, GapReason::Dropped));
    assert!(gap.offsets.end >= from, "{gap:?}");
    world.expect_alarm("D", AlarmKind::Gap, "H/s/0");
    world.append("H", "s", 5);
    world.run(10_000);
    let last = world.held("H").records.iter().map(|record| record.offset).max();
    assert_eq!(world.held("D").records.iter().map(|record| record.offset).max(), last);
}

#[test]
fn who_asks_for_the_first_time_begins_with_what_is_there() {
    let mut world = World::new(35);
    world.set_disks(DiskShape::SMALL);
    world.hub("H");
    world.append_bulk("H", "s", 3_000);
    world.append("H", "other", 3);
    let from = world.first_offset("H", "H/s/0");
    assert!(from > 0, "the hub has dropped some");
    world.set_disks(DiskShape::LARGE);
    world.subscriber("D", "H", &["s"]);
    world.sync_down(&["D"], "s");
    world.expect("D", "H/s/0", world.epoch("H"), &[from..3_000]);
    world.expect_gaps("D", "H/s/0", &[]);
    world.expect_calm();
}

#[test]
fn a_gap_of_its_origin_comes_down_and_what_is_late_for_it_too() {
    let mut world = World::new(36);
    world.hub("H");
    world.device("E", "H");
    world.subscriber("D", "H", &["s"]);
    world.append("E", "s", 10);
    world.sync();
    let empty = world.image("H");
    world.append("E", "s", 10);
    world.sync();
    world.sync_down(&["D"], "s");
    world.offline("D");
    world.restore("H", &empty);
    world.append("E", "s", 10);
    world.run(60_000);
    world.online("D");
    world.sync_down(&["D"], "s");
    world.expect("D", "E/s/0", world.epoch("E"), &[0..30]);
    world.expect_copy("D", "H", "s");
}

#[test]
fn a_full_lane_waits_for_room_and_the_link_stays() {
    let mut world = World::new(37);
    world.hub("H");
    world.set_disks(DiskShape::SMALL);
    world.subscriber("D", "H", &["s"]);
    world.forbid("H", Rule::Write("D", "x"));
    let full = |outcome| matches!(outcome, Some(AppendOutcome::Refused { .. }));
    loop {
        let records = (0..20).map(|_| world.large_record()).collect();
        if full(world.append_records("D", "x", records)) {
            break;
        }
    }
    world.run(20_000);
    let connections = world.connections_made();
    world.append_bulk("H", "s", 200);
    world.run(60_000);
    assert_eq!(world.coming("D", "s"), Coming::NoRoom);
    world.expect_alarm("D", AlarmKind::Stalled, "normal");
    assert_eq!(world.connections_made(), connections, "the link stays");
    world.allow("H");
    world.sync_down(&["D"], "s");
    world.expect_copy("D", "H", "s");
    world.check_delivered("H");
}

#[test]
fn what_came_down_makes_room_for_what_comes() {
    let mut world = World::new(45);
    world.hub("H");
    world.set_disks(DiskShape::SMALL);
    world.subscriber("D", "H", &["s"]);
    for _ in 0..4 {
        world.append_bulk("H", "s", 700);
        world.sync_down(&["D"], "s");
    }
    assert!(world.first_offset("D", "H/s/0") > 700, "the oldest have gone");
    let last = world.held("D").records.iter().map(|record| record.offset).max();
    assert_eq!(last, Some(2_799));
    world.expect_no_alarm("D", AlarmKind::Stalled);
}

#[test]
fn a_metered_device_gets_it_at_its_next_visit() {
    let mut world = hub_and_subscriber(38);
    let every = landfall_protocol::time::Duration::from_secs(300);
    world.configure("D", |settings| settings.visit_every = Some(every));
    world.run(60_000);
    assert_eq!(world.coming("D", "s"), Coming::Offline, "it has hung up");
    world.append("H", "s", 10);
    world.run(400_000);
    world.expect_copy("D", "H", "s");
    assert_eq!(world.coming("D", "s"), Coming::Offline, "it has hung up again");
    // Nor does it hang up before it is answered, however far the hub is.
    world.set_network(3_000, None);
    world.append("H", "s", 10);
    world.run(400_000);
    world.expect_copy("D", "H", "s");
    // A visit does not end while something comes.
    world.set_network(300, Some(2));
    world.append_bulk("H", "s", 100);
    world.run(600_000);
    world.expect_copy("D", "H", "s");
}

#[test]
fn single_records_among_much_else_come_down() {
    let mut world = World::new(39);
    world.set_disks(DiskShape::LARGE);
    world.hub("H");
    world.subscriber("D", "H", &["s"]);
    world.offline("D");
    for _ in 0..30 {
        world.append_bulk("H", "other", 300);
        world.append("H", "s", 1);
    }
    world.append_bulk("H", "other", 3_000);
    world.online("D");
    world.run(1_000);
    world.expect("D", "H/s/0", world.epoch("H"), &[0..30]);
    world.expect_calm();
}

#[test]
fn a_topic_comes_down_from_whatever_lane_it_lies_in() {
    let mut world = World::new(40);
    world.hub("H");
    world.device("E", "H");
    let urgent = TopicSettings { lane: Lane::new(1), ..TopicSettings::STANDARD };
    world.configure("E", |settings| settings.topics.extend([("s".into(), urgent)]));
    world.subscriber("D", "H", &["s"]);
    world.append("E", "s", 10);
    world.append("H", "s", 10);
    world.sync();
    world.sync_down(&["D"], "s");
    world.crash("D");
    world.append("E", "s", 10);
    world.sync();
    world.sync_down(&["D"], "s");
    world.expect_copy("D", "H", "s");
    world.expect("D", "E/s/0", world.epoch("E"), &[0..20]);
    world.expect_calm();
}

#[test]
fn what_came_down_does_not_go_up_and_its_topic_may_stay_here() {
    let mut world = hub_and_subscriber(41);
    world.append("H", "s", 20);
    world.sync_down(&["D"], "s");
    let to = |world: &mut World, replicate| {
        let topic = TopicSettings { replicate, ..TopicSettings::STANDARD };
        world.configure("D", |settings| settings.topics.extend([("s".into(), topic)]));
    };
    to(&mut world, Replicate::Always);
    world.run(60_000);
    world.expect_alarm("D", AlarmKind::Stalled, "H/s/0");
    to(&mut world, Replicate::Never);
    world.append("D", "s", 5);
    world.sync();
    world.expect("D", "H/s/0", world.epoch("H"), &[0..20]);
    world.expect("D", "D/s/0", world.epoch("D"), &[0..5]);
    world.expect("H", "D/s/0", world.epoch("D"), &[]);
    world.expect_no_alarm("D", AlarmKind::Stalled);
}

#[test]
fn what_is_sent_again_of_one_stream_does_not_end_what_is_sent_of_others() {
    for (seed, behind) in [(42, 3), (43, 12), (44, 400)] {
        let mut world = World::new(seed);
        world.set_disks(DiskShape::LARGE);
        world.hub("H");
        world.subscriber("D", "H", &["s"]);
        world.device("E", "H");
        world.append("H", "s", 10);
        world.sync_down(&["D"], "s");
        let old = world.image("H");
        world.append("H", "s", 10);
        world.sync_down(&["D"], "s");
        world.offline("D");
        world.restore("H", &old);
        world.trickle("H", "s", behind);
        world.append_bulk("E", "s", 3_000);
        world.run(60_000);
        world.set_network(200, Some(500));
        world.online("D");
        world.run(60_000);
        world.sync_down(&["D"], "s");
        world.expect("D", "E/s/0", world.epoch("E"), &[0..3_000]);
        world.expect_all_of("D", "H", "s");
    }
}
