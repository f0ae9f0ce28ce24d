//! Files as a medium: the lock, the space, the bounded handles, and readers beside the writer.

use std::fs;
use std::thread;

use landfall_core::media::{Media, MediaError, Place, SlotIx};

use super::handles::OPEN_MAX;
use super::{DirLock, FileMedia, FileShape, OpenError, space, while_reading, while_writing};

const SHAPE: FileShape = FileShape { slots: 200, slot_bytes: 16_384, powersafe: false };

fn place(slot: u32, at: u32) -> Place {
    Place { slot: SlotIx(slot), at }
}

fn opened(dir: &tempfile::TempDir) -> FileMedia {
    FileMedia::open(dir.path(), SHAPE).unwrap()
}

#[test]
fn a_second_opener_learns_who_holds_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let media = opened(&dir);

    let refused = FileMedia::open(dir.path(), SHAPE).unwrap_err();
    let OpenError::InUse { pid, .. } = &refused else { panic!("{refused}") };
    assert_eq!(*pid, Some(std::process::id()));
    assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");

    drop(media);
    opened(&dir);
}

#[test]
fn the_lock_goes_with_its_holder_and_not_with_its_readers() {
    let dir = tempfile::tempdir().unwrap();
    let reader = opened(&dir).reader();
    DirLock::take(dir.path()).unwrap();
    let mut byte = [7];
    reader.read(place(0, 0), &mut byte).unwrap();
    assert_eq!(byte, [0]);
}

#[test]
fn a_shape_without_whole_units_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for shape in [
        FileShape { slots: 0, ..SHAPE },
        FileShape { slot_bytes: 0, ..SHAPE },
        FileShape { slot_bytes: 4096 + 512, ..SHAPE },
    ] {
        let refused = FileMedia::open(dir.path(), shape).unwrap_err();
        assert!(matches!(refused, OpenError::Shape(_)), "{refused}");
    }
}

#[test]
fn an_erased_slot_has_all_its_space() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    opened(&dir).erase(SlotIx(7)).unwrap();
    let file = fs::metadata(dir.path().join("segments/00000007.seg")).unwrap();
    assert_eq!(file.len(), 16_384);
    assert!(file.blocks() * 512 >= 16_384, "{} blocks", file.blocks());
}

#[test]
fn a_half_made_file_reads_as_zeros_and_is_completed_by_the_next_erase() {
    let dir = tempfile::tempdir().unwrap();
    let mut media = opened(&dir);
    let path = dir.path().join("segments/00000003.seg");
    fs::write(&path, [9; 100]).unwrap();

    let mut bytes = [1; 200];
    media.read(place(3, 0), &mut bytes).unwrap();
    assert_eq!(bytes[..100], [9; 100]);
    assert_eq!(bytes[100..], [0; 100]);

    media.erase(SlotIx(3)).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 16_384);
    media.read(place(3, 0), &mut bytes).unwrap();
    assert_eq!(bytes[..100], [9; 100]);
}

#[test]
fn a_file_that_is_given_back_becomes_that_of_the_next_slot_and_only_one_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let spare = dir.path().join("segments/spare");
    let mut media = opened(&dir);
    for slot in [1, 2] {
        media.erase(SlotIx(slot)).unwrap();
        media.program(place(slot, 0), &[slot as u8; 4096]).unwrap();
        media.sync(SlotIx(slot)).unwrap();
    }
    media.free(SlotIx(1)).unwrap();
    media.free(SlotIx(2)).unwrap();
    assert_eq!(fs::read(&spare).unwrap()[..4096], [1; 4096]);
    let mut bytes = [7; 8];
    media.read(place(1, 0), &mut bytes).unwrap();
    assert_eq!(bytes, [0; 8], "a slot that was given back is empty");
    drop(media);

    let mut media = opened(&dir);
    media.erase(SlotIx(9)).unwrap();
    assert!(!spare.exists());
    media.read(place(9, 4088), &mut bytes).unwrap();
    assert_eq!(bytes, [1; 8], "it is the same file");
    media.program(place(9, 0), &[9; 4096]).unwrap();
    media.sync(SlotIx(9)).unwrap();
    media.erase(SlotIx(1)).unwrap();
    media.read(place(1, 0), &mut bytes).unwrap();
    assert_eq!(bytes, [0; 8], "there was no other");
    let names = fs::read_dir(dir.path().join("segments")).unwrap();
    assert_eq!(names.count(), 2);
}

