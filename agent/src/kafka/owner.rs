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

use std::cell::Cell;
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
use super::context::{Context, Undelivered, is_of_record};
use super::fault::Fault;
use super::frontier_record::FrontierRecord;
use super::letter::letters;
use super::murmur;
use super::outgoing::outgoing;
use super::refusals::{Aside, Finder, Refusals, Sending};
use super::restored::{OfGroup, Restored};
use super::route;
use super::settings::Settings;
use super::topics::Topics;
use crate::node::checksum;

/// How long Kafka may take to end what the last owner left open.
const FENCE_MAX: Duration = Duration::from_secs(60);
/// How long reading the frontier may bring nothing.
const READ_MAX: Duration = Duration::from_secs(30);
/// How long reports of what went wrong may be on their way within this process.
const REPORT_MAX: Duration = Duration::from_millis(50);
/// Between two looks at whether the queue to Kafka has emptied. The library's wait for its reports
/// lasts as long as it is told, whatever comes; its own before a commit would be 100 ms.
const QUEUE_WAIT: Duration = Duration::from_millis(1);

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
    refusals: Arc<Refusals>,
    shard: u32,
    sending: Sending,
    producer: BaseProducer<Context>,
    /// Records of the transaction at hand that were handed to librdkafka.
    sent: Cell<usize>,
}

impl Owner {
    /// Takes a shard over, and reads how far it is.
    pub(super) fn open(
        settings: Arc<Settings>,
        (topics, refusals): (Arc<Topics>, Arc<Refusals>),
        shard: u32,
        epoch: Epoch,
    ) -> Result<(Self, Restored), Fault> {
        let sending = refusals.sending();
        let producer = settings.producer(shard, sending)?;
        let producer = BaseProducer::from_config_and_context(&producer, Context::default());
        let producer = producer
            .map_err(|error| Fault::Kafka(format!("librdkafka does not start: {error}")))?;
        let sent = Cell::new(0);
        let owner = Self { settings, topics, refusals, shard, sending, producer, sent };
        let fenced = owner.producer.init_transactions(FENCE_MAX);
        fenced.map_err(|error| owner.fault("taking over a shard in Kafka", &error))?;
        let site = owner.settings.site.clone();
        let opening = FrontierRecord::Opening { epoch, site: &site }.encode();
        owner.commit(&Work { entries: Vec::new(), frontier: vec![opening] })?;
        let restored = owner.read(epoch)?;
        Ok((owner, restored))
    }

    /// Commits records and frontier together. Returns what of it is in dead letters.
    pub(super) fn commit(&self, work: &Work) -> Result<Vec<Aside>, Fault> {
        let written = self.transact(work).map_err(|fault| match self.refused(work) {
            Ok(None) => fault,
            Ok(Some(refused)) | Err(refused) => refused,
        })?;
        self.refusals.forget(&written);
        Ok(written)
    }

    fn transact(&self, work: &Work) -> Result<Vec<Aside>, Fault> {
        self.sent.set(0);
        let mut written = Vec::new();
        let begun = self.producer.begin_transaction();
        begun.map_err(|error| self.fault("beginning a transaction in Kafka", &error))?;
        for entry in &work.entries {
            let path = path_text(&entry.path);
            for batch in self.own_batches(entry) {
                written.extend(self.send_batch(&batch?, &path)?);
            }
        }
        for (key, value) in &work.frontier {
            self.send_frontier(key, value)?;
        }
        for aside in &written {
            let Aside { epoch, from, to, why, .. } = aside;
            let (stream, epoch, from, to) = (aside.stream(), *epoch, *from, *to);
            let (key, value) = FrontierRecord::Gap { stream, epoch, from, to, why }.encode();
            self.send_frontier(&key, &value)?;
        }
        self.empty_queue()?;
        // Any other timeout could leave it open whether it is committed.
        let committed = self.producer.commit_transaction(Timeout::Never);
        committed.map_err(|error| self.fault("committing to Kafka", &error))?;
        Ok(written)
    }

