//! Clocks that nobody set, that are set, or go on while their machine sleeps: what readers are told
//! of the times that they gave. D is a device, G its gateway, H the hub at the root; each record of
//! `s` knows the true time.

use landfall_protocol::clock::STRETCHES_MAX;
use landfall_simulation::world::{Told, World};

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;
const YEAR_MS: i64 = 365 * DAY_MS as i64;
/// Since 1970, at the beginning of a world.
const SINCE_1970_MS: i64 = 1_767_225_600_000;
/// What a connection takes here: to be made, and a way.
const WAYS_MS: u64 = 3 * 20;

/// D away from H, just started in 1970.
fn away_in_1970(seed: u64) -> World {
    let mut world = World::device_and_hub(seed);
    world.run(5_000);
    world.offline("D");
    world.set_clock("D", -SINCE_1970_MS);
    world.crash("D");
    world
}

fn corrected(told: &[Told]) -> bool {
    told.iter().all(|told| match told {
        Told::Corrected { off_ms, error_ms } => off_ms <= error_ms && *error_ms <= WAYS_MS,
        _ => false,
    })
}

fn internal(world: &World, host: &str) -> usize {
    let stream = format!("{host}/_clocks/0");
    world.held(host).records.iter().filter(|record| record.stream == stream).count()
}

/// What all hosts hold of D's records, byte by byte, in order, with the hashes behind them.
fn contents(world: &World, hosts: &[&str]) -> Vec<Vec<(Vec<u8>, u64)>> {
    let of = |host: &&str| {
        let held = world.held(host);
        let records = held.records.iter().filter(|record| record.stream == "D/s/0");
        records.map(|record| (record.encoded.clone(), record.offset)).collect()
    };
    hosts.iter().map(of).collect()
}

#[test]
fn times_of_1970_are_corrected_at_both_ends_once_the_hub_is_heard() {
    let mut world = away_in_1970(1);
    world.append_timed("D", "s", 3);
    world.run(20 * MINUTE_MS);
    world.append_timed("D", "s", 3);
    assert_eq!(world.told("D", "D/s/0"), [Told::Uncertain; 6]);
    let before = contents(&world, &["D"]);
    world.online("D");
    world.sync();
    world.append_timed("D", "s", 3);
    world.sync();
    world.run(MINUTE_MS);
    for host in ["D", "H"] {
        let told = world.told(host, "D/s/0");
        assert!(told.len() == 9 && corrected(&told), "{host}: {told:?}");
    }
    let after = contents(&world, &["D", "H"]);
    assert_eq!(after[0], after[1], "what is stored is the same everywhere");
    assert_eq!(after[0][..6], before[0], "and as it was");
    world.check_delivered("H");
    world.expect_calm();
}

#[test]
fn a_clock_that_is_set_before_the_hub_is_heard_is_corrected_from_the_start() {
    let mut world = away_in_1970(2);
    world.append_timed("D", "s", 3);
    world.run(MINUTE_MS);
    world.set_clock("D", 0);
    world.append_timed("D", "s", 3);
    world.run(MINUTE_MS);
    world.online("D");
    world.sync();
    world.run(MINUTE_MS);
    for host in ["D", "H"] {
        let told = world.told(host, "D/s/0");
        assert!(corrected(&told[..3]), "{host}: {told:?}");
        assert_eq!(told[3..], [Told::Same(0); 3], "{host}");
    }
}

#[test]
fn a_clock_that_steps_ten_years_and_back_is_corrected_where_it_was_wrong() {
    let mut world = World::device_and_hub(3);
    world.run(5_000);
    world.append_timed("D", "s", 2);
    for ahead in [10 * YEAR_MS, 0] {
        world.run(10 * MINUTE_MS);
        world.set_clock("D", ahead);
        world.append_timed("D", "s", 2);
    }
    world.sync();
    world.run(MINUTE_MS);
    for host in ["D", "H"] {
        let told = world.told(host, "D/s/0");
        assert_eq!((&told[..2], &told[4..]), (&[Told::Same(0); 2][..], &[Told::Same(0); 2][..]));
        assert!(corrected(&told[2..4]), "{host}: {told:?}");
    }
}

