//! Bytes of a small disk: journals to begin with, changes of them, and checksums made to fit, so
//! that what stands behind checksums is reached as it would be by whoever forges a disk.

use std::sync::OnceLock;

use landfall_core::codec::Writer;
use landfall_core::control::GapBody;
use landfall_core::entry::{
    ENTRY_ALIGN, ENTRY_HEADER_BYTES, ENTRY_MAGIC, EntryHeader, Kind, Standing, Trailer,
};
use landfall_core::frontier::{BranchIx, Change, Frontier};
use landfall_core::gap::GapReason;
use landfall_core::journal::Journal;
use landfall_core::media::{Geometry, SlotIx};
use landfall_core::num::{CommitNo, Lane, LogId, Opening, SegmentNo, Seq};
use landfall_core::segment::{SEGMENT_HEADER_BYTES, SEGMENT_HEADERS_BYTES, SegmentHeader};
use landfall_core::tables::Heap;

use super::input::Input;
use landfall_simulation::journal::{CHECKSUM, append, config, fresh, heap, stage, stream};
use landfall_simulation::media::disk::SimDisk;
use landfall_simulation::media::image::Image;
use landfall_simulation::rng::Rng;

/// The disk of these targets.
pub(super) const SHAPE: Geometry =
    Geometry { slots: 8, slot_bytes: 8192, unit_bytes: 64, overwrites: true };

/// Where entries begin, for whoever makes inputs.
pub(super) const ENTRIES_AT: usize = SEGMENT_HEADERS_BYTES;

/// Both copies of the header of a segment of lane 0, in slot 2.
pub(super) fn header(number: u64) -> Vec<u8> {
    let header = SegmentHeader {
        lane: Lane::new(0),
        log: LogId::new(7),
        number: SegmentNo::new(number),
        base_seq: Seq::ZERO,
        base_commit: CommitNo::ZERO,
        opening: Opening::new(1),
        entry_max: SHAPE.slot_bytes / 4,
        slot: SlotIx(2),
    };
    let mut bytes = [0; SEGMENT_HEADERS_BYTES];
    let mut writer = Writer::new(&mut bytes);
    for _ in 0..2 {
        header.encode(&mut writer, SHAPE, CHECKSUM).expect("two headers have room");
    }
    bytes.to_vec()
}

/// A disk as an input says.
///
/// The choices: the lower two bits are what was there (nothing, zeros, a closed journal, one that
/// crashed); 0x80 makes checksums fit. Then come changes: slot, place (two bytes), what to do and
/// how much (the upper two bits and the others of a byte), and bytes.
pub(super) fn patched(choices: u8, input: &mut Input<'_>) -> Image {
    let mut image = match choices & 3 {
        0 => Image::new(SHAPE, vec![None; SHAPE.slots as usize]),
        1 => Image::new(SHAPE, vec![Some(vec![0; SHAPE.slot_bytes as usize]); 8]),
        2 => journals()[0].clone(),
        _ => journals()[1].clone(),
    };
    while !input.is_empty() {
        let (slot, at) = (usize::from(input.u8() % 8), usize::from(input.u16() % 8192));
        let what = input.u8();
        let len = usize::from(what & 0x3F) + 1;
        match what >> 6 {
            0 => write(image.slot_mut(slot), at, input.take(len), |_, new| new),
            1 => write(image.slot_mut(slot), at, &vec![input.u8(); len * 32], |_, new| new),
            2 => write(image.slot_mut(slot), at, input.take(len), |old, new| old ^ new),
            _ => {
                let (from, first) = (usize::from(input.u8() % 8), usize::from(input.u16() % 8192));
                let copied = image.slot_mut(from)[first..].iter().take(len * 32);
                let copied: Vec<u8> = copied.copied().collect();
                write(image.slot_mut(slot), at, &copied, |_, new| new);
            }
        }
    }
    if choices & 0x80 != 0 {
        reseal(&mut image);
    }
    image
}

fn write(slot: &mut [u8], at: usize, bytes: &[u8], mix: fn(u8, u8) -> u8) {
    for (old, new) in slot[at..].iter_mut().zip(bytes) {
        *old = mix(*old, *new);
    }
}

/// Makes the checksums of all segments fit what stands in them.
pub(super) fn reseal(image: &mut Image) {
    for (_, slot) in image.used_mut() {
        if !slot.starts_with(b"LANDFALL") {
            continue;
        }
        for copy in 0..2 {
            let copy = &mut slot[copy * SEGMENT_HEADER_BYTES..][..SEGMENT_HEADER_BYTES];
            let (summed, crc) = copy.split_at_mut(SEGMENT_HEADER_BYTES - 4);
            crc.copy_from_slice(&CHECKSUM.of(summed).to_le_bytes());
        }
        reseal_entries(slot);
    }
}

