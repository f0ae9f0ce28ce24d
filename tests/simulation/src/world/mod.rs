//! A deterministic world: any number of nodes on simulated disks, a simulated network and simulated
//! time, on one thread and from one seed. The nodes are the machine that the daemon drives.
//!
//! - A *host* is a machine with a disk; the node on it runs under a *site*. Two hosts may run the
//!   same site: that is what a copy is.
//! - What happens is taken from one queue, ordered by time and then by when it was put there.
//! - [`World::check`] compares what all nodes hold with what was acknowledged, and panics with the
//!   seed if an invariant is broken.

mod check;
mod clocks;
mod consuming;
mod copied;
mod gate;
mod host;
mod network;
mod reading;
mod script;
mod tally;
mod trace;
mod uplinks;

pub use clocks::Told;
pub use gate::Rule;
pub use host::{Backup, DiskShape};
pub use reading::{Held, HeldGap, HeldRecord};
pub use tally::Tally;

use std::collections::{BTreeMap, BTreeSet};

use landfall_core::num::Timestamp;
use landfall_node::{Event, LinkId, Now, Uplink};
use landfall_protocol::time::Instant;

use crate::rng::Rng;
use check::Truth;
use host::Host;
use network::{Connection, End};
use trace::Trace;

/// All hosts and what lies between them.
pub struct World {
    seed: u64,
    now: u64,
    rng: Rng,
    hosts: BTreeMap<String, Host>,
    connections: BTreeMap<u64, Connection>,
    next_connection: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    queued: u64,
    /// Pairs of hosts between which nothing passes for now.
    parted: BTreeSet<(String, String)>,
    /// How links are, unless something else is said of a pair.
    delay_ms: u64,
    bytes_per_ms: Option<usize>,
    /// The next connection ends when so many bytes have passed over it.
    cut_after: Option<usize>,
    truth: Truth,
    trace: Trace,
    records: u64,
    tickets: u64,
    disks: DiskShape,
    tally: Tally,
    steps: u64,
}

/// Something that is going to happen.
#[derive(Clone, Debug)]
enum Happening {
    /// A host's node reaches a time it waited for.
    Timer(String, u64),
    /// A host makes durable what came in.
    Commit(String, u64),
    /// The disk of a host has synced what is in flight.
    Land(String, u64),
    /// A host's attempt to reach another at an uplink ends.
    Dialed(String, u64, Uplink, String),
    /// A connection moves what it holds.
    Pump(u64),
    /// Bytes come out of a connection.
    Arrive(u64, End, u8, Vec<u8>),
    /// An end of a connection learns that it is over.
    Ended(u64, End),
    /// A host whose power went comes back.
    Boot(String),
}

impl Happening {
    /// Whether something is under way, and not only time passing.
    fn is_busy(&self) -> bool {
        !matches!(self, Self::Timer(..))
    }
}

/// The first moment by the calendar: 2026-01-01.
const EPOCH_MS: i64 = 1_767_225_600_000;

