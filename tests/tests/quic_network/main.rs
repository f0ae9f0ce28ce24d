//! Two nodes over the real transport on a simulated internet: one line a step, and time that passes
//! only when nothing else happens. Whatever the network does, each record arrives once.
//!
//! `LANDFALL_SEED` runs each scenario with one seed, `LANDFALL_CASES` with so many from there on.

mod quiet;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use landfall::transport::Carrier;
use landfall_simulation::rng::Rng;
use landfall_tests::internet::{HUB, SHIP, Scene, Way};

/// A peer that says nothing is given up after 45 s at most, by who was dialed after 55 s.
const NOTICED: Duration = Duration::from_secs(56);
/// The longest that a node waits before it dials again, and what a dial may take.
const BACK: Duration = Duration::from_secs(75);

#[test]
fn all_arrives_over_a_good_way_and_costs_little_more_than_itself() {
    simulate(async |mut scene| {
        scene.append("ais", 1_000, 1_000).await;
        scene.synced_within(seconds(1)).await;
        scene.expect_all_once();
        scene.expect_carrier(Carrier::Quic);
        scene.expect_percent_sent(110);
    });
}

#[test]
fn up_to_a_third_of_all_datagrams_may_be_lost() {
    for (percent, span, sent) in
        [(1, 4, 112), (5, 15, 120), (10, 20, 130), (20, 40, 150), (30, 60, 180)]
    {
        simulate(async |mut scene| {
            scene.both_ways(Way { loss_per_mille: 10 * percent, tcp: false, ..Way::GOOD });
            scene.append("ais", 1_000, 1_000).await;
            scene.synced_within(seconds(span)).await;
            scene.expect_all_once();
            scene.expect_carrier(Carrier::Quic);
            scene.expect_percent_sent(sent);
            assert!(scene.fates_up().lost > 0);
        });
    }
}

#[test]
fn a_second_and_a_half_may_pass_each_way() {
    for ms in [300, 600, 1_500] {
        simulate(async |mut scene| {
            scene.both_ways(Way { delay: millis(ms), ..Way::GOOD });
            scene.append("ais", 1_000, 1_000).await;
            scene.synced_within(10 * millis(2 * ms)).await;
            scene.expect_all_once();
            scene.expect_percent_sent(112);
        });
    }
}

#[test]
fn a_record_is_at_the_hub_one_and_a_half_round_trips_after_the_dial() {
    for ms in [5, 40, 300] {
        simulate(async |mut scene| {
            scene.both_ways(Way { delay: millis(ms), ..Way::GOOD });
            scene.append("ais", 1, 100).await;
            // Half a round trip more until the ship knows.
            let took = scene.synced_within(4 * millis(ms) + millis(100)).await;
            println!("known durable {took:?} after the dial, {ms} ms each way");
            scene.expect_all_once();
        });
    }
}

#[test]
fn datagrams_may_overtake_each_other() {
    for (ms, span, sent) in [(2, 4, 135), (20, 30, 130), (200, 120, 150)] {
        simulate(async |mut scene| {
            let way = Way { rate: Some(1_250_000), queue: 256_000, ..Way::GOOD };
            scene.both_ways(Way { jitter: millis(ms), overtakes: true, ..way });
            scene.append("ais", 1_000, 1_000).await;
            scene.synced_within(seconds(span)).await;
            scene.expect_all_once();
            scene.expect_percent_sent(sent);
            assert!(scene.fates_up().overtook > 20);
        });
    }
}

#[test]
fn jitter_without_overtaking_is_no_loss() {
    simulate(async |mut scene| {
        scene.both_ways(Way { jitter: millis(200), ..Way::GOOD });
        scene.append("ais", 1_000, 1_000).await;
        scene.synced_within(seconds(6)).await;
        scene.expect_all_once();
        scene.expect_percent_sent(112);
    });
}

#[test]
fn datagrams_may_come_twice_or_changed() {
    simulate(async |mut scene| {
        scene.both_ways(Way { duplicate_per_mille: 500, corrupt_per_mille: 20, ..Way::GOOD });
        scene.append("ais", 1_000, 1_000).await;
        scene.synced_within(seconds(10)).await;
        scene.expect_all_once();
        scene.expect_percent_sent(115);
        assert!(scene.fates_up().doubled > 100 && scene.fates_up().corrupted > 5);
    });
}

