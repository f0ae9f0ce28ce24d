//! Questions to the views' file: one statement that only reads, with an end to its time, its rows
//! and its bytes.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::limits::Limit;
use rusqlite::{Batch, Connection, Error, ErrorCode as SqlCode, OpenFlags, Rows};

use super::authorizer::{Guard, Rule};
use super::file::is_damage;
use super::heap::{self, HEAP_BYTES_MAX, Shed};
use crate::api::limits::QUERY_BYTES_MAX;
use crate::api::{ApiError, ErrorCode, QueryReply, QueryRequest};
use crate::clock;
use crate::quantity::ByteSize;

mod row;

/// Bytes of a statement.
const SQL_BYTES_MAX: i32 = 64 << 10;
/// Steps of SQLite's machine between two looks at the clock.
const STEPS: i32 = 1_000;

/// Asks the file at `path`, whether a node keeps it at the moment or not.
///
/// # Errors
/// There is no file, the statement can't be used, or it takes too long. `internal` means that the
/// file is damaged.
pub fn query(path: &Path, request: &QueryRequest) -> Result<QueryReply, ApiError> {
    query_until(path, request, &Shed::default())
}

/// As [`query`], and ends when the views need its memory.
pub(super) fn query_until(
    path: &Path,
    request: &QueryRequest,
    shed: &Shed,
) -> Result<QueryReply, ApiError> {
    if !path.exists() {
        let text = format!("there are no views in {}", path.display());
        let hint = "define one as docs/views.md says, and run the node";
        return Err(ApiError::new(ErrorCode::NotFound, text).with_hint(hint));
    }
    let (mut refused, before) = (None, shed.count());
    answer(path, request, shed, &mut refused).map_err(|error| {
        let shed = shed.count() != before;
        let ended = shed && error.sqlite_error_code() == Some(SqlCode::OperationInterrupted);
        told(if ended { heap::full() } else { error }, refused, request)
    })
}

fn answer(
    path: &Path,
    request: &QueryRequest,
    shed: &Shed,
    refused: &mut Option<String>,
) -> Result<QueryReply, Error> {
    let (connection, guard) = open(path, Duration::from_millis(request.time_max_ms), shed)?;
    let (outcome, _, why) = guard.under(Rule::Query, || {
        let mut batch = Batch::new(&connection, &request.sql);
        let Some(mut statement) = batch.next()? else { return Err(only("there is no statement")) };
        if !statement.readonly() {
            return Err(only("a query only reads"));
        }
        if batch.next()?.is_some() {
            return Err(only("ask one statement at a time"));
        }
        if statement.parameter_count() > 0 {
            return Err(only("a query has no parameters"));
        }
        let columns = statement.column_names().map(str::to_owned).collect();
        collect(columns, statement.raw_query(), request.rows_max)
    });
    *refused = why;
    outcome
}

fn open(path: &Path, time_max: Duration, shed: &Shed) -> Result<(Connection, Guard), Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(time_max)?;
    heap::limit(&connection)?;
    // What a query sorts stays in memory, where it has a limit; a disk it could fill.
    connection
        .execute_batch("PRAGMA query_only=1; PRAGMA trusted_schema=0; PRAGMA temp_store=2")?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.set_limit(Limit::SQLITE_LIMIT_SQL_LENGTH, SQL_BYTES_MAX)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    let guard = Guard::new(&mut connection)?;
    let (began, time_max) = (clock::monotonic(), time_max.as_millis());
    let (shed, before) = (shed.clone(), shed.count());
    let late = move || u128::from(clock::monotonic().ms_since(began)) > time_max;
    connection.progress_handler(STEPS, Some(move || shed.count() != before || late()))?;
    Ok((connection, guard))
}

