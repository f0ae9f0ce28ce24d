//! A mebibyte of journal in which any bit may be flipped, and what a flip of it must come to.
//!
//! - A bit of an entry: a reader finds it, misses the seqs of that entry and no others, and goes
//!   on with the next one.
//! - A bit of a segment's header or of a trailer: its checksum finds it, `verify` names it, and
//!   nothing is missing.
//! - A bit of padding: nothing is missing.
//!
//! A flip can be looked at where it is, by a reader of the open journal, or by opening the journal
//! anew and reading all of it.

use landfall_core::entry::{ENTRY_HEADER_BYTES, EntryHeader, Standing, Trailer};
use landfall_core::frontier::HubFrontier;
use landfall_core::journal::{Cursor, Fault, Finding, Journal, ReadStep, StageError};
use landfall_core::media::{Media, Place, SlotIx};
use landfall_core::num::{Lane, LogId, Seq};
use landfall_core::segment::{SEGMENT_HEADER_BYTES, SEGMENT_HEADERS_BYTES, SegmentHeader};
use landfall_core::tables::{Heap, Loss};

use crate::journal::{CHECKSUM, Got, config, fresh, heap, lecture_with_losses, stage};
use crate::media::disk::SimDisk;
use crate::rng::Rng;

const SLOTS: u32 = 16;
const SLOT_BYTES: u32 = 64 * 1024;
const UNIT_BYTES: u32 = 512;
const ENTRY_MAX: u32 = 4 * 1024;
/// The lanes of the journal.
const LANES: [Lane; 2] = [Lane::new(0), Lane::new(1)];

/// What stands at a bit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// One of the two headers of a segment.
    Header,
    /// An entry: its header, its path or its body. The number is its place among all.
    Entry(usize),
    /// The trailer behind the last entry of a commit.
    Trailer(usize),
    /// What nobody reads: between an entry and the next, and behind the last.
    Padding,
    /// The control lane, which holds checkpoints: only an opening reads it.
    Control,
}

/// An entry of the undamaged journal.
#[derive(Clone, Copy, Debug)]
struct Stored {
    lane: Lane,
    slot: SlotIx,
    at: u32,
    header: EntryHeader,
    /// A reader that has come to it.
    before: Cursor,
}

/// A journal that was closed, and is open.
pub struct Rot {
    closed: SimDisk,
    disk: SimDisk,
    journal: Journal<SimDisk, Heap>,
    entries: Vec<Stored>,
    records: Vec<Vec<Got>>,
    log: LogId,
}

impl Rot {
    /// A journal of a mebibyte, full in both lanes.
    pub fn new(seed: u64) -> Self {
        let closed = SimDisk::new(SLOTS, SLOT_BYTES, UNIT_BYTES, seed);
        let mut rng = Rng::new(seed);
        let mut journal = open(&closed);
        for lane in LANES {
            while write_commit(&mut journal, lane, &mut rng) {}
        }
        journal.close().expect("the medium takes it");
        let disk = closed.duplicate();
        let journal = open(&disk);
        let log = journal.log();
        let mut rot = Self { closed, disk, journal, entries: vec![], records: vec![], log };
        LANES.into_iter().for_each(|lane| rot.learn(lane));
        rot
    }

    /// Bits of the whole medium.
    pub fn bits(&self) -> u64 {
        u64::from(SLOTS) * u64::from(SLOT_BYTES) * 8
    }

    /// What stands at a bit.
    pub fn part(&self, bit: u64) -> Part {
        let (slot, at) = place(bit);
        if slot.0 < 2 {
            return Part::Control;
        }
        if at < SEGMENT_HEADERS_BYTES as u32 {
            return Part::Header;
        }
        let holds = |stored: &Stored| stored.slot == slot && stored.at <= at;
        let Some(ix) = self.entries.iter().rposition(holds) else { return Part::Padding };
        let Stored { at: from, header, .. } = self.entries[ix];
        let body_end = from + header.body_end() as u32;
        let trailer = if header.last { Trailer::encoded_len(LANES.len() as u8) as u32 } else { 0 };
        match at {
            at if at < body_end => Part::Entry(ix),
            at if at < body_end + trailer => Part::Trailer(ix),
            _ => Part::Padding,
        }
    }

