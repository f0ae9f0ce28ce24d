//! What the root could not store is told to where it came from.

use landfall_node::AlarmKind;
use landfall_simulation::world::{Rule, World};

#[test]
fn what_is_missing_at_the_root_is_told_down_the_chain_and_again_to_who_comes_later() {
    let mut world = World::device_two_gateways_and_hub(1);
    world.append("D", "s", 10);
    world.run(60_000);
    world.offline("D");
    world.miss_at_root("H", "D", 3..5);
    world.run(60_000);
    world.expect_alarm("H", AlarmKind::Gap, "D/s/0");
    world.expect_alarm("G1", AlarmKind::Gap, "D/s/0");
    world.expect_no_alarm("D", AlarmKind::Gap);
    world.online("D");
    world.run(60_000);
    world.expect_alarm("D", AlarmKind::Gap, "D/s/0");
    world.check();
}

#[test]
fn nobody_is_told_what_is_missing_of_another_site() {
    let mut world = World::device_and_hub(2);
    world.device("E", "H");
    world.forbid("H", Rule::Carry("E", "D"));
    world.append("D", "s", 10);
    world.append("E", "s", 10);
    world.run(60_000);
    world.miss_at_root("H", "D", 3..5);
    world.run(60_000);
    world.expect_alarm("D", AlarmKind::Gap, "D/s/0");
    world.expect_no_alarm("E", AlarmKind::Gap);
    world.check();
}
