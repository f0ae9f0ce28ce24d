//! Retention: what is durable where it must be is forgotten when it is old, or in the way.
//!
//! It is as old as the node has run since it found the segment durable. Clocks that are wrong, or
//! are set, make nothing older: by the monotonic one a node that is off does not age either.

use landfall_core::batch::batches;
use landfall_core::entry::Kind;
use landfall_core::frontier::Frontier;
use landfall_core::gap::GapReason;
use landfall_core::journal::{ReadStep, Reader};
use landfall_core::media::{Media, MediaError};
use landfall_core::name::topic_is_internal;
use landfall_core::num::Lane;

use super::{AlarmKind, Core, Gate, Now, TrimAt, clocks, consumer};
use crate::checksum;

/// Milliseconds between two looks at what is old.
const LOOK_EVERY_MS: u64 = 10_000;

impl<M: Media, G: Gate> Core<M, G> {
    /// Forgets what is old and durable, now and then.
    pub(crate) fn trim_lanes(&mut self, now: Now) {
        let passed = now.instant.since(self.trimmed_at).millis();
        if passed < LOOK_EVERY_MS {
            return;
        }
        self.trimmed_at = now.instant;
        self.journal.pass_time(passed);
        let Some(least) = self.least_kept_ms() else { return };
        for lane in (0..self.settings.lanes.len() as u8).map(Lane::new) {
            let mut buffer = core::mem::take(&mut self.scratch);
            self.journal.date_durable(lane, self.settings.trim_at == TrimAt::Hop, &mut buffer);
            self.scratch = buffer;
            while self.oldest_is_old(lane, least) && !self.is_held(lane) && self.trim(lane) {}
        }
    }

    /// The least time that anything is kept before it goes by age; none if nothing does.
    fn least_kept_ms(&self) -> Option<u64> {
        let acked = self.settings.upstream.then_some(self.settings.keep_acked_ms);
        acked.into_iter().chain(self.settings.retention_ms).min()
    }

    /// Whether the oldest segment of a lane has been durable for as long as it is to be kept.
    fn oldest_is_old(&mut self, lane: Lane, least: u64) -> bool {
        let since = self.journal.oldest(lane).and_then(|oldest| oldest.durable_at);
        let age = since.map(|since| self.journal.open_time().since(since));
        let Some(age) = age.filter(|age| *age >= least) else { return false };
        let mut buffer = core::mem::take(&mut self.scratch);
        let kept = self.oldest_is_kept_ms(lane, &mut buffer);
        self.scratch = buffer;
        kept.is_some_and(|kept| age >= kept)
    }

    /// How long the oldest segment of a lane is kept; none if it does not go by age. Records that
    /// nobody else has may have stricter rules than those beside them.
    fn oldest_is_kept_ms(&self, lane: Lane, buffer: &mut [u8]) -> Option<u64> {
        let (mut goes_on, mut ends_here) = (false, false);
        let told = self.journal.tell_oldest(lane, buffer, &mut |span| {
            // Cursors that were moved with records are kept elsewhere before the segment goes.
            if topic_is_internal(span.stream.topic) {
                return;
            }
            let known = self.journal.frontier().find(span.stream);
            let goes = known.is_some_and(|ix| self.goes_on(ix));
            (goes_on, ends_here) = (goes_on || goes, ends_here || !goes);
        });
        told.ok()?;
        if !goes_on && !ends_here {
            // Statements without records are as good as what they would stand among.
            (goes_on, ends_here) = (self.settings.upstream, !self.settings.upstream);
        }
        let acked = if goes_on { self.settings.keep_acked_ms } else { 0 };
        let ended = if ends_here { self.settings.retention_ms? } else { 0 };
        Some(acked.max(ended))
    }

    /// Drops the oldest segment of a lane if it is durable. Returns whether it did.
    pub(crate) fn trim(&mut self, lane: Lane) -> bool {
        if lane == self.settings.internal_lane() {
            // All of it is durable, and what is the newest of its key is nowhere else.
            return self.compact_own();
        }
        if !self.gather_cursors() {
            return false;
        }
        let hop = self.settings.trim_at == TrimAt::Hop;
        let mut buffer = core::mem::take(&mut self.scratch);
        let durable = self.journal.oldest(lane).is_some()
            && self.journal.oldest_is_durable(lane, hop, &mut buffer);
        self.scratch = buffer;
        if !durable || !self.note_missed(lane) {
            return false;
        }
        let mut buffer = core::mem::take(&mut self.scratch);
        let dropped = self.journal.drop_oldest(lane, None, &mut buffer).is_ok();
        self.scratch = buffer;
        dropped
    }

    /// Drops the oldest segment of a lane although its records are nowhere else.
    pub(crate) fn drop_undurable(&mut self, lane: Lane) -> bool {
        if !self.gather_cursors() || !self.note_missed(lane) {
            return false;
        }
        let mut buffer = core::mem::take(&mut self.scratch);
        let dropped = self.journal.drop_oldest(lane, Some(GapReason::Dropped), &mut buffer);
        self.scratch = buffer;
        if dropped.is_ok() {
            self.report_losses();
        }
        dropped.is_ok()
    }

    /// Makes room in a lane for records from below.
    pub(crate) fn room_for_peers(&mut self, lane: Lane) -> bool {
        self.commit_staged();
        self.trim(lane)
    }

    /// Tells the gate what is stored of the node's own topics. Until all of it could be read,
    /// nobody is let in.
    pub(crate) fn load_internal(&mut self) {
        let mut buffer = core::mem::take(&mut self.scratch);
        let read = self.read_internal(&mut buffer);
        self.scratch = buffer;
        let read = read.and_then(|()| self.load_cursors());
        self.clocks.resume(&self.settings.site);
        self.knows_internal = read.is_ok();
        if let Err(error) = read {
            self.read_failed(error);
        }
    }

    fn apply_internal(&mut self, topic: &str, key: &[u8], value: Option<&[u8]>) {
        if topic == clocks::TOPIC {
            self.clocks.apply(key, value);
        } else if topic != consumer::TOPIC {
            self.gate.apply(topic, key, value);
        } else if !self.cursors.apply(key, value) {
            let text = "a cursor can't be read; the consumer is as it was before.";
            self.alarm(AlarmKind::Consumer, topic.into(), text.into());
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
                let (topic, partition) = (batch.head.stream.topic, batch.head.stream.partition);
                let own = batch.head.stream.origin == self.settings.site;
                for placed in batch.records().map_while(Result::ok) {
                    let (key, value) = (placed.record.key, placed.record.value);
                    if let (Some(key), true) = (key, own && topic_is_internal(topic)) {
                        let stream = (topic, partition);
                        self.newest.apply(stream, key, value.is_some(), placed.offset);
                        self.rooted_at.apply(topic, value);
                        self.apply_internal(topic, key, value);
                    }
                }
            }
        }
    }
}
