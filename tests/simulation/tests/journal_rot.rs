//! Bits rot: a journal opens whatever flips, and says exactly what it lost.
//!
//! `LANDFALL_BITS=1` flips every bit instead of a sample, and opens the mebibyte with more of them.

use landfall_core::batch::HEAD_BYTES_MAX;
use landfall_core::frontier::{Frontier, HubFrontier, Point, StreamIx};
use landfall_core::journal::{Fault, Finding, Journal, ReadStep, Recovery};
use landfall_core::limits::LANES_MAX;
use landfall_core::media::{Media, Place, SlotIx};
use landfall_core::num::{Lane, SegmentNo, Seq};
use landfall_core::segment::SegmentHeader;
use landfall_core::tables::{Heap, Loss};
use landfall_simulation::clock;
use landfall_simulation::journal::{
    CHECKSUM, Got, append, config, fresh, heap, lecture_with_losses, read_all, stage,
};
use landfall_simulation::media::disk::SimDisk;
use landfall_simulation::media::image::Image;
use landfall_simulation::rng::Rng;
use landfall_simulation::rot::{Part, Rot};

/// One of so many bits of a mebibyte is flipped under an open journal, and with one of so many the
/// journal is opened: all in all if that is asked for, or what the tests have time for.
const STEPS: [(usize, usize); 2] = [(1, 509), (61, 16_381)];

/// Where a sample begins is another place each day.
#[test]
fn every_bit_of_a_mebibyte() {
    let all = std::env::var_os("LANDFALL_BITS").is_some();
    let seed = std::env::var("LANDFALL_SEED").ok().map(|text| text.parse::<u64>().unwrap());
    let seed = seed.unwrap_or(clock::fresh_seed() / 86_400_000);
    println!("LANDFALL_SEED={seed} repeats this");
    let (rot, (looked_at, opened)) = (Rot::new(1), if all { STEPS[0] } else { STEPS[1] });
    let bits = |step: usize| (seed % step as u64..rot.bits()).step_by(step);
    let (mut looks, mut openings) = ([0_u64; 5], [0_u64; 5]);
    for bit in bits(looked_at).filter(|bit| rot.part(*bit) != Part::Control) {
        rot.look_at(bit);
        looks[kind(rot.part(bit))] += 1;
    }
    for bit in bits(opened) {
        rot.open_with(bit);
        openings[kind(rot.part(bit))] += 1;
    }
    println!("bits of {KINDS:?}: {looks:?} flipped below a reader, {openings:?} before an opening");
    assert!(looks[..4].iter().all(|count| *count > 0) && openings[0] > 0 && openings[4] > 0);
}

const KINDS: [&str; 5] = ["entries", "trailers", "headers", "padding", "control lane"];

fn kind(part: Part) -> usize {
    match part {
        Part::Entry(_) => 0,
        Part::Trailer(_) => 1,
        Part::Header => 2,
        Part::Padding => 3,
        Part::Control => 4,
    }
}

const SLOTS: u32 = 10;
const SLOT_BYTES: u32 = 16 * 1024;

#[test]
fn every_bit_of_a_closed_journal() {
    let world = World::new(true);
    let bits = world.data_bits();
    world.flip_each(&bits);
}

#[test]
fn every_bit_of_a_crashed_journal() {
    let world = World::new(false);
    let bits = world.data_bits();
    world.flip_each(&bits);
}

#[test]
fn control_slots_cost_no_record() {
    for closed in [true, false] {
        let world = World::new(closed);
        let control =
            (0..2).flat_map(|slot| (0..SLOT_BYTES * 8).map(move |bit| (SlotIx(slot), bit)));
        for (slot, bit) in sample(control.collect()) {
            let (journal, _) = world.open_with(&[(slot, bit)]);
            for lane in [0, 1] {
                let lecture = read_all(&journal, Lane::new(lane));
                assert_eq!(lecture.missing, [], "bit {bit} of {slot:?}");
                assert_eq!(lecture.records, world.records[usize::from(lane)], "bit {bit}");
            }
            assert_eq!(world.tips(&journal), world.tips, "bit {bit} of {slot:?}");
        }
    }
}

