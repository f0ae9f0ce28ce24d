//! The reference: what must hold after each step, whatever happened.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use landfall_core::codec::Reader;
use landfall_core::frontier::{BranchIx, Frontier, StreamIx};
use landfall_core::hash::StreamHash;
use landfall_core::num::{Epoch, Lane, ProducerId};
use landfall_core::record::Record;
use landfall_node::{AppendOutcome, Offence, Replicate, TrimAt};

use super::World;
use super::host::{Host, Stored};
use super::reading::{Coordinates, Held};

/// What a host acknowledged on the disk that it has.
pub(super) type Expected = BTreeSet<Coordinates>;

/// What a node that keeps to the protocol may be accused of all the same: it does not know its
/// rights, or what versions the other end speaks.
const BORNE: [Offence; 10] = [
    Offence::NeverOpened,
    Offence::ForeignOrigin,
    Offence::ForeignTopic,
    Offence::UnknownTopic,
    Offence::ForeignSubscription,
    Offence::Loop,
    Offence::NotEnrolled,
    Offence::TokenRefused,
    Offence::Revoked,
    Offence::Incompatible,
];

/// What is known to be true, from the outside.
#[derive(Default)]
pub(super) struct Truth {
    /// The bytes at all coordinates that were ever acknowledged or seen anywhere.
    content: BTreeMap<Coordinates, Vec<u8>>,
    /// What each stream hash ends with.
    hashes: BTreeMap<(String, [u8; 16]), (Epoch, u64)>,
    /// What a root has ever held.
    rooted: BTreeSet<Coordinates>,
    /// What a root has ever stated to be missing.
    gaps: Held,
    /// The records of each group, by the ticket of its append.
    groups: BTreeMap<u64, usize>,
    /// Which group a record is of.
    group_of: BTreeMap<Vec<u8>, u64>,
    /// Sites whose disk went back to an earlier state, or lost something: what producers repeat
    /// can't be known there.
    rewound: BTreeSet<String>,
    /// What a host held until its disk rotted, or a root until it began a new journal.
    gone: BTreeSet<(String, Coordinates)>,
    /// What roots had, and lost when they went back.
    lost_at_root: BTreeSet<Coordinates>,
    /// The same of relays: who forgot what a relay had promised has lost it with that.
    lost_at_hop: BTreeSet<Coordinates>,
}

impl Truth {
    /// Coordinates name one record, for ever and everywhere.
    fn agree(&mut self, at: &Coordinates, encoded: &[u8]) {
        match self.content.get(at) {
            None => drop(self.content.insert(at.clone(), encoded.to_vec())),
            Some(known) => assert_eq!(known, encoded, "two records at {at:?}"),
        }
    }

    /// Equal hashes end with equal records. Below them, the same holds one record before.
    fn agree_on_hash(&mut self, at: &Coordinates, after: StreamHash) {
        let ends = (at.1, at.2);
        let known = self.hashes.entry((at.0.clone(), after.bytes())).or_insert(ends);
        assert_eq!(*known, ends, "one hash of {} ends with two records", at.0);
    }

    /// Records that were appended as a group.
    pub(super) fn note_group(&mut self, ticket: u64, records: &[Vec<u8>]) {
        self.groups.insert(ticket, records.len());
        self.group_of.extend(records.iter().map(|record| (record.clone(), ticket)));
    }

    pub(super) fn note_rewound(&mut self, site: &str) {
        self.rewound.insert(site.into());
    }

    pub(super) fn note_gone(&mut self, name: &str, before: &Held, after: &Held) {
        self.gone.extend(lost(before, after).map(|at| (name.into(), at)));
    }

    pub(super) fn note_lost_at_root(&mut self, before: &Held, after: &Held) {
        self.lost_at_root.extend(lost(before, after));
    }

    pub(super) fn note_lost_at_hop(&mut self, before: &Held, after: &Held) {
        self.lost_at_hop.extend(lost(before, after));
    }

    /// A copy has lost what its original had.
    pub(super) fn note_copied(&mut self, name: &str, of: &str) {
        let lost = self.gone.iter().filter(|(host, _)| host == of);
        let lost: Vec<_> = lost.map(|(_, at)| (name.to_owned(), at.clone())).collect();
        self.gone.extend(lost);
    }

    /// Whether a host is known to have lost a record.
    fn is_gone(&self, name: &str, at: &Coordinates) -> bool {
        self.gone.contains(&(name.into(), at.clone()))
    }

