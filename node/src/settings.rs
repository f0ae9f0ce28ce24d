//! What a node is told about itself, its lanes and its topics.

use std::collections::BTreeMap;

use landfall_core::name::topic_is_internal;
use landfall_core::num::Lane;
use landfall_protocol::backoff::BackoffConfig;
use landfall_protocol::message::Features;
use landfall_protocol::session::Versions;
use landfall_protocol::time::Duration;

use crate::codec;

/// What a node is told about itself.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The unique name of its identity.
    pub site: String,
    /// Its software and version, for people.
    pub software: String,
    /// Its lanes, in the order of their numbers.
    pub lanes: Vec<LaneSettings>,
    /// The lane of topics that nothing is said about.
    pub default_lane: Lane,
    /// What is said about single topics.
    pub topics: BTreeMap<String, TopicSettings>,
    /// Whether a topic that nobody named may be written.
    pub create_topics: bool,
    /// Whether it dials a node.
    pub upstream: bool,
    /// Whether it looks into each record although it has an upstream: the last node that can blame
    /// the one that sent it.
    pub verifies: bool,
    /// Whether it is one of a group of hubs, between which streams move: what went out from it may
    /// come in again.
    pub in_group: bool,
    /// The id and the secret of the token by which it asks to be registered.
    pub enrol: Option<(String, Vec<u8>)>,
    /// When records may be forgotten.
    pub trim_at: TrimAt,
    /// Milliseconds that the node runs before it forgets them after that, within the lane's budget.
    pub keep_acked_ms: u64,
    /// The same for records that go nowhere else from here, such as all at a root. None: until they
    /// are in the way.
    pub retention_ms: Option<u64>,
    /// Bytes that a lane may have while records stay in it for consumers longer than for anything
    /// else.
    pub hold_max_bytes: u64,
    /// When to dial again.
    pub backoff: BackoffConfig,
    /// On a metered link: how long it hangs up at most when nothing is left to be said. None: the
    /// link stays up.
    pub visit_every: Option<Duration>,
    /// Bytes a second that are sent to the upstream node at most.
    pub rate_bytes_max: Option<u64>,
    /// Bytes of appends that may wait to be written; more are refused as busy.
    pub append_bytes_max: usize,
    /// Bytes that a peer may have under way to this node.
    pub credit_bytes: u64,
    /// Bytes of a lane that the transport may hold unsent; a message that is longer waits alone.
    pub lane_bytes: usize,
    /// Peers that may have dialed and not be let in yet; more are told to come again in some
    /// seconds.
    pub greetings_max: usize,
    /// The versions of the protocol that it speaks.
    pub versions: Versions,
    /// What it can do beyond them.
    pub features: Features,
}

/// A lane as it is configured.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LaneSettings {
    /// Its name.
    pub name: String,
    /// The lane with the higher number goes first.
    pub priority: u8,
    /// What happens when it is full.
    pub on_full: OnFull,
    /// How long its appends may wait for others to be synced with; zero for not at all.
    pub commit_every: Duration,
}

/// What happens to an append when its lane is full.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnFull {
    /// It is refused.
    Reject,
    /// The oldest records go, and a gap says so.
    DropOldest,
}

/// What a promise must cover before records may be forgotten.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TrimAt {
    /// The node without an upstream has them.
    Root,
    /// The next node has them.
    Hop,
}

/// A topic as it is configured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TopicSettings {
    /// Its lane, for ever.
    pub lane: Lane,
    /// Whether it is sent to the upstream node.
    pub replicate: Replicate,
}

/// Whether a topic is sent to the upstream node, or comes from there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Replicate {
    /// Always.
    Always,
    /// Never.
    Never,
    /// It comes down from there, and is not written here.
    Down,
}

impl TopicSettings {
    /// A topic that nobody said anything about.
    pub const STANDARD: Self = Self { lane: Lane::new(0), replicate: Replicate::Always };
}

impl Settings {
    /// The journal's last lane, which holds the node's own topics and is never sent.
    pub fn internal_lane(&self) -> Lane {
        Lane::new(self.lanes.len() as u8)
    }

    /// How many lanes the journal must have.
    pub fn journal_lanes(&self) -> u8 {
        self.internal_lane().get() + 1
    }

    /// The usual settings of a site with the lanes `normal` and `urgent`.
    pub fn standard(site: &str) -> Self {
        let lane = |name: &str, priority| LaneSettings {
            name: name.into(),
            priority,
            on_full: OnFull::Reject,
            commit_every: Duration::ZERO,
        };
        Self {
            site: site.into(),
            software: format!("landfall {}", env!("CARGO_PKG_VERSION")),
            lanes: vec![lane("normal", 1), lane("urgent", 2)],
            default_lane: Lane::new(0),
            topics: BTreeMap::new(),
            create_topics: true,
            upstream: false,
            verifies: false,
            in_group: false,
            enrol: None,
            trim_at: TrimAt::Root,
            keep_acked_ms: 24 * 60 * 60 * 1_000,
            retention_ms: None,
            hold_max_bytes: 256 * 1024 * 1024,
            backoff: BackoffConfig::STANDARD,
            visit_every: None,
            rate_bytes_max: None,
            append_bytes_max: 32 * 1024 * 1024,
            credit_bytes: 2 * 1024 * 1024,
            lane_bytes: 512 * 1024,
            greetings_max: 256,
            versions: Versions::OURS,
            features: codec::FEATURES,
        }
    }
}

/// What the names of topics with dead letters end with.
const DEAD_SUFFIX: &str = ".dead";

/// What the node knows of topics.
#[derive(Clone, Debug)]
pub(crate) struct Topics {
    named: BTreeMap<String, TopicSettings>,
    standard: Option<TopicSettings>,
    internal: TopicSettings,
}

impl Topics {
    pub(crate) fn new(settings: &Settings) -> Self {
        let lane = settings.internal_lane();
        let internal = TopicSettings { lane, replicate: Replicate::Never };
        let standard = TopicSettings { lane: settings.default_lane, ..TopicSettings::STANDARD };
        let standard = settings.create_topics.then_some(standard);
        Self { named: settings.topics.clone(), standard, internal }
    }

    /// The settings of a topic; none if it is unknown and may not be made.
    pub(crate) fn of(&self, topic: &str) -> Option<TopicSettings> {
        if topic_is_internal(topic) {
            return Some(self.internal);
        }
        // What could not be dealt with is kept beside what it came from. Letters about what came
        // down are written here, and go up.
        let of_letters = || {
            let of = *self.named.get(topic.strip_suffix(DEAD_SUFFIX)?)?;
            let down = of.replicate == Replicate::Down;
            Some(if down { TopicSettings { replicate: Replicate::Always, ..of } } else { of })
        };
        self.named.get(topic).copied().or_else(of_letters).or(self.standard)
    }

    /// The topics that come down.
    pub(crate) fn coming_down(&self) -> impl Iterator<Item = &str> {
        let down = |topic: &&TopicSettings| topic.replicate == Replicate::Down;
        let down = self.named.iter().filter(move |(_, topic)| down(topic));
        down.map(|(name, _)| name.as_str())
    }

    /// Whether a topic comes down from the upstream node.
    pub(crate) fn comes_down(&self, topic: &str) -> bool {
        self.named.get(topic).is_some_and(|topic| topic.replicate == Replicate::Down)
    }

    /// Whether records of a topic are sent to the upstream node. Those of a topic that may not be
    /// made here are: they came from below, or from a time when it might.
    pub(crate) fn goes_up(&self, topic: &str) -> bool {
        self.of(topic).is_none_or(|topic| topic.replicate == Replicate::Always)
    }
}
