//! Which Kafka topics are there, with how many partitions, and which can't be written.
//!
//! A topic that can't be written is refused by itself: its streams wait at the nodes below, and all
//! others go on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, Producer as _};

use super::context::Context;
use super::fault::{Fault, text};
use super::settings::{Create, Settings};
use crate::clock;

/// How long Kafka may take to say something of a topic, or to make one.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The same in parts, between which it is seen whether Kafka lets the hub in at all.
const ANSWER_PARTS: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(6)];
/// How long reports of what went wrong may be on their way within this process.
const REPORT_MAX: Duration = Duration::from_millis(50);
/// How long a topic that refused a record is left alone at first, and at most. To try it costs all
/// others a pause.
const WAIT_FIRST: Duration = Duration::from_secs(10);
const WAIT_MAX: Duration = Duration::from_secs(600);
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

fn client(settings: &Settings) -> Result<Arc<BaseProducer<Context>>, Fault> {
    let client = BaseProducer::from_config_and_context(&settings.client()?, Context::default());
    client.map(Arc::new).map_err(|error| does_not_start(&error))
}

fn does_not_start(error: &KafkaError) -> Fault {
    Fault::Kafka(format!("librdkafka does not start: {error}"))
}

fn now() -> Duration {
    Duration::from_millis(clock::monotonic().ms())
}

/// The topics of the cluster, as far as they were needed.
pub(super) struct Topics {
    settings: Arc<Settings>,
    /// Sends nothing: it asks. A producer tells what went wrong with its connections, which a
    /// client for administration keeps to itself.
    client: Mutex<Arc<BaseProducer<Context>>>,
    known: Mutex<BTreeMap<String, Result<u32, String>>>,
    /// Those that refused a record.
    written: Mutex<BTreeMap<String, Rest>>,
    fault: Mutex<Option<Fault>>,
}

/// How long a topic that refused a record is left alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Rest {
    wait: Duration,
    /// On the monotonic clock.
    until: Duration,
}

impl Rest {
    /// From now on, if its last rest was that: longer, if it was tried again in vain.
    fn after(last: Option<Self>, now: Duration) -> Self {
        let again = last.filter(|last| now < last.until + WAIT_MAX);
        let wait = again.map_or(WAIT_FIRST, |last| (last.wait * 2).min(WAIT_MAX));
        Self { wait, until: now + wait }
    }
}

impl Topics {
    pub(super) fn new(settings: Arc<Settings>) -> Result<Self, Fault> {
        let client = Mutex::new(client(&settings)?);
        let (known, written, fault) = (Mutex::default(), Mutex::default(), Mutex::default());
        Ok(Self { settings, client, known, written, fault })
    }

    /// Asks Kafka as a new client from now on, which reads the password again.
    pub(super) fn renew(&self) -> Result<(), Fault> {
        let fresh = client(&self.settings)?;
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    fn client(&self) -> Arc<BaseProducer<Context>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        let rest = Rest::after(written.get(topic).copied(), now());
        tracing::warn!(
            topic,
            why,
            seconds = rest.wait.as_secs(),
            "Kafka refuses a topic's records"
        );
        written.insert(topic.to_owned(), rest);
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

    /// Looks up again topics that are not taken; of those that refused a record, whose rest is
    /// over.
    pub(super) fn forget_refused(&self) {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now();
        let rests = |topic: &str| written.get(topic).is_some_and(|rest| now < rest.until);
        self.known().retain(|topic, known| known.is_ok() || rests(topic));
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
        match self.ask(topic) {
            Ok(Some(partitions)) => return Ok(partitions),
            Ok(None) => {}
            Err(Fault::Refused { .. }) => {
                return Err(Fault::Denied(format!(
                    "Kafka does not tell this hub of {topic}; it needs the rights Read, Write and \
                     Describe on it, and Create if it shall make it"
                )));
            }
            Err(fault) => return Err(fault),
        }
        let create = self.settings.create.ok_or_else(|| {
            Fault::Denied(format!(
                "{topic} is missing, and `kafka.create_topics` is false; make it with \
                 cleanup.policy=compact and this number of partitions: {partitions}"
            ))
        })?;
        let create = Create { partitions, ..create };
        let made = self.make(topic, create, &[("cleanup.policy", "compact")]);
        made.map_err(|unmade| match unmade {
            Unmade::Refused(why) => Fault::Denied(format!(
                "{topic}: {why}; give this hub the right Create on it, or make it with \
                 cleanup.policy=compact and this number of partitions: {partitions}"
            )),
            Unmade::Unknown(why) => Fault::Kafka(why),
        })?;
        self.wait_for(topic)
    }

    /// All topics of the cluster that this hub is shown, each with its number of partitions.
    pub(super) fn all(&self) -> Result<Vec<(String, u32)>, Fault> {
        let answer = self.client().client().fetch_metadata(None, ANSWER_MAX).map_err(|error| {
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
        match self.ask(topic) {
            Ok(Some(partitions)) => return Ok(partitions),
            Ok(None) => {}
            // All others go on.
            Err(Fault::Refused { why, .. }) => return Err(why),
            Err(fault) => return Err(note(fault)),
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
        let answer = self.metadata(topic)?;
        let Some(told) = answer.topics().iter().find(|told| told.name() == topic) else {
            return Ok(None);
        };
        match told.error().map(RDKafkaErrorCode::from) {
            None => Ok(u32::try_from(told.partitions().len()).ok().filter(|count| *count > 0)),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                Ok(None)
            }
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => Err(Fault::Refused {
                topic: topic.to_owned(),
                why: "this hub has no right to it in Kafka; it needs Write and Describe".into(),
            }),
            Some(code) => Err(Fault::Kafka(format!("Kafka does not tell of {topic}: {code}"))),
        }
    }

    /// What Kafka says of a topic. If it does not let the hub in, that is told without waiting for
    /// an answer that can't come.
    fn metadata(&self, topic: &str) -> Result<Metadata, Fault> {
        let client = self.client();
        let mut told = Fault::Broken("Kafka was not asked");
        for part in ANSWER_PARTS {
            let error = match client.client().fetch_metadata(Some(topic), part) {
                Ok(answer) => {
                    client.context().forget_trouble();
                    return Ok(answer);
                }
                Err(error) => text(&error),
            };
            let fault =
                Fault::Kafka(format!("Kafka does not say whether {topic} is there: {error}"));
            client.poll(REPORT_MAX);
            told = fault.amid(client.context().trouble());
            if let Fault::Denied(_) = told {
                break;
            }
        }
        Err(told)
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
        let config = self.settings.client().map_err(|error| Unmade::Unknown(error.to_string()))?;
        let admin = AdminClient::from_config_and_context(&config, Context::default());
        let admin = admin.map_err(|error| Unmade::Unknown(does_not_start(&error).to_string()))?;
        let making = admin.create_topics(&topics, &options);
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

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_topic_that_refuses_again_and_again_is_left_alone_for_longer_until_it_takes_records() {
        let mut rest = Rest::after(None, seconds(100));
        assert_eq!(rest, Rest { wait: seconds(10), until: seconds(110) });
        rest = Rest::after(Some(rest), seconds(115));
        assert_eq!(rest, Rest { wait: seconds(20), until: seconds(135) });
        for _ in 0..9 {
            rest = Rest::after(Some(rest), rest.until);
        }
        assert_eq!(rest.wait, WAIT_MAX);
        let later = rest.until + WAIT_MAX;
        assert_eq!(Rest::after(Some(rest), later).wait, WAIT_FIRST);
    }
}
