//! Which Kafka topics are there, with how many partitions, and which can't be written.
//!
//! A topic that can't be written is refused by itself: its streams wait at the nodes below, and all
//! others go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::RDKafkaErrorCode;

use super::context::Context;
use super::fault::{Fault, text};
use super::settings::{Create, Settings};

/// How long Kafka may take to say something of a topic, or to make one.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How often a topic that was just made is asked for until all brokers know it, and how far apart.
const ASK_MAX: u32 = 50;
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Why a topic was not made, as far as is known.
enum Unmade {
    /// Kafka refuses, and would again.
    Refused(String),
    /// It did not say; it may be made, or will be.
    Unknown(String),
}

/// Whether Kafka is just busy, or away.
fn is_passing(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::NetworkException
            | RDKafkaErrorCode::NotController
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::RequestTimedOut
    )
}

/// The topics of the cluster, as far as they were needed.
pub(super) struct Topics {
    settings: Arc<Settings>,
    admin: AdminClient<Context>,
    known: Mutex<BTreeMap<String, Result<u32, String>>>,
    /// Those of them that refused a record.
    written: Mutex<BTreeSet<String>>,
    fault: Mutex<Option<Fault>>,
}

impl Topics {
    pub(super) fn new(settings: Arc<Settings>) -> Result<Self, Fault> {
        let admin = AdminClient::from_config_and_context(&settings.client(), Context::default())
            .map_err(|error| Fault::Kafka(format!("librdkafka does not start: {error}")))?;
        let (known, written, fault) = (Mutex::default(), Mutex::default(), Mutex::default());
        Ok(Self { settings, admin, known, written, fault })
    }

    /// How many partitions a topic has that records are to be written to; it is looked up, and
    /// made, if need be.
    ///
    /// # Errors
    /// It can't be written, for this reason. If Kafka did not say, [`Topics::take_fault`] tells.
    pub(super) fn partitions(&self, topic: &str) -> Result<u32, String> {
        if let Some(known) = self.known().get(topic) {
            return known.clone();
        }
        let found = self.found(topic);
        if let Err(why) = &found {
            tracing::warn!(topic, why, "records for a topic of Kafka are not taken");
        }
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if !fault {
            self.known().insert(topic.to_owned(), found.clone());
        }
        found
    }

    /// The same for a topic that records of sites are for.
    ///
    /// # Errors
    /// Also if the topic is the hub's own.
    pub(super) fn partitions_for(&self, topic: &str) -> Result<u32, String> {
        let Settings { frontier_topic, dead_letter_topic, registry_topic, .. } = &*self.settings;
        let own = [frontier_topic, dead_letter_topic, registry_topic];
        if own.iter().any(|own| *own == topic) || topic.starts_with("__") {
            return Err("it is not for records; map the edge topic elsewhere".into());
        }
        self.partitions(topic)
    }

