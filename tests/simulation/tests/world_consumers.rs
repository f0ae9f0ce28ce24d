//! Consumers: their cursors outlast whatever happens to the disk, and what they, or views, have not
//! taken in is kept for them, or they are told. D is a device, H the hub at the root; `s` is one of
//! D's topics.

use landfall_node::consumer::Place;
use landfall_node::{AlarmKind, InternalRecord, ViewPlace};
use landfall_simulation::media::damage::DamageModel;
use landfall_simulation::world::World;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// What consumers of the world are called.
const NAME: &str = "taker";

#[test]
fn the_power_goes_in_any_unit_of_a_commit_with_its_cursor() {
    for damage in DamageModel::ALL {
        for units in 1..40 {
            let mut world = World::new(units);
            world.hub("H");
            world.append("H", "s", 3);
            world.consume("H", "out", 2);
            world.append("H", "s", 3);
            world.disk("H").set_damage(damage);
            world.disk("H").arm_cut(units);
            for turn in 0..8 {
                world.consume("H", "out", turn % 3);
                let record = world.new_record();
                world.append_records("H", "s", vec![record]);
            }
            world.cut_power("H");
            world.boot("H");
            world.check();
            world.consume("H", "out", 1);
            world.check();
        }
    }
}

#[test]
fn cursors_that_lie_among_forgotten_records_are_still_there() {
    for seed in 0..4 {
        let mut world = World::new(seed);
        world.hub("H");
        for _ in 0..4 {
            world.consume("H", "out", 2);
            world.append_bulk("H", "s", 2_500);
            world.crash("H");
            world.check();
        }
        assert!(world.has_forgotten("H"), "the first cursors lie in what is kept");
        world.restart("H");
        world.check();
    }
}

#[test]
fn a_full_disk_takes_no_cursor_away() {
    let mut world = World::new(7);
    world.hub("H");
    // Of a consumer that never commits: version 1, the topic `s`, all slots at the beginning.
    let mut value = vec![1, 1, 1, 1, b's', 1];
    value.extend([0xff; 8]);
    value.extend(world.epoch("H").get().to_le_bytes());
    value.extend([0, 0, 0, 0]);
    let (topic, key, value) = ("_cursors", b"still".to_vec(), Some(value));
    assert!(world.record("H", &InternalRecord { topic, key, value }));
    world.append("H", "s", 3);
    for turn in 0..2_000 {
        if turn == 700 {
            // The lane has a whole segment by then, and no more may be begun.
            world.disk("H").set_free_slots(Some(0));
        }
        world.consume("H", "s", 0);
    }
    world.crash("H");
    world.check();
    assert!(world.node("H").consumer("still").is_some(), "it was dropped to make room");
}

#[test]
fn a_stored_place_that_the_log_does_not_have_is_told_and_not_taken_for_another() {
    let mut world = World::new(5);
    world.hub("H");
    world.append("H", "s", 3);
    // Version 1, the topic `s`, and one share of all slots at commit 2^40.
    let mut value = vec![1, 1, 1, 1, b's', 1];
    value.extend([0xff; 8]);
    value.extend(world.epoch("H").get().to_le_bytes());
    value.extend([0x80, 0x80, 0x80, 0x80, 0x80, 0x20, 0, 0, 0]);
    let (topic, key, value) = ("_cursors", NAME.as_bytes().to_vec(), Some(value));
    assert!(world.record("H", &InternalRecord { topic, key, value }));
    world.crash("H");
    assert!(world.node("H").consumer(NAME).unwrap().is_lost());
    world.expect_alarm("H", AlarmKind::Consumer, NAME);
}

#[test]
fn what_a_consumer_has_not_taken_in_does_not_go_by_age() {
    let mut world = held(HOUR_MS, 256 << 20);
    world.run(5 * HOUR_MS);
    assert_eq!(world.first_offset("D", "D/s/0"), 0, "it waits for the consumer");
    world.expect_no_alarm("D", AlarmKind::Consumer);
    world.consume("D", "s", 0);
    world.run(MINUTE_MS);
    assert!(world.first_offset("D", "D/s/0") > 500, "the consumer has come by");
    assert_eq!(world.node("D").consumer(NAME).unwrap().lacking, 0);
    world.expect_no_alarm("D", AlarmKind::Consumer);
}

#[test]
fn past_the_limit_records_go_and_the_consumer_is_told_which() {
    let mut world = held(HOUR_MS, 64 << 10);
    world.run(5 * HOUR_MS);
    let first = world.first_offset("D", "D/s/0");
    assert!(first > 500, "{first}");
    let told = |world: &World| {
        let consumer = world.node("D").consumer(NAME).unwrap().clone();
        let gaps = consumer.gaps.iter();
        let gaps: Vec<_> =
            gaps.map(|gap| (gap.stream.clone(), gap.from.get(), gap.to.get())).collect();
        (consumer.lacking, gaps)
    };
    let expected = (first - 3, vec![("D/s/0".to_owned(), 3, first)]);
    assert_eq!(told(&world), expected);
    world.expect_alarm("D", AlarmKind::Consumer, NAME);
    world.crash("D");
    assert_eq!(told(&world), expected, "it is told after a restart as well");
    world.consume("D", "s", 0);
    assert_eq!(told(&world), (first - 3, Vec::new()), "it has heard of it");
}

