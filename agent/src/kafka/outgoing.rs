//! Edge records as Kafka records: everything the application wrote is unchanged, and headers say
//! where the record comes from.

use landfall_core::batch::Batch;
use landfall_core::codec::Malformed;
use landfall_core::hash::StreamHash;
use landfall_core::name::StreamId;
use landfall_core::record::Record;
use rdkafka::message::{Header, OwnedHeaders};

use super::birth;
use super::route::Among;

/// A record as Kafka is given it.
#[derive(Debug)]
pub(super) struct Outgoing<'a> {
    pub(super) partition: u32,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    /// Milliseconds since 1970, at least 1: Kafka has no earlier times, and takes 0 for "now".
    pub(super) timestamp: i64,
    pub(super) headers: OwnedHeaders,
}

/// The records of a batch, in order, each for a partition `among` those. `path` is the text of the
/// path they took.
pub(super) fn outgoing<'a>(
    batch: &Batch<'a>,
    path: &'a str,
    among: Among,
) -> impl Iterator<Item = Result<Outgoing<'a>, Malformed>> + use<'a> {
    let head = batch.head;
    let mut hash = head.before;
    batch.records().map(move |placed| {
        let placed = placed?;
        hash = hash.then(head.epoch, placed.offset, placed.encoded);
        let (epoch, offset) = (head.epoch.get(), placed.offset.get());
        let at = format!("{}@{offset}~{epoch:x}", head.stream);
        Ok(message(head.stream, &placed.record, &at, hash, path, among))
    })
}

fn message<'a>(
    stream: StreamId<'_>,
    record: &Record<'a>,
    at: &str,
    hash: StreamHash,
    path: &str,
    among: Among,
) -> Outgoing<'a> {
    let own = record.headers.iter().count();
    let mut headers = OwnedHeaders::new_with_capacity(own + 5);
    for header in record.headers.iter() {
        headers = headers.insert(Header { key: header.name, value: header.value });
    }
    let ours = [(birth::AT, at), (birth::HASH, &hash.to_string()), (birth::PATH, path)];
    for (key, value) in ours {
        headers = headers.insert(Header { key, value: Some(value) });
    }
    if let Some(producer) = record.producer {
        let value = Some(&birth::producer_text(producer));
        headers = headers.insert(Header { key: birth::PRODUCER, value });
    }
    let time = record.timestamp.get();
    if time < 1 {
        let value = Some(&time.to_string());
        headers = headers.insert(Header { key: birth::TIME, value });
    }
    let partition = among.partition(stream, record.key);
    Outgoing { partition, key: record.key, value: record.value, timestamp: time.max(1), headers }
}

#[cfg(test)]
mod tests {
    use landfall_core::batch::BatchHead;
    use landfall_core::codec::Writer;
    use landfall_core::num::{Epoch, Offset, Partition, ProducerId, Timestamp};
    use landfall_core::record::{Header as EdgeHeader, Headers, Producer};
    use rdkafka::message::Headers as _;

    use super::*;
    use crate::kafka::birth::Birth;

    fn told(headers: &OwnedHeaders) -> Vec<(String, Option<Vec<u8>>)> {
        let told = headers.iter().map(|header| (header.key.to_owned(), header.value));
        told.map(|(name, value)| (name, value.map(<[u8]>::to_vec))).collect()
    }

    /// What a batch of these records, from offset 40 on, becomes.
    fn sent(records: &[Record<'_>], look: impl Fn(usize, &Outgoing<'_>)) -> StreamHash {
        let mut bytes = [0; 4096];
        let mut writer = Writer::new(&mut bytes);
        let (epoch, base) = (Epoch::new(0x1F), Offset::new(40));
        let before = StreamHash::new([3; 16]);
        let mut after = before;
        for (at, record) in records.iter().enumerate() {
            let start = writer.len();
            record.encode(&mut writer).unwrap();
            let encoded = writer.written().get(start..).unwrap();
            after = after.then(epoch, base.plus(at as u64), encoded);
        }
        let len = writer.len() as u32;
        let stream = StreamId { origin: "ship-17", topic: "ais", partition: Partition::new(0) };
        let count = records.len() as u32;
        let (partial, clock) = (false, landfall_core::batch::ClockQuality::Unknown);
        let (span, records) = (count, count);
        let head =
            BatchHead { stream, epoch, base, span, records, len, before, after, partial, clock };
        let batch = Batch { head, records: writer.written() };
        for (at, outgoing) in outgoing(&batch, "ship-17@5", Among::All(6)).enumerate() {
            look(at, &outgoing.unwrap());
        }
        after
    }

    #[test]
    fn absent_and_empty_keys_and_values_stay_what_they_are() {
        let time = Timestamp::new(9);
        let records = [
            Record::new(time, None, None),
            Record::new(time, Some(b""), Some(b"")),
            Record::new(time, Some(b"foobar"), Some(b"v")),
        ];
        sent(&records, |at, outgoing| {
            assert_eq!((outgoing.key, outgoing.value), (records[at].key, records[at].value));
            assert_eq!(outgoing.timestamp, 9);
            assert_eq!(outgoing.partition, [2, 3, 0][at]);
        });
    }

    #[test]
    fn headers_of_the_application_come_first_and_ours_behind_them() {
        let list = [
            EdgeHeader { name: "a", value: None },
            EdgeHeader { name: "a", value: Some(b"\xFF") },
            EdgeHeader { name: birth::AT, value: Some(b"forged") },
        ];
        let mut record = Record::new(Timestamp::new(9), None, Some(b"v"));
        record.headers = Headers::List(&list);
        record.producer = Some(Producer { id: ProducerId::new(0xAB), sequence: 7 });
        let after = sent(&[record], |_, outgoing| {
            let told = told(&outgoing.headers);
            assert_eq!(told[0], ("a".into(), None));
            assert_eq!(told[1], ("a".into(), Some(vec![0xFF])));
            assert_eq!(told[2], (birth::AT.into(), Some(b"forged".to_vec())));
            assert_eq!(told[3], (birth::AT.into(), Some(b"ship-17/ais/0@40~1f".to_vec())));
            assert_eq!(told[5], (birth::PATH.into(), Some(b"ship-17@5".to_vec())));
            assert_eq!(told[6], (birth::PRODUCER.into(), Some(b"ab:7".to_vec())));
            assert_eq!(told.len(), 7);
            let headers = outgoing.headers.iter().map(|header| (header.key, header.value));
            assert_eq!(Birth::read(headers).unwrap().at.offset, 40);
        });
        sent(&[record], |_, outgoing| {
            let headers = outgoing.headers.iter().map(|header| (header.key, header.value));
            assert_eq!(Birth::read(headers).unwrap().hash, after);
        });
    }

    #[test]
    fn a_time_that_kafka_has_not_is_in_a_header() {
        for time in [0, -5] {
            let record = Record::new(Timestamp::new(time), None, Some(b"v"));
            sent(&[record], |_, outgoing| {
                assert_eq!(outgoing.timestamp, 1);
                let told = told(&outgoing.headers);
                let own = (birth::TIME.into(), Some(time.to_string().into_bytes()));
                assert_eq!(told.last(), Some(&own));
            });
        }
    }
}
