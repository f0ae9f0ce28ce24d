//! A stream begins in its middle at a gateway, and what was before comes there after all. D is a
//! device, G a gateway, H the hub at the root; `s` is a topic of D.

#![expect(clippy::single_range_in_vec_init, reason = "offsets that are here are a list of ranges")]

use landfall_core::num::Epoch;
use landfall_node::AlarmKind;
use landfall_simulation::world::{Backup, World};

/// What D has written of `s`: 300 records under an epoch, and 300 under the next.
struct Begun {
    world: World,
    /// D when it had written the first half, and all, and had sent nothing.
    half: Backup,
    whole: Backup,
    epochs: [Epoch; 2],
    /// Where the stream begins at G, in the second half.
    from: u64,
}

/// D sends a part to H and the rest to G.
fn begun_in_the_middle(seed: u64) -> Begun {
    let mut world = World::new(seed);
    world.hub("H");
    world.device("G", "H");
    world.device("D", "H");
    world.offline("D");
    let first = world.epoch("D");
    world.append_bulk("D", "s", 300);
    let half = world.image("D");
    world.crash("D");
    let second = world.epoch("D");
    world.append_bulk("D", "s", 300);
    let whole = world.image("D");
    world.set_network(20, Some(20));
    world.online("D");
    while world.held("H").offsets("D/s/0", second).is_empty() {
        world.run(500);
    }
    world.run(1_500);
    world.set_network(20, None);
    world.part("G", "H");
    world.roam("D", "G");
    world.run(30_000);
    let from = world.first_offset("G", "D/s/0");
    assert!((301..600).contains(&from), "it begins at {from}\n{}", world.describe());
    world.expect("G", "D/s/0", second, &[from..600]);
    Begun { world, half, whole, epochs: [first, second], from }
}

#[test]
fn what_was_before_is_had_and_nothing_comes_twice() {
    let Begun { mut world, whole, epochs: [first, second], from, .. } = begun_in_the_middle(1);
    world.restore("D", &whole);
    world.append("D", "s", 10);
    world.run(60_000);
    world.check();
    world.expect("G", "D/s/0", first, &[]);
    world.expect("G", "D/s/0", second, &[from..600]);
    world.expect("G", "D/s/0", world.epoch("D"), &[600..610]);
    world.expect_no_alarm("G", AlarmKind::Fork);
    world.heal();
    world.sync();
    world.expect("H", "D/s/0", second, &[300..600]);
    world.check_delivered("H");
}

#[test]
fn another_history_from_before_is_kept_whether_it_ends_there_or_not() {
    for count in [10, 400] {
        let Begun { mut world, half, epochs: [first, second], from, .. } = begun_in_the_middle(2);
        world.offline("D");
        world.restore("D", &half);
        let third = world.epoch("D");
        world.append("D", "s", count);
        world.online("D");
        world.run(60_000);
        world.check();
        world.expect("G", "D/s/0", second, &[from..600]);
        world.expect("G", "D/s/0", third, &[300..300 + count]);
        world.expect_alarm("G", AlarmKind::Fork, "D/s/0");
        world.heal();
        world.sync();
        world.expect("H", "D/s/0", first, &[0..300]);
        world.expect("H", "D/s/0", second, &[300..600]);
        world.expect("H", "D/s/0", third, &[300..300 + count]);
        world.check_delivered("H");
    }
}

/// D has sent `count` records to H, goes on at G, which begins there, and then sends G all of them
/// over a link so slow that G can't wait until something proves that it needs nothing of it.
fn begun_and_repeated_slowly(seed: u64, count: u64) -> (World, Epoch) {
    let mut world = World::new(seed);
    world.hub("H");
    world.device("G", "H");
    world.device("D", "H");
    world.offline("D");
    let first = world.epoch("D");
    world.append_bulk("D", "s", count);
    let whole = world.image("D");
    world.online("D");
    world.sync();
    world.restart("D");
    let second = world.epoch("D");
    world.part("G", "H");
    world.roam("D", "G");
    world.append("D", "s", 10);
    world.run(30_000);
    world.expect("G", "D/s/0", second, &[count..count + 10]);
    world.set_network(20, Some(40));
    world.restore("D", &whole);
    world.run(180_000);
    (world, first)
}

#[test]
fn what_leads_to_the_beginning_becomes_durable_although_it_is_kept_as_a_fork() {
    let (mut world, first) = begun_and_repeated_slowly(3, 2_000);
    world.expect("G", "D/s/0", first, &[0..2_000]);
    world.heal();
    world.sync();
    world.check_delivered("H");
}

#[test]
fn what_is_proved_while_it_is_wanted_again_is_not_asked_for_without_end() {
    let (mut world, first) = begun_and_repeated_slowly(5, 300);
    world.expect("G", "D/s/0", first, &[]);
    world.expect_no_alarm("G", AlarmKind::Fork);
    world.heal();
    world.sync();
    world.check_delivered("H");
}

#[test]
fn a_fork_from_the_beginning_makes_no_fork_of_what_is_known_to_lead_on() {
    let mut world = World::device_two_gateways_and_hub(4);
    let empty = world.image("D");
    for gateway in ["G1", "G2"] {
        world.part(gateway, "H");
    }
    let lost = world.epoch("D");
    world.append("D", "s", 20);
    world.run(30_000);
    world.restore("D", &empty);
    let epoch = world.epoch("D");
    world.append_bulk("D", "s", 600);
    world.run(60_000);
    world.expect("D", "D/s/0", lost, &[0..20]);
    let whole = world.image("D");
    world.roam("D", "H");
    world.run(30_000);
    world.roam("D", "G2");
    world.append("D", "s", 10);
    world.run(30_000);
    world.expect("G2", "D/s/0", epoch, &[600..610]);
    world.restore("D", &whole);
    world.run(60_000);
    world.check();
    world.expect("G2", "D/s/0", epoch, &[600..610]);
    world.expect("G2", "D/s/0", lost, &[0..20]);
    world.heal();
    world.sync();
    world.check_delivered("H");
}

#[test]
fn who_has_two_histories_of_its_stream_is_not_told_to_have_lost_its_own() {
    let mut world = World::new(6);
    world.hub("H");
    world.device("G", "H");
    world.device("D", "H");
    let empty = world.image("D");
    world.append("D", "s", 1);
    world.sync();
    world.restore("D", &empty);
    world.append("D", "s", 2);
    world.sync();
    world.expect_alarm("D", AlarmKind::TailLost, "D/s/0");
    world.append("D", "s", 1);
    world.roam("D", "G");
    world.run(60_000);
    world.check();
    world.expect_alarm("G", AlarmKind::Fork, "D/s/0");
    world.expect_no_alarm("G", AlarmKind::TailLost);
    world.sync();
    world.check_delivered("H");
}