fn collect(
    columns: Vec<String>,
    mut found: Rows<'_>,
    rows_max: usize,
) -> Result<QueryReply, Error> {
    let mut reply = QueryReply { columns, ..QueryReply::default() };
    let mut bytes_left = QUERY_BYTES_MAX;
    while let Some(row) = found.next()? {
        let values = match reply.rows.len() == rows_max {
            true => None,
            false => row::values(row, reply.columns.len(), bytes_left)?,
        };
        let Some((values, bytes)) = values else {
            reply.truncated = true;
            break;
        };
        bytes_left -= bytes;
        reply.rows.push(values);
    }
    if reply.rows.is_empty() && reply.truncated && rows_max > 0 {
        return Err(too_big());
    }
    Ok(reply)
}

/// The views that a question reads; all, if it asks for what the file says of them. None if the
/// question or the file is not as it should be.
pub(super) fn views_of(path: &Path, sql: &str) -> Option<BTreeSet<String>> {
    let (connection, guard) = open(path, OPEN_TIME_MAX, &Shed::default()).ok()?;
    let rule = Rule::Reading(BTreeSet::new());
    let (prepared, rule, _) = guard.under(rule, || connection.prepare(sql).map(drop));
    let Rule::Reading(tables) = rule else { return None };
    prepared.ok()?;
    let own = |table: &String| table.starts_with('_') || table.starts_with("sqlite_");
    let everything = tables.iter().any(own);
    let mut objects = connection.prepare("SELECT view, name FROM _objects").ok()?;
    let objects = objects.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)));
    let objects: Vec<(String, String)> = objects.ok()?.collect::<Result<_, Error>>().ok()?;
    let read =
        objects.into_iter().filter(|(_, name)| everything || tables.contains(&name.to_lowercase()));
    Some(read.map(|(view, _)| view).collect())
}

/// How long the file is waited for where nothing is asked of it.
const OPEN_TIME_MAX: Duration = Duration::from_secs(5);

fn only(text: &str) -> Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_MISUSE);
    Error::SqliteFailure(code, Some(text.to_owned()))
}

fn too_big() -> Error {
    Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_TOOBIG), None)
}

