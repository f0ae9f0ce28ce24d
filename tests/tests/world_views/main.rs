//! Worlds of nodes that keep views: crashes, power cuts, disks that lie or rot, restored backups,
//! lost files and retention, until it stops. Then each view has what its log has, each record once,
//! as one that is made anew; and what it derives is there once.
//!
//! `LANDFALL_SEED` runs one case, and `LANDFALL_CASES` sets how many there are.

mod kept;
mod ledger;
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use landfall::config::Config;
use landfall::views::definition::Definition;
use landfall_core::codec::Writer;
use landfall_core::num::Timestamp;
use landfall_core::record::Record;
use landfall_simulation::media::damage::DamageModel;
use landfall_simulation::rng::Rng;
use landfall_simulation::world::{Backup, World};

use kept::Kept;

const HOSTS: [&str; 3] = ["D1", "D2", "H"];
const DEVICES: [&str; 2] = ["D1", "D2"];
const TOPICS: [&str; 2] = ["a", "b"];

/// Rows that count how often each record was taken in, of two topics; some records are refused, and
/// some derive others. A rule does without rows.
const VIEWS: &str = r#"
[view.rows]
ddl = """
CREATE TABLE rows(
  topic TEXT, origin TEXT, off INTEGER, value TEXT CHECK(substr(value, -1) <> '3'),
  n INTEGER NOT NULL, PRIMARY KEY(topic, origin, off, value)) WITHOUT ROWID
"""
[view.rows.on.a]
put = """
INSERT INTO rows VALUES(:topic, :origin, :offset, :value, 1) ON CONFLICT DO UPDATE SET n = n + 1
"""
emit.derived = "SELECT :value AS value WHERE substr(:value, -1) = '7'"
[view.rows.on.b]
put = """
INSERT INTO rows VALUES(:topic, :origin, :offset, :value, 1) ON CONFLICT DO UPDATE SET n = n + 1
"""
[view.routes.rule]
topic = "b"
where = "substr(:value, -1) = '5'"
to = "routed"
"#;

/// What happened to a host that changes what may be expected of it.
#[derive(Clone, Debug, Default)]
struct Past {
    /// Its disk went back to an earlier state or lost something: it has lost what it acknowledged.
    lost: bool,
    /// What it lost lies among what it kept.
    rotted: bool,
    /// Its views' file was lost or went back, maybe to before what the log has forgotten.
    file_lost: bool,
}

/// A world, its views, and what is known of both.
struct Voyage {
    world: World,
    rng: Rng,
    kept: Vec<Kept>,
    backups: Vec<(&'static str, Backup)>,
    past: BTreeMap<&'static str, Past>,
    /// The values of what each host acknowledged.
    acknowledged: BTreeMap<&'static str, BTreeSet<String>>,
    records: u64,
    hub_goes_back: bool,
}

#[test]
fn whatever_happens_views_have_what_the_log_has_and_what_they_derive_is_there_once() {
    for seed in seeds() {
        println!("LANDFALL_SEED={seed}");
        println!("  its trace is {:016x}", run(seed));
    }
}

#[test]
fn the_same_seed_gives_the_same_world_of_views() {
    for seed in [1, 7] {
        assert_eq!(run(seed), run(seed), "LANDFALL_SEED={seed}");
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn seeds() -> Range<u64> {
    match (number("LANDFALL_SEED"), number("LANDFALL_CASES")) {
        (Some(seed), None) => seed..seed + 1,
        (seed, cases) => {
            let first = seed.unwrap_or(1);
            first..first + cases.unwrap_or(12)
        }
    }
}

/// Runs a case on one thread, on whose clock nothing happens by itself.
fn run(seed: u64) -> u64 {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let voyage = async {
        let mut voyage = Voyage::new(seed);
        for _ in 0..15 + voyage.rng.below(25) {
            voyage.step().await;
            voyage.world.check();
        }
        voyage.calm_down().await;
        voyage.check().await;
        voyage.world.trace()
    };
    tokio::task::LocalSet::new().block_on(&runtime.unwrap(), voyage)
}

fn definitions() -> Vec<Definition> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(landfall::config::FILE_NAME), VIEWS).unwrap();
    Config::load(None, folder.path(), []).unwrap().views
}

impl Voyage {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut world = World::new(rng.u64());
        if std::env::var_os("LANDFALL_VERBOSE").is_some() {
            world.verbose();
        }
        world.hub("H");
        DEVICES.iter().for_each(|device| world.device(device, "H"));
        let hub_goes_back = rng.chance(1, 3);
        if !hub_goes_back {
            for host in HOSTS {
                world.configure(host, |settings| settings.keep_acked_ms = 30_000);
            }
        }
        let wanted = definitions();
        let kept = HOSTS.iter().map(|host| Kept::new(host, &wanted)).collect();
        let past = HOSTS.iter().map(|host| (*host, Past::default())).collect();
        let acknowledged = HOSTS.iter().map(|host| (*host, BTreeSet::new())).collect();
        let (backups, records) = (Vec::new(), 0);
        Self { world, rng, kept, backups, past, acknowledged, records, hub_goes_back }
    }

