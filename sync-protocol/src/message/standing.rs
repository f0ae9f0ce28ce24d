//! What a node tells of itself for people at the other end.

use landfall_core::codec::{Malformed, NoRoom};
use landfall_core::num::Timestamp;

use crate::wire::{CounterWire, Input, Output};

/// How far a node is with what it has to bring, and how long it can go on without.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// Records that are not yet durable at the root.
    pub behind_records: u64,
    /// Their bytes as stored, about.
    pub behind_bytes: u64,
    /// The timestamp of the oldest of them, if the sender knows it.
    pub oldest: Option<Timestamp>,
    /// Milliseconds until its first lane is full if it goes on appending as it did lately and
    /// nothing is taken off it; `None` if that is not in sight.
    pub full_in_ms: Option<u64>,
}

impl Standing {
    pub(crate) fn put(&self, out: &mut Output<'_>) -> Result<(), NoRoom> {
        let counts = (CounterWire(self.behind_records), CounterWire(self.behind_bytes));
        let oldest = self.oldest.map(Timestamp::get);
        out.value(&(counts, oldest, self.full_in_ms.map(CounterWire)))
    }

    pub(crate) fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        type Wire = ((CounterWire, CounterWire), Option<i64>, Option<CounterWire>);
        let ((records, bytes), oldest, full): Wire = input.value()?;
        let standing = Self {
            behind_records: records.checked()?,
            behind_bytes: bytes.checked()?,
            oldest: oldest.map(Timestamp::new),
            full_in_ms: full.map(CounterWire::checked).transpose()?,
        };
        let contradiction = standing.behind_records == 0 && standing.oldest.is_some();
        if contradiction { Err(Malformed::Contradiction) } else { Ok(standing) }
    }
}
