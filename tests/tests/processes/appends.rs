//! `append --producer`, killed at random and repeated: each line is written once.

use std::time::Duration;

use landfall_simulation::rng::Rng;
use landfall_tests::process::{NodeDir, pause};

use crate::fleet::{Fleet, assert_same, lines, values};

/// Runs the command until it gets to its end, and kills it on the way there.
async fn append_at_last(node: &NodeDir, topic: &str, file: &str, rng: &mut Rng) -> u64 {
    let data = node.path.to_string_lossy();
    let keys = ["--key-field", "k", "--producer", "import"];
    let words = [&["append", "--data", &data, topic, file][..], &keys].concat();
    // The first kill comes before anybody can be done.
    let (mut kills, mut longest) = (0, 8);
    loop {
        let mut command = node.program.command(&words);
        let command =
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut child = command.spawn().unwrap();
        let moment = Duration::from_millis(rng.below(longest));
        tokio::select! {
            ended = child.wait() => {
                assert!(ended.unwrap().success(), "the append was not killed and failed");
                return kills;
            }
            () = pause(moment) => {
                child.kill().await.unwrap();
                kills += 1;
                longest += longest / 8;
            }
        }
    }
}

#[tokio::test]
async fn an_append_killed_at_random_and_repeated_writes_each_line_once() {
    let (fleet, hub) = Fleet::running().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    ship.configure("[[topic]]\nname = \"spread\"\npartitions = 3\n").unwrap();
    let wanted = lines("file", 20_000);
    let file = fleet.file("in", &wanted).unwrap();
    let seed = landfall::entropy::number().unwrap();
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    // Without a node that runs, the command opens the directory itself, and that is killed.
    let kills = append_at_last(&ship, "log", &file, &mut rng).await;
    let runs = ship.run_up().await.unwrap();
    let more = append_at_last(&ship, "spread", &file, &mut rng).await;
    println!("{kills} kills without and {more} with a node that runs");
    assert!(kills > 0 && more > 0);
    assert_eq!(values(&ship, "log").await.unwrap(), wanted);
    assert_same(values(&ship, "spread").await.unwrap(), &[&wanted]);
    drop((runs, hub));
}

#[tokio::test]
async fn partitions_and_topics_do_not_take_each_others_lines_for_repeated_ones() {
    let fleet = Fleet::new(Default::default()).await.unwrap();
    fleet.hub.configure("[[topic]]\nname = \"spread\"\npartitions = 5\n").unwrap();
    let wanted = lines("file", 100);
    let file = fleet.file("in", &wanted).unwrap();
    for topic in ["spread", "log", "spread"] {
        let words = [topic, &file, "--key-field", "k", "--producer", "import"];
        fleet.hub.done("append", &words).await.unwrap();
    }
    assert_same(values(&fleet.hub, "spread").await.unwrap(), &[&wanted]);
    assert_eq!(values(&fleet.hub, "log").await.unwrap(), wanted);
}
