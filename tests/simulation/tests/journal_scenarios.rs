//! What a journal does in the cases where earlier designs failed.

use std::cell::Cell;
use std::rc::Rc;

use landfall_core::batch::batches;
use landfall_core::entry::Kind;
use landfall_core::frontier::{BranchIx, Frontier, StreamIx};
use landfall_core::gap::GapReason;
use landfall_core::journal::{Cursor, Journal, OpenError, ReadStep, Recovery, StageError};
use landfall_core::media::{Geometry, Media, MediaError, Place, SlotIx};
use landfall_core::num::{Lane, Offset, ProducerId, SegmentNo, Seq, Timestamp};
use landfall_core::record::{Producer, Record};
use landfall_core::tables::{Heap, Parts, Small, Tables};
use landfall_simulation::journal::{CHECKSUM, SITE};
use landfall_simulation::journal::{append, config, fresh, heap, known, lecture_with_losses};
use landfall_simulation::journal::{read_all, stage};
use landfall_simulation::media::damage::DamageModel;
use landfall_simulation::media::disk::SimDisk;
use landfall_simulation::media::nor::SimNor;
use landfall_simulation::rng::Rng;

const LANE: Lane = Lane::new(0);

#[test]
fn a_torn_last_commit_is_cut_and_reported() {
    let disk = disk();
    let (mut journal, _) = open(&disk);
    append_each(&mut journal, 0..7, "ais", 600);
    stage(&mut journal, LANE, "ais", &[7; 1_500]).unwrap();
    disk.set_damage(DamageModel::KeepAll);
    disk.arm_cut(2);
    journal.commit().unwrap_err();
    disk.restart();
    let (mut journal, recovery) = open(&disk);
    assert_eq!(recovery.torn.map(|torn| torn.lane), Some(LANE));
    assert_eq!(values(&journal), (0..7).collect::<Vec<_>>());
    assert_eq!(append(&mut journal, LANE, "ais", &[8; 9]).offset, Offset::new(7));
    assert_eq!(journal.losses(), []);
}

#[test]
fn rot_is_not_torn() {
    let disk = disk();
    let (mut journal, _) = open(&disk);
    append_each(&mut journal, 0..9, "ais", 300);
    drop(journal);
    disk.flip_bit(SlotIx(2), (512 + 3 * 512 + 300) * 8);
    let (mut journal, recovery) = open(&disk);
    assert_eq!((recovery.torn, recovery.damaged), (None, 1));
    let lecture = lecture_with_losses(&mut journal, LANE);
    assert_eq!(lecture.missing, [(Seq::new(3), Seq::new(4))]);
    assert_eq!(values(&journal), [0, 1, 2, 4, 5, 6, 7, 8]);
    let loss = journal.losses()[0];
    assert_eq!((loss.from, loss.to), (Offset::new(3), Offset::new(4)));
    assert_eq!(loss.stream, Some((StreamIx(0), BranchIx::MAIN)));
}

#[test]
fn rot_in_the_last_commit_after_a_clean_close_is_a_loss() {
    let disk = disk();
    let (mut journal, _) = open(&disk);
    append_each(&mut journal, 0..3, "ais", 300);
    journal.close().unwrap();
    disk.flip_bit(SlotIx(2), (512 + 2 * 512 + 300) * 8);
    let (mut journal, recovery) = open(&disk);
    assert!(recovery.clean && recovery.torn.is_none() && recovery.damaged == 1, "{recovery:?}");
    assert_eq!(values(&journal), [0, 1]);
    assert_eq!(journal.losses()[0].from, Offset::new(2));
    assert_eq!(append(&mut journal, LANE, "ais", b"next").offset, Offset::new(3));
}

#[test]
fn a_lost_unit_with_surviving_successors_leaves_no_ghost() {
    let disk = disk();
    let (mut journal, _) = open(&disk);
    append(&mut journal, LANE, "ais", &[0; 100]);
    let torn = [stage_three(&mut journal), journal.commit().is_ok()];
    assert_eq!(torn, [true, true]);
    drop(journal);
    // As if the commit had never been synced: of its three units the first is lost.
    let mut media = disk.clone();
    media.program(Place { slot: SlotIx(2), at: 1024 }, &[0; 512]).unwrap();
    media.sync(SlotIx(2)).unwrap();
    for round in 1..4 {
        let (mut journal, recovery) = open(&disk);
        assert_eq!((recovery.torn.is_some(), recovery.damaged), (round == 1, 0), "{recovery:?}");
        assert_eq!(values(&journal).len(), round);
        append(&mut journal, LANE, "ais", &[round as u8; 100]);
        assert_eq!(read_all(&journal, LANE).missing, []);
    }
}