#[test]
fn a_lost_control_lane_costs_no_record() {
    for closed in [true, false] {
        let world = World::new(closed);
        let disk = SimDisk::from_image(&world.image, 1);
        (0..2).for_each(|slot| disk.make_unreadable(SlotIx(slot), 0..SLOT_BYTES));
        let (journal, recovery) = open(&disk);
        assert!(recovery.checkpoint_lost && !recovery.created, "{recovery:?}");
        for lane in [0, 1] {
            let lecture = read_all(&journal, Lane::new(lane));
            assert_eq!(
                (lecture.missing, &lecture.records),
                (vec![], &world.records[lane as usize])
            );
        }
        assert_eq!(world.tips(&journal), world.tips);
    }
}

#[test]
fn appending_goes_on_at_a_unit_behind_a_commit_whose_last_entry_is_damaged() {
    let disk = SimDisk::new(SLOTS, SLOT_BYTES, 512, 1);
    let (mut journal, _) = open(&disk);
    let lane = Lane::new(0);
    // Segments begin with a checkpoint; what is damaged stands behind it.
    append(&mut journal, lane, "ais", b"first");
    append(&mut journal, Lane::new(1), "log", b"first");
    // Either record fills an entry of its own.
    stage(&mut journal, lane, "ais", &[1; 2500]).unwrap();
    stage(&mut journal, lane, "ais", &[2; 2500]).unwrap();
    journal.commit().unwrap();
    // The other lane's commit shows that this one was not torn.
    append(&mut journal, Lane::new(1), "log", b"later");
    let (mut cursor, mut buffer) = (journal.first(lane), vec![0; SLOT_BYTES as usize]);
    for _ in 0..2 {
        let step = journal.read(lane, &mut cursor, &mut buffer);
        assert!(matches!(step, ReadStep::Entry(entry) if entry.header.records == 1));
    }
    let header_bit = u64::from(cursor.at + 20) * 8;
    disk.flip_bit(slot_of(&disk, cursor.segment), header_bit);
    drop(journal);
    let (mut journal, _) = open(&disk);
    append(&mut journal, lane, "ais", b"more");
    let lecture = read_all(&journal, lane);
    assert_eq!(lecture.missing, [(Seq::new(2), Seq::new(3))]);
    assert_eq!(lecture.records.len(), 3);
}

/// An entry of the undamaged journal.
#[derive(Clone, Debug)]
struct Stored {
    lane: Lane,
    slot: SlotIx,
    at: u32,
    body_at: u32,
    body_end: u32,
    seqs: (Seq, Seq),
    last_commit: bool,
    streams: usize,
}

impl Stored {
    /// A flip outside the head of an entry's only batch leaves all that the head says.
    fn names_what_it_held(&self, byte: u32) -> bool {
        let head = self.body_at..self.body_at + HEAD_BYTES_MAX as u32;
        self.streams == 1 && !head.contains(&byte)
    }
}

struct World {
    image: Image,
    closed: bool,
    records: [Vec<Got>; LANES_MAX],
    entries: Vec<Stored>,
    tails: Vec<(SlotIx, u32)>,
    tips: Vec<Point>,
}

impl World {
    /// A journal with two lanes of a few segments, of single records and groups of two streams.
    fn new(closed: bool) -> Self {
        let disk = SimDisk::new(SLOTS, SLOT_BYTES, 512, 1);
        let (mut journal, _) = open(&disk);
        let mut rng = Rng::new(3);
        for round in 0..60_u8 {
            let lane = Lane::new(round % 2);
            let mut value = vec![0; 20 + rng.below(300) as usize];
            rng.fill(&mut value);
            if round % 5 == 0 {
                journal.begin_group(lane, 2048).unwrap();
                for topic in ["ais", "weather", "ais"] {
                    stage(&mut journal, lane, &format!("{topic}{lane}"), &value).unwrap();
                }
                journal.end_group();
                journal.commit().unwrap();
            } else {
                append(&mut journal, lane, &format!("ais{lane}"), &value);
            }
        }
        let mut world = Self {
            image: disk.image(),
            closed,
            records: Default::default(),
            entries: Vec::new(),
            tails: Vec::new(),
            tips: Vec::new(),
        };
        world.tips = world.tips(&journal);
        world.learn(&journal, &disk);
        if closed {
            journal.close().unwrap();
        }
        world.image = disk.image();
        world
    }

