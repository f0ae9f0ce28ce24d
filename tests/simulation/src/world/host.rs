//! Hosts: machines with a disk and, while they run, a node.

use std::collections::BTreeMap;
use std::rc::Rc;

use landfall_core::journal::{Config, Fresh, Journal};
use landfall_core::limits::LANES_MAX;
use landfall_core::media::Media;
use landfall_core::num::{BootId, CommitNo, Epoch, LogId};
use landfall_core::tables::{Heap, Parts};
use landfall_node::checksum;
use landfall_node::{Node, PeerKey, Settings, Uplink};

use super::check::Expected;
use super::gate::WorldGate;
use super::reading::{Held, HeldRecord};
use super::{Happening, World};
use crate::media::disk::SimDisk;
use crate::media::image::Image;
use crate::rng::Rng;

pub(super) struct Host {
    pub(super) settings: Settings,
    pub(super) rules: WorldGate,
    /// The host that its node dials.
    pub(super) upstream: Option<String>,
    /// The hosts at its uplinks besides the first.
    pub(super) uplinks: BTreeMap<Uplink, String>,
    pub(super) disk: SimDisk,
    pub(super) node: Option<Node<SimDisk, WorldGate>>,
    /// Whether its network works.
    pub(super) online: bool,
    /// How often it was started.
    pub(super) boots: u64,
    /// The start of its machine.
    pub(super) boot_id: BootId,
    pub(super) commit_due: bool,
    pub(super) commit_after_ms: u64,
    pub(super) timer: Option<(u64, u64)>,
    pub(super) turn: u64,
    /// Bytes that its node has sent.
    pub(super) sent: u64,
    /// What must be on its disk.
    pub(super) expected: Expected,
    /// The records of appends that were not answered yet.
    pub(super) pending: BTreeMap<u64, (String, Vec<Vec<u8>>)>,
    /// Outcomes of appends.
    pub(super) outcomes: BTreeMap<u64, landfall_node::AppendOutcome>,
    pub(super) attempt: u32,
    /// What is known of its consumer.
    pub(super) taking: super::consuming::Taking,
    /// The clock of its machine goes so many milliseconds ahead.
    pub(super) clock_ahead_ms: i64,
    /// In which unit from then on the power goes again when it opens next.
    pub(super) cut_in_opening: Option<u64>,
    /// What the last check read, and of which state.
    pub(super) checked: Option<(Stored, Rc<Held>)>,
    shape: DiskShape,
}

/// What tells whether a journal holds something else than before: its boot, its last synced commit,
/// where its lanes begin, and its losses.
pub(super) type Stored = (u64, u64, Vec<u64>, usize);

/// How large disks are.
#[derive(Clone, Copy, Debug)]
pub struct DiskShape {
    /// Slots of the lane `normal`.
    pub normal_slots: u32,
    /// Slots of the lane `urgent`.
    pub urgent_slots: u32,
    /// Bytes of a slot.
    pub slot_bytes: u32,
    /// Bytes of an entry at most.
    pub entry_max: u32,
}

/// A copy of a host's disk and of what must be on it.
#[derive(Clone)]
pub struct Backup {
    image: Image,
    expected: Expected,
}

impl DiskShape {
    /// Disks of some megabytes.
    pub const STANDARD: Self =
        Self { normal_slots: 24, urgent_slots: 6, slot_bytes: 256 * 1024, entry_max: 100 * 1024 };
    /// Disks that nothing fills.
    pub const LARGE: Self = Self { normal_slots: 200, urgent_slots: 200, ..Self::STANDARD };
    /// Disks that soon are full.
    pub const SMALL: Self =
        Self { normal_slots: 8, urgent_slots: 6, slot_bytes: 160 * 1024, entry_max: 72 * 1024 };

    fn slots(self) -> u32 {
        let control = landfall_core::journal::CONTROL_SLOTS;
        self.normal_slots + self.urgent_slots + INTERNAL_SLOTS + control + SPARE_SLOTS
    }
}

/// Slots that no lane has before it is given more room.
const SPARE_SLOTS: u32 = 8;

