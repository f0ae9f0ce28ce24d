//! The memory that a journal works in: all of it is handed in, so that a microcontroller can give
//! arrays and a hub tables that grow with it.

use crate::frontier::{BranchIx, Frontier, StreamIx};
use crate::gap::GapReason;
use crate::hash::StreamHash;
use crate::num::{BootId, CommitNo, Epoch, Lane, Offset, OpenTime, Opening, SegmentNo, Seq};
use crate::producers::{ProducerSlot, Producers};

/// The kinds of memory of one kind of node.
pub trait Tables {
    /// How far each stream has come.
    type Frontier: Frontier;
    /// A place for each slot of the medium.
    type Slots: AsRef<[Slot]> + AsMut<[Slot]>;
    /// A place for each producer that is remembered.
    type Producers: AsRef<[ProducerSlot]> + AsMut<[ProducerSlot]>;
    /// A place for each loss that is remembered on its own.
    type Losses: AsRef<[Loss]> + AsMut<[Loss]>;
    /// A place for each opening that is remembered.
    type Openings: AsRef<[OpeningNote]> + AsMut<[OpeningNote]>;
    /// Room for a commit and a footer. It must hold the largest entry and 1 KiB more.
    type Buffer: AsRef<[u8]> + AsMut<[u8]>;
    /// Where a commit is kept while it is synced and the next one is staged.
    type Aside;
    /// Whether there is memory for that.
    const FLIES: bool;

    /// Changes the two with each other, if there is memory for it.
    fn swap(buffer: &mut Self::Buffer, aside: &mut Self::Aside);
}

/// The memory of one journal.
pub struct Parts<T: Tables> {
    /// How far each stream has come.
    pub frontier: T::Frontier,
    /// What is in each slot of the medium.
    pub slots: T::Slots,
    /// The last sequence of each producer.
    pub producers: Producers<T::Producers>,
    /// What was lost here.
    pub losses: Ring<Loss, T::Losses>,
    /// The latest openings.
    pub openings: Ring<OpeningNote, T::Openings>,
    /// Room for a commit.
    pub buffer: T::Buffer,
    /// The commit that is being synced.
    pub aside: T::Aside,
}

/// What a slot holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SlotState {
    /// Nothing that is needed.
    #[default]
    Free,
    /// The segment that its lane appends to.
    Active,
    /// A segment that nothing is appended to any more.
    Sealed,
}

/// A slot of the medium and the segment in it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Slot {
    /// What it holds.
    pub state: SlotState,
    /// The lane of its segment.
    pub lane: Lane,
    /// The number of its segment.
    pub number: SegmentNo,
    /// The next seq of the lane when the segment began.
    pub base_seq: Seq,
    /// The first commit that may be in it.
    pub base_commit: CommitNo,
    /// Where its valid entries end.
    pub tail: u32,
    /// Header checksum of its last entry.
    pub last_crc: u32,
    /// Where its last commit begins, if this journal wrote or read it.
    pub last_at: u32,
    /// The lane's next seq before its last commit.
    pub last_seq: Seq,
    /// Bytes that its footer will take.
    pub footer_bytes: u32,
    /// Whether its footer can be made from the frontier's marks.
    pub footer_known: bool,
    /// Since when all that it holds is known to be durable elsewhere.
    pub durable_at: Option<OpenTime>,
}

/// Seqs of a lane, and where known the offsets of a stream, that are lost here.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Loss {
    /// The lane.
    pub lane: Lane,
    /// The first seq that is lost.
    pub first: Seq,
    /// The seq after the last one.
    pub end: Seq,
    /// The stream, if it could be told.
    pub stream: Option<(StreamIx, BranchIx)>,
    /// The first offset that is lost.
    pub from: Offset,
    /// The offset after the last one.
    pub to: Offset,
    /// The stream hash there, if it could be told.
    pub after: Option<StreamHash>,
    /// Why; [`GapReason::Damage`] unless told otherwise.
    pub reason: Option<GapReason>,
}

/// An opening of the journal for writing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct OpeningNote {
    /// Its place among the openings.
    pub opening: Opening,
    /// The epoch that was drawn for it.
    pub epoch: Epoch,
    /// The epoch that it goes on from; zero for the first.
    pub parent: Epoch,
    /// Its first commit.
    pub first_commit: CommitNo,
    /// The start of the machine in which it happened.
    pub boot: BootId,
}

/// The latest items of a kind, in a table of fixed size.
#[derive(Clone, Debug)]
pub struct Ring<I, S> {
    table: S,
    len: usize,
    forgotten: u64,
    kind: core::marker::PhantomData<I>,
}

