//! A journal on each kind of medium: what is appended in two lanes is read back after a restart.

use landfall::media::{FileMedia, FileShape};
use landfall_core::journal::{Config, Fresh, Journal};
use landfall_core::media::Media;
use landfall_core::num::{CommitNo, Lane};
use landfall_core::tables::{Parts, Tables};
use landfall_simulation::journal::{SITE, Tiny, append, config, fresh, heap, read_all};
use landfall_simulation::media::disk::SimDisk;
use landfall_simulation::media::nor::SimNor;
use landfall_simulation::rng::Rng;

#[test]
fn memory_keeps_what_is_appended() {
    let disk = SimDisk::memory(12, 64 * 1024);
    let config = config(disk.geometry(), 2, 16 * 1024);
    keeps_what_is_appended(|| disk.clone(), config, |media| heap(media.geometry(), &config));
}

#[test]
fn flash_keeps_what_is_appended() {
    let chip = SimNor::new(24, 4096, 8, 1);
    let config = config(chip.geometry(), 2, 1024);
    keeps_what_is_appended(|| chip.clone(), config, |media| heap(media.geometry(), &config));
}

#[test]
fn flash_keeps_what_is_appended_without_allocation() {
    let chip = SimNor::new(24, 4096, 8, 1);
    let config = config(chip.geometry(), 2, 1024);
    keeps_what_is_appended(|| chip.clone(), config, |_| Parts::<Tiny>::new(SITE));
}

#[test]
fn files_keep_what_is_appended() {
    let dir = tempfile::tempdir().unwrap();
    let shape = FileShape { slots: 12, slot_bytes: 64 * 1024, powersafe: true };
    let open = || FileMedia::open(dir.path(), shape).unwrap();
    let config = config(open().geometry(), 2, 16 * 1024);
    keeps_what_is_appended(open, config, |media| heap(media.geometry(), &config));
}

#[test]
fn a_new_journal_goes_on_with_the_commits_of_another_store_and_an_old_one_with_its_own() {
    let disk = SimDisk::memory(12, 64 * 1024);
    let config = config(disk.geometry(), 2, 16 * 1024);
    let mut rng = Rng::new(7);
    let mut open = |first| {
        let fresh = Fresh { first_commit: CommitNo::new(first), ..fresh(&mut rng) };
        let parts = heap(disk.geometry(), &config);
        Journal::open(disk.clone(), config, parts, fresh).unwrap().0
    };
    let journal = open(700);
    let [opening] = journal.openings() else { panic!("{:?}", journal.openings()) };
    assert_eq!(opening.first_commit, CommitNo::new(700));
    drop(journal);
    let again = open(9_000);
    assert!(again.last_commit() < CommitNo::new(9_000), "{}", again.last_commit());
}

fn keeps_what_is_appended<M: Media, T: Tables>(
    media: impl Fn() -> M,
    config: Config,
    parts: impl Fn(&M) -> Parts<T>,
) {
    let mut rng = Rng::new(7);
    let mut open = || {
        let media = media();
        let parts = parts(&media);
        Journal::open(media, config, parts, fresh(&mut rng)).unwrap()
    };
    let mut expected = [Vec::new(), Vec::new()];
    for round in 0..3 {
        let (mut journal, recovery) = open();
        assert_eq!(recovery.created, round == 0, "{recovery:?}");
        assert_eq!(recovery.clean, round == 2, "{recovery:?}");
        assert_eq!((recovery.torn, recovery.damaged), (None, 0), "{recovery:?}");
        for number in 0..100 {
            let lane = Lane::new(number % 2);
            let topic = if number % 3 == 0 { "ais" } else { "weather" };
            let topic = if lane.get() == 0 { topic.to_owned() } else { format!("{topic}-urgent") };
            let value = [number; 20];
            let staged = append(&mut journal, lane, &topic, &value);
            expected[usize::from(lane.get())].push((staged.seq, staged.offset, value.to_vec()));
        }
        for lane in [0, 1] {
            let got = read_all(&journal, Lane::new(lane));
            let records = got.records.iter().map(|got| (got.seq, got.offset, got.value()));
            assert_eq!(records.collect::<Vec<_>>(), expected[usize::from(lane)]);
            assert_eq!(got.missing, []);
        }
        if round == 1 {
            journal.close().unwrap();
        }
    }
}