    /// Waits until Kafka has all that was handed to librdkafka, or has refused it, or its time is
    /// up.
    fn empty_queue(&self) -> Result<(), Fault> {
        loop {
            match self.producer.flush(Duration::ZERO) {
                Ok(()) => return Ok(()),
                Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)) => {
                    self.producer.poll(QUEUE_WAIT);
                }
                Err(error) => return Err(self.fault("sending to Kafka", &error)),
            }
        }
    }

    /// The batches of an entry that are of this shard.
    fn own_batches<'a>(
        &self,
        entry: &'a Carried,
    ) -> impl Iterator<Item = Result<Batch<'a>, Fault>> + use<'a> {
        let (shard, shards) = (self.shard, self.settings.shards);
        let own = move |batch: &Batch<'_>| route::shard(batch.head.stream.origin, shards) == shard;
        let read = batches(&entry.body, checksum());
        let read = read.map(|batch| batch.map_err(|_| Fault::Broken("a batch can't be read")));
        read.filter(move |batch| batch.as_ref().ok().is_none_or(own))
    }

    fn send_frontier(&self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let topic = &self.settings.frontier_topic;
        let record = BaseRecord::with_opaque_to(topic, self.sent.get());
        self.send(record.partition(self.shard as i32).key(key).payload(value))
    }

    /// Looks after the connections while there is nothing to do.
    pub(super) fn tend(&self) -> Result<(), Fault> {
        self.producer.poll(Duration::ZERO);
        match self.producer.client().fatal_error() {
            None => Ok(()),
            Some((code, _)) => Err(self.fault("waiting for Kafka", &KafkaError::Global(code))),
        }
    }

    /// Sends the records of a batch, or dead letters for those that are put aside. Returns which.
    fn send_batch(&self, batch: &Batch<'_>, path: &str) -> Result<Vec<Aside>, Fault> {
        let StreamId { origin, topic, .. } = batch.head.stream;
        let name = self.settings.route.topic(batch.head.stream);
        let partitions = self.topics.partitions(&name);
        let among = partitions.and_then(|count| self.settings.route.among(topic, count));
        // It was there when the batch was accepted.
        let among = among.map_err(|why| {
            let refused = Fault::Refused { topic: name.clone(), why };
            self.topics.take_fault().unwrap_or(refused)
        })?;
        let aside = self.refusals.of(batch);
        for (at, record) in (0..).zip(outgoing(batch, path, among)) {
            let Ok(record) = record else {
                tracing::error!(origin, topic, "a record that was verified can't be read");
                return Err(Fault::Broken("a record can't be read"));
            };
            if aside.iter().any(|aside| aside.holds(batch.head.base.plus(at))) {
                continue;
            }
            let (key, value) = (record.key, record.value);
            let told = BaseRecord {
                topic: &name,
                partition: Some(record.partition as i32),
                payload: value,
                key,
                timestamp: Some(record.timestamp),
                headers: Some(record.headers),
                delivery_opaque: self.sent.get(),
            };
            self.send(told)?;
        }
        if !aside.is_empty() {
            self.send_letters(batch, &aside, &name, path)?;
        }
        Ok(aside)
    }

    fn send_letters(
        &self,
        batch: &Batch<'_>,
        aside: &[Aside],
        topic: &str,
        path: &str,
    ) -> Result<(), Fault> {
        let own = &self.settings.dead_letter_topic;
        let missing = |why| Fault::Kafka(format!("dead letters can't be written to {own}: {why}"));
        let partitions = self.topics.partitions(own).map_err(missing)?;
        let partition = murmur::partition(batch.head.stream.origin.as_bytes(), partitions);
        for letter in letters(batch, aside, topic, path) {
            let letter = letter.map_err(|_| Fault::Broken("a record can't be read"))?;
            self.send(BaseRecord {
                topic: own,
                partition: Some(partition as i32),
                payload: letter.value,
                key: letter.key,
                timestamp: None,
                headers: Some(letter.headers),
                delivery_opaque: self.sent.get(),
            })?;
        }
        Ok(())
    }

    /// What Kafka refused of a transaction for what it is, if it did, and what is to be done.
    fn refused(&self, work: &Work) -> Result<Option<Fault>, Fault> {
        let refused = self.producer.context().take_refused();
        let Some((_, code)) = refused.first() else { return Ok(None) };
        if !self.sending.alone {
            self.refusals.look();
            return Ok(Some(Fault::Record(format!("{code}; which one it is, is looked for"))));
        }
        let mut finder = Finder::new(&self.refusals, &refused);
        for entry in &work.entries {
            let own = self.own_batches(entry).collect::<Result<Vec<_>, _>>()?;
            finder.take_entry(&own);
        }
        let found = finder.found();
        let Some(first) = found.first() else {
            let Settings { dead_letter_topic, frontier_topic, .. } = &*self.settings;
            return Err(Fault::Kafka(format!(
                "Kafka does not take what goes to {frontier_topic} or {dead_letter_topic}: {code}"
            )));
        };
        let told = first.why.clone();
        self.refusals.put_aside(found);
        Ok(Some(Fault::Record(format!("{told}; a dead letter says so"))))
    }

    /// Hands a record to librdkafka, and waits while its queue is full.
    fn send(&self, record: BaseRecord<'_, [u8], [u8], usize>) -> Result<(), Fault> {
        let mut record = record;
        loop {
            match self.producer.send(record) {
                Ok(()) => {
                    self.sent.set(self.sent.get() + 1);
                    return Ok(());
                }
                Err((error, back)) => {
                    let code = error.rdkafka_error_code();
                    if let Some(code) = code.filter(|code| is_of_record(*code)) {
                        self.producer.context().note_refused(back.delivery_opaque, code);
                    }
                    if code != Some(RDKafkaErrorCode::QueueFull) {
                        return Err(self.fault("sending to Kafka", &error));
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
            BaseConsumer::from_config_and_context(&settings.consumer()?, Context::default())
                .map_err(|error| Fault::Kafka(format!("librdkafka does not start: {error}")))?;
        let mut place = TopicPartitionList::new();
        let placed = place.add_partition_offset(
            &settings.frontier_topic,
            self.shard as i32,
            Offset::Beginning,
        );
        placed
            .and_then(|()| consumer.assign(&place))
            .map_err(|error| self.fault("reading the frontier in Kafka", &error))?;
        let mut restored = Restored::default();
        loop {
            let Some(message) = consumer.poll(READ_MAX) else {
                let seconds = READ_MAX.as_secs();
                let text = format!("reading the frontier brought nothing for {seconds} s");
                return Err(Fault::Kafka(text));
            };
            let message =
                message.map_err(|error| self.fault("reading the frontier in Kafka", &error))?;
            let key = message.key().unwrap_or_default();
            let Some(value) = message.payload() else { continue };
            if restored.apply(key, value)? == Some(epoch) {
                restored.opened_at = u64::try_from(message.offset()).unwrap_or_default();
                return Ok(restored);
            }
        }
    }

    /// What went wrong: the record that Kafka refused, if there is one, tells more than the call.
    fn fault(&self, doing: &str, error: &KafkaError) -> Fault {
        // Its report may still be on its way to us.
        self.producer.poll(REPORT_MAX);
        if let Some(undelivered) = self.producer.context().take_undelivered()
            && undelivered.is_refused()
        {
            let Undelivered { topic, code } = undelivered;
            if topic == self.settings.frontier_topic {
                return frontier_refused(&topic, code);
            }
            return Fault::Refused { topic, why: code.to_string() };
        }
        Fault::of(self.shard, doing, error).amid(self.producer.context().trouble())
    }
}

fn frontier_refused(topic: &str, code: RDKafkaErrorCode) -> Fault {
    match code {
        RDKafkaErrorCode::TopicAuthorizationFailed => Fault::Denied(format!(
            "Kafka does not let this hub write {topic}; it needs the rights Read, Write and \
             Describe on it"
        )),
        _ => Fault::Frontier(format!("Kafka does not take its records: {code}")),
    }
}

/// What the first partition of the frontier topic says of the group to who does not own it.
pub(super) fn read_group(settings: &Settings) -> Result<OfGroup, Fault> {
    let fault = |error: KafkaError| Fault::of(0, "reading which log the group is", &error);
    let mut told = OfGroup::default();
    let mut config = settings.consumer()?;
    config.set("enable.partition.eof", "true");
    let consumer: BaseConsumer<Context> =
        BaseConsumer::from_config_and_context(&config, Context::default()).map_err(fault)?;
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(&settings.frontier_topic, 0, Offset::Beginning).map_err(fault)?;
    consumer.assign(&place).map_err(fault)?;
    loop {
        match consumer.poll(READ_MAX) {
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(told),
            Some(Err(error)) => return Err(fault(error)),
            Some(Ok(message)) => {
                let key = message.key().unwrap_or_default();
                let Some(value) = message.payload() else { continue };
                if let Ok(record) = FrontierRecord::decode(key, value) {
                    told.apply(&record);
                }
            }
            None => {
                let text = "the first partition of the frontier topic could not be read";
                return Err(Fault::Kafka(text.into()));
            }
        }
    }
}