    /// A node has all of a group or nothing of it.
    fn check_groups(&self, name: &str, held: &Held) {
        let mut found: BTreeMap<(u64, Epoch), usize> = BTreeMap::new();
        for record in &held.records {
            if let Some(ticket) = self.group_of.get(&record.encoded) {
                *found.entry((*ticket, record.epoch)).or_default() += 1;
            }
        }
        for ((ticket, _), count) in found {
            assert_eq!(count, self.groups[&ticket], "{name} has a part of a group");
        }
    }

    /// What a producer repeated was written once.
    fn check_producers(&self, name: &str, held: &Held) {
        let mut seen: BTreeSet<(&str, ProducerId, u64)> = BTreeSet::new();
        for record in &held.records {
            let site = record.stream.split('/').next().unwrap_or_default();
            let decoded = Record::decode(&mut Reader::new(&record.encoded));
            let Some(by) = decoded.ok().and_then(|record| record.producer) else { continue };
            let once = self.rewound.contains(site) || seen.insert((site, by.id, by.sequence));
            assert!(once, "{name} has record {} of {:?} of {site} twice", by.sequence, by.id);
        }
    }
}

/// What was held before, and is not after.
fn lost(before: &Held, after: &Held) -> impl Iterator<Item = Coordinates> {
    let here: BTreeSet<_> = after.records.iter().map(super::HeldRecord::coordinates).collect();
    let before = before.records.iter().map(super::HeldRecord::coordinates);
    before.filter(move |at| !here.contains(at))
}

impl World {
    /// Checks the invariants: acknowledged records are readable, or at the root, or a gap names
    /// them; coordinates are unique and name the same bytes everywhere; what is promised to be
    /// durable at the root has been there.
    ///
    /// # Panics
    /// One is broken.
    pub fn check(&mut self) {
        self.check_manners();
        let changed: Vec<_> = self.hosts.iter_mut().filter_map(read_changed).collect();
        for (name, root, held) in &changed {
            self.truth.check_groups(name, held);
            self.truth.check_producers(name, held);
            for record in &held.records {
                let at = record.coordinates();
                self.truth.agree(&at, &record.encoded);
                self.truth.agree_on_hash(&at, record.after);
                if *root {
                    self.truth.rooted.insert(at);
                }
            }
            if *root {
                self.truth.gaps.gaps.extend(held.gaps.iter().cloned());
            }
        }
        // What a root has synced can't be seen while it is down.
        if self.hosts.values().any(|host| host.upstream.is_none() && host.node.is_none()) {
            return self.hosts.values_mut().for_each(|host| host.checked = None);
        }
        for (name, _, held) in &changed {
            if !self.truth.rewound.contains(&self.host(name).settings.site) {
                self.check_consumer(name, held);
            }
            self.check_acknowledged(name, held);
            self.check_promises(name, held);
        }
    }

    /// Nobody is accused who keeps to the protocol.
    fn check_manners(&self) {
        for (name, host) in &self.hosts {
            let mut offences = host.node.iter().flat_map(|node| node.offences());
            let accused = offences.find(|(offence, _)| !BORNE.contains(offence));
            assert!(accused.is_none(), "{name} accuses a peer of {accused:?}");
        }
    }

    fn check_acknowledged(&self, name: &str, held: &Held) {
        let here: BTreeSet<_> = held.records.iter().map(super::HeldRecord::coordinates).collect();
        let hop_is_enough = self.host(name).settings.trim_at == TrimAt::Hop;
        for at in &self.host(name).expected {
            let known = here.contains(at)
                || self.was_at_a_root(at)
                || hop_is_enough
                    && (self.is_held_somewhere(at) || self.truth.lost_at_hop.contains(at))
                || held.is_gap(&at.0, at.2)
                || self.truth.gaps.is_gap(&at.0, at.2)
                // The node says so when it comes to it.
                || self.truth.is_gone(name, at);
            assert!(known, "{at:?} was acknowledged at {name} and is lost\n{}", self.describe());
        }
    }

