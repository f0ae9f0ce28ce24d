//! The open files of the slots: a bounded number, the least recently used closed first.
//!
//! Files are opened and removed under the mutex, so that a file removed by the writer never stays
//! behind in the cache. Reading, writing and syncing happen outside it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use landfall_core::media::SlotIx;
use rustix::io::Errno;

/// How many files of slots are kept open.
pub(super) const OPEN_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Handles {
    directory: PathBuf,
    /// The most recently used last.
    open: Mutex<Vec<(SlotIx, Arc<File>)>>,
}

impl Handles {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, open: Mutex::new(Vec::with_capacity(OPEN_MAX)) }
    }

    /// The file of a slot to read from, if there is one.
    pub(super) fn existing(&self, slot: SlotIx) -> io::Result<Option<Arc<File>>> {
        match self.writable(slot) {
            // A file system that went read-only still serves reads. What is opened for them is not
            // kept, since it may have to be written again.
            Err(fault) if Errno::from_io_error(&fault) == Some(Errno::ROFS) => {
                File::open(self.path(slot)).map(|file| Some(Arc::new(file)))
            }
            other => other,
        }
    }

    /// The file of a slot to read from and write to, if there is one.
    pub(super) fn writable(&self, slot: SlotIx) -> io::Result<Option<Arc<File>>> {
        let mut open = self.open();
        if let Some(at) = open.iter().position(|(of, _)| *of == slot) {
            open[at..].rotate_left(1);
            return Ok(open.last().map(|(_, file)| Arc::clone(file)));
        }
        let opened = OpenOptions::new().read(true).write(true).open(self.path(slot));
        let file = match opened {
            Ok(file) => Arc::new(file),
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(fault) => return Err(fault),
        };
        if open.len() == OPEN_MAX {
            open.remove(0);
        }
        open.push((slot, Arc::clone(&file)));
        Ok(Some(file))
    }

    /// Makes the file of a slot that has none.
    pub(super) fn create(&self, slot: SlotIx) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(self.path(slot))
    }

    /// Puts the file of a slot aside, to become that of another one. False if it can't be.
    pub(super) fn put_aside(&self, slot: SlotIx) -> bool {
        let mut open = self.open();
        open.retain(|(of, _)| *of != slot);
        fs::rename(self.path(slot), self.spare()).is_ok()
    }

    /// Lets the file that was put aside be that of a slot. False if there is none.
    pub(super) fn take_back(&self, slot: SlotIx) -> bool {
        let _open = self.open();
        fs::rename(self.spare(), self.path(slot)).is_ok()
    }

    /// Gives up the file that was put aside, if there is one.
    pub(super) fn give_up_spare(&self) -> bool {
        fs::remove_file(self.spare()).is_ok()
    }

    /// Whether a file was put aside.
    pub(super) fn has_spare(&self) -> bool {
        self.spare().exists()
    }

    fn spare(&self) -> PathBuf {
        self.directory.join("spare")
    }

    /// Removes the file of a slot, if there is one. Who still reads it reads on.
    pub(super) fn remove(&self, slot: SlotIx) -> io::Result<()> {
        let mut open = self.open();
        open.retain(|(of, _)| *of != slot);
        match fs::remove_file(self.path(slot)) {
            Err(fault) if fault.kind() != io::ErrorKind::NotFound => Err(fault),
            _ => Ok(()),
        }
    }

    fn path(&self, slot: SlotIx) -> PathBuf {
        self.directory.join(format!("{:08}.seg", slot.0))
    }

    fn open(&self) -> MutexGuard<'_, Vec<(SlotIx, Arc<File>)>> {
        // The list is whole between any two of its steps, so a reader's panic spoils nothing.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.open().len()
    }
}
