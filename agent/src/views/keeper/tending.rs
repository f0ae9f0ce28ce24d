//! What is done from time to time: sweeps, checkpoints, second attempts, a look at the link.

use rusqlite::wal::CheckpointMode;

use super::*;
use crate::views::check::is_of_statement;
use crate::views::sweep::run_sweeps;

/// When what was written last is brought into the database, if nothing else comes.
const CHECKPOINT_AFTER_MS: u64 = 1_000;
/// Bytes of the write-ahead log beyond which it is brought into the database at once.
const WAL_BYTES_MAX: u64 = 4 << 20;
/// Pages that are given back to the file system at a time.
const FREE_PAGES: u32 = 1_000;

impl<B: Backend> Keeper<B> {
    /// Does what is due.
    pub(super) async fn tend(&mut self) {
        let now = clock::monotonic();
        if self.file.is_none() {
            self.open();
        }
        self.sweep(now);
        self.checkpoint(now);
        self.try_again(now);
        if self.looked_at_link.is_none_or(|at| now.ms_since(at) >= LOOK_AT_LINK_EVERY_MS) {
            self.looked_at_link = Some(now);
            self.look_at_link().await;
        }
    }

    /// How long nothing is due.
    pub(super) fn pause(&self) -> Duration {
        let now = clock::monotonic();
        let left = |since: Monotonic, every: u64| every.saturating_sub(now.ms_since(since));
        let mut ms = self.looked_at_link.map_or(0, |at| left(at, LOOK_AT_LINK_EVERY_MS));
        if self.file.is_none() {
            ms = ms.min(AGAIN_AFTER_MS);
        }
        if let Some(written) = self.written {
            ms = ms.min(left(written, CHECKPOINT_AFTER_MS));
        }
        for view in self.views.values() {
            if let (Some(retention), Some(swept), true) =
                (&view.definition.retention, view.swept, view.is_swept())
            {
                ms = ms.min(left(swept, retention.every_ms));
            }
            if let State::Waiting(_, since, again_after) = view.state {
                ms = ms.min(left(since, again_after));
            }
        }
        Duration::from_millis(ms.max(1))
    }

    fn sweep(&mut self, now: Monotonic) {
        let Some(file) = &self.file else { return };
        let mut failed = None;
        for (ticket, view) in &mut self.views {
            let Some(retention) = &view.definition.retention else { continue };
            let due = view.swept.is_none_or(|at| now.ms_since(at) >= retention.every_ms);
            if !due || !view.is_swept() {
                continue;
            }
            view.swept = Some(now);
            let now_ms = clock::wall().ms();
            match run_sweeps(file, &view.definition, now_ms, view.progress.watermark) {
                Ok(0) => {}
                Ok(_) => self.written = self.written.or(Some(now)),
                Err(error) if is_of_statement(&error) => {
                    tracing::warn!(view = view.definition.name, %error, "a sweep failed");
                }
                Err(error) => failed = Some((*ticket, error)),
            }
        }
        if let Some((ticket, error)) = failed {
            self.refused(ticket, &error);
        }
    }

    /// Brings what was written into the database. A reader that holds a transaction keeps some of
    /// it out, and nobody waits for that reader.
    fn checkpoint(&mut self, now: Monotonic) {
        let (Some(file), Some(written)) = (&self.file, self.written) else { return };
        let due = now.ms_since(written) >= CHECKPOINT_AFTER_MS;
        if !due && file.wal_bytes() < WAL_BYTES_MAX {
            return;
        }
        self.written = None;
        let free = format!("PRAGMA incremental_vacuum({FREE_PAGES})");
        let done = file.connection.execute_batch(&free).and_then(|()| {
            file.connection.wal_checkpoint_v2(Some(rusqlite::MAIN_DB), CheckpointMode::PASSIVE)
        });
        match done {
            Ok((all, brought)) if brought < all => {
                self.held_since_ms.get_or_insert_with(|| clock::wall().ms());
                // It is looked again although nothing may come.
                self.written = Some(now);
            }
            Ok(_) => self.held_since_ms = None,
            Err(error) => tracing::debug!(%error, "a checkpoint was refused"),
        }
        for view in self.views.values() {
            if let Stage::Next(next) = &view.stage {
                // The next one comes soon.
                let _ = next
                    .connection
                    .wal_checkpoint_v2(Some(rusqlite::MAIN_DB), CheckpointMode::PASSIVE);
            }
        }
    }

    /// Feeds the views again that waited for the disk.
    fn try_again(&mut self, now: Monotonic) {
        let due = |view: &Running| match view.state {
            State::Waiting(_, since, again_after) => now.ms_since(since) >= again_after,
            _ => false,
        };
        let due: Vec<_> =
            self.views.iter().filter(|(_, view)| due(view)).map(|(ticket, _)| *ticket).collect();
        due.into_iter().for_each(|ticket| self.resume(ticket));
    }

    /// Begins a view again behind its stored position.
    pub(super) fn resume(&mut self, ticket: Ticket) {
        let Some(view) = self.drop_view(ticket) else { return };
        let file = match &view.stage {
            Stage::Current => self.file.as_ref(),
            Stage::Next(next) => Some(next),
        };
        // What was committed before the disk refused is behind it.
        match file.map(|file| file.progress(&view.definition.name)) {
            Some(Ok(progress)) => {
                self.run_view(view.definition, view.generation, progress, view.stage);
            }
            Some(Err(error)) => self.reopen(&error.to_string()),
            None => {}
        }
    }

    /// Writes for readers of the file how the link is and where the log ends, if that is news.
    async fn look_at_link(&mut self) {
        let Ok(status) = self.backend.status().await else { return };
        let (link, since_ms) = match &status.link {
            None => ("root", 0),
            Some(link) => (link_word(link.state), link.since_ms),
        };
        let log_end = end_of(status.lanes.iter().map(|lane| lane.next_seq));
        let Some(file) = &self.file else { return };
        match put_node(&file.connection, (true, link, since_ms), Some(log_end)) {
            Ok(true) => self.written = self.written.or(Some(clock::monotonic())),
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "the link's state is not written"),
        }
    }
}

fn link_word(state: LinkState) -> &'static str {
    match state {
        LinkState::Connecting => "connecting",
        LinkState::CatchingUp => "catching_up",
        LinkState::Synced => "synced",
        LinkState::Waiting => "waiting",
        LinkState::Resting => "resting",
        LinkState::Refused => "refused",
    }
}
