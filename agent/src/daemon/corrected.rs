//! Corrected times: what readers are told of the clocks that gave the times of records.

use landfall_core::batch::{BatchHead, ClockQuality};
use landfall_core::num::{Epoch, Timestamp};
use landfall_protocol::clock::Corrected;

use crate::event_json::{Correction, RecordClock};
use crate::node::clock::ClockNote;

/// Finds what is known of the clock of an origin in an epoch.
pub(super) type ClockOf<'a> = &'a dyn Fn(&str, Epoch) -> Option<ClockNote>;

/// What is known of the clock that gave the times of a batch.
pub(super) struct BatchClock {
    unset: bool,
    /// Whether corrections were asked for, and the clock of the origin gave the times.
    corrected: bool,
    note: Option<ClockNote>,
}

impl BatchClock {
    pub(super) fn of(head: &BatchHead<'_>, clock_of: Option<ClockOf<'_>>) -> Self {
        let unset = head.clock == ClockQuality::Unset;
        let own = unset || head.clock == ClockQuality::Local;
        let clock_of = clock_of.filter(|_| own);
        let note = clock_of.and_then(|clock_of| clock_of(head.stream.origin, head.epoch));
        Self { unset, corrected: clock_of.is_some(), note }
    }

    /// What is known of the clock that gave this time of the batch.
    pub(super) fn told(&self, wall: Timestamp) -> RecordClock {
        let known = self.note.as_ref().map(|note| note.correct(wall));
        let correction = match known {
            Some(Corrected::At(time, error_ms)) => Correction::At { ms: time.get(), error_ms },
            Some(Corrected::Uncertain) => Correction::Uncertain,
            None if self.corrected && self.unset => Correction::Uncertain,
            Some(Corrected::Same) | None => Correction::None,
        };
        RecordClock { unset: self.unset, correction }
    }
}
