//! The disk below the data directory: how fast it syncs, and how much room there is.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use super::Check;
use crate::clock;
use crate::config::Config;
use crate::quantity::{ByteSize, duration_text};

const SYNCS: u64 = 16;
/// Above this an append that waits for its commit is felt.
const SYNC_SLOW_MS: u64 = 50;

/// How long a sync of 4 KiB takes.
pub(super) fn check_sync(data: &Path) -> Check {
    let path = data.join("doctor.tmp");
    let measured = time_syncs(&path);
    // If it can't be removed, it could not be made either, or the disk is failing, which shows.
    let _ = std::fs::remove_file(&path);
    match measured {
        Ok(taken_ms) => {
            let each = Duration::from_micros(taken_ms * 1_000 / SYNCS);
            let seen = format!("4 KiB are synced in {} on average", duration_text(each));
            if taken_ms / SYNCS > SYNC_SLOW_MS {
                let advice = "appends wait for it; check the disk's health, or use a faster one";
                return Check::warn("disk sync", seen, advice);
            }
            Check::ok("disk sync", seen)
        }
        Err(error) => Check::fail(
            "disk sync",
            format!("{}: {error}", path.display()),
            "the node's user must be able to write there, to a disk that is not full",
        ),
    }
}

fn time_syncs(path: &Path) -> io::Result<u64> {
    let file = File::create(path)?;
    file.sync_all()?;
    let began = clock::monotonic();
    for at in 0..SYNCS {
        file.write_all_at(&[at as u8; 4_096], at * 4_096)?;
        file.sync_data()?;
    }
    Ok(clock::monotonic().ms_since(began))
}

/// Whether the lanes' budgets fit on the disk.
pub(super) fn check_space(data: &Path, config: &Config) -> Check {
    let room = match rustix::fs::statvfs(data) {
        Ok(room) => room,
        Err(error) => {
            let seen = format!("{}: {error}", data.display());
            return Check::fail("free space", seen, "check the directory's file system");
        }
    };
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    let budget: u64 = config.lanes.iter().map(|lane| lane.budget_bytes.0).sum();
    let seen = format!("{} free; the lanes may take {}", ByteSize(free), ByteSize(budget));
    if free < config.storage.segment_bytes.0.saturating_mul(2) {
        return Check::fail("free space", seen, "free some: appends are about to be refused");
    }
    if free < budget {
        let advice = "lower the lanes' budget_bytes, or free some, unless it is in use already";
        return Check::warn("free space", seen, advice);
    }
    Check::ok("free space", seen)
}
