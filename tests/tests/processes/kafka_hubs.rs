//! Two hubs of a group before one Kafka: each owns some of the shards, and forwards what is of the
//! others.

use landfall_tests::broker::{self, Broker};
use landfall_tests::census::Seen;
use landfall_tests::process::{NodeDir, Running};

use crate::fleet::{Fleet, alarms, assert_same, lines, synced};
use crate::kafka::{append, committed, texts};

/// Two hubs before a broker, which run.
async fn hubs() -> (Broker, [(Fleet, Running); 2]) {
    let first = Fleet::named("hub-1").await.unwrap();
    let second = Fleet::named("hub-2").await.unwrap();
    let broker = Broker::start(first.dir.path()).await.unwrap();
    let mut hubs = Vec::new();
    for fleet in [first, second] {
        fleet.hub.configure(&broker.settings_at(broker.address())).unwrap();
        let runs = fleet.hub.run_up().await.unwrap();
        hubs.push((fleet, runs));
    }
    (broker, hubs.try_into().unwrap_or_else(|_| unreachable!("there are two")))
}

/// Ships of a hub, of names that are in several shards, with records that wait.
async fn ships(fleet: &Fleet, names: std::ops::Range<usize>) -> Vec<(NodeDir, String)> {
    let mut ships = Vec::new();
    for name in names {
        let site = format!("ship-{name}");
        let ship = fleet.ship(&site).await.unwrap();
        append(fleet, &ship, "log", &lines(&site, 100), &[]).await;
        ships.push((ship, site));
    }
    ships
}

async fn run(ships: &[(NodeDir, String)]) -> Vec<Running> {
    let mut runs = Vec::new();
    for (ship, _) in ships {
        runs.push(ship.run_up().await.unwrap());
    }
    runs
}

async fn all_synced(runs: &mut [Running]) {
    for running in runs {
        running.until("all of it is in Kafka", synced).await.unwrap();
    }
}

/// No hub has heard that a promise is lacking: who owns what changes, what was promised does not.
async fn assert_promises_kept(hubs: [&Running; 2]) {
    for hub in hubs {
        let status = hub.status().await.unwrap();
        assert!(!alarms(&status).contains(&"promise lacking"), "{:?}", status.alarms);
    }
}

/// Whether a record came through both hubs.
fn is_forwarded(seen: &&Seen) -> bool {
    let path = seen.header(landfall::kafka::birth::PATH).unwrap();
    path.contains("hub-1@") && path.contains("hub-2@")
}

#[tokio::test]
async fn two_hubs_share_the_shards_and_each_forwards_what_is_of_the_others() {
    let test = "two_hubs_share_the_shards_and_each_forwards_what_is_of_the_others";
    if !broker::is_possible(test) {
        return;
    }
    let (broker, [(first, one), (second, two)]) = hubs().await;
    let of_first = ships(&first, 0..6).await;
    let of_second = ships(&second, 6..12).await;
    let mut runs = run(&of_first).await;
    runs.extend(run(&of_second).await);
    all_synced(&mut runs).await;
    // Once who owns what is settled, hubs forward.
    for (fleet, ships) in [(&first, &of_first), (&second, &of_second)] {
        for (ship, site) in ships {
            append(fleet, ship, "later", &lines(site, 50), &[]).await;
        }
    }
    all_synced(&mut runs).await;
    assert_promises_kept([&one, &two]).await;
    let sites = || of_first.iter().chain(&of_second);
    let wanted: Vec<_> = sites().map(|(_, site)| lines(site, 100)).collect();
    assert_same(texts(&committed(&broker, "log")), &[&wanted.concat()]);
    let later = committed(&broker, "later");
    let wanted: Vec<_> = sites().map(|(_, site)| lines(site, 50)).collect();
    assert_same(texts(&later), &[&wanted.concat()]);
    let forwarded = later.iter().filter(is_forwarded).count();
    assert!(forwarded > 0 && forwarded < later.len(), "{forwarded} of {}", later.len());
}

#[tokio::test]
async fn a_hub_that_is_killed_or_frozen_loses_its_shards_and_nothing_comes_twice() {
    let test = "a_hub_that_is_killed_or_frozen_loses_its_shards_and_nothing_comes_twice";
    if !broker::is_possible(test) {
        return;
    }
    let (broker, [(first, one), (second, two)]) = hubs().await;
    let of_first = ships(&first, 0..6).await;
    let of_second = ships(&second, 6..12).await;
    let mut runs = run(&of_first).await;
    runs.extend(run(&of_second).await);
    all_synced(&mut runs).await;
    one.freeze().unwrap();
    for (ship, site) in &of_second {
        append(&second, ship, "frozen", &lines(site, 50), &[]).await;
    }
    all_synced(&mut runs[6..]).await;
    for (ship, site) in &of_first {
        append(&first, ship, "frozen", &lines(site, 50), &[]).await;
    }
    one.thaw().unwrap();
    all_synced(&mut runs).await;
    two.kill().await.unwrap();
    for (ship, site) in &of_first {
        append(&first, ship, "killed", &lines(site, 50), &[]).await;
    }
    all_synced(&mut runs[..6]).await;
    let two = second.hub.run_up().await.unwrap();
    for (ship, site) in &of_second {
        append(&second, ship, "killed", &lines(site, 50), &[]).await;
    }
    all_synced(&mut runs).await;
    assert_promises_kept([&one, &two]).await;
    for (topic, count) in [("log", 100), ("frozen", 50), ("killed", 50)] {
        let sites = of_first.iter().chain(&of_second);
        let wanted: Vec<_> = sites.map(|(_, site)| lines(site, count)).collect();
        assert_same(texts(&committed(&broker, topic)), &[&wanted.concat()]);
    }
}
