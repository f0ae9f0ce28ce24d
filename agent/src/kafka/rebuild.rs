//! Rebuilds a frontier topic that was lost from the births that Kafka's records tell.
//!
//! 1. All shards are taken over, which fences whoever still owns one, and ends what it left open.
//!    Where the frontier topic says which log it is, it is not lost, and nothing is done.
//! 2. All topics are read, each up to an end at which no transaction is open any more.
//! 3. The frontier is written, shard by shard; which log it is comes last. Whoever stops before has
//!    rebuilt nothing that a hub would go on from, and may begin again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use landfall_core::name::StreamId;
use landfall_core::num::{Epoch, LogId, Offset, Partition};
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset as Place, TopicPartitionList};
use serde::Serialize;

use super::birth::{self, Birth, NoBirth};
use super::births::{Births, RebuiltStream};
use super::bridge::LOG_FILE;
use super::context::Context;
use super::fault::{Fault, text};
use super::frontier_record::FrontierRecord;
use super::known::Known;
use super::owner::Work;
use super::refusals::Refusals;
use super::restored::Restored;
use super::route;
use super::serving::STREAMS_MAX;
use super::settings::Settings;
use super::shard::Shard;
use super::topics::Topics;
use crate::entropy;

/// How long a broker may take to say something.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// How often it is asked whether transactions of others have ended, and how far apart.
const ASK_MAX: u32 = 60;
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Frontier records of one transaction.
const WORK_MAX: usize = 5_000;

/// What was rebuilt, and what of it can't be known.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Rebuild {
    /// The log that the group is, hexadecimal.
    pub log: String,
    /// Topics that were read.
    pub topics: u64,
    /// Records with births that were read.
    pub records: u64,
    /// Records with births in topics that they were not written to: somebody copied them.
    pub copies: u64,
    /// Records that no hub wrote.
    pub foreign: u64,
    /// The streams.
    pub streams: Vec<RebuiltStream>,
}

/// Why nothing was rebuilt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NotRebuilt(String);

impl From<Fault> for NotRebuilt {
    fn from(fault: Fault) -> Self {
        Self(fault.to_string())
    }
}

impl std::fmt::Display for NotRebuilt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotRebuilt {}

/// Rebuilds the frontier topic of the group of the hub in `data`, whose lock is held, from these
/// topics and the dead letters, or from all if it is none. It blocks.
///
/// # Errors
/// The frontier topic is not lost, or Kafka can't be reached or read.
pub fn rebuild(settings: Settings, data: &Path, wanted: &[String]) -> Result<Rebuild, NotRebuilt> {
    let settings = Arc::new(settings);
    let topics = Arc::new(Topics::new(settings.clone())?);
    let refusals = Arc::new(Refusals::new());
    topics.open_frontier()?;
    let epoch = Epoch::new(random()?);
    let take_over = |number| Shard::take_over(&settings, (&topics, &refusals), number, epoch);
    let shards = (0..settings.shards).map(take_over).collect::<Result<Vec<_>, _>>()?;
    let mut restored = Restored::default();
    for shard in &shards {
        restored.add(shard.opened(|| Ok(()))?);
    }
    if let Some((log, _)) = restored.group.log {
        return Err(NotRebuilt(format!(
            "{} is there and says that it is of log {:016x}, so it is not lost; nothing was done",
            settings.frontier_topic,
            log.get()
        )));
    }
    let mut scan = Scan::new(settings.clone())?;
    scan.all(&topics.all()?, wanted)?;
    scan.holds(&restored)?;
    let file = data.join(LOG_FILE);
    let known = Known::read(&file).ok().flatten().map(|known| known.log);
    let log = known.map_or_else(|| random().map(LogId::new), Ok)?;
    write(&shards, &scan.births, log, settings.shards)?;
    Known { log, shards: BTreeSet::new() }.write(&file).map_err(|error| {
        NotRebuilt(format!("rebuilt, but cannot write {}: {error}", file.display()))
    })?;
    let log = format!("{:016x}", log.get());
    let Scan { births, topics, records, copies, foreign, .. } = scan;
    let topics = topics as u64;
    Ok(Rebuild { log, topics, records, copies, foreign, streams: births.told() })
}

