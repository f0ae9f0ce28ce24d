//! What is known of the device's clock since it was started, for readers to be told what its times
//! should have been: what it showed, and how far the running clock is from the gateway's time.
//!
//! A device whose program knows no calendar stamps its records with the running clock, and is as if
//! it had begun in 1970.

use landfall_core::codec::Writer;
use landfall_core::num::Timestamp;
use landfall_core::tables::OpeningNote;
use landfall_protocol::clock::{
    APART_MS_MAX, ClockOffset, Stretch, is_plausible, matters, note_bytes, put_note,
};
use landfall_protocol::time::Instant;

use super::OPENINGS;

/// Stretches that are remembered: before the calendar was known, and since.
const STRETCHES: usize = 2;
/// Bytes of a note at most.
pub(super) const NOTE_BYTES_MAX: usize = note_bytes(OPENINGS, STRETCHES);
/// A running clock that was started so many milliseconds ago may be off by one for each of these.
const DRIFT_PART: u64 = 1_000;

/// The clock of a device, as far as the uplink saw it.
#[derive(Debug)]
pub(super) struct Clock {
    /// The oldest first. What was heard in one holds for the others too, since the running clock
    /// lies between them.
    stretches: [Stretch; STRETCHES],
    count: usize,
    /// What the wall clock would have shown when the running clock was 0, as seen last.
    zero_ms: i64,
}

fn running(now: Instant) -> i64 {
    i64::try_from(now.millis()).unwrap_or(i64::MAX)
}

impl Clock {
    /// Nobody looked at it.
    pub(super) const fn new() -> Self {
        let none = Stretch::at(Timestamp::new(0), 0);
        Self { stretches: [none; STRETCHES], count: 0, zero_ms: 0 }
    }

    /// Looks at the clocks; `wall` is zero if the calendar is not known. Returns whether the wall
    /// clock was set since the last look.
    pub(super) fn look(&mut self, now: Instant, wall: Timestamp) -> bool {
        let running = running(now);
        let shown = if wall.get() == 0 { running } else { wall.get() };
        let before = core::mem::replace(&mut self.zero_ms, shown.wrapping_sub(running));
        let (zero, to) = (self.zero_ms, Timestamp::new(shown));
        let Some(last) = self.stretches_mut().last_mut() else {
            // What it showed before, nobody saw: it is taken to have been the same clock.
            self.begin(Stretch { to, ..Stretch::at(Timestamp::new(zero), zero) });
            return false;
        };
        if zero.abs_diff(before) <= APART_MS_MAX {
            let moved = u32::try_from(zero.abs_diff(last.zero_ms)).unwrap_or(u32::MAX);
            last.spread_ms = last.spread_ms.max(moved);
            last.to = last.to.max(to);
            return false;
        }
        // When between the two looks it was set, nobody saw either.
        let seen = last.to.get().wrapping_sub(before);
        last.to = last.to.max(Timestamp::new(before.wrapping_add(running)));
        let from = Timestamp::new(zero.wrapping_add(seen).min(shown));
        let offset = last.offset.map(|of| of.of_clock_ahead(zero.wrapping_sub(last.zero_ms)));
        self.begin(Stretch { to, offset, ..Stretch::at(from, zero) });
        true
    }

    /// The gateway said its time: it was `above` at some moment since `asked`. One that can't be is
    /// not heard.
    pub(super) fn hear(&mut self, above: Timestamp, asked: Instant, now: Instant) {
        let Some(last) = self.stretches_mut().last().filter(|_| is_plausible(above)) else {
            return;
        };
        let (zero, took) = (last.zero_ms, now.since(asked).millis());
        let heard = ClockOffset::heard(above, took, zero.wrapping_add(running(now)));
        let known = last.offset.unwrap_or(heard);
        let apart = known.delta_ms.abs_diff(heard.delta_ms);
        let errors = u64::from(known.error_ms) + u64::from(heard.error_ms);
        let offset = if apart <= errors + APART_MS_MAX + now.millis() / DRIFT_PART {
            // Either was right in its time.
            let both = u32::try_from(apart).unwrap_or(u32::MAX).saturating_add(heard.error_ms);
            ClockOffset { error_ms: known.error_ms.max(both), ..known }
        } else {
            // The gateway was wrong before.
            heard
        };
        for stretch in self.stretches_mut() {
            stretch.offset = Some(offset.of_clock_ahead(stretch.zero_ms.wrapping_sub(zero)));
        }
    }

