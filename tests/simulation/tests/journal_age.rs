//! Since when segments are durable, and how a journal keeps count of that.

use landfall_core::frontier::{BranchIx, Frontier};
use landfall_core::journal::Journal;
use landfall_core::media::Media;
use landfall_core::num::{Lane, Offset, OpenTime};
use landfall_core::tables::Heap;
use landfall_simulation::journal::{append, known, open};
use landfall_simulation::media::disk::SimDisk;
use landfall_simulation::media::nor::SimNor;
use landfall_simulation::rng::Rng;

const LANE: Lane = Lane::new(0);
const MINUTE_MS: u64 = 60_000;

fn reopened<M: Media>(medium: M) -> Journal<M, Heap> {
    open(medium, &mut Rng::new(1)).unwrap().0
}

/// Appends records of a kilobyte, and promises the first so many of all.
fn append_and_promise<M: Media>(journal: &mut Journal<M, Heap>, count: u64, promised: u64) {
    for _ in 0..count {
        append(journal, LANE, "ais", &[1; 1_000]);
    }
    let (ix, at) = (known(journal, "ais"), Offset::new(promised));
    journal.frontier_mut().promise(ix, BranchIx::MAIN, at, at);
}

fn date<M: Media>(journal: &mut Journal<M, Heap>) -> Option<OpenTime> {
    journal.date_durable(LANE, false, &mut vec![0; 64 * 1024]);
    journal.oldest(LANE).unwrap().durable_at
}

#[test]
fn a_segment_is_dated_when_all_of_it_is_durable() {
    let mut journal = reopened(SimDisk::new(40, 16 * 1024, 512, 1));
    append_and_promise(&mut journal, 100, 5);
    journal.pass_time(7);
    assert_eq!(date(&mut journal), None);
    let end = journal.oldest(LANE).unwrap().seqs.1.get();
    append_and_promise(&mut journal, 0, end - 1);
    assert_eq!(date(&mut journal), None);
    append_and_promise(&mut journal, 0, end);
    assert_eq!(date(&mut journal), Some(OpenTime::new(7)));
    journal.pass_time(5);
    assert_eq!(date(&mut journal), Some(OpenTime::new(7)), "it was durable before");
    journal.drop_oldest(LANE, None, &mut vec![0; 64 * 1024]).unwrap();
    assert_eq!(date(&mut journal), None, "the next one is not durable");
}

#[test]
fn a_clean_close_keeps_the_count() {
    for flash in [false, true] {
        if flash {
            close_and_go_on(SimNor::new(64, 16 * 1024, 4, 1));
        } else {
            close_and_go_on(SimDisk::new(40, 16 * 1024, 512, 1));
        }
    }
}

fn close_and_go_on<M: Media>(medium: M) {
    let mut journal = reopened(medium);
    append_and_promise(&mut journal, 100, 100);
    journal.pass_time(3_000);
    date(&mut journal);
    journal.pass_time(4_000);
    let mut journal = reopened(journal.close().unwrap());
    assert_eq!(journal.open_time(), OpenTime::new(7_000));
    assert_eq!(date(&mut journal), Some(OpenTime::new(3_000)));
}

#[test]
fn a_power_cut_costs_no_more_than_ten_minutes_of_age() {
    let disk = SimDisk::new(40, 16 * 1024, 512, 1);
    let mut journal = reopened(disk.clone());
    append_and_promise(&mut journal, 100, 100);
    journal.pass_time(MINUTE_MS);
    date(&mut journal);
    for _ in 0..65 {
        journal.pass_time(MINUTE_MS);
        journal.commit().unwrap();
    }
    disk.cut();
    disk.restart();
    let mut journal = reopened(disk);
    let age = journal.open_time().since(date(&mut journal).unwrap());
    assert!((55 * MINUTE_MS..=65 * MINUTE_MS).contains(&age), "{age} ms are left");
}

#[test]
fn time_that_no_segment_waits_for_writes_nothing() {
    let disk = SimDisk::new(40, 16 * 1024, 512, 1);
    let mut journal = reopened(disk.clone());
    append_and_promise(&mut journal, 100, 0);
    let before = disk.counters().programs;
    for _ in 0..600 {
        journal.pass_time(MINUTE_MS);
        journal.commit().unwrap();
    }
    assert_eq!(disk.counters().programs, before);
    append_and_promise(&mut journal, 0, 100);
    date(&mut journal);
    for _ in 0..600 {
        journal.pass_time(MINUTE_MS);
        journal.commit().unwrap();
    }
    let written = disk.counters().programs - before;
    assert!((60..80).contains(&written), "{written} writes for 60 checkpoints in ten hours");
}
