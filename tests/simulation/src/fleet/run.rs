//! Runs a plan: does what it says, checks all invariants after each operation, and lets the fleet
//! become whole in the end.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use landfall_node::AppendOutcome;

use super::dialect::Dialect;
use super::operation::{Name, Operation};
use super::plan::{LARGE_GROUP, Plan};
use super::shape::{COPIES, HUBS, NUMBERED, Shape};
use crate::caught::{Caught, caught};
use crate::rng::Rng;
use crate::world::{Backup, Rule, Tally, World};

/// What came of a plan in which every check held.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// A number that everything that happened went into.
    pub trace: u64,
    /// Milliseconds that passed in the world.
    pub simulated_ms: u64,
    /// What happened how often.
    pub tally: Tally,
}

/// A check that did not hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// What was found, and how the fleet stood.
    pub text: String,
    /// Where the check is: two plans with the same find the same.
    pub place: String,
    /// How many operations had been begun.
    pub operations: usize,
}

/// A world and what the operations have made of it.
struct Fleet {
    world: World,
    shape: Shape,
    rng: Rng,
    copies: Vec<Name>,
    backups: Vec<(Name, Backup)>,
    /// The first number that its producer was not told to be durable, for each host.
    numbered: BTreeMap<Name, u64>,
    /// Topics that some site may not write somewhere.
    forbidden: BTreeSet<Name>,
    /// Who was ever revoked where: a disk that lies may lose that somebody was let in again.
    revoked: BTreeSet<(Name, Name)>,
}

/// How long a fleet may need to become whole, apart from what the check of the world itself allows.
const CALM_MS: u64 = 180_000;
/// How long it then stays idle.
const IDLE_MS: u64 = 600_000;
/// How much may happen at a host in that time: a few keep-alives a minute, and no more.
const IDLE_STEPS_MAX: u64 = 2_000;

thread_local! {
    static DONE: Cell<usize> = const { Cell::new(0) };
}

/// Runs a plan. `verbose` prints what happens.
///
/// # Errors
/// The first check that did not hold.
pub fn run(plan: &Plan, verbose: bool) -> Result<Outcome, Finding> {
    DONE.set(0);
    caught(|| Fleet::new(plan, verbose).run(plan)).map_err(|Caught { text, place }| Finding {
        text,
        place,
        operations: DONE.get(),
    })
}

impl Fleet {
    fn new(plan: &Plan, verbose: bool) -> Self {
        let shape = plan.shape.clone();
        let mut world = shape.build();
        if verbose {
            world.verbose();
        }
        Self {
            world,
            rng: Rng::new(shape.seed).fork(),
            shape,
            copies: Vec::new(),
            backups: Vec::new(),
            numbered: BTreeMap::new(),
            forbidden: BTreeSet::new(),
            revoked: BTreeSet::new(),
        }
    }

    fn run(mut self, plan: &Plan) -> Outcome {
        for operation in &plan.operations {
            DONE.set(DONE.get() + 1);
            self.world.say("fleet", || operation.to_string());
            self.world.count(&format!("operations: {}", operation.verb()));
            self.apply(operation);
            self.world.check();
        }
        self.calm_down();
        let (trace, simulated_ms) = (self.world.trace(), self.world.now_ms());
        Outcome { trace, simulated_ms, tally: self.world.whole_tally() }
    }

    fn apply(&mut self, operation: &Operation) {
        let world = &mut self.world;
        match *operation {
            Operation::Wait { ms } => world.run(ms),
            Operation::Append { host, topic, records } => self.append(host, topic, records, false),
            Operation::Group { host, topic, records } => self.append(host, topic, records, true),
            Operation::Trickle { host, topic, records } => {
                (0..records).for_each(|_| self.append(host, topic, 1, false));
            }
            Operation::Consume { host, topic, records } => self.consume(host, topic, records),
            Operation::Bulk { host, topic, hundreds } => self.bulk(host, topic, hundreds),
            Operation::Produce { host, records } => self.produce(host, 0, records),
            Operation::Repeat { host, records } => self.produce(host, records, 0),
            Operation::Restart { host } => world.restart(host),
            Operation::Crash { host } => world.crash(host),
            Operation::CutPower { host, damage, ms } => {
                world.disk(host).set_damage(damage);
                world.cut_power(host);
                world.run(ms);
                world.boot(host);
            }
            Operation::CutInUnit { host, damage, units } => {
                world.disk(host).set_damage(damage);
                world.disk(host).arm_cut(units);
            }
            Operation::CutInSync { host, damage, syncs } => {
                world.disk(host).set_damage(damage);
                world.disk(host).arm_cut_at_sync(syncs);
            }
            Operation::CutTwice { host, damage, units } => {
                world.disk(host).set_damage(damage);
                world.cut_power(host);
                world.cut_in_opening(host, 1 + units % 8);
                world.boot(host);
            }
            _ => self.apply_to_disk(operation),
        }
    }

