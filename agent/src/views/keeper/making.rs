//! Beginning views: as they were left, anew, or as a new generation beside the old one.

use std::path::PathBuf;

use rusqlite::Error;

use super::*;
use crate::views::check::{self, Failure, Invalid, Kept, is_of_statement};
use crate::views::derive::put_derivation;
use crate::views::file::Stored;
use crate::views::notes::{forget, put_objects, put_view};
use crate::views::swap::swap;

impl<B: Backend> Keeper<B> {
    /// Begins every view that is wanted, and forgets those that are not.
    pub(super) fn begin_all(&mut self) -> Result<(), Error> {
        let Some(file) = self.file.as_ref() else { return Ok(()) };
        let stored = file.stored()?;
        let wanted = self.wanted.clone();
        for name in stored.keys().filter(|name| wanted.iter().all(|view| view.name != **name)) {
            tracing::info!(view = name, "the view is no longer wanted, and dropped");
            let made = file.objects(name)?;
            file.transaction(|connection| forget(connection, name, &made))?;
            remove(&next_path(&self.data, name));
        }
        for definition in wanted {
            self.begin(&definition, stored.get(&definition.name))?;
        }
        self.written = Some(clock::monotonic());
        Ok(())
    }

    fn begin(&mut self, wanted: &Definition, stored: Option<&Stored>) -> Result<(), Error> {
        let Some(file) = self.file.as_ref() else { return Ok(()) };
        let made = file.objects(&wanted.name)?;
        let generation = stored.map_or(0, |stored| stored.generation);
        let old = stored.and_then(|stored| stored.definition.as_ref());
        // A rule has none; but it was begun.
        let is_begun = stored.is_some_and(|stored| !stored.failed);
        let has_rows = !made.is_empty() || is_begun && old.is_some_and(Definition::is_rule);
        match stored {
            Some(stored) if has_rows && stored.hash == wanted.hash() => {
                remove(&next_path(&self.data, &wanted.name));
                let check =
                    |which| check::check_kept(&file.connection, &file.guard, wanted, &made, which);
                let mut wanted = wanted.clone();
                if let (Some(invalid), Some(old)) =
                    (only_invalid(check(Kept::Emits))?, &stored.definition)
                {
                    let reason = format!("the new definition is not used: {invalid}");
                    tracing::error!(view = wanted.name, reason, "the view stays as it was");
                    self.refused_definitions.insert(wanted.name.clone(), reason);
                    wanted = old.clone();
                } else if let Some(invalid) = only_invalid(check(Kept::Sweeps))? {
                    // The rows are as good as before; only the sweep is left out.
                    wanted.retention = None;
                    tracing::error!(view = wanted.name, %invalid, "the view is not swept");
                    let reason = format!("it is not swept: {invalid}");
                    self.refused_definitions.insert(wanted.name.clone(), reason);
                }
                put_view(&file.connection, &wanted, generation, None)?;
                let progress = file.progress(&wanted.name)?;
                self.run_view(wanted, generation, progress, Stage::Current);
            }
            Some(Stored { definition: Some(old), .. }) if has_rows => {
                let progress = file.progress(&wanted.name)?;
                self.run_view(old.clone(), generation, progress, Stage::Current);
                self.begin_next(&wanted.name);
            }
            _ => self.make(wanted, generation + 1, &made)?,
        }
        Ok(())
    }

    /// Makes a view's tables where all can see them, in place of what it had.
    fn make(
        &mut self,
        wanted: &Definition,
        generation: u64,
        old: &[check::Object],
    ) -> Result<(), Error> {
        let Some(file) = self.file.as_ref() else { return Ok(()) };
        remove(&next_path(&self.data, &wanted.name));
        match only_invalid(make_in(file, wanted, generation, old))? {
            Some(invalid) => self.fail(wanted, generation, &invalid),
            None => {
                tracing::info!(view = wanted.name, generation, "the view begins");
                self.run_view(wanted.clone(), generation, Progress::START, Stage::Current);
            }
        }
        Ok(())
    }

    fn fail(&mut self, wanted: &Definition, generation: u64, invalid: &Invalid) {
        let reason = invalid.to_string();
        tracing::error!(view = wanted.name, reason, "the view can't be used");
        if let Some(file) = &self.file {
            let put = put_view(&file.connection, wanted, generation, Some(&reason));
            if let Err(error) = put {
                tracing::warn!(%error, "the views' file refuses");
            }
        }
        let ticket = self.ticket();
        self.views.insert(
            ticket,
            Running {
                definition: wanted.clone(),
                generation,
                progress: Progress::START,
                stage: Stage::Current,
                state: State::Failed(reason),
                feeder: None,
                pace: Pace::new(),
                deriving: ViewDerives::default(),
                through: 0,
                swept: None,
            },
        );
    }

