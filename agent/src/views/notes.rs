//! What the file says of the views, as it is written: definitions, positions, refused records.

use rusqlite::{Connection, Error, params};

use super::check::Object;
use super::definition::Definition;
use super::file::Progress;
use crate::api::Seen;
use crate::event_json::Record;

/// A record that was refused, as `_errors` tells it.
#[derive(Clone, Debug)]
pub(super) struct Refused<'r> {
    pub(super) record: &'r Record,
    pub(super) error: String,
}

/// Errors that are kept.
const ERRORS_MAX: i64 = 10_000;
/// Letters of an error's text.
const ERROR_TEXT_MAX: usize = 500;
/// Writes what a view is. Its tables are made or dropped by the caller, in the same transaction.
pub(super) fn put_view(
    connection: &Connection,
    definition: &Definition,
    generation: u64,
    failed: Option<&str>,
) -> Result<(), Error> {
    let text = serde_json::to_string(definition).unwrap_or_default();
    let state = if failed.is_some() { "failed" } else { "running" };
    let generation = generation.cast_signed();
    connection.execute(
        "REPLACE INTO _views VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
        params![definition.name, generation, definition.hash(), text, state, failed],
    )?;
    Ok(())
}

/// Writes what belongs to a view.
pub(super) fn put_objects(
    connection: &Connection,
    view: &str,
    made: &[Object],
) -> Result<(), Error> {
    let mut statement = connection.prepare("INSERT INTO _objects VALUES(?1, ?2, ?3)")?;
    for object in made {
        statement.execute(params![view, object.kind, object.name])?;
    }
    Ok(())
}

/// Writes how a view is, if that is news.
pub(super) fn put_state(
    connection: &Connection,
    view: &str,
    state: &str,
    reason: Option<&str>,
) -> Result<(), Error> {
    connection.execute(
        "UPDATE _views SET state = ?2, reason = ?3 \
         WHERE view = ?1 AND (state, reason) IS NOT (?2, ?3)",
        params![view, state, reason],
    )?;
    Ok(())
}

/// Writes how far a view has come.
pub(super) fn put_progress(
    connection: &Connection,
    view: &str,
    progress: &Progress,
    now_ms: i64,
) -> Result<(), Error> {
    let Some(cursor) = progress.cursor else { return Ok(()) };
    let (log, epoch) = (format!("{:016x}", cursor.log_id), format!("{:016x}", cursor.epoch));
    let place = end_of(progress.seen.0.into_iter());
    connection.execute(
        "REPLACE INTO _positions \
         VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        params![
            view,
            log,
            epoch,
            cursor.commit.cast_signed(),
            cursor.index,
            progress.records.cast_signed(),
            progress.errors.cast_signed(),
            progress.watermark,
            progress.caught_up,
            progress.lacking.cast_signed(),
            seen_text(&progress.seen),
            now_ms,
            progress.derived.cast_signed(),
            place
        ],
    )?;
    connection.execute("UPDATE _node SET log_end = ?1 WHERE log_end < ?1", [place])?;
    Ok(())
}

fn seen_text(seen: &Seen) -> String {
    seen.0.map(|seq| seq.to_string()).join(" ")
}

/// Writes that a record was refused.
pub(super) fn put_error(
    connection: &Connection,
    view: &str,
    refused: &Refused<'_>,
    now_ms: i64,
) -> Result<(), Error> {
    let coordinates = &refused.record.coordinates;
    let stream = &coordinates.stream;
    let text: String = refused.error.chars().take(ERROR_TEXT_MAX).collect();
    connection.execute(
        "INSERT INTO _errors VALUES(NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            view,
            stream.topic,
            stream.origin,
            format!("{:016x}", coordinates.epoch.unwrap_or_default()),
            stream.partition,
            coordinates.offset.cast_signed(),
            text,
            now_ms
        ],
    )?;
    let oldest = connection.last_insert_rowid() - ERRORS_MAX;
    connection.execute("DELETE FROM _errors WHERE id <= ?1", [oldest])?;
    Ok(())
}

/// Records of all lanes up to there, as one number: how far a view or the log has come.
pub(super) fn end_of(seqs: impl Iterator<Item = u64>) -> i64 {
    seqs.fold(0, u64::saturating_add).cast_signed()
}

/// Writes how the node's link is, and where its log ends; returns whether that was news. A log that
/// grows is none while each view has seen its end: they say themselves how far they have come, and
/// a flash card is spared.
pub(super) fn put_node(
    connection: &Connection,
    (running, link, since_ms): (bool, &str, i64),
    log_end: Option<i64>,
) -> Result<bool, Error> {
    let changed = connection.execute(
        "UPDATE _node SET running = ?1, link = ?2, link_since_ms = ?3, \
         log_end = coalesce(?4, log_end) \
         WHERE (running, link) IS NOT (?1, ?2) \
         OR log_end IS NOT ?4 AND EXISTS(SELECT 1 FROM _views LEFT JOIN _positions USING(view) \
           WHERE state <> 'running' OR NOT coalesce(caught_up, 0))",
        params![running, link, since_ms, log_end],
    )?;
    Ok(changed > 0)
}

/// Drops all that belongs to a view, what is said of it, and what it derived that still waits.
pub(super) fn forget(connection: &Connection, view: &str, made: &[Object]) -> Result<(), Error> {
    forget_rows(connection, view, made)?;
    connection.execute("DELETE FROM _outbox WHERE view = ?1", [view])?;
    Ok(())
}

/// Drops all that belongs to a view but for what it derived that still waits.
pub(super) fn forget_rows(
    connection: &Connection,
    view: &str,
    made: &[Object],
) -> Result<(), Error> {
    // What hangs on a table goes with it, so the tables come last.
    for kind in ["trigger", "view", "index", "table"] {
        for object in made.iter().filter(|object| object.kind == kind) {
            let name = quoted(&object.name);
            connection.execute_batch(&format!("DROP {kind} IF EXISTS {name}"))?;
        }
    }
    for table in ["_views", "_objects", "_positions", "_errors", "_derivations"] {
        connection.execute(&format!("DELETE FROM {table} WHERE view = ?1"), [view])?;
    }
    Ok(())
}

/// A name as SQL takes it, whatever is in it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
