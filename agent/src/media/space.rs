//! Reserving a file's space before anything is written to it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::{Errno, retry_on_intr};

const STEP: u32 = 64 * 1024;

/// Makes `file` at least `bytes` long, every one of them backed by space. What it holds stays.
/// Returns how many bytes had to be written for it.
///
/// # Errors
/// The system's; the file then has the length it had.
pub(super) fn reserve(file: &File, bytes: u32) -> io::Result<u64> {
    let had = file.metadata()?.len();
    let allocated = retry_on_intr(|| fallocate(file, FallocateFlags::empty(), 0, bytes.into()));
    let done = match allocated {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(file, had, bytes),
        other => other.map(|()| 0).map_err(io::Error::from),
    };
    if done.is_err() && file.metadata()?.len() > had {
        file.set_len(had)?;
    }
    done
}

/// Stands in for allocation where the file system has none.
pub(super) fn write_zeros(file: &File, from: u64, to: u32) -> io::Result<u64> {
    let zeros = vec![0; STEP as usize];
    let mut at = from;
    while at < u64::from(to) {
        let rest = u64::from(to) - at;
        let step = usize::try_from(rest).unwrap_or(zeros.len()).min(zeros.len());
        file.write_all_at(&zeros[..step], at)?;
        at += step as u64;
    }
    // Such file systems may find out that they are full only when they write back.
    file.sync_all()?;
    Ok(at.saturating_sub(from))
}
