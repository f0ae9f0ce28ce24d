//! What is known of a machine's clock from one start of it to the next: which times it showed, and
//! how far they were from the time of the node above.
//!
//! ```text
//! running clock  0 ────────────── suspended ─────────────────────▶   never set, never back
//! wall clock     1970 ───── stretch ─────┤├──── stretch ─────────▶   set once: two stretches
//! node above                                  ▲ heard here: both stretches can be corrected
//! ```
//!
//! A *stretch* is a time in which nobody set the wall clock, so that it went on together with the
//! running clock, which also counts suspend. Once the time of the node above was heard, it is known
//! for all stretches since the machine started, since the running clock lies between them.
//!
//! None of it changes a record: it only tells a reader what its timestamp would have been.

use landfall_core::codec::{Malformed, NoRoom, Reader, Writer};
use landfall_core::num::{BootId, Epoch, Timestamp};
use landfall_protocol::limits::CLOCK_NOTE_BYTES_MAX;

/// Epochs of a note; older ones are forgotten.
pub const EPOCHS_MAX: usize = 32;
/// Stretches of a note; older ones are forgotten.
pub const STRETCHES_MAX: usize = 8;
/// Bytes of a note at most.
pub const NOTE_BYTES_MAX: usize = 3 + EPOCHS_MAX * 8 + STRETCHES_MAX * STRETCH_BYTES;

/// 2025-01-01T00:00:00Z. A clock that shows less was not set: no node ran before.
pub const SET_MS_MIN: i64 = 1_735_689_600_000;
/// 2100-01-01T00:00:00Z. Nobody's clock shows more.
const SET_MS_MAX: i64 = 4_102_444_800_000;
/// How far two clocks may be apart before it is worth a word.
pub const APART_MS_MAX: u64 = 2_000;
/// A timestamp may be read a little before it is seen that the clock was set.
const SLACK_MS: i64 = 1_000;
const STRETCH_BYTES: usize = 8 + 8 + 8 + 4 + 1 + 8 + 4;
const FORMAT: u8 = 1;

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

/// A time in which nobody set the wall clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stretch {
    /// The first reading of the wall clock that may be of it.
    pub from: Timestamp,
    /// The last reading of it that is known; the newest stretch goes on.
    pub to: Timestamp,
    /// What the wall clock would have shown when the running clock was 0, in milliseconds.
    pub zero_ms: i64,
    /// By how many milliseconds that moved while the clock was kept in step, to either side.
    pub spread_ms: u32,
    /// How far it was from the time of the node above, if that was heard.
    pub offset: Option<ClockOffset>,
}

/// How far a clock is from another one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClockOffset {
    /// Milliseconds to be added to what it shows.
    pub delta_ms: i64,
    /// By how much that may be wrong to either side: half of what the answer took.
    pub error_ms: u32,
}

/// What a timestamp that a machine's clock gave would have been.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Corrected {
    /// This, and by how many milliseconds it may be wrong to either side.
    At(Timestamp, u32),
    /// Nothing says that it was wrong.
    Same,
    /// The clock was wrong, and how far is not known; or it was set back, so that it showed this
    /// time twice.
    Uncertain,
}

impl Stretch {
    pub(crate) fn at(wall: Timestamp, zero_ms: i64) -> Self {
        Self { from: wall, to: wall, zero_ms, spread_ms: 0, offset: None }
    }

    /// Whether nobody had set the clock.
    pub fn is_unset(&self) -> bool {
        self.from.get() < SET_MS_MIN
    }

    /// Whether it is known to be wrong.
    pub fn is_wrong(&self) -> bool {
        self.offset.is_some_and(|offset| offset.matters())
    }

    /// Whether it is known to have shown a time, or nearly.
    fn shows(&self, wall: i64) -> bool {
        let (from, to) = (self.from.get(), self.to.get());
        (from.saturating_sub(SLACK_MS)..=to.saturating_add(SLACK_MS)).contains(&wall)
    }
}

