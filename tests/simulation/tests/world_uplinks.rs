//! Hubs of a group: several uplinks of one node, chosen by the origin of a stream. R is the root,
//! such as Kafka; the hubs A and B dial it, and each other. Of each origin, R lets one hub alone
//! bring the records: the other hub sends them there. The devices D and E dial A.

#![expect(clippy::single_range_in_vec_init, reason = "offsets that are here are a list of ranges")]

use landfall_core::frontier::Frontier;
use landfall_core::name::StreamId;
use landfall_core::num::{Lane, Partition, Seq};
use landfall_node::{AlarmKind, Coming, Phase, Uplink};
use landfall_simulation::world::World;

/// Where each hub dials the other.
const OTHER: Uplink = Uplink(1);
/// Where nobody is.
const NOWHERE: Uplink = Uplink(7);
const NORMAL: Lane = Lane::new(0);

/// A owns D, B owns E.
fn two_hubs(seed: u64) -> World {
    let mut world = World::new(seed);
    world.hub("R");
    ["A", "B"].iter().for_each(|hub| world.hub_of_group(hub, "R"));
    ["D", "E"].iter().for_each(|ship| world.device(ship, "A"));
    world.open_uplink("A", OTHER, "B");
    world.open_uplink("B", OTHER, "A");
    owns(&mut world, "A", "D");
    owns(&mut world, "B", "E");
    world.run(5_000);
    world
}

/// How an uplink of a running hub stands.
fn phase(world: &World, hub: &str, uplink: Uplink) -> Option<Phase> {
    let mut states = world.node(hub).dial_states();
    states.find(|(of, _)| *of == uplink).map(|(_, state)| state.phase)
}

/// Whether a hub has heard of a stream.
fn knows(world: &World, hub: &str, origin: &str, topic: &str) -> bool {
    let stream = StreamId { origin, topic, partition: Partition::new(0) };
    world.node(hub).journal().frontier().find(stream).is_some()
}

/// From now on a hub brings what was written at an origin, and all know it.
fn owns(world: &mut World, owner: &str, origin: &str) {
    assert!(world.own_at("R", origin, owner));
    for hub in ["A", "B"] {
        world.assign(hub, origin, if hub == owner { Uplink::FIRST } else { OTHER });
    }
}

#[test]
fn each_stream_goes_over_the_uplink_of_its_origin() {
    let mut world = two_hubs(1);
    world.append("D", "s", 10);
    world.append("E", "s", 10);
    world.sync();
    let (of_d, of_e) = (world.epoch("D"), world.epoch("E"));
    world.expect("R", "D/s/0", of_d, &[0..10]);
    world.expect("R", "E/s/0", of_e, &[0..10]);
    world.expect("B", "E/s/0", of_e, &[0..10]);
    // Not even the end of a stream is told to who does not take it.
    world.append("A", "own", 10);
    world.vanish("A");
    world.sync();
    assert!(!knows(&world, "B", "D", "s") && !knows(&world, "B", "A", "own"));
    world.check_delivered("R");
    world.expect_calm();
}

#[test]
fn places_go_back_to_what_the_root_has_and_no_farther() {
    let mut world = two_hubs(14);
    world.append("D", "s", 10);
    world.sync();
    world.part("A", "B");
    owns(&mut world, "B", "D");
    world.append("D", "s", 5);
    world.run(30_000);
    assert_eq!(world.node("A").behind_records(NORMAL), 5);
    assert_eq!(world.node("A").root_seq(NORMAL), Seq::new(10));
    assert_eq!(world.node("A").durable_seq(NORMAL), Seq::new(10));
    world.heal();
    world.sync();
    world.check_delivered("R");
    world.expect_calm();
}