#[test]
fn a_slow_way_is_filled_and_its_long_queue_is_no_loss() {
    simulate(async |mut scene| {
        let way = Way { rate: Some(8_000), queue: 64 * 1024, ..Way::GOOD };
        scene.both_ways(way);
        scene.append("ais", 400, 1_000).await;
        scene.synced_within(seconds(60)).await;
        scene.expect_all_once();
        scene.expect_percent_sent(160);
    });
}

#[test]
fn a_way_with_a_short_queue_is_filled_all_the_same() {
    simulate(async |mut scene| {
        scene.both_ways(Way { rate: Some(125_000), queue: 10_000, ..Way::GOOD });
        scene.append("ais", 2_000, 1_000).await;
        scene.synced_within(seconds(20)).await;
        scene.expect_all_once();
        scene.expect_percent_sent(112);
        assert!(scene.fates_up().overflowed > 0);
    });
}

#[test]
fn answers_may_have_much_less_room_than_what_they_answer() {
    simulate(async |mut scene| {
        scene.way_up(Way { rate: Some(125_000), ..Way::GOOD });
        scene.way_down(Way { rate: Some(1_000), queue: 4_000, ..Way::GOOD });
        scene.append("ais", 1_000, 1_000).await;
        scene.synced_within(seconds(60)).await;
        scene.expect_all_once();
    });
}

#[test]
fn a_way_that_takes_only_shorter_datagrams_than_before_stalls_nobody_for_long() {
    for datagram_max in [1_400, 1_280, 1_200] {
        simulate(async |mut scene| {
            let way = Way { rate: Some(125_000), queue: 16_000, ..Way::GOOD };
            scene.both_ways(way);
            scene.connect().await;
            scene.append("ais", 2_000, 1_000).await;
            scene.run(seconds(5)).await;
            scene.both_ways(Way { datagram_max, ..way });
            scene.synced_within(seconds(20)).await;
            scene.expect_all_once();
            assert!(scene.fates_up().too_long > 0);
            assert_eq!(scene.connections(), 1, "{}", scene.describe());
            scene.expect_no_stall_beyond(seconds(2));
        });
    }
}

#[test]
fn a_way_that_shrinks_step_by_step_is_followed() {
    simulate(async |mut scene| {
        let way = Way { rate: Some(30_000), queue: 16_000, ..Way::GOOD };
        scene.both_ways(way);
        scene.connect().await;
        for datagram_max in [1_472, 1_452, 1_280, 1_200, 1_472] {
            scene.append("ais", 1_200, 1_000).await;
            scene.both_ways(Way { datagram_max, ..way });
            scene.synced_within(seconds(50)).await;
            // By then it has been tried whether longer ones pass.
            scene.run(seconds(60)).await;
        }
        scene.expect_all_once();
        assert_eq!(scene.connections(), 1, "{}", scene.describe());
        scene.expect_no_stall_beyond(seconds(12));
    });
}

#[test]
fn a_way_that_comes_and_goes_is_used_while_it_is_there() {
    simulate(async |mut scene| {
        let way = Way { rate: Some(125_000), queue: 32_000, ..Way::GOOD };
        scene.both_ways(way);
        scene.connect().await;
        scene.append("ais", 4_000, 1_000).await;
        for _ in 0..5 {
            scene.both_ways(Way::DOWN);
            scene.run(seconds(4)).await;
            scene.both_ways(way);
            scene.run(seconds(4)).await;
        }
        scene.synced_within(seconds(30)).await;
        scene.expect_all_once();
    });
}

#[test]
fn a_transfer_goes_on_at_every_new_address_of_the_ship() {
    simulate(async |mut scene| {
        scene.both_ways(Way { rate: Some(125_000), queue: 16_000, ..Way::GOOD });
        scene.append("ais", 2_000, 1_000).await;
        scene.run(seconds(2)).await;
        scene.forget_ports();
        scene.run(seconds(2)).await;
        scene.move_ship(Ipv4Addr::new(203, 0, 113, 9));
        scene.run(seconds(2)).await;
        scene.move_ship(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9));
        scene.synced_within(seconds(15)).await;
        scene.expect_all_once();
        scene.expect_no_stall_beyond(seconds(2));
        assert_eq!(scene.connections(), 1, "{}", scene.describe());
    });
}