    fn apply_to_disk(&mut self, operation: &Operation) {
        let world = &mut self.world;
        match *operation {
            Operation::FailSync { host } => world.disk(host).fail_sync_once(),
            Operation::FailWrite { host, nth } => world.disk(host).fail_program(nth),
            Operation::FailReads { host, first, count } => {
                world.disk(host).fail_reads(first..first + count);
            }
            Operation::Fill { host, slots } => {
                world.disk(host).set_free_slots(Some(slots as u32));
            }
            Operation::Free { host } => world.disk(host).set_free_slots(None),
            Operation::Rot { host } => world.rot(host, &mut self.rng),
            Operation::LoseSynced { host, programs } => world.lose_synced(host, programs as usize),
            Operation::SlowDisk { host, ms } => world.slow_disk(host, ms),
            Operation::BackUp { host } => {
                if world.is_up(host) {
                    self.backups.push((host, world.image(host)));
                }
            }
            Operation::Restore { nth } => {
                if let Some((host, backup)) = self.backups.get(nth as usize) {
                    world.restore(host, backup);
                }
            }
            Operation::Clone { host } => {
                let Some(name) = COPIES.get(self.copies.len()) else { return };
                if world.is_up(host) {
                    world.copy(name, host);
                    self.copies.push(name);
                }
            }
            _ => self.apply_to_network(operation),
        }
    }

    fn apply_to_network(&mut self, operation: &Operation) {
        let world = &mut self.world;
        match *operation {
            Operation::Part { a, b } => world.part(a, b),
            Operation::Heal {} => world.heal(),
            Operation::CutLink { bytes } => world.cut_next_after(bytes as usize),
            Operation::Offline { host, ms } => {
                world.offline(host);
                world.run(ms);
                world.online(host);
            }
            Operation::Vanish { host } => world.vanish(host),
            Operation::SlowLinks { ms, bytes } => {
                world.set_network(ms, (bytes > 0).then_some(bytes as usize));
            }
            Operation::Roam { host, to } => self.roam(host, to),
            Operation::SetClock { host, seconds } => world.set_clock(host, seconds * 1_000),
            Operation::Speak { host, dialect } if world.is_up(host) => {
                world.configure(host, |settings| dialect.set(settings));
                world.count(&format!("nodes started as another version: {}", dialect.word()));
            }
            Operation::Revoke { host, site } => {
                self.revoked.insert((host, site));
                world.revoke(host, site, true);
            }
            Operation::Welcome { host, site } => {
                world.revoke(host, site, false);
            }
            Operation::Forbid { host, site, topic } => {
                self.forbidden.insert(topic);
                world.forbid(host, Rule::Write(site, topic));
            }
            _ => {}
        }
    }

    fn append(&mut self, host: Name, topic: Name, records: u64, group: bool) {
        if self.world.is_up(host) {
            let large = group && records >= LARGE_GROUP;
            let one = if large { World::large_record } else { World::new_record };
            let records = (0..records).map(|_| one(&mut self.world)).collect();
            self.world.append_as(host, topic, records, group);
        }
    }

    fn bulk(&mut self, host: Name, topic: Name, hundreds: u64) {
        for _ in 0..hundreds * 10 {
            if self.world.is_up(host) {
                let records = (0..10).map(|_| self.world.large_record()).collect();
                self.world.append_as(host, topic, records, false);
            }
        }
    }

    fn consume(&mut self, host: Name, topic: Name, records: u64) {
        if self.hosts().contains(&host) {
            self.world.consume(host, topic, records);
        }
    }

    /// A producer numbers its records. It goes on behind what it was told to be durable; `back`
    /// of that it sends once more.
    fn produce(&mut self, host: Name, back: u64, new: u64) {
        if !self.world.is_up(host) {
            return;
        }
        let next = self.numbered.get(host).copied().unwrap_or_default();
        let numbers = next.saturating_sub(back)..next + new;
        let end = numbers.end;
        let producer = host.bytes().fold(0, |id, byte| id * 256 + u64::from(byte));
        let records = numbers.map(|number| self.world.numbered_record(producer, number)).collect();
        let outcome = self.world.append_as(host, NUMBERED, records, false);
        if let Some(AppendOutcome::Appended { .. }) = outcome {
            self.numbered.insert(host, end);
        }
    }

