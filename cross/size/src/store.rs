//! What a device calls of `landfall-core`: a journal on flash that is opened, appended to, read,
//! trimmed and closed.

use core::hint::black_box;

use landfall_core::batch::{ClockQuality, batches};
use landfall_core::checksum::Checksum;
use landfall_core::frontier::{BranchIx, Frontier};
use landfall_core::gap::GapReason;
use landfall_core::journal::{Config, Fresh, Journal, ReadStep};
use landfall_core::limits::LANES_MAX;
use landfall_core::media::{Geometry, Media, MediaError, Place, SlotIx};
use landfall_core::name::StreamId;
use landfall_core::num::{BootId, CommitNo, Epoch, Lane, LogId, Partition, Timestamp};
use landfall_core::record::Record;
use landfall_core::tables::{Parts, Small};

const FLASH: Geometry = Geometry { slots: 64, slot_bytes: 4096, unit_bytes: 8, overwrites: false };
const LANE: Lane = Lane::new(0);

/// Two streams, 64 slots, commits of up to 1 KiB.
type Device = Small<2, 64, 2048>;

/// A journal's whole life. The tables are static on a device; here they are on the stack, and
/// `size_of` tells how large they are.
pub fn exercise() {
    let mut slots = [0; LANES_MAX];
    slots[0] = FLASH.slots - 2;
    let config = Config {
        checksum: Checksum::PORTABLE,
        lanes: 1,
        slots,
        entry_max: 1024,
        commit_max: 1536,
        join_max: 1024,
    };
    let fresh = Fresh {
        log: LogId::new(1),
        epoch: Epoch::new(black_box(2)),
        boot: BootId::new(3),
        first_commit: CommitNo::new(1),
    };
    let parts = Parts::<Device>::new(black_box("ship-1"));
    let Ok((mut journal, recovery)) = Journal::open(Flash, black_box(config), parts, fresh) else {
        return;
    };
    black_box(recovery);
    append(&mut journal);
    read(&mut journal);
    let _ = black_box(journal.close().is_ok());
}

/// Bytes that a device keeps for its journal.
pub const JOURNAL_BYTES: usize = size_of::<Journal<Flash, Device>>();

fn append(journal: &mut Journal<Flash, Device>) {
    let name = StreamId { origin: "ship-1", topic: black_box("ais"), partition: Partition::new(0) };
    let Ok(ix) = journal.frontier_mut().add(name) else { return };
    let value = black_box([7_u8; 32]);
    let record = Record::new(Timestamp::new(black_box(1)), None, Some(&value));
    let staged = journal.stage_record(LANE, ix, &record, ClockQuality::Unset);
    let _ = black_box(staged);
    let _ = black_box(journal.commit());
    let tip = journal.frontier().tip(ix).next;
    journal.frontier_mut().promise(ix, BranchIx::MAIN, tip, tip);
}

fn read(journal: &mut Journal<Flash, Device>) {
    let mut buffer = black_box([0_u8; 1280]);
    let mut cursor = journal.first(LANE);
    while let ReadStep::Entry(entry) = journal.read(LANE, &mut cursor, &mut buffer) {
        for batch in batches(entry.body, Checksum::PORTABLE).flatten() {
            for placed in batch.records().flatten() {
                black_box(placed.record.timestamp);
            }
        }
    }
    let durable = journal.oldest_is_durable(LANE, false, &mut buffer);
    let reason = (!durable).then_some(GapReason::Dropped);
    let _ = black_box(journal.drop_oldest(LANE, reason, &mut buffer));
}

/// Flash whose driver is somebody else's weight.
pub struct Flash;

impl Media for Flash {
    fn geometry(&self) -> Geometry {
        black_box(FLASH)
    }

    fn read(&self, place: Place, buffer: &mut [u8]) -> Result<(), MediaError> {
        black_box((place, buffer));
        black_box(Ok(()))
    }

    fn program(&mut self, place: Place, bytes: &[u8]) -> Result<(), MediaError> {
        black_box((place, bytes));
        black_box(Ok(()))
    }

    fn sync(&mut self, slot: SlotIx) -> Result<(), MediaError> {
        black_box(slot);
        black_box(Ok(()))
    }

    fn erase(&mut self, slot: SlotIx) -> Result<(), MediaError> {
        black_box(slot);
        black_box(Ok(()))
    }

    fn free(&mut self, slot: SlotIx) -> Result<(), MediaError> {
        black_box(slot);
        black_box(Ok(()))
    }
}
