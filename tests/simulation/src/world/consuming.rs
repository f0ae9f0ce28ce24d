//! A consumer at each host: its cursor never lies beyond what it said, nor before what it was told
//! to be durable, and moves with the records of its group or not at all.

use std::collections::BTreeMap;

use landfall_core::batch::ClockQuality;
use landfall_core::num::{CommitNo, Partition};
use landfall_node::consumer::{Action, Change, Place, Share, Slots};
use landfall_node::{AppendOutcome, ClientId, Part, Request, Ticket, ViewPlace};
use landfall_protocol::time::Duration;

use super::World;
use super::check::has_dropped;
use super::reading::Held;

/// Its name.
const NAME: &str = "taker";

/// Its only member, when it has one.
const MEMBER: &str = "member";
/// For as long as it is not heard of again.
const LEASE: Duration = Duration::from_secs(60);

/// A commit and how many of its records.
type At = (CommitNo, u32);

/// What is known of a host's consumer, from the outside.
#[derive(Clone, Debug, Default)]
pub(super) struct Taking {
    /// How far it was told to be, at least.
    acknowledged: Option<At>,
    /// How far it said to be, at most.
    said: At,
    /// What it said and was not answered.
    pending: BTreeMap<u64, At>,
    /// A record of each group, by its ticket.
    groups: BTreeMap<u64, Group>,
}

/// A commit together with records.
#[derive(Clone, Debug)]
struct Group {
    /// How far the consumer was to be with it.
    at: At,
    /// One of its records.
    record: Vec<u8>,
    acknowledged: bool,
}

impl Taking {
    /// The node is gone: nothing will be answered.
    pub(super) fn hang_up(&mut self) {
        self.pending.clear();
    }

    /// An append was answered.
    pub(super) fn on_appended(&mut self, ticket: Ticket, outcome: &AppendOutcome) {
        let Some(at) = self.pending.remove(&ticket.0) else { return };
        if matches!(outcome, AppendOutcome::Appended { .. }) {
            self.acknowledged = self.acknowledged.max(Some(at));
            self.groups.entry(ticket.0).and_modify(|group| group.acknowledged = true);
        }
    }
}

impl World {
    /// A view of a host says that it has taken in all that is durable there, of one topic.
    pub fn follow(&mut self, name: &str, view: &str, topic: &str) {
        if self.is_up(name) {
            let at = self.durable_place(name);
            self.hold_for(name, view, topic, Some(at));
        }
    }

    /// The place behind all that is durable at a running host.
    pub fn durable_place(&self, name: &str) -> Place {
        let journal = self.node(name).journal();
        Place { epoch: journal.epoch(), commit: journal.synced_commit(), index: u32::MAX }
    }

    /// A view of one topic at a host says where it stands; without a place it does not know that
    /// yet.
    pub fn hold_for(&mut self, name: &str, view: &str, topic: &str, at: Option<Place>) {
        let (view, topics, told) = (view.to_owned(), vec![topic.to_owned()], at.is_some());
        let (at, stands, lacks) = (at.unwrap_or_default(), told, 0);
        self.hold_for_views(name, vec![ViewPlace { view, topics, at, told, stands, lacks }]);
    }

    /// The views of a host say where they are.
    pub fn hold_for_views(&mut self, name: &str, places: Vec<ViewPlace>) {
        if let Some(node) = self.host_mut(name).node.as_mut() {
            node.hold_for_views(places);
        }
    }