/// Slots of the lane of the node's own topics.
const INTERNAL_SLOTS: u32 = 4;
const STREAMS_MAX: usize = 256;

impl Host {
    fn new(settings: Settings, upstream: Option<&str>, shape: DiskShape, seed: u64) -> Self {
        Self {
            settings,
            rules: WorldGate::default(),
            upstream: upstream.map(Into::into),
            uplinks: BTreeMap::new(),
            disk: SimDisk::new(shape.slots(), shape.slot_bytes, 512, seed),
            node: None,
            online: true,
            boots: 0,
            boot_id: BootId::new(0),
            commit_due: false,
            commit_after_ms: 1,
            timer: None,
            turn: 0,
            sent: 0,
            expected: Expected::default(),
            pending: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            attempt: 0,
            taking: super::consuming::Taking::default(),
            clock_ahead_ms: 0,
            cut_in_opening: None,
            checked: None,
            shape,
        }
    }

    pub(super) fn is_synced(&self) -> bool {
        !self.node.as_ref().is_some_and(|node| node.settings().upstream && !node.is_synced())
    }

    /// What it holds, if its node runs.
    pub(super) fn held(&self) -> Option<Held> {
        let node = self.node.as_ref()?;
        // What fails for the node is not to fail for the check.
        let faults = self.disk.set_read_faults(None);
        let held = Held::read(node.journal());
        self.disk.set_read_faults(faults);
        Some(held)
    }

    pub(super) fn describe(&self) -> String {
        let Some(node) = &self.node else { return "down".into() };
        let mut text = format!("synced {}", node.is_synced());
        for state in node.dial_states() {
            text += &format!("\n    {state:?}");
        }
        for link in node.links() {
            text += &format!("\n    {link:?}");
        }
        for alarm in node.alarms() {
            text += &format!("\n    {:?} {}: {}", alarm.kind, alarm.subject, alarm.text);
        }
        text + &super::reading::describe(node.journal())
    }
}

impl World {
    /// A node without an upstream.
    pub fn hub(&mut self, name: &str) {
        self.add_host(name, Settings::standard(name), None);
    }

    /// A node that dials another one.
    pub fn device(&mut self, name: &str, upstream: &str) {
        let settings = Settings { upstream: true, ..Settings::standard(name) };
        self.add_host(name, settings, Some(upstream));
    }

    /// A node with settings of its own.
    pub fn add_host(&mut self, name: &str, settings: Settings, upstream: Option<&str>) {
        let host = Host::new(settings, upstream, self.disks, self.rng.u64());
        assert!(self.hosts.insert(name.into(), host).is_none(), "there is a host {name} already");
        self.boot(name);
    }

    /// Starts the machine of a host, with its node on what its disk holds.
    pub fn boot(&mut self, name: &str) {
        self.boot_node(name, None);
    }

    /// The same, unless its machine runs: then only its node is started.
    pub(super) fn boot_node(&mut self, name: &str, running: Option<BootId>) {
        let now = self.clock_of(name);
        let fresh = Fresh {
            log: LogId::new(self.rng.u64()),
            epoch: Epoch::new(self.rng.u64()),
            boot: BootId::new(self.rng.u64()),
            first_commit: CommitNo::new(1),
        };
        let fresh = Fresh { boot: running.unwrap_or(fresh.boot), ..fresh };
        let seed = self.rng.u64();
        let Some(host) = self.hosts.get_mut(name).filter(|host| host.node.is_none()) else {
            return;
        };
        host.disk.restart();
        if let Some(units) = host.cut_in_opening.take() {
            host.disk.arm_cut(units);
        }
        host.boots += 1;
        host.boot_id = fresh.boot;
        host.commit_due = false;
        host.timer = None;
        host.attempt += 1;
        let config = journal_config(host.shape);
        let parts =
            Parts::<Heap>::new(host.disk.geometry().slots, STREAMS_MAX, config.commit_max as usize);
        let may_fail = host.disk.may_fail();
        let opened = Journal::open(host.disk.clone(), config, parts, fresh);
        if opened.is_err() && (may_fail || !host.disk.is_on()) {
            let power = if host.disk.is_on() { "failures" } else { "power cuts" };
            self.tally.add(&format!("{power} during an opening"));
            return self.power_gone(name);
        }
        let (journal, found) =
            opened.unwrap_or_else(|error| panic!("{name} does not open: {error:?}"));
        self.tally.recovery(&found);
        let (settings, rules) = (host.settings.clone(), host.rules.clone());
        host.node = Some(Node::new(journal, settings, rules, fresh.boot, seed, now));
        if !host.uplinks.is_empty() {
            self.tell_uplinks(name, |_| {}, "this node has just started");
        }
        self.trace.say(self.now, name, || "boots".into());
        if let Some(node) = self.hosts.get(name).and_then(|host| host.node.as_ref()) {
            self.trace.note(&[node.journal().last_commit().get()]);
        }
        self.drive(name);
    }