    async fn step(&mut self) {
        match self.rng.below(24) {
            0..8 => self.append(),
            8..11 => self.pass(4_000).await,
            11 => self.pass(120_000).await,
            12..15 => self.crash().await,
            15 => self.arm_cut(),
            16 => {
                let (device, span) = (*self.rng.pick(&DEVICES), self.rng.below(60_000));
                self.world.offline(device);
                self.pass(span).await;
                self.world.online(device);
            }
            17 => self.back_up(),
            18 => self.go_back(),
            19 => self.lose_synced(),
            20 => self.rot(),
            21 => {
                let at = self.rng.below(3) as usize;
                self.kept[at].save().await;
            }
            22 => {
                let at = self.rng.below(3) as usize;
                self.kept[at].go_back().await;
                self.past.entry(HOSTS[at]).or_default().file_lost = true;
            }
            _ => {
                let bytes = 1 + self.rng.below(20_000) as usize;
                self.world.cut_next_after(bytes);
            }
        }
        for at in 0..HOSTS.len() {
            if self.rng.chance(1, 2) {
                self.kept[at].attend(&mut self.world, None).await;
            } else {
                self.kept[at].look(&mut self.world).await;
            }
        }
    }

    fn append(&mut self) {
        for _ in 0..1 + self.rng.below(4) {
            let writer = self.host();
            let topic = *self.rng.pick(&TOPICS);
            let (most, long) = if self.rng.chance(1, 4) { (150, 1_000) } else { (20, 10) };
            let values: Vec<_> = (0..1 + self.rng.below(most)).map(|_| self.value(long)).collect();
            let records = values.iter().map(|value| record(value)).collect();
            let outcome = self.world.append_records(writer, topic, records);
            if matches!(outcome, Some(landfall::node::AppendOutcome::Appended { .. })) {
                self.acknowledged.entry(writer).or_default().extend(values);
            }
        }
    }

    /// A value that no other is like; its last digit says what becomes of it.
    fn value(&mut self, long: usize) -> String {
        self.records += 1;
        format!("{:~>long$} {} {:016x}", "", self.records, self.rng.u64())
    }

    /// Lets time pass, and looks after the hosts meanwhile: one that comes back does not know where
    /// its views are.
    async fn pass(&mut self, most_ms: u64) {
        let mut left = self.rng.below(most_ms);
        while left > 0 {
            let span = left.min(4_000);
            self.world.run(span);
            left -= span;
            for kept in &mut self.kept {
                kept.look(&mut self.world).await;
            }
        }
    }

    /// A host dies while its views ask something.
    async fn crash(&mut self) {
        let (at, most) = (self.rng.below(3) as usize, self.rng.below(16));
        let host = HOSTS[at];
        self.kept[at].attend(&mut self.world, Some(most)).await;
        let span = self.rng.below(3);
        self.world.run(span);
        if self.rng.chance(1, 2) {
            self.world.crash(host);
        } else if self.world.is_up(host) {
            self.world.disk(host).set_damage(*self.rng.pick(&DamageModel::ALL));
            self.world.cut_power(host);
            self.kept[at].look(&mut self.world).await;
            self.world.boot(host);
        }
    }

