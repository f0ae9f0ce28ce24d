//! Ten thousand devices that come back at the same moment, when their hub has been restarted: the
//! daemon's node on a simulated disk, and devices that say only what they must.
//!
//! `LANDFALL_DEVICES` sets how many there are.

use std::collections::BTreeMap;

use landfall::node::checksum;
use landfall::node::{Direction, Event, LinkId, Node, Now, OpenGate, PeerKey, Settings};
use landfall_core::frontier::Frontier;
use landfall_core::journal::{CONTROL_SLOTS, Config, Journal};
use landfall_core::limits::LANES_MAX;
use landfall_core::name::StreamId;
use landfall_core::num::{Partition, Timestamp};
use landfall_core::tables::{Heap, Parts};
use landfall_protocol::message::GoodbyeCode;
use landfall_protocol::time::Instant;
use landfall_simulation::journal;
use landfall_simulation::media::disk::SimDisk;
use landfall_simulation::rng::Rng;
use landfall_tests::rogue::{Ears, Forged, Heard, Identity};

/// How often the hub commits, and how long bytes are on their way.
const TICK_MS: u64 = 20;
/// Within what time everything must have arrived.
const WITHIN_MS: u64 = 30_000;
const SLOTS: [u32; 3] = [24, 2, 2];
const SLOT_BYTES: u32 = 4 << 20;

/// A device, as far as a hub can see it.
struct Device {
    identity: Identity,
    stream: Forged,
    ears: Ears,
    link: Option<LinkId>,
    /// Up to where the hub has said to have its records.
    durable: u64,
    overloaded: u64,
}

struct Swarm {
    now: u64,
    rng: Rng,
    settings: Settings,
    hub: Node<SimDisk, OpenGate>,
    disk: SimDisk,
    devices: Vec<Device>,
    by_link: BTreeMap<LinkId, usize>,
    links: u64,
    dials: BTreeMap<u64, Vec<usize>>,
    /// What arrives next at the hub, and at devices.
    up: Vec<(LinkId, u8, Vec<u8>)>,
    down: Vec<(LinkId, Vec<u8>)>,
    greeting_most: usize,
}

fn hub(
    disk: &SimDisk,
    settings: &Settings,
    devices: usize,
    rng: &mut Rng,
    now: Now,
) -> Node<SimDisk, OpenGate> {
    let mut slots = [0; LANES_MAX];
    slots[..SLOTS.len()].copy_from_slice(&SLOTS);
    let config = Config {
        checksum: checksum(),
        lanes: SLOTS.len() as u8,
        slots,
        entry_max: 256 * 1024,
        commit_max: 1 << 20,
        join_max: 64 * 1024,
    };
    let count = SLOTS.iter().sum::<u32>() + CONTROL_SLOTS;
    let parts = Parts::<Heap>::new(count, devices + 100, config.commit_max as usize);
    let fresh = journal::fresh(rng);
    let (journal, _) = Journal::open(disk.clone(), config, parts, fresh).expect("it opens");
    Node::new(journal, settings.clone(), OpenGate, fresh.boot, rng.u64(), now)
}

impl Swarm {
    fn new(count: usize) -> Self {
        let mut rng = Rng::new(11);
        let slots = SLOTS.iter().sum::<u32>() + CONTROL_SLOTS;
        let disk = SimDisk::new(slots, SLOT_BYTES, 4096, rng.u64());
        let settings = Settings::standard("hub");
        let node = hub(&disk, &settings, count, &mut rng, at(0));
        let token = landfall::identity::Token {
            id: landfall::identity::TokenId::from_random([1; 8]),
            secret: landfall::identity::TokenSecret::from_random([1; 16]),
            expires: landfall::identity::UnixSeconds(0),
            hub_keys: Vec::new(),
            addresses: Vec::new(),
            site: "dev-*".parse().expect("a pattern"),
        };
        let device = |n: usize| {
            let site = format!("dev-{n}");
            let stream = Forged::new(&site, "log", 1);
            let token = token.clone();
            let identity = Identity {
                site,
                seed: 1_000 + n as u64,
                token,
                enrols: true,
                lanes: 1,
                versions: (1, 1),
            };
            let ears = Ears::default();
            Device { identity, stream, ears, link: None, durable: 0, overloaded: 0 }
        };
        Self {
            now: 0,
            rng,
            settings,
            hub: node,
            disk,
            devices: (0..count).map(device).collect(),
            by_link: BTreeMap::new(),
            links: 0,
            dials: BTreeMap::new(),
            up: Vec::new(),
            down: Vec::new(),
            greeting_most: 0,
        }
    }

