//! A ship and its hub, each on a host of the internet, and the steps of scenarios.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::task::Poll;
use std::time::Duration;

use landfall::identity::NodeKey;
use landfall::node::{AppendOutcome, Now, Phase};
use landfall::transport::{Carrier, Settings};
use landfall_core::codec::Writer;
use landfall_core::num::Timestamp;
use landfall_core::record::Record;
use landfall_protocol::time::Instant;

use super::station::{Plan, Station};
use super::{Fates, HostIx, Internet, Way};
use landfall_simulation::media::image::Image;
use landfall_simulation::rng::Rng;
use landfall_simulation::world::Held;

/// Who is there.
pub const SHIP: &str = "ship";
/// Whom the ship dials.
pub const HUB: &str = "hub";

/// The internet with a node at each of two hosts.
pub struct Scene {
    internet: Internet,
    seed: u64,
    rng: Rng,
    plans: BTreeMap<&'static str, Plan>,
    stations: BTreeMap<&'static str, Station>,
    /// What was acknowledged at the ship, by topic, in order.
    acknowledged: BTreeMap<String, Vec<Vec<u8>>>,
    /// Bytes of these records.
    record_bytes: u64,
    /// The hub's last commit, and when it was made or nothing was to be done.
    moved: (u64, Duration),
    /// The longest time without one, while something was to be done.
    stall: Duration,
}

/// The first moment by the calendar: 2026-01-01.
const EPOCH_MS: i64 = 1_767_225_600_000;
const HUB_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 4_774);
const SHIP_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
/// Records of an append at most: an entry has room for so many of a kilobyte.
const APPEND_RECORDS_MAX: usize = 64;

impl Scene {
    /// A ship and a hub on good ways, both running and not yet connected.
    pub fn new(seed: u64) -> Self {
        let internet = Internet::new(seed);
        let mut rng = internet.fork_rng();
        let (hub, ship) = (internet.host(HUB_ADDRESS.ip()), internet.host(SHIP_ADDRESS));
        let [hub_key, ship_key] = [1, 2].map(|number| NodeKey::from_seed([number; 32]));
        let public = hub_key.public();
        let hub = Plan {
            site: HUB,
            host: hub,
            key: hub_key,
            listen: Some(HUB_ADDRESS),
            upstream: None,
            transport: usual(Settings::hub()),
            visit_every: None,
        };
        let ship = Plan {
            site: SHIP,
            host: ship,
            key: ship_key,
            listen: None,
            upstream: Some((HUB_ADDRESS, public)),
            transport: usual(Settings::device()),
            visit_every: None,
        };
        let disks = [&hub, &ship].map(|_| Plan::disk(&mut rng));
        let mut scene = Self {
            internet,
            seed,
            rng,
            plans: BTreeMap::from([(HUB, hub), (SHIP, ship)]),
            stations: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            record_bytes: 0,
            moved: (0, Duration::ZERO),
            stall: Duration::ZERO,
        };
        for (name, disk) in [HUB, SHIP].into_iter().zip(disks) {
            scene.start(name, disk);
        }
        scene
    }

    fn start(&mut self, name: &'static str, disk: landfall_simulation::media::disk::SimDisk) {
        let now = self.clock();
        let station = self.plans[name].start(&self.internet, disk, &mut self.rng, now);
        self.stations.insert(name, station);
    }

    /// Sets both directions.
    pub fn both_ways(&mut self, way: Way) {
        self.way_up(way);
        self.way_down(way);
    }

    /// Sets the direction from the ship to the hub.
    pub fn way_up(&mut self, way: Way) {
        self.internet.set_way(self.host(SHIP), self.host(HUB), way);
    }

    /// Sets the direction from the hub to the ship.
    pub fn way_down(&mut self, way: Way) {
        self.internet.set_way(self.host(HUB), self.host(SHIP), way);
    }

    /// What became of what the ship sent.
    pub fn fates_up(&self) -> Fates {
        self.internet.fates(self.host(SHIP), self.host(HUB))
    }

    /// What became of what the hub sent.
    pub fn fates_down(&self) -> Fates {
        self.internet.fates(self.host(HUB), self.host(SHIP))
    }

    /// Gives the ship new ports at an address; the old ones are gone.
    pub fn move_ship(&mut self, address: impl Into<IpAddr>) {
        self.internet.move_to(self.host(SHIP), address.into());
    }

    /// Gives the ship new ports at the address that it has.
    pub fn forget_ports(&mut self) {
        self.move_ship(SHIP_ADDRESS);
    }

    /// Starts the ship again on a metered link.
    pub fn meter(&mut self, visit_every: Duration) {
        let every = landfall_protocol::time::Duration::from_millis(visit_every.as_millis() as u64);
        let ship = self.plans.get_mut(SHIP).expect("it has a plan");
        ship.visit_every = Some(every);
        ship.transport.datagram_search = false;
        self.restart(SHIP);
    }