    /// Flips a bit under the open journal, and reads what stands around it.
    pub fn look_at(&self, bit: u64) {
        let (slot, _) = place(bit);
        let in_slot = bit % (u64::from(SLOT_BYTES) * 8);
        let part = self.part(bit);
        self.disk.flip_bit(slot, in_slot);
        match part {
            Part::Entry(ix) => self.reads(ix, true, bit),
            Part::Trailer(ix) => {
                assert!(!self.has_trailer(ix), "bit {bit}: the trailer of {ix} has its checksum");
                self.reads(ix, false, bit);
            }
            Part::Header => self.has_one_header(slot, bit),
            Part::Padding => self.reads_before(bit),
            Part::Control => panic!("no reader of a lane reads the control lane"),
        }
        self.disk.flip_bit(slot, in_slot);
    }

    /// Flips a bit of the closed journal, opens it, and reads all of it.
    pub fn open_with(&self, bit: u64) {
        let disk = self.closed.duplicate();
        disk.flip_bit(place(bit).0, bit % (u64::from(SLOT_BYTES) * 8));
        let mut journal = open(&disk);
        let hit = match self.part(bit) {
            Part::Entry(ix) => Some(self.entries[ix]),
            _ => None,
        };
        let lost = hit.filter(|hit| hit.header.records > 0);
        for lane in LANES {
            let lecture = lecture_with_losses(&mut journal, lane);
            let missing: Vec<_> = lost.iter().filter(|hit| hit.lane == lane).map(seqs).collect();
            assert_eq!(lecture.missing, missing, "bit {bit} of {hit:?}");
            let all = &self.records[usize::from(lane.get())];
            let is_lost =
                |got: &&Got| missing.iter().any(|(from, to)| (*from..*to).contains(&got.seq));
            assert!(
                all.iter().filter(|got| !is_lost(got)).eq(&lecture.records),
                "bit {bit} of {hit:?}: the other records are as they were"
            );
            for got in all.iter().filter(is_lost) {
                let told =
                    |loss: &Loss| loss.lane == lane && (loss.first..loss.end).contains(&got.seq);
                assert!(journal.losses().iter().any(told), "bit {bit}: no gap names {got:?}");
            }
        }
        let found = findings(&journal);
        assert!(lost.is_none() || !found.is_empty(), "bit {bit}: verify does not find {hit:?}");
        self.is_named(bit, &found);
    }

    /// What is not lost by a flip is named all the same.
    fn is_named(&self, bit: u64, found: &[Finding]) {
        let names = |fault| found.iter().any(|finding| finding.fault == fault);
        match self.part(bit) {
            Part::Trailer(_) => assert!(names(Fault::Trailer), "bit {bit}: {found:?}"),
            Part::Header => assert!(names(Fault::Header), "bit {bit}: {found:?}"),
            Part::Padding => assert_eq!(found, [], "bit {bit}"),
            Part::Entry(ix) => {
                let Stored { at, header, .. } = self.entries[ix];
                let told = place(bit).1 < at + header.body_at() as u32;
                let named = if told { !found.is_empty() } else { names(Fault::Body) };
                assert!(named, "bit {bit} of {header:?}: {found:?}");
            }
            // An opening that finds no checkpoint has written another one since.
            Part::Control => {}
        }
    }

    fn learn(&mut self, lane: Lane) {
        let mut cursor = self.journal.first(lane);
        let mut buffer = vec![0; SLOT_BYTES as usize];
        loop {
            let before = cursor;
            let step = self.journal.read(lane, &mut cursor, &mut buffer);
            let ReadStep::Entry(entry) = step else {
                assert!(matches!(step, ReadStep::End), "{step:?}");
                break;
            };
            let slot = self.slot_of(cursor);
            let same = before.segment == cursor.segment;
            let at = if same { before.at.max(UNIT_BYTES) } else { UNIT_BYTES };
            self.entries.push(Stored { lane, slot, at, header: entry.header, before });
        }
        let records = lecture_with_losses(&mut self.journal, lane).records;
        self.records.push(records);
    }

    fn slot_of(&self, cursor: Cursor) -> SlotIx {
        let holds = |slot: &SlotIx| {
            self.header(*slot, 0).is_some_and(|header| header.number == cursor.segment)
        };
        (0..SLOTS).map(SlotIx).find(holds).expect("the segment is there")
    }

    fn header(&self, slot: SlotIx, copy: u32) -> Option<SegmentHeader> {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        let at = copy * SEGMENT_HEADER_BYTES as u32;
        self.disk.read(Place { slot, at }, &mut bytes).expect("the medium is on");
        SegmentHeader::decode(&bytes, self.disk.geometry(), CHECKSUM).ok()
    }

    fn has_one_header(&self, slot: SlotIx, bit: u64) {
        let valid = (0..2).filter(|copy| self.header(slot, *copy).is_some()).count();
        assert_eq!(valid, 1, "bit {bit} of the headers of {slot:?}");
    }