impl World {
    /// An empty world.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            now: 0,
            rng: Rng::new(seed),
            hosts: BTreeMap::new(),
            connections: BTreeMap::new(),
            next_connection: 1,
            queue: BTreeMap::new(),
            queued: 0,
            parted: BTreeSet::new(),
            delay_ms: 20,
            bytes_per_ms: None,
            cut_after: None,
            truth: Truth::default(),
            trace: Trace::default(),
            records: 0,
            tickets: 0,
            disks: DiskShape::STANDARD,
            tally: Tally::default(),
            steps: 0,
        }
    }

    /// Gives hosts that are added from now on disks of this size.
    pub fn set_disks(&mut self, disks: DiskShape) {
        self.disks = disks;
    }

    /// How often things happened that a simulation must have seen, on its disks too.
    pub fn whole_tally(&self) -> Tally {
        let mut tally = self.tally.clone();
        self.hosts.values().for_each(|host| tally.disk(&host.disk.counters()));
        tally
    }

    /// Counts something that its user did.
    pub fn count(&mut self, what: &str) {
        self.tally.add(what);
    }

    /// Tells what happens, if somebody looks for a defect.
    pub fn say(&self, who: &str, what: impl FnOnce() -> String) {
        self.trace.say(self.now, who, what);
    }

    /// How many things have happened.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// How many connections there have been.
    pub fn connections_made(&self) -> u64 {
        self.next_connection - 1
    }

    /// Milliseconds since the world began.
    pub fn now_ms(&self) -> u64 {
        self.now
    }

    /// A number that all that happened so far went into.
    pub fn trace(&self) -> u64 {
        self.trace.value()
    }

    /// Lets so many milliseconds pass.
    pub fn run(&mut self, span_ms: u64) {
        let until = self.now + span_ms;
        while self.queue.first_key_value().is_some_and(|((at, _), _)| *at <= until) {
            self.step();
        }
        self.now = until;
    }

    /// Lets time pass until nothing is under way and everything that runs is synced.
    pub fn sync(&mut self) {
        assert!(self.run_until(SYNC_WITHIN_MS, Self::is_quiet), "{}", self.describe());
        self.check();
    }

    /// Lets time pass until `done`, and tells whether that came within the span.
    pub fn run_until(&mut self, span_ms: u64, done: impl Fn(&Self) -> bool) -> bool {
        let until = self.now + span_ms;
        while !done(self) {
            let next = self.queue.first_key_value().map(|((at, _), _)| *at);
            if next.is_none_or(|at| at > until) {
                return false;
            }
            self.step();
        }
        true
    }

    /// Whether all that runs and may reach its upstream node is synced, and nothing is under way.
    fn is_quiet(&self) -> bool {
        let busy = self.queue.values().any(Happening::is_busy);
        !busy && self.hosts.values().filter(|host| host.online).all(Host::is_synced)
    }

    fn step(&mut self) {
        let Some(((at, _), happening)) = self.queue.pop_first() else { return };
        self.now = self.now.max(at);
        self.steps += 1;
        match happening {
            Happening::Timer(host, turn) => self.on_timer(&host, turn),
            Happening::Commit(host, boot) => self.on_commit(&host, boot),
            Happening::Land(host, boot) => self.on_land(&host, boot),
            Happening::Dialed(host, boot, uplink, to) => self.on_dialed(&host, boot, uplink, to),
            Happening::Pump(connection) => self.on_pump(connection),
            Happening::Arrive(connection, end, channel, bytes) => {
                self.on_arrive(connection, end, channel, &bytes);
            }
            Happening::Ended(connection, end) => self.on_ended(connection, end),
            Happening::Boot(host) => self.boot(&host),
        }
    }

    fn after(&mut self, span_ms: u64, happening: Happening) {
        self.queued += 1;
        self.queue.insert((self.now + span_ms, self.queued), happening);
    }

    fn clock(&self) -> Now {
        let wall = Timestamp::new(EPOCH_MS + self.now as i64);
        Now { instant: Instant::from_millis(self.now), wall }
    }

    /// The time as a host's machine knows it.
    fn clock_of(&self, name: &str) -> Now {
        let Now { instant, wall } = self.clock();
        let ahead = self.hosts.get(name).map_or(0, |host| host.clock_ahead_ms);
        Now { instant, wall: Timestamp::new(wall.get() + ahead) }
    }

    /// Sets the calendar of a host so many milliseconds ahead of the world's, or behind.
    pub fn set_clock(&mut self, name: &str, ahead_ms: i64) {
        self.host_mut(name).clock_ahead_ms = ahead_ms;
    }

    fn on_timer(&mut self, name: &str, turn: u64) {
        let now = self.clock_of(name);
        let Some(host) = self.hosts.get_mut(name) else { return };
        if host.timer.is_none_or(|(_, expected)| expected != turn) {
            return;
        }
        host.timer = None;
        if let Some(node) = &mut host.node {
            node.handle_timeout(now);
        }
        self.drive(name);
    }

    fn on_commit(&mut self, name: &str, boot: u64) {
        let now = self.clock_of(name);
        let Some(host) = self.hosts.get_mut(name).filter(|host| host.boots == boot) else { return };
        host.commit_due = false;
        let span = 1 + host.commit_after_ms / 2;
        let Some(node) = &mut host.node else { return };
        // Half of the worlds go on while their disks sync.
        if self.seed.is_multiple_of(2) {
            node.commit(now);
        } else {
            node.commit_ahead(now);
        }
        if node.holds() {
            self.tally.add("commits in flight");
            self.after(span, Happening::Land(name.into(), boot));
        }
        self.pump(name);
    }

    fn on_land(&mut self, name: &str, boot: u64) {
        let Some(host) = self.hosts.get(name).filter(|host| host.boots == boot) else { return };
        // What a root is still syncing, nobody may have been promised meanwhile.
        if host.upstream.is_none() && host.commit_after_ms / 2 > self.delay_ms {
            self.check();
        }
        let Some(host) = self.hosts.get_mut(name) else { return };
        if let Some(node) = &mut host.node {
            node.land();
        }
        self.pump(name);
    }

    /// After each input: what follows at once follows, and a commit is due soon.
    fn drive(&mut self, name: &str) {
        self.pump(name);
        let Some(host) = self.hosts.get_mut(name).filter(|host| host.node.is_some()) else {
            return;
        };
        if !core::mem::replace(&mut host.commit_due, true) {
            let happening = Happening::Commit(name.into(), host.boots);
            let span = host.commit_after_ms;
            self.after(span, happening);
        }
    }

    /// Takes out of a node all that follows from what happened.
    fn pump(&mut self, name: &str) {
        self.transmit(name);
        let mut reboot = false;
        while let Some(event) = self.next_event(name) {
            match event {
                Event::Appended(ticket, outcome) => self.on_appended(name, ticket, outcome),
                Event::Dial(uplink) => self.dial(name, uplink),
                Event::Close(link, why, _) => self.close(name, link, &why),
                Event::Alarm(alarm) => {
                    self.trace.alarm(self.now, name, &alarm);
                    self.tally.alarm(&alarm);
                    reboot |= alarm.kind == landfall_node::AlarmKind::Journal;
                }
            }
        }
        // The daemon stops as well, and is started again.
        let gone = |host: &Host| {
            let failed = host.node.as_ref().is_some_and(|node| node.journal().has_failed());
            !host.disk.is_on() || failed
        };
        if self.hosts.get(name).is_some_and(gone) || reboot {
            self.power_gone(name);
        }
        self.set_timer(name);
    }

    fn transmit(&mut self, name: &str) {
        loop {
            let Some(host) = self.hosts.get_mut(name) else { return };
            if !host.disk.is_on() {
                return;
            }
            let Some(transmit) = host.node.as_mut().and_then(|node| node.poll_transmit()) else {
                return;
            };
            self.send(name, transmit.link, transmit.channel, transmit.bytes);
        }
    }

    fn next_event(&mut self, name: &str) -> Option<Event> {
        self.hosts.get_mut(name)?.node.as_mut()?.poll_event()
    }

    fn set_timer(&mut self, name: &str) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(name) else { return };
        let due = host.node.as_ref().and_then(|node| node.poll_timeout());
        let due = due.map(|(at, _)| at.millis().max(now + 1));
        if host.timer.map(|(at, _)| at) == due {
            return;
        }
        host.turn += 1;
        host.timer = due.map(|at| (at, host.turn));
        if let Some((at, turn)) = host.timer {
            self.after(at - now, Happening::Timer(name.into(), turn));
        }
    }

    fn host(&self, name: &str) -> &Host {
        self.hosts.get(name).unwrap_or_else(|| panic!("there is no host {name}"))
    }

    fn host_mut(&mut self, name: &str) -> &mut Host {
        self.hosts.get_mut(name).unwrap_or_else(|| panic!("there is no host {name}"))
    }

    /// The state of everything, for a failing test.
    pub fn describe(&self) -> String {
        let mut text = format!("seed {} at {} ms\n", self.seed, self.now);
        for (name, host) in &self.hosts {
            text += &format!("{name}: {}\n", host.describe());
        }
        let busy = self.queue.iter().filter(|(_, happening)| happening.is_busy());
        for (at, happening) in busy.take(8) {
            text += &format!("  {at:?} {happening:?}\n");
        }
        text
    }

    fn link_of(connection: u64, end: End) -> LinkId {
        LinkId(connection * 2 + u64::from(end == End::Listener))
    }
}

/// Simulated time within which a world without faults must be synced.
const SYNC_WITHIN_MS: u64 = 20 * 60 * 1_000;
