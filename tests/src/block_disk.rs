//! A real file system on a block device of its own, whose writes the kernel counts.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::injection::denied;

/// An ext4 in a file, unmounted when it is dropped.
pub struct BlockDisk {
    at: PathBuf,
    /// Where the kernel tells what was done to the device.
    statistics: PathBuf,
}

/// Bytes of a sector, in which the kernel counts whatever the device has.
const SECTOR_BYTES: u64 = 512;

impl BlockDisk {
    /// Makes one of that many MiB in a folder, and mounts it there. None, said loudly, where nobody
    /// may: the test is then skipped.
    pub fn mount(test: &str, folder: &Path, mebibytes: u64) -> Option<Self> {
        Self::make(folder, mebibytes)
            .inspect_err(|why| denied(test, &format!("no file system can be mounted: {why}")))
            .ok()
    }

    fn make(folder: &Path, mebibytes: u64) -> Result<Self, String> {
        let (image, at) = (folder.join("image"), folder.join("disk"));
        let made = fs::File::create(&image).and_then(|file| file.set_len(mebibytes << 20));
        made.and_then(|()| fs::create_dir(&at)).map_err(|error| error.to_string())?;
        // All is laid out at once, or the kernel would go on with it while the test counts.
        let lazy = "lazy_itable_init=0,lazy_journal_init=0";
        run(Command::new("mkfs.ext4").args(["-q", "-b", "4096", "-E", lazy]).arg(&image))?;
        run(Command::new("mount").args(["-o", "loop,noatime"]).arg(&image).arg(&at))?;
        let device = fs::metadata(&at).map_err(|error| error.to_string())?.dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let statistics = format!("/sys/dev/block/{major}:{minor}/stat").into();
        let disk = Self { at, statistics };
        disk.counted().map(|_| disk).ok_or_else(|| "the kernel counts nothing".into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Bytes that were written to the device since it was made, with all that waited to be.
    ///
    /// # Panics
    /// The system refuses.
    pub fn written(&self) -> u64 {
        run(Command::new("sync").arg("--file-system").arg(&self.at)).expect("it can be synced");
        self.counted().expect("the kernel counts")
    }

    fn counted(&self) -> Option<u64> {
        let told = fs::read_to_string(&self.statistics).ok()?;
        let sectors = told.split_whitespace().nth(6)?;
        Some(sectors.parse::<u64>().ok()? * SECTOR_BYTES)
    }
}

impl Drop for BlockDisk {
    fn drop(&mut self) {
        let unmounted = run(Command::new("umount").arg("--lazy").arg(&self.at));
        assert!(unmounted.is_ok() || std::thread::panicking(), "{:?} stays mounted", self.at);
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let done = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let told = String::from_utf8_lossy(&done.stderr);
    if done.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", told.trim())) }
}
