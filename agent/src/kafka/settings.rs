//! What the bridge to Kafka is told.

use std::path::PathBuf;
use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use super::refusals::Sending;
use super::route::Route;
use crate::config;
use crate::node::LaneSettings;

/// What the bridge to Kafka is told, checked.
#[derive(Clone)]
pub struct Settings {
    /// This hub's site.
    pub site: String,
    /// The hub's lanes.
    pub lanes: Vec<LaneSettings>,
    /// What tells this hub from the others of its group.
    pub member: String,
    /// What the hubs that share the work are called.
    pub group: String,
    /// How many shards there are, for ever.
    pub shards: u32,
    /// The topic of the frontier records.
    pub frontier_topic: String,
    /// The topic of what Kafka refused.
    pub dead_letter_topic: String,
    /// The topic of sites, tokens and hubs.
    pub registry_topic: String,
    /// Which topic is which there.
    pub route: Route,
    /// Whether missing topics are made, and how.
    pub create: Option<Create>,
    /// How long records are collected for one transaction.
    pub commit_every: Duration,
    /// How long a transaction may take.
    pub transaction_timeout: Duration,
    properties: Vec<(String, String)>,
    /// Who changes the password changes this file; so it is read for each client.
    password_file: Option<PathBuf>,
}

/// How a missing topic is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Create {
    /// Its partitions.
    pub partitions: u32,
    /// Its replicas; none for what the brokers' default says.
    pub replication: Option<u32>,
}

/// The file with the password can't be read.
#[derive(Debug)]
pub struct NoPassword(pub PathBuf, pub std::io::Error);

/// How long a hub may be away until its shards are given to others, in milliseconds.
const MEMBER_AWAY_MS: &str = "10000";

/// Defaults that the operator may change: bytes rather than processor, and memory that is bounded.
const USUAL: [(&str, &str); 4] = [
    ("compression.type", "lz4"),
    ("linger.ms", "5"),
    ("queue.buffering.max.kbytes", "32768"),
    ("queue.buffering.max.messages", "200000"),
];

impl Settings {
    /// From the configuration, whose mapping was checked.
    ///
    /// # Errors
    /// The password can't be read.
    pub fn of(
        config: &config::Config,
        site: &str,
        member: &str,
        lanes: &[LaneSettings],
    ) -> Result<Option<Self>, NoPassword> {
        let kafka = &config.kafka;
        if !kafka.is_there() {
            return Ok(None);
        }
        let route = Route::new(&kafka.topic, &kafka.rename);
        let Ok(route) = route else { unreachable!("the configuration was checked") };
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let mut properties: Vec<_> = USUAL.into_iter().map(own).collect();
        properties.extend(kafka.librdkafka().map(own));
        properties.push(own(("bootstrap.servers", &kafka.brokers.join(","))));
        properties.push(own(("client.id", site)));
        let (partitions, replication) = (kafka.partitions, kafka.replication);
        let settings = Self {
            site: site.to_owned(),
            member: member.to_string(),
            lanes: lanes.to_vec(),
            group: kafka.group.clone(),
            shards: kafka.shards,
            frontier_topic: kafka.frontier_topic.clone(),
            dead_letter_topic: kafka.dead_letter_topic.clone(),
            registry_topic: kafka.registry_topic.clone(),
            route,
            create: kafka.create_topics.then_some(Create { partitions, replication }),
            commit_every: kafka.commit_every,
            transaction_timeout: kafka.transaction_timeout,
            properties,
            password_file: kafka.password_file.clone(),
        };
        // A file that is not there is told at once.
        settings.client().map(|_| Some(settings))
    }

    /// The same with another mapping of topics.
    pub(super) fn with(&self, route: Route) -> Self {
        Self { route, ..self.clone() }
    }

    /// What any client of the cluster is told.
    pub(super) fn client(&self) -> Result<ClientConfig, NoPassword> {
        let mut config = ClientConfig::new();
        // What it logs as errors is all that tells which topic may not be written.
        config.set_log_level(RDKafkaLogLevel::Error);
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        if let Some(path) = &self.password_file {
            let password = std::fs::read_to_string(path);
            let password = password.map_err(|error| NoPassword(path.clone(), error))?;
            config.set("sasl.password", password.trim_end_matches(['\r', '\n']));
        }
        config.set("allow.auto.create.topics", "false");
        Ok(config)
    }

    /// The owner of a shard, for a producer: the same for ever, whoever owns it.
    pub(super) fn producer(
        &self,
        shard: u32,
        sending: Sending,
    ) -> Result<ClientConfig, NoPassword> {
        let mut config = self.transactional(&shard.to_string())?;
        config.set("batch.size", sending.batch_bytes.to_string());
        if sending.alone {
            config.set("batch.num.messages", "1");
        }
        Ok(config)
    }

    /// A member of the group of hubs. It keeps its place for a while when it is started anew.
    pub(super) fn member(&self) -> Result<ClientConfig, NoPassword> {
        let mut config = self.client()?;
        config.set("group.id", format!("{}.shards", self.group));
        config.set("group.instance.id", &self.member);
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("session.timeout.ms", MEMBER_AWAY_MS);
        config.set("enable.auto.commit", "false");
        Ok(config)
    }

    /// The hub that writes the registry, for a producer.
    pub(super) fn registry_producer(&self) -> Result<ClientConfig, NoPassword> {
        self.transactional("registry")
    }

    fn transactional(&self, what: &str) -> Result<ClientConfig, NoPassword> {
        let timeout = self.transaction_timeout.as_millis().to_string();
        let mut config = self.client()?;
        config.set("transactional.id", format!("{}.{what}", self.group));
        config.set("transaction.timeout.ms", &timeout);
        // A record that is not taken in time must not outlive its transaction.
        config.set("message.timeout.ms", &timeout);
        Ok(config)
    }

    /// For reading what is committed, from places that are given by hand.
    pub(super) fn consumer(&self) -> Result<ClientConfig, NoPassword> {
        let mut config = self.client()?;
        // Nothing is ever committed or joined under this name; librdkafka asks for one.
        config.set("group.id", format!("{}.frontier", self.group));
        config.set("enable.auto.commit", "false");
        config.set("isolation.level", "read_committed");
        Ok(config)
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Properties may hold a password.
        f.debug_struct("Settings").field("group", &self.group).finish_non_exhaustive()
    }
}

impl std::fmt::Display for NoPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the password for Kafka can't be read from {}: {}", self.0.display(), self.1)
    }
}

impl std::error::Error for NoPassword {}
