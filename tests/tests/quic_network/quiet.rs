//! Where nothing is said: what that costs, and how a peer that is gone is told from one that is
//! still.

use landfall_tests::internet::{HUB, SHIP, Way};

use crate::{BACK, NOTICED, millis, seconds, simulate};

#[test]
fn a_connection_outlives_ten_seconds_of_nothing() {
    simulate(async |mut scene| {
        let way = Way { rate: Some(125_000), queue: 32_000, ..Way::GOOD };
        scene.both_ways(way);
        scene.append("ais", 1_000, 1_000).await;
        scene.run(seconds(2)).await;
        scene.both_ways(Way::DOWN);
        scene.run(seconds(10)).await;
        scene.both_ways(way);
        scene.synced_within(seconds(15)).await;
        scene.expect_all_once();
        assert_eq!(scene.connections(), 1, "{}", scene.describe());
    });
}

#[test]
fn after_an_hour_of_nothing_the_ship_is_back_within_its_longest_wait() {
    simulate(async |mut scene| {
        scene.append("ais", 100, 1_000).await;
        scene.synced_within(seconds(5)).await;
        scene.both_ways(Way::DOWN);
        scene.lost_within(SHIP, NOTICED).await;
        scene.lost_within(HUB, NOTICED).await;
        scene.append("ais", 500, 1_000).await;
        scene.run(seconds(3_600)).await;
        let before = scene.fates_up().bytes;
        scene.run(seconds(3_600)).await;
        assert!(scene.fates_up().bytes - before < 1_200_000, "{}", scene.describe());
        scene.both_ways(Way::GOOD);
        scene.synced_within(BACK).await;
        scene.expect_all_once();
    });
}

#[test]
fn a_way_that_passes_in_one_direction_only_is_noticed_at_both_ends() {
    for up in [true, false] {
        simulate(async |mut scene| {
            scene.append("ais", 100, 1_000).await;
            scene.synced_within(seconds(5)).await;
            if up {
                scene.way_up(Way::DOWN);
            } else {
                scene.way_down(Way::DOWN);
            }
            scene.append("ais", 500, 1_000).await;
            scene.lost_within(SHIP, NOTICED).await;
            scene.lost_within(HUB, NOTICED).await;
            scene.run(seconds(120)).await;
            scene.both_ways(Way::GOOD);
            scene.synced_within(BACK).await;
            scene.expect_all_once();
        });
    }
}

#[test]
fn a_frozen_hub_is_noticed_and_goes_on_when_it_thaws() {
    simulate(async |mut scene| {
        scene.append("ais", 100, 1_000).await;
        scene.synced_within(seconds(5)).await;
        scene.freeze(HUB);
        scene.append("ais", 500, 1_000).await;
        scene.lost_within(SHIP, NOTICED).await;
        scene.run(seconds(300)).await;
        scene.thaw(HUB);
        scene.synced_within(BACK).await;
        scene.expect_all_once();
    });
}

#[test]
fn a_frozen_ship_is_noticed_and_goes_on_when_it_thaws() {
    simulate(async |mut scene| {
        scene.append("ais", 2_000, 1_000).await;
        scene.run(millis(200)).await;
        scene.freeze(SHIP);
        scene.lost_within(HUB, NOTICED).await;
        scene.run(seconds(300)).await;
        scene.thaw(SHIP);
        scene.synced_within(seconds(10)).await;
        scene.expect_all_once();
    });
}

#[test]
fn a_connection_outlives_a_freeze_of_ten_seconds() {
    for name in [SHIP, HUB] {
        simulate(async |mut scene| {
            scene.both_ways(Way { rate: Some(125_000), ..Way::GOOD });
            scene.append("ais", 1_000, 1_000).await;
            scene.run(seconds(2)).await;
            scene.freeze(name);
            scene.run(seconds(10)).await;
            scene.thaw(name);
            scene.synced_within(seconds(10)).await;
            scene.expect_all_once();
            assert_eq!(scene.connections(), 1, "{}", scene.describe());
        });
    }
}

#[test]
fn a_killed_hub_is_noticed_as_soon_as_it_runs_again() {
    simulate(async |mut scene| {
        scene.append("ais", 100, 1_000).await;
        scene.synced_within(seconds(5)).await;
        scene.restart(HUB);
        scene.append("ais", 100, 1_000).await;
        scene.synced_within(seconds(2)).await;
        scene.expect_all_once();
        assert_eq!(scene.connections(), 2, "{}", scene.describe());
    });
}

#[test]
fn an_idle_day_costs_little_also_where_the_port_is_forgotten_every_hour() {
    simulate(async |mut scene| {
        scene.connect().await;
        for _ in 0..24 {
            scene.run(seconds(3_600)).await;
            scene.forget_ports();
        }
        let bytes = scene.fates_up().bytes + scene.fates_down().bytes;
        println!("{bytes} bytes in an idle day");
        assert!(bytes < 1_000_000, "{bytes} bytes in an idle day");
        scene.append("ais", 10, 100).await;
        scene.synced_within(seconds(1)).await;
        scene.expect_all_once();
        assert_eq!(scene.connections(), 1, "{}", scene.describe());
    });
}

#[test]
fn a_metered_link_is_visited_every_four_hours_and_when_there_is_something_to_send() {
    simulate(async |mut scene| {
        scene.meter(seconds(4 * 3_600));
        scene.connect().await;
        scene.run(seconds(86_400)).await;
        let bytes = scene.fates_up().bytes + scene.fates_down().bytes;
        println!("{bytes} bytes in a day of visits");
        assert!(bytes < 100_000, "{bytes} bytes in a day of visits");
        assert!(scene.connections() >= 6, "{}", scene.describe());
        scene.append("ais", 10, 100).await;
        scene.synced_within(seconds(2)).await;
        scene.lost_within(SHIP, seconds(6)).await;
        scene.expect_all_once();
    });
}

#[test]
fn a_visit_lasts_until_a_hub_from_a_backup_has_all_again() {
    simulate(async |mut scene| {
        scene.append("ais", 10, 1_000).await;
        scene.synced_within(seconds(1)).await;
        let backup = scene.image(HUB);
        scene.append("ais", 200, 1_000).await;
        scene.synced_within(seconds(1)).await;
        scene.both_ways(Way { rate: Some(2_000), queue: 16_000, ..Way::GOOD });
        scene.put_back(HUB, &backup);
        scene.meter(seconds(4 * 3_600));
        let all = scene.run_until(seconds(300), |scene| scene.held_by_hub() == 210).await;
        assert!(all.is_some(), "{} of 210\n{}", scene.held_by_hub(), scene.describe());
        assert_eq!(scene.connections(), 1, "{}", scene.describe());
        scene.lost_within(SHIP, seconds(60)).await;
    });
}