#[test]
fn a_transfer_goes_on_while_the_ports_change_all_the_time() {
    for (every, span) in [(50, 90), (500, 30), (5_000, 15)] {
        simulate(async |mut scene| {
            scene.both_ways(Way { rate: Some(125_000), queue: 16_000, ..Way::GOOD });
            scene.connect().await;
            scene.append("ais", 1_000, 1_000).await;
            let mut rounds = 0;
            while scene.run_until(millis(every), Scene::is_synced).await.is_none() {
                scene.forget_ports();
                rounds += 1;
                assert!(rounds * every < span * 1_000, "{}", scene.describe());
            }
            scene.expect_all_once();
        });
    }
}

#[test]
fn where_datagrams_are_barred_a_stream_takes_over() {
    for way in [Way { udp: false, ..Way::GOOD }, Way { datagram_max: 1_100, ..Way::GOOD }] {
        simulate(async |mut scene| {
            scene.both_ways(way);
            scene.append("ais", 1_000, 1_000).await;
            scene.synced_within(seconds(4)).await;
            scene.expect_all_once();
            scene.expect_carrier(Carrier::Tcp);
        });
    }
}

#[test]
fn a_stream_takes_over_when_datagrams_are_barred_in_the_middle() {
    simulate(async |mut scene| {
        let way = Way { rate: Some(125_000), ..Way::GOOD };
        scene.both_ways(way);
        scene.append("ais", 2_000, 1_000).await;
        scene.run(seconds(3)).await;
        scene.both_ways(Way { udp: false, ..way });
        scene.lost_within(SHIP, NOTICED).await;
        scene.synced_within(seconds(30)).await;
        scene.expect_all_once();
        scene.expect_carrier(Carrier::Tcp);
        assert_eq!(scene.disconnections(), 1);
    });
}

#[test]
fn in_any_weather_all_arrives_once() {
    for tcp in [true, false] {
        simulate(async |mut scene| weather(&mut scene, tcp).await);
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        run(seed, async |mut scene| {
            weather(&mut scene, false).await;
            scene.trace()
        })
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).0, run(8).0);
}

/// Everything at random for some minutes, and then calm.
async fn weather(scene: &mut Scene, tcp: bool) {
    let mut rng = scene.rng();
    for _ in 0..40 {
        scene.append("ais", rng.below(40) as usize, 1_000).await;
        scene.append("alarm", rng.below(4) as usize, 100).await;
        scene.way_up(Way { tcp, ..any_way(&mut rng) });
        scene.way_down(Way { tcp, ..any_way(&mut rng) });
        match rng.below(12) {
            0 => scene.freeze(HUB),
            1 | 2 => scene.thaw(HUB),
            3 => scene.forget_ports(),
            4 => scene.move_ship(Ipv4Addr::from_bits(0xCB00_7100 + rng.below(250) as u32)),
            5 => scene.restart(HUB),
            6 => scene.restart(SHIP),
            _ => {}
        }
        scene.run(millis(rng.below(20_000))).await;
    }
    scene.thaw(HUB);
    scene.both_ways(Way::GOOD);
    scene.synced_within(seconds(120)).await;
    scene.expect_all_once();
}

/// A way that is good in most respects and bad in some.
fn any_way(rng: &mut Rng) -> Way {
    let mut bad = |odds: u64, most: u64| if rng.chance(1, odds) { rng.below(most) } else { 0 };
    Way {
        up: bad(8, 2) == 0,
        udp: bad(8, 2) == 0,
        datagram_max: 1_472 - bad(4, 400) as usize,
        loss_per_mille: bad(3, 300),
        duplicate_per_mille: bad(4, 300),
        corrupt_per_mille: bad(4, 100),
        delay: millis(20 + bad(3, 1_480)),
        jitter: millis(bad(3, 500)),
        overtakes: bad(2, 2) == 0,
        rate: (bad(2, 2) == 0).then_some(4_000 + bad(1, 200_000)),
        queue: 4_000 + bad(1, 200_000),
        ..Way::GOOD
    }
}

/// Runs a scenario once for each seed.
fn simulate(scenario: impl AsyncFn(Scene)) {
    for seed in seeds() {
        println!("LANDFALL_SEED={seed}");
        run(seed, &scenario);
    }
}

/// Runs a scenario on a runtime of its own, whose clock stands still while anything is to be done,
/// and which has no real network.
fn run<T>(seed: u64, scenario: impl AsyncFnOnce(Scene) -> T) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async { scenario(Scene::new(seed)).await })
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (seed, cases) = (number("LANDFALL_SEED"), number("LANDFALL_CASES"));
    let first = seed.unwrap_or(1);
    first..first + cases.unwrap_or(if seed.is_some() { 1 } else { 3 })
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
