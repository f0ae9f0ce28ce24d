//! The shape of a fleet: hubs, gateways, devices, who dials whom, and what they are told.

use std::fmt;

use landfall_core::num::Lane;
use landfall_node::{OnFull, Replicate, Settings, TopicSettings, TrimAt};

use super::operation::Name;
use crate::rng::Rng;
use crate::world::{DiskShape, World};

/// Nodes without an upstream.
pub const HUBS: [Name; 2] = ["H1", "H2"];
/// Nodes that others dial, and that dial.
pub const GATEWAYS: [Name; 3] = ["G1", "G2", "G3"];
/// Nodes that only dial.
pub const DEVICES: [Name; 5] = ["D1", "D2", "D3", "D4", "D5"];
/// Hosts that run a copy of another one's disk.
pub const COPIES: [Name; 2] = ["C1", "C2"];
/// What is written to. The last one is in the urgent lane.
pub const TOPICS: [Name; 4] = ["a", "b", "c", "u"];
/// What numbered records are written to.
pub const NUMBERED: Name = "n";

/// Every word that names something.
pub fn all_names() -> impl Iterator<Item = Name> {
    HUBS.into_iter().chain(GATEWAYS).chain(DEVICES).chain(COPIES).chain(TOPICS).chain([NUMBERED])
}

/// A fleet as it is at first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shape {
    /// What its randomness begins with.
    pub seed: u64,
    /// How many hubs it has.
    pub hubs: usize,
    /// Who dials whom; those who are dialed come first.
    pub uplinks: Vec<(Name, Name)>,
    /// Milliseconds that nodes keep what is durable at the root.
    pub keep_acked_ms: u64,
    /// Whether devices forget what the next node has.
    pub trim_at_hop: bool,
    /// Whether a full lane drops its oldest records.
    pub drop_oldest: bool,
    /// Whether disks of all but the hubs are small.
    pub small_disks: bool,
}

impl Shape {
    /// A random one.
    pub fn draw(rng: &mut Rng) -> Self {
        let hubs = if rng.chance(1, 4) { 2 } else { 1 };
        let mut above: Vec<Name> = HUBS[..hubs].to_vec();
        let mut uplinks = Vec::new();
        for gateway in &GATEWAYS[..rng.below(4) as usize] {
            uplinks.push((*gateway, *rng.pick(&above)));
            above.push(gateway);
        }
        for device in &DEVICES[..1 + rng.below(5) as usize] {
            uplinks.push((*device, *rng.pick(&above)));
        }
        let keep_acked_ms = *rng.pick(&[0, 30_000, 24 * 60 * 60 * 1_000]);
        Self {
            seed: rng.u64(),
            hubs,
            uplinks,
            keep_acked_ms,
            trim_at_hop: rng.chance(1, 8),
            drop_oldest: rng.chance(1, 4),
            small_disks: rng.chance(1, 2),
        }
    }

    /// All hosts, those without an upstream first.
    pub fn hosts(&self) -> Vec<Name> {
        let below = self.uplinks.iter().map(|(host, _)| *host);
        HUBS[..self.hubs].iter().copied().chain(below).collect()
    }

    /// The hosts that dial others.
    pub fn dialing(&self) -> Vec<Name> {
        self.uplinks.iter().map(|(host, _)| *host).collect()
    }

    /// The hosts that others may dial.
    pub fn dialed(&self) -> Vec<Name> {
        let dialed = |host: &Name| HUBS.contains(host) || GATEWAYS.contains(host);
        self.hosts().into_iter().filter(dialed).collect()
    }

    /// A world of that shape.
    pub fn build(&self) -> World {
        let mut world = World::new(self.seed);
        // What a full hub forgets can't be looked for there.
        world.set_disks(DiskShape::LARGE);
        for hub in &HUBS[..self.hubs] {
            world.add_host(hub, self.settings(hub, false), None);
        }
        world.set_disks(if self.small_disks { DiskShape::SMALL } else { DiskShape::STANDARD });
        for (host, upstream) in &self.uplinks {
            world.add_host(host, self.settings(host, true), Some(upstream));
        }
        world
    }

    fn settings(&self, site: &str, upstream: bool) -> Settings {
        let mut settings = Settings { upstream, ..Settings::standard(site) };
        let urgent = TopicSettings { lane: Lane::new(1), replicate: Replicate::Always };
        settings.topics.insert(TOPICS[3].into(), urgent);
        if upstream {
            settings.keep_acked_ms = self.keep_acked_ms;
        }
        let device = DEVICES.contains(&site);
        if self.trim_at_hop && device {
            settings.trim_at = TrimAt::Hop;
        }
        if self.drop_oldest && device {
            settings.lanes[0].on_full = OnFull::DropOldest;
        }
        settings
    }

    /// The shape that these lines tell; none if they tell none.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut shape = Self {
            seed: 0,
            hubs: 1,
            uplinks: Vec::new(),
            keep_acked_ms: 0,
            trim_at_hop: false,
            drop_oldest: false,
            small_disks: false,
        };
        let named = |word: &str| all_names().find(|name| *name == word);
        for line in lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["seed", seed] => shape.seed = seed.parse().ok()?,
                ["hubs", hubs] => shape.hubs = hubs.parse().ok()?,
                ["uplink", host, to] => shape.uplinks.push((named(host)?, named(to)?)),
                ["keep", ms] => shape.keep_acked_ms = ms.parse().ok()?,
                ["trim-at-hop"] => shape.trim_at_hop = true,
                ["drop-oldest"] => shape.drop_oldest = true,
                ["small-disks"] => shape.small_disks = true,
                _ => return None,
            }
        }
        Some(shape)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}\nhubs {}", self.seed, self.hubs)?;
        for (host, upstream) in &self.uplinks {
            writeln!(f, "uplink {host} {upstream}")?;
        }
        writeln!(f, "keep {}", self.keep_acked_ms)?;
        let flags = [
            (self.trim_at_hop, "trim-at-hop"),
            (self.drop_oldest, "drop-oldest"),
            (self.small_disks, "small-disks"),
        ];
        for (_, flag) in flags.iter().filter(|(set, _)| *set) {
            writeln!(f, "{flag}")?;
        }
        Ok(())
    }
}
