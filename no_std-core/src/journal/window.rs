//! Reading a slot through a buffer: large reads while all is well, exact ones around bytes that
//! the medium can't give.

use crate::entry::{ENTRY_ALIGN, ENTRY_MAGIC};
use crate::media::{Media, MediaError, Place, SlotIx};

/// A part of a slot, loaded as it is needed.
pub(crate) struct Window<'a, M> {
    media: &'a M,
    buffer: &'a mut [u8],
    loaded: Loaded,
    end: u32,
}

/// What a window holds of its slot. It stays good as long as nobody else writes to the buffer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Loaded {
    slot: SlotIx,
    at: u32,
    len: usize,
    /// Whether a read failed in a way that says nothing of the bytes.
    failed: bool,
}

impl Loaded {
    /// Nothing of a slot.
    pub(crate) fn of(slot: SlotIx) -> Self {
        Self { slot, ..Self::default() }
    }

    /// The slot that the bytes are of.
    pub(crate) fn slot(&self) -> SlotIx {
        self.slot
    }

    /// The same bytes, with what went wrong so far forgotten.
    pub(crate) fn without_fault(self) -> Self {
        Self { failed: false, ..self }
    }

    /// `len` bytes from `at` on of what the buffer holds; nothing if it does not hold them.
    pub(crate) fn part<'b>(&self, buffer: &'b [u8], at: u32, len: usize) -> &'b [u8] {
        let held = at >= self.at && (at - self.at) as usize + len <= self.len;
        let from = at.saturating_sub(self.at) as usize;
        let bytes = held.then(|| buffer.get(from..from + len)).flatten();
        bytes.unwrap_or_default()
    }

    /// Somebody else writes to the buffer.
    pub(crate) fn forget(&mut self) {
        self.len = 0;
    }

    /// Whether a read failed in a way that says nothing of the bytes: what seemed to be missing may
    /// be there.
    pub(crate) fn failed(&self) -> bool {
        self.failed
    }

    /// A read failed in such a way.
    pub(crate) fn fail(&mut self) {
        self.failed = true;
    }

    /// Takes over whether a read failed.
    pub(crate) fn note(&mut self, other: Self) {
        self.failed |= other.failed;
    }
}

impl<'a, M: Media> Window<'a, M> {
    /// Reads `slot` up to `end` through `buffer`.
    pub(crate) fn new(media: &'a M, slot: SlotIx, end: u32, buffer: &'a mut [u8]) -> Self {
        Self { media, buffer, loaded: Loaded::of(slot), end }
    }

    /// Goes on with what an earlier window has left in the buffer.
    pub(crate) fn resume(mut self, loaded: Loaded) -> Self {
        if loaded.slot == self.loaded.slot {
            return Self { loaded, ..self };
        }
        self.loaded.note(loaded);
        self
    }

    /// What the buffer holds.
    pub(crate) fn loaded(&self) -> Loaded {
        self.loaded
    }

    /// Where the part of the slot that may be read ends.
    pub(crate) fn end(&self) -> u32 {
        self.end
    }

    /// How many bytes can be asked for at once.
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.len()
    }

    /// How many bytes are best asked for at once.
    pub(crate) fn step(&self) -> u32 {
        self.buffer.len().min(AHEAD_BYTES) as u32
    }

    /// `len` bytes from `at` on.
    ///
    /// # Errors
    /// They can't be read, lie behind the end, or are more than the buffer holds.
    pub(crate) fn get(&mut self, at: u32, len: usize) -> Result<&[u8], MediaError> {
        if len > self.end.saturating_sub(at) as usize {
            return Err(MediaError::Unreadable);
        }
        if !self.holds(at, len) {
            self.load(at, len)?;
        }
        let from = (at - self.loaded.at) as usize;
        self.buffer.get(from..from + len).ok_or(MediaError::Unreadable)
    }

    /// The next place behind `at` where an entry may begin. What is loaded is looked through for
    /// the bytes that each begins with.
    pub(crate) fn next_place(&self, at: u32) -> u32 {
        const STEP: usize = ENTRY_ALIGN;
        let next = at.saturating_add(STEP as u32);
        let from = next.wrapping_sub(self.loaded.at) as usize;
        let loaded = self.buffer.get(..self.loaded.len).and_then(|held| held.get(from..));
        let mut places = loaded.unwrap_or_default().chunks_exact(STEP);
        let begins = |place: &&[u8]| matches!(place, [a, b, ..] if [*a, *b] == ENTRY_MAGIC);
        let passed = places.by_ref().take_while(|place| !begins(place)).count();
        next.saturating_add((passed * STEP) as u32)
    }

    fn holds(&self, at: u32, len: usize) -> bool {
        at >= self.loaded.at && (at - self.loaded.at) as usize + len <= self.loaded.len
    }

    fn load(&mut self, at: u32, len: usize) -> Result<(), MediaError> {
        let left = self.end.saturating_sub(at) as usize;
        if len > self.buffer.len() {
            return Err(MediaError::Unreadable);
        }
        let slot = self.loaded.slot;
        let ahead = left.min(self.buffer.len()).min(AHEAD_BYTES.max(len));
        self.loaded.len = 0;
        for len in [ahead, len] {
            let Some(target) = self.buffer.get_mut(..len) else { break };
            match self.media.read(Place { slot, at }, target) {
                Ok(()) => {
                    (self.loaded.at, self.loaded.len) = (at, len);
                    return Ok(());
                }
                Err(MediaError::Unreadable) => {}
                Err(_) => self.loaded.failed = true,
            }
        }
        Err(MediaError::Unreadable)
    }
}

/// What is read at once. More saves calls while scanning and costs when only headers are wanted.
const AHEAD_BYTES: usize = 256 * 1024;
