//! Entries as anybody could make them: true ones, and such that lie in one place.

use landfall::node::checksum;
use landfall::node::codec::{Codec, FEATURES};
use landfall_core::batch::{BatchHead, ClockQuality};
use landfall_core::codec::Writer;
use landfall_core::hash::StreamHash;
use landfall_core::name::StreamId;
use landfall_core::num::{Epoch, Offset, Partition, Seq, Timestamp};
use landfall_core::record::Record;
use landfall_protocol::message::{Entry, LaneMessage, Purpose};

use super::lane;

/// A stream that is being forged, at the point where it ends.
#[derive(Clone)]
pub struct Forged {
    /// Who is said to have written it.
    pub origin: String,
    /// Its topic.
    pub topic: String,
    /// Under which epoch.
    pub epoch: Epoch,
    /// The offset to come.
    pub next: u64,
    /// The stream hash there.
    pub hash: StreamHash,
}

impl Forged {
    /// A stream of a site, from its beginning.
    pub fn new(origin: &str, topic: &str, epoch: u64) -> Self {
        let (origin, topic) = (origin.into(), topic.into());
        Self { origin, topic, epoch: Epoch::new(epoch), next: 0, hash: StreamHash::START }
    }

    /// The next records as a batch, whose head may be made to lie.
    pub fn batch(&mut self, values: &[&str], lie: impl FnOnce(&mut BatchHead<'_>)) -> Vec<u8> {
        let mut records = Vec::new();
        let before = self.hash;
        for (at, value) in values.iter().enumerate() {
            let record = Record::new(Timestamp::new(0), None, Some(value.as_bytes()));
            let mut bytes = vec![0; record.encoded_len()];
            record.encode(&mut Writer::new(&mut bytes)).expect("it has its room");
            self.hash = self.hash.then(self.epoch, Offset::new(self.next + at as u64), &bytes);
            records.extend(bytes);
        }
        let mut head = BatchHead {
            stream: StreamId {
                origin: &self.origin,
                topic: &self.topic,
                partition: Partition::new(0),
            },
            epoch: self.epoch,
            base: Offset::new(self.next),
            span: values.len() as u32,
            records: values.len() as u32,
            len: records.len() as u32,
            before,
            after: self.hash,
            partial: false,
            clock: ClockQuality::Unknown,
        };
        lie(&mut head);
        let mut body = vec![0; head.encoded_len()];
        head.encode(&mut Writer::new(&mut body), checksum()).expect("it has its room");
        self.next += values.len() as u64;
        body.extend(records);
        body
    }

    /// The next records in an entry that tells the truth.
    pub fn entry(&mut self, seq: u64, values: &[&str]) -> Vec<u8> {
        let body = self.batch(values, |_| {});
        entry(seq, &body, |_| {})
    }
}

/// The frame of an entry around a body, which may be made to lie.
pub fn entry(seq: u64, body: &[u8], lie: impl FnOnce(&mut Entry<'_>)) -> Vec<u8> {
    let mut entry = Entry {
        purpose: Purpose::Uplink,
        seq: Seq::new(seq),
        records: 1,
        codec: 0,
        body_len: body.len() as u32,
        body_crc: checksum().of(body),
        path: &[],
        body,
    };
    lie(&mut entry);
    lane(&LaneMessage::Entry(entry))
}

/// Bytes as the usual codec packs them, with its number.
pub fn packed(bytes: &[u8]) -> (u8, Vec<u8>) {
    let mut packer = Codec::default();
    let (codec, packed) = packer.pack(bytes, FEATURES);
    (codec, packed.to_vec())
}