impl<I: Copy, S: AsRef<[I]> + AsMut<[I]>> Ring<I, S> {
    /// Nothing yet. As many are remembered as the table has places.
    pub fn new(table: S) -> Self {
        Self { table, len: 0, forgotten: 0, kind: core::marker::PhantomData }
    }

    /// The items, the oldest first.
    pub fn all(&self) -> &[I] {
        self.table.as_ref().get(..self.len).unwrap_or_default()
    }

    /// The items, the oldest first, to be changed.
    pub fn all_mut(&mut self) -> &mut [I] {
        self.table.as_mut().get_mut(..self.len).unwrap_or_default()
    }

    /// How many items are remembered.
    pub fn room(&self) -> usize {
        self.table.as_ref().len()
    }

    /// How many items made room for newer ones.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Adds an item; the oldest makes room if there is none.
    pub fn push(&mut self, item: I) {
        if self.len == self.table.as_ref().len() {
            self.forgotten += 1;
            if self.len == 0 {
                return;
            }
            self.table.as_mut().copy_within(1.., 0);
            self.len -= 1;
        }
        if let Some(place) = self.table.as_mut().get_mut(self.len) {
            *place = item;
            self.len += 1;
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

/// Tables of fixed size: a device with up to `STREAMS` streams of its own, whose topics have names
/// of up to 32 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Small<const STREAMS: usize, const SLOTS: usize, const BUFFER: usize>;

impl<const STREAMS: usize, const SLOTS: usize, const BUFFER: usize> Tables
    for Small<STREAMS, SLOTS, BUFFER>
{
    type Frontier = crate::frontier::OwnFrontier<STREAMS, 32>;
    type Slots = [Slot; SLOTS];
    type Producers = [ProducerSlot; 8];
    type Losses = [Loss; 4];
    type Openings = [OpeningNote; 4];
    type Buffer = [u8; BUFFER];
    type Aside = ();
    const FLIES: bool = false;

    fn swap(_: &mut Self::Buffer, (): &mut Self::Aside) {}
}

impl<const STREAMS: usize, const SLOTS: usize, const BUFFER: usize>
    Parts<Small<STREAMS, SLOTS, BUFFER>>
{
    /// Empty tables for the site `origin`.
    pub fn new(origin: &str) -> Self {
        Self {
            frontier: crate::frontier::OwnFrontier::new(origin),
            slots: [Slot::default(); SLOTS],
            producers: Producers::new([ProducerSlot::default(); 8]),
            losses: Ring::new([Loss::default(); 4]),
            openings: Ring::new([OpeningNote::default(); 4]),
            buffer: [0; BUFFER],
            aside: (),
        }
    }
}

/// Tables on the heap, for streams of any origin.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug)]
pub struct Heap;

#[cfg(feature = "alloc")]
impl Tables for Heap {
    type Frontier = crate::frontier::HubFrontier;
    type Slots = alloc::vec::Vec<Slot>;
    type Producers = alloc::vec::Vec<ProducerSlot>;
    type Losses = alloc::vec::Vec<Loss>;
    type Openings = alloc::vec::Vec<OpeningNote>;
    type Buffer = alloc::vec::Vec<u8>;
    type Aside = alloc::vec::Vec<u8>;
    const FLIES: bool = true;

    fn swap(buffer: &mut Self::Buffer, aside: &mut Self::Aside) {
        if aside.len() != buffer.len() {
            *aside = alloc::vec![0; buffer.len()];
        }
        core::mem::swap(buffer, aside);
    }
}

#[cfg(feature = "alloc")]
impl Parts<Heap> {
    /// Empty tables for a medium of `slots` slots, up to `streams_max` streams, and commits of up
    /// to `commit_bytes` bytes.
    pub fn new(slots: u32, streams_max: usize, commit_bytes: usize) -> Self {
        let footer = crate::limits::ENTRY_BYTES_MAX + 4_096;
        Self {
            frontier: crate::frontier::HubFrontier::new(streams_max),
            slots: alloc::vec![Slot::default(); slots as usize],
            producers: Producers::new(alloc::vec![ProducerSlot::default(); 4_096]),
            losses: Ring::new(alloc::vec![Loss::default(); 1_024]),
            openings: Ring::new(alloc::vec![
                OpeningNote::default();
                crate::limits::OPENINGS_MAX
            ]),
            buffer: alloc::vec![0; commit_bytes + footer],
            aside: alloc::vec::Vec::new(),
        }
    }
}
