//! Disks with any bytes on them: a journal opens, is read to its end, and works.

use landfall_core::frontier::{Frontier, HubFrontier, StreamIx};
use landfall_core::gap::GapReason;
use landfall_core::journal::{Journal, OpenError, ReadStep, Recovery, StageError, Staged};
use landfall_core::limits::COUNTER_MAX;
use landfall_core::num::{Lane, SegmentNo, Seq};
use landfall_core::tables::Heap;

use super::image::{self, SHAPE, header};
use super::input::Input;
use landfall_simulation::journal::{config, fresh, heap, stage};
use landfall_simulation::media::disk::SimDisk;
use landfall_simulation::media::image::Image;
use landfall_simulation::rng::Rng;

type Opened = Journal<SimDisk, Heap>;

/// A segment without a checkpoint: a byte of choices, then what stands behind its header.
pub(super) fn segment(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let choices = input.u8();
    let mut slot = header(u64::from(choices >> 2 & 3));
    slot.extend_from_slice(input.rest());
    slot.resize(SHAPE.slot_bytes as usize, 0);
    let mut slots = vec![None; SHAPE.slots as usize];
    slots[2] = Some(slot);
    let mut image = Image::new(SHAPE, slots);
    let forged = choices & 1 != 0;
    if forged {
        image::reseal(&mut image);
    }
    open_and_use(&image, choices & 2 != 0, forged);
}

/// A journal, and what is written over it: see [`image::patched`].
pub(super) fn opening(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let choices = input.u8();
    let image = image::patched(choices, &mut input);
    open_and_use(&image, choices & 0x40 != 0, choices & 0x80 != 0);
}

/// A forged disk has checksums that fit and may contradict itself: what it says of other entries
/// than they are. Then nothing is promised of what is read, but all calls return.
fn open_and_use(image: &Image, close: bool, forged: bool) {
    let disk = SimDisk::from_image(image, 1);
    let mut rng = Rng::new(2);
    let (mut journal, recovery) = match open(&disk, &mut rng) {
        Ok(opened) => opened,
        // These say that a person must look, and nothing was written.
        Err(
            OpenError::NewerFormat(_)
            | OpenError::OtherGeometry
            | OpenError::LaneGone(_)
            | OpenError::Memory,
        ) => return,
        Err(error) => panic!("bad bytes keep the journal from opening: {error:?}"),
    };
    assert!(!recovery.created || !recovery.clean);
    for lane in (0..journal.lanes()).map(Lane::new) {
        let ends_as_told = read_to_the_end(&journal, lane);
        assert!(forged || ends_as_told, "a reader comes to the end of lane {lane}");
    }
    check(&journal);
    if forged && is_worn_out(&journal) {
        return;
    }
    let Some(staged) = append(&mut journal, Lane::new(0)) else { return };
    if close {
        journal.close().expect("the medium is well");
    } else {
        drop(journal);
    }
    let (journal, recovery) = open(&disk, &mut rng).expect("what was opened opens again");
    if !forged {
        assert_eq!(recovery.torn, None, "what was committed is whole");
        assert_eq!(recovery.clean, close);
        assert!(has(&journal, Lane::new(0), staged.seq), "what was committed is there");
    }
}

fn open(disk: &SimDisk, rng: &mut Rng) -> Result<(Opened, Recovery), OpenError> {
    let config = config(SHAPE, 2, SHAPE.slot_bytes / 4);
    Journal::open(disk.clone(), config, heap(SHAPE, &config), fresh(rng))
}

/// No lane of this disk has as many steps.
const STEPS_MAX: usize = 2 * (SHAPE.slots * SHAPE.slot_bytes / 8) as usize;

/// Whether the last seq that a reader comes to is the one that the journal tells.
fn read_to_the_end(journal: &Opened, lane: Lane) -> bool {
    let mut buffer = vec![0; SHAPE.slot_bytes as usize];
    let mut cursor = journal.first(lane);
    let mut next = cursor.seq;
    for _ in 0..STEPS_MAX {
        match journal.read(lane, &mut cursor, &mut buffer) {
            ReadStep::End => return next == journal.seqs(lane).1,
            ReadStep::Missing(from, to) => {
                assert!(from == next && to > from, "{from}..{to} is missing at {next}");
                next = to;
            }
            ReadStep::Entry(entry) => {
                assert_eq!(entry.header.seq, next, "seqs are dense in lane {lane}");
                next = entry.header.end_seq();
            }
            ReadStep::Failed(error) => panic!("the medium is well: {error}"),
            ReadStep::TooLong(len) => panic!("an entry of {len} bytes fits no slot"),
        }
    }
    panic!("reading lane {lane} does not end");
}

fn check(journal: &Opened) {
    let mut buffer = vec![0; SHAPE.slot_bytes as usize];
    let mut findings = 0;
    let mut tips = HubFrontier::new(STREAMS);
    journal.verify(&mut tips, &mut buffer, &mut |_| findings += 1).expect("the medium is well");
    assert!(findings <= STEPS_MAX, "a check ends");
}

/// Whether a counter is forged to be so high that what is written next has no number.
fn is_worn_out(journal: &Opened) -> bool {
    const HIGH: u64 = COUNTER_MAX / 2;
    let lanes = || (0..journal.lanes()).map(Lane::new).chain([Lane::CONTROL]);
    let numbered = |lane| journal.segment_from(lane, SegmentNo::new(HIGH)).is_some();
    let streams = (0..journal.frontier().streams()).map(StreamIx);
    let mut branches = streams.flat_map(|ix| journal.frontier().branches(ix));
    journal.last_commit().get() >= HIGH
        || lanes().any(|lane| journal.seqs(lane).1.get() >= HIGH || numbered(lane))
        || branches.any(|(_, branch)| branch.tip.next.get() >= HIGH)
        || journal.openings().iter().any(|note| note.opening.get() >= u32::MAX / 2)
}

/// As many streams as the tables of these journals hold.
const STREAMS: usize = 64;

/// Appends a record, if need be in place of the oldest; none if there is no room for its stream.
fn append(journal: &mut Opened, lane: Lane) -> Option<Staged> {
    let mut buffer = vec![0; SHAPE.slot_bytes as usize];
    let stream = landfall_simulation::journal::stream("ais");
    if journal.frontier_mut().add(stream).is_err() {
        return None;
    }
    loop {
        match stage(journal, lane, "ais", b"fuzz") {
            Ok(staged) => {
                journal.commit().expect("what is staged has room");
                return Some(staged);
            }
            Err(StageError::LaneFull) => {
                journal.drop_oldest(lane, Some(GapReason::Dropped), &mut buffer).ok()?;
            }
            // Offsets at the end of their range cannot go on.
            Err(StageError::Malformed(_) | StageError::Frontier(_)) => return None,
            Err(error) => panic!("a record cannot be staged: {error:?}"),
        }
    }
}

fn has(journal: &Opened, lane: Lane, seq: Seq) -> bool {
    let mut buffer = vec![0; SHAPE.slot_bytes as usize];
    let mut cursor = journal.near(lane, seq);
    for _ in 0..STEPS_MAX {
        match journal.read(lane, &mut cursor, &mut buffer) {
            ReadStep::Entry(entry) => {
                if entry.header.records > 0
                    && entry.header.seq <= seq
                    && seq < entry.header.end_seq()
                {
                    return true;
                }
            }
            ReadStep::Missing(..) => {}
            _ => return false,
        }
    }
    false
}
