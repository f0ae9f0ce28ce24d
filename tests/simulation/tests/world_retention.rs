//! What nodes forget by age, and what they never forget. D is a device, G its gateway, H the hub at
//! the root; `s` is a topic of D.

#![expect(clippy::single_range_in_vec_init, reason = "offsets that are here are a list of ranges")]

use landfall_core::num::Lane;
use landfall_node::{Replicate, TopicSettings};
use landfall_simulation::world::World;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const YEAR_MS: i64 = 365 * 24 * HOUR_MS as i64;

/// A device behind a gateway, both of which forget after so long.
fn chain(seed: u64, keep_acked_ms: u64) -> World {
    let mut world = World::new(seed);
    world.hub("H");
    world.device("G", "H");
    world.device("D", "G");
    for host in ["D", "G"] {
        world.configure(host, |settings| settings.keep_acked_ms = keep_acked_ms);
    }
    world.run(5_000);
    world
}

/// Sets the calendars of all so far ahead.
fn set_clocks(world: &mut World, ahead_ms: i64) {
    for host in ["D", "G", "H"] {
        world.set_clock(host, ahead_ms);
    }
}

fn keeps(world: &World, hosts: &[&str]) {
    for host in hosts {
        assert_eq!(world.first_offset(host, "D/s/0"), 0, "{host} has forgotten too soon");
    }
}

fn has_forgotten(world: &World, hosts: &[&str]) {
    for host in hosts {
        let first = world.first_offset(host, "D/s/0");
        assert!(first > 500, "{host} keeps from {first}");
    }
}

fn count(world: &World, host: &str, stream: &str) -> usize {
    world.held(host).records.iter().filter(|record| record.stream == stream).count()
}

#[test]
fn device_and_gateway_forget_by_age_what_the_root_has() {
    let mut world = chain(1, HOUR_MS);
    let epoch = world.epoch("D");
    world.append_bulk("D", "s", 1_000);
    world.sync();
    world.run(50 * MINUTE_MS);
    keeps(&world, &["D", "G", "H"]);
    world.run(15 * MINUTE_MS);
    has_forgotten(&world, &["D", "G"]);
    world.expect("H", "D/s/0", epoch, &[0..1_000]);
    world.append("D", "s", 10);
    world.sync();
    world.check_delivered("H");
    world.expect_calm();
}

#[test]
fn segments_of_earlier_openings_go_on_ageing() {
    let mut world = chain(2, HOUR_MS);
    world.append_bulk("D", "s", 1_000);
    world.sync();
    world.run(35 * MINUTE_MS);
    for host in ["D", "G"] {
        world.crash(host);
    }
    world.run(20 * MINUTE_MS);
    keeps(&world, &["D", "G"]);
    for host in ["D", "G"] {
        world.cut_power(host);
        world.boot(host);
    }
    // Each lost up to ten minutes of age with the power.
    world.run(30 * MINUTE_MS);
    has_forgotten(&world, &["D", "G"]);
    world.sync();
    world.check_delivered("H");
}

#[test]
fn what_waited_long_is_kept_as_long_once_it_is_durable() {
    let mut world = chain(3, HOUR_MS);
    world.offline("D");
    world.append_bulk("D", "s", 1_000);
    world.run(3 * HOUR_MS);
    world.online("D");
    world.sync();
    world.run(50 * MINUTE_MS);
    keeps(&world, &["D", "G"]);
    world.run(15 * MINUTE_MS);
    has_forgotten(&world, &["D", "G"]);
}

#[test]
fn what_is_not_durable_at_the_root_is_never_forgotten() {
    let mut world = chain(4, 0);
    world.part("G", "H");
    world.append_bulk("D", "s", 1_000);
    world.run(HOUR_MS);
    for off in [10 * YEAR_MS, -50 * YEAR_MS, 0] {
        set_clocks(&mut world, off);
        world.run(HOUR_MS);
        for host in ["D", "G"] {
            world.crash(host);
        }
        world.run(HOUR_MS);
        keeps(&world, &["D", "G"]);
    }
    world.heal();
    world.sync();
    world.run(MINUTE_MS);
    has_forgotten(&world, &["D", "G"]);
    world.check_delivered("H");
}

#[test]
fn a_calendar_that_is_set_makes_nothing_old() {
    let mut world = chain(5, HOUR_MS);
    world.configure("H", |settings| settings.retention_ms = Some(HOUR_MS));
    set_clocks(&mut world, -56 * YEAR_MS);
    for host in ["D", "G", "H"] {
        world.crash(host);
    }
    world.append_bulk("D", "s", 1_000);
    world.sync();
    for off in [0, 10 * YEAR_MS, 0] {
        set_clocks(&mut world, off);
        world.run(5 * MINUTE_MS);
        keeps(&world, &["D", "G", "H"]);
        for host in ["D", "G", "H"] {
            world.crash(host);
        }
        world.run(5 * MINUTE_MS);
        keeps(&world, &["D", "G", "H"]);
    }
    world.run(HOUR_MS);
    has_forgotten(&world, &["D", "G", "H"]);
}

#[test]
fn a_root_forgets_nothing_by_age_unless_it_is_told_to() {
    let mut world = chain(6, 0);
    let epoch = world.epoch("D");
    world.configure("H", |settings| settings.keep_acked_ms = 0);
    world.append_bulk("D", "s", 1_000);
    world.append_bulk("H", "own", 1_000);
    world.sync();
    world.run(24 * HOUR_MS);
    world.expect("H", "D/s/0", epoch, &[0..1_000]);
    assert_eq!(count(&world, "H", "H/own/0"), 1_000);
    world.check_delivered("H");
    world.configure("H", |settings| settings.retention_ms = Some(HOUR_MS));
    world.run(50 * MINUTE_MS);
    keeps(&world, &["H"]);
    world.run(15 * MINUTE_MS);
    has_forgotten(&world, &["H"]);
    assert!(count(&world, "H", "H/own/0") < 500, "its own records went, too");
}

#[test]
fn a_topic_that_is_not_replicated_goes_by_retention_and_holds_its_segments_back() {
    let mut world = chain(7, HOUR_MS);
    let never = |lane| TopicSettings { lane: Lane::new(lane), replicate: Replicate::Never };
    world.configure("D", |settings| {
        settings.topics.extend([("local".into(), never(0)), ("apart".into(), never(1))]);
    });
    world.append_bulk("D", "apart", 500);
    world.append_bulk("D", "s", 600);
    world.append("D", "local", 1);
    world.append_bulk("D", "s", 600);
    world.run(3 * HOUR_MS);
    assert_eq!(count(&world, "D", "D/local/0"), 1);
    assert_eq!(count(&world, "D", "D/apart/0"), 500);
    let kept = world.first_offset("D", "D/s/0");
    assert!((1..600).contains(&kept), "D keeps from {kept}: what lies beside `local`");
    world.configure("D", |settings| settings.retention_ms = Some(2 * HOUR_MS));
    world.run(MINUTE_MS);
    assert!(count(&world, "D", "D/apart/0") < 500, "it had been there for three hours");
    assert!(world.first_offset("D", "D/s/0") > 600);
}