#[test]
fn what_recovery_accepts_is_synced_before_anyone_sees_it() {
    let disk = disk();
    let (journal, _) = open(&disk);
    drop(journal);
    let killed = Rc::new(Cell::new(false));
    let (mut journal, _) = open_on(Killed { disk: disk.clone(), killed: Rc::clone(&killed) });
    append(&mut journal, LANE, "ais", &[1; 20]);
    stage(&mut journal, LANE, "ais", &[2; 20]).unwrap();
    killed.set(true);
    journal.commit().unwrap_err();
    drop(journal);
    let (journal, _) = open(&disk);
    let seen = values(&journal);
    disk.set_damage(DamageModel::DropAll);
    disk.cut();
    disk.restart();
    assert_eq!(values(&open(&disk).0), seen, "what was seen stays");
}

#[test]
fn a_failed_sync_is_written_again_elsewhere() {
    let disk = disk();
    let (mut journal, _) = open(&disk);
    append(&mut journal, LANE, "ais", &[0; 20]);
    disk.fail_sync_once();
    append(&mut journal, LANE, "ais", &[1; 20]);
    assert_eq!(journal.poisoned(), 1);
    append(&mut journal, LANE, "ais", &[2; 20]);
    disk.set_damage(DamageModel::DropAll);
    disk.cut();
    disk.restart();
    let (journal, recovery) = open(&disk);
    assert_eq!((values(&journal), recovery.damaged), (vec![0, 1, 2], 0));
}

#[test]
fn a_failed_sync_in_flight_is_written_again_before_the_next_commit() {
    let disk = disk();
    let (mut journal, _) = open(&disk);
    append(&mut journal, LANE, "ais", &[0; 20]);
    stage(&mut journal, LANE, "ais", &[1; 20]).unwrap();
    let flown = journal.commit_ahead().unwrap();
    assert_eq!(journal.in_flight(), flown);
    disk.fail_sync_once();
    stage(&mut journal, LANE, "ais", &[2; 20]).unwrap();
    assert_eq!(journal.commit().unwrap(), flown.map(|flown| flown.plus(1)));
    assert_eq!((journal.poisoned(), journal.in_flight()), (1, None));
    disk.set_damage(DamageModel::DropAll);
    disk.cut();
    disk.restart();
    let (journal, recovery) = open(&disk);
    assert_eq!((values(&journal), recovery.damaged), (vec![0, 1, 2], 0));
}

#[test]
fn what_is_staged_behind_a_commit_in_flight_is_given_up_alone() {
    let disk = disk();
    let (mut journal, _) = open(&disk);
    stage(&mut journal, LANE, "ais", &[0; 20]).unwrap();
    journal.commit_ahead().unwrap();
    stage(&mut journal, LANE, "ais", &[1; 20]).unwrap();
    journal.abandon();
    stage(&mut journal, LANE, "ais", &[2; 20]).unwrap();
    journal.commit().unwrap();
    assert_eq!((values(&journal), journal.in_flight()), (vec![0, 2], None));
}

#[test]
fn a_thousand_wakes_that_never_close_keep_a_thousand_records() {
    let chip = SimNor::new(90, 4096, 8, 1);
    let config = config(chip.geometry(), 1, 1024);
    let mut rng = Rng::new(1);
    let mut open = || {
        let parts = Parts::<Small<2, 90, 4096>>::new(SITE);
        Journal::open(chip.clone(), config, parts, fresh(&mut rng)).unwrap().0
    };
    for wake in 0..1_000_u64 {
        let mut journal = open();
        assert_eq!(append(&mut journal, LANE, "ais", &[1; 20]).offset.get(), wake);
        assert!(journal.openings().len() <= 4);
        chip.cut();
        chip.restart();
    }
    assert_eq!(read_all(&open(), LANE).records.len(), 1_000);
}