#[test]
fn a_clock_that_was_set_back_a_little_is_uncertain_where_it_showed_times_twice() {
    let mut world = World::device_and_hub(4);
    world.set_clock("D", 5 * MINUTE_MS as i64);
    world.crash("D");
    world.run(MINUTE_MS);
    world.append_timed("D", "s", 1);
    world.run(10 * MINUTE_MS);
    world.append_timed("D", "s", 1);
    world.run(MINUTE_MS);
    world.set_clock("D", 0);
    world.append_timed("D", "s", 1);
    world.run(20 * MINUTE_MS);
    world.append_timed("D", "s", 1);
    world.sync();
    let told = world.told("D", "D/s/0");
    assert!(corrected(&told[..1]), "{told:?}");
    assert_eq!(told[1..], [Told::Uncertain, Told::Uncertain, Told::Same(0)]);
}

#[test]
fn a_week_of_sleep_is_no_step() {
    let mut world = away_in_1970(5);
    world.append_timed("D", "s", 2);
    world.suspend(7 * DAY_MS);
    world.append_timed("D", "s", 2);
    world.online("D");
    world.sync();
    world.suspend(7 * DAY_MS);
    world.run(MINUTE_MS);
    world.append_timed("D", "s", 2);
    world.sync();
    world.run(MINUTE_MS);
    assert_eq!(world.node("D").clock().stretches.len(), 1);
    for host in ["D", "H"] {
        let told = world.told(host, "D/s/0");
        assert!(told.len() == 6 && corrected(&told), "{host}: {told:?}");
    }
}

#[test]
fn a_node_that_is_started_again_goes_on_with_what_its_machine_knew() {
    let mut world = away_in_1970(6);
    for _ in 0..3 {
        world.append_timed("D", "s", 2);
        world.run(MINUTE_MS);
        world.crash_only_node("D");
    }
    world.set_clock("D", 0);
    world.crash_only_node("D");
    world.append_timed("D", "s", 2);
    world.online("D");
    world.sync();
    world.run(MINUTE_MS);
    for host in ["D", "H"] {
        let told = world.told(host, "D/s/0");
        assert!(corrected(&told[..6]), "{host}: {told:?}");
        assert_eq!(told[6..], [Told::Same(0); 2], "{host}");
    }
}

#[test]
fn of_a_start_in_which_nobody_was_heard_nothing_is_claimed() {
    let mut world = away_in_1970(7);
    world.append_timed("D", "s", 2);
    world.run(MINUTE_MS);
    world.set_clock("D", -SINCE_1970_MS - MINUTE_MS as i64);
    world.crash("D");
    world.append_timed("D", "s", 2);
    world.online("D");
    world.sync();
    world.run(MINUTE_MS);
    for host in ["D", "H"] {
        world.crash(host);
    }
    world.run(MINUTE_MS);
    for host in ["D", "H"] {
        let told = world.told(host, "D/s/0");
        assert_eq!(told[..2], [Told::Uncertain; 2], "{host}");
        assert!(corrected(&told[2..]), "{host}: {told:?}");
    }
}

