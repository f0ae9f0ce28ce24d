//! Retention: what is durable where it must be is forgotten when it is old, or in the way.

use landfall_core::batch::batches;
use landfall_core::entry::Kind;
use landfall_core::gap::GapReason;
use landfall_core::journal::{ReadStep, Reader};
use landfall_core::media::{Media, MediaError};
use landfall_core::name::topic_is_internal;
use landfall_core::num::Lane;

use super::{Core, Gate, Now, TrimAt};
use crate::media::checksum;

/// Milliseconds between two looks at what is old.
const LOOK_EVERY_MS: u64 = 10_000;

impl<M: Media, G: Gate> Core<M, G> {
    /// Forgets what is old and durable, now and then.
    pub(crate) fn trim_lanes(&mut self, now: Now) {
        if now.instant.since(self.trimmed_at).millis() < LOOK_EVERY_MS {
            return;
        }
        self.trimmed_at = now.instant;
        for lane in (0..self.settings.lanes.len() as u8).map(Lane::new) {
            while self.trim(lane, false, now) {}
        }
    }

    /// Drops the oldest segment of a lane if it is durable, and old or in the way. Returns whether
    /// it did.
    pub(crate) fn trim(&mut self, lane: Lane, in_the_way: bool, now: Now) -> bool {
        let Some(oldest) = self.journal.oldest(lane) else { return false };
        let age = |newest: landfall_core::num::Timestamp| {
            u64::try_from(now.wall.get().saturating_sub(newest.get())).unwrap_or_default()
        };
        let old = oldest.newest.is_some_and(|newest| age(newest) > self.settings.keep_acked_ms);
        if !(old || in_the_way) {
            return false;
        }
        let hop = self.settings.trim_at == TrimAt::Hop;
        let mut buffer = core::mem::take(&mut self.scratch);
        let durable = self.journal.oldest_is_durable(lane, hop, &mut buffer);
        let dropped = durable && self.journal.drop_oldest(lane, None, &mut buffer).is_ok();
        self.scratch = buffer;
        dropped
    }

    /// Drops the oldest segment of a lane although its records are nowhere else.
    pub(crate) fn drop_undurable(&mut self, lane: Lane) -> bool {
        let mut buffer = core::mem::take(&mut self.scratch);
        let dropped = self.journal.drop_oldest(lane, Some(GapReason::Dropped), &mut buffer);
        self.scratch = buffer;
        if dropped.is_ok() {
            self.report_losses();
        }
        dropped.is_ok()
    }

    /// Makes room in a lane for records from below.
    pub(crate) fn room_for_peers(&mut self, lane: Lane, now: Now) -> bool {
        self.commit_staged();
        self.trim(lane, true, now)
    }

    /// Tells the gate what is stored of the node's own topics. Until all of it could be read,
    /// nobody is let in.
    pub(crate) fn load_internal(&mut self) {
        let mut buffer = core::mem::take(&mut self.scratch);
        let read = self.read_internal(&mut buffer);
        self.scratch = buffer;
        self.knows_internal = read.is_ok();
        if let Err(error) = read {
            self.read_failed(error);
        }
    }

    fn read_internal(&mut self, buffer: &mut [u8]) -> Result<(), MediaError> {
        let lane = self.settings.internal_lane();
        let mut cursor = self.journal.first(lane);
        let mut reader = Reader::new(buffer);
        loop {
            let entry = match self.journal.read_on(lane, &mut cursor, &mut reader) {
                ReadStep::Entry(entry) => entry,
                ReadStep::Missing(..) => continue,
                ReadStep::End | ReadStep::TooLong(_) => return Ok(()),
                ReadStep::Failed(error) => return Err(error),
            };
            if !matches!(entry.header.kind, Kind::Data | Kind::Snapshot) {
                continue;
            }
            for batch in batches(entry.body, checksum()).map_while(Result::ok) {
                let topic = batch.head.stream.topic;
                let own = batch.head.stream.origin == self.settings.site;
                for placed in batch.records().map_while(Result::ok) {
                    let (key, value) = (placed.record.key, placed.record.value);
                    if let (Some(key), true) = (key, own && topic_is_internal(topic)) {
                        self.rooted_at.apply(topic, value);
                        self.gate.apply(topic, key, value);
                    }
                }
            }
        }
    }
}
