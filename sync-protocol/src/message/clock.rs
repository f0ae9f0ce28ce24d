//! What a node tells of a machine's clock.

use landfall_core::codec::{Malformed, NoRoom};
use landfall_core::num::BootId;

use super::site;
use crate::limits::CLOCK_NOTE_BYTES_MAX;
use crate::wire::{IdWire, Input, Output, at_most};

/// What is known of the clock of one start of a machine, for readers above to correct the times
/// that it gave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Clock<'a> {
    /// The site whose clock it is: the sender's, or one whose records it may carry.
    pub site: &'a str,
    /// The start of its machine.
    pub boot: BootId,
    /// The note, as it is stored; up to 640 bytes.
    pub note: &'a [u8],
}

impl<'a> Clock<'a> {
    pub(crate) fn put(&self, out: &mut Output<'_>) -> Result<(), NoRoom> {
        out.value(&(self.site, IdWire(self.boot.get()), self.note))
    }

    pub(crate) fn take(input: &mut Input<'a>) -> Result<Self, Malformed> {
        let (name, boot, note): (&str, IdWire, &[u8]) = input.value()?;
        let note = at_most(note, CLOCK_NOTE_BYTES_MAX)?;
        Ok(Self { site: site(name)?, boot: BootId::new(boot.0), note })
    }
}
