//! Flash that can't read some of its units any more. What power cuts leave of programs and erases
//! is in `journal_cuts.rs` and `journal_model.rs`.

use landfall_core::frontier::HubFrontier;
use landfall_core::journal::{Journal, OpenError, ReadStep};
use landfall_core::media::{Media, Place, SlotIx};
use landfall_core::num::{Lane, Seq};
use landfall_core::segment::{SegmentHeader, entries_at};
use landfall_core::tables::Heap;
use landfall_simulation::journal::{CHECKSUM, Got, append, lecture_with_losses, open};
use landfall_simulation::media::nor::SimNor;
use landfall_simulation::rng::Rng;

const SLOTS: u32 = 20;
const SLOT_BYTES: u32 = 4096;
const LANES: [Lane; 2] = [Lane::new(0), Lane::new(1)];

/// An entry: its lane, its seqs, its slot, where it begins and where its body ends.
type Stored = (Lane, (Seq, Seq), SlotIx, u32, u32);

#[test]
fn a_unit_that_cannot_be_read_costs_what_touches_it() {
    for unit_bytes in [32, 256] {
        let chip = filled(unit_bytes);
        let mut journal = reopen(&chip.duplicate());
        let entries: Vec<Stored> = LANES.iter().flat_map(|lane| learn(&journal, *lane)).collect();
        let before = LANES.map(|lane| lecture_with_losses(&mut journal, lane).records);
        let mut costly = 0;
        for at in (0..SLOT_BYTES).step_by(unit_bytes as usize) {
            for slot in (0..SLOTS).map(SlotIx) {
                let chip = chip.duplicate();
                chip.make_unreadable(slot, at..at + 1);
                // Where both headers of a segment lie in one unit, all of it goes with that.
                let headers = at == 0 && unit_bytes > 64;
                let unit = at..if headers { SLOT_BYTES } else { at + unit_bytes };
                let hit =
                    |entry: &&Stored| entry.2 == slot && entry.3 < unit.end && entry.4 > unit.start;
                let hit: Vec<&Stored> = entries.iter().filter(hit).collect();
                costly += u64::from(loses_only(&chip, &hit, &before));
            }
        }
        assert!(costly > 50, "{costly} units cost something");
    }
}

#[test]
fn an_opening_of_which_a_read_fails_in_passing_ends_with_the_error() {
    let chip = filled(32);
    let whole = chip.duplicate();
    let reads = whole.counters().reads;
    reopen(&whole);
    let reads = whole.counters().reads - reads;
    assert!(reads > 100, "an opening reads {reads} times");
    for nth in 1..=reads {
        let chip = chip.duplicate();
        chip.fail_read(nth);
        let opened = open(chip.clone(), &mut Rng::new(9)).err();
        assert!(matches!(opened, Some(OpenError::Media(_))), "read {nth}: {opened:?}");
    }
}

/// A flash that was filled by appends, and closed.
fn filled(unit_bytes: u32) -> SimNor {
    let chip = SimNor::new(SLOTS, SLOT_BYTES, unit_bytes, 1);
    let (mut rng, mut journal) = (Rng::new(2), reopen(&chip));
    for round in 0..50_u8 {
        let lane = LANES[usize::from(round % 2)];
        let mut value = vec![0; 20 + rng.below(120) as usize];
        rng.fill(&mut value);
        append(&mut journal, lane, &format!("ais{lane}"), &value);
    }
    journal.close().unwrap();
    chip
}

/// Opens a journal that lacks a unit: nothing is missing but entries that lay in it, and that is
/// told. Then it goes on. Returns whether anything is missing.
fn loses_only(chip: &SimNor, hit: &[&Stored], before: &[Vec<Got>; 2]) -> bool {
    let mut journal = reopen(chip);
    let mut lost = 0;
    for (lane, before) in LANES.into_iter().zip(before) {
        let after = lecture_with_losses(&mut journal, lane).records;
        for got in before.iter().filter(|got| !after.contains(got)) {
            let holds =
                |stored: &&&Stored| stored.0 == lane && (stored.1.0..stored.1.1).contains(&got.seq);
            assert!(hit.iter().any(|stored| holds(&stored)), "{got:?} is missing: {hit:?}");
            let told = journal
                .losses()
                .iter()
                .any(|loss| loss.lane == lane && (loss.first..loss.end).contains(&got.seq));
            assert!(told, "{got:?} is missing, and no gap says so");
            lost += 1;
        }
        assert!(after.iter().all(|got| before.contains(got)), "nothing is there that was not");
    }
    let (mut tips, mut buffer) = (HubFrontier::new(8), vec![0; SLOT_BYTES as usize]);
    let mut found = 0;
    journal.verify(&mut tips, &mut buffer, &mut |_| found += 1).unwrap();
    // What stood before the first segment of a lane is told by the losses only.
    let begins_later = LANES.iter().any(|lane| journal.seqs(*lane).0 > Seq::ZERO);
    assert!(lost == 0 || found > 0 || begins_later, "verify finds that {lost} are missing");
    append(&mut journal, LANES[0], "ais0", b"more");
    let next = journal.seqs(LANES[0]).1;
    drop(journal);
    assert_eq!(reopen(chip).seqs(LANES[0]).1, next, "it goes on");
    lost > 0
}

fn learn(journal: &Journal<SimNor, Heap>, lane: Lane) -> Vec<Stored> {
    let (mut cursor, mut entries) = (journal.first(lane), Vec::new());
    let mut buffer = vec![0; SLOT_BYTES as usize];
    let first = entries_at(journal.media().geometry());
    loop {
        let before = cursor;
        let ReadStep::Entry(entry) = journal.read(lane, &mut cursor, &mut buffer) else {
            return entries;
        };
        let same = before.segment == cursor.segment;
        let at = if same { before.at.max(first) } else { first };
        let slot = (0..SLOTS).map(SlotIx).find(|slot| {
            let mut bytes = [0; 64];
            journal.media().read(Place { slot: *slot, at: 0 }, &mut bytes).unwrap();
            let header = SegmentHeader::decode(&bytes, journal.media().geometry(), CHECKSUM);
            header.is_ok_and(|header| header.number == cursor.segment)
        });
        let end = at + entry.header.body_end() as u32;
        let seqs = (entry.header.seq, entry.header.end_seq());
        entries.push((lane, seqs, slot.expect("the segment is there"), at, end));
    }
}

fn reopen(chip: &SimNor) -> Journal<SimNor, Heap> {
    open(chip.clone(), &mut Rng::new(9)).expect("what can't be read doesn't stop it").0
}