#[test]
fn a_full_lane_rejects_and_takes_again_after_a_promise() {
    let disk = disk();
    let (mut journal, _) = open(&disk);
    let before = fill(&mut journal);
    assert_eq!(stage(&mut journal, LANE, "ais", &[9; 3_000]), Err(StageError::LaneFull));
    assert_eq!(values(&journal).len(), before);
    append(&mut journal, Lane::new(1), "urgent", b"the other lane goes on");
    let (ix, tip) = (known(&mut journal, "ais"), Offset::new(before as u64));
    journal.frontier_mut().promise(ix, BranchIx::MAIN, tip, tip);
    let mut buffer = vec![0; 16 * 1024];
    assert!(journal.oldest_is_durable(LANE, false, &mut buffer));
    journal.drop_oldest(LANE, None, &mut buffer).unwrap();
    assert_eq!(append(&mut journal, LANE, "ais", &[9; 3_000]).seq, Seq::new(before as u64));
    assert_eq!(journal.losses(), []);
}

#[test]
fn a_full_lane_drops_its_oldest_and_says_so() {
    let disk = disk();
    let (mut journal, _) = open(&disk);
    let before = fill(&mut journal);
    let oldest = journal.oldest(LANE).unwrap();
    let mut buffer = vec![0; 16 * 1024];
    assert!(!journal.oldest_is_durable(LANE, false, &mut buffer));
    journal.drop_oldest(LANE, Some(GapReason::Dropped), &mut buffer).unwrap();
    assert_eq!(append(&mut journal, LANE, "ais", &[9; 3_000]).seq, Seq::new(before as u64));
    drop(journal);
    let (journal, _) = open(&disk);
    let loss = journal.losses()[0];
    assert_eq!(
        (loss.first, loss.end, loss.reason),
        (oldest.seqs.0, oldest.seqs.1, Some(GapReason::Dropped))
    );
    assert_eq!((loss.from.get(), loss.to.get()), (0, oldest.seqs.1.get()));
    assert_eq!(read_all(&journal, LANE).records[0].seq, oldest.seqs.1);
}

#[test]
fn a_kept_key_survives_the_segment_that_last_mentioned_it() {
    let disk = disk();
    let (mut journal, _) = open(&disk);
    let mut buffer = vec![0; 16 * 1024];
    for number in 0..20 {
        append(&mut journal, LANE, "_sites", &[3, number]);
        append(&mut journal, LANE, "ais", &[9; 3_000]);
        let Some(oldest) = journal.oldest(LANE) else { continue };
        // Of this topic's one key, only the newest record matters.
        let newest = journal.frontier().tip(StreamIx(0)).next.before().unwrap();
        let kept = journal.snapshot_oldest(
            LANE,
            &mut |stream, placed| stream.topic == "_sites" && placed.offset.get() % 2 == 1,
            &mut buffer,
        );
        assert!(kept.unwrap() >= 1 && newest.get() == u64::from(number));
        journal.drop_oldest(LANE, Some(GapReason::Dropped), &mut buffer).unwrap();
        assert_eq!(journal.seqs(LANE).0, oldest.seqs.1);
    }
    drop(journal);
    let odd: Vec<u64> = snapshots(&open(&disk).0);
    let first = odd.len() as u64;
    assert_eq!(odd, (0..first).map(|at| at * 2 + 1).collect::<Vec<_>>());
    assert!(first > 3, "records of several segments, some of them moved again, are still there");
}

#[test]
fn a_silent_site_is_known_when_all_its_segments_are_gone() {
    let ship = disk();
    let (mut journal, _) = open(&ship);
    append_each(&mut journal, 0..2, "track", 20);
    let bodies = bodies(&journal);
    let hub_disk = disk();
    let (mut hub, _) = open(&hub_disk);
    hub.stage_body(LANE, Kind::Data, &[], &bodies[0]).unwrap();
    hub.commit().unwrap();
    let mut buffer = vec![0; 16 * 1024];
    fill(&mut hub);
    while hub.drop_oldest(LANE, Some(GapReason::Operator), &mut buffer).is_ok() {}
    hub.close().unwrap();
    let (mut hub, _) = open(&hub_disk);
    let again = hub.stage_body(LANE, Kind::Data, &[], &bodies[0]);
    assert!(matches!(again, Err(StageError::Frontier(_))), "a duplicate is no news: {again:?}");
    hub.abandon();
    hub.stage_body(LANE, Kind::Data, &[], &bodies[1]).unwrap();
    assert!(hub.commit().unwrap().is_some());
}

