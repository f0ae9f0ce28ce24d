//! The reference: what must hold after each step, whatever happened.

use std::collections::{BTreeMap, BTreeSet};

use landfall::node::AppendOutcome;
use landfall_core::frontier::{BranchIx, Frontier, StreamIx};
use landfall_core::hash::StreamHash;
use landfall_core::num::Epoch;

use super::World;
use super::reading::{Coordinates, Held};

/// What a host acknowledged on the disk that it has.
pub(super) type Expected = BTreeSet<Coordinates>;

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
}

impl World {
    /// Checks the invariants: acknowledged records are readable, or at the root, or a gap names
    /// them; coordinates are unique and name the same bytes everywhere; what is promised to be
    /// durable at the root has been there.
    ///
    /// # Panics
    /// One is broken.
    pub fn check(&mut self) {
        let running = self.hosts.iter().filter_map(|(name, host)| {
            let node = host.node.as_ref()?;
            let root = !node.settings().upstream;
            Some((name.clone(), root, Held::read(node.journal())))
        });
        let all: Vec<_> = running.collect();
        for (_, root, held) in &all {
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
            return;
        }
        for (name, _, held) in &all {
            self.check_acknowledged(name, held);
            self.check_promises(name, held);
        }
    }

    fn check_acknowledged(&self, name: &str, held: &Held) {
        let here: BTreeSet<_> = held.records.iter().map(super::HeldRecord::coordinates).collect();
        for at in &self.host(name).expected {
            let known = here.contains(at)
                || self.truth.rooted.contains(at)
                || held.is_gap(&at.0, at.2)
                || self.truth.gaps.is_gap(&at.0, at.2);
            assert!(known, "{at:?} was acknowledged at {name} and is lost\n{}", self.describe());
        }
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
            if stream.contains("/_") {
                continue;
            }
            for record in held.records.iter().filter(|record| record.stream == stream) {
                let at = record.coordinates();
                let known = record.offset >= branch.root.get()
                    || self.truth.rooted.contains(&at)
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
        self.check();
        let held = self.held(root);
        let here: BTreeSet<_> = held.records.iter().map(super::HeldRecord::coordinates).collect();
        let mut wanted = BTreeSet::new();
        for host in self.hosts.values() {
            wanted.extend(host.expected.iter().cloned());
            let held = host.node.as_ref().map(|node| Held::read(node.journal()));
            let records = held.iter().flat_map(|held| held.records.iter());
            let records = records.filter(|record| !record.stream.contains("/_"));
            wanted.extend(records.map(super::HeldRecord::coordinates));
        }
        for at in wanted {
            let known = here.contains(&at) || held.is_gap(&at.0, at.2);
            assert!(known, "{at:?} never came to {root}\n{}", self.describe());
        }
    }

    pub(super) fn on_appended(
        &mut self,
        name: &str,
        ticket: landfall::node::Ticket,
        outcome: AppendOutcome,
    ) {
        self.trace.note(&[self.now, ticket.0]);
        let host = self.hosts.get_mut(name);
        let Some(host) = host else { return };
        let Some((topic, records)) = host.pending.remove(&ticket.0) else { return };
        if let AppendOutcome::Appended { epoch, first: Some(first), written, .. } = &outcome {
            let stream = format!("{}/{topic}/0", host.settings.site);
            assert_eq!(*written as usize, records.len(), "an append is written whole");
            for (offset, encoded) in (first.get()..).zip(&records) {
                let at = (stream.clone(), *epoch, offset);
                self.truth.agree(&at, encoded);
                host.expected.insert(at);
            }
        }
        host.outcomes.insert(ticket.0, outcome);
    }
}