    /// Takes nothing more for a topic, which refused a record for this reason.
    pub(super) fn refuse(&self, topic: &str, why: &str) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.insert(topic.to_owned());
        drop(written);
        self.known().insert(topic.to_owned(), Err(why.to_owned()));
    }

    /// The topics that are not taken, and why.
    pub(super) fn refused(&self) -> Vec<(String, String)> {
        let known = self.known();
        let refused = known.iter().filter_map(|(topic, known)| {
            known.as_ref().err().map(|why| (topic.clone(), why.clone()))
        });
        refused.collect()
    }

    /// Looks up again which topics are there. Those that refused a record are left alone unless
    /// `all`: to try them costs all others a pause.
    pub(super) fn forget_refused(&self, all: bool) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if all {
            written.clear();
        }
        self.known().retain(|topic, known| known.is_ok() || written.contains(topic));
    }

    /// What kept a topic from being looked up since this was last asked.
    pub(super) fn take_fault(&self) -> Option<Fault> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Sees to it that the frontier topic is there, with a partition for each shard.
    pub(super) fn open_frontier(&self) -> Result<(), Fault> {
        let (topic, shards) = (self.settings.frontier_topic.as_str(), self.settings.shards);
        let partitions = self.open_compacted(topic, shards)?;
        if partitions == shards {
            return Ok(());
        }
        Err(Fault::Frontier(format!(
            "{topic} has {partitions} partitions, and `kafka.shards` says {shards}; shards are \
             given once and for ever. Put the old number back"
        )))
    }

    /// Sees to it that the registry is there.
    pub(super) fn open_registry(&self) -> Result<(), Fault> {
        let opened = self.open_compacted(&self.settings.registry_topic, 1);
        opened.map(|_| ()).map_err(|fault| match fault {
            Fault::Frontier(why) => Fault::Kafka(format!("the registry can't be used: {why}")),
            fault => fault,
        })
    }

    /// Makes a compacted topic if it is missing. Returns how many partitions it has.
    fn open_compacted(&self, topic: &str, partitions: u32) -> Result<u32, Fault> {
        if let Some(partitions) = self.ask(topic)? {
            return Ok(partitions);
        }
        let create = self.settings.create.ok_or_else(|| {
            Fault::Frontier(format!(
                "{topic} is missing, and `kafka.create_topics` is false; make it with \
                 cleanup.policy=compact and this number of partitions: {partitions}"
            ))
        })?;
        let create = Create { partitions, ..create };
        let made = self.make(topic, create, &[("cleanup.policy", "compact")]);
        made.map_err(|unmade| match unmade {
            Unmade::Refused(why) => Fault::Frontier(why),
            Unmade::Unknown(why) => Fault::Kafka(why),
        })?;
        self.wait_for(topic)
    }

    /// All topics of the cluster that this hub is shown, each with its number of partitions.
    pub(super) fn all(&self) -> Result<Vec<(String, u32)>, Fault> {
        let answer = self.admin.inner().fetch_metadata(None, ANSWER_MAX).map_err(|error| {
            Fault::Kafka(format!("Kafka does not say which topics are there: {}", text(&error)))
        })?;
        let told = answer.topics().iter();
        Ok(told.map(|told| (told.name().to_owned(), told.partitions().len() as u32)).collect())
    }

    fn found(&self, topic: &str) -> Result<u32, String> {
        let note = |fault: Fault| {
            let why = fault.to_string();
            *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
            why
        };
        if let Some(partitions) = self.ask(topic).map_err(note)? {
            return Ok(partitions);
        }
        let create = self.settings.create.ok_or(
            "it is missing, and `kafka.create_topics` is false; make it, and its records come",
        )?;
        // Clocks of devices run ahead, and what they wrote must still be taken. And Kafka deletes
        // by the time that records bear: what comes after weeks would be gone in minutes.
        let told =
            [("message.timestamp.after.max.ms", "9223372036854775807"), ("retention.ms", "-1")];
        // What was made without a word is found when it is looked up again.
        self.make(topic, create, &told)
            .map_err(|(Unmade::Refused(why) | Unmade::Unknown(why))| why)?;
        tracing::info!(topic, partitions = create.partitions, "made a topic in Kafka");
        self.wait_for(topic).map_err(note)
    }

    /// Asks how many partitions a topic has; none if it is missing.
    fn ask(&self, topic: &str) -> Result<Option<u32>, Fault> {
        let answer = self.admin.inner().fetch_metadata(Some(topic), ANSWER_MAX);
        let answer = answer.map_err(|error| {
            let trouble = self.admin.inner().context().trouble();
            let trouble = trouble.map(|trouble| format!("; {trouble}")).unwrap_or_default();
            let text = text(&error);
            Fault::Kafka(format!("Kafka does not say whether {topic} is there: {text}{trouble}"))
        })?;
        let Some(told) = answer.topics().iter().find(|told| told.name() == topic) else {
            return Ok(None);
        };
        match told.error().map(RDKafkaErrorCode::from) {
            None => Ok(u32::try_from(told.partitions().len()).ok().filter(|count| *count > 0)),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                Ok(None)
            }
            Some(code) => Err(Fault::Kafka(format!("Kafka does not tell of {topic}: {code}"))),
        }
    }

    fn make(&self, topic: &str, create: Create, told: &[(&str, &str)]) -> Result<(), Unmade> {
        let partitions = i32::try_from(create.partitions).unwrap_or(i32::MAX);
        // -1 leaves it to the brokers.
        let replicas = create.replication.map_or(-1, |count| i32::try_from(count).unwrap_or(-1));
        let replication = TopicReplication::Fixed(replicas);
        let mut new = NewTopic::new(topic, partitions, replication);
        for (name, value) in told {
            new = new.set(name, value);
        }
        let options = AdminOptions::new()
            .request_timeout(Some(ANSWER_MAX))
            .operation_timeout(Some(ANSWER_MAX));
        let topics = [new];
        let making = self.admin.create_topics(&topics, &options);
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let unknown =
            |why| Unmade::Unknown(format!("Kafka does not say that {topic} is made: {why}"));
        let runtime = runtime.map_err(|error| unknown(error.to_string()))?;
        let made = runtime.block_on(making).map_err(|error| unknown(text(&error)))?;
        match made.into_iter().next() {
            None | Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
            Some(Err((_, code))) if is_passing(code) => Err(unknown(code.to_string())),
            Some(Err((_, code))) => {
                Err(Unmade::Refused(format!("it is missing, and can't be made: {code}")))
            }
        }
    }

    /// Asks for a topic that was just made until the broker that answers knows it.
    fn wait_for(&self, topic: &str) -> Result<u32, Fault> {
        for _ in 0..ASK_MAX {
            if let Some(partitions) = self.ask(topic)? {
                return Ok(partitions);
            }
            // Kafka tells nobody when its brokers have heard of a topic.
            std::thread::park_timeout(ASK_EVERY);
        }
        Err(Fault::Kafka(format!("{topic} was made, and no broker knows it yet")))
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Result<u32, String>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
