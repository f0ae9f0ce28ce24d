//! Topics that come down while everything goes wrong at random: when it stops, each node has what
//! the one above it has, each record once. `s` is written by the hub H and comes down to all; `t`
//! is written by the device E and comes down to the gateway G and, through it, to the device D.
//!
//! `LANDFALL_SEED` runs one case, and `LANDFALL_CASES` sets how many there are.

use landfall_simulation::media::damage::DamageModel;
use landfall_simulation::rng::Rng;
use landfall_simulation::world::{Backup, World};

const HOSTS: [&str; 4] = ["D", "E", "G", "H"];

struct Chaos {
    world: World,
    rng: Rng,
    backups: Vec<(&'static str, Backup)>,
    /// The hosts that may go back to a backup. What the hub loses, those below keep.
    go_back: Vec<&'static str>,
}

#[test]
fn whatever_happens_all_that_is_above_comes_down_once() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (seed, cases) = (number("LANDFALL_SEED"), number("LANDFALL_CASES"));
    let first = seed.unwrap_or(1);
    let cases = cases.unwrap_or(if seed.is_some() { 1 } else { 40 });
    for seed in first..first + cases {
        println!("LANDFALL_SEED={seed}");
        let mut chaos = Chaos::new(seed);
        for _ in 0..10 + chaos.rng.below(30) {
            chaos.step();
            chaos.world.check();
        }
        chaos.calm_down();
    }
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut world = World::new(rng.u64());
        if std::env::var_os("LANDFALL_VERBOSE").is_some() {
            world.verbose();
        }
        world.hub("H");
        world.subscriber("G", "H", &["s", "t"]);
        world.subscriber("D", "G", &["s", "t"]);
        world.subscriber("E", "H", &["s"]);
        let go_back = match rng.below(3) {
            0 => vec!["D", "G", "E"],
            1 => vec!["D", "G", "H"],
            _ => vec!["D", "G"],
        };
        Self { world, rng, backups: Vec::new(), go_back }
    }

    fn step(&mut self) {
        let host = *self.rng.pick(&HOSTS);
        match self.rng.below(20) {
            0..7 => self.append(),
            7..9 => self.pass(2_000),
            9 => self.pass(60_000),
            10 => self.world.crash(host),
            11 | 12 => {
                self.world.disk(host).set_damage(*self.rng.pick(&DamageModel::ALL));
                self.world.cut_power(host);
                self.pass(3_000);
                self.world.boot(host);
            }
            13 => {
                let disk = self.world.disk(host);
                disk.set_damage(*self.rng.pick(&DamageModel::ALL));
                disk.arm_cut(1 + self.rng.below(60));
            }
            14 => {
                let other = *self.rng.pick(&HOSTS);
                self.world.part(host, other);
            }
            15 => self.world.heal(),
            16 => {
                let bytes = 1 + self.rng.below(20_000) as usize;
                self.world.cut_next_after(bytes);
            }
            17 => {
                let upstream = *self.rng.pick(&["G", "H"]);
                self.world.roam("D", upstream);
            }
            18 => self.go_back_or_copy(),
            _ => {
                let (delay, rate) = (self.rng.below(400), 10 + self.rng.below(2_000) as usize);
                let limited = self.rng.chance(1, 2);
                self.world.set_network(delay, limited.then_some(rate));
            }
        }
    }

    fn append(&mut self) {
        let (writer, topic) = *self.rng.pick(&[("H", "s"), ("E", "t"), ("D", "up")]);
        for _ in 0..1 + self.rng.below(4) {
            let most = if self.rng.chance(1, 4) { 2_000 } else { 20 };
            let count = 1 + self.rng.below(most);
            let records = (0..count).map(|_| self.world.new_record()).collect();
            self.world.append_records(writer, topic, records);
        }
    }

    fn pass(&mut self, most_ms: u64) {
        let span = self.rng.below(most_ms);
        self.world.run(span);
    }

    fn go_back_or_copy(&mut self) {
        if !self.backups.is_empty() && self.rng.chance(1, 2) {
            let (host, backup) = self.rng.pick(&self.backups).clone();
            return self.world.restore(host, &backup);
        }
        let host = *self.rng.pick(&self.go_back);
        if self.world.disk(host).is_on() {
            self.backups.push((host, self.world.image(host)));
        }
    }

    /// No more faults: what is above must come down.
    fn calm_down(&mut self) {
        self.world.heal();
        self.world.set_network(20, None);
        for host in HOSTS {
            self.world.repair_disk(host);
            self.world.boot(host);
        }
        self.world.run(120_000);
        self.world.sync_down(&["G"], "t");
        self.world.sync_down(&["D"], "t");
        self.world.sync_down(&["G", "D", "E"], "s");
        for (name, topics) in [("G", &["s", "t"][..]), ("D", &["s", "t"]), ("E", &["s"])] {
            for topic in topics {
                match self.go_back.contains(&"H") {
                    true => self.world.expect_all_of(name, "H", topic),
                    false => self.world.expect_copy(name, "H", topic),
                }
            }
        }
    }
}
