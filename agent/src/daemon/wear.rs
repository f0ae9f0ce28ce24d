//! What the node writes, over its life, and how long the medium bears that.
//!
//! The count of each start is added to one that stands in the node's own topics. It is noted every
//! 64 MiB, every six hours in which anything was written, and at a stop. What was written after the
//! last note of a node that was killed is not in it, nor the notes of openings that wrote little.

use landfall_core::num::Lane;
use landfall_protocol::time::{Duration, Instant};

use super::machine::{Machine, now};
use crate::api::MediumStatus;
use crate::config::Config;
use crate::node::{InternalRecord, Now};
use crate::usage;

/// The topic that the count is in, and its key.
pub(super) const TOPIC: &str = "_node";
const KEY: &[u8] = b"written_bytes";

/// Bytes after which the count is noted.
const NOTE_BYTES: u64 = 64 << 20;
/// Time after which it is noted, if anything was written that is worth a commit.
const NOTE_EVERY: Duration = Duration::from_secs(6 * 60 * 60);
/// Bytes for which a note is worth what it costs.
const WORTH_BYTES: u64 = 64 << 10;
/// How long a node must run before its rate says anything.
const RATE_AFTER: Duration = Duration::from_secs(10 * 60);
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// What is known of the wear.
#[derive(Debug)]
pub(super) struct Wear {
    began: Instant,
    /// What the system had counted before the node was opened.
    base: u64,
    /// Whether the system is asked, since more than the log is written: views are.
    asks: bool,
    /// What was written before this start, as far as it was noted.
    before: u64,
    /// What the medium bears in all, if that is known.
    bears: Option<u64>,
    /// What the log had written when the system was asked last.
    asked: u64,
    /// What was written at the last note, and when that was.
    noted: (u64, Instant),
}

impl Wear {
    /// Of a node with this configuration that has written `opening` bytes so far, and `before`
    /// bytes in earlier starts.
    pub(super) fn new((opening, before): (u64, u64), config: &Config, now: Now) -> Self {
        let base = usage::written_bytes().unwrap_or_default().saturating_sub(opening);
        let bears = config.storage.medium_writes_max.map(|most| most.0);
        let (began, noted) = (now.instant, (0, now.instant));
        Self { began, base, asks: config.has_views(), before, bears, asked: 0, noted }
    }

    /// Whether the count is to be noted.
    fn is_due(&self, written: u64, now: Instant) -> bool {
        let (bytes, at) = self.noted;
        let new = written.saturating_sub(bytes);
        new >= NOTE_BYTES || (new >= WORTH_BYTES && now.since(at) >= NOTE_EVERY)
    }
}

/// Reads what a record of the node's own topics says of the count.
pub(super) fn told(key: &[u8], value: Option<&[u8]>) -> Option<u64> {
    (key == KEY).then(|| std::str::from_utf8(value?).ok()?.parse().ok())?
}

/// Days until a medium has borne what it bears, at the rate of this start. None while the rate says
/// nothing.
fn days_left(bears: u64, life: u64, written: u64, runs: Duration) -> Option<u64> {
    if runs < RATE_AFTER || written == 0 {
        return None;
    }
    let left = u128::from(bears.saturating_sub(life)) * u128::from(runs.millis());
    let days = left / (u128::from(written) * u128::from(DAY_MS));
    Some(u64::try_from(days).unwrap_or(u64::MAX))
}

impl Machine {
    /// Bytes that this process was seen to write since the node was opened, as the system counts
    /// them; the log's alone where it does not.
    fn written_by_process(&self) -> u64 {
        let log = self.node.journal().media().written().sum();
        usage::written_bytes().unwrap_or_default().saturating_sub(self.wear.base).max(log)
    }

    /// Bytes that count for the medium's life. The log's are exact, and the system's too many where
    /// it counts in pages that are larger than what is written.
    fn written(&self) -> u64 {
        match self.wear.asks {
            true => self.written_by_process(),
            false => self.node.journal().media().written().sum(),
        }
    }

    pub(super) fn medium(&self) -> MediumStatus {
        let journal = self.node.journal();
        let log = journal.media().written();
        let lanes = (0..self.node.settings().internal_lane().get()).map(Lane::new);
        let written = self.written();
        let life = self.wear.before.saturating_add(written);
        let runs = now().instant.since(self.wear.began);
        MediumStatus {
            written_bytes: log.sum(),
            payload_bytes: lanes.map(|lane| self.node.payload_bytes(lane)).sum(),
            process_bytes: self.written_by_process(),
            life_bytes: life,
            bears_bytes: self.wear.bears,
            days_left: self.wear.bears.and_then(|bears| days_left(bears, life, written, runs)),
        }
    }

    /// Notes the count if that is due.
    pub(super) fn note_wear(&mut self) {
        let log = self.node.journal().media().written().sum();
        // To ask the system each time would cost more than it is worth.
        if log.saturating_sub(self.wear.asked) < WORTH_BYTES {
            return;
        }
        self.wear.asked = log;
        if self.wear.is_due(self.written(), now().instant) {
            self.note_wear_now();
        }
    }

    /// The node is about to stop.
    pub(super) fn note_wear_at_end(&mut self) {
        if self.written().saturating_sub(self.wear.noted.0) >= WORTH_BYTES {
            self.note_wear_now();
        }
    }

    fn note_wear_now(&mut self) {
        let (now, written) = (now(), self.written());
        self.wear.noted = (written, now.instant);
        let life = self.wear.before.saturating_add(written);
        let (key, value) = (KEY.to_vec(), Some(life.to_string().into_bytes()));
        // If it can't be noted, the next note has it.
        self.node.record(&[InternalRecord { topic: TOPIC, key, value }], now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    #[test]
    fn a_medium_lasts_as_long_as_it_takes_to_write_what_it_bears() {
        assert_eq!(days_left(1_000, 40, 1, HOUR), Some(40));
        assert_eq!(days_left(1_000, 1_001, 1, HOUR), Some(0));
        assert_eq!(days_left(1_000, 40, 0, HOUR), None);
        assert_eq!(days_left(1_000, 40, 1, Duration::from_secs(599)), None);
        assert_eq!(days_left(u64::MAX, 0, 1, Duration::from_millis(u64::MAX)), Some(u64::MAX));
    }

    #[test]
    fn the_count_is_noted_by_bytes_or_by_hours_if_it_is_worth_it() {
        let at = |hours| Instant::from_millis(hours * HOUR.millis());
        let wall = landfall_core::num::Timestamp::new(0);
        let folder = tempfile::tempdir().unwrap();
        let config = Config::load(None, folder.path(), []).unwrap();
        let wear = Wear::new((0, 7), &config, Now { instant: at(1), wall });
        assert!(wear.is_due(NOTE_BYTES, at(1)) && !wear.is_due(NOTE_BYTES - 1, at(6)));
        assert!(wear.is_due(WORTH_BYTES, at(7)) && !wear.is_due(WORTH_BYTES - 1, at(70)));
    }

    #[test]
    fn the_count_is_read_from_its_own_record_only() {
        assert_eq!(told(KEY, Some(b"4096")), Some(4_096));
        assert_eq!(told(b"other", Some(b"4096")), None);
        assert_eq!((told(KEY, Some(b"-1")), told(KEY, None)), (None, None));
    }
}