    /// Whether a root had a record when it was looked at, or has dropped some and hashes what came
    /// for the stream to one that is behind it: what came and had to make room between two looks.
    fn was_at_a_root(&self, at: &Coordinates) -> bool {
        let (stream, epoch, offset) = at;
        let has_hashed = |host: &Host| {
            let Some(node) = host.node.as_ref().filter(|node| !node.settings().upstream) else {
                return false;
            };
            let frontier = node.journal().frontier();
            has_dropped(host)
                && (0..frontier.streams()).map(StreamIx).any(|ix| {
                    let tip = frontier.branch(ix, BranchIx::MAIN).and_then(|main| main.tip.hash);
                    let end =
                        tip.and_then(|tip| self.truth.hashes.get(&(stream.clone(), tip.bytes())));
                    frontier.name(ix).to_string() == *stream
                        && end.is_some_and(|(last, end)| last == epoch && end >= offset)
                })
        };
        self.truth.rooted.contains(at) || self.hosts.values().any(has_hashed)
    }

    /// Whether a host had a record when it was last looked at; one that is down may have.
    fn is_held_somewhere(&self, at: &Coordinates) -> bool {
        self.hosts.values().any(|host| {
            let held = host.checked.as_ref().map(|(_, held)| held);
            let has = |held: &Rc<Held>| held.records.iter().any(|record| record.is_at(at));
            host.node.is_none() || held.is_none_or(has)
        })
    }

    /// What a node was promised to be durable at the root has been there.
    fn check_promises(&self, name: &str, held: &Held) {
        let Some(node) = self.host(name).node.as_ref().filter(|node| node.settings().upstream)
        else {
            return;
        };
        let frontier = node.journal().frontier();
        for ix in (0..frontier.streams()).map(StreamIx) {
            let (Some(branch), None) =
                (frontier.branch(ix, BranchIx::MAIN), frontier.branch(ix, BranchIx(1)))
            else {
                continue;
            };
            let stream = frontier.name(ix).to_string();
            let stays = node.settings().topics.get(frontier.name(ix).topic);
            let stays = stays.is_some_and(|topic| topic.replicate == Replicate::Never);
            if stays || stream.contains("/_") {
                continue;
            }
            for record in held.records.iter().filter(|record| record.stream == stream) {
                let at = record.coordinates();
                let known = record.offset >= branch.root.get()
                    || self.was_at_a_root(&at)
                    || self.truth.gaps.is_gap(&stream, record.offset);
                assert!(
                    known,
                    "{name} was promised {at:?}, and no root has it\n{}",
                    self.describe()
                );
            }
        }
    }

    /// Checks that all that was acknowledged anywhere, and all that any running node holds, is at
    /// `root`, or named there by a gap.
    ///
    /// # Panics
    /// Something is missing.
    pub fn check_delivered(&mut self, root: &str) {
        self.check_delivered_to(&[root], |_| true);
    }

    /// The same for several roots, of which any may have a record, and for the streams that
    /// `counts` holds for.
    pub fn check_delivered_to(&mut self, roots: &[&str], counts: impl Fn(&str) -> bool) {
        self.check();
        let held: Vec<_> = roots.iter().map(|root| self.held(root)).collect();
        let records = held.iter().flat_map(|held| &held.records);
        let here: BTreeSet<_> = records.map(super::HeldRecord::coordinates).collect();
        let is_gap = |at: &Coordinates| held.iter().any(|held| held.is_gap(&at.0, at.2));
        let mut wanted = BTreeSet::new();
        for host in self.hosts.values() {
            wanted.extend(host.expected.iter().cloned());
            let held = host.held();
            let records = held.iter().flat_map(|held| held.records.iter());
            let records = records.filter(|record| !record.stream.contains("/_"));
            wanted.extend(records.map(super::HeldRecord::coordinates));
        }
        for at in wanted.iter().filter(|at| counts(&at.0)) {
            // What rotted at a root is told to whoever reads it.
            let gone = || roots.iter().any(|root| self.truth.is_gone(root, at));
            let known = here.contains(at)
                || is_gap(at)
                || gone()
                || self.has_made_room(roots, &held, at)
                || self.truth.lost_at_root.contains(at)
                    && (!self.is_held_next_to(roots, at) || self.waits_for_ever(&here, at));
            assert!(known, "{at:?} never came to {roots:?}\n{}", self.describe());
        }
    }

    /// Whether someone who dials a root has a record. A root that went back hears from them what it
    /// lost, wherever they have been since.
    fn is_held_next_to(&self, roots: &[&str], at: &Coordinates) -> bool {
        let dials = |host: &&Host| host.upstream.as_deref().is_some_and(|to| roots.contains(&to));
        let held = self.hosts.values().filter(dials).filter_map(Host::held);
        held.into_iter().any(|held| held.records.iter().any(|record| record.is_at(at)))
    }

