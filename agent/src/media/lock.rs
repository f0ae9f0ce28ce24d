//! One process per data directory: an advisory lock on a file in it.
//!
//! The system drops the lock with the process, however that ends. The file stays, with the number
//! of the last process that held it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::OpenError;

const PID_BYTES: usize = 11;

/// The lock of a data directory, held until it is dropped.
#[derive(Debug)]
pub struct DirLock {
    pub(super) file: File,
}

impl DirLock {
    /// Takes the lock of `dir` or fails at once.
    ///
    /// # Errors
    /// [`OpenError::InUse`] with the holder's process number, or [`OpenError::System`].
    pub fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join("lock");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(OpenError::at(&path))?;
        match rustix::io::retry_on_intr(|| flock(&file, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(OpenError::InUse { dir: dir.to_path_buf(), pid: holder(&file) });
            }
            Err(fault) => return Err(OpenError::at(&path)(fault.into())),
        }
        // Always as wide as before, in place: a full disk must not keep a node from starting. Nor
        // must a failure here: the number only helps who finds the directory locked.
        let pid = format!("{:>10}\n", std::process::id());
        let _: io::Result<()> = file.write_all_at(pid.as_bytes(), 0);
        Ok(Self { file })
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child that another thread is starting has a copy of
        // it until it runs its own program. If this fails, the lock ends with that copy.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

fn holder(file: &File) -> Option<u32> {
    let mut text = [0; PID_BYTES];
    file.read_exact_at(&mut text, 0).ok()?;
    std::str::from_utf8(&text).ok()?.trim().parse().ok()
}