#[test]
fn what_waits_at_one_uplink_goes_over_another_that_takes_its_origin() {
    let mut world = two_hubs(2);
    world.part("A", "B");
    world.append("E", "s", 10);
    world.append("D", "s", 10);
    world.run(60_000);
    let (of_d, of_e) = (world.epoch("D"), world.epoch("E"));
    world.expect("R", "D/s/0", of_d, &[0..10]);
    world.expect("R", "E/s/0", of_e, &[]);
    assert!(!world.node("A").is_synced());
    owns(&mut world, "A", "E");
    world.run(30_000);
    world.expect("R", "E/s/0", of_e, &[0..10]);
    world.expect("B", "E/s/0", of_e, &[]);
    world.heal();
    world.sync();
    world.check_delivered("R");
    world.expect_calm();
}

#[test]
fn what_another_hub_has_promised_goes_to_the_root_all_the_same() {
    let mut world = two_hubs(3);
    world.append("D", "s", 1);
    world.sync();
    world.part("B", "R");
    world.append("E", "s", 10);
    world.run(60_000);
    let of_e = world.epoch("E");
    world.expect("B", "E/s/0", of_e, &[0..10]);
    world.part("A", "B");
    owns(&mut world, "A", "E");
    world.run(30_000);
    world.expect("R", "E/s/0", of_e, &[0..10]);
    world.heal();
    world.sync();
    world.check_delivered("R");
    world.expect_calm();
}

#[test]
fn a_hub_that_starts_with_other_shards_believes_no_promise_of_another() {
    for slow in [false, true] {
        let mut world = two_hubs(4);
        world.part("B", "R");
        world.append("D", "s", 10);
        world.append("E", "s", 10);
        world.run(60_000);
        let of_e = world.epoch("E");
        world.expect("B", "E/s/0", of_e, &[0..10]);
        if slow {
            // The last word is the root's.
            world.append("D", "s", 10);
            world.run(60_000);
        }
        world.restart("A");
        world.kill("A");
        world.part("A", "B");
        owns(&mut world, "A", "E");
        world.boot("A");
        world.run(60_000);
        world.expect("R", "E/s/0", of_e, &[0..10]);
        world.heal();
        world.sync();
        world.check_delivered("R");
        world.expect_calm();
    }
}

#[test]
fn what_is_of_no_open_uplink_waits_and_is_told_to_wait() {
    let mut world = two_hubs(5);
    world.assign("A", "E", NOWHERE);
    world.append("E", "s", 10);
    world.append("D", "s", 10);
    world.run(60_000);
    let (of_d, of_e) = (world.epoch("D"), world.epoch("E"));
    world.expect("R", "D/s/0", of_d, &[0..10]);
    world.expect("R", "E/s/0", of_e, &[]);
    assert_eq!(world.node("A").behind_records(NORMAL), 10);
    assert_eq!(world.node("A").root_seq(NORMAL), Seq::ZERO);
    assert_eq!(world.node("A").durable_seq(NORMAL), Seq::ZERO);
    // Others move meanwhile.
    owns(&mut world, "B", "D");
    world.append("D", "s", 10);
    world.run(30_000);
    owns(&mut world, "A", "D");
    world.run(30_000);
    world.expect("R", "D/s/0", of_d, &[0..20]);
    world.close_uplink("A", OTHER);
    world.open_uplink("A", NOWHERE, "B");
    world.sync();
    world.expect("R", "E/s/0", of_e, &[0..10]);
    assert_eq!(world.node("A").root_seq(NORMAL), Seq::new(30));
    world.close_uplink("A", NOWHERE);
    world.append("E", "s", 5);
    world.run(60_000);
    world.expect("R", "E/s/0", of_e, &[0..10]);
    world.assign("A", "E", OTHER);
    world.open_uplink("A", OTHER, "B");
    world.sync();
    world.expect("R", "E/s/0", of_e, &[0..15]);
    world.check_delivered("R");
    world.expect_calm();
}