    /// Builds the wanted generation of a view beside the one that is there.
    pub(super) fn begin_next(&mut self, name: &str) {
        let Some(wanted) = self.wanted.iter().find(|view| view.name == name).cloned() else {
            return;
        };
        let current = self.views.values().find(|view| view.definition.name == name);
        let generation = current.map_or(0, |view| view.generation) + 1;
        match self.open_next(&wanted, generation) {
            Ok((next, progress)) => {
                tracing::info!(view = name, generation, "a new generation of the view begins");
                self.run_view(wanted, generation, progress, Stage::Next(next));
            }
            Err(Failure::Invalid(invalid)) => {
                remove(&next_path(&self.data, name));
                let reason = format!("the new definition is not used: {invalid}");
                tracing::error!(view = name, reason, "the view stays as it was");
                if let Some(file) = &self.file {
                    let put = put_state(&file.connection, name, "running", Some(&reason));
                    if let Err(error) = put {
                        tracing::warn!(%error, "the views' file refuses");
                    }
                }
                self.refused_definitions.insert(name.to_owned(), reason);
            }
            Err(Failure::File(error)) => {
                tracing::warn!(view = name, %error, "a new generation can't be begun");
                self.refused_definitions.insert(name.to_owned(), error.to_string());
            }
        }
    }

    /// The file in which a new generation is built: as it was left, or a new one.
    fn open_next(
        &self,
        wanted: &Definition,
        generation: u64,
    ) -> Result<(ViewFile, Progress), Failure> {
        let path = next_path(&self.data, &wanted.name);
        let (file, _) = ViewFile::open(&path).map_err(Failure::File)?;
        let stored = file.stored().map_err(Failure::File)?;
        let as_left = stored
            .get(&wanted.name)
            .is_some_and(|stored| stored.hash == wanted.hash() && stored.generation == generation);
        if as_left {
            let progress = file.progress(&wanted.name).map_err(Failure::File)?;
            return Ok((file, progress));
        }
        file.discard();
        let (file, _) = ViewFile::open(&path).map_err(Failure::File)?;
        make_in(&file, wanted, generation, &[])?;
        Ok((file, Progress::START))
    }

    /// Puts a new generation of a view that has caught up in the place of the old one.
    pub(super) fn replace_if_due(&mut self, name: &str) {
        let of_name = self.views.iter().filter(|(_, view)| view.definition.name == name);
        let (mut next, mut current) = (None, None);
        for (ticket, view) in of_name {
            match view.stage {
                Stage::Next(_) => next = Some((*ticket, view)),
                Stage::Current => current = Some(view),
            }
        }
        let Some((ticket, next)) = next else { return };
        // Up to there the old one was to derive.
        let derived = current.and_then(Running::place);
        let is_settled = current.is_none_or(|current| current.deriving.is_asked());
        if next.progress.caught_up && is_settled && derived >= next.deriving.after() {
            self.replace(ticket, derived);
        }
    }

    fn replace(&mut self, ticket: Ticket, derived: Option<LogPlace>) {
        let Some(view) = self.views.get_mut(&ticket) else { return };
        let name = view.definition.name.clone();
        let Stage::Next(next) = std::mem::replace(&mut view.stage, Stage::Current) else { return };
        let path = next.path().to_owned();
        drop(next);
        let generation = view.generation;
        let Some(file) = self.file.as_ref() else { return };
        match swap(file, &path, &name, derived) {
            Ok(()) => {
                tracing::info!(view = name, generation, "the new generation is in place");
                remove(&path);
                let old = self
                    .views
                    .iter()
                    .find(|(other, view)| **other != ticket && view.definition.name == name);
                let old = old.map(|(old, _)| *old).and_then(|old| self.drop_view(old));
                self.go_on_for(ticket, old);
            }
            Err(error) if is_damage(&error) => self.reopen(&error.to_string()),
            Err(error) if !is_of_statement(&error) => match ViewFile::open(&path) {
                Ok((next, _)) => {
                    view.stage = Stage::Next(next);
                    self.refused(ticket, &error);
                }
                Err(error) => self.reopen(&error.to_string()),
            },
            Err(error) => {
                tracing::warn!(view = name, %error, "the new generation can't be put in place");
                self.drop_view(ticket);
                remove(&path);
                self.refused_definitions.insert(name, error.to_string());
            }
        }
    }