    /// Whether a record waits for one before it that nobody has any more. Only its origin could say
    /// that it is gone, and has forgotten the stream, as from a backup.
    fn waits_for_ever(&self, here: &BTreeSet<Coordinates>, at: &Coordinates) -> bool {
        let origin = at.0.split('/').next().unwrap_or_default();
        let held: Vec<_> = self.hosts.values().map(|host| (host, host.held())).collect();
        let has = |at: &Coordinates| {
            let mut held = held.iter().filter_map(|(_, held)| held.as_ref());
            held.any(|held| held.records.iter().any(|record| record.is_at(at)))
        };
        let before = self.truth.lost_at_root.range((at.0.clone(), at.1, 0)..at.clone());
        let gone = before.filter(|before| !here.contains(*before) && !has(before)).count() > 0;
        let knows = |held: &Held| held.records.iter().any(|record| record.stream == at.0);
        let its = held.iter().filter(|(host, _)| host.settings.site == origin);
        gone && !its.filter_map(|(_, held)| held.as_ref()).any(knows)
    }

    /// Whether a record was at a root, and has gone with all before it in its stream when one of
    /// the roots dropped its oldest records.
    fn has_made_room(&self, roots: &[&str], held: &[Held], at: &Coordinates) -> bool {
        let older = |held: &Held| {
            // A fork that came later may begin before it.
            let its = |record: &&super::HeldRecord| record.stream == at.0 && record.epoch == at.1;
            held.records.iter().filter(its).any(|record| record.offset < at.2)
        };
        roots.iter().any(|root| has_dropped(self.host(root)))
            && self.was_at_a_root(at)
            && !held.iter().any(older)
    }

    pub(super) fn on_appended(
        &mut self,
        name: &str,
        ticket: landfall_node::Ticket,
        outcome: AppendOutcome,
    ) {
        self.trace.note(&[self.now, ticket.0]);
        let host = self.hosts.get_mut(name);
        let Some(host) = host else { return };
        let Some((topic, records)) = host.pending.remove(&ticket.0) else { return };
        self.tally.outcome(&outcome);
        host.taking.on_appended(ticket, &outcome);
        if let AppendOutcome::Appended { epoch, first: Some(first), written, duplicates, .. } =
            &outcome
        {
            let stream = format!("{}/{topic}/0", host.settings.site);
            let all = (written + duplicates) as usize;
            assert_eq!(all, records.len(), "an append is written whole");
            // What a producer repeats is in front.
            for (offset, encoded) in (first.get()..).zip(&records[*duplicates as usize..]) {
                let at = (stream.clone(), *epoch, offset);
                self.truth.agree(&at, encoded);
                host.expected.insert(at);
            }
        }
        host.outcomes.insert(ticket.0, outcome);
    }
}

/// Whether a lane of a running host no longer begins where it once did.
pub(super) fn has_dropped(host: &Host) -> bool {
    let Some(journal) = host.node.as_ref().map(|node| node.journal()) else { return false };
    (0..journal.lanes()).any(|lane| journal.seqs(Lane::new(lane)).0.get() > 0)
}

/// What a running host holds, if it is not what the last check read.
fn read_changed((name, host): (&String, &mut Host)) -> Option<(String, bool, Rc<Held>)> {
    let node = host.node.as_ref()?;
    let root = !node.settings().upstream;
    let stored = stored(host)?;
    if host.checked.as_ref().is_some_and(|(checked, _)| *checked == stored) {
        return None;
    }
    let held = Rc::new(host.held()?);
    host.checked = Some((stored, held.clone()));
    Some((name.clone(), root, held))
}

fn stored(host: &Host) -> Option<Stored> {
    let journal = host.node.as_ref()?.journal();
    let frontier = journal.frontier();
    let streams = (0..frontier.streams()).map(StreamIx);
    let promised = streams.flat_map(|ix| frontier.branches(ix)).map(|(_, at)| at.root.get()).sum();
    let begin = (0..journal.lanes()).map(|lane| journal.seqs(Lane::new(lane)).0.get());
    let begin = begin.chain([promised]).collect();
    Some((host.boots, journal.synced_commit().get(), begin, journal.losses().len()))
}
