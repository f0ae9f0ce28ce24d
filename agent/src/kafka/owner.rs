//! What the owner of a shard does in Kafka, step by step. All of it blocks.
//!
//! 1. `init_transactions`: fences the last owner, and ends what it left open.
//! 2. A transaction with nothing but an *opening* in the shard's partition of the frontier topic.
//! 3. Only now that partition is read, from its start to that opening. No earlier owner can write
//!    behind it. Neither the last record nor the end of the partition would tell as much: markers
//!    take offsets, too.
//! 4. Transactions: records and frontier together, begun when all is there, so that readers wait
//!    for no longer than they must.
//!
//! After any fault the owner is thrown away, and the next one begins with 1: what became of the
//! last transaction is then told by 3. Nothing is ever sent again blindly.

use std::sync::Arc;
use std::time::Duration;

use landfall_core::batch::{Batch, batches};
use landfall_core::name::StreamId;
use landfall_core::num::Epoch;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};

use super::birth::path_text;
use super::context::{Context, Undelivered};
use super::fault::Fault;
use super::frontier_record::FrontierRecord;
use super::outgoing::outgoing;
use super::restored::Restored;
use super::route;
use super::settings::Settings;
use super::topics::Topics;
use crate::node::checksum;

/// How long Kafka may take to end what the last owner left open.
const FENCE_MAX: Duration = Duration::from_secs(60);
/// How long reading the frontier may bring nothing.
const READ_MAX: Duration = Duration::from_secs(30);
/// How long the queue to Kafka may stay full until the wait is looked at again.
const QUEUE_WAIT: Duration = Duration::from_millis(100);

/// What goes into one transaction.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Entries whose records of this shard are to be written.
    pub(super) entries: Vec<Carried>,
    /// Frontier records, keys and values.
    pub(super) frontier: Vec<(Vec<u8>, Vec<u8>)>,
}

/// An entry as it travels.
#[derive(Clone, Debug)]
pub(super) struct Carried {
    pub(super) path: Arc<[u8]>,
    pub(super) body: Arc<[u8]>,
}

/// The owner of a shard.
pub(super) struct Owner {
    settings: Arc<Settings>,
    topics: Arc<Topics>,
    shard: u32,
    producer: BaseProducer<Context>,
}

impl Owner {
    /// Takes a shard over, and reads how far it is.
    pub(super) fn open(
        settings: Arc<Settings>,
        topics: Arc<Topics>,
        shard: u32,
        epoch: Epoch,
    ) -> Result<(Self, Restored), Fault> {
        let producer = settings.producer(shard);
        let producer = BaseProducer::from_config_and_context(&producer, Context::default());
        let producer = producer
            .map_err(|error| Fault::Kafka(format!("librdkafka does not start: {error}")))?;
        let owner = Self { settings, topics, shard, producer };
        let fenced = owner.producer.init_transactions(FENCE_MAX);
        fenced.map_err(|error| owner.fault("taking over a shard", &error))?;
        let site = owner.settings.site.clone();
        let opening = FrontierRecord::Opening { epoch, site: &site }.encode();
        owner.commit(&Work { entries: Vec::new(), frontier: vec![opening] })?;
        let restored = owner.read(epoch)?;
        Ok((owner, restored))
    }

    /// Commits records and frontier together.
    pub(super) fn commit(&self, work: &Work) -> Result<(), Fault> {
        let begun = self.producer.begin_transaction();
        begun.map_err(|error| self.fault("beginning a transaction", &error))?;
        for entry in &work.entries {
            let path = path_text(&entry.path);
            for batch in batches(&entry.body, checksum()) {
                let batch = batch.map_err(|_| Fault::Broken("a batch can't be read"))?;
                if route::shard(batch.head.stream.origin, self.settings.shards) == self.shard {
                    self.send_batch(&batch, &path)?;
                }
            }
        }
        let partition = self.shard as i32;
        for (key, value) in &work.frontier {
            let record = BaseRecord::to(&self.settings.frontier_topic).partition(partition);
            self.send(record.key(key.as_slice()).payload(value.as_slice()))?;
        }
        // Any other timeout could leave it open whether it is committed.
        let committed = self.producer.commit_transaction(Timeout::Never);
        committed.map_err(|error| self.fault("committing", &error))
    }

