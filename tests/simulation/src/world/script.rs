//! The steps of a scenario, one line each, and what may be expected of the outcome.

use std::ops::Range;

use landfall_core::batch::ClockQuality;
use landfall_core::codec::Writer;
use landfall_core::gap::GapReason;
use landfall_core::name::StreamId;
use landfall_core::num::{Epoch, Offset, Partition, ProducerId, Timestamp};
use landfall_core::record::{Producer, Record};
use landfall_node::{AlarmKind, Append, AppendOutcome, ClientId, InternalRecord, Ticket};

use super::check::has_dropped;
use super::reading::Held;
use super::{Rule, World};

impl World {
    /// The device D that dials the hub H.
    #[must_use]
    pub fn device_and_hub(seed: u64) -> Self {
        let mut world = Self::new(seed);
        world.hub("H");
        world.device("D", "H");
        world
    }

    /// The device D that dials the gateway G1, which dials the hub H as the gateway G2 does.
    #[must_use]
    pub fn device_two_gateways_and_hub(seed: u64) -> Self {
        let mut world = Self::new(seed);
        world.hub("H");
        world.device("G1", "H");
        world.device("G2", "H");
        world.device("D", "G1");
        world
    }

    /// Appends so many records to a topic at a host, as one append, and waits for the outcome.
    ///
    /// # Panics
    /// It is refused.
    pub fn append(&mut self, name: &str, topic: &str, count: u64) {
        let records = (0..count).map(|_| self.new_record()).collect();
        let outcome = self.append_records(name, topic, records);
        let whole = matches!(outcome, Some(AppendOutcome::Appended { .. }));
        assert!(whole, "{name} does not append {count} records to {topic}: {outcome:?}");
    }

    /// Appends so many records of about a kilobyte, so that segments fill up.
    pub fn append_bulk(&mut self, name: &str, topic: &str, count: u64) {
        for _ in 0..count.div_ceil(100) {
            let wall = self.clock().wall;
            let record = |rng: &mut crate::rng::Rng| {
                let mut value = vec![0; 1_000];
                rng.fill(&mut value);
                encoded(wall, &value)
            };
            let records = (0..100).map(|_| record(&mut self.rng)).collect();
            let outcome = self.append_records(name, topic, records);
            assert!(matches!(outcome, Some(AppendOutcome::Appended { .. })), "{outcome:?}");
        }
    }

    /// Appends so many records, each in a commit of its own.
    pub fn trickle(&mut self, name: &str, topic: &str, count: u64) {
        (0..count).for_each(|_| self.append(name, topic, 1));
    }

    /// Appends these lines, with one timestamp for all worlds.
    pub fn append_lines(&mut self, name: &str, topic: &str, lines: &[&str]) {
        let at = Timestamp::new(1_000);
        let records = lines.iter().map(|line| encoded(at, line.as_bytes())).collect();
        let outcome = self.append_records(name, topic, records);
        assert!(matches!(outcome, Some(AppendOutcome::Appended { .. })), "{outcome:?}");
    }

    /// Appends, and waits for the outcome; none if the host goes down over it.
    pub fn append_records(
        &mut self,
        name: &str,
        topic: &str,
        records: Vec<Vec<u8>>,
    ) -> Option<AppendOutcome> {
        self.append_as(name, topic, records, false)
    }

    /// The same; as a group the records are to be readable together or not at all.
    pub fn append_as(
        &mut self,
        name: &str,
        topic: &str,
        records: Vec<Vec<u8>>,
        group: bool,
    ) -> Option<AppendOutcome> {
        let ticket = self.start_append(name, topic, records, group)?;
        let boots = self.host(name).boots;
        self.run_until(1_000, |world| {
            let host = world.host(name);
            host.outcomes.contains_key(&ticket.0) || host.boots != boots
        });
        self.host_mut(name).outcomes.remove(&ticket.0)
    }