    /// Notes where everything stands.
    fn learn(&mut self, journal: &Journal<SimDisk, Heap>, disk: &SimDisk) {
        for lane in [Lane::new(0), Lane::new(1)] {
            self.records[usize::from(lane.get())] = read_all(journal, lane).records;
            let mut cursor = journal.first(lane);
            let mut buffer = vec![0; SLOT_BYTES as usize];
            loop {
                let before = cursor;
                let ReadStep::Entry(entry) = journal.read(lane, &mut cursor, &mut buffer) else {
                    break;
                };
                let slot = slot_of(disk, cursor.segment);
                let at = if cursor.segment == before.segment { before.at.max(512) } else { 512 };
                let streams = landfall_core::batch::batches(entry.body, CHECKSUM).count();
                self.entries.push(Stored {
                    lane,
                    slot,
                    at,
                    body_at: at + entry.header.body_at() as u32,
                    body_end: at + entry.header.body_end() as u32,
                    seqs: (entry.header.seq, entry.header.end_seq()),
                    last_commit: entry.header.commit == journal.last_commit(),
                    streams,
                });
                self.tails.retain(|(known, _)| *known != slot);
                self.tails.push((slot, cursor.at));
            }
        }
    }

    fn tips(&self, journal: &Journal<SimDisk, Heap>) -> Vec<Point> {
        let frontier = journal.frontier();
        (0..frontier.streams()).map(|ix| frontier.tip(StreamIx(ix))).collect()
    }

    fn data_bits(&self) -> Vec<(SlotIx, u32)> {
        let bits = self.tails.iter().flat_map(|(slot, tail)| (0..tail * 8).map(|bit| (*slot, bit)));
        sample(bits.collect())
    }

    fn open_with(&self, flips: &[(SlotIx, u32)]) -> (Journal<SimDisk, Heap>, Recovery) {
        let disk = SimDisk::from_image(&self.image, 1);
        flips.iter().for_each(|(slot, bit)| disk.flip_bit(*slot, (*bit).into()));
        open(&disk)
    }

    fn flip_each(&self, bits: &[(SlotIx, u32)]) {
        for (slot, bit) in bits {
            let (mut journal, recovery) = self.open_with(&[(*slot, *bit)]);
            let hit = self.entries.iter().find(|entry| {
                entry.slot == *slot && (entry.at * 8..entry.body_end * 8).contains(bit)
            });
            let context = format!("bit {bit} of {slot:?}, {hit:?}, {recovery:?}");
            // Only a clean close proves that the last commit was whole.
            let in_last = |last: &Stored| last.slot == *slot && last.at <= *bit / 8;
            if !self.closed && self.entries.iter().filter(|last| last.last_commit).any(in_last) {
                continue;
            }
            assert_eq!(recovery.torn.map(|torn| torn.lane), None, "{context}");
            for lane in [Lane::new(0), Lane::new(1)] {
                let expected = hit.filter(|hit| hit.lane == lane && hit.seqs.0 < hit.seqs.1);
                self.check_lane(&mut journal, lane, expected, *bit / 8, &context);
            }
            // Without its head nothing tells how far the last batch of a stream went.
            if hit.is_none_or(|hit| hit.names_what_it_held(*bit / 8)) {
                let mut tips = self.tips(&journal);
                // The record before a tip is missing if its entry was hit: it has no epoch then.
                let missing = tips.iter_mut().zip(&self.tips).filter(|_| hit.is_some());
                for (tip, was) in missing.filter(|(tip, _)| tip.epoch == Point::START.epoch) {
                    tip.epoch = was.epoch;
                }
                assert_eq!(tips, self.tips, "{context}");
            }
            let findings = findings(&journal);
            if hit.is_some_and(|hit| hit.names_what_it_held(*bit / 8) && hit.seqs.0 < hit.seqs.1) {
                assert!(findings.iter().any(tells_a_loss), "{findings:?}: {context}");
            }
            let costs = |found: &Finding| !matches!(found.fault, Fault::Trailer | Fault::Header);
            assert!(hit.is_some() || !findings.iter().any(costs), "{findings:?}: {context}");
            self.goes_on(journal, &context);
        }
    }

