//! A file system with a volatile cache, below programs that run: what they did not sync when the
//! power goes is there, or not, or half there.
//!
//! - A file's bytes and length last when the file was synced. Until then each page of 4096 bytes is
//!   as it was, new, zeros, a mixture of old and new sectors, or holds what belongs elsewhere.
//! - Names are made, changed and removed in order, as on a disk with a journal: what is left of
//!   the changes is the first so many of them. They last when the directory was synced, and not yet
//!   when the file was. A change with several parts, such as a rename, is whole or not at all.
//! - Everything is in memory: 256 MiB for all files, 256 changes of names.

mod calls;
mod damage;
mod files;

pub use damage::Lost;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use fuser::{BackgroundSession, Config, MountOption};

use crate::injection::denied;
use calls::{Calls, Machine};
use files::Files;
use landfall_simulation::rng::Rng;

/// A mounted disk. It is unmounted, and whoever uses it is refused, when it is dropped.
pub struct VolatileDisk {
    at: PathBuf,
    calls: Calls,
    session: Option<BackgroundSession>,
    lost: Lost,
}

impl VolatileDisk {
    /// Mounts an empty disk on an empty directory. None, said loudly, where that can't be done: the
    /// test is then skipped.
    pub fn mount(test: &str, at: &Path) -> Option<Self> {
        let files = Files::new(calls::directory_mode());
        let (is_on, is_read_only, calls_left, write_max) = (true, false, None, usize::MAX);
        let machine = Machine { files, is_on, is_read_only, calls_left, write_max };
        let calls = Calls(Arc::new(Mutex::new(machine)));
        let mut disk = Self { at: at.into(), calls, session: None, lost: Lost::default() };
        match disk.attach() {
            Ok(()) => Some(disk),
            Err(error) => {
                denied(test, &format!("no file system of one's own can be mounted: {error}"));
                None
            }
        }
    }

    /// Everything so far is on the disk.
    pub fn settle(&self) {
        self.calls.machine().files.settle();
    }

    /// Lets the power go with the call that comes after so many others that change or sync
    /// something.
    pub fn cut_after(&self, calls: u64) {
        self.calls.machine().calls_left = Some(calls);
    }

    /// Takes back [`VolatileDisk::cut_after`].
    pub fn calm(&self) {
        self.calls.machine().calls_left = None;
    }

    /// Lets the power go now.
    pub fn cut(&self) {
        self.calls.machine().is_on = false;
    }

    /// Refuses to change or sync anything, or not any more, whatever is open: as ext4 does when it
    /// finds an error in itself.
    pub fn set_read_only(&self, is_read_only: bool) {
        self.calls.machine().is_read_only = is_read_only;
    }

    /// Lets each write take so many bytes at most, and tell so.
    pub fn write_at_most(&self, bytes: usize) {
        self.calls.machine().write_max = bytes;
    }

    /// Whether there is power. If not, every call fails.
    pub fn is_on(&self) -> bool {
        self.calls.machine().is_on
    }

    /// What was lost so far.
    pub fn lost(&self) -> Lost {
        self.lost
    }

    /// Gives the power back, over what is left. Whoever used the disk must have ended.
    ///
    /// # Errors
    /// It can't be mounted again.
    pub fn restore(&mut self, rng: &mut Rng) -> io::Result<()> {
        self.cut();
        self.detach()?;
        let mut machine = self.calls.machine();
        machine.files.lose(rng, &mut self.lost);
        (machine.is_on, machine.calls_left) = (true, None);
        drop(machine);
        self.attach()
    }

    fn attach(&mut self) -> io::Result<()> {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("volatile".into())];
        self.session = Some(fuser::spawn_mount(self.calls.clone(), &self.at, &config)?);
        Ok(())
    }

    /// Unmounts it, by force: what waits for an answer gets an error.
    fn detach(&mut self) -> io::Result<()> {
        let Some(session) = self.session.take() else { return Ok(()) };
        let unmount = Command::new("umount").args(["--force", "--lazy"]).arg(&self.at).output()?;
        if !unmount.status.success() {
            let told = String::from_utf8_lossy(&unmount.stderr).into_owned();
            return Err(io::Error::other(told));
        }
        session.join()
    }
}

impl Drop for VolatileDisk {
    fn drop(&mut self) {
        self.cut();
        let detached = self.detach();
        assert!(detached.is_ok() || std::thread::panicking(), "{:?}: {detached:?}", self.at);
    }
}
