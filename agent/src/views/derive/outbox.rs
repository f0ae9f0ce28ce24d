//! The outbox: derived records that are not yet known to be durable, in the order in which they
//! were derived.

use std::collections::BTreeSet;

use landfall_core::num::{Epoch, Offset, Partition};
use rusqlite::{Connection, Error, OptionalExtension as _, Statement, params};

use super::{Derivation, LogPlace};
use crate::coordinates::Coordinates;
use crate::entropy;
use crate::node::{CauseStream, Derived, Target};

/// A derived record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Entry {
    /// Its number among those of its generation.
    pub(super) sequence: u64,
    /// The place behind its cause.
    pub(super) at: LogPlace,
    /// Where to.
    pub(super) target: Target,
    /// The coordinates of its cause.
    pub(super) cause: String,
    /// Its number among those that its cause derives to the target, from 0.
    pub(super) nth: u32,
    /// The record.
    pub(super) encoded: Vec<u8>,
}

/// A derived record as it waits: its number in the table, who writes it, and what.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) id: i64,
    pub(super) producer: String,
    pub(super) entry: Entry,
}

/// The statement that adds a record.
pub(super) fn adding(connection: &Connection) -> Result<Statement<'_>, Error> {
    connection.prepare("INSERT INTO _outbox VALUES(NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")
}

/// Adds a record.
pub(super) fn put(
    adding: &mut Statement<'_>,
    derivation: &Derivation,
    entry: &Entry,
) -> Result<(), Error> {
    let Entry { sequence, at: (commit, record), target, cause, nth, encoded } = entry;
    adding.execute(params![
        derivation.view,
        derivation.producer(),
        sequence.cast_signed(),
        commit.cast_signed(),
        record,
        target.topic,
        target.partition.get(),
        cause,
        nth,
        encoded
    ])?;
    Ok(())
}

/// The oldest records of a view, up to a number of them and of bytes, but one at least.
pub(super) fn oldest(
    connection: &Connection,
    view: &str,
    (records_max, bytes_max): (u32, usize),
) -> Result<Vec<Waiting>, Error> {
    let sql = "SELECT id, producer, sequence, commit_no, record, topic, partition, cause, nth, \
               encoded FROM _outbox WHERE view = ?1 ORDER BY id LIMIT ?2";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(params![view, records_max])?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let target = Target { topic: row.get(5)?, partition: Partition::new(row.get(6)?) };
        let entry = Entry {
            sequence: row.get::<_, i64>(2)?.unsigned_abs(),
            at: (row.get::<_, i64>(3)?.unsigned_abs(), row.get(4)?),
            target,
            cause: row.get(7)?,
            nth: row.get(8)?,
            encoded: row.get(9)?,
        };
        bytes += entry.encoded.len();
        if bytes > bytes_max && !found.is_empty() {
            break;
        }
        found.push(Waiting { id: row.get(0)?, producer: row.get(1)?, entry });
    }
    Ok(found)
}

/// Takes out what is durable: all of a view up to one.
pub(in crate::views) fn forget(
    connection: &Connection,
    view: &str,
    through: i64,
) -> Result<(), Error> {
    let sql = "DELETE FROM _outbox WHERE view = ?1 AND id <= ?2";
    connection.prepare(sql)?.execute(params![view, through])?;
    Ok(())
}

/// How many records of a view wait.
pub(in crate::views) fn count(connection: &Connection, view: &str) -> Result<u64, Error> {
    let sql = "SELECT count(*) FROM _outbox WHERE view = ?1";
    let count = connection.prepare(sql)?.query_row([view], |row| row.get::<_, i64>(0))?;
    Ok(count.unsigned_abs())
}

/// The topics that records of a view wait for.
pub(in crate::views) fn topics(
    connection: &Connection,
    view: &str,
) -> Result<BTreeSet<String>, Error> {
    let mut statement = connection.prepare("SELECT DISTINCT topic FROM _outbox WHERE view = ?1")?;
    statement.query_map([view], |row| row.get(0))?.collect()
}

