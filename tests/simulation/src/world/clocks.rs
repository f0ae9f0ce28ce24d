//! Clocks of hosts: machines that sleep, are started again, or only have their node started again,
//! and records that know the true time.

use landfall_core::codec::Reader;
use landfall_core::num::{BootId, Epoch, Timestamp};
use landfall_core::record::Record;
use landfall_node::AppendOutcome;
use landfall_protocol::clock::Corrected;

use super::World;

/// What a host would tell a reader of a record that knows the true time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Told {
    /// The time was corrected, and is so many milliseconds off, and at most so many as was said.
    Corrected {
        /// How far it is off.
        off_ms: u64,
        /// By how much it may be, as was said.
        error_ms: u64,
    },
    /// It is left as it was, and so many milliseconds off.
    Same(u64),
    /// Nobody knows.
    Uncertain,
}

impl World {
    /// Appends records one by one that have the time of the host's clock, and tell the true one.
    ///
    /// # Panics
    /// One is refused.
    pub fn append_timed(&mut self, name: &str, topic: &str, count: u64) {
        for _ in 0..count {
            let (truth, wall) = (self.clock().wall, self.clock_of(name).wall);
            let value = truth.get().to_le_bytes();
            let record = super::script::encode(&Record::new(wall, None, Some(&value)));
            let outcome = self.append_records(name, topic, vec![record]);
            assert!(matches!(outcome, Some(AppendOutcome::Appended { .. })), "{outcome:?}");
        }
    }

    /// Kills a node and starts it again while its machine goes on.
    pub fn crash_only_node(&mut self, name: &str) {
        self.kill(name);
        let running = self.host(name).boot_id;
        self.boot_node(name, Some(running));
    }

    /// All machines are suspended for so long: nothing happens, and their clocks go on.
    pub fn suspend(&mut self, span_ms: u64) {
        self.now += span_ms;
    }

    /// What a host would tell of a stream of records that know the true time, in their order.
    pub fn told(&self, name: &str, stream: &str) -> Vec<Told> {
        let origin = stream.split('/').next().unwrap_or_default();
        let held = self.held(name);
        let records = held.records.iter().filter(|record| record.stream == stream);
        records.map(|record| self.told_of(name, origin, record.epoch, &record.encoded)).collect()
    }

    fn told_of(&self, name: &str, origin: &str, epoch: Epoch, encoded: &[u8]) -> Told {
        let record = Record::decode(&mut Reader::new(encoded)).expect("it was read before");
        let value = record.value.and_then(|value| value.try_into().ok());
        let truth = value.map(i64::from_le_bytes).expect("it tells the true time");
        let off = |time: Timestamp| time.get().abs_diff(truth);
        let note = self.node(name).clock_of(origin, epoch);
        match note.map(|note| note.correct(record.timestamp)) {
            Some(Corrected::At(time, error_ms)) => {
                Told::Corrected { off_ms: off(time), error_ms: error_ms.into() }
            }
            Some(Corrected::Uncertain) => Told::Uncertain,
            Some(Corrected::Same) | None => Told::Same(off(record.timestamp)),
        }
    }

    /// The start of the machine that a host's node runs in.
    pub fn boot_id(&self, name: &str) -> BootId {
        self.host(name).boot_id
    }
}
