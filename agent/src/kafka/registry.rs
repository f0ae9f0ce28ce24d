//! The registry that the hubs of a group share: a compacted topic of one partition, which each of
//! them follows from its start, and which one at a time writes.
//!
//! Whoever wants to write takes the right to by the transactional id of the registry, which fences
//! the one before; reads on to its own *opening*; and writes what was decided by all that is there,
//! in a transaction. If somebody else has written in the meantime, what was decided is void and is
//! decided again: a token for one site lets one site in, whichever hubs are asked at once.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};

use super::context::Context;
use super::fault::Fault;
use super::settings::Settings;
use super::topics::Topics;
use crate::identity::{hubs, owners, registry, token_record};
use crate::node::InternalRecord;
use crate::{clock, entropy};

/// How long Kafka may take to let a hub write, or to take what it writes.
const WRITE_MAX: Duration = Duration::from_secs(15);
/// How long reading on to what was just written may take.
const READ_MAX: Duration = Duration::from_secs(15);
/// How long the topic is looked at before it is seen whether somebody wants to write.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long to wait after a fault.
const PAUSE: Duration = Duration::from_secs(2);
/// Records that are told of at once.
const TOLD_MAX: usize = 512;
/// Proposals that wait; the node has one for each command or site that waits for an answer.
const PROPOSALS_MAX: usize = 256;
/// Times that the right to write is taken if other hubs take it at the same time, and up to how
/// long in milliseconds is waited in between: each draws another time, so that one gets through.
const TRIES: u32 = 12;
const STEP_BACK_MS: u64 = 250;

/// The key of openings.
const OPENING: &[u8] = b"_opening";

/// What a hub wants to write, by all that it has been told of.
#[derive(Debug)]
pub struct Proposal {
    /// What it is called in [`Told::Settled`].
    pub number: u64,
    /// Up to where it has been told what is there.
    pub place: u64,
    /// What is to be written, all or nothing.
    pub records: Vec<InternalRecord>,
}

/// What is told of the registry.
#[derive(Debug)]
pub enum Told {
    /// These records follow.
    Read {
        /// In the order of the topic.
        records: Vec<InternalRecord>,
        /// Where the last of them ends.
        place: u64,
    },
    /// All has been told that was there when the hub began to follow.
    Whole,
    /// A proposal came to its end.
    Settled {
        /// Its number.
        number: u64,
        /// What became of it.
        outcome: Outcome,
    },
}

/// What became of a proposal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It is there, and its records were told of.
    Written,
    /// Something else is there by now, and was told of; nothing was written.
    Stale,
    /// Kafka did not take it, or it is not known whether it did.
    Failed(String),
}

type Tell = Box<dyn Fn(Told) -> bool + Send>;

/// Follows the registry on a thread of its own, until the end of proposals or of who is told.
///
/// # Errors
/// The thread can't be started.
pub fn follow(
    settings: Settings,
    tell: impl Fn(Told) -> bool + Send + 'static,
) -> std::io::Result<SyncSender<Proposal>> {
    let (proposals, taken) = sync_channel(PROPOSALS_MAX);
    let tell: Tell = Box::new(tell);
    let following = Following { settings: Arc::new(settings), taken, tell };
    std::thread::Builder::new().name("kafka-registry".into()).spawn(move || following.run())?;
    Ok(proposals)
}

struct Following {
    settings: Arc<Settings>,
    taken: Receiver<Proposal>,
    tell: Tell,
}