#[test]
fn a_full_lane_takes_records_whoever_has_not_taken_the_old_ones_in() {
    let mut world = World::new(9);
    world.hub("H");
    world.append("H", "s", 3);
    world.consume("H", "s", 0);
    world.append_bulk("H", "s", 8_000);
    let first = world.first_offset("H", "H/s/0");
    assert!(first > 100, "the lane was never full");
    let consumer = world.node("H").consumer(NAME).unwrap();
    assert_eq!(consumer.lacking, first - 3);
    world.expect_alarm("H", AlarmKind::Consumer, NAME);
}

/// A device whose consumer has taken in three records of a thousand and three, all at the root.
fn held(keep_acked_ms: u64, hold_max_bytes: u64) -> World {
    let mut world = World::device_and_hub(3);
    world.configure("D", |settings| {
        settings.keep_acked_ms = keep_acked_ms;
        settings.hold_max_bytes = hold_max_bytes;
    });
    world.append("D", "s", 3);
    world.consume("D", "s", 0);
    world.append_bulk("D", "s", 1_000);
    world.sync();
    world
}

#[test]
fn what_a_view_has_not_taken_in_does_not_go_by_age() {
    let mut world = followed(256 << 20);
    world.run(5 * HOUR_MS);
    assert_eq!(world.first_offset("D", "D/s/0"), 0, "it waits for the view");
    world.follow("D", "speeds", "s");
    world.run(MINUTE_MS);
    assert!(world.first_offset("D", "D/s/0") > 500, "the view has come by");
    world.expect_no_alarm("D", AlarmKind::View);
}

#[test]
fn past_the_limit_records_go_and_it_is_told_what_the_view_has_missed() {
    let mut world = followed(64 << 10);
    world.run(5 * HOUR_MS);
    let first = world.first_offset("D", "D/s/0");
    assert!(first > 500, "{first}");
    let missed = |world: &World| world.node("D").missed_by_views().map(|(_, n)| n).sum::<u64>();
    assert_eq!(missed(&world), first - 3);
    world.expect_alarm("D", AlarmKind::View, "speeds");
    world.follow("D", "speeds", "s");
    assert_eq!(missed(&world), 0, "its rows say so from here on");
}

#[test]
fn nothing_waits_for_a_view_of_other_topics() {
    let mut world = followed(256 << 20);
    world.follow("D", "speeds", "other");
    world.run(5 * HOUR_MS);
    assert!(world.first_offset("D", "D/s/0") > 500);
    world.expect_no_alarm("D", AlarmKind::View);
}

#[test]
fn what_goes_before_a_view_knows_where_it_is_is_told_when_it_does() {
    let mut world = followed(64 << 10);
    let missed = |world: &World| world.node("D").missed_by_views().map(|(_, n)| n).sum::<u64>();
    world.crash("D");
    world.hold_for("D", "speeds", "s", None);
    world.append("D", "s", 3);
    world.sync();
    let at = world.durable_place("D");
    world.append_bulk("D", "s", 1_000);
    world.sync();
    world.run(5 * HOUR_MS);
    let first = world.first_offset("D", "D/s/0");
    assert!(first > 1_500, "{first}");
    world.expect_no_alarm("D", AlarmKind::View);
    world.hold_for("D", "speeds", "s", Some(at));
    let told = missed(&world);
    // Of the segment that its place lies in all may be missed.
    assert!((first - 1_006..first - 500).contains(&told), "{told} of {first}");
    world.expect_alarm("D", AlarmKind::View, "speeds");
    world.follow("D", "speeds", "s");
    assert_eq!(missed(&world), 0);
}

#[test]
fn what_a_view_had_taken_in_before_it_knew_where_it_is_is_not_missed() {
    let mut world = followed(64 << 10);
    world.crash("D");
    world.hold_for("D", "speeds", "s", None);
    let at = world.durable_place("D");
    world.run(5 * HOUR_MS);
    assert!(world.first_offset("D", "D/s/0") > 500);
    world.hold_for("D", "speeds", "s", Some(at));
    assert_eq!(world.node("D").missed_by_views().collect::<Vec<_>>(), [("speeds", 0)]);
    world.expect_no_alarm("D", AlarmKind::View);
}

#[test]
fn a_view_that_goes_on_says_itself_what_it_found_gone() {
    let mut world = followed(64 << 10);
    let at = world.durable_place("D");
    let place = |at, lacks| {
        let (view, topics) = ("speeds".to_owned(), vec!["s".to_owned()]);
        vec![ViewPlace { view, topics, at, told: true, stands: false, lacks }]
    };
    world.hold_for_views("D", place(Place::default(), 0));
    world.run(5 * HOUR_MS);
    assert!(world.first_offset("D", "D/s/0") > 500);
    // It may have taken all of that in since it said where it is.
    world.hold_for_views("D", place(at, 0));
    assert_eq!(world.node("D").missed_by_views().collect::<Vec<_>>(), [("speeds", 0)]);
    world.expect_no_alarm("D", AlarmKind::View);
    world.hold_for_views("D", place(at, 1));
    world.expect_alarm("D", AlarmKind::View, "speeds");
}

/// A device whose view has taken in three records of a thousand and three, all at the root.
fn followed(hold_max_bytes: u64) -> World {
    let mut world = World::device_and_hub(3);
    world.configure("D", |settings| {
        settings.keep_acked_ms = HOUR_MS;
        settings.hold_max_bytes = hold_max_bytes;
    });
    world.append("D", "s", 3);
    world.follow("D", "speeds", "s");
    world.append_bulk("D", "s", 1_000);
    world.sync();
    world
}
