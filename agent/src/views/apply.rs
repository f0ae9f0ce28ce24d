//! Records to rows: a page of the log and the position behind it, in one transaction.
//!
//! A record that its statements refuse is found by its place: the page is rolled back, what stands
//! before the record is committed, then the record's error in place of its rows. So a refused
//! record leaves nothing behind, whatever its statements did before, and no record needs a
//! savepoint.

use std::collections::BTreeMap;

use rusqlite::{Connection, Error};

use super::bind::Prepared;
use super::check::is_of_statement;
use super::definition::{Definition, OnError};
use super::derive::{Deriving, Emits, keep_behind, put_letter};
use super::file::{Progress, ViewFile};
use super::notes::{Refused, put_error, put_progress, put_state};
use crate::api::{Cursor, ReadItem, ReadPage};
use crate::event_json::Record;

/// What became of a page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Applied {
    /// All of it is behind the view.
    Whole(Progress),
    /// The view stopped in front of a record.
    Halted(Progress, String),
}

/// A record that can't be applied, and why.
struct Stuck {
    /// Its place in the page.
    at: usize,
    error: Error,
}

enum Outcome {
    Stuck(Stuck),
    File(Error),
}

impl From<Error> for Outcome {
    fn from(error: Error) -> Self {
        Self::File(error)
    }
}

/// Whose records are applied: a view, in its file, and what it derives, if it does.
#[derive(Clone, Copy)]
pub(super) struct Applying<'v> {
    pub(super) file: &'v ViewFile,
    pub(super) definition: &'v Definition,
    pub(super) deriving: Option<&'v Deriving<'v>>,
}

/// Applies a page behind `before`.
///
/// # Errors
/// The file refuses. What was committed of the page is behind the stored position.
pub(super) fn apply(
    view: Applying<'_>,
    before: &Progress,
    page: &ReadPage,
    now_ms: i64,
) -> Result<Applied, Error> {
    let Applying { file, definition, .. } = view;
    let mut progress = *before;
    let mut from = 0;
    loop {
        let to = (page.items.len(), page.cursor);
        let end = Progress {
            caught_up: page.end,
            seen: page.seen,
            lacking: progress.lacking.saturating_add(page.lacking),
            ..progress
        };
        let stuck = match part(view, &end, (page, from, to, None), now_ms) {
            Ok(progress) => return Ok(Applied::Whole(progress)),
            Err(Outcome::File(error)) => return Err(error),
            Err(Outcome::Stuck(stuck)) => stuck,
        };
        let Some(ReadItem::Record(record, behind)) = page.items.get(stuck.at) else {
            unreachable!("only records run statements")
        };
        let error = error_text(&stuck.error);
        if definition.on_error == OnError::Halt {
            let reason = format!("{} was refused: {error}", record.coordinates);
            if stuck.at > from {
                let here = cursor_before(page, stuck.at).or(progress.cursor);
                let to = (stuck.at, here.unwrap_or(*behind));
                progress = again(part(view, &progress, (page, from, to, None), now_ms))?;
            }
            file.transaction(|connection| {
                put_state(connection, &definition.name, "halted", Some(&reason))
            })?;
            return Ok(Applied::Halted(progress, reason));
        }
        let refused = Refused { record, error };
        let to = (stuck.at, *behind);
        let work = (page, from, to, Some(&refused));
        progress = again(part(view, &progress, work, now_ms))?;
        from = stuck.at + 1;
    }
}

/// What was applied once is applied again, so that only the file can refuse.
fn again(outcome: Result<Progress, Outcome>) -> Result<Progress, Error> {
    outcome.map_err(|outcome| match outcome {
        Outcome::File(error) | Outcome::Stuck(Stuck { error, .. }) => error,
    })
}

/// Some items of a page: from one on, up to one and the position behind it, and what was refused
/// there.
type Work<'p> = (&'p ReadPage, usize, (usize, Cursor), Option<&'p Refused<'p>>);

/// Applies some items of a page in one transaction.
fn part(
    Applying { file, definition, deriving }: Applying<'_>,
    before: &Progress,
    (page, from, (to, behind), refused): Work<'_>,
    now_ms: i64,
) -> Result<Progress, Outcome> {
    let outcome = file.transaction(|connection| {
        let mut progress = *before;
        let mut statements = Statements::new(connection, definition);
        let deriving_rows = deriving.filter(|_| definition.emits());
        let mut emits = deriving_rows.map(|deriving| Emits::new(connection, definition, deriving));
        let items = page.items.iter().enumerate().take(to).skip(from);
        for (at, item) in items {
            let ReadItem::Record(record, end) = item else { continue };
            file.limit_steps();
            let mut ran = statements.run(record);
            if let (Ok(()), Some(emits)) = (&ran, &mut emits) {
                let derived = emits.run(record, (end.commit, end.index), progress.derived);
                ran = derived.map(|derived| progress.derived = derived);
            }
            ran.map_err(|error| match is_of_statement(&error) {
                true => Outcome::Stuck(Stuck { at, error }),
                false => Outcome::File(error),
            })?;
            progress.records += 1;
            progress.watermark = progress.watermark.max(Some(record.timestamp_ms));
        }
        file.free_steps();
        if let Some(refused) = refused {
            progress.errors += 1;
            put_error(connection, &definition.name, refused, now_ms)?;
            if let Some(deriving) = deriving {
                let at = ((behind.commit, behind.index), now_ms);
                progress.derived = put_letter(connection, deriving, refused, at, progress.derived)?;
            }
        }
        if let Some(after) = deriving.and_then(|deriving| deriving.derivation.after) {
            keep_behind(connection, &definition.name, after)?;
        }
        progress.cursor = Some(behind);
        put_progress(connection, &definition.name, &progress, now_ms)?;
        Ok(progress)
    });
    file.free_steps();
    outcome
}

/// The position behind the item before this one.
fn cursor_before(page: &ReadPage, at: usize) -> Option<Cursor> {
    match page.items.get(at.checked_sub(1)?)? {
        ReadItem::Record(_, cursor) | ReadItem::Gap(_, cursor) => Some(*cursor),
    }
}

fn error_text(error: &Error) -> String {
    match error {
        Error::SqliteFailure(code, _) if code.code == rusqlite::ErrorCode::OperationInterrupted => {
            "its statements take too many steps".to_owned()
        }
        Error::SqliteFailure(_, Some(text)) => text.clone(),
        other => other.to_string(),
    }
}

/// The statements of a view, prepared as records need them.
struct Statements<'c> {
    connection: &'c Connection,
    definition: &'c Definition,
    prepared: BTreeMap<(&'c str, bool), Vec<Prepared<'c>>>,
}

impl<'c> Statements<'c> {
    fn new(connection: &'c Connection, definition: &'c Definition) -> Self {
        Self { connection, definition, prepared: BTreeMap::new() }
    }

    fn run(&mut self, record: &Record) -> Result<(), Error> {
        let topic = record.coordinates.stream.topic.as_str();
        let Some((topic, source)) = self.definition.sources.get_key_value(topic) else {
            return Ok(());
        };
        let is_put = record.value.is_some();
        let list = if is_put { &source.put } else { &source.delete };
        if !self.prepared.contains_key(&(topic.as_str(), is_put)) {
            let made = list.iter().map(|sql| Prepared::new(self.connection.prepare(sql)?));
            let made = made.collect::<Result<Vec<_>, Error>>()?;
            self.prepared.insert((topic, is_put), made);
        }
        for statement in self.prepared.get_mut(&(topic.as_str(), is_put)).into_iter().flatten() {
            statement.run(record)?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests;