    /// Lets all dial within a span, and time pass until each has brought its next records. Returns
    /// the time that this took.
    fn bring(&mut self, span_ms: u64, to: u64) -> u64 {
        let began = self.now;
        for n in 0..self.devices.len() {
            let at = self.now + self.rng.below(span_ms + 1);
            self.dials.entry(at).or_default().push(n);
        }
        while self.devices.iter().any(|device| device.durable < to) {
            assert!(self.now - began < WITHIN_MS, "not all has arrived after {WITHIN_MS} ms");
            self.tick(to);
        }
        self.now - began
    }

    fn tick(&mut self, to: u64) {
        self.now += TICK_MS;
        let now = at(self.now);
        for (link, bytes) in std::mem::take(&mut self.down) {
            self.hear(link, &bytes, to);
        }
        for (link, channel, bytes) in std::mem::take(&mut self.up) {
            self.hub.handle_received(link, channel, &bytes, now);
        }
        while let Some(first) = self.dials.first_entry().filter(|first| *first.key() <= self.now) {
            for n in first.remove() {
                self.connect(n);
            }
        }
        self.hub.handle_timeout(now);
        self.hub.commit(now);
        while let Some(transmit) = self.hub.poll_transmit() {
            self.hub.handle_sent(transmit.link, transmit.channel, transmit.bytes.len());
            self.down.push((transmit.link, transmit.bytes));
        }
        while let Some(event) = self.hub.poll_event() {
            if let Event::Close(link, why, _) = event {
                self.hub.handle_disconnected(link, &why, now);
            }
        }
        let greeting = self.hub.links().filter(|link| !link.open).count();
        self.greeting_most = self.greeting_most.max(greeting);
    }

    fn connect(&mut self, n: usize) {
        self.links += 1;
        let link = LinkId(self.links);
        self.by_link.insert(link, n);
        let device = &mut self.devices[n];
        device.link = Some(link);
        device.ears = Ears::default();
        let key = PeerKey(*device.identity.key().public().as_bytes());
        self.hub.handle_connected(link, Direction::Down, key, at(self.now));
        self.up.push((link, 0, device.identity.hello()));
    }

    fn hear(&mut self, link: LinkId, bytes: &[u8], to: u64) {
        let n = self.by_link[&link];
        let device = &mut self.devices[n];
        if device.link != Some(link) {
            return;
        }
        device.ears.take(bytes);
        while let Some(heard) = device.ears.heard() {
            match heard {
                Heard::Accepted => {
                    while device.stream.next < to {
                        let seq = device.stream.next;
                        self.up.push((link, 1, device.stream.entry(seq, &["record"])));
                    }
                }
                Heard::Durable(_, next) => device.durable = device.durable.max(next),
                Heard::Goodbye(GoodbyeCode::Overloaded { retry_after }, _) => {
                    device.overloaded += 1;
                    device.link = None;
                    let again = self.now + retry_after.millis();
                    self.dials.entry(again).or_default().push(n);
                }
                other => panic!("{}: {other:?}", device.identity.site),
            }
        }
    }

    /// Ends the hub as a kill does, and starts it on what its disk holds.
    fn restart_hub(&mut self) {
        self.hub = hub(&self.disk, &self.settings, self.devices.len(), &mut self.rng, at(self.now));
        self.by_link.clear();
        self.up.clear();
        self.down.clear();
        self.devices.iter_mut().for_each(|device| device.link = None);
    }
}

fn at(ms: u64) -> Now {
    Now { instant: Instant::from_millis(ms), wall: Timestamp::new(1_767_225_600_000 + ms as i64) }
}

#[test]
fn all_devices_come_back_at_once_and_are_served_paced_and_within_bounds() {
    let told = std::env::var("LANDFALL_DEVICES").ok().and_then(|count| count.parse().ok());
    let count = told.unwrap_or(10_000);
    let mut swarm = Swarm::new(count);
    swarm.bring(10_000, 1);
    swarm.restart_hub();
    swarm.greeting_most = 0;
    let took = swarm.bring(0, 3);
    let overloaded: u64 = swarm.devices.iter().map(|device| device.overloaded).sum();
    println!(
        "{count} devices: {took} ms, {} greeted at once, {overloaded} told to come again",
        swarm.greeting_most
    );
    assert!(swarm.greeting_most <= swarm.settings.greetings_max);
    assert!(overloaded >= count.saturating_sub(swarm.settings.greetings_max) as u64);
    let frontier = swarm.hub.journal().frontier();
    for device in &swarm.devices {
        let partition = Partition::new(0);
        let stream = StreamId { origin: &device.identity.site, topic: "log", partition };
        let tip = frontier.tip(frontier.find(stream).expect("its stream is here"));
        assert_eq!((tip.next.get(), tip.hash), (3, Some(device.stream.hash)));
    }
    assert_eq!(swarm.hub.links().count(), count, "each device has one session");
    assert_eq!(swarm.hub.offences().count(), 0);
}
