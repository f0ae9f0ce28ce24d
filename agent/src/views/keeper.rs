//! The keeper: a thread that owns the views' file, applies what comes, and mends what breaks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Error;
use tokio::runtime::Handle as Runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use super::apply::{Applied, Applying, apply};
use super::definition::Definition;
use super::derive::LogPlace;
use super::feed::{PAGES_MAX, Pace, Ticket, Told, feed};
use super::file::{Progress, ViewFile, is_damage, remove};
use super::heap::{self, Shed};
use super::notes::{end_of, put_node, put_state};
use crate::api::{Backend, LinkState, ReadPage};
use crate::clock::{self, Monotonic};

mod board;
mod deriving;
mod making;
mod tending;
#[cfg(test)]
pub(super) mod tests;

pub use board::{Board, Standing};
use deriving::ViewDerives;
pub(super) use making::make_in;

/// What the thread holds.
pub(super) struct Keeper<B> {
    backend: B,
    data: PathBuf,
    wanted: Vec<Definition>,
    /// None while it can't be opened.
    file: Option<ViewFile>,
    /// How often it was opened again since records were applied.
    reopened: u32,
    /// Why it can't be opened.
    trouble: Option<String>,
    views: BTreeMap<Ticket, Running>,
    /// Why a definition is not used although its view runs, by name.
    refused_definitions: BTreeMap<String, String>,
    /// Where the feeders run.
    runtime: Runtime,
    told: mpsc::Sender<Told>,
    board: watch::Sender<Board>,
    /// The latest commit that somebody waits for.
    asked: watch::Receiver<u64>,
    /// How often the file was opened.
    openings: u64,
    next_ticket: u64,
    /// When the file was written last, if that is not yet in the database proper.
    written: Option<Monotonic>,
    /// Since when a reader's transaction has kept something out of the database.
    held_since_ms: Option<i64>,
    looked_at_link: Option<Monotonic>,
    shed: Shed,
}

/// A view that is kept, or a new generation of it.
struct Running {
    definition: Definition,
    generation: u64,
    progress: Progress,
    stage: Stage,
    state: State,
    feeder: Option<AbortHandle>,
    pace: Pace,
    deriving: ViewDerives,
    /// The commit that it has seen all up to.
    through: u64,
    /// When it was swept last; a start sweeps once what has caught up.
    swept: Option<Monotonic>,
}

/// Which of its generations a view is.
enum Stage {
    /// The one that is read.
    Current,
    /// The one that is built to replace it, in a file of its own.
    Next(ViewFile),
}

/// How a view is.
#[derive(Clone, Debug, Eq, PartialEq)]
enum State {
    Running,
    /// Its definition can't be used.
    Failed(String),
    /// It stopped in front of a record.
    Halted(String),
    /// The file refused, and why; it is tried again so many milliseconds after this.
    Waiting(String, Monotonic, u64),
}

/// When to try again what the disk refused.
const AGAIN_AFTER_MS: u64 = 5_000;
/// When to try again what queries left no memory for; they end within this.
const AGAIN_WITHOUT_QUERIES_AFTER_MS: u64 = 20;
/// How often the link is looked at, for who reads the file.
const LOOK_AT_LINK_EVERY_MS: u64 = 10_000;

/// What has begun: whom it hears, what it tells, and what keeps the views as long as it is polled.
pub(super) type Begun<F> = (mpsc::Sender<Told>, watch::Receiver<Board>, F);

/// Starts the thread. It keeps what the configuration names in the file of `data`, until `stop` is
/// sent or dropped.
///
/// # Errors
/// No thread or runtime can be had.
pub(super) fn start<B: Backend>(
    backend: B,
    data: &Path,
    wanted: Vec<Definition>,
    given: (Shed, oneshot::Receiver<()>, watch::Receiver<u64>),
) -> std::io::Result<Begun<tokio::task::JoinHandle<()>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let (told, seen, keeping) = begin(backend, data, wanted, given);
    let ended = tokio::task::spawn_blocking(move || runtime.block_on(keeping));
    Ok((told, seen, ended))
}

/// The same, on the thread of whoever polls it.
pub(super) fn begin<B: Backend>(
    backend: B,
    data: &Path,
    wanted: Vec<Definition>,
    (shed, stop, asked): (Shed, oneshot::Receiver<()>, watch::Receiver<u64>),
) -> Begun<impl Future<Output = ()> + use<B>> {
    let (told, hears) = mpsc::channel(PAGES_MAX);
    let (board, seen) = watch::channel(Board::default());
    let keeper = Keeper {
        backend,
        data: data.to_owned(),
        wanted,
        file: None,
        reopened: 0,
        trouble: None,
        views: BTreeMap::new(),
        refused_definitions: BTreeMap::new(),
        runtime: Runtime::current(),
        told: told.clone(),
        board,
        asked,
        openings: 0,
        next_ticket: 0,
        written: None,
        held_since_ms: None,
        looked_at_link: None,
        shed,
    };
    (told, seen, keeper.run(hears, stop))
}

impl<B: Backend> Keeper<B> {
    async fn run(mut self, mut hears: mpsc::Receiver<Told>, mut stop: oneshot::Receiver<()>) {
        loop {
            self.tend().await;
            self.publish();
            let told = tokio::select! {
                biased;
                // Also if whoever could say so is gone.
                _ = &mut stop => return self.stop(),
                told = hears.recv() => told,
                () = tokio::time::sleep(self.pause()) => continue,
            };
            match told {
                None => return self.stop(),
                Some(Told::Known(ticket, known)) => self.begin_deriving(ticket, known),
                Some(Told::Page(ticket, page)) => self.take(ticket, &page),
                Some(Told::Sent(ticket, sent)) => self.sent(ticket, sent),
                Some(Told::Gone(ticket, why)) => self.begin_anew(ticket, &why),
                Some(Told::Suspect) => self.reopen("a reader found the file damaged"),
            }
        }
    }