#[test]
fn hubs_that_each_take_the_other_for_the_owner_bounce_nothing() {
    let mut world = two_hubs(6);
    world.assign("B", "E", OTHER);
    world.append("E", "s", 10);
    world.run(60_000);
    let of_e = world.epoch("E");
    world.expect("B", "E/s/0", of_e, &[0..10]);
    world.expect("R", "E/s/0", of_e, &[]);
    let (steps, sent) = (world.steps(), world.bytes_sent("A") + world.bytes_sent("B"));
    world.run(600_000);
    let sent = world.bytes_sent("A") + world.bytes_sent("B") - sent;
    assert!(sent < 20_000, "{sent} bytes in {} steps", world.steps() - steps);
    assert!(!world.node("E").is_synced());
    world.assign("B", "E", Uplink::FIRST);
    world.sync();
    world.expect("R", "E/s/0", of_e, &[0..10]);
    world.check_delivered("R");
    world.expect_calm();
}

#[test]
fn what_went_out_comes_in_again_at_a_hub_that_has_all_shards() {
    let mut world = two_hubs(8);
    world.offline("R");
    world.append("E", "s", 10);
    world.run(5_000);
    let of_e = world.epoch("E");
    world.expect("B", "E/s/0", of_e, &[0..10]);
    world.online("R");
    ["D", "E"].iter().for_each(|ship| owns(&mut world, "A", ship));
    world.close_uplink("A", OTHER);
    world.roam("E", "B");
    world.append("E", "s", 10);
    world.sync();
    world.expect("R", "E/s/0", of_e, &[0..20]);
    world.check_delivered("R");
    world.expect_calm();
}

#[test]
fn a_site_that_goes_to_the_other_hub_brings_nothing_twice() {
    let mut world = two_hubs(7);
    world.part("A", "B");
    world.append("E", "s", 10);
    world.run(30_000);
    world.roam("E", "B");
    world.run(30_000);
    world.append("E", "s", 10);
    world.run(30_000);
    let of_e = world.epoch("E");
    world.expect("R", "E/s/0", of_e, &[0..20]);
    world.expect("A", "E/s/0", of_e, &[0..10]);
    world.heal();
    world.roam("E", "A");
    world.append("E", "s", 10);
    world.sync();
    world.expect("R", "E/s/0", of_e, &[0..30]);
    world.check_delivered("R");
    world.expect_calm();
}

#[test]
fn what_went_to_the_other_hub_comes_back_from_there_if_it_was_lost() {
    let mut world = two_hubs(8);
    world.append("A", "own", 5);
    world.append("E", "s", 5);
    owns(&mut world, "B", "A");
    world.sync();
    let backup = world.image("A");
    world.part("B", "R");
    world.append("A", "own", 10);
    world.append("E", "s", 10);
    world.run(60_000);
    let (of_a, of_e) = (world.epoch("A"), world.epoch("E"));
    world.expect("B", "A/own/0", of_a, &[0..15]);
    world.offline("E");
    world.restore("A", &backup);
    owns(&mut world, "A", "E");
    owns(&mut world, "A", "A");
    world.run(60_000);
    world.expect("R", "E/s/0", of_e, &[0..15]);
    world.expect("A", "A/own/0", of_a, &[0..15]);
    world.expect("R", "A/own/0", of_a, &[0..15]);
    world.expect_no_alarm("B", AlarmKind::Stalled);
    world.online("E");
    world.heal();
    world.sync();
    world.check_delivered("R");
}