#[test]
fn a_producer_that_repeats_itself_is_recognised() {
    let disk = disk();
    let mut written = 0;
    for lines in [0..25, 0..40, 0..50] {
        let (mut journal, _) = open(&disk);
        let ix = known(&mut journal, "lines");
        for line in lines {
            let producer = Some(Producer { id: ProducerId::of("file"), sequence: line });
            let record = Record { producer, ..Record::new(Timestamp::new(0), None, Some(b"line")) };
            match journal.stage_record(LANE, ix, &record, Default::default()) {
                Ok(_) => written += 1,
                Err(error) => assert_eq!(error, StageError::Duplicate),
            }
            journal.commit().unwrap();
        }
        disk.cut();
        disk.restart();
    }
    assert_eq!(written, 50);
    assert_eq!(read_all(&open(&disk).0, LANE).records.len(), 50);
}

#[test]
fn a_medium_that_refuses_to_read_costs_nothing() {
    let disk = disk();
    let (mut journal, _) = open(&disk);
    append_each(&mut journal, 0..3, "ais", 20);
    disk.cut();
    let mut buffer = vec![0; 16 * 1024];
    let mut cursor = journal.first(LANE);
    let step = journal.read(LANE, &mut cursor, &mut buffer);
    assert!(matches!(step, ReadStep::Failed(MediaError::Failed)), "{step:?}");
    let parts = heap(disk.geometry(), &config(disk.geometry(), 2, 4 * 1024));
    let again = config(disk.geometry(), 2, 4 * 1024);
    let refused = Journal::open(disk.clone(), again, parts, fresh(&mut Rng::new(1)));
    assert!(matches!(refused, Err(OpenError::Media(MediaError::Failed))));
    disk.restart();
    let (journal, recovery) = open(&disk);
    assert_eq!((values(&journal), recovery.damaged), (vec![0, 1, 2], 0));
}

fn disk() -> SimDisk {
    SimDisk::new(8, 16 * 1024, 512, 1)
}

fn open(disk: &SimDisk) -> (Journal<SimDisk, Heap>, Recovery) {
    open_on(disk.clone())
}

fn open_on<M: Media>(media: M) -> (Journal<M, Heap>, Recovery) {
    let config = config(media.geometry(), 2, 4 * 1024);
    let parts = heap(media.geometry(), &config);
    let mut rng = Rng::new(media.geometry().slots.into());
    Journal::open(media, config, parts, fresh(&mut rng)).unwrap()
}

/// The first byte of each value in the lane.
fn values<M: Media, T: Tables>(journal: &Journal<M, T>) -> Vec<u8> {
    read_all(journal, LANE).records.iter().map(|got| got.value()[0]).collect()
}

/// Appends a record for each number, filled with it.
fn append_each<M: Media>(
    journal: &mut Journal<M, Heap>,
    numbers: std::ops::Range<u8>,
    topic: &str,
    len: usize,
) {
    for number in numbers {
        append(journal, LANE, topic, &vec![number; len]);
    }
}

/// Appends until the lane is full. Returns how many records it has.
fn fill(journal: &mut Journal<SimDisk, Heap>) -> usize {
    while stage(journal, LANE, "ais", &[9; 3_000]) != Err(StageError::LaneFull) {
        journal.commit().unwrap();
    }
    journal.seqs(LANE).1.get() as usize
}

/// Stages a commit of three units.
fn stage_three(journal: &mut Journal<SimDisk, Heap>) -> bool {
    (0..3).all(|_| stage(journal, LANE, "ais", &[9; 400]).is_ok())
}

fn bodies(journal: &Journal<SimDisk, Heap>) -> Vec<Vec<u8>> {
    let (mut cursor, mut buffer) = (journal.first(LANE), vec![0; 16 * 1024]);
    let mut bodies = Vec::new();
    while let ReadStep::Entry(entry) = journal.read(LANE, &mut cursor, &mut buffer) {
        assert!(batches(entry.body, CHECKSUM).all(|batch| batch.is_ok()));
        bodies.push(entry.body.to_vec());
    }
    bodies
}