    /// Applies a page.
    fn take(&mut self, ticket: Ticket, page: &ReadPage) {
        if self.loses_rows(ticket, page) || self.waits_for_room(ticket) {
            return;
        }
        self.follow_current(ticket);
        let Some(view) = self.views.get_mut(&ticket) else { return };
        let Some(file) = self.file.as_ref() else { return };
        if !file.is_there() {
            return self.reopen("the file was taken away");
        }
        let file = match &view.stage {
            Stage::Current => file,
            Stage::Next(next) => next,
        };
        let began = clock::monotonic();
        let now_ms = clock::wall().ms();
        let backend = &self.backend;
        let partition_of = |topic: &str, key: Option<&[u8]>| backend.partition_of(topic, key);
        let deriving = view.deriving.deriving(&partition_of);
        let applying = Applying { file, definition: &view.definition, deriving: deriving.as_ref() };
        let applied = apply(applying, &view.progress, page, now_ms);
        view.pace.note(page.items.len(), clock::monotonic().ms_since(began));
        self.written.get_or_insert(began);
        match applied {
            Ok(Applied::Whole(progress)) => {
                view.progress = progress;
                view.through = page.through;
                self.reopened = 0;
                let name = view.definition.name.clone();
                self.replace_if_due(&name);
                self.send(ticket);
            }
            Ok(Applied::Halted(progress, reason)) => {
                tracing::error!(view = view.definition.name, reason, "the view halts");
                view.progress = progress;
                view.state = State::Halted(reason);
                view.hush();
                self.send(ticket);
            }
            Err(error) => self.refused(ticket, &error),
        }
    }

    /// What to do when a view's file refuses.
    fn refused(&mut self, ticket: Ticket, error: &Error) {
        let Some(view) = self.views.get_mut(&ticket) else { return };
        let name = view.definition.name.clone();
        tracing::warn!(view = name, %error, "the views' file refuses");
        match (&view.stage, is_damage(error)) {
            (Stage::Current, true) => self.reopen(&error.to_string()),
            (Stage::Next(_), true) => {
                // Its file is made again from the beginning.
                if let Some(Running { stage: Stage::Next(next), .. }) = self.drop_view(ticket) {
                    next.discard();
                }
                self.begin_next(&name);
            }
            (_, false) => {
                let mut again_after = AGAIN_AFTER_MS;
                if heap::is_full(error) {
                    self.shed.end_queries();
                    again_after = AGAIN_WITHOUT_QUERIES_AFTER_MS;
                }
                view.state = State::Waiting(error.to_string(), clock::monotonic(), again_after);
                view.hush();
            }
        }
    }

    /// Throws the file away if it is no good, opens what is there, and begins all views again.
    fn reopen(&mut self, why: &str) {
        tracing::warn!(why, "opening the views' file again");
        self.reopened += 1;
        let path = self.path();
        // It is closed before another one is made at its path: closing takes away what lies beside.
        let gone = self.file.take().is_some_and(|file| !file.is_there());
        // Not all damage is found by looking through the file.
        if gone || self.reopened > 1 {
            remove(&path);
        }
        self.open();
    }

    /// Opens the file and begins all views.
    fn open(&mut self) {
        for (_, view) in std::mem::take(&mut self.views) {
            view.hush();
        }
        self.refused_definitions.clear();
        self.openings += 1;
        match ViewFile::open(&self.path()) {
            Ok((file, damage)) => {
                if let Some(why) = damage {
                    tracing::warn!(why, "the views' file was damaged; all views are made anew");
                }
                (self.file, self.trouble) = (Some(file), None);
                if let Err(error) = self.begin_all() {
                    self.file = None;
                    self.trouble = Some(error.to_string());
                }
            }
            Err(error) => self.trouble = Some(error.to_string()),
        }
        if let (None, Some(why)) = (&self.file, &self.trouble) {
            tracing::error!(why, "the views' file can't be used; it is tried again");
        }
    }

    fn path(&self) -> PathBuf {
        self.data.join(super::FILE_NAME)
    }

    fn stop(mut self) {
        for view in self.views.values() {
            view.hush();
        }
        if let Some(file) = self.file.take() {
            // What is not written is written at the next start.
            let _ = put_node(&file.connection, (false, "unknown", clock::wall().ms()), None);
        }
    }

    /// Stops a view for good, without a word to its file.
    fn drop_view(&mut self, ticket: Ticket) -> Option<Running> {
        let view = self.views.remove(&ticket)?;
        view.hush();
        Some(view)
    }
}

impl Running {
    /// Whether its rows are those that sweeps are meant for.
    fn is_swept(&self) -> bool {
        let is_current = matches!(self.stage, Stage::Current);
        is_current && self.state == State::Running && self.progress.caught_up
    }

    /// How far it has come.
    fn place(&self) -> Option<LogPlace> {
        self.progress.cursor.map(|cursor| (cursor.commit, cursor.index))
    }

    fn hush(&self) {
        if let Some(feeder) = &self.feeder {
            feeder.abort();
        }
    }
}
