//! Hubs of a group while everything goes wrong at random: three of them dial the root R and each
//! other, and who brings the records of which origin changes all the time; the hubs hear of it one
//! after the other, and some hear what is wrong. When it stops, all is at R, once.
//!
//! `LANDFALL_SEED` runs one case, and `LANDFALL_CASES` sets how many there are.

use std::collections::BTreeMap;

use landfall_node::{AlarmKind, Uplink};
use landfall_simulation::media::damage::DamageModel;
use landfall_simulation::rng::Rng;
use landfall_simulation::world::{Backup, World};

const HUBS: [&str; 3] = ["A", "B", "C"];
const ORIGINS: [&str; 6] = ["A", "B", "C", "D", "E", "F"];
const HOSTS: [&str; 7] = ["A", "B", "C", "D", "E", "F", "R"];
/// Where nobody is.
const NOWHERE: Uplink = Uplink(9);

struct Chaos {
    world: World,
    rng: Rng,
    owners: BTreeMap<&'static str, &'static str>,
    backups: Vec<(&'static str, Backup)>,
    /// Whether hubs may go back to a backup.
    go_back: bool,
}

#[test]
fn whoever_owns_what_all_comes_to_the_root_once() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (seed, cases) = (number("LANDFALL_SEED"), number("LANDFALL_CASES"));
    let first = seed.unwrap_or(1);
    let cases = cases.unwrap_or(if seed.is_some() { 1 } else { 40 });
    for seed in first..first + cases {
        println!("LANDFALL_SEED={seed}");
        let mut chaos = Chaos::new(seed);
        for _ in 0..20 + chaos.rng.below(60) {
            chaos.step();
            chaos.world.check();
        }
        chaos.calm_down();
    }
}