    /// Whether there is a host of that name, and its node runs.
    pub fn is_up(&self, name: &str) -> bool {
        self.hosts.get(name).is_some_and(|host| host.node.is_some())
    }

    /// Lets the power of a host go again in the n-th unit that its next opening writes.
    pub fn cut_in_opening(&mut self, name: &str, units: u64) {
        self.host_mut(name).cut_in_opening = Some(units);
    }

    /// Lets commits of a host take so long from now on.
    pub fn slow_disk(&mut self, name: &str, ms: u64) {
        self.host_mut(name).commit_after_ms = ms;
    }

    /// Gives the lane `normal` of a host all the room that its disk has left, as its operator does.
    pub fn give_room(&mut self, name: &str) {
        let host = self.host_mut(name);
        let used = host.shape.slots() - host.disk.geometry().slots;
        host.shape.normal_slots += SPARE_SLOTS - used;
        self.crash(name);
    }

    /// Ends all faults of a host's disk; the damage they did stays.
    pub fn repair_disk(&mut self, name: &str) {
        self.host_mut(name).cut_in_opening = None;
        self.slow_disk(name, 1);
        let disk = self.disk(name);
        disk.restart();
        disk.repair();
    }

    /// Flips a bit of what a host has stored, and starts its node on that.
    pub fn rot(&mut self, name: &str, rng: &mut Rng) {
        if !self.is_up(name) {
            return;
        }
        self.check();
        let before = self.held(name);
        self.kill(name);
        self.host(name).disk.repair();
        self.host(name).disk.rot(rng);
        self.boot(name);
        if self.is_up(name) {
            let site = self.host(name).settings.site.clone();
            self.truth.note_rewound(&site);
            let after = self.held(name);
            self.truth.note_gone(name, &before, &after);
        }
    }

    /// Lets the medium of a host lose the last programs that it said to have synced.
    pub fn lose_synced(&mut self, name: &str, programs: usize) {
        if !self.is_up(name) {
            return;
        }
        self.check();
        let (before, log) = (self.held(name), self.node(name).journal().log());
        self.kill(name);
        let site = self.host(name).settings.site.clone();
        self.truth.note_rewound(&site);
        self.host(name).disk.repair();
        self.host(name).disk.lose_synced(programs);
        self.boot(name);
        if self.is_up(name) {
            let held = self.held(name);
            let other = self.node(name).journal().log() != log;
            self.note_went_back(name, &before, other);
            // What only this medium had is lost, and nobody can know of it.
            let here: Expected = held.records.iter().map(HeldRecord::coordinates).collect();
            let mut expected = core::mem::take(&mut self.host_mut(name).expected);
            expected.retain(|at| here.contains(at));
            self.host_mut(name).expected = expected;
        }
    }

    /// What a relay has lost may have been forgotten by who sent it. A root may be another one now,
    /// to which nobody tells what the one before had; or who has that dials another root now.
    fn note_went_back(&mut self, name: &str, before: &Held, other: bool) {
        // What a disk does not let it read may be lost.
        let held = if self.is_up(name) { self.held(name) } else { Held::default() };
        if self.host(name).upstream.is_some() {
            return self.truth.note_lost_at_hop(before, &held);
        }
        let roots = self.hosts.values().filter(|host| host.upstream.is_none()).count();
        if other || roots > 1 {
            self.truth.note_gone(name, before, &held);
        }
        self.truth.note_lost_at_root(before, &held);
    }

