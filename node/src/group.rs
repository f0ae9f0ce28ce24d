//! Appends as they wait, and groups: records of several partitions that are staged as one entry, on
//! conditions.

use landfall_core::batch::ClockQuality;
use landfall_core::codec::Reader;
use landfall_core::frontier::{Frontier, StreamIx};
use landfall_core::media::Media;
use landfall_core::name::StreamId;
use landfall_core::num::{Offset, Partition};
use landfall_core::record::Record;

use super::consumer::Change;
use super::{Append, ClientId, Core, Gate, Refusal, Ticket};

/// An append as it waits: of one partition, or a group of several, and on which conditions.
#[derive(Clone, Debug)]
pub struct Request {
    /// Names it in the outcome.
    pub ticket: Ticket,
    /// Who appends.
    pub client: ClientId,
    /// The client's attempt.
    pub attempt: u32,
    /// The records by partition, all of one lane.
    pub records: Vec<Part>,
    /// Whether they are to be readable together or not at all.
    pub group: bool,
    /// What must hold.
    pub conditions: Vec<Condition>,
    /// What becomes of consumers with the records. Together with records they are moved only.
    pub changes: Vec<Change>,
    /// How far the clock that gave the timestamps could be trusted.
    pub clock: ClockQuality,
}

impl From<Append> for Request {
    fn from(append: Append) -> Self {
        let Append { ticket, client, attempt, topic, partition, records, group, clock } = append;
        let records = vec![Part { topic, partition, records }];
        let (conditions, changes) = (Vec::new(), Vec::new());
        Self { ticket, client, attempt, records, group, conditions, changes, clock }
    }
}

impl Request {
    /// How many records it has, up to one that is malformed.
    pub(super) fn count(&self) -> u32 {
        let count = |part: &Part| {
            let mut reader = Reader::new(&part.records);
            let next = || Record::decode(&mut reader).ok();
            core::iter::from_fn(next).count() as u32
        };
        self.records.iter().map(count).sum()
    }

    /// Bytes of its records.
    pub(super) fn bytes(&self) -> usize {
        self.records.iter().map(|part| part.records.len()).sum()
    }
}

/// Where the new records of one partition are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Written {
    /// The offset of the first; the others follow it.
    pub first: Option<Offset>,
    /// How many.
    pub count: u32,
}

/// Records of one partition.
#[derive(Clone, Debug)]
pub struct Part {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: Partition,
    /// Encoded records, one behind the other.
    pub records: Vec<u8>,
}

/// What must hold of what this node has written, or a group is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Condition {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: Partition,
    /// The key; none for all records.
    pub key: Option<Vec<u8>>,
    /// There is no such record at this offset or behind it.
    pub from: Offset,
}

/// Records that are looked through for a key. They are read on the node's thread, which does
/// nothing else meanwhile: about a tenth of a second on a small device.
const LOOKED_THROUGH_MAX: u64 = 100_000;

impl<M: Media, G: Gate> Core<M, G> {
    /// Whether all conditions hold, with all that was appended before.
    pub(super) fn check_conditions(&mut self, conditions: &[Condition]) -> Result<(), Refusal> {
        for (at, condition) in (0..).zip(conditions) {
            let Condition { topic, partition, key, from } = condition;
            let site = self.settings.site.clone();
            let stream = StreamId { origin: &site, topic, partition: *partition };
            let Some(ix) = self.journal.frontier().find(stream) else { continue };
            self.settle_stream(ix)?;
            let tip = self.journal.frontier().tip(ix).next;
            if tip <= *from {
                continue;
            }
            let Some(key) = key else { return Err(Refusal::Unmet { at, offset: *from }) };
            if tip.get() - from.get() > LOOKED_THROUGH_MAX {
                return Err(Refusal::TooFarBack { at });
            }
            if let Some(offset) = self.last_of_key(ix, key, (*from, tip), at)? {
                return Err(Refusal::Unmet { at, offset });
            }
        }
        Ok(())
    }

    /// Makes all that was appended to a stream durable, so that it can be read.
    fn settle_stream(&mut self, ix: StreamIx) -> Result<(), Refusal> {
        if self.appends.has_staged(ix) {
            let ahead = core::mem::replace(&mut self.ahead, false);
            self.commit_staged();
            self.ahead = ahead;
        }
        self.journal.land().map_err(|_| Refusal::Media)
    }

    /// The last record of a key from one offset on and below another.
    fn last_of_key(
        &self,
        ix: StreamIx,
        key: &[u8],
        (from, to): (Offset, Offset),
        at: u32,
    ) -> Result<Option<Offset>, Refusal> {
        let mut last = None;
        let (mut next, mut is_whole) = (from, true);
        let looked = self.each_batch(ix, (from, to), |_, batch| {
            is_whole &= batch.head.base <= next;
            next = next.max(batch.head.end());
            let records = batch.records().map_while(Result::ok);
            let of_key = records.filter(|placed| placed.record.key == Some(key));
            let of_key = of_key.map(|placed| placed.offset).filter(|offset| *offset >= from);
            last = last.max(of_key.max());
            true
        });
        looked.map_err(|_| Refusal::Media)?;
        // Of what the log has forgotten nobody knows the keys.
        match is_whole && next >= to {
            true => Ok(last),
            false => Err(Refusal::TooFarBack { at }),
        }
    }

    /// Whether a group was written before by the same producer: then all of it was.
    pub(super) fn was_written(&self, first: &Record<'_>) -> bool {
        first.producer.is_some_and(|producer| {
            let last = self.journal.producer(producer.id);
            last.is_some_and(|last| producer.sequence <= last)
        })
    }
}