    /// To dial a node that dialed this one is a mistake of operators, not a fault.
    fn roam(&mut self, host: Name, to: Name) {
        let hosts = self.shape.hosts();
        let rank = |name: Name| hosts.iter().position(|host| *host == name);
        if rank(to) < rank(host) {
            self.world.roam(host, to);
        }
    }

    fn hosts(&self) -> Vec<Name> {
        self.shape.hosts().into_iter().chain(self.copies.iter().copied()).collect()
    }

    /// No more faults: the fleet must become whole, and then be quiet.
    fn calm_down(&mut self) {
        self.world.say("fleet", || "calms down".into());
        self.world.heal();
        self.world.set_network(20, None);
        for host in self.hosts() {
            self.world.repair_disk(host);
            self.world.boot(host);
            self.world.online(host);
        }
        self.world.run(1_000);
        self.upgrade_who_is_foreign();
        for (host, site) in core::mem::take(&mut self.revoked) {
            assert!(self.world.revoke(host, site, false), "{host} records nothing");
        }
        self.without_what_is_forbidden();
        self.world.run(CALM_MS);
        self.take_back_who_is_waited_for();
        self.give_room_where_a_stream_waits();
        self.begin_new_sessions();
        self.world.sync();
        let roots = &HUBS[..self.shape.hubs];
        self.world.check_delivered_to(roots, |_| true);
        for host in self.hosts() {
            if self.world.has_forgotten(host) {
                self.world.count("nodes that forgot their oldest records");
            }
        }
        let steps = self.world.steps();
        self.world.run(IDLE_MS);
        let steps = self.world.steps() - steps;
        let most = IDLE_STEPS_MAX * self.hosts().len() as u64;
        assert!(steps < most, "an idle fleet is busy: {steps} steps\n{}", self.world.describe());
    }

    /// Nodes that nobody can speak with are no fault that passes by itself. All others stay of
    /// different versions.
    fn upgrade_who_is_foreign(&mut self) {
        for host in self.hosts() {
            match Dialect::of(self.world.settings(host)) {
                Dialect::Foreign => {
                    self.world.configure(host, |settings| Dialect::Newer.set(settings));
                    self.world.count("fleets whole with a node that was: foreign");
                }
                Dialect::Usual => {}
                other => {
                    let what = format!("fleets whole with a node that is: {}", other.word());
                    self.world.count(&what);
                }
            }
        }
    }

    /// Where there are two roots, a site may have left one with a stream that began at the other.
    /// The node there says what it waits for, and its operator has to bring the site back.
    fn take_back_who_is_waited_for(&mut self) {
        let dialed = if self.shape.hubs > 1 { self.shape.dialed() } else { Vec::new() };
        for host in dialed {
            for stream in self.world.stalled(host) {
                let origin = stream.split('/').next().unwrap_or_default();
                let Some(site) = self.hosts().into_iter().find(|site| *site == origin) else {
                    continue;
                };
                self.world.count("sites that were taken back to where a stream waits for them");
                self.roam(site, host);
                self.world.run(CALM_MS);
            }
        }
    }

    /// A node that is full of what waits for older records can't take those in. It says what it
    /// waits for and that it has no room, and its operator has to raise the lane's size.
    fn give_room_where_a_stream_waits(&mut self) {
        let dialed = if self.shape.small_disks { self.shape.dialed() } else { Vec::new() };
        for host in dialed {
            if !self.world.stalled(host).is_empty() {
                self.world.count("lanes that were enlarged for a stream that waits");
                self.world.give_room(host);
                self.world.run(CALM_MS);
            }
        }
    }

    /// A stream that was given up waits for the next session, as links end all the time. Here the
    /// network has no faults any more, so somebody has to end them.
    fn begin_new_sessions(&mut self) {
        for host in self.hosts() {
            if !self.world.stalled(host).is_empty() {
                self.world.count("sessions that were ended for a stream that waits");
                self.world.offline(host);
                self.world.run(1_000);
                self.world.online(host);
            }
        }
    }

    /// One topic that is not taken somewhere holds up no other one.
    fn without_what_is_forbidden(&mut self) {
        if self.forbidden.is_empty() {
            return;
        }
        self.world.run(2 * CALM_MS);
        let roots = &HUBS[..self.shape.hubs];
        let forbidden = core::mem::take(&mut self.forbidden);
        // What is not taken stays, and with it what came after it: a small disk fills up behind it.
        if !self.shape.small_disks {
            self.world.check_delivered_to(roots, |stream| {
                !stream.split('/').nth(1).is_some_and(|topic| forbidden.contains(topic))
            });
            self.world.count("fleets whole but for what was forbidden");
        }
        for host in self.hosts() {
            self.world.allow(host);
        }
    }
}
