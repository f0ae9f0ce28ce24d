//! A group of the API as the node takes it: encoded, by partition.

use std::collections::BTreeMap;

use landfall_core::batch::ClockQuality;
use landfall_core::codec::Writer;
use landfall_core::limits::RECORD_BYTES_MAX;
use landfall_core::num::{Offset, Partition, ProducerId, Timestamp};
use landfall_core::record::{self, Headers, Record};

use super::handle::partition_by_key;
use crate::api::{ApiError, ErrorCode, GroupRecord, GroupRequest};
use crate::clock;
use crate::event_json::Header;
use crate::node::{Condition, Part};

/// What the node is to stage, and when.
#[derive(Default)]
pub(super) struct Encoded {
    pub(super) parts: Vec<Part>,
    pub(super) conditions: Vec<Condition>,
    /// The quality of the clock that gave the times.
    pub(super) clock: ClockQuality,
}

/// A topic, a partition, and its records with their numbers in the request.
type Grouped<'r> = (&'r str, u32, Vec<(usize, &'r GroupRecord)>);

/// Encodes a group. Records of a partition keep their order.
pub(super) fn encoded(
    request: &GroupRequest,
    partitions: &BTreeMap<String, u32>,
) -> Result<Encoded, ApiError> {
    let mut grouped: Vec<Grouped<'_>> = Vec::new();
    for (number, record) in (1..).zip(&request.records) {
        let by_key = || partition_by_key(partitions, &record.topic, record.key.as_deref());
        let (topic, partition) = (record.topic.as_str(), record.partition.unwrap_or_else(by_key));
        match grouped.iter_mut().find(|part| (part.0, part.1) == (topic, partition)) {
            Some((_, _, records)) => records.push((number, record)),
            None => grouped.push((topic, partition, vec![(number, record)])),
        }
    }
    let now = clock::wall();
    let given = request.records.iter().map(|record| record.timestamp_ms.is_some());
    let (wall, clock) = (now.ms(), clock::quality_of(now.quality(), given));
    // A key stands for a producer that sends this group and nothing else. It numbers the records as
    // they are staged.
    let id = request.idempotency_key.as_ref().map(|key| ProducerId::of(&format!("\0{key}")));
    let mut sequence = 0;
    let mut parts = Vec::new();
    for (topic, partition, records) in grouped {
        let mut bytes = Vec::new();
        for (number, record) in records {
            sequence += 1;
            let producer = id.map(|id| record::Producer { id, sequence });
            encode(record, producer, wall, number, &mut bytes)?;
        }
        let (topic, partition) = (topic.to_owned(), Partition::new(partition));
        parts.push(Part { topic, partition, records: bytes });
    }
    let conditions = request.conditions.iter().map(|condition| {
        let key = condition.key.as_ref().map(|key| key.to_vec());
        let by_key = || partition_by_key(partitions, &condition.topic, key.as_deref());
        let partition = Partition::new(condition.partition.unwrap_or_else(by_key));
        let from = condition.last.map_or(0, |last| last.saturating_add(1));
        let topic = condition.topic.clone();
        Condition { topic, partition, key, from: Offset::new(from) }
    });
    Ok(Encoded { conditions: conditions.collect(), parts, clock })
}

/// A header as the journal keeps it.
pub(super) fn header(header: &Header) -> record::Header<'_> {
    record::Header { name: &header.name, value: header.value.as_deref() }
}

fn encode(
    record: &GroupRecord,
    producer: Option<record::Producer>,
    wall: i64,
    number: usize,
    bytes: &mut Vec<u8>,
) -> Result<(), ApiError> {
    let headers: Vec<_> = record.headers.iter().map(header).collect();
    let timestamp = Timestamp::new(record.timestamp_ms.unwrap_or(wall));
    let encoded = Record {
        headers: Headers::List(&headers),
        producer,
        ..Record::new(timestamp, record.key.as_deref(), record.value.as_deref())
    };
    let (at, len) = (bytes.len(), encoded.encoded_len());
    let fits = encoded.check().is_ok() && len <= RECORD_BYTES_MAX;
    bytes.resize(at + len, 0);
    let room = bytes.get_mut(at..).unwrap_or_default();
    if fits && encoded.encode(&mut Writer::new(room)).is_ok() {
        return Ok(());
    }
    let text = format!("record {number} takes {len} bytes; at most {RECORD_BYTES_MAX} fit");
    Err(ApiError::new(ErrorCode::TooLarge, text).with_hint("split the record"))
}
