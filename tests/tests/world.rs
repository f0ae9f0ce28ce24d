//! The world itself: a device, a hub and a link between them.

#![expect(clippy::single_range_in_vec_init, reason = "offsets that are here are a list of ranges")]

use landfall_tests::world::World;

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