    /// Stops the process of a node in the middle of whatever it does.
    pub fn freeze(&mut self, name: &str) {
        self.station(name).card.freeze();
    }

    /// Lets it go on.
    pub fn thaw(&mut self, name: &str) {
        self.station(name).card.thaw();
    }

    /// Kills a node and starts it again from its disk.
    pub fn restart(&mut self, name: &'static str) {
        let station = self.stations.remove(name).expect("it runs");
        self.start(name, station.kill());
    }

    /// Appends so many records of so many random bytes at the ship, and waits until they are
    /// durable there.
    ///
    /// # Panics
    /// They are refused.
    pub async fn append(&mut self, topic: &str, count: usize, length: usize) {
        let wall = self.clock().wall;
        let records: Vec<_> = (0..count).map(|_| record(wall, length, &mut self.rng)).collect();
        for part in records.chunks(APPEND_RECORDS_MAX) {
            let ship = self.stations.get_mut(SHIP).expect("the ship runs");
            let ticket = ship.append(topic, part.concat());
            let mut outcome = None;
            self.run_until(Duration::from_secs(1), |scene| {
                let ship = scene.stations.get_mut(SHIP).expect("the ship runs");
                outcome = ship.outcome(ticket);
                outcome.is_some()
            })
            .await;
            let whole = matches!(outcome, Some(AppendOutcome::Appended { .. }));
            assert!(whole, "the ship appends: {outcome:?}\n{}", self.describe());
        }
        self.record_bytes += records.iter().map(|record| record.len() as u64).sum::<u64>();
        self.acknowledged.entry(topic.into()).or_default().extend(records);
    }

    /// What the disk of a node holds.
    pub fn image(&self, name: &str) -> Image {
        self.station(name).disk().image()
    }

    /// Kills a node and starts it again from what its disk once held.
    pub fn put_back(&mut self, name: &'static str, image: &Image) {
        let disk = self.stations.remove(name).expect("it runs").kill();
        disk.restore(image);
        self.start(name, disk);
    }

    /// Records that the hub holds, without those of its own topics.
    pub fn held_by_hub(&self) -> usize {
        let held = Held::read(self.station(HUB).node.journal());
        held.records.iter().filter(|record| !record.stream.contains("/_")).count()
    }

    /// Lets so much time pass.
    pub async fn run(&mut self, span: Duration) {
        self.run_until(span, |_| false).await;
    }

    /// Lets time pass until a condition holds, and tells how long that took; `None` if it didn't
    /// come to hold within `span`.
    pub async fn run_until(
        &mut self,
        span: Duration,
        mut done: impl FnMut(&mut Self) -> bool,
    ) -> Option<Duration> {
        let began = self.internet.now();
        loop {
            let now = self.clock();
            let running = self.stations.values_mut().filter(|station| !station.card.is_frozen());
            running.for_each(|station| station.turn(now));
            self.watch();
            let passed = self.internet.now() - began;
            if done(self) {
                return Some(passed);
            }
            if passed >= span {
                return None;
            }
            self.wait(span - passed).await;
        }
    }

    /// Looks for how long nothing has come to be durable at the hub, while something should.
    fn watch(&mut self) {
        let now = self.internet.now();
        let commits = self.station(HUB).node.journal().last_commit().get();
        self.stall = self.stall.max(now - self.moved.1);
        if self.is_synced() || self.moved.0 != commits {
            self.moved = (commits, now);
        }
    }

    /// Waits until a node has something to do, but not longer than `span`.
    async fn wait(&mut self, span: Duration) {
        let now = self.clock();
        let running = self.stations.values().filter(|station| !station.card.is_frozen());
        let due = running.filter_map(Station::due).min().map(|at| at.since(now.instant).millis());
        let span = due.map_or(span, |due| span.min(Duration::from_millis(due)));
        let at = self.internet.now() + span.max(Duration::from_millis(1));
        let internet = self.internet.clone();
        let mut timer = std::pin::pin!(internet.reach(at));
        poll_fn(|context| {
            let now = self.clock();
            let mut taken = false;
            for station in self.stations.values_mut() {
                taken |= !station.card.is_frozen() && station.poll_events(context, now);
            }
            if taken { Poll::Ready(()) } else { timer.as_mut().poll(context) }
        })
        .await;
    }

    /// Waits until the hub has accepted the ship.
    ///
    /// # Panics
    /// That takes longer than ten seconds.
    pub async fn connect(&mut self) {
        let up = |scene: &mut Self| {
            scene.station(SHIP).node.dial_state().is_some_and(|state| state.phase == Phase::Up)
        };
        let took = self.run_until(Duration::from_secs(10), up).await;
        assert!(took.is_some(), "{}", self.describe());
    }

    /// Whether all that was acknowledged is durable at the hub.
    pub fn is_synced(&mut self) -> bool {
        self.station(SHIP).node.is_synced()
    }

    /// Random numbers for the scenario.
    pub fn rng(&mut self) -> Rng {
        self.rng.fork()
    }