    /// Hands an append to a node and does not wait.
    pub fn start_append(
        &mut self,
        name: &str,
        topic: &str,
        records: Vec<Vec<u8>>,
        group: bool,
    ) -> Option<Ticket> {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let host = self.host_mut(name);
        let node = host.node.as_mut()?;
        let append = Append {
            ticket,
            client: ClientId(ticket.0),
            attempt: host.attempt,
            topic: topic.into(),
            partition: Partition::new(0),
            records: records.concat(),
            group,
            clock: ClockQuality::Local,
        };
        node.handle_append(append);
        if group {
            self.truth.note_group(ticket.0, &records);
        }
        self.host_mut(name).pending.insert(ticket.0, (topic.into(), records));
        self.drive(name);
        Some(ticket)
    }

    /// A record that no other is like.
    pub fn new_record(&mut self) -> Vec<u8> {
        self.records += 1;
        let value = format!("record {} {:016x}", self.records, self.rng.u64());
        encoded(self.clock().wall, value.as_bytes())
    }

    /// A record of a kilobyte that no other is like.
    pub fn large_record(&mut self) -> Vec<u8> {
        let mut value = vec![0; 1_000];
        self.rng.fill(&mut value);
        encoded(self.clock().wall, &value)
    }

    /// A record that a producer numbered.
    pub fn numbered_record(&mut self, producer: u64, sequence: u64) -> Vec<u8> {
        let value = format!("{sequence} of producer {producer}");
        let record = Record::new(self.clock().wall, None, Some(value.as_bytes()));
        let by = Producer { id: ProducerId::new(producer), sequence };
        encode(&Record { producer: Some(by), ..record })
    }

    /// What a running host holds.
    pub fn held(&self, name: &str) -> Held {
        self.host(name).held().unwrap_or_else(|| panic!("{name} is down"))
    }

    /// The epoch under which a host's node writes.
    pub fn epoch(&self, name: &str) -> Epoch {
        let node = self.host(name).node.as_ref();
        node.unwrap_or_else(|| panic!("{name} is down")).journal().epoch()
    }

    /// The node of a running host.
    pub fn node(
        &self,
        name: &str,
    ) -> &landfall_node::Node<crate::media::disk::SimDisk, super::gate::WorldGate> {
        self.host(name).node.as_ref().unwrap_or_else(|| panic!("{name} is down"))
    }

    /// The disk of a host.
    pub fn disk(&self, name: &str) -> crate::media::disk::SimDisk {
        self.host(name).disk.clone()
    }

    /// Expects that a host holds exactly these offsets of a stream under an epoch.
    pub fn expect(&self, name: &str, stream: &str, epoch: Epoch, offsets: &[Range<u64>]) {
        let held = self.held(name).offsets(stream, epoch);
        assert_eq!(held, offsets, "{stream}~{epoch} at {name}\n{}", self.describe());
    }

    /// Expects that these gaps of a stream, and no others, are stated at a host.
    pub fn expect_gaps(&self, name: &str, stream: &str, gaps: &[(Range<u64>, GapReason)]) {
        let held = self.held(name);
        let stated: Vec<_> = held.gaps.iter().filter(|gap| gap.stream == stream).collect();
        let stated: Vec<_> = stated.iter().map(|gap| (gap.offsets.clone(), gap.reason)).collect();
        assert_eq!(stated, gaps, "gaps of {stream} at {name}\n{}", self.describe());
    }

    /// The first offset of a stream that a host still holds.
    pub fn first_offset(&self, name: &str, stream: &str) -> u64 {
        let held = self.held(name);
        let mine = held.records.iter().filter(|record| record.stream == stream);
        mine.map(|record| record.offset).min().unwrap_or_else(|| panic!("{name} has no {stream}"))
    }