#[test]
fn a_gateway_passes_on_what_it_is_told_and_tells_the_time_that_it_heard() {
    let mut world = World::new(8);
    world.hub("H");
    world.device("G", "H");
    world.device("D", "G");
    world.run(5_000);
    world.part("G", "H");
    world.part("H", "G");
    for host in ["D", "G"] {
        world.set_clock(host, -SINCE_1970_MS);
        world.crash(host);
    }
    world.append_timed("D", "s", 2);
    world.run(5 * MINUTE_MS);
    world.append_timed("D", "s", 2);
    assert_eq!(world.told("D", "D/s/0"), [Told::Uncertain; 4], "G does not know the time either");
    world.heal();
    world.run(5 * MINUTE_MS);
    world.crash_only_node("D");
    world.run(5 * MINUTE_MS);
    world.sync();
    for host in ["D", "G", "H"] {
        for told in world.told(host, "D/s/0") {
            let Told::Corrected { off_ms, .. } = told else { panic!("{host}: {told:?}") };
            assert!(off_ms <= 2 * WAYS_MS, "{host} is {off_ms} ms off");
        }
    }
}

#[test]
fn a_hub_whose_time_cannot_be_is_not_heard_and_one_that_jumps_changes_little() {
    let mut world = away_in_1970(9);
    world.append_timed("D", "s", 2);
    world.online("D");
    for ahead in [-SINCE_1970_MS, 200 * YEAR_MS, 10_000 * YEAR_MS] {
        world.set_clock("H", ahead);
        world.crash("H");
        world.run(5 * MINUTE_MS);
        assert_eq!(world.told("D", "D/s/0")[..2], [Told::Uncertain; 2]);
    }
    let before = contents(&world, &["D"]);
    for jump in 0..40 {
        world.set_clock("H", jump % 7 * YEAR_MS);
        world.crash("H");
        world.run(2 * MINUTE_MS);
    }
    world.sync();
    let kept = world.node("D").clock().stretches.len();
    assert!((2..=STRETCHES_MAX).contains(&kept), "{kept} stretches");
    assert!(corrected(&world.told("D", "D/s/0")), "what was heard first stays");
    let after = contents(&world, &["D", "H"]);
    assert_eq!((&after[0], &after[1]), (&before[0], &before[0]));
}

#[test]
fn a_clock_that_is_right_leaves_no_trace() {
    let mut world = World::device_and_hub(10);
    for _ in 0..3 {
        world.append_timed("D", "s", 2);
        world.sync();
        world.suspend(DAY_MS);
        world.run(MINUTE_MS);
        world.crash("D");
        world.run(MINUTE_MS);
    }
    assert_eq!(world.told("D", "D/s/0"), [Told::Same(0); 6]);
    assert_eq!((internal(&world, "D"), internal(&world, "H")), (0, 0));
}

#[test]
fn a_clock_that_is_kept_in_step_goes_on_as_one_stretch_and_is_told_as_less_certain() {
    let mut world = away_in_1970(11);
    for minute in 0..8 {
        world.set_clock("D", -SINCE_1970_MS + minute * 600);
        world.append_timed("D", "s", 1);
        world.run(MINUTE_MS);
    }
    world.online("D");
    world.sync();
    world.run(MINUTE_MS);
    assert_eq!(world.node("D").clock().stretches.len(), 1);
    for told in world.told("D", "D/s/0") {
        let Told::Corrected { off_ms, error_ms } = told else { panic!("{told:?}") };
        assert!(off_ms <= error_ms && error_ms < 5_000, "{told:?}");
    }
}

#[test]
fn of_many_starts_the_newest_are_kept() {
    let mut world = away_in_1970(12);
    for _ in 0..20 {
        world.append_timed("D", "s", 1);
        world.run(MINUTE_MS);
        world.online("D");
        world.run(MINUTE_MS);
        world.sync();
        world.offline("D");
        world.crash("D");
    }
    world.online("D");
    world.run(5 * MINUTE_MS);
    for host in ["D", "H"] {
        world.crash(host);
        world.run(5 * MINUTE_MS);
        let told = world.told(host, "D/s/0");
        // D was started once more than it wrote in, and once more for this.
        assert!(told.len() == 20 && corrected(&told[6..]), "{host}: {told:?}");
        assert!(told[..6].iter().all(|told| matches!(told, Told::Same(_))), "{host}: {told:?}");
    }
}
