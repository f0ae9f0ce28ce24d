//! The memory that a device works in, lent by its caller.

use core::marker::PhantomData;

use landfall_core::frontier::OwnFrontier;
use landfall_core::producers::{ProducerSlot, Producers};
use landfall_core::tables::{Loss, OpeningNote, Parts, Ring, Slot, Tables};

/// The longest name of a topic on a device, in bytes.
pub const TOPIC_BYTES_MAX: usize = 32;

/// What a device is lent for as long as it is open; all of it may be in statics.
#[derive(Debug)]
pub struct Memory<'m> {
    /// One for each slot of the flash.
    pub slots: &'m mut [Slot],
    /// Where a commit is put together: 1,024 bytes more than the longest body of an entry.
    pub commit: &'m mut [u8],
    /// Where what is stored is read: the longest body of an entry and 48 bytes.
    pub read: &'m mut [u8],
}

/// The kinds of memory of a device with up to `STREAMS` streams. Of producers it remembers one: its
/// program appends by itself, and need not be told what it wrote before.
#[derive(Clone, Copy, Debug)]
pub struct Lent<'m, const STREAMS: usize>(PhantomData<&'m mut ()>);

impl<'m, const STREAMS: usize> Tables for Lent<'m, STREAMS> {
    type Frontier = OwnFrontier<STREAMS, TOPIC_BYTES_MAX>;
    type Slots = &'m mut [Slot];
    type Producers = [ProducerSlot; 1];
    type Losses = [Loss; 2];
    type Openings = [OpeningNote; 4];
    type Buffer = &'m mut [u8];
    type Aside = ();
    const FLIES: bool = false;

    fn swap(_: &mut Self::Buffer, (): &mut Self::Aside) {}
}

/// Empty tables for the site `origin`, whose name was checked.
pub(crate) fn parts<'m, const STREAMS: usize>(
    origin: &str,
    slots: &'m mut [Slot],
    commit: &'m mut [u8],
) -> Parts<Lent<'m, STREAMS>> {
    slots.fill(Slot::default());
    Parts {
        frontier: OwnFrontier::new(origin),
        slots,
        producers: Producers::new([ProducerSlot::default(); 1]),
        losses: Ring::new([Loss::default(); 2]),
        openings: Ring::new([OpeningNote::default(); 4]),
        buffer: commit,
        aside: (),
    }
}