    fn has_trailer(&self, ix: usize) -> bool {
        let Stored { slot, at, header, before, lane } = self.entries[ix];
        let mut bytes = vec![0; header.body_end() + Trailer::encoded_len(LANES.len() as u8)];
        self.disk.read(Place { slot, at }, &mut bytes).expect("the medium is on");
        let segment = self.header(slot, 0).map(|header| header.number);
        let segment = segment.unwrap_or_else(|| panic!("{before:?} of {lane} has a segment"));
        let (fixed, rest) = bytes.split_at(ENTRY_HEADER_BYTES);
        let path = &rest[..usize::from(header.path_len)];
        let standing = Standing { log: self.log, segment, at };
        let crc = EntryHeader::verify(fixed, path, standing, CHECKSUM).expect("it is undamaged");
        Trailer::decode(&bytes[header.body_end()..], crc, CHECKSUM).is_ok()
    }

    /// Reads an entry, which is lost or not, and the one behind it.
    fn reads(&self, ix: usize, lost: bool, bit: u64) {
        let Stored { lane, header, mut before, .. } = self.entries[ix];
        let mut buffer = [0; 2 * ENTRY_MAX as usize];
        let mut step = || match self.journal.read(lane, &mut before, &mut buffer) {
            ReadStep::Entry(entry) => Step::Entry(entry.header),
            ReadStep::Missing(from, to) => Step::Missing(from, to),
            ReadStep::End => Step::End,
            other => panic!("bit {bit}: {other:?}"),
        };
        if !lost {
            assert_eq!(step(), Step::Entry(header), "bit {bit} of {ix}");
        } else if header.records > 0 {
            assert_eq!(step(), Step::Missing(header.seq, header.end_seq()), "bit {bit} of {ix}");
        }
        let next = self.entries.get(ix + 1).filter(|next| next.lane == lane);
        let next = next.map_or(Step::End, |next| Step::Entry(next.header));
        assert_eq!(step(), next, "bit {bit}, behind {ix}");
    }

    /// Reads the entries around padding.
    fn reads_before(&self, bit: u64) {
        let (slot, at) = place(bit);
        let holds = |stored: &Stored| stored.slot == slot && stored.at <= at;
        let first = self.entries.iter().position(|stored| stored.slot == slot);
        if let Some(ix) = self.entries.iter().rposition(holds).or(first) {
            self.reads(ix, false, bit);
        }
    }
}

/// What a reader found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    Entry(EntryHeader),
    Missing(Seq, Seq),
    End,
}

fn seqs(hit: &Stored) -> (Seq, Seq) {
    (hit.header.seq, hit.header.end_seq())
}

fn place(bit: u64) -> (SlotIx, u32) {
    let byte = bit / 8;
    (SlotIx((byte / u64::from(SLOT_BYTES)) as u32), (byte % u64::from(SLOT_BYTES)) as u32)
}

/// Writes a commit of some entries; false if the lane is full.
fn write_commit(journal: &mut Journal<SimDisk, Heap>, lane: Lane, rng: &mut Rng) -> bool {
    loop {
        let mut value = vec![0; 20 + rng.below(1_500) as usize];
        rng.fill(&mut value);
        let topic = format!("{}{lane}", rng.pick(&["ais", "weather"]));
        match stage(journal, lane, &topic, &value) {
            Ok(_) => {}
            Err(StageError::CommitFull) => break,
            Err(StageError::LaneFull) => {
                journal.abandon();
                return false;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    journal.commit().expect("the medium takes it");
    true
}

fn open(disk: &SimDisk) -> Journal<SimDisk, Heap> {
    let config = config(disk.geometry(), LANES.len() as u8, ENTRY_MAX);
    let parts = heap(disk.geometry(), &config);
    let opened = Journal::open(disk.clone(), config, parts, fresh(&mut Rng::new(9)));
    let (journal, recovery) = opened.expect("bad bytes don't stop it");
    let torn = recovery.torn.map(|torn| torn.lane);
    assert!(torn.is_none_or(|lane| lane == Lane::CONTROL), "what was closed is not torn: {torn:?}");
    journal
}

fn findings(journal: &Journal<SimDisk, Heap>) -> Vec<Finding> {
    let (mut tips, mut buffer) = (HubFrontier::new(8), vec![0; SLOT_BYTES as usize]);
    let mut findings = Vec::new();
    journal.verify(&mut tips, &mut buffer, &mut |finding| findings.push(finding)).unwrap();
    findings
}