    /// What the root stores in refuses offsets of a stream of D, of the topic `s`.
    pub fn miss_at_root(&mut self, name: &str, origin: &str, offsets: Range<u64>) {
        let now = self.clock();
        let stream = StreamId { origin, topic: "s", partition: Partition::new(0) };
        let ends = (Offset::new(offsets.start), Offset::new(offsets.end));
        if let Some(node) = self.host_mut(name).node.as_mut() {
            node.miss_at_root(stream, ends, "it is too large", now);
        }
        self.drive(name);
    }

    /// Expects an alarm of a kind about a subject.
    pub fn expect_alarm(&self, name: &str, kind: AlarmKind, subject: &str) {
        let mut alarms = self.node(name).alarms();
        let raised = alarms.any(|alarm| alarm.kind == kind && alarm.subject == subject);
        assert!(raised, "no {kind:?} about {subject} at {name}\n{}", self.describe());
    }

    /// Expects that no alarm of a kind was raised at a host.
    pub fn expect_no_alarm(&self, name: &str, kind: AlarmKind) {
        let raised = self.node(name).alarms().any(|alarm| alarm.kind == kind);
        assert!(!raised, "{kind:?} at {name}\n{}", self.describe());
    }

    /// Expects that nothing happened that a person should know.
    pub fn expect_calm(&self) {
        for (name, host) in &self.hosts {
            let calm = host.node.as_ref().is_none_or(|node| node.alarms().next().is_none());
            assert!(calm, "there are alarms at {name}\n{}", self.describe());
        }
    }

    /// Forbids something at a host, whose node is started anew.
    pub fn forbid(&mut self, name: &str, rule: Rule) {
        self.host_mut(name).rules.rules.push(rule);
        self.crash(name);
    }

    /// Allows everything at a host, whose node is started anew.
    pub fn allow(&mut self, name: &str) {
        self.host_mut(name).rules.rules.clear();
        self.crash(name);
    }

    /// Revokes a site at a host, or lets it in again, while the node runs. Returns whether that is
    /// durable.
    pub fn revoke(&mut self, name: &str, site: &str, revoked: bool) -> bool {
        let (topic, key) = (super::gate::SITES, site.as_bytes().to_vec());
        let record = InternalRecord { topic, key, value: revoked.then(|| b"revoked".to_vec()) };
        self.record(name, &record)
    }

    /// Writes a record of one of the own topics of a host's node. Returns whether it is durable.
    pub fn record(&mut self, name: &str, record: &InternalRecord) -> bool {
        let now = self.clock_of(name);
        let Some(node) = &mut self.host_mut(name).node else { return false };
        let durable = node.record(std::slice::from_ref(record), now);
        node.cut_unwelcome();
        self.drive(name);
        durable
    }

    /// The streams of which a host waits for records that whoever has them must bring.
    pub fn stalled(&self, name: &str) -> Vec<String> {
        let Some(node) = &self.host(name).node else { return Vec::new() };
        let stalled = node.alarms().filter(|alarm| alarm.kind == AlarmKind::Stalled);
        stalled.map(|alarm| alarm.subject.clone()).collect()
    }

    /// Whether a host runs and has dropped the oldest records of a lane.
    pub fn has_forgotten(&self, name: &str) -> bool {
        has_dropped(self.host(name))
    }

    /// The settings of a host.
    pub fn settings(&self, name: &str) -> &landfall_node::Settings {
        &self.host(name).settings
    }

    /// Lets the settings of a host be changed, and starts its node anew.
    pub fn configure(&mut self, name: &str, change: impl FnOnce(&mut landfall_node::Settings)) {
        change(&mut self.host_mut(name).settings);
        self.crash(name);
    }

    /// Prints what happens from now on.
    pub fn verbose(&mut self) {
        self.trace.verbose();
    }
}

fn encoded(at: Timestamp, value: &[u8]) -> Vec<u8> {
    encode(&Record::new(at, None, Some(value)))
}

pub(super) fn encode(record: &Record<'_>) -> Vec<u8> {
    let mut bytes = vec![0; record.encoded_len()];
    record.encode(&mut Writer::new(&mut bytes)).expect("there is room for what was measured");
    bytes
}
