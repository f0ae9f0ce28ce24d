//! The bridge's gate: only the hub itself dials it, and it may bring whatever Kafka takes.

use std::collections::BTreeSet;
use std::sync::Arc;

use landfall_core::name::{StreamId, topic_is_internal};
use landfall_core::num::{Partition, Timestamp};
use landfall_protocol::message::Enrol;

use super::route;
use super::settings::Settings;
use super::topics::Topics;
use crate::node::{Admission, Gate, PeerKey};

/// Lets the hub in, and refuses topics that Kafka does not take.
pub(super) struct KafkaGate {
    pub(super) settings: Arc<Settings>,
    pub(super) topics: Arc<Topics>,
    /// The shards that this hub owns.
    pub(super) shards: BTreeSet<u32>,
}

impl KafkaGate {
    /// Whether this hub owns the shard of a site.
    fn owns(&self, origin: &str) -> bool {
        self.shards.contains(&route::shard(origin, self.settings.shards))
    }

    /// Whether the records of an edge topic can be written.
    ///
    /// # Errors
    /// They can't, for this reason.
    fn takes(&self, origin: &str, topic: &str) -> Result<(), String> {
        let name = self.name(origin, topic);
        let partitions = self.topics.partitions_for(&name);
        let among = partitions.and_then(|count| self.settings.route.among(topic, count));
        among.map(|_| ()).map_err(|why| format!("topic {name}: {why}"))
    }

    /// The topic in Kafka: all partitions of an edge topic go to one there.
    fn name(&self, origin: &str, topic: &str) -> String {
        let stream = StreamId { origin, topic, partition: Partition::new(0) };
        self.settings.route.topic(stream)
    }
}

impl Gate for KafkaGate {
    fn admit(&self, _: PeerKey, site: &str, _: Option<Enrol<'_>>, _: Timestamp) -> Admission {
        Admission::Admitted { site: site.into(), records: Vec::new() }
    }

    fn is_welcome(&self, _: PeerKey, _: &str) -> bool {
        true
    }

    fn may_carry(&self, _: &str, _: &str) -> bool {
        true
    }

    fn may_write(&self, _: &str, origin: &str, topic: &str) -> bool {
        !topic_is_internal(topic) && self.owns(origin) && self.takes(origin, topic).is_ok()
    }

    fn keeps_clocks(&self) -> bool {
        false
    }

    fn why_not(&self, origin: &str, topic: &str) -> Option<String> {
        if !self.owns(origin) {
            return Some("another hub of the group owns the shard of its site".into());
        }
        self.takes(origin, topic).err()
    }

    fn apply(&mut self, _: &str, _: &[u8], _: Option<&[u8]>) {}
}