#[test]
fn what_the_root_promised_to_another_hub_is_not_repeated_to_it() {
    let mut world = two_hubs(9);
    world.kill("A");
    world.part("A", "R");
    world.append("E", "s", 1);
    world.boot("A");
    world.run(60_000);
    assert!(world.node("E").is_synced(), "E's records came to R over B");
    let root = world.node("R").journal().log();
    assert_eq!(world.node("A").journal().heard().of(root), None);
    world.heal();
    world.append("D", "s", 1);
    world.sync();
    assert!(world.node("A").journal().heard().of(root).is_some());
    world.append("E", "s", 1);
    world.sync();
    let last = world.node("A").journal().heard().last();
    assert_eq!(last.map(|heard| heard.log), Some(root), "it is said to the first uplink");
    // Another hub may not know yet which is the root.
    world.offline("B");
    world.close_uplink("B", OTHER);
    world.restart("B");
    world.part("B", "R");
    world.online("B");
    world.run(120_000);
    assert_eq!(phase(&world, "A", OTHER), Some(Phase::Up));
    assert_eq!(world.node("A").root_log(), Some(root));
    world.expect_calm();
}

#[test]
fn a_root_that_went_back_is_told_by_each_hub_what_it_brought() {
    let mut world = two_hubs(15);
    let backup = world.image("R");
    world.append("D", "s", 10);
    world.append("E", "s", 10);
    world.sync();
    world.restore("R", &backup);
    world.run(60_000);
    world.sync();
    world.check_delivered("R");
    let root = world.node("R").journal().log();
    for hub in ["A", "B"] {
        world.expect_alarm(hub, AlarmKind::PromiseLacking, "R");
        let heard = world.node(hub).journal().heard().of(root);
        let last = heard.map(|heard| heard.epoch);
        assert_eq!(last, Some(world.epoch("R")), "{hub} repeats what holds again");
    }
}

#[test]
fn what_comes_down_and_how_a_hub_stands_goes_over_the_first() {
    let mut world = World::new(10);
    world.hub("R");
    world.subscriber("A", "R", &["commands"]);
    world.subscriber("B", "R", &["commands"]);
    world.open_uplink("A", OTHER, "B");
    world.append("R", "commands", 5);
    world.sync_down(&["A", "B"], "commands");
    assert!(world.node("R").standings().contains_key("A"));
    assert!(!world.node("B").standings().contains_key("A"));
    world.part("A", "R");
    world.run(120_000);
    assert_eq!(world.coming("A", "commands"), Coming::Offline);
    assert_eq!(phase(&world, "A", OTHER), Some(Phase::Up));
    world.append("A", "up", 5);
    world.append("R", "commands", 5);
    world.run(30_000);
    world.expect("A", "R/commands/0", world.epoch("R"), &[0..5]);
    world.expect("B", "R/commands/0", world.epoch("R"), &[0..10]);
    assert!(!world.node("B").standings().contains_key("A"));
    world.heal();
    world.sync_down(&["A", "B"], "commands");
    world.expect_copy("A", "R", "commands");
}

#[test]
fn only_links_that_other_streams_go_over_begin_anew() {
    let mut world = two_hubs(11);
    world.device("C", "R");
    world.append("D", "s", 1);
    world.append("E", "s", 1);
    world.sync();
    let made = world.connections_made();
    world.open_uplink("A", NOWHERE, "C");
    world.run(10_000);
    assert_eq!(world.connections_made(), made + 1, "the new one");
    world.assign("A", "E", NOWHERE);
    world.run(10_000);
    assert_eq!(world.connections_made(), made + 3, "where E's records went and go");
    assert_eq!(phase(&world, "A", OTHER), Some(Phase::Up));
    world.part("A", "B");
    world.close_uplink("A", OTHER);
    world.run(1_000);
    assert_eq!(phase(&world, "A", OTHER), None);
    let mut links = world.node("A").links();
    assert!(links.all(|link| link.uplink != Some(OTHER)), "nobody waits for an answer");
}

#[test]
fn a_link_that_begins_anew_is_dialed_soon_whatever_was_before() {
    let mut world = two_hubs(16);
    world.append("E", "s", 1);
    world.sync();
    world.offline("B");
    world.run(900_000);
    world.online("B");
    let is_up = |world: &World| phase(world, "A", OTHER) == Some(Phase::Up);
    assert!(world.run_until(120_000, is_up));
    owns(&mut world, "A", "E");
    assert!(world.run_until(10, |world| !is_up(world)));
    world.run(2_000);
    assert!(is_up(&world));
}