/// Where a hub dials another one.
fn uplink_to(hub: &str) -> Uplink {
    Uplink(1 + HUBS.iter().position(|name| *name == hub).expect("it is a hub") as u8)
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut world = World::new(rng.u64());
        if std::env::var_os("LANDFALL_VERBOSE").is_some() {
            world.verbose();
        }
        world.hub("R");
        HUBS.iter().for_each(|hub| world.hub_of_group(hub, "R"));
        for (device, hub) in [("D", "A"), ("E", "B"), ("F", "A")] {
            world.device(device, hub);
        }
        for host in HOSTS.into_iter().filter(|_| rng.chance(1, 2)) {
            world.configure(host, |settings| settings.keep_acked_ms = 30_000);
        }
        let go_back = rng.chance(1, 3);
        let (owners, backups) = (BTreeMap::new(), Vec::new());
        let mut chaos = Self { world, rng, owners, backups, go_back };
        for hub in HUBS {
            chaos.open(hub);
        }
        for origin in ORIGINS {
            let owner = *chaos.rng.pick(&HUBS);
            assert!(chaos.world.own_at("R", origin, owner));
            chaos.owners.insert(origin, owner);
            HUBS.iter().for_each(|hub| chaos.tell(hub, origin));
        }
        chaos
    }

    fn step(&mut self) {
        let host = *self.rng.pick(&HOSTS);
        match self.rng.below(26) {
            0..7 => self.append(),
            7..10 => self.pass(3_000),
            10 => self.pass(60_000),
            11 => self.world.crash(host),
            12 => self.world.restart(host),
            13 => {
                self.world.disk(host).set_damage(*self.rng.pick(&DamageModel::ALL));
                self.world.cut_power(host);
                self.pass(3_000);
                self.world.boot(host);
            }
            14 => {
                let disk = self.world.disk(host);
                disk.set_damage(*self.rng.pick(&DamageModel::ALL));
                disk.arm_cut(1 + self.rng.below(60));
            }
            15 => {
                let other = *self.rng.pick(&HOSTS);
                self.world.part(host, other);
            }
            16 => self.world.heal(),
            17 => {
                let bytes = 1 + self.rng.below(20_000) as usize;
                self.world.cut_next_after(bytes);
            }
            18 => {
                let device = *self.rng.pick(&["D", "E", "F"]);
                let hub = *self.rng.pick(&HUBS);
                self.world.roam(device, hub);
            }
            19..22 => self.move_shard(),
            22 => self.mistake(),
            23 => self.open_or_close(),
            24 => self.go_back_or_copy(),
            _ => {
                let (delay, rate) = (self.rng.below(400), 10 + self.rng.below(2_000) as usize);
                let limited = self.rng.chance(1, 2);
                self.world.set_network(delay, limited.then_some(rate));
            }
        }
    }

    fn append(&mut self) {
        let writer = *self.rng.pick(&["A", "D", "D", "E", "E", "F"]);
        let topic = *self.rng.pick(&["a", "b"]);
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

    /// A hub takes an origin over, and some hear of it.
    fn move_shard(&mut self) {
        let (origin, owner) = (*self.rng.pick(&ORIGINS), *self.rng.pick(&HUBS));
        if self.world.own_at("R", origin, owner) {
            self.owners.insert(origin, owner);
        }
        for hub in HUBS {
            if self.rng.chance(2, 3) {
                self.tell(hub, origin);
                self.pass(1_000);
            }
        }
    }

    /// A hub hears what is wrong.
    fn mistake(&mut self) {
        let (hub, origin) = (*self.rng.pick(&HUBS), *self.rng.pick(&ORIGINS));
        let mut uplinks = vec![Uplink::FIRST, NOWHERE];
        uplinks.extend(HUBS.iter().filter(|other| **other != hub).map(|other| uplink_to(other)));
        let uplink = *self.rng.pick(&uplinks);
        self.world.assign(hub, origin, uplink);
    }

    fn open_or_close(&mut self) {
        let (hub, other) = (*self.rng.pick(&HUBS), *self.rng.pick(&HUBS));
        if self.rng.chance(1, 2) {
            self.open(hub);
        } else if hub != other {
            self.world.close_uplink(hub, uplink_to(other));
        }
    }

    fn go_back_or_copy(&mut self) {
        let hub = *self.rng.pick(&HUBS);
        if !self.backups.is_empty() && self.rng.chance(1, 2) {
            let (host, backup) = self.rng.pick(&self.backups).clone();
            self.world.restore(host, &backup);
        } else if self.go_back && self.world.disk(hub).is_on() {
            self.backups.push((hub, self.world.image(hub)));
        }
    }

    fn open(&mut self, hub: &str) {
        for other in HUBS.into_iter().filter(|other| *other != hub) {
            self.world.open_uplink(hub, uplink_to(other), other);
        }
    }

    /// A hub hears who owns an origin.
    fn tell(&mut self, hub: &str, origin: &str) {
        let owner = self.owners[origin];
        let uplink = if owner == hub { Uplink::FIRST } else { uplink_to(owner) };
        self.world.assign(hub, origin, uplink);
    }

    /// No more faults: all must come to the root.
    fn calm_down(&mut self) {
        self.world.heal();
        self.world.set_network(20, None);
        for host in HOSTS {
            self.world.repair_disk(host);
            self.world.boot(host);
            self.world.online(host);
        }
        for hub in HUBS {
            self.open(hub);
        }
        for origin in ORIGINS {
            assert!(self.world.own_at("R", origin, self.owners[origin]), "R's disk works");
            HUBS.iter().for_each(|hub| self.tell(hub, origin));
        }
        self.world.run(120_000);
        self.world.sync();
        self.world.check_delivered("R");
        if !self.go_back {
            self.world.expect_no_alarm("R", AlarmKind::Fork);
            self.world.expect_no_alarm("R", AlarmKind::Gap);
        }
        let sent = |world: &World| HOSTS.iter().map(|host| world.bytes_sent(host)).sum::<u64>();
        let before = sent(&self.world);
        self.world.run(600_000);
        let idle = sent(&self.world) - before;
        assert!(idle < 100_000, "{idle} bytes in ten idle minutes\n{}", self.world.describe());
    }
}
