//! A real file system that is small enough to fill.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::injection::denied;

/// A file system in memory, unmounted when it is dropped. There is one at a time: a process that
/// another test is just starting would keep a removed file, and its space, for a moment.
pub struct SmallDisk<'a> {
    path: &'a Path,
    _one: MutexGuard<'static, ()>,
}

static ONE: Mutex<()> = Mutex::new(());

impl<'a> SmallDisk<'a> {
    /// Mounts one of that many KiB. None, said loudly, where nobody may mount: the test is then
    /// skipped.
    pub fn mount(at: &'a Path, kib: u32) -> Option<Self> {
        Self::mount_with(at, &format!("size={kib}k"))
    }

    /// Mounts one with options of tmpfs.
    pub fn mount_with(at: &'a Path, options: &str) -> Option<Self> {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at);
        if mount.output().is_ok_and(|mount| mount.status.success()) {
            return Some(Self { path: at, _one: one });
        }
        denied("a full disk", "no right to mount a tmpfs");
        None
    }

    /// Changes an option, such as `ro`, while nobody has a file open.
    ///
    /// # Panics
    /// The system refuses.
    pub fn remount(&self, option: &str) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,{option}")]).arg(self.path);
        let done = mount.output();
        assert!(done.as_ref().is_ok_and(|done| done.status.success()), "{done:?}");
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.path
    }

    /// Another program's file that takes all the space there is.
    ///
    /// # Panics
    /// It can't be made.
    pub fn fill_up(&self) -> PathBuf {
        let path = self.path.join("filler");
        let mut file = File::create(&path).expect("a file can be made");
        while file.write_all(&[1; 4096]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.path).status();
        let unmounted = unmounted.is_ok_and(|status| status.success());
        assert!(unmounted || std::thread::panicking(), "{:?} stays mounted", self.path);
    }
}