#[test]
fn a_connection_at_an_uplink_that_was_closed_meanwhile_is_closed() {
    let mut world = two_hubs(12);
    world.set_network(400, None);
    world.open_uplink("A", NOWHERE, "B");
    world.run(500);
    world.close_uplink("A", NOWHERE);
    world.run(5_000);
    let at = |uplink| world.node("A").links().filter(|link| link.uplink == Some(uplink)).count();
    assert_eq!((at(Uplink::FIRST), at(OTHER), at(NOWHERE)), (1, 1, 0));
    world.expect_calm();
}

#[test]
fn hubs_that_both_lack_what_is_wanted_do_not_ask_each_other_without_end() {
    let mut world = World::new(13);
    world.hub("R");
    world.device("E", "A");
    world.device("A", "R");
    world.configure("A", |settings| settings.keep_acked_ms = 10_000);
    world.device("B", "R");
    world.open_uplink("A", OTHER, "B");
    world.open_uplink("B", OTHER, "A");
    owns(&mut world, "B", "E");
    world.append("E", "s", 100);
    world.sync();
    owns(&mut world, "A", "E");
    world.append_bulk("E", "s", 1_400);
    world.run(120_000);
    world.sync();
    assert!(world.first_offset("A", "E/s/0") > 100, "A has forgotten what B has not");
    world.part("A", "B");
    world.assign("A", "E", OTHER);
    world.assign("B", "E", OTHER);
    world.append("E", "s", 10);
    world.run(10_000);
    world.offline("E");
    world.heal();
    world.run(60_000);
    world.expect_alarm("A", AlarmKind::Stalled, "E/s/0");
    let sent = world.bytes_sent("A") + world.bytes_sent("B");
    world.run(600_000);
    let sent = world.bytes_sent("A") + world.bytes_sent("B") - sent;
    assert!(sent < 20_000, "{sent} bytes");
    world.assign("B", "E", Uplink::FIRST);
    assert!(world.own_at("R", "E", "B"));
    world.run(60_000);
    // That another uplink begins anew makes nobody forget what is wanted.
    world.crash("R");
    world.run(60_000);
    world.online("E");
    world.append("E", "s", 10);
    world.sync();
    world.check_delivered("R");
}

#[test]
fn what_a_hub_is_asked_for_that_it_does_not_send_there_is_not_looked_for() {
    let mut world = two_hubs(17);
    world.device("F", "B");
    assert!(world.own_at("R", "F", "B"));
    for hub in ["A", "B"] {
        world.configure(hub, |settings| settings.keep_acked_ms = 10_000);
    }
    world.append("E", "s", 100);
    world.append("F", "s", 100);
    world.sync();
    let backup = world.image("R");
    world.append_bulk("E", "s", 1_400);
    world.append_bulk("F", "s", 1_400);
    world.run(120_000);
    world.sync();
    assert!(world.first_offset("A", "E/s/0") > 100 && world.first_offset("B", "F/s/0") > 100);
    world.offline("E");
    world.offline("F");
    world.assign("A", "E", NOWHERE);
    world.assign("A", "F", NOWHERE);
    world.restore("R", &backup);
    world.run(60_000);
    world.expect_alarm("B", AlarmKind::Stalled, "E/s/0");
    world.expect_alarm("B", AlarmKind::Stalled, "F/s/0");
    world.expect_no_alarm("A", AlarmKind::Stalled);
    assert!(!knows(&world, "A", "F", "s"));
    world.assign("A", "E", OTHER);
    world.run(30_000);
    world.expect_alarm("A", AlarmKind::Stalled, "E/s/0");
    world.online("E");
    world.online("F");
    world.append("E", "s", 10);
    world.sync();
    world.check_delivered("R");
}
