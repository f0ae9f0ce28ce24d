//! The node's own topics: they lie in a lane of their own, which is never sent, and of which only
//! the newest record of each key stays when it fills.

use std::collections::BTreeMap;

use landfall_core::batch::ClockQuality;
use landfall_core::frontier::Frontier;
use landfall_core::journal::StageError;
use landfall_core::media::Media;
use landfall_core::name::StreamId;
use landfall_core::num::{Offset, Partition, SegmentNo, Seq};
use landfall_core::record::Record;

use super::{Core, Gate, InternalRecord, Now};

/// Which record of each key of the node's own lane is the newest.
#[derive(Debug, Default)]
pub(crate) struct Newest {
    offsets: BTreeMap<(String, u32), BTreeMap<Vec<u8>, Offset>>,
    /// The segment that was appended to when the lane was looked at last.
    looked_in: SegmentNo,
    /// The next seq at that time.
    looked_at: Seq,
}

impl Newest {
    /// Takes in a record, in the order of the lane; one without a value forgets the key.
    pub(crate) fn apply(
        &mut self,
        stream: (&str, Partition),
        key: &[u8],
        has_value: bool,
        offset: Offset,
    ) {
        let keys = self.offsets.entry((stream.0.into(), stream.1.get())).or_default();
        if has_value {
            keys.insert(key.into(), offset);
        } else {
            keys.remove(key);
        }
    }

    fn is_newest(&self, stream: StreamId<'_>, key: Option<&[u8]>, offset: Offset) -> bool {
        let keys = self.offsets.get(&(stream.topic.to_owned(), stream.partition.get()));
        keys.zip(key).and_then(|(keys, key)| keys.get(key)) == Some(&offset)
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// Appends records to the node's own topics and waits until they are durable. Returns whether
    /// they are.
    pub(crate) fn record(&mut self, records: &[InternalRecord], now: Now) -> bool {
        if records.is_empty() {
            return true;
        }
        self.arrived_at = now;
        self.commit_staged();
        if !self.write_internal(Partition::new(0), records) {
            return false;
        }
        for record in records {
            self.gate.apply(record.topic, &record.key, record.value.as_deref());
        }
        true
    }

    /// Writes records to a partition of one of the node's own topics, in order, and makes them
    /// durable. Nothing else may be staged.
    pub(crate) fn write_internal(
        &mut self,
        partition: Partition,
        records: &[InternalRecord],
    ) -> bool {
        let staged = records.iter().all(|record| self.stage_internal(partition, record));
        if !staged || self.journal.commit().is_err() {
            return false;
        }
        let site = self.settings.site.clone();
        for InternalRecord { topic, .. } in records {
            let stream = StreamId { origin: &site, topic, partition };
            if let Some(ix) = self.journal.frontier().find(stream) {
                self.is_root_for(ix);
            }
        }
        true
    }

    fn stage_internal(&mut self, partition: Partition, record: &InternalRecord) -> bool {
        let site = self.settings.site.clone();
        let stream = StreamId { origin: &site, topic: record.topic, partition };
        let Ok(ix) = self.journal.frontier_mut().add(stream) else { return false };
        let wall = self.arrived_at.wall;
        let told = Record::new(wall, Some(&record.key), record.value.as_deref());
        let lane = self.settings.internal_lane();
        for _ in 0..STAGE_ATTEMPTS {
            match self.journal.stage_record(lane, ix, &told, ClockQuality::Unknown) {
                Ok(staged) => {
                    let has_value = record.value.is_some();
                    let stream = (record.topic, partition);
                    self.newest.apply(stream, &record.key, has_value, staged.offset);
                    return true;
                }
                Err(StageError::CommitFull) if self.journal.commit().is_ok() => {}
                Err(StageError::LaneFull) if self.compact_own() => {}
                Err(_) => return false,
            }
        }
        false
    }

    /// Looks whether the node's own lane fills, once in each of its segments.
    pub(crate) fn tend_own(&mut self) {
        let lane = self.settings.internal_lane();
        let next = self.journal.seqs(lane).1;
        if next.since(self.newest.looked_at) < LOOK_EVERY {
            return;
        }
        self.newest.looked_at = next;
        let active = self.journal.near(lane, next).segment;
        let (used, budget) = self.journal.usage(lane);
        if active == self.newest.looked_in || used * 2 < budget {
            return;
        }
        self.newest.looked_in = active;
        self.compact_own();
    }

    /// Copies what still counts of the oldest segment of the node's own lane to its end, and drops
    /// the segment. Returns whether it did.
    pub(crate) fn compact_own(&mut self) -> bool {
        let lane = self.settings.internal_lane();
        if self.journal.commit().is_err() || self.journal.oldest(lane).is_none() {
            return false;
        }
        let mut buffer = core::mem::take(&mut self.scratch);
        let newest = &self.newest;
        let mut keep = |stream: StreamId<'_>, placed: &landfall_core::batch::PlacedRecord<'_>| {
            newest.is_newest(stream, placed.record.key, placed.offset)
        };
        let kept = self.journal.snapshot_oldest(lane, &mut keep, &mut buffer);
        let dropped = kept.is_ok() && self.journal.drop_oldest(lane, None, &mut buffer).is_ok();
        self.scratch = buffer;
        dropped
    }
}

/// Records of the lane between two looks.
const LOOK_EVERY: u64 = 64;
/// How often a record is staged: a commit may be full, and then the lane.
const STAGE_ATTEMPTS: usize = 3;
