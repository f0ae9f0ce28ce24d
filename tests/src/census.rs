//! What is in a Kafka topic, read as its users read it, and whether it is what it says it is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use landfall::coordinates::{Coordinates, StreamName};
use landfall::kafka::birth::{self, Birth};
use landfall_core::codec::Writer;
use landfall_core::hash::StreamHash;
use landfall_core::num::{Epoch, Offset, ProducerId, Timestamp};
use landfall_core::record::{Header, Headers, Producer, Record};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{Offset as Place, TopicPartitionList};

/// How long a broker may take to say something.
const PATIENCE: Duration = Duration::from_secs(30);

/// A record in Kafka.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Its partition there.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its timestamp there.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// What a reader of Kafka is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Isolation {
    /// Only what was committed.
    Committed,
    /// What was aborted, too.
    Uncommitted,
}

impl Seen {
    /// What it says of its birth.
    ///
    /// # Panics
    /// It says nothing that can be read.
    pub fn birth(&self) -> Birth {
        let headers = self.headers.iter();
        let told = Birth::read(headers.map(|(name, value)| (name.as_str(), value.as_deref())));
        told.unwrap_or_else(|why| panic!("{why:?}: {self:?}"))
    }

    /// Its value as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }

    /// The last header of a name, as text.
    pub fn header(&self, name: &str) -> Option<String> {
        let found = self.headers.iter().rev().find(|(told, _)| told == name);
        found.map(|(_, value)| {
            String::from_utf8_lossy(value.as_deref().unwrap_or_default()).into_owned()
        })
    }

    /// The bytes over which its origin took the stream hash.
    fn encoded(&self) -> Vec<u8> {
        let ours = self.headers.iter().rposition(|(name, _)| name == birth::AT);
        let own = self.headers.get(..ours.unwrap_or_default()).unwrap_or_default();
        let headers: Vec<_> =
            own.iter().map(|(name, value)| Header { name, value: value.as_deref() }).collect();
        let time = self.header(birth::TIME).and_then(|time| time.parse().ok());
        let time = Timestamp::new(time.unwrap_or(self.timestamp));
        let mut record = Record::new(time, self.key.as_deref(), self.value.as_deref());
        record.headers = Headers::List(&headers);
        record.producer = self.header(birth::PRODUCER).and_then(|told| {
            let (id, sequence) = told.split_once(':')?;
            let id = ProducerId::new(u64::from_str_radix(id, 16).ok()?);
            Some(Producer { id, sequence: sequence.parse().ok()? })
        });
        let mut bytes = vec![0; record.encoded_len()];
        record.encode(&mut Writer::new(&mut bytes)).expect("the length was counted");
        bytes
    }
}

/// All records of a topic, partition by partition, each in its order.
///
/// # Errors
/// Those of librdkafka.
pub fn census(
    broker: SocketAddr,
    topic: &str,
    isolation: Isolation,
) -> Result<Vec<Seen>, KafkaError> {
    let level = match isolation {
        Isolation::Committed => "read_committed",
        Isolation::Uncommitted => "read_uncommitted",
    };
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.to_string())
        .set("group.id", "census")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", level)
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
    let partitions = metadata.topics().first().map_or(0, |told| told.partitions().len());
    let mut seen = Vec::new();
    for partition in 0..partitions as i32 {
        let mut place = TopicPartitionList::new();
        place.add_partition_offset(topic, partition, Place::Beginning)?;
        consumer.assign(&place)?;
        loop {
            match consumer.poll(PATIENCE) {
                None => return Err(KafkaError::NoMessageReceived),
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(error)) => return Err(error),
                Some(Ok(message)) => {
                    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
                    let headers = headers
                        .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)));
                    seen.push(Seen {
                        partition,
                        offset: message.offset(),
                        timestamp: message.timestamp().to_millis().unwrap_or_default(),
                        key: message.key().map(<[u8]>::to_vec),
                        value: message.payload().map(<[u8]>::to_vec),
                        headers: headers.collect(),
                    });
                }
            }
        }
    }
    Ok(seen)
}

/// Checks that each record is there once, that the streams are whole from their start, in order
/// within each partition, and that their hashes are what their records give.
///
/// # Panics
/// Something of it is not so.
pub fn assert_whole(seen: &[Seen]) {
    is_whole(seen).unwrap_or_else(|wrong| panic!("{wrong}"));
}

/// The same, as an answer.
///
/// # Errors
/// What is not so first.
///
/// # Panics
/// A record does not say where it comes from.
pub fn is_whole(seen: &[Seen]) -> Result<(), String> {
    let mut streams: BTreeMap<StreamName, BTreeMap<u64, &Seen>> = BTreeMap::new();
    let mut last: BTreeMap<(StreamName, i32), u64> = BTreeMap::new();
    for record in seen {
        let Coordinates { stream, offset, .. } = record.birth().at;
        let before = last.insert((stream.clone(), record.partition), offset);
        if before.is_some_and(|before| before >= offset) {
            return Err(format!("twice, or out of order: {record:?}"));
        }
        if streams.entry(stream).or_default().insert(offset, record).is_some() {
            return Err(format!("in two partitions: {record:?}"));
        }
    }
    for (stream, records) in streams {
        let mut hash = StreamHash::START;
        for (wanted, (offset, record)) in (0..).zip(records) {
            if offset != wanted {
                return Err(format!("{stream} lacks the record {wanted}"));
            }
            let Birth { at, hash: told } = record.birth();
            let epoch = Epoch::new(at.epoch.expect("births have epochs"));
            hash = hash.then(epoch, Offset::new(offset), &record.encoded());
            if hash != told {
                return Err(format!("not what was written: {record:?}"));
            }
        }
    }
    Ok(())
}