    fn arm_cut(&mut self) {
        let host = self.host();
        let disk = self.world.disk(host);
        disk.set_damage(*self.rng.pick(&DamageModel::ALL));
        disk.arm_cut(1 + self.rng.below(60));
    }

    fn back_up(&mut self) {
        let host = self.host();
        if self.world.disk(host).is_on() && (host != "H" || self.hub_goes_back) {
            self.backups.push((host, self.world.image(host)));
        }
    }

    fn go_back(&mut self) {
        if self.backups.is_empty() {
            return;
        }
        let (host, backup) = self.rng.pick(&self.backups).clone();
        self.world.restore(host, &backup);
        self.past.entry(host).or_default().lost = true;
    }

    fn lose_synced(&mut self) {
        let host = self.host();
        // Who forgets what the root had can't bring it back to a root that lost it.
        if host != "H" || self.hub_goes_back {
            let programs = 1 + self.rng.below(20) as usize;
            self.world.lose_synced(host, programs);
            self.past.entry(host).or_default().lost = true;
        }
    }

    fn rot(&mut self) {
        let host = *self.rng.pick(&DEVICES);
        if self.rng.chance(1, 3) {
            self.world.rot(host, &mut self.rng);
            let past = self.past.entry(host).or_default();
            (past.lost, past.rotted) = (true, true);
        }
    }

    /// No more faults: the world must become whole, and all views come to the end of their logs.
    async fn calm_down(&mut self) {
        self.world.heal();
        for host in HOSTS {
            self.world.repair_disk(host);
            self.world.boot(host);
            self.world.online(host);
        }
        for _ in 0..3 {
            for _ in 0..30 {
                self.pass(8_000).await;
            }
            self.world.sync();
            for kept in &mut self.kept {
                let came = kept.attend(&mut self.world, None).await;
                assert!(came, "{} went down\n{}", kept.name, self.world.describe());
            }
        }
        self.world.sync();
        self.world.check_delivered("H");
    }

    async fn check(&mut self) {
        for (at, host) in HOSTS.into_iter().enumerate() {
            self.kept[at].end().await;
            let held = self.world.held(host);
            let past = &self.past[host];
            let derived = ledger::derived(host, &held);
            // What a device lost and derives again is given back to it; and what is lost of derived
            // records alone, the view does not know of.
            derived.expect_once(host, &held, (past.lost && host != "H", past.lost));
            let rows = ledger::rows(&self.kept[at].file());
            let log = ledger::taken_in(&held);
            // The rows keep what the log has forgotten, and what has rotted there.
            let keeps = past.rotted || self.world.has_forgotten(host);
            let beside = |row: &ledger::Row| keeps && !log.contains_key(row);
            let rest = rows.iter().filter(|(row, _)| !beside(row));
            let rest = rest.map(|(row, n)| (row.clone(), *n)).collect();
            ledger::expect_same(&format!("the view of {host}"), &rest, &log);
            if !past.lost && !past.file_lost {
                for writer in self.brings(host) {
                    ledger::expect_all(host, &rows, &self.acknowledged[writer]);
                }
            }
            let anew = self.kept[at].made_anew(&mut self.world).await;
            let what = format!("the view of {host} that is made anew");
            ledger::expect_same(&what, &ledger::rows(&anew.file()), &log);
            let again = ledger::derived(host, &self.world.held(host));
            assert!(past.lost || again == derived, "{what} derives again");
        }
    }

    /// The hosts of which all that they acknowledged came to a host.
    fn brings(&self, host: &'static str) -> Vec<&'static str> {
        match host {
            "H" => HOSTS.into_iter().filter(|writer| !self.past[writer].lost).collect(),
            device => vec![device],
        }
    }

    fn host(&mut self) -> &'static str {
        self.rng.pick::<&str>(&HOSTS)
    }
}

fn record(value: &str) -> Vec<u8> {
    let record = Record::new(Timestamp::new(1_000), None, Some(value.as_bytes()));
    let mut bytes = vec![0; record.encoded_len()];
    record.encode(&mut Writer::new(&mut bytes)).unwrap();
    bytes
}
