//! What the keeper tells others of the views.

use super::*;
use crate::api::{Cursor, NextGeneration, ViewState, ViewStatus};

/// The views at one moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Board {
    /// Each view, in the order of their names.
    pub views: Vec<ViewStatus>,
    /// The commit that each running view has seen all up to.
    pub through: BTreeMap<String, u64>,
    /// Another number whenever something was written to the file.
    pub writes: u64,
    /// Bytes that a reader's long transaction keeps out of the database, or that wait to go there.
    pub wal_bytes: u64,
    /// Since when a reader's transaction has kept something out of the database, in milliseconds
    /// since 1970.
    pub held_since_ms: Option<i64>,
    /// What is wrong with the file.
    pub trouble: Option<String>,
    /// How far each view has come, and each generation that is built; none while the file can't be
    /// used, so that this is not known.
    pub standing: Option<Vec<Standing>>,
}

/// How far a view has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// What it follows.
    pub topics: Vec<String>,
    /// The place behind its last record; none before the first page.
    pub cursor: Option<Cursor>,
    /// Whether these are the rows that are read, and not those that are to replace them.
    pub is_read: bool,
    /// Whether it takes nothing in any more.
    pub stands: bool,
    /// Records that it found gone when it came there.
    pub lacks: u64,
}

/// Changes are counted anew with each opening of the file.
const OPENING_BITS: u32 = 44;

impl<B: Backend> Keeper<B> {
    /// Tells how the views are.
    pub(super) fn publish(&self) {
        let views = self.views.values();
        let current = views.clone().filter(|view| matches!(view.stage, Stage::Current));
        let mut told: Vec<_> = current.map(|view| self.told(view)).collect();
        told.sort_by(|one, other| one.view.cmp(&other.view));
        for next in views.filter(|view| matches!(view.stage, Stage::Next(_))) {
            let built = NextGeneration {
                generation: next.generation,
                commit: commit(next),
                records: next.progress.records,
                reason: reason(next),
            };
            if let Some(view) = told.iter_mut().find(|view| view.view == next.definition.name) {
                view.next = Some(built);
            }
        }
        let wal_bytes = self.file.as_ref().map_or(0, ViewFile::wal_bytes);
        let current = self.views.values().filter(|view| matches!(view.stage, Stage::Current));
        // A view that waits for the log to take its dead letters goes on meanwhile.
        let goes_on = |view: &&Running| matches!(view.state, State::Running | State::Waiting(..));
        let runs = current.filter(goes_on);
        let through = runs.map(|view| (view.definition.name.clone(), view.through)).collect();
        let changes = self.file.as_ref().map_or(0, |file| file.connection.total_changes());
        let writes = (self.openings << OPENING_BITS) | changes;
        let trouble = self.trouble.clone();
        let held_since_ms = self.held_since_ms;
        let standing = self.views.values().map(|view| Standing {
            name: view.definition.name.clone(),
            topics: view.definition.topics(),
            cursor: view.progress.cursor,
            is_read: matches!(view.stage, Stage::Current),
            stands: matches!(view.state, State::Halted(_) | State::Failed(_)),
            lacks: view.progress.lacking,
        });
        let standing = self.file.as_ref().map(|_| standing.collect());
        let views = told;
        let board = Board { views, through, writes, wal_bytes, held_since_ms, trouble, standing };
        self.board.send_if_modified(|last| {
            let news = *last != board;
            *last = board;
            news
        });
    }

    fn told(&self, view: &Running) -> ViewStatus {
        let state = match view.state {
            State::Running => ViewState::Running,
            State::Failed(_) => ViewState::Failed,
            State::Halted(_) => ViewState::Halted,
            State::Waiting(..) => ViewState::Waiting,
        };
        let refused = self.refused_definitions.get(&view.definition.name);
        ViewStatus {
            view: view.definition.name.clone(),
            topics: view.definition.topics(),
            generation: view.generation,
            state,
            reason: reason(view).or_else(|| refused.cloned()),
            commit: commit(view),
            behind_commits: 0,
            caught_up: view.progress.caught_up,
            records: view.progress.records,
            errors: view.progress.errors,
            lacking: view.progress.lacking,
            derives: view.definition.derives().into_iter().collect(),
            derived: view.progress.derived,
            outbox: view.deriving.waiting(),
            next: None,
        }
    }
}

fn commit(view: &Running) -> u64 {
    view.progress.cursor.map_or(0, |cursor| cursor.commit)
}

fn reason(view: &Running) -> Option<String> {
    match &view.state {
        State::Running => None,
        State::Failed(why) | State::Halted(why) | State::Waiting(why, ..) => Some(why.clone()),
    }
}
