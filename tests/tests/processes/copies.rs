//! Copies of a ship, taken at five points of its life, restored or run beside it: each is noticed,
//! and every record of each is at the hub once.

use std::path::Path;

use landfall_tests::process::{NodeDir, Running};

use crate::fleet::{Fleet, alarms, assert_same, lines, synced, values};

/// When the copy was taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Point {
    /// Before the ship ever ran.
    Fresh,
    /// With records that the hub has not seen.
    Backlog,
    /// When the hub had all.
    Synced,
    /// When more had been appended since.
    More,
    /// When the hub had all; the copy then writes nothing.
    Silent,
}

const POINTS: [Point; 5] =
    [Point::Fresh, Point::Backlog, Point::Synced, Point::More, Point::Silent];

/// A ship and a copy of it, both stopped.
struct Twins {
    fleet: Fleet,
    hub: Running,
    ship: NodeDir,
    copy: NodeDir,
    before: Vec<String>,
}

impl Twins {
    async fn at(point: Point) -> Self {
        let (fleet, hub) = Fleet::running().await.unwrap();
        let ship = fleet.ship("ship-1").await.unwrap();
        let mut twins = Self { copy: fleet.node("copy"), fleet, hub, ship, before: Vec::new() };
        if point != Point::Fresh {
            twins.before = lines("before", 50);
            twins.append(&twins.ship, &twins.before).await;
        }
        if !matches!(point, Point::Fresh | Point::Backlog) {
            twins.catch_up(&twins.ship).await;
        }
        if point == Point::More {
            let more = lines("more", 20);
            twins.append(&twins.ship, &more).await;
            twins.before.extend(more);
        }
        copy_folder(&twins.ship.path, &twins.copy.path);
        twins
    }

    async fn append(&self, node: &NodeDir, lines: &[String]) {
        let file = self.fleet.file("in", lines).unwrap();
        node.done("append", &["log", &file]).await.unwrap();
    }

    async fn catch_up(&self, node: &NodeDir) {
        let done = node.call("run", &["--until-synced"]).await.unwrap();
        assert_eq!(done.code, Some(0), "{done:?}");
    }
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        let target = to.join(entry.file_name());
        if kind.is_dir() {
            copy_folder(&entry.path(), &target);
        } else if kind.is_file() {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn an_old_image_that_is_restored_is_noticed_and_loses_nothing() {
    for point in POINTS {
        println!("{point:?}");
        let twins = Twins::at(point).await;
        let original = lines("original", 30);
        twins.append(&twins.ship, &original).await;
        twins.catch_up(&twins.ship).await;
        let image = if point == Point::Silent { Vec::new() } else { lines("image", 40) };
        if !image.is_empty() {
            twins.append(&twins.copy, &image).await;
        }
        let mut runs = twins.copy.run_up().await.unwrap();
        let here = runs.until("the image learns that it is old", |status| {
            let status = synced(status)?;
            alarms(&status).contains(&"tail lost").then_some(status)
        });
        here.await.unwrap();
        let mut hub = twins.hub;
        let there = hub.until("the hub says that a tail was lost", |status| {
            alarms(&status).contains(&"tail lost").then_some(status)
        });
        let there = there.await.unwrap();
        assert_eq!(there.forks.len(), usize::from(!image.is_empty()), "{there:?}");
        let all = [&twins.before[..], &original, &image];
        assert_same(values(&twins.fleet.hub, "log").await.unwrap(), &all);
        assert!(runs.terminate().await.unwrap().success());
        // What was lost has come back, and stays.
        assert_same(values(&twins.copy, "log").await.unwrap(), &all);
    }
}

#[tokio::test]
async fn a_copy_that_runs_beside_its_original_is_noticed_and_both_are_served() {
    for point in POINTS {
        println!("{point:?}");
        let mut twins = Twins::at(point).await;
        let mut ship = twins.ship.run_up().await.unwrap();
        ship.until("synced", synced).await.unwrap();
        let mut copy = twins.copy.run_up().await.unwrap();
        for runs in [&mut ship, &mut copy] {
            let told = runs.until("it learns of the other", |status| {
                alarms(&status).contains(&"copy").then_some(())
            });
            told.await.unwrap();
        }
        let original = lines("original", 30);
        twins.append(&twins.ship, &original).await;
        let image = if point == Point::Silent { Vec::new() } else { lines("image", 40) };
        if !image.is_empty() {
            twins.append(&twins.copy, &image).await;
        }
        for runs in [&mut ship, &mut copy] {
            runs.until("synced", synced).await.unwrap();
        }
        let told = twins.hub.until("the hub reports a copy", |status| {
            alarms(&status).contains(&"copy").then_some(status)
        });
        told.await.unwrap();
        let all = [&twins.before[..], &original, &image];
        assert_same(values(&twins.fleet.hub, "log").await.unwrap(), &all);
    }
}

#[tokio::test]
async fn a_copy_that_is_split_off_goes_on_as_a_site_of_its_own() {
    for point in [Point::Fresh, Point::More] {
        println!("{point:?}");
        let mut twins = Twins::at(point).await;
        let mut ship = twins.ship.run_up().await.unwrap();
        let mut copy = twins.copy.run_up().await.unwrap();
        let told = twins.hub.until("the hub reports a copy", |status| {
            alarms(&status).contains(&"copy").then_some(())
        });
        told.await.unwrap();
        let original = lines("original", 30);
        twins.append(&twins.ship, &original).await;
        let image = lines("image", 40);
        twins.append(&twins.copy, &image).await;
        for runs in [&mut ship, &mut copy] {
            runs.until("synced", synced).await.unwrap();
        }

        let token = twins.fleet.hub.done("sites", &["split", "ship-1"]).await.unwrap();
        let words = ["--split", "--join", token.trim()];
        let refused = twins.copy.call("init", &words).await.unwrap();
        assert_eq!(refused.code, Some(3), "it still runs: {refused:?}");
        assert!(copy.terminate().await.unwrap().success());
        let unsent = lines("unsent", 10);
        twins.append(&twins.copy, &unsent).await;
        twins.copy.done("init", &words).await.unwrap();

        let mut copy = twins.copy.run_up().await.unwrap();
        let (own, more) = (lines("own", 20), lines("more of the original", 20));
        twins.append(&twins.copy, &own).await;
        twins.append(&twins.ship, &more).await;
        for runs in [&mut ship, &mut copy] {
            runs.until("synced", synced).await.unwrap();
        }
        let over = twins.hub.until("the alarm is over", |status| {
            (!alarms(&status).contains(&"copy")).then_some(status)
        });
        let sites: Vec<_> = over.await.unwrap().sites.into_iter().map(|site| site.site).collect();
        assert_eq!(sites, ["ship-1", "ship-1-2"]);
        let hub = &twins.fleet.hub;
        let all = [&twins.before[..], &original, &image, &unsent, &own, &more];
        assert_same(values(hub, "log").await.unwrap(), &all);
        let of_copy = hub.done("read", &["log", "--origin", "ship-1-2"]).await.unwrap();
        assert_eq!(of_copy.lines().count(), own.len(), "only what is new is its own");
        for runs in [ship, copy] {
            assert!(runs.terminate().await.unwrap().success());
        }
        for node in [&twins.ship, &twins.copy] {
            let checked = node.call("verify", &[]).await.unwrap();
            assert_eq!(checked.code, Some(0), "{checked:?}");
        }
    }
}