/// Why it is not followed any more.
enum End {
    /// The node has ended.
    Over,
    Fault(Fault),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Following {
    fn run(&self) {
        loop {
            let End::Fault(fault) = self.serve() else { return };
            let why = fault.to_string();
            tracing::warn!("the registry in Kafka can't be followed: {why}");
            if !self.refuse_for_a_while(&why) {
                return;
            }
        }
    }

    /// Refuses what is proposed while nothing can be written. Whether the node goes on.
    fn refuse_for_a_while(&self, why: &str) -> bool {
        let now = || Duration::from_millis(clock::monotonic().ms());
        let until = now() + PAUSE;
        loop {
            let wait = until.saturating_sub(now());
            match self.taken.recv_timeout(wait) {
                Ok(proposal) => {
                    let outcome = Outcome::Failed(why.to_owned());
                    if !(self.tell)(Told::Settled { number: proposal.number, outcome }) {
                        return false;
                    }
                }
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    fn serve(&self) -> End {
        match self.begin() {
            Ok(mut registry) => loop {
                if let Err(end) = self.turn(&mut registry) {
                    return end;
                }
            },
            Err(end) => end,
        }
    }

    /// Tells all that is there.
    fn begin(&self) -> Result<Registry, End> {
        let topics = Topics::new(self.settings.clone())?;
        topics.open_registry()?;
        let mut registry = Registry::new(self.settings.clone())?;
        registry.own(&self.tell)?;
        if (self.tell)(Told::Whole) { Ok(registry) } else { Err(End::Over) }
    }

    /// Tells what came, and deals with the next proposal.
    fn turn(&self, registry: &mut Registry) -> Result<(), End> {
        registry.read(&self.tell, LOOK_EVERY)?;
        match self.taken.try_recv() {
            Ok(proposal) => {
                let number = proposal.number;
                let settled = registry.settle(&proposal, &self.tell);
                let (outcome, end) = match settled {
                    Ok(outcome) => (outcome, Ok(())),
                    Err(End::Fault(fault)) => {
                        (Outcome::Failed(fault.to_string()), Err(End::Fault(fault)))
                    }
                    Err(End::Over) => return Err(End::Over),
                };
                let heard = (self.tell)(Told::Settled { number, outcome });
                if heard { end } else { Err(End::Over) }
            }
            Err(TryRecvError::Empty) => Ok(()),
            Err(TryRecvError::Disconnected) => Err(End::Over),
        }
    }
}

/// The topic, as far as it was read.
struct Registry {
    settings: Arc<Settings>,
    consumer: BaseConsumer<Context>,
    /// Whoever has it may write, unless another hub has it by now.
    producer: Option<BaseProducer<Context>>,
    /// Behind the last record that was read.
    place: u64,
}

/// What a record of the topic is.
enum Item {
    Opening(Vec<u8>),
    Record(InternalRecord),
    /// Of a later version.
    Unknown,
}

impl Registry {
    fn new(settings: Arc<Settings>) -> Result<Self, Fault> {
        let consumer: BaseConsumer<Context> =
            BaseConsumer::from_config_and_context(&settings.consumer()?, Context::default())
                .map_err(|error| Fault::Kafka(format!("librdkafka does not start: {error}")))?;
        let mut place = TopicPartitionList::new();
        place
            .add_partition_offset(&settings.registry_topic, 0, Offset::Beginning)
            .and_then(|()| consumer.assign(&place))
            .map_err(|error| fault("reading the registry in Kafka", &error))?;
        Ok(Self { settings, consumer, producer: None, place: 0 })
    }

    /// Takes the right to write, though other hubs may take it at the same time, and tells all that
    /// is there.
    fn own(&mut self, tell: &Tell) -> Result<(), End> {
        for _ in 0..TRIES {
            if self.try_to_own(tell)? {
                return Ok(());
            }
            let drawn = entropy::number().map_err(|error| Fault::Kafka(error.to_string()))?;
            // Kafka tells nobody when another hub has had its turn.
            std::thread::park_timeout(Duration::from_millis(drawn % STEP_BACK_MS));
        }
        Err(Fault::Kafka("other hubs write the registry all the time".into()).into())
    }

    /// Whether nobody else took the right to write meanwhile. If Kafka is going away, the next try
    /// tells.
    fn try_to_own(&mut self, tell: &Tell) -> Result<bool, End> {
        self.producer = None;
        let config = self.settings.registry_producer().map_err(Fault::from)?;
        let producer: BaseProducer<Context> =
            BaseProducer::from_config_and_context(&config, Context::default())
                .map_err(|error| Fault::Kafka(format!("librdkafka does not start: {error}")))?;
        match producer.init_transactions(WRITE_MAX) {
            Ok(()) => {}
            Err(error) => match fault("taking over the registry in Kafka", &error) {
                Fault::Fenced(_) => return Ok(false),
                fault => return Err(fault.into()),
            },
        }
        let drawn = entropy::number().map_err(|error| Fault::Kafka(error.to_string()))?;
        let opening = drawn.to_le_bytes();
        if let Err(error) = self.transact(&producer, &[(OPENING, Some(&opening))]) {
            tracing::debug!(%error, "the registry was not opened");
            return Ok(false);
        }
        self.producer = Some(producer);
        self.read_to(tell, &|item| matches!(item, Item::Opening(read) if read[..] == opening))?;
        Ok(true)
    }

    /// Writes what is proposed, if it was decided by all that is there. What became of a try that
    /// failed is told by what is there afterwards.
    fn settle(&mut self, proposal: &Proposal, tell: &Tell) -> Result<Outcome, End> {
        for _ in 0..TRIES {
            if self.producer.is_none() {
                self.own(tell)?;
            }
            if self.place != proposal.place {
                return Ok(Outcome::Stale);
            }
            if let Err(fault) = self.write(&proposal.records) {
                tracing::debug!(%fault, "the registry was not written");
                self.producer = None;
                continue;
            }
            let Some(last) = proposal.records.last() else { return Ok(Outcome::Written) };
            self.read_to(tell, &|item| matches!(item, Item::Record(read) if read == last))?;
            return Ok(Outcome::Written);
        }
        Ok(Outcome::Stale)
    }

    fn write(&self, records: &[InternalRecord]) -> Result<(), Fault> {
        let Some(producer) = &self.producer else {
            return Err(Fault::Broken("the registry is written by who does not own it"));
        };
        let keys: Vec<_> = records
            .iter()
            .map(|record| [record.topic.as_bytes(), b"/", &record.key].concat())
            .collect();
        let written: Vec<_> = keys
            .iter()
            .zip(records)
            .map(|(key, record)| (&key[..], record.value.as_deref()))
            .collect();
        self.transact(producer, &written)
            .map_err(|error| Fault::of(REGISTRY, "writing to the registry in Kafka", &error))
    }

    fn transact(
        &self,
        producer: &BaseProducer<Context>,
        records: &[(&[u8], Option<&[u8]>)],
    ) -> Result<(), KafkaError> {
        producer.begin_transaction()?;
        for (key, value) in records {
            let record: BaseRecord<'_, [u8], [u8], usize> =
                BaseRecord::with_opaque_to(&self.settings.registry_topic, 0);
            let record = record.partition(0).key(*key);
            let record = match value {
                Some(value) => record.payload(*value),
                None => record,
            };
            producer.send(record).map_err(|(error, _)| error)?;
        }
        producer.commit_transaction(WRITE_MAX)
    }

    /// Tells what came since, as far as it is there.
    fn read(&mut self, tell: &Tell, patience: Duration) -> Result<(), End> {
        let mut records = Vec::new();
        let mut patience = patience;
        while let Some(item) = self.next(patience)? {
            patience = Duration::ZERO;
            if let Item::Record(record) = item {
                records.push(record);
            }
            if records.len() >= TOLD_MAX {
                break;
            }
        }
        self.tell(records, tell)
    }

    /// Tells what comes up to an item, which must come.
    fn read_to(&mut self, tell: &Tell, is_last: &dyn Fn(&Item) -> bool) -> Result<(), End> {
        let mut records = Vec::new();
        loop {
            let Some(item) = self.next(READ_MAX)? else {
                let seconds = READ_MAX.as_secs();
                let text = format!("reading the registry brought nothing for {seconds} s");
                return Err(Fault::Kafka(text).into());
            };
            let last = is_last(&item);
            if let Item::Record(record) = item {
                records.push(record);
            }
            if last || records.len() >= TOLD_MAX {
                self.tell(std::mem::take(&mut records), tell)?;
            }
            if last {
                return Ok(());
            }
        }
    }

    fn tell(&self, records: Vec<InternalRecord>, tell: &Tell) -> Result<(), End> {
        if records.is_empty() || tell(Told::Read { records, place: self.place }) {
            Ok(())
        } else {
            Err(End::Over)
        }
    }

    fn next(&mut self, patience: Duration) -> Result<Option<Item>, Fault> {
        let Some(message) = self.consumer.poll(patience) else { return Ok(None) };
        let message = message.map_err(|error| fault("reading the registry in Kafka", &error))?;
        let item = item(message.key().unwrap_or_default(), message.payload());
        if !matches!(item, Item::Opening(_)) {
            self.place = u64::try_from(message.offset()).unwrap_or_default() + 1;
        }
        Ok(Some(item))
    }
}

fn item(key: &[u8], value: Option<&[u8]>) -> Item {
    if key == OPENING {
        return Item::Opening(value.unwrap_or_default().to_vec());
    }
    let mut parts = key.splitn(2, |byte| *byte == b'/');
    let (topic, key) = (parts.next().unwrap_or_default(), parts.next());
    let topics = [registry::TOPIC, token_record::TOPIC, hubs::TOPIC, owners::TOPIC];
    let topic = topics.into_iter().find(|known| known.as_bytes() == topic);
    match topic.zip(key) {
        Some((topic, key)) => {
            let value = value.map(<[u8]>::to_vec);
            Item::Record(InternalRecord { topic, key: key.to_vec(), value })
        }
        None => Item::Unknown,
    }
}

/// What a fault of the registry names where those of shards name the shard.
const REGISTRY: u32 = u32::MAX;

fn fault(doing: &str, error: &KafkaError) -> Fault {
    Fault::of(REGISTRY, doing, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_of_one_of_the_nodes_own_topics_or_of_a_later_version() {
        let is = |key: &[u8]| match item(key, Some(b"v")) {
            Item::Record(InternalRecord { topic, key, .. }) => {
                Some((topic, String::from_utf8(key).unwrap()))
            }
            Item::Opening(_) | Item::Unknown => None,
        };
        assert_eq!(is(b"_sites/ship-1"), Some(("_sites", "ship-1".into())));
        assert_eq!(is(b"_tokens/a/b"), Some(("_tokens", "a/b".into())));
        assert_eq!(is(b"_later/a"), None);
        assert_eq!(is(b"_sites"), None);
        assert_eq!(is(OPENING), None);
    }
}
