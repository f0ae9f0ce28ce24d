//! A new generation takes the place of the old one: its tables are copied from the file in which it
//! was built, in one transaction. Whoever reads sees the old rows until then, and the new ones
//! after.

use std::path::Path;

use rusqlite::{Connection, Error, params};

use super::check::Object;
use super::derive::{LogPlace, keep_behind};
use super::file::ViewFile;
use super::notes::{forget_rows, quoted};

/// Puts the view that was built in the file at `next` in the place of the one that `file` has, and
/// that has derived all up to `derived`. The file at `next` must be closed; it stays as it is.
///
/// # Errors
/// A file refuses; then `file` is as it was.
pub(super) fn swap(
    file: &ViewFile,
    next: &Path,
    view: &str,
    derived: Option<LogPlace>,
) -> Result<(), Error> {
    let old = file.objects(view)?;
    let path = next.to_string_lossy();
    file.connection.execute("ATTACH ?1 AS next", [&path])?;
    let outcome = file.transaction(|connection| {
        forget_rows(connection, view, &old)?;
        take_over(connection, view)?;
        take_over_outbox(connection, view, derived)
    });
    file.connection.execute_batch("DETACH next")?;
    outcome
}

/// Puts a copy of the view that the file at `from` has into `file`, which has none. The other file
/// is only read, as it was at one moment, and whoever writes it goes on.
///
/// # Errors
/// A file refuses.
pub(super) fn copy(file: &ViewFile, from: &Path, view: &str) -> Result<(), Error> {
    let escaped = from.to_string_lossy().replace('%', "%25").replace('?', "%3f");
    let uri = format!("file:{}?mode=ro", escaped.replace('#', "%23"));
    file.connection.execute("ATTACH ?1 AS next", [uri])?;
    let outcome = file.transaction(|connection| take_over(connection, view));
    file.connection.execute_batch("DETACH next")?;
    outcome
}

fn take_over(connection: &Connection, view: &str) -> Result<(), Error> {
    let made = schema(connection, view)?;
    let of = |kind: &'static str| made.iter().filter(move |(object, _)| object.kind == kind);
    for (table, sql) in of("table") {
        connection.execute_batch(sql)?;
        copy_rows(connection, &table.name)?;
    }
    copy_sequences(connection, view)?;
    // Rows that are copied must not set off the triggers that they set off before.
    for (_, sql) in of("index").chain(of("view")).chain(of("trigger")) {
        connection.execute_batch(sql)?;
    }
    for table in ["_views", "_objects", "_positions", "_derivations"] {
        let sql = format!("INSERT INTO main.{table} SELECT * FROM next.{table} WHERE view = ?1");
        connection.execute(&sql, [view])?;
    }
    connection.execute(
        "INSERT INTO main._errors SELECT NULL, view, topic, origin, epoch, partition, \"offset\", \
         error, at_ms FROM next._errors WHERE view = ?1 ORDER BY id",
        [view],
    )?;
    Ok(())
}

/// What the old rows derived and still waits stays, and what the new ones derive from what stands
/// behind it comes after that.
fn take_over_outbox(
    connection: &Connection,
    view: &str,
    derived: Option<LogPlace>,
) -> Result<(), Error> {
    let (commit, record) = derived.map_or((-1, 0), |(commit, at)| (commit.cast_signed(), at));
    connection.execute(
        "INSERT INTO main._outbox SELECT NULL, view, producer, sequence, commit_no, record, topic, \
         partition, cause, nth, encoded FROM next._outbox \
         WHERE view = ?1 AND (commit_no, record) > (?2, ?3) ORDER BY id",
        params![view, commit, record],
    )?;
    derived.map_or(Ok(()), |derived| keep_behind(connection, view, derived))
}

/// What the view is made of, each with its SQL, in the order in which it was made.
fn schema(connection: &Connection, view: &str) -> Result<Vec<(Object, String)>, Error> {
    let sql = "SELECT s.type, s.name, s.sql FROM next.sqlite_schema s JOIN next._objects o \
               ON o.type = s.type AND o.name = s.name WHERE o.view = ?1 ORDER BY s.rowid";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([view], |row| {
        Ok((Object { kind: row.get(0)?, name: row.get(1)? }, row.get(2)?))
    })?;
    rows.collect()
}

fn copy_rows(connection: &Connection, table: &str) -> Result<(), Error> {
    let columns = columns(connection, table)?;
    let (table, columns) = (quoted(table), columns.join(", "));
    connection.execute(
        &format!("INSERT INTO main.{table}({columns}) SELECT {columns} FROM next.{table}"),
        [],
    )?;
    Ok(())
}

/// The columns of a table of `next`, quoted, but for generated ones, which are made again.
pub(super) fn columns(connection: &Connection, table: &str) -> Result<Vec<String>, Error> {
    let sql = "SELECT name FROM pragma_table_xinfo(?1, 'next') WHERE hidden = 0 ORDER BY cid";
    let mut statement = connection.prepare(sql)?;
    let columns = statement.query_map([table], |row| row.get::<_, String>(0))?;
    columns.map(|name| name.map(|name| quoted(&name))).collect()
}

/// The numbers that AUTOINCREMENT goes on from.
fn copy_sequences(connection: &Connection, view: &str) -> Result<(), Error> {
    let sql = "SELECT count(*) FROM next.sqlite_schema WHERE name = 'sqlite_sequence'";
    if connection.query_row(sql, [], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(());
    }
    let tables = "SELECT name FROM next._objects WHERE view = ?1 AND type = 'table'";
    connection.execute(
        &format!("DELETE FROM main.sqlite_sequence WHERE name IN ({tables})"),
        params![view],
    )?;
    connection.execute(
        &format!(
            "INSERT INTO main.sqlite_sequence SELECT * FROM next.sqlite_sequence \
             WHERE name IN ({tables})"
        ),
        params![view],
    )?;
    Ok(())
}