    /// The consumer of a host takes in all that is durable there, and says so together with so many
    /// records that it writes to a topic. Without any, it says so alone.
    pub fn consume(&mut self, name: &str, topic: &str, records: u64) {
        let Some(node) = self.host(name).node.as_ref() else { return };
        let (epoch, commit) = (node.journal().epoch(), node.journal().synced_commit());
        if node.consumer(NAME).is_none() {
            let at = Place { epoch, ..Place::default() };
            let action = Action::Create { topics: vec![topic.into()], at };
            self.change_consumer(name, action, (CommitNo::ZERO, 0), (topic, Vec::new()));
        }
        let at = Place { epoch, commit, index: u32::MAX };
        let records = (0..records).map(|_| self.new_record()).collect();
        let member = self.join(name, at);
        let share = Share { slots: Slots::ALL, at };
        let action = Action::Commit { share, member: member.map(str::to_owned) };
        self.change_consumer(name, action, (commit, u32::MAX), (topic, records));
        if let (Some(member), Some(node)) = (member, self.host_mut(name).node.as_mut()) {
            node.leave(NAME, member);
        }
    }

    /// Every other time the consumer has a member, which is given all up to a place.
    fn join(&mut self, name: &str, to: Place) -> Option<&'static str> {
        let now = self.clock_of(name);
        let shared = self.tickets.is_multiple_of(2);
        let node = self.host_mut(name).node.as_mut().filter(|_| shared)?;
        let portion = node.take_share(NAME, MEMBER, LEASE, true, now).ok().flatten()?;
        node.note_given(NAME, MEMBER, (&portion, to), false);
        assert_eq!(portion.slots, Slots::ALL, "nobody shares with the only member");
        Some(MEMBER)
    }

    fn change_consumer(
        &mut self,
        name: &str,
        action: Action,
        at: At,
        (topic, records): (&str, Vec<Vec<u8>>),
    ) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let host = self.host_mut(name);
        let Some(node) = host.node.as_mut() else { return };
        let part = || Part {
            topic: topic.into(),
            partition: Partition::new(0),
            records: records.concat(),
        };
        node.handle_append(Request {
            ticket,
            client: ClientId(ticket.0),
            attempt: host.attempt,
            records: records.first().map(|_| part()).into_iter().collect(),
            group: true,
            conditions: Vec::new(),
            changes: vec![Change { consumer: NAME.into(), action }],
            clock: ClockQuality::Local,
        });
        host.taking.said = host.taking.said.max(at);
        host.taking.pending.insert(ticket.0, at);
        let group = |record: &Vec<u8>| Group { at, record: record.clone(), acknowledged: false };
        host.taking.groups.extend(records.first().map(|record| (ticket.0, group(record))));
        self.truth.note_group(ticket.0, &records);
        self.host_mut(name).pending.insert(ticket.0, (topic.into(), records));
        self.drive(name);
        let boots = self.host(name).boots;
        self.run_until(1_000, |world| {
            let host = world.host(name);
            host.outcomes.contains_key(&ticket.0) || host.boots != boots
        });
        self.host_mut(name).outcomes.remove(&ticket.0);
    }

    /// What was not committed is taken in again, and nothing is passed over.
    pub(super) fn check_consumer(&self, name: &str, held: &Held) {
        let host = self.host(name);
        let Some(node) = host.node.as_ref().filter(|node| node.knows_own_topics()) else { return };
        let taking = &host.taking;
        let Some(consumer) = node.consumer(NAME) else {
            let text = "a consumer was forgotten";
            assert!(taking.acknowledged.is_none(), "{text} at {name}\n{}", self.describe());
            return;
        };
        let at = (consumer.at().commit, consumer.at().index);
        let (least, most) = (taking.acknowledged, taking.said);
        assert!(!consumer.is_lost(), "the cursor at {name} was lost\n{}", self.describe());
        assert!(
            least <= Some(at) && at <= most,
            "the cursor at {name} is {at:?} and not from {least:?} to {most:?}\n{}",
            self.describe()
        );
        for group in taking.groups.values() {
            let is_there = held.records.iter().any(|held| held.encoded == group.record);
            let moved = group.at <= at;
            assert!(moved || !is_there, "{name} has a group without its cursor, {:?}", group.at);
            let must = group.acknowledged && !has_dropped(host);
            assert!(is_there || !must, "{name} lacks the group of {:?}", group.at);
        }
    }
}