fn reseal_entries(slot: &mut [u8]) {
    let number = |at: usize| u64::from_le_bytes(slot[at..at + 8].try_into().expect("eight bytes"));
    let (log, segment) = (LogId::new(number(16)), SegmentNo::new(number(24)));
    let crc_at = SEGMENT_HEADER_BYTES - 4;
    let mut before = u32::from_le_bytes(slot[crc_at..crc_at + 4].try_into().expect("four bytes"));
    let mut at = ENTRIES_AT;
    while at + ENTRY_HEADER_BYTES <= slot.len() {
        let entry = &mut slot[at..];
        let header = EntryHeader::decode(entry).ok().filter(|_| entry.starts_with(&ENTRY_MAGIC));
        let Some(mut header) = header.filter(|header| header.body_end() <= entry.len()) else {
            at += ENTRY_ALIGN;
            continue;
        };
        let body = &mut entry[header.body_at()..header.body_end()];
        reseal_heads(body);
        (header.body_crc, header.before) = (CHECKSUM.of(body), before);
        let standing = Standing { log, segment, at: at as u32 };
        before = header.seal(entry, standing, CHECKSUM);
        let end = header.body_end();
        at += header.stride();
        if header.last
            && let Some(lanes) = entry.get(end + 2).copied()
        {
            let len = Trailer::encoded_len(lanes.min(7));
            if let Some(trailer) = entry.get_mut(end..end + len) {
                let (summed, crc) = trailer.split_at_mut(len - 4);
                crc.copy_from_slice(&CHECKSUM.on(before, summed).to_le_bytes());
            }
            at = (at - header.stride() + end + len).next_multiple_of(SHAPE.unit_bytes as usize);
        }
    }
}

/// Makes the checksums of the heads of batches fit.
pub(super) fn reseal_heads(body: &mut [u8]) {
    let mut at = 0;
    while let Some(len) = body.get(at..at + 2) {
        let len = usize::from(u16::from_le_bytes([len[0], len[1]]));
        // The last fields: len, two hashes, checksum.
        let Some(head) = body.get_mut(at..at + len).filter(|_| len >= 40) else { return };
        let (summed, crc) = head.split_at_mut(len - 4);
        crc.copy_from_slice(&CHECKSUM.of(summed).to_le_bytes());
        let records = summed[len - 40..len - 36].try_into().expect("four bytes");
        at = at.saturating_add(len).saturating_add(u32::from_le_bytes(records) as usize);
    }
}

/// A journal that was closed, and one that was not.
pub(super) fn journals() -> &'static [Image; 2] {
    static JOURNALS: OnceLock<[Image; 2]> = OnceLock::new();
    JOURNALS.get_or_init(|| [journal(true), journal(false)])
}

/// Says in lane 1 that offsets of a stream are missing.
fn state_a_gap(journal: &mut Journal<SimDisk, Heap>) {
    let ix = journal.frontier_mut().add(stream("gone")).expect("there is room");
    append(journal, Lane::new(1), "gone", b"before");
    let branch = journal.frontier().branch(ix, BranchIx::MAIN).expect("it was just written");
    let (name, from, to) = ((branch.first, branch.from), branch.tip.next, branch.tip.next.plus(5));
    let change = Change::Gap { branch: BranchIx::MAIN, to, after: None };
    let reason = GapReason::Operator;
    let gap = GapBody { stream: stream("gone"), branch: name, from, to, reason, after: None };
    let mut body = [0; 256];
    let mut writer = Writer::new(&mut body);
    gap.encode(&mut writer).expect("a gap is short");
    let staged = journal.stage_change(Lane::new(1), ix, change, Kind::Gap, writer.written());
    staged.expect("it goes on from the tip");
    journal.commit().expect("the disk is well");
}

/// Two lanes of a few segments with records, groups, a gap and a dropped segment.
fn journal(close: bool) -> Image {
    let disk = SimDisk::new(SHAPE.slots, SHAPE.slot_bytes, SHAPE.unit_bytes, 1);
    let mut rng = Rng::new(3);
    let config = config(SHAPE, 2, SHAPE.slot_bytes / 4);
    let opened = Journal::open(disk.clone(), config, heap(SHAPE, &config), fresh(&mut rng));
    let (mut journal, _) = opened.expect("an empty disk takes a journal");
    let mut buffer = vec![0; SHAPE.slot_bytes as usize];
    for round in 0..40_u8 {
        let lane = Lane::new(round % 2);
        if round % 5 == 0 {
            for topic in ["ais", "log", "ais"] {
                let staged = stage(&mut journal, lane, topic, &[round; 40]);
                staged.expect("there is room");
            }
        }
        append(&mut journal, lane, "ais", &vec![round; usize::from(round) * 7]);
        if round == 20 {
            let _ = journal.drop_oldest(Lane::new(0), Some(GapReason::Dropped), &mut buffer);
        }
    }
    state_a_gap(&mut journal);
    if close {
        journal.close().expect("the disk is well");
    }
    disk.image()
}