    /// Stops a node at once, as a kill does. Its disk keeps what it was given.
    pub fn kill(&mut self, name: &str) {
        self.trace.say(self.now, name, || "is killed".into());
        self.drop_node(name);
    }

    /// Cuts the power of a host: its disk keeps what was synced, and of the rest what it likes.
    pub fn cut_power(&mut self, name: &str) {
        self.host(name).disk.cut();
        self.drop_node(name);
    }

    /// Ends a node in good order and starts it again.
    pub fn restart(&mut self, name: &str) {
        let now = self.clock_of(name);
        let host = self.host_mut(name);
        let Some(mut node) = host.node.take() else { return };
        node.part("restarting");
        host.node = Some(node);
        self.transmit(name);
        if let Some(mut node) = self.host_mut(name).node.take() {
            node.hasten();
            // A disk that fails now is found out about by the next opening.
            let _ = node.close(now);
        }
        self.drop_node(name);
        self.boot(name);
    }

    /// Kills a node and starts it again.
    pub fn crash(&mut self, name: &str) {
        self.kill(name);
        self.boot(name);
    }

    /// The power of a host went in the middle of something; it comes back in a while.
    pub(super) fn power_gone(&mut self, name: &str) {
        self.drop_node(name);
        let wait = 100 + self.rng.below(5_000);
        self.after(wait, Happening::Boot(name.into()));
    }

    fn drop_node(&mut self, name: &str) {
        let host = self.host_mut(name);
        host.node = None;
        host.timer = None;
        host.pending.clear();
        host.taking.hang_up();
        host.boots += 1;
        self.hang_up(name);
    }

    /// A copy of a host's disk as it is now.
    pub fn image(&self, name: &str) -> Backup {
        let host = self.host(name);
        Backup { image: host.disk.image(), expected: host.expected.clone() }
    }

    /// Puts an old copy onto a host's disk and starts its node from that.
    pub fn restore(&mut self, name: &str, backup: &Backup) {
        if self.host(name).upstream.is_none() && !self.is_up(name) {
            // What it had promised is seen once more, whatever its disk does.
            self.repair_disk(name);
            self.boot(name);
        }
        self.check();
        let before = self.is_up(name).then(|| (self.held(name), self.node(name).journal().log()));
        self.kill(name);
        let site = self.host(name).settings.site.clone();
        self.truth.note_rewound(&site);
        let host = self.host_mut(name);
        host.disk.restart();
        host.disk.restore(&backup.image);
        host.expected = backup.expected.clone();
        self.boot(name);
        if let Some((before, log)) = before {
            let other = self.is_up(name) && self.node(name).journal().log() != log;
            self.note_went_back(name, &before, other);
        }
    }

    /// A new host that runs a copy of another one's disk as the same site.
    pub fn copy(&mut self, name: &str, of: &str) {
        let backup = self.image(of);
        let original = self.host(of);
        let (settings, upstream) = (original.settings.clone(), original.upstream.clone());
        let shape = original.shape;
        let seed = self.rng.u64();
        self.truth.note_rewound(&settings.site);
        self.truth.note_copied(name, of);
        let host = Host::new(settings, upstream.as_deref(), shape, seed);
        self.hosts.insert(name.into(), host);
        let host = self.host_mut(name);
        host.disk.restore(&backup.image);
        host.expected = backup.expected;
        self.boot(name);
    }

    /// The key by which a host proves itself.
    pub(super) fn key_of(&self, name: &str) -> PeerKey {
        let mut key = [0; 32];
        let name = name.as_bytes();
        key[..name.len()].copy_from_slice(name);
        PeerKey(key)
    }
}

fn journal_config(shape: DiskShape) -> Config {
    let mut slots = [0; LANES_MAX];
    slots[..3].copy_from_slice(&[shape.normal_slots, shape.urgent_slots, INTERNAL_SLOTS]);
    Config {
        checksum: checksum(),
        lanes: 3,
        slots,
        entry_max: shape.entry_max,
        commit_max: 2 * shape.entry_max,
        join_max: shape.entry_max.min(16 * 1024),
    }
}
