//! A thread that syncs a file while the node's thread goes on.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// What the thread needs: it calls the system and nothing else.
const STACK_BYTES: usize = 64 * 1024;

/// Syncs one file at a time.
#[derive(Debug)]
pub(super) struct Syncer {
    files: SyncSender<Arc<File>>,
    outcomes: Receiver<io::Result<()>>,
}

impl Syncer {
    /// Starts the thread. It ends when this is dropped.
    pub(super) fn start() -> io::Result<Self> {
        let (files, to_sync) = sync_channel::<Arc<File>>(1);
        let (synced, outcomes) = sync_channel(1);
        let sync = move || {
            for file in to_sync {
                if synced.send(file.sync_data()).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("landfall-sync".into()).stack_size(STACK_BYTES).spawn(sync)?;
        Ok(Self { files, outcomes })
    }

    /// Begins to sync a file. [`Syncer::wait`] must follow before the next.
    pub(super) fn begin(&self, file: Arc<File>) -> io::Result<()> {
        self.files.send(file).map_err(|_| gone())
    }

    /// Returns when the file is synced that was begun last.
    pub(super) fn wait(&self) -> io::Result<()> {
        self.outcomes.recv().map_err(|_| gone())?
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that syncs has ended")
}
