//! The real program on disks with a volatile cache, whose power goes at any call.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use landfall::api::Client;
use landfall::media::{FileMedia, FileShape};
use landfall_core::media::{Media, MediaError, Place, SlotIx};
use landfall_simulation::rng::Rng;
use landfall_tests::process::{NodeDir, Running, pause, until};
use landfall_tests::volatile::VolatileDisk;
use tokio::task::JoinHandle;

use crate::fleet::{Fleet, append_numbered, synced, values};

/// A small segment, so that segments change within a few commits.
const SETTINGS: &str = "[storage]\nsegment_bytes = \"512KiB\"\n";
const TOPICS: [&str; 2] = ["first", "second"];
const CUTS: usize = 20;
/// Records of a topic that may come while a node starts, and with each look at whether the power
/// has gone. All that is there is read at each cut: where that takes long, no more shall come.
const WHILE_STARTING: usize = 20;
const WHILE_WAITING: usize = 2;

fn seed() -> u64 {
    let given = std::env::var("LANDFALL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| landfall::entropy::number().unwrap());
    println!("LANDFALL_SEED={seed}");
    seed
}

fn disk(test: &str, at: &Path) -> Option<VolatileDisk> {
    fs::create_dir(at).unwrap();
    VolatileDisk::mount(test, at)
}

/// How much the producers append.
#[derive(Default)]
struct Pace {
    /// Records of each topic, so far.
    allowed: AtomicUsize,
    done: AtomicBool,
}

impl Pace {
    fn allow(&self, more: usize) {
        self.allowed.fetch_add(more, Ordering::Relaxed);
    }
}

/// Appends line after line to a topic; one that was not acknowledged is sent again.
struct Producer {
    topic: &'static str,
    acknowledged: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Producer {
    fn new(topic: &'static str, client: Client, pace: &Arc<Pace>) -> Self {
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(produce(topic, client, acknowledged.clone(), pace.clone()));
        Self { topic, acknowledged, task }
    }

    fn acknowledged(&self) -> Vec<String> {
        self.acknowledged.lock().unwrap().clone()
    }
}

async fn produce(
    topic: &'static str,
    client: Client,
    acknowledged: Arc<Mutex<Vec<String>>>,
    pace: Arc<Pace>,
) {
    while !pace.done.load(Ordering::Relaxed) {
        let number = acknowledged.lock().unwrap().len() + 1;
        if number <= pace.allowed.load(Ordering::Relaxed) {
            let length = number * 7_919 % 6_000;
            let line = format!(r#"{{"n":{number},"of":"{topic}","x":"{}"}}"#, "x".repeat(length));
            if append_numbered(&client, topic, number, &line).await {
                acknowledged.lock().unwrap().push(line);
            }
        }
        pause(Duration::from_millis(3)).await;
    }
}

/// A ship and its hub, each on a disk of its own. Which is which: the ship first.
struct Scene {
    runs: [Option<Running>; 2],
    disks: [VolatileDisk; 2],
    nodes: [NodeDir; 2],
    producers: Vec<Producer>,
    pace: Arc<Pace>,
    /// How much of the ship's is at the hub for good, as the ship was told.
    promised: u64,
    rng: Rng,
    cuts: u64,
    _fleet: Fleet,
}

impl Scene {
    async fn new(test: &str, seed: u64) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let below_hub = disk(test, &dir.path().join("hub"))?;
        let below_ship = disk(test, &dir.path().join("ship-1"))?;
        let fleet = Fleet::within(dir, Default::default()).await.unwrap();
        fleet.hub.configure(SETTINGS).unwrap();
        let hub = fleet.hub.run_up().await.unwrap();
        let ship = fleet.ship("ship-1").await.unwrap();
        ship.configure(SETTINGS).unwrap();
        let disks = [below_ship, below_hub];
        // What the test wrote is none of the program's business.
        disks.iter().for_each(VolatileDisk::settle);
        let runs = [Some(ship.run_up().await.unwrap()), Some(hub)];
        let nodes = [ship, fleet.hub.clone()];
        let rng = Rng::new(seed);
        let (producers, pace) = (Vec::new(), Arc::default());
        let (promised, cuts) = (0, 0);
        Some(Self { runs, disks, nodes, producers, pace, promised, rng, cuts, _fleet: fleet })
    }

    /// Waits until the power of one of these has gone, and ends all of them with it.
    async fn cut(&mut self, which: &[usize]) {
        let (disks, pace) = (&self.disks, &self.pace);
        let gone = async || {
            pace.allow(WHILE_WAITING);
            which.iter().any(|which| !disks[*which].is_on()).then_some(())
        };
        until("the power goes", gone).await.unwrap();
        which.iter().for_each(|which| disks[*which].cut());
        if let (Some(ship), false) = (&self.runs[0], which.contains(&0)) {
            let status = ship.status().await.unwrap();
            let lane = status.lanes.iter().find(|lane| lane.name == "normal").unwrap();
            self.promised = self.promised.max(lane.root_seq);
        }
        for which in which {
            self.end(*which).await;
        }
    }

    async fn end(&mut self, which: usize) {
        if let Some(runs) = self.runs[which].take() {
            runs.kill().await.unwrap();
        }
        self.cuts += 1;
    }

    /// Gives the power back, looks at what is there, and starts the node, as often as it takes.
    async fn restart(&mut self, which: usize) {
        self.pace.allow(WHILE_STARTING);
        loop {
            self.disks[which].restore(&mut self.rng).unwrap();
            self.check(which).await;
            if self.rng.chance(1, 3) {
                self.disks[which].cut_after(self.rng.below(20));
            }
            let mut runs = self.nodes[which].run(&[]).unwrap();
            let disk = &self.disks[which];
            let up = async || match runs.status().await {
                _ if !disk.is_on() => Some(Ok(false)),
                Some(_) => Some(Ok(true)),
                None => match runs.ended_within(Duration::from_millis(1)).await {
                    Ok(status) if disk.is_on() => Some(Err(status)),
                    _ => None,
                },
            };
            let is_up = until("it starts", up).await.unwrap();
            let log = fs::read_to_string(self.nodes[which].log()).unwrap_or_default();
            let last = log.lines().last().unwrap_or_default();
            self.runs[which] = Some(runs);
            let is_up =
                is_up.unwrap_or_else(|status| panic!("it does not start: {status}: {last}"));
            self.disks[which].calm();
            if is_up && self.disks[which].is_on() {
                return;
            }
            self.end(which).await;
        }
    }

    /// What was acknowledged is there; and at the hub, as much as it promised.
    async fn check(&self, which: usize) {
        let mut found = 0;
        for producer in &self.producers {
            let acknowledged = producer.acknowledged();
            let held = values(&self.nodes[which], producer.topic).await.unwrap();
            let of = format!("{} of {} {}", held.len(), acknowledged.len(), producer.topic);
            assert!(which == 1 || held.len() >= acknowledged.len(), "{of} are there");
            let both = held.len().min(acknowledged.len());
            assert!(held[..both] == acknowledged[..both], "{of}: some are others");
            found += held.len() as u64;
        }
        assert!(which == 0 || found >= self.promised, "{found} of {} at the hub", self.promised);
    }
}

#[tokio::test]
async fn a_node_is_made_or_can_be_made_again_whenever_the_power_goes() {
    let test = "a_node_is_made_or_can_be_made_again_whenever_the_power_goes";
    let mut rng = Rng::new(seed());
    let (fleet, hub) = Fleet::running().await.unwrap();
    let token = fleet.token("ship-*", &["--uses", "100"]).await.unwrap();
    for calls in 0.. {
        let site = format!("ship-{calls}");
        let node = fleet.node(&site);
        let Some(mut disk) = disk(test, &node.path) else { return };
        let words = ["--site", &site, "--join", &token];
        disk.cut_after(calls);
        let made = node.call("init", &words).await.unwrap();
        let was_cut = !disk.is_on();
        disk.restore(&mut rng).unwrap();
        if made.code != Some(0) {
            let again = node.call("init", &words).await.unwrap();
            let is_made = again.code == Some(0) || again.err.contains("there is a node");
            assert!(is_made, "cut at call {calls}: {again:?}");
        }
        let done = node.call("run", &["--until-synced"]).await.unwrap();
        assert_eq!(done.code, Some(0), "cut at call {calls} of {made:?}: {done:?}");
        if !was_cut {
            println!("{calls} calls");
            break;
        }
    }
    drop(hub);
}

#[tokio::test]
async fn whenever_the_power_goes_what_was_acknowledged_is_there_and_at_the_hub_once() {
    let test = "whenever_the_power_goes_what_was_acknowledged_is_there_and_at_the_hub_once";
    let Some(mut scene) = Scene::new(test, seed()).await else { return };
    let client = || scene.nodes[0].client();
    let producer = |topic| Producer::new(topic, client(), &scene.pace);
    scene.producers = TOPICS.into_iter().map(producer).collect();
    for _ in 0..CUTS {
        let which = [&[0][..], &[0], &[1], &[0, 1]][scene.rng.below(4) as usize];
        for which in which {
            scene.disks[*which].cut_after(scene.rng.below(60));
        }
        scene.cut(which).await;
        for which in which {
            scene.restart(*which).await;
        }
    }
    scene.pace.done.store(true, Ordering::Relaxed);
    for producer in &mut scene.producers {
        (&mut producer.task).await.unwrap();
    }
    scene.runs[0].as_mut().unwrap().until("synced", synced).await.unwrap();
    for producer in &scene.producers {
        let held = values(&scene.nodes[1], producer.topic).await.unwrap();
        assert!(held == producer.acknowledged(), "{} at the hub", producer.topic);
    }
    let count: usize = scene.producers.iter().map(|producer| producer.acknowledged().len()).sum();
    println!(
        "{} cuts, {count} records, {:?}",
        scene.cuts,
        scene.disks.each_ref().map(VolatileDisk::lost)
    );
    for (which, runs) in scene.runs.iter_mut().enumerate() {
        assert!(runs.take().unwrap().terminate().await.unwrap().success());
        let verified = scene.nodes[which].call("verify", &[]).await.unwrap();
        assert_eq!(verified.code, Some(0), "{verified:?}");
    }
}

#[test]
fn a_medium_that_was_read_only_for_a_while_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let test = "a_medium_that_was_read_only_for_a_while_is_written_again";
    let Some(disk) = disk(test, &dir.path().join("disk")) else { return };
    let shape = FileShape { slots: 1, slot_bytes: 16_384, powersafe: false };
    let place = |at| Place { slot: SlotIx(0), at };
    let at = dir.path().join("disk/node");
    let mut media = FileMedia::open(&at, shape).unwrap();
    media.erase(SlotIx(0)).unwrap();
    media.program(place(0), &[1; 4_096]).unwrap();
    media.sync(SlotIx(0)).unwrap();
    drop(media);
    let mut media = FileMedia::open(&at, shape).unwrap();
    disk.set_read_only(true);
    let mut seen = [0; 4_096];
    media.read(place(0), &mut seen).unwrap();
    assert_eq!(seen, [1; 4_096]);
    assert_eq!(media.program(place(4_096), &[2; 4_096]), Err(MediaError::Failed));
    disk.set_read_only(false);
    media.program(place(4_096), &[2; 4_096]).unwrap();
    media.sync(SlotIx(0)).unwrap();
    media.read(place(4_096), &mut seen).unwrap();
    assert_eq!(seen, [2; 4_096]);
}

#[tokio::test]
async fn a_node_whose_writes_are_short_writes_the_rest() {
    let (fleet, hub) = Fleet::running().await.unwrap();
    let ship = fleet.node("ship-1");
    let test = "a_node_whose_writes_are_short_writes_the_rest";
    let Some(disk) = disk(test, &ship.path) else { return };
    disk.write_at_most(1_000);
    let token = fleet.token("ship-1", &[]).await.unwrap();
    ship.done("init", &["--join", &token]).await.unwrap();
    ship.configure(SETTINGS).unwrap();
    let mut runs = ship.run_up().await.unwrap();
    let many: Vec<_> =
        (0..300).map(|n| format!(r#"{{"n":{n},"x":"{}"}}"#, "x".repeat(4_000))).collect();
    let file = fleet.file("in", &many).unwrap();
    ship.done("append", &["log", &file]).await.unwrap();
    runs.until("synced", synced).await.unwrap();
    for node in [&ship, &fleet.hub] {
        assert!(values(node, "log").await.unwrap() == many, "{:?}", node.path);
    }
    assert!(runs.terminate().await.unwrap().success());
    assert_eq!(ship.call("verify", &[]).await.unwrap().code, Some(0));
    drop(hub);
}
