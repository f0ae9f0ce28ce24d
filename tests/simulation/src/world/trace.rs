//! The trace: one number that everything that happens goes into, to compare two runs.

use landfall_node::Alarm;

use crate::rng::Rng;

#[derive(Debug, Default)]
pub(super) struct Trace {
    value: u64,
    log: bool,
}

impl Trace {
    pub(super) fn value(&self) -> u64 {
        self.value
    }

    pub(super) fn verbose(&mut self) {
        self.log = true;
    }

    pub(super) fn note(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.value = Rng::new(self.value ^ number).u64();
        }
    }

    pub(super) fn bytes(&mut self, at: u64, connection: u64, channel: u8, bytes: &[u8]) {
        self.note(&[at, connection, u64::from(channel), bytes.len() as u64]);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.note(&[u64::from_le_bytes(word)]);
        }
    }

    pub(super) fn alarm(&mut self, at: u64, host: &str, alarm: &Alarm) {
        self.bytes(at, 0, 0, alarm.text.as_bytes());
        self.say(at, host, || format!("{:?} {}: {}", alarm.kind, alarm.subject, alarm.text));
    }

    /// Prints what happens, if somebody looks for a defect.
    pub(super) fn say(&self, at: u64, host: &str, what: impl FnOnce() -> String) {
        if self.log {
            eprintln!("{at:>8} {host:<4} {}", what());
        }
    }
}
