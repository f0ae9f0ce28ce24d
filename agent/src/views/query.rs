//! Questions to the views' file: one statement that only reads, with an end to its time, its rows
//! and its bytes.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rusqlite::config::DbConfig;
use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Batch, Connection, Error, ErrorCode as SqlCode, OpenFlags, Rows};
use serde_json::{Value, json};

use super::authorizer::{Guard, Rule};
use super::file::is_damage;
use crate::api::limits::QUERY_BYTES_MAX;
use crate::api::{ApiError, ErrorCode, QueryReply, QueryRequest};
use crate::clock;

/// Bytes of one value.
const VALUE_BYTES_MAX: i32 = 4 << 20;
/// Bytes of a statement.
const SQL_BYTES_MAX: i32 = 64 << 10;
/// Steps of SQLite's machine between two looks at the clock.
const STEPS: i32 = 10_000;
/// What a value takes in an answer besides its text.
const VALUE_OVERHEAD: usize = 16;

/// Asks the file at `path`, whether a node keeps it at the moment or not.
///
/// # Errors
/// There is no file, the statement can't be used, or it takes too long. `internal` means that the
/// file is damaged.
pub fn query(path: &Path, request: &QueryRequest) -> Result<QueryReply, ApiError> {
    if !path.exists() {
        let text = format!("there are no views in {}", path.display());
        let hint = "define one as docs/views.md says, and run the node";
        return Err(ApiError::new(ErrorCode::NotFound, text).with_hint(hint));
    }
    let mut refused = None;
    answer(path, request, &mut refused).map_err(|error| told(error, refused, request))
}

fn answer(
    path: &Path,
    request: &QueryRequest,
    refused: &mut Option<String>,
) -> Result<QueryReply, Error> {
    let (connection, guard) = open(path, Duration::from_millis(request.time_max_ms))?;
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

fn open(path: &Path, time_max: Duration) -> Result<(Connection, Guard), Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(time_max)?;
    connection
        .execute_batch("PRAGMA query_only=1; PRAGMA trusted_schema=0; PRAGMA temp_store=2")?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)?;
    connection.set_limit(Limit::SQLITE_LIMIT_SQL_LENGTH, SQL_BYTES_MAX)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    let guard = Guard::new(&mut connection)?;
    let (began, time_max) = (clock::monotonic(), time_max.as_millis());
    let late = move || u128::from(clock::monotonic().ms_since(began)) > time_max;
    connection.progress_handler(STEPS, Some(late))?;
    Ok((connection, guard))
}

fn collect(
    columns: Vec<String>,
    mut found: Rows<'_>,
    rows_max: usize,
) -> Result<QueryReply, Error> {
    let mut reply = QueryReply { columns, ..QueryReply::default() };
    let mut bytes = 0;
    while let Some(row) = found.next()? {
        if reply.rows.len() == rows_max || bytes > QUERY_BYTES_MAX {
            reply.truncated = true;
            break;
        }
        let mut values = Vec::with_capacity(reply.columns.len());
        for at in 0..reply.columns.len() {
            let value = row.get_ref(at)?;
            bytes +=
                VALUE_OVERHEAD + value.as_bytes_or_null().ok().flatten().map_or(0, <[u8]>::len);
            values.push(as_json(value));
        }
        reply.rows.push(values);
    }
    Ok(reply)
}

/// A value as JSON has it. Infinite numbers, which JSON lacks, are text.
fn as_json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) if number.is_finite() => number.into(),
        ValueRef::Real(number) => number.to_string().into(),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => text.into(),
            Err(_) => json!({"base64": STANDARD.encode(text)}),
        },
        ValueRef::Blob(bytes) => json!({"base64": STANDARD.encode(bytes)}),
    }
}

fn only(text: &str) -> Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_MISUSE);
    Error::SqliteFailure(code, Some(text.to_owned()))
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