    /// Waits until all that was acknowledged is durable at the hub, and tells how long that took.
    ///
    /// # Panics
    /// That takes longer than `span`.
    pub async fn synced_within(&mut self, span: Duration) -> Duration {
        let took = self.run_until(span, Self::is_synced).await;
        took.unwrap_or_else(|| panic!("not synced within {span:?}\n{}", self.describe()))
    }

    /// Waits until a node has found out that its connection is gone.
    ///
    /// # Panics
    /// That takes longer than `span`.
    pub async fn lost_within(&mut self, name: &str, span: Duration) -> Duration {
        let took = self.run_until(span, |scene| !scene.station(name).is_connected()).await;
        took.unwrap_or_else(|| panic!("{name} has noticed nothing\n{}", self.describe()))
    }

    /// Expects that the hub holds what was acknowledged at the ship, each record once, in order and
    /// with the same bytes, and nothing else.
    pub fn expect_all_once(&self) {
        let held = Held::read(self.station(HUB).node.journal());
        assert!(held.gaps.is_empty(), "{:?}\n{}", held.gaps, self.describe());
        for (topic, expected) in &self.acknowledged {
            let stream = format!("{SHIP}/{topic}/0");
            let mine = held.records.iter().filter(|record| record.stream == stream);
            let here: Vec<_> = mine.map(|record| (record.offset, &record.encoded)).collect();
            let expected: Vec<_> = (0..).zip(expected).collect();
            assert!(here == expected, "{stream} is another at the hub\n{}", self.describe());
        }
        assert_eq!(self.held_by_hub(), self.acknowledged.values().map(Vec::len).sum::<usize>());
        for station in self.stations.values() {
            assert_eq!(station.node.alarms().count(), 0, "{}", self.describe());
        }
    }

    /// Expects that the ship has sent at most so many bytes for each hundred bytes of records.
    pub fn expect_percent_sent(&self, most: u64) {
        let percent = self.fates_up().bytes * 100 / self.record_bytes.max(1);
        assert!(percent <= most, "{percent} % of the records' bytes\n{}", self.describe());
    }

    /// Expects what carried the ship's last connection.
    pub fn expect_carrier(&self, carrier: Carrier) {
        assert_eq!(self.station(SHIP).carrier, Some(carrier), "{}", self.describe());
    }

    /// Expects that the hub was never longer than this without anything new, while the ship had
    /// something for it.
    pub fn expect_no_stall_beyond(&self, most: Duration) {
        assert!(self.stall <= most, "stalled for {:?}\n{}", self.stall, self.describe());
    }

    /// How often the ship was connected so far.
    pub fn connections(&self) -> usize {
        let log = &self.station(SHIP).log;
        log.iter().filter(|line| line.contains(": connected")).count()
    }

    /// How often the ship has found its connection gone.
    pub fn disconnections(&self) -> usize {
        let log = &self.station(SHIP).log;
        log.iter().filter(|line| line.contains(": disconnected")).count()
    }

    /// What all that has happened adds up to: equal in two runs that were the same.
    pub fn trace(&self) -> (u64, String) {
        (self.internet.trace(), self.describe())
    }

    /// The state of everything, for a failing test.
    pub fn describe(&self) -> String {
        let mut text = format!(
            "LANDFALL_SEED={} at {:?}, stalled {:?}\n",
            self.seed,
            self.internet.now(),
            self.stall
        );
        text += &format!("up {:?}\ndown {:?}\n", self.fates_up(), self.fates_down());
        for (name, station) in &self.stations {
            text += &format!("{name}: synced {}\n", station.node.is_synced());
            for line in &station.log {
                text += &format!("    {line}\n");
            }
        }
        text
    }

    fn station(&self, name: &str) -> &Station {
        self.stations.get(name).unwrap_or_else(|| panic!("{name} does not run"))
    }

    fn host(&self, name: &str) -> HostIx {
        self.plans[name].host
    }

    fn clock(&self) -> Now {
        let ms = self.internet.now().as_millis() as u64;
        let wall = Timestamp::new(EPOCH_MS + ms as i64);
        Now { instant: Instant::from_millis(ms), wall }
    }
}

/// What the daemon sets if its configuration says nothing.
fn usual(profile: Settings) -> Settings {
    Settings {
        handshake_timeout: Duration::from_secs(15),
        tcp_after: Duration::from_secs(3),
        initial_rtt: Some(Duration::from_millis(333)),
        idle_timeout: Duration::from_secs(90),
        ..profile
    }
}

fn record(at: Timestamp, length: usize, rng: &mut Rng) -> Vec<u8> {
    let mut value = vec![0; length];
    rng.fill(&mut value);
    let record = Record::new(at, None, Some(&value));
    let mut bytes = vec![0; record.encoded_len()];
    record.encode(&mut Writer::new(&mut bytes)).expect("there is room for what was measured");
    bytes
}
