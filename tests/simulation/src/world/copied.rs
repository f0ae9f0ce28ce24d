//! Topics that come down: what a node has of them is what the one above has.

use std::collections::BTreeSet;

use landfall_core::num::Lane;
use landfall_node::{Coming, Replicate, Settings, TopicSettings};

use super::World;
use super::reading::{Held, HeldRecord};

impl World {
    /// A node that dials another one, and has topics come down from there.
    pub fn subscriber(&mut self, name: &str, upstream: &str, topics: &[&str]) {
        let mut settings = Settings { upstream: true, ..Settings::standard(name) };
        let down = |lane| TopicSettings { lane: Lane::new(lane), replicate: Replicate::Down };
        let lane = |topic: &str| u8::from(topic.starts_with("urgent"));
        settings.topics.extend(topics.iter().map(|of| ((*of).into(), down(lane(of)))));
        self.add_host(name, settings, Some(upstream));
    }

    /// How a topic that comes down stands at a running host.
    pub fn coming(&self, name: &str, topic: &str) -> Coming {
        let mut all = self.node(name).coming_down();
        let found = all.find(|(of, _)| *of == topic).map(|(_, coming)| coming);
        found.unwrap_or_else(|| panic!("{topic} does not come down at {name}"))
    }

    /// A host's node ends its session with a site, as when what that may do was changed.
    pub fn call_back(&mut self, name: &str, site: &str) {
        if let Some(node) = &mut self.host_mut(name).node {
            node.part_from(site, "what this site may do was changed");
        }
        self.drive(name);
    }

    /// Bytes that the node of a host has sent so far.
    pub fn bytes_sent(&self, name: &str) -> u64 {
        self.host(name).sent
    }

    /// Whether a topic has come to a host as far as its upstream node has it.
    pub fn is_level(&self, name: &str, topic: &str) -> bool {
        self.is_up(name) && self.coming(name, topic) == Coming::Level
    }

    /// Lets time pass until topics are level at hosts, and nothing is under way.
    pub fn sync_down(&mut self, hosts: &[&str], topic: &str) {
        let level = |world: &Self| hosts.iter().all(|name| world.is_level(name, topic));
        assert!(self.run_until(20 * 60 * 1_000, level), "not level\n{}", self.describe());
        self.run(5_000);
        self.sync();
    }

    /// Expects that a host has of a topic what another has, but for what it wrote itself, each
    /// record once and with the same bytes.
    ///
    /// # Panics
    /// It has not.
    pub fn expect_copy(&self, name: &str, of: &str, topic: &str) {
        self.expect_all_of(name, of, topic);
        let other = self.differ(name, of, (name, topic));
        assert!(other.is_empty(), "{name} has {other:?}, and {of} not\n{}", self.describe());
    }

    /// The same, but it may have more: what the other one lost since.
    ///
    /// # Panics
    /// It has not.
    pub fn expect_all_of(&self, name: &str, of: &str, topic: &str) {
        let lacks = self.differ(of, name, (name, topic));
        assert!(lacks.is_empty(), "{name} lacks {lacks:?} of {of}\n{}", self.describe());
    }

    /// Some of what a host has of a topic and another has not, but for what a site wrote.
    fn differ(&self, has: &str, lacks: &str, (site, topic): (&str, &str)) -> Vec<At> {
        let site = &self.settings(site).site;
        let records = |name: &str| of_topic(&self.held(name), site, topic);
        let (has, lacks) = (records(has), records(lacks));
        has.difference(&lacks).map(|(at, _)| at.clone()).take(8).collect()
    }
}

type At = (String, landfall_core::num::Epoch, u64);
type Records = BTreeSet<(At, Vec<u8>)>;

fn of_topic(held: &Held, site: &str, topic: &str) -> Records {
    let its = |record: &&HeldRecord| {
        let mut parts = record.stream.split('/');
        parts.next() != Some(site) && parts.next() == Some(topic)
    };
    held.records
        .iter()
        .filter(its)
        .map(|record| (record.coordinates(), record.encoded.clone()))
        .collect()
}