    /// Whether a new generation would lack more than the one that it is to replace, which its
    /// author must allow.
    pub(super) fn loses_rows(&mut self, ticket: Ticket, page: &ReadPage) -> bool {
        let Some(view) = self.views.get(&ticket) else { return false };
        let name = view.definition.name.clone();
        let lacks = view.progress.lacking.saturating_add(page.lacking);
        let current = self
            .views
            .values()
            .find(|other| other.definition.name == name && matches!(other.stage, Stage::Current));
        let lacked = current.map_or(u64::MAX, |current| current.progress.lacking);
        let is_next = matches!(view.stage, Stage::Next(_));
        if !is_next || view.definition.accept_loss || lacks <= lacked {
            return false;
        }
        let reason = format!(
            "the new definition is not used: up to {} records that the rows are made of are gone \
             from the log; `accept_loss = true` lets them go from the view, too",
            lacks - lacked
        );
        tracing::error!(view = name, reason, "the view stays as it was");
        if let Some(Running { stage: Stage::Next(next), .. }) = self.drop_view(ticket) {
            next.discard();
        }
        self.refused_definitions.insert(name, reason);
        true
    }

    /// The log is not the one that a view followed: its rows begin anew.
    pub(super) fn begin_anew(&mut self, ticket: Ticket, why: &str) {
        let Some(view) = self.drop_view(ticket) else { return };
        let name = view.definition.name.clone();
        tracing::warn!(view = name, why, "the view is made anew");
        if let Stage::Next(next) = view.stage {
            next.discard();
            return self.begin_next(&name);
        }
        let Some(file) = self.file.as_ref() else { return };
        let wanted = self.wanted.iter().find(|wanted| wanted.name == name).cloned();
        let made = file.objects(&name);
        let begun = made.and_then(|made| {
            wanted.map_or(Ok(()), |wanted| self.make(&wanted, view.generation + 1, &made))
        });
        if let Err(error) = begun {
            self.reopen(&error.to_string());
        }
    }

    pub(super) fn run_view(
        &mut self,
        definition: Definition,
        generation: u64,
        progress: Progress,
        stage: Stage,
    ) {
        let ticket = self.ticket();
        let pace = match stage {
            Stage::Current => Pace::new(),
            Stage::Next(_) => Pace::resting(),
        };
        let fed = (ticket, pace.clone());
        let at = (progress.cursor, progress.seen);
        let (backend, told) = (self.backend.clone(), self.told.clone());
        let (mut feeder, mut state) = (None, State::Running);
        let deriving = match self.derives(&definition, generation, &progress, &stage) {
            Ok((deriving, derives)) => {
                let topics = (definition.topics(), derives);
                let feeding = feed(backend, topics, at, fed, told, self.asked.clone());
                feeder = Some(self.runtime.spawn(feeding).abort_handle());
                deriving
            }
            Err(error) => {
                state = State::Waiting(error.to_string(), clock::monotonic(), AGAIN_AFTER_MS);
                ViewDerives::default()
            }
        };
        let (through, swept) = (0, None);
        let view = Running {
            definition,
            generation,
            progress,
            stage,
            state,
            feeder,
            pace,
            deriving,
            through,
            swept,
        };
        self.views.insert(ticket, view);
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }
}

/// Where a new generation of a view is built.
fn next_path(data: &Path, name: &str) -> PathBuf {
    data.join(format!("views.{name}.next.db"))
}

/// Makes the tables of a view that has none, or in place of `old` ones.
pub(in crate::views) fn make_in(
    file: &ViewFile,
    wanted: &Definition,
    generation: u64,
    old: &[check::Object],
) -> Result<(), Failure> {
    file.transaction(|connection| {
        forget(connection, &wanted.name, old)?;
        let made = check::create(connection, &file.guard, wanted)?;
        put_view(connection, wanted, generation, None)?;
        put_objects(connection, &wanted.name, &made)?;
        put_derivation(connection, &wanted.name)?;
        Ok(())
    })
}

/// What the author must mend; other failures stay errors.
fn only_invalid(outcome: Result<(), Failure>) -> Result<Option<Invalid>, Error> {
    match outcome {
        Ok(()) => Ok(None),
        Err(Failure::Invalid(invalid)) => Ok(Some(invalid)),
        Err(Failure::File(error)) => Err(error),
    }
}
