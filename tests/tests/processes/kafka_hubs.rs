//! Two hubs of a group before one Kafka.

use landfall_tests::broker;
use landfall_tests::process::NodeDir;

use crate::fleet::{Fleet, assert_same, lines, synced};
use crate::kafka::{append, committed, texts};
use crate::kafka_lacks::says;

/// A ship of a hub that has brought something, and goes on running.
async fn ship_of(fleet: &Fleet, site: &str) -> NodeDir {
    let ship = fleet.ship(site).await.unwrap();
    append(fleet, &ship, "log", &lines(site, 100), &[]).await;
    ship.done("run", &["--until-synced"]).await.unwrap();
    ship
}

#[tokio::test]
async fn of_two_hubs_the_older_is_fenced_and_ships_of_both_get_through_once() {
    let test = "of_two_hubs_the_older_is_fenced_and_ships_of_both_get_through_once";
    if !broker::is_possible(test) {
        return;
    }
    let (first, second) = (Fleet::new(Default::default()), Fleet::new(Default::default()));
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    let broker = broker::Broker::start(first.dir.path()).await.unwrap();
    for fleet in [&first, &second] {
        // A hub that was fenced rests for four times as long.
        let settings = broker.settings_at(broker.address()).replace("\"4s\"", "\"2s\"");
        fleet.hub.configure(&settings).unwrap();
    }
    let mut older = first.hub.run_up().await.unwrap();
    let of_older = ship_of(&first, "ship-1").await;
    let _newer = second.hub.run_up().await.unwrap();
    let of_newer = ship_of(&second, "ship-2").await;
    // The older one learns of it when it wants to write.
    append(&first, &of_older, "log", &lines("fenced", 100), &[]).await;
    let mut runs = [of_older.run_up().await.unwrap(), of_newer.run_up().await.unwrap()];
    says(&mut older, "another hub of the group has taken over").await;
    runs[0].until("the older one had its turn", synced).await.unwrap();
    // Nor does either keep the other from it from now on.
    for round in 0..2 {
        let lines = |site| lines(&format!("{site} {round}"), 50);
        append(&first, &of_older, "log", &lines("ship-1"), &[]).await;
        append(&second, &of_newer, "log", &lines("ship-2"), &[]).await;
        for runs in &mut runs {
            runs.until("both had a turn", synced).await.unwrap();
        }
    }
    let mut wanted = vec![lines("ship-1", 100), lines("ship-2", 100), lines("fenced", 100)];
    for round in 0..2 {
        wanted.extend(["ship-1", "ship-2"].map(|site| lines(&format!("{site} {round}"), 50)));
    }
    assert_same(texts(&committed(&broker, "log")), &[&wanted.concat()]);
}
