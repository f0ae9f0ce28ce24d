//! What a node knows of a machine's clock from one start of it to the next; see
//! [`landfall_protocol::clock`].

use landfall_core::codec::{Malformed, Reader, Writer};
use landfall_core::num::{BootId, Epoch, Timestamp};
use landfall_protocol::clock::{self, EPOCHS_MAX, NOTE_FORMAT, STRETCHES_MAX, note_bytes};
use landfall_protocol::clock::{Corrected, Stretch};
use landfall_protocol::limits::CLOCK_NOTE_BYTES_MAX;

/// Bytes of a note at most.
pub const NOTE_BYTES_MAX: usize = note_bytes(EPOCHS_MAX, STRETCHES_MAX);

const _: () = assert!(NOTE_BYTES_MAX <= CLOCK_NOTE_BYTES_MAX, "a note can be told");

/// The clock of one start of a machine, as its node saw it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClockNote {
    /// The start of the machine.
    pub boot: BootId,
    /// The epochs of the journal in it, the oldest first.
    pub epochs: Vec<Epoch>,
    /// The stretches, the oldest first; at least one.
    pub stretches: Vec<Stretch>,
}

impl ClockNote {
    /// Whether readers need it: the clock was not set, or was set meanwhile, or was wrong.
    pub fn matters(&self) -> bool {
        clock::matters(&self.stretches)
    }

    /// What a time that this clock gave would have been.
    pub fn correct(&self, wall: Timestamp) -> Corrected {
        let mut shown = self.stretches.iter().filter(|stretch| stretch.shows(wall));
        let newest = self.stretches.last().filter(|newest| wall >= newest.from);
        let Some(one) = shown.next().or(newest) else { return Corrected::Uncertain };
        let alike = |other: &Stretch| {
            one.offset.zip(other.offset).is_some_and(|(one, other)| one.agrees(&other))
        };
        if shown.all(alike) { one.correct(wall) } else { Corrected::Uncertain }
    }

    /// The note as it is stored and sent.
    pub fn encoded(&self) -> Vec<u8> {
        let mut bytes = vec![0; NOTE_BYTES_MAX];
        let mut writer = Writer::new(&mut bytes);
        let epochs = self.epochs.iter().copied();
        let written = clock::put_note(&mut writer, epochs, &self.stretches);
        assert!(written.is_ok(), "a note has its limits");
        let len = writer.len();
        bytes.truncate(len);
        bytes
    }

    /// Reads a note of a start of a machine.
    ///
    /// # Errors
    /// It is none, or over its limits.
    pub fn decode(boot: BootId, bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != NOTE_FORMAT {
            return Err(Malformed::Unknown);
        }
        let epochs = usize::from(reader.u8()?);
        if epochs == 0 || epochs > EPOCHS_MAX {
            return Err(Malformed::Limit);
        }
        let epochs = (0..epochs).map(|_| reader.u64().map(Epoch::new));
        let epochs = epochs.collect::<Result<Vec<_>, _>>()?;
        let stretches = usize::from(reader.u8()?);
        if stretches == 0 || stretches > STRETCHES_MAX {
            return Err(Malformed::Limit);
        }
        let stretches = (0..stretches).map(|_| Stretch::take(&mut reader));
        let stretches = stretches.collect::<Result<Vec<_>, _>>()?;
        if !reader.is_empty() {
            return Err(Malformed::Contradiction);
        }
        Ok(Self { boot, epochs, stretches })
    }
}

#[cfg(test)]
mod tests {
    use landfall_protocol::clock::{ClockOffset, SET_MS_MIN};

    use super::*;

    const BOOT: BootId = BootId::new(9);

    fn at(ms: i64) -> Timestamp {
        Timestamp::new(ms)
    }

    fn stretch(from: i64, to: i64, delta_ms: Option<i64>) -> Stretch {
        let offset = delta_ms.map(|delta_ms| ClockOffset { delta_ms, error_ms: 5 });
        Stretch { from: at(from), to: at(to), zero_ms: from, spread_ms: 2, offset }
    }

    fn note(stretches: &[Stretch]) -> ClockNote {
        let (epochs, stretches) = (vec![Epoch::new(1), Epoch::new(2)], stretches.to_vec());
        ClockNote { boot: BOOT, epochs, stretches }
    }

    #[test]
    fn a_time_is_corrected_by_the_one_stretch_that_showed_it() {
        let known = note(&[
            stretch(0, 50_000, Some(SET_MS_MIN)),
            stretch(SET_MS_MIN, SET_MS_MIN + 9_000, Some(0)),
        ]);
        assert_eq!(known.correct(at(7)), Corrected::At(at(SET_MS_MIN + 7), 7));
        assert_eq!(known.correct(at(SET_MS_MIN + 7)), Corrected::Same);
        assert_eq!(known.correct(at(SET_MS_MIN + 90_000)), Corrected::Same, "the last goes on");
        assert_eq!(known.correct(at(70_000)), Corrected::Uncertain, "nobody saw it show that");
        let twice = note(&[stretch(0, 50_000, Some(9_000)), stretch(40_000, 90_000, Some(20_000))]);
        assert_eq!(twice.correct(at(45_000)), Corrected::Uncertain);
        assert_eq!(twice.correct(at(60_000)), Corrected::At(at(80_000), 7));
        let unheard = note(&[stretch(0, 50_000, None)]);
        assert_eq!(unheard.correct(at(7)), Corrected::Uncertain);
    }

    #[test]
    fn what_nobody_can_mean_stays_within_its_bounds() {
        let far = note(&[stretch(i64::MIN, i64::MAX, Some(i64::MIN))]);
        for time in [i64::MIN, -1, 0, i64::MAX] {
            let Corrected::At(..) = far.correct(at(time)) else { panic!("{time}") };
        }
        let both = [stretch(0, 1, Some(i64::MIN)), stretch(0, 1, Some(i64::MAX))];
        assert_eq!(note(&both).correct(at(0)), Corrected::Uncertain);
    }

    #[test]
    fn a_note_comes_back_and_the_longest_has_its_length() {
        let short = note(&[stretch(-5, 7, Some(-3)), stretch(9, 10, None)]);
        assert_eq!(ClockNote::decode(BOOT, &short.encoded()), Ok(short));
        let epochs = vec![Epoch::new(u64::MAX); EPOCHS_MAX];
        let stretches = vec![stretch(i64::MIN, i64::MAX, Some(-1)); STRETCHES_MAX];
        let longest = ClockNote { boot: BOOT, epochs, stretches };
        assert_eq!(longest.encoded().len(), NOTE_BYTES_MAX);
        assert_eq!(ClockNote::decode(BOOT, &longest.encoded()), Ok(longest));
    }

    #[test]
    fn any_bytes_are_a_note_or_none() {
        let whole = note(&[stretch(-5, 7, Some(-3)), stretch(9, 10, None)]).encoded();
        for at in 0..whole.len() {
            assert!(ClockNote::decode(BOOT, &whole[..at]).is_err(), "{at} bytes");
            for byte in 0..=u8::MAX {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                if let Ok(note) = ClockNote::decode(BOOT, &bytes) {
                    assert_eq!(note.encoded(), bytes, "byte {at}");
                }
            }
        }
    }
}