    /// Looks after the connections while there is nothing to do.
    pub(super) fn tend(&self) -> Result<(), Fault> {
        self.producer.poll(Duration::ZERO);
        match self.producer.client().fatal_error() {
            None => Ok(()),
            Some((code, _)) => Err(self.fault("waiting", &KafkaError::Global(code))),
        }
    }

    fn send_batch(&self, batch: &Batch<'_>, path: &str) -> Result<(), Fault> {
        let StreamId { origin, topic, .. } = batch.head.stream;
        let name = self.settings.route.topic(batch.head.stream);
        let partitions = self.topics.partitions(&name);
        // It was there when the batch was accepted.
        let partitions = partitions.map_err(|why| {
            let refused = Fault::Refused { topic: name.clone(), why };
            self.topics.take_fault().unwrap_or(refused)
        })?;
        for record in outgoing(batch, path, partitions) {
            let Ok(record) = record else {
                tracing::error!(origin, topic, "a record that was verified can't be read");
                return Err(Fault::Broken("a record can't be read"));
            };
            let (key, value) = (record.key, record.value);
            let told = BaseRecord {
                topic: &name,
                partition: Some(record.partition as i32),
                payload: value,
                key,
                timestamp: Some(record.timestamp),
                headers: Some(record.headers),
                delivery_opaque: (),
            };
            self.send(told)?;
        }
        Ok(())
    }

    /// Hands a record to librdkafka, and waits while its queue is full.
    fn send(&self, record: BaseRecord<'_, [u8], [u8]>) -> Result<(), Fault> {
        let mut record = record;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((error, back)) => {
                    let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                    if !full {
                        return Err(self.fault("sending", &error));
                    }
                    self.producer.poll(QUEUE_WAIT);
                    record = back;
                }
            }
        }
    }

    /// Reads the shard's partition of the frontier topic up to its own opening.
    fn read(&self, epoch: Epoch) -> Result<Restored, Fault> {
        let settings = &self.settings;
        let consumer: BaseConsumer<Context> =
            BaseConsumer::from_config_and_context(&settings.consumer(), Context::default())
                .map_err(|error| Fault::Kafka(format!("librdkafka does not start: {error}")))?;
        let mut place = TopicPartitionList::new();
        let placed = place.add_partition_offset(
            &settings.frontier_topic,
            self.shard as i32,
            Offset::Beginning,
        );
        placed
            .and_then(|()| consumer.assign(&place))
            .map_err(|error| self.fault("reading the frontier", &error))?;
        let mut restored = Restored::default();
        loop {
            let Some(message) = consumer.poll(READ_MAX) else {
                let seconds = READ_MAX.as_secs();
                let text = format!("reading the frontier brought nothing for {seconds} s");
                return Err(Fault::Kafka(text));
            };
            let message = message.map_err(|error| self.fault("reading the frontier", &error))?;
            let key = message.key().unwrap_or_default();
            let Some(value) = message.payload() else { continue };
            if restored.apply(key, value)? == Some(epoch) {
                return Ok(restored);
            }
        }
    }

    /// What went wrong: the record that Kafka refused, if there is one, tells more than the call.
    fn fault(&self, doing: &str, error: &KafkaError) -> Fault {
        // Its report may still be on its way to us.
        self.producer.poll(Duration::ZERO);
        if let Some(undelivered) = self.producer.context().take_undelivered()
            && undelivered.is_refused()
        {
            let Undelivered { topic, code } = undelivered;
            if topic == self.settings.frontier_topic {
                return Fault::Frontier(format!("Kafka does not take its records: {code}"));
            }
            return Fault::Refused { topic, why: code.to_string() };
        }
        match (Fault::of(self.shard, doing, error), self.producer.context().trouble()) {
            (Fault::Kafka(text), Some(trouble)) => Fault::Kafka(format!("{text}; {trouble}")),
            (fault, _) => fault,
        }
    }
}
