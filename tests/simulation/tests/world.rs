//! The world itself: a device, a hub and a link between them.

#![expect(clippy::single_range_in_vec_init, reason = "offsets that are here are a list of ranges")]

use landfall_core::num::Lane;
use landfall_protocol::time::Duration;
use landfall_simulation::world::World;

/// A device that appended offline comes online, and the hub has everything.
#[test]
fn a_backlog_reaches_the_hub_and_the_device_learns_it() {
    let mut world = World::new(1);
    world.hub("H");
    world.device("D", "H");
    world.offline("D");
    let epoch = world.epoch("D");
    world.append("D", "s", 100);
    world.trickle("D", "t", 20);
    world.check();
    world.online("D");
    world.sync();
    world.expect("H", "D/s/0", epoch, &[0..100]);
    world.expect("H", "D/t/0", epoch, &[0..20]);
    world.check_delivered("H");
    world.crash("D");
    world.crash("H");
    world.append("D", "s", 5);
    world.sync();
    world.expect("H", "D/s/0", world.epoch("D"), &[100..105]);
    world.check_delivered("H");
    world.expect_calm();
}

/// What is old is forgotten only when it is durable at the root.
#[test]
fn a_device_keeps_what_nobody_else_has() {
    let mut world = World::new(2);
    world.hub("H");
    world.device("D", "H");
    world.configure("D", |settings| settings.keep_acked_ms = 10_000);
    world.offline("D");
    world.append_bulk("D", "s", 1_000);
    world.run(60_000);
    world.append("D", "s", 1);
    assert_eq!(world.first_offset("D", "D/s/0"), 0);
    world.online("D");
    world.sync();
    world.run(60_000);
    world.append("D", "s", 1);
    assert!(world.first_offset("D", "D/s/0") > 0, "what is durable and old is forgotten");
    world.sync();
    world.check_delivered("H");
}

/// Frames are made several at a time, and only when there is room for them.
#[test]
fn a_backlog_is_not_read_again_and_again_to_be_sent() {
    let mut world = World::device_and_hub(4);
    world.offline("D");
    world.append_bulk("D", "s", 2_000);
    let before = world.disk("D").counters();
    world.online("D");
    world.run(10_000);
    let after = world.disk("D").counters();
    let read = after.bytes_read - before.bytes_read;
    world.sync();
    assert!(read < 4 * 2_000 * 1_000, "{read} bytes were read");
    world.check_delivered("H");
}

/// Where a lane collects appends, those of a while share a commit, and none is answered before.
#[test]
fn appends_that_are_collected_share_a_commit_and_survive_what_was_answered() {
    let mut world = World::device_and_hub(5);
    world.configure("D", |settings| {
        settings.lanes[0].commit_every = Duration::from_millis(500);
    });
    let epoch = world.epoch("D");
    world.append("D", "s", 1);
    let commit = world.node("D").journal().last_commit().get();
    let mut bytes = world.node("D").payload_bytes(Lane::new(0));
    for _ in 0..20 {
        let record = world.new_record();
        bytes += record.len() as u64;
        world.start_append("D", "s", vec![record], false);
        world.run(20);
    }
    world.expect("D", "D/s/0", epoch, &[0..1]);
    world.run(500);
    world.expect("D", "D/s/0", epoch, &[0..21]);
    let commits = world.node("D").journal().last_commit().get() - commit;
    assert!(commits <= 4, "20 records took {commits} commits");
    world.sync();
    for host in ["D", "H"] {
        assert_eq!(world.node(host).payload_bytes(Lane::new(0)), bytes, "{host} counts records");
    }
    let record = world.new_record();
    world.start_append("D", "s", vec![record], false);
    world.cut_power("D");
    world.boot("D");
    world.sync();
    world.expect("H", "D/s/0", epoch, &[0..21]);
    let record = world.new_record();
    world.start_append("D", "s", vec![record], false);
    world.restart("D");
    world.sync();
    world.check_delivered("H");
    let held = world.held("H");
    let held = held.records.iter().filter(|record| record.stream == "D/s/0").count();
    assert_eq!(held, 22, "what waits at a stop is written");
    world.expect_calm();
}