impl ClockOffset {
    /// Whether the clocks are so far apart that it can't be for the way between them.
    pub fn matters(&self) -> bool {
        self.delta_ms.unsigned_abs() > APART_MS_MAX + u64::from(self.error_ms)
    }

    /// Whether two statements can both be true.
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        let apart = self.delta_ms.abs_diff(other.delta_ms);
        apart <= APART_MS_MAX + u64::from(self.error_ms) + u64::from(other.error_ms)
    }
}

/// Whether a node may go by a time that another one says.
pub(crate) fn is_plausible(wall: Timestamp) -> bool {
    (SET_MS_MIN..SET_MS_MAX).contains(&wall.get())
}

impl ClockNote {
    /// Whether readers need it: the clock was not set, or was set meanwhile, or was wrong.
    pub fn matters(&self) -> bool {
        let wrong = |stretch: &Stretch| stretch.is_unset() || stretch.is_wrong();
        self.stretches.len() > 1 || self.stretches.iter().any(wrong)
    }

    /// What a time that this clock gave would have been.
    pub fn correct(&self, wall: Timestamp) -> Corrected {
        let mut shown = self.stretches.iter().filter(|stretch| stretch.shows(wall.get()));
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
        let written = self.encode(&mut writer);
        assert!(written.is_ok(), "a note has its limits");
        let len = writer.len();
        bytes.truncate(len);
        bytes
    }

    fn encode(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        writer.u8(FORMAT)?;
        writer.u8(self.epochs.len() as u8)?;
        for epoch in &self.epochs {
            writer.u64(epoch.get())?;
        }
        writer.u8(self.stretches.len() as u8)?;
        for Stretch { from, to, zero_ms, spread_ms, offset } in &self.stretches {
            writer.bytes(&from.get().to_le_bytes())?;
            writer.bytes(&to.get().to_le_bytes())?;
            writer.bytes(&zero_ms.to_le_bytes())?;
            writer.u32(*spread_ms)?;
            writer.u8(u8::from(offset.is_some()))?;
            let ClockOffset { delta_ms, error_ms } =
                offset.unwrap_or(ClockOffset { delta_ms: 0, error_ms: 0 });
            writer.bytes(&delta_ms.to_le_bytes())?;
            writer.u32(error_ms)?;
        }
        Ok(())
    }

    /// Reads a note of a start of a machine.
    ///
    /// # Errors
    /// It is none, or over its limits.
    pub fn decode(boot: BootId, bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != FORMAT {
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
        let stretches = (0..stretches).map(|_| Stretch::decode(&mut reader));
        let stretches = stretches.collect::<Result<Vec<_>, _>>()?;
        if !reader.is_empty() {
            return Err(Malformed::Contradiction);
        }
        Ok(Self { boot, epochs, stretches })
    }
}

impl Stretch {
    fn correct(&self, wall: Timestamp) -> Corrected {
        match self.offset {
            Some(offset) if offset.matters() => {
                let error_ms = offset.error_ms.saturating_add(self.spread_ms);
                Corrected::At(Timestamp::new(wall.get().saturating_add(offset.delta_ms)), error_ms)
            }
            Some(_) => Corrected::Same,
            None if self.is_unset() => Corrected::Uncertain,
            None => Corrected::Same,
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let from = Timestamp::new(i64::from_le_bytes(reader.array()?));
        let to = Timestamp::new(i64::from_le_bytes(reader.array()?));
        let zero_ms = i64::from_le_bytes(reader.array()?);
        let spread_ms = reader.u32()?;
        let heard = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(Malformed::Unknown),
        };
        let delta_ms = i64::from_le_bytes(reader.array()?);
        let error_ms = reader.u32()?;
        if !heard && (delta_ms, error_ms) != (0, 0) {
            return Err(Malformed::Contradiction);
        }
        let offset = heard.then_some(ClockOffset { delta_ms, error_ms });
        Ok(Self { from, to, zero_ms, spread_ms, offset })
    }
}

#[cfg(test)]
mod tests {
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