pub(super) fn random() -> Result<u64, Fault> {
    entropy::number().map_err(|error| Fault::Kafka(error.to_string()))
}

/// Writes what was rebuilt, and last of all which log it is.
fn write(shards: &[Shard], births: &Births, log: LogId, count: u32) -> Result<(), Fault> {
    let commit = |number: u32, frontier| {
        let shard = shards.get(number as usize).ok_or(Fault::Broken("a shard is not there"))?;
        shard.begin(Work { entries: Vec::new(), frontier })?;
        shard.committed().map(|_| ())
    };
    let mut works: BTreeMap<u32, Vec<_>> = BTreeMap::new();
    for (origin, record) in births.records() {
        let number = route::shard(origin, count);
        let work = works.entry(number).or_default();
        work.push(record);
        if work.len() >= WORK_MAX {
            commit(number, std::mem::take(work))?;
        }
    }
    for (number, work) in works.into_iter().filter(|(_, work)| !work.is_empty()) {
        commit(number, work)?;
    }
    commit(0, vec![FrontierRecord::Group { log, shards: count }.encode()])
}

/// Reads topics.
struct Scan {
    settings: Arc<Settings>,
    /// Is shown what is committed.
    consumer: BaseConsumer<Context>,
    /// Is told of what is not.
    uncommitted: BaseConsumer<Context>,
    births: Births,
    topics: usize,
    records: u64,
    copies: u64,
    foreign: u64,
}

impl Scan {
    fn new(settings: Arc<Settings>) -> Result<Self, Fault> {
        let client = |isolation: &str| {
            let mut config = settings.consumer()?;
            config.set("isolation.level", isolation).set("enable.partition.eof", "true");
            BaseConsumer::from_config_and_context(&config, Context::default())
                .map_err(|error| Fault::Kafka(format!("librdkafka does not start: {error}")))
        };
        let (consumer, uncommitted) = (client("read_committed")?, client("read_uncommitted")?);
        let births = Births::default();
        let (topics, records, copies, foreign) = (0, 0, 0, 0);
        Ok(Self { settings, consumer, uncommitted, births, topics, records, copies, foreign })
    }

    fn all(&mut self, topics: &[(String, u32)], wanted: &[String]) -> Result<(), Fault> {
        let there = |name: &String| topics.iter().any(|(topic, _)| topic == name);
        if let Some(missing) = wanted.iter().find(|name| !there(name)) {
            return Err(Fault::Kafka(format!("Kafka has no topic {missing}")));
        }
        let settings = self.settings.clone();
        let is_wanted = |name: &String| {
            let any = wanted.is_empty() || wanted.contains(name);
            let topics = [&settings.frontier_topic, &settings.registry_topic];
            let own = name.starts_with("__") || topics.contains(&name);
            *name == settings.dead_letter_topic || (any && !own)
        };
        for (topic, partitions) in topics.iter().filter(|(name, _)| is_wanted(name)) {
            self.topic(topic, *partitions)?;
            self.topics += 1;
        }
        Ok(())
    }