    fn check_lane(
        &self,
        journal: &mut Journal<SimDisk, Heap>,
        lane: Lane,
        hit: Option<&Stored>,
        byte: u32,
        context: &str,
    ) {
        let lecture = lecture_with_losses(journal, lane);
        let missing: Vec<(Seq, Seq)> = hit.map(|hit| hit.seqs).into_iter().collect();
        assert_eq!(lecture.missing, missing, "{context}");
        let lost = |got: &&Got| !missing.iter().any(|(from, to)| (*from..*to).contains(&got.seq));
        let all = &self.records[usize::from(lane.get())];
        let kept: Vec<&Got> = all.iter().filter(lost).collect();
        assert_eq!(lecture.records.iter().collect::<Vec<_>>(), kept, "{context}");
        let Some(hit) = hit else { return };
        let told = |seq: Seq| {
            let covers = |loss: &&Loss| loss.lane == lane && (loss.first..loss.end).contains(&seq);
            journal.losses().iter().find(covers)
        };
        for got in all.iter().filter(|got| (hit.seqs.0..hit.seqs.1).contains(&got.seq)) {
            let loss = told(got.seq).unwrap_or_else(|| panic!("{got:?} is not told: {context}"));
            let exact = loss.stream.is_some() && (loss.from..loss.to).contains(&got.offset);
            assert!(
                exact || !hit.names_what_it_held(byte),
                "{loss:?} does not name {got:?}: {context}"
            );
        }
    }

    /// Appends and opens again: nothing more is lost.
    fn goes_on(&self, mut journal: Journal<SimDisk, Heap>, context: &str) {
        let before = lecture_with_losses(&mut journal, Lane::new(0));
        append(&mut journal, Lane::new(0), "ais0", b"more");
        let disk = journal.close().unwrap();
        let (journal, recovery) = open(&disk);
        assert_eq!((recovery.torn, recovery.clean), (None, true), "{context}");
        let after = read_all(&journal, Lane::new(0));
        assert_eq!(after.records.len(), before.records.len() + 1, "{context}");
        assert_eq!(after.missing, before.missing, "{context}");
    }
}

fn findings(journal: &Journal<SimDisk, Heap>) -> Vec<Finding> {
    let (mut tips, mut buffer) = (HubFrontier::new(8), vec![0; SLOT_BYTES as usize]);
    let mut findings = Vec::new();
    journal.verify(&mut tips, &mut buffer, &mut |finding| findings.push(finding)).unwrap();
    findings
}

/// Whether seqs are missing as the losses tell.
fn tells_a_loss(finding: &Finding) -> bool {
    matches!(finding.fault, Fault::Missing(_, _, true))
}

fn open(disk: &SimDisk) -> (Journal<SimDisk, Heap>, Recovery) {
    let config = config(disk.geometry(), 2, 4 * 1024);
    let parts = heap(disk.geometry(), &config);
    Journal::open(disk.clone(), config, parts, fresh(&mut Rng::new(9)))
        .expect("bad bytes don't stop it")
}

fn slot_of(disk: &SimDisk, segment: SegmentNo) -> SlotIx {
    let holds = |slot: &SlotIx| {
        let mut bytes = [0; 64];
        disk.read(Place { slot: *slot, at: 0 }, &mut bytes).unwrap();
        let header = SegmentHeader::decode(&bytes, disk.geometry(), CHECKSUM);
        header.is_ok_and(|header| header.number == segment)
    };
    (0..SLOTS).map(SlotIx).find(holds).expect("the segment is there")
}

/// Every bit if that is asked for, else a sample that differs in place and position.
fn sample(bits: Vec<(SlotIx, u32)>) -> Vec<(SlotIx, u32)> {
    let step = if std::env::var_os("LANDFALL_BITS").is_some() { 1 } else { 131 };
    bits.into_iter().step_by(step).collect()
}