    /// What readers need to know, as a note in `buffer`; none if they need nothing, or nothing is
    /// known. `openings` are those of the journal.
    pub(super) fn note<'b>(
        &self,
        openings: &[OpeningNote],
        buffer: &'b mut [u8; NOTE_BYTES_MAX],
    ) -> Option<&'b [u8]> {
        let stretches = self.stretches.get(..self.count)?;
        if !matters(stretches) || stretches.last()?.offset.is_none() {
            return None;
        }
        let boot = openings.last()?.boot;
        let first = openings.iter().rposition(|opening| opening.boot != boot);
        let of_boot = openings.get(first.map_or(0, |before| before + 1)..)?;
        let mut writer = Writer::new(buffer);
        put_note(&mut writer, of_boot.iter().map(|opening| opening.epoch), stretches).ok()?;
        let len = writer.len();
        buffer.get(..len)
    }

    fn stretches_mut(&mut self) -> &mut [Stretch] {
        self.stretches.get_mut(..self.count).unwrap_or_default()
    }

    fn begin(&mut self, stretch: Stretch) {
        if self.count == STRETCHES {
            self.stretches.rotate_left(1);
        } else {
            self.count += 1;
        }
        if let Some(last) = self.stretches_mut().last_mut() {
            *last = stretch;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use landfall_core::num::{BootId, Epoch};
    use landfall_protocol::clock::{Corrected, SET_MS_MIN};

    use super::*;

    const YEAR: i64 = 31_536_000_000;
    const HUB: i64 = SET_MS_MIN + YEAR;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn stamp(ms: i64) -> Timestamp {
        Timestamp::new(ms)
    }

    /// The stretches that a clock tells of, and the epochs; none if it tells nothing.
    fn told(clock: &Clock, openings: &[OpeningNote]) -> Option<(Vec<u64>, Vec<Stretch>)> {
        use landfall_core::codec::Reader;
        let mut buffer = [0; NOTE_BYTES_MAX];
        let mut reader = Reader::new(clock.note(openings, &mut buffer)?);
        assert_eq!(reader.u8(), Ok(landfall_protocol::clock::NOTE_FORMAT));
        let epochs = (0..reader.u8().unwrap()).map(|_| reader.u64().unwrap()).collect();
        let stretches = (0..reader.u8().unwrap()).map(|_| Stretch::take(&mut reader).unwrap());
        let stretches = stretches.collect();
        assert!(reader.is_empty());
        Some((epochs, stretches))
    }

    fn opening(boot: u64, epoch: u64) -> OpeningNote {
        let (boot, epoch) = (BootId::new(boot), Epoch::new(epoch));
        OpeningNote { boot, epoch, ..OpeningNote::default() }
    }

    fn stretches(clock: &Clock) -> Vec<Stretch> {
        told(clock, &[opening(1, 1)]).map(|(_, stretches)| stretches).unwrap_or_default()
    }

    #[test]
    fn a_running_clock_is_corrected_once_the_time_was_heard() {
        let mut clock = Clock::new();
        clock.look(at(5_000), stamp(0));
        assert_eq!(stretches(&clock), [], "nothing was heard");
        clock.hear(stamp(9), at(5_000), at(5_100));
        assert_eq!(stretches(&clock), [], "a gateway whose clock was not set");
        clock.hear(stamp(HUB), at(5_000), at(5_100));
        let [running] = stretches(&clock)[..] else { panic!("one stretch") };
        assert!(running.shows(stamp(0)) && running.shows(stamp(5_000)));
        assert_eq!(running.correct(stamp(50)), Corrected::At(stamp(HUB + 50 - 5_050), 50));
    }

    #[test]
    fn a_calendar_that_comes_later_begins_another_stretch() {
        let mut clock = Clock::new();
        assert!(!clock.look(at(5_000), stamp(0)));
        clock.hear(stamp(HUB), at(5_000), at(5_000));
        assert!(!clock.look(at(6_000), stamp(0)));
        assert!(clock.look(at(9_000), stamp(HUB + 4_000)), "it was set");
        assert!(!clock.look(at(10_000), stamp(HUB + 5_000)));
        let [running, set] = stretches(&clock)[..] else { panic!("two stretches") };
        assert!(running.shows(stamp(9_000)) && !running.shows(stamp(12_000)));
        assert_eq!(running.correct(stamp(8_000)), Corrected::At(stamp(HUB + 3_000), 0));
        assert!(set.shows(stamp(HUB + 1_000)), "it may have been set right after it was seen");
        assert_eq!(set.correct(stamp(HUB + 4_500)), Corrected::Same);
        assert!(clock.look(at(11_000), stamp(HUB - YEAR)));
        assert_eq!(stretches(&clock).len(), 2, "the oldest is forgotten");
        assert_eq!(stretches(&clock)[0], Stretch { to: stamp(HUB + 6_000), ..set });
    }

    #[test]
    fn a_calendar_that_is_right_is_not_worth_a_word() {
        let mut clock = Clock::new();
        clock.look(at(5_000), stamp(HUB));
        clock.hear(stamp(HUB + 1_500), at(5_000), at(5_000));
        assert_eq!(stretches(&clock), []);
        clock.look(at(3_605_000), stamp(HUB + 3_601_000));
        assert_eq!(stretches(&clock), [], "it was kept in step");
    }

    #[test]
    fn a_clock_that_drifts_makes_the_error_wider_and_a_gateway_that_was_wrong_does_not() {
        let (mut clock, day) = (Clock::new(), 86_400_000);
        clock.look(at(0), stamp(0));
        clock.hear(stamp(HUB + YEAR), at(0), at(10));
        clock.hear(stamp(HUB + 1_010), at(1_000), at(1_010));
        let heard = ClockOffset { delta_ms: HUB + 5, error_ms: 5 };
        assert_eq!(stretches(&clock)[0].offset, Some(heard), "the first was wrong by a year");
        clock.hear(stamp(HUB + 9_000 + day), at(day as u64), at(day as u64));
        let drifted = ClockOffset { error_ms: 8_995, ..heard };
        assert_eq!(stretches(&clock)[0].offset, Some(drifted));
        clock.hear(stamp(HUB + 7_000 + day), at(day as u64), at(day as u64));
        assert_eq!(stretches(&clock)[0].offset, Some(drifted), "it was both");
    }

    #[test]
    fn a_note_is_of_the_openings_since_the_machine_was_started() {
        let mut clock = Clock::new();
        clock.look(at(0), stamp(0));
        clock.hear(stamp(HUB), at(0), at(0));
        let openings = [opening(1, 10), opening(2, 20), opening(2, 21)];
        assert_eq!(told(&clock, &openings).unwrap().0, [20, 21]);
        assert_eq!(told(&clock, &openings[..1]).unwrap().0, [10]);
    }

    #[test]
    fn what_no_clock_shows_stays_within_its_bounds() {
        for wall in [i64::MIN, -1, 1, i64::MAX] {
            let mut clock = Clock::new();
            clock.look(at(u64::MAX), stamp(wall));
            clock.look(at(0), stamp(0));
            clock.look(at(0), stamp(-wall.max(-i64::MAX)));
            clock.hear(stamp(HUB), at(0), at(u64::MAX));
            clock.hear(stamp(HUB), at(0), at(0));
            assert!(!stretches(&clock).is_empty());
        }
    }
}