/// The place behind the oldest cause of what waits.
pub(in crate::views) fn lowest(
    connection: &Connection,
    view: &str,
) -> Result<Option<LogPlace>, Error> {
    let sql = "SELECT commit_no, record FROM _outbox WHERE view = ?1 ORDER BY 1, 2 LIMIT 1";
    let place = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?));
    connection.query_row(sql, [view], place).optional()
}

/// Takes out what the log has.
pub(in crate::views) fn prune(
    connection: &Connection,
    view: &str,
    known: &Derived,
) -> Result<(), Error> {
    let mut statement = connection
        .prepare("SELECT id, topic, partition, cause, nth FROM _outbox WHERE view = ?1")?;
    let mut rows = statement.query([view])?;
    let mut had: Vec<i64> = Vec::new();
    while let Some(row) = rows.next()? {
        let target = Target { topic: row.get(1)?, partition: Partition::new(row.get(2)?) };
        let cause: String = row.get(3)?;
        let Ok(cause) = cause.parse::<Coordinates>() else { continue };
        let (stream, offset) = cause_of(&cause);
        if known.has(&target, &stream, offset, row.get(4)?) {
            had.push(row.get(0)?);
        }
    }
    drop(rows);
    let mut remove = connection.prepare("DELETE FROM _outbox WHERE id = ?1")?;
    had.iter().try_for_each(|id| remove.execute([id]).map(drop))
}

/// The stream and offset of a cause.
pub(super) fn cause_of(cause: &Coordinates) -> (CauseStream, Offset) {
    let stream = CauseStream {
        origin: cause.stream.origin.clone(),
        topic: cause.stream.topic.clone(),
        partition: Partition::new(cause.stream.partition),
        epoch: Epoch::new(cause.epoch.unwrap_or_default()),
    };
    (stream, Offset::new(cause.offset))
}

/// Writes what a new generation derives as.
pub(in crate::views) fn put_derivation(connection: &Connection, view: &str) -> Result<(), Error> {
    let sql = "REPLACE INTO _derivations VALUES(?1, ?2, NULL, NULL)";
    connection.execute(sql, [view, &drawn()?])?;
    Ok(())
}

fn drawn() -> Result<String, Error> {
    let run = entropy::number().map_err(|error| Error::ToSqlConversionFailure(error.into()))?;
    Ok(format!("{run:016x}"))
}

/// What a generation of a view derives as from here on: under another name than before, as its
/// numbers are given again if a power cut took back the end of the file, and the log would take new
/// records for those that it has. What waits keeps the name that it may have been sent under.
pub(in crate::views) fn begun(
    connection: &Connection,
    view: &str,
    generation: u64,
) -> Result<Derivation, Error> {
    connection.execute("UPDATE _derivations SET run = ?2 WHERE view = ?1", [view, &drawn()?])?;
    let sql = "SELECT run, after_commit, after_record FROM _derivations WHERE view = ?1";
    let found = connection.query_row(sql, [view], |row| {
        let commit: Option<i64> = row.get(1)?;
        let record: Option<u32> = row.get(2)?;
        let after = commit.map(i64::unsigned_abs).zip(record);
        Ok(Derivation { view: view.to_owned(), generation, run: row.get(0)?, after })
    });
    let none = || Derivation { view: view.to_owned(), generation, ..Derivation::default() };
    Ok(found.optional()?.unwrap_or_else(none))
}

/// Writes up to where another generation derives, and takes out what is before it.
pub(in crate::views) fn keep_behind(
    connection: &Connection,
    view: &str,
    after: LogPlace,
) -> Result<(), Error> {
    let (commit, record) = (after.0.cast_signed(), after.1);
    connection
        .prepare("UPDATE _derivations SET after_commit=?2, after_record=?3 WHERE view=?1")?
        .execute(params![view, commit, record])?;
    Ok(())
}
