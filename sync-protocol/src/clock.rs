//! What is known of a machine's clock: the times that it showed, and how far they were from the
//! time of the node above. It is told in [`crate::message::Clock`], in the form of a note that
//! `docs/format.md` describes.
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
use landfall_core::num::{Epoch, Timestamp};

/// Epochs of a note; older ones are forgotten.
pub const EPOCHS_MAX: usize = 32;
/// Stretches of a note; older ones are forgotten.
pub const STRETCHES_MAX: usize = 8;
/// The first byte of a note.
pub const NOTE_FORMAT: u8 = 1;
/// 2025-01-01T00:00:00Z. A clock that shows less was not set: no node ran before.
pub const SET_MS_MIN: i64 = 1_735_689_600_000;
/// How far two clocks may be apart before it is worth a word.
pub const APART_MS_MAX: u64 = 2_000;

/// 2100-01-01T00:00:00Z. Nobody's clock shows more.
const SET_MS_MAX: i64 = 4_102_444_800_000;
/// A timestamp may be read a little before it is seen that the clock was set.
const SLACK_MS: i64 = 1_000;
const STRETCH_BYTES: usize = 8 + 8 + 8 + 4 + 1 + 8 + 4;

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

/// Whether a node may go by a time that another one says.
pub fn is_plausible(wall: Timestamp) -> bool {
    (SET_MS_MIN..SET_MS_MAX).contains(&wall.get())
}

/// Whether readers need what is known of a clock: it was not set, or was set meanwhile, or was
/// wrong.
pub fn matters(stretches: &[Stretch]) -> bool {
    stretches.len() > 1 || stretches.iter().any(|of| of.is_unset() || of.is_wrong())
}

/// Bytes of a note of so many epochs and stretches.
pub const fn note_bytes(epochs: usize, stretches: usize) -> usize {
    3 + epochs * 8 + stretches * STRETCH_BYTES
}

/// Writes a note: the epochs of a start of a machine, and the stretches of its clock, both the
/// oldest first and within their limits.
///
/// # Errors
/// There is no room for it.
pub fn put_note(
    writer: &mut Writer<'_>,
    epochs: impl ExactSizeIterator<Item = Epoch>,
    stretches: &[Stretch],
) -> Result<(), NoRoom> {
    writer.u8(NOTE_FORMAT)?;
    writer.u8(epochs.len() as u8)?;
    for epoch in epochs {
        writer.u64(epoch.get())?;
    }
    writer.u8(stretches.len() as u8)?;
    stretches.iter().try_for_each(|stretch| stretch.put(writer))
}

impl Stretch {
    /// One that begins as the clock shows `wall`.
    pub const fn at(wall: Timestamp, zero_ms: i64) -> Self {
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
    pub fn shows(&self, wall: Timestamp) -> bool {
        let (from, to) = (self.from.get(), self.to.get());
        (from.saturating_sub(SLACK_MS)..=to.saturating_add(SLACK_MS)).contains(&wall.get())
    }

    /// What a time that it showed would have been.
    pub fn correct(&self, wall: Timestamp) -> Corrected {
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

    /// Reads one off a note.
    ///
    /// # Errors
    /// It is none.
    pub fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
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

    fn put(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        writer.bytes(&self.from.get().to_le_bytes())?;
        writer.bytes(&self.to.get().to_le_bytes())?;
        writer.bytes(&self.zero_ms.to_le_bytes())?;
        writer.u32(self.spread_ms)?;
        writer.u8(u8::from(self.offset.is_some()))?;
        let unheard = ClockOffset { delta_ms: 0, error_ms: 0 };
        let ClockOffset { delta_ms, error_ms } = self.offset.unwrap_or(unheard);
        writer.bytes(&delta_ms.to_le_bytes())?;
        writer.u32(error_ms)
    }
}

impl ClockOffset {
    /// By the time that a node above said, which was so at some moment in the `took` milliseconds
    /// before this clock shows `shown_ms`.
    pub fn heard(above: Timestamp, took_ms: u64, shown_ms: i64) -> Self {
        let error_ms = u32::try_from(took_ms.div_ceil(2)).unwrap_or(u32::MAX);
        let above = above.get().saturating_add(i64::from(error_ms));
        Self { delta_ms: above.saturating_sub(shown_ms), error_ms }
    }

    /// The same of a clock that shows so many milliseconds more.
    #[must_use]
    pub fn of_clock_ahead(self, by_ms: i64) -> Self {
        Self { delta_ms: self.delta_ms.saturating_sub(by_ms), ..self }
    }

    /// Whether the clocks are so far apart that it can't be for the way between them.
    pub fn matters(&self) -> bool {
        self.delta_ms.unsigned_abs() > APART_MS_MAX + u64::from(self.error_ms)
    }

    /// Whether two statements can both be true.
    pub fn agrees(&self, other: &Self) -> bool {
        let apart = self.delta_ms.abs_diff(other.delta_ms);
        apart <= APART_MS_MAX + u64::from(self.error_ms) + u64::from(other.error_ms)
    }
}