#[test]
fn a_spare_file_that_is_too_short_is_completed() {
    let dir = tempfile::tempdir().unwrap();
    let mut media = opened(&dir);
    fs::write(dir.path().join("segments/spare"), [5; 10]).unwrap();
    media.erase(SlotIx(0)).unwrap();
    assert_eq!(fs::metadata(dir.path().join("segments/00000000.seg")).unwrap().len(), 16_384);
}

#[test]
fn programming_a_slot_whose_file_vanished_fails() {
    let dir = tempfile::tempdir().unwrap();
    let mut media = opened(&dir);
    assert_eq!(media.program(place(5, 0), &[0; 4096]), Err(MediaError::Failed));
}

#[test]
fn a_bounded_number_of_files_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let mut media = opened(&dir);
    for slot in 0..SHAPE.slots {
        media.erase(SlotIx(slot)).unwrap();
        media.program(place(slot, 0), &[slot as u8; 4096]).unwrap();
        media.sync(SlotIx(slot)).unwrap();
    }
    let mut byte = [0];
    for slot in (0..SHAPE.slots).rev() {
        media.read(place(slot, 100), &mut byte).unwrap();
        assert_eq!(byte, [slot as u8]);
    }
    assert_eq!(media.reader.0.count(), OPEN_MAX);
}

#[test]
fn a_reader_never_keeps_a_removed_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut media = opened(&dir);
    let reader = media.reader();
    let (done, stop) = std::sync::mpsc::channel::<()>();
    let racing = thread::spawn(move || {
        let mut buffer = [0; 4096];
        while stop.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            reader.read(place(1, 0), &mut buffer).unwrap();
        }
    });
    for round in 1..=200_u8 {
        media.erase(SlotIx(1)).unwrap();
        media.program(place(1, 0), &[round; 4096]).unwrap();
        let mut buffer = [0; 4096];
        media.reader().read(place(1, 0), &mut buffer).unwrap();
        assert_eq!(buffer, [round; 4096]);
        media.free(SlotIx(1)).unwrap();
        media.reader().read(place(1, 0), &mut buffer).unwrap();
        assert_eq!(buffer, [0; 4096]);
    }
    drop(done);
    racing.join().unwrap();
}

#[test]
fn zeros_stand_in_for_allocation_and_keep_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, [5; 10]).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    space::write_zeros(&file, 10, 200_000).unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 200_000);
    assert_eq!(bytes[..10], [5; 10]);
    assert!(bytes[10..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_copy_of_the_locked_file_in_a_starting_child_keeps_nothing_locked() {
    let dir = tempfile::tempdir().unwrap();
    let lock = DirLock::take(dir.path()).unwrap();
    let _copy = lock.file.try_clone().unwrap();
    drop(lock);
    DirLock::take(dir.path()).unwrap();
}

#[test]
fn only_lost_bytes_are_unreadable_and_only_lack_of_space_is_no_space() {
    use rustix::io::Errno;
    for (errno, reading, writing) in [
        (Errno::IO, MediaError::Unreadable, MediaError::Failed),
        (Errno::BADMSG, MediaError::Unreadable, MediaError::Failed),
        (Errno::MFILE, MediaError::Failed, MediaError::Failed),
        (Errno::NOSPC, MediaError::Failed, MediaError::NoSpace),
        (Errno::DQUOT, MediaError::Failed, MediaError::NoSpace),
        (Errno::ROFS, MediaError::Failed, MediaError::Failed),
    ] {
        assert_eq!(while_reading(&errno.into()), reading, "{errno}");
        assert_eq!(while_writing(&errno.into()), writing, "{errno}");
    }
}