    fn topic(&mut self, topic: &str, partitions: u32) -> Result<(), Fault> {
        let fault =
            |error: KafkaError| Fault::Kafka(format!("reading {topic} failed: {}", text(&error)));
        let mut open = BTreeSet::new();
        let mut places = TopicPartitionList::new();
        for partition in 0..partitions as i32 {
            self.wait_for_others(topic, partition)?;
            places.add_partition_offset(topic, partition, Place::Beginning).map_err(fault)?;
            open.insert(partition);
        }
        self.consumer.assign(&places).map_err(fault)?;
        while !open.is_empty() {
            match self.consumer.poll(ANSWER_MAX) {
                None => {
                    let seconds = ANSWER_MAX.as_secs();
                    let text = format!("reading {topic} brought nothing for {seconds} s");
                    return Err(Fault::Kafka(text));
                }
                // Fetched when nothing of ours was open, so nothing of ours comes behind it.
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    open.remove(&partition);
                }
                Some(Err(error)) => return Err(fault(error)),
                Some(Ok(message)) => {
                    let told = told(&message, &self.settings);
                    drop(message);
                    self.take(topic, told)?;
                }
            }
        }
        self.consumer.unassign().map_err(fault)
    }

    /// Waits until no transaction is open in a partition. Ours are all ended, but records of ours
    /// behind one of somebody else's are not shown.
    fn wait_for_others(&self, topic: &str, partition: i32) -> Result<(), Fault> {
        for _ in 0..ASK_MAX {
            let end = |client: &BaseConsumer<Context>| {
                let ends = client.fetch_watermarks(topic, partition, ANSWER_MAX);
                ends.map(|(_, end)| end).map_err(|error| {
                    let text = text(&error);
                    Fault::Kafka(format!("Kafka does not say where {topic} ends: {text}"))
                })
            };
            // What is behind this end was not written by a hub that was fenced.
            let all = end(&self.uncommitted)?;
            if end(&self.consumer)? >= all {
                return Ok(());
            }
            std::thread::park_timeout(ASK_EVERY);
        }
        Err(Fault::Kafka(format!(
            "somebody else's transaction is open in partition {partition} of {topic}, behind which \
             nothing can be read; end it (kafka-transactions.sh find-hanging) and try again"
        )))
    }

    fn take(&mut self, topic: &str, told: Told) -> Result<(), Fault> {
        match told {
            Told::Foreign => self.foreign += 1,
            Told::Born(birth, refused) => {
                let stream = &birth.at.stream;
                let partition = Partition::new(stream.partition);
                let id = StreamId { origin: &stream.origin, topic: &stream.topic, partition };
                let own = match refused {
                    Some(_) => topic == self.settings.dead_letter_topic,
                    None => topic == self.settings.route.topic(id),
                };
                if own {
                    self.records += 1;
                    self.births.take(&birth, refused);
                } else {
                    self.copies += 1;
                }
            }
        }
        if self.births.streams() > STREAMS_MAX {
            return Err(Fault::Frontier("there are more streams than a hub holds".into()));
        }
        Ok(())
    }

    /// What is in the frontier topic must be of an earlier try, and so in what was rebuilt.
    fn holds(&self, restored: &Restored) -> Result<(), Fault> {
        let other = |(stream, ix, next): &(StreamId<'_>, u16, Offset)| {
            !self.births.has(*stream, *ix, *next)
        };
        match restored.branches().find(other) {
            None => Ok(()),
            Some((stream, _, next)) => Err(Fault::Frontier(format!(
                "it says that {stream} came to {next}, and the records that are there do not; \
                 delete {} if it is to be rebuilt without that",
                self.settings.frontier_topic
            ))),
        }
    }
}

/// What a record says of itself.
enum Told {
    /// Nothing that a hub writes.
    Foreign,
    /// A birth, and why it is in a dead letter if it is.
    Born(Birth, Option<String>),
}

fn told(message: &BorrowedMessage<'_>, settings: &Settings) -> Told {
    let headers = || message.headers().into_iter().flat_map(|headers| headers.iter());
    let birth = Birth::read(headers().map(|header| (header.key, header.value)));
    let birth = match birth {
        Ok(birth) => birth,
        Err(NoBirth::Foreign | NoBirth::Malformed) => return Told::Foreign,
    };
    // An application may write a header of that name.
    let dead = message.topic() == settings.dead_letter_topic;
    let why = headers().filter(|header| dead && header.key == birth::REFUSED).last();
    let why = why.map(|header| String::from_utf8_lossy(header.value.unwrap_or_default()).into());
    Told::Born(birth, why)
}
