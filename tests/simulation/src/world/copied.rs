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
        let site = self.settings(name).site.clone();
        let (here, there) = (self.held(name), self.held(of));
        let has = |held: &Held| of_topic(held, &site, topic);
        let (here, there) = (has(&here), has(&there));
        let lacks: Vec<_> = there.difference(&here).map(|(at, _)| at).take(8).collect();
        let other: Vec<_> = here.difference(&there).map(|(at, _)| at).take(8).collect();
        assert!(lacks.is_empty(), "{name} lacks {lacks:?} of {of}\n{}", self.describe());
        assert!(other.is_empty(), "{name} has {other:?}, and {of} not\n{}", self.describe());
    }
}

type Records = BTreeSet<((String, landfall_core::num::Epoch, u64), Vec<u8>)>;

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