fn told(error: Error, refused: Option<String>, request: &QueryRequest) -> ApiError {
    if is_damage(&error) {
        let text = format!("the views' file is damaged: {error}");
        return ApiError::new(ErrorCode::Internal, text).with_hint("a running node makes it anew");
    }
    if error.sqlite_error_code() == Some(SqlCode::OperationInterrupted) {
        let text = format!("the query took longer than {} ms", request.time_max_ms);
        let hint = "raise `time_max_ms`, or let an index of the view help";
        return ApiError::new(ErrorCode::TooLong, text).with_hint(hint);
    }
    if error.sqlite_error_code() == Some(SqlCode::TooBig) {
        let text = "a value, or the first row, is too big";
        let hint = "ask for a part of it, as with substr()";
        return ApiError::new(ErrorCode::TooLarge, text).with_hint(hint);
    }
    if heap::is_full(&error) {
        let limit = ByteSize(HEAP_BYTES_MAX);
        let text = format!("the query needs more memory than there is: all queries share {limit}");
        let hint = "ask for fewer or shorter values, with WHERE or LIMIT; let an index of the view \
                    give the order; or ask again when other queries are through";
        return ApiError::new(ErrorCode::TooLarge, text).with_hint(hint);
    }
    let text = match (refused, error) {
        (Some(refused), _) => refused,
        (None, Error::SqlInputError { msg, sql, offset, .. }) if offset >= 0 => {
            let begin = request.sql.len().saturating_sub(sql.len());
            let at = begin + usize::try_from(offset).unwrap_or_default();
            let before = request.sql.get(..at).unwrap_or_default();
            format!("{msg}, at letter {}", before.chars().count() + 1)
        }
        (None, Error::SqlInputError { msg, .. }) => msg,
        (None, Error::SqliteFailure(_, Some(text))) => text,
        (None, other) => other.to_string(),
    };
    ApiError::new(ErrorCode::BadRequest, text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::views::file::ViewFile;

    fn views() -> (tempfile::TempDir, std::path::PathBuf, ViewFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("views.db");
        let (file, _) = ViewFile::open(&path).unwrap();
        let fill = "CREATE TABLE t(a, b); \
            INSERT INTO t VALUES(1, 'ä'), (2.5, NULL), (9e999, x'ff00'), (-4, '{\"x\":1}')";
        file.connection.execute_batch(fill).unwrap();
        (folder, path, file)
    }

    fn ask(path: &Path, sql: &str) -> Result<QueryReply, ApiError> {
        query(path, &QueryRequest::new(sql))
    }

    #[test]
    fn an_answer_has_columns_and_values_of_all_kinds() {
        let (_folder, path, _file) = views();
        let reply = ask(&path, "SELECT a, b AS \"the b\" FROM t; -- all").unwrap();
        assert_eq!(reply.columns, ["a", "the b"]);
        let expected = json!([
            [1, "ä"], [2.5, null], ["inf", {"base64": "/wA="}], [-4, "{\"x\":1}"]
        ]);
        assert_eq!(json!(reply.rows), expected);
        let now =
            ask(&path, "SELECT datetime('now') > '2020' FROM pragma_table_info('t')").unwrap();
        assert_eq!(json!(now.rows), json!([[1], [1]]), "a query may know the time");
    }

    #[test]
    fn rows_time_and_values_have_limits() {
        let (_folder, path, _file) = views();
        let endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) ";
        let few =
            QueryRequest { rows_max: 3, ..QueryRequest::new(format!("{endless}SELECT x FROM c")) };
        let reply = query(&path, &few).unwrap();
        assert_eq!((reply.rows.len(), reply.truncated), (3, true));
        let short = QueryRequest {
            time_max_ms: 30,
            ..QueryRequest::new(format!("{endless}SELECT sum(x) FROM c"))
        };
        assert_eq!(query(&path, &short).unwrap_err().code, ErrorCode::TooLong);
        let wide = QueryRequest {
            rows_max: 100_000,
            ..QueryRequest::new(format!("{endless}SELECT hex(zeroblob(1000000)) FROM c"))
        };
        let reply = query(&path, &wide).unwrap();
        assert!(reply.truncated && reply.rows.len() < 10, "{} rows", reply.rows.len());
        let huge = ask(&path, "SELECT hex(zeroblob(5000000))").unwrap_err();
        assert!(huge.message.contains("too big"), "{huge}");
    }

    #[test]
    fn what_does_more_than_read_is_refused() {
        let (folder, path, _file) = views();
        let refused = [
            "DELETE FROM t",
            "INSERT INTO t VALUES(1, 1) RETURNING a",
            "CREATE TABLE u(x)",
            "CREATE TEMP TABLE u(x)",
            "DROP TABLE t",
            "ATTACH 'other.db' AS other",
            "PRAGMA journal_mode = DELETE",
            "PRAGMA query_only = 0",
            "VACUUM INTO 'copy.db'",
            "BEGIN",
            "SELECT load_extension('x')",
            "SELECT 1; DELETE FROM t",
            "SELECT ?1",
            "",
            "SELEC 1",
        ];
        for sql in refused {
            assert_eq!(ask(&path, sql).unwrap_err().code, ErrorCode::BadRequest, "{sql}");
        }
        let error = ask(&path, "SELECT a,\n nobody FROM t").unwrap_err();
        assert_eq!(error.message, "no such column: nobody, at letter 12");
        let error = ask(&folder.path().join("none.db"), "SELECT 1").unwrap_err();
        assert_eq!(error.code, ErrorCode::NotFound);
        std::fs::write(folder.path().join("bad.db"), [7; 9000]).unwrap();
        let error = ask(&folder.path().join("bad.db"), "SELECT * FROM sqlite_schema").unwrap_err();
        assert_eq!(error.code, ErrorCode::Internal);
    }
}