/// The offsets of the records in snapshots.
fn snapshots(journal: &Journal<SimDisk, Heap>) -> Vec<u64> {
    let (mut cursor, mut buffer) = (journal.first(LANE), vec![0; 16 * 1024]);
    let mut offsets = Vec::new();
    loop {
        match journal.read(LANE, &mut cursor, &mut buffer) {
            ReadStep::Entry(entry) if entry.header.kind == Kind::Snapshot => {
                let batches = batches(entry.body, CHECKSUM).map(Result::unwrap);
                let placed = batches.flat_map(|batch| batch.records().map(Result::unwrap));
                offsets.extend(placed.map(|placed| placed.offset.get()));
            }
            ReadStep::Entry(_) => {}
            _ => break,
        }
    }
    offsets.sort_unstable();
    offsets
}

/// A disk of a process that is killed in a sync: what it programmed before stays in the cache.
struct Killed {
    disk: SimDisk,
    killed: Rc<Cell<bool>>,
}

impl Killed {
    fn alive(&self) -> Result<(), MediaError> {
        if self.killed.get() { Err(MediaError::Failed) } else { Ok(()) }
    }
}

impl Media for Killed {
    fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }

    fn read(&self, place: Place, buffer: &mut [u8]) -> Result<(), MediaError> {
        self.disk.read(place, buffer)
    }

    fn program(&mut self, place: Place, bytes: &[u8]) -> Result<(), MediaError> {
        self.disk.program(place, bytes)
    }

    fn sync(&mut self, slot: SlotIx) -> Result<(), MediaError> {
        self.alive()?;
        self.disk.sync(slot)
    }

    fn erase(&mut self, slot: SlotIx) -> Result<(), MediaError> {
        self.alive()?;
        self.disk.erase(slot)
    }

    fn free(&mut self, slot: SlotIx) -> Result<(), MediaError> {
        self.disk.free(slot)
    }
}

/// Which segments may hold an offset of a stream: all of them against what is really there.
fn check_segments(journal: &Journal<SimDisk, Heap>) -> usize {
    let mut buffer = vec![0; 64 * 1024];
    let mut passed_over = 0;
    for topic in ["ais", "log"] {
        let ix = journal.frontier().find(landfall_simulation::journal::stream(topic)).unwrap();
        for offset in (0..journal.frontier().tip(ix).next.get()).map(Offset::new) {
            let mut number = SegmentNo::ZERO;
            while let Some(start) = journal.segment_from(LANE, number) {
                number = start.segment.plus(1);
                let may = journal.may_hold(LANE, start.segment, ix, (offset, offset), &mut buffer);
                let holds = segment_holds(journal, start, ix, offset);
                assert!(may.unwrap() || !holds, "{topic} {offset:?} in {:?}", start.segment);
                passed_over += usize::from(!may.unwrap());
            }
        }
    }
    passed_over
}

fn segment_holds(
    journal: &Journal<SimDisk, Heap>,
    start: Cursor,
    ix: StreamIx,
    offset: Offset,
) -> bool {
    let mut buffer = vec![0; 64 * 1024];
    let (mut cursor, mut found) = (start, false);
    while let ReadStep::Entry(entry) = journal.read(LANE, &mut cursor, &mut buffer) {
        if cursor.segment != start.segment {
            break;
        }
        let data = entry.header.kind == Kind::Data;
        for batch in batches(entry.body, CHECKSUM).filter(|_| data).map(Result::unwrap) {
            let its = journal.frontier().find(batch.head.stream) == Some(ix);
            found |= its && batch.head.base <= offset && offset < batch.head.end();
        }
    }
    found
}

#[test]
fn a_reader_passes_over_segments_that_hold_nothing_of_a_stream() {
    let disk = SimDisk::new(40, 16 * 1024, 512, 1);
    let (mut journal, _) = open(&disk);
    append_each(&mut journal, 0..20, "ais", 600);
    append_each(&mut journal, 0..20, "log", 600);
    append_each(&mut journal, 20..30, "ais", 600);
    let before = check_segments(&journal);
    assert!(before > 30, "only {before} were passed over");
    drop(journal);
    let (mut journal, _) = open(&disk);
    append_each(&mut journal, 30..33, "ais", 600);
    assert!(check_segments(&journal) > before / 2);
    journal.close().unwrap();
    let (journal, _) = open(&disk);
    assert!(check_segments(&journal) > before / 2);
}
