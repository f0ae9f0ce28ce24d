//! Making a view's tables, and checking its statements before any record runs them.

use std::collections::BTreeSet;
use std::fmt;

use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::{Batch, Connection, Error, ErrorCode, Statement};

use super::authorizer::{Guard, Rule};
use super::definition::{Definition, PARAMETERS, SWEEP_PARAMETERS};
use crate::nearest::nearest;

/// What is wrong with a view's SQL, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Invalid {
    /// The setting, as in `on.ais.put[2]`.
    pub setting: String,
    /// Line within the setting's text, counted from 1; none if SQLite does not say.
    pub line: Option<usize>,
    /// Letter within the line, counted from 1.
    pub column: Option<usize>,
    /// What is wrong there.
    pub reason: String,
}

/// Why a view can't be made.
#[derive(Debug)]
pub(super) enum Failure {
    /// Its author must act.
    Invalid(Invalid),
    /// The file refuses.
    File(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::File(error)
    }
}

/// Something that a view made, as `sqlite_schema` calls it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Object {
    pub(super) kind: String,
    pub(super) name: String,
}

/// Bytes of one setting's SQL.
const SQL_BYTES_MAX: usize = 64 << 10;

/// Makes a view's tables and checks all its statements, in the transaction that is open. Returns
/// what was made. If it fails, the transaction is to be rolled back.
///
/// # Errors
/// See [`Failure`].
pub(super) fn create(
    connection: &Connection,
    guard: &Guard,
    definition: &Definition,
) -> Result<Vec<Object>, Failure> {
    let before = objects(connection).map_err(Failure::File)?;
    let (made, rule, refused) =
        guard.under(Rule::Schema(BTreeSet::new()), || run_ddl(connection, &definition.ddl));
    made.map_err(|error| failure("ddl", &definition.ddl, error, refused))?;
    let Rule::Schema(own) = rule else { unreachable!("the rule that was set above") };
    let after = objects(connection).map_err(Failure::File)?;
    let made: Vec<_> = after.difference(&before).cloned().collect();
    if !made.iter().any(|object| object.kind == "table") {
        return Err(invalid("ddl", "it makes no table"));
    }
    check_defaults(connection, guard, &own, &made)?;
    for (topic, source) in &definition.sources {
        for (name, statements) in [("put", &source.put), ("delete", &source.delete)] {
            for (at, sql) in statements.iter().enumerate() {
                let setting = match statements.len() {
                    1 => format!("on.{topic}.{name}"),
                    _ => format!("on.{topic}.{name}[{}]", at + 1),
                };
                check(connection, guard, &own, (&setting, sql), &PARAMETERS)?;
            }
        }
    }
    check_sweeps(connection, guard, definition, &own)?;
    Ok(made)
}

/// Checks a view by itself, without any file.
///
/// # Errors
/// What is wrong with its SQL.
pub fn check_alone(definition: &Definition) -> Result<(), Invalid> {
    let alone = || -> Result<(), Failure> {
        let mut connection = Connection::open_in_memory()?;
        let guard = Guard::new(&mut connection)?;
        create(&connection, &guard, definition).map(drop)
    };
    alone().map_err(|failure| match failure {
        Failure::Invalid(invalid) => invalid,
        Failure::File(error) => Invalid {
            setting: definition.name.clone(),
            line: None,
            column: None,
            reason: error.to_string(),
        },
    })
}

/// Checks a sweep that was changed while the view's tables stayed.
///
/// # Errors
/// As [`create`].
pub(super) fn check_retention(
    connection: &Connection,
    guard: &Guard,
    definition: &Definition,
    made: &[Object],
) -> Result<(), Failure> {
    let holds_rows = |object: &&Object| object.kind == "table" || object.kind == "view";
    let own = made.iter().filter(holds_rows).map(|object| object.name.to_lowercase()).collect();
    check_sweeps(connection, guard, definition, &own)
}

fn check_sweeps(
    connection: &Connection,
    guard: &Guard,
    definition: &Definition,
    own: &BTreeSet<String>,
) -> Result<(), Failure> {
    let Some(retention) = &definition.retention else { return Ok(()) };
    retention.statements.iter().try_for_each(|sql| {
        check(connection, guard, own, ("retention.sql", sql), &SWEEP_PARAMETERS)
    })
}

fn run_ddl(connection: &Connection, ddl: &str) -> rusqlite::Result<()> {
    let mut batch = Batch::new(connection, ddl);
    while let Some(mut statement) = batch.next()? {
        statement.execute([])?;
    }
    Ok(())
}

/// What the file holds besides what SQLite makes by itself.
fn objects(connection: &Connection) -> rusqlite::Result<BTreeSet<Object>> {
    let sql = "SELECT type, name FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    let mut statement = connection.prepare(sql)?;
    let rows =
        statement.query_map([], |row| Ok(Object { kind: row.get(0)?, name: row.get(1)? }))?;
    rows.collect()
}

/// SQLite asks nobody about the functions in defaults, so they are asked about here.
fn check_defaults(
    connection: &Connection,
    guard: &Guard,
    own: &BTreeSet<String>,
    made: &[Object],
) -> Result<(), Failure> {
    let sql = "SELECT dflt_value FROM pragma_table_xinfo(?1) WHERE dflt_value IS NOT NULL";
    for table in made.iter().filter(|object| object.kind == "table") {
        let mut statement = connection.prepare(sql).map_err(Failure::File)?;
        let defaults = statement.query_map([&table.name], |row| row.get::<_, String>(0));
        let defaults = defaults.and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>);
        for default in defaults.map_err(Failure::File)? {
            let sql = format!("SELECT ({default})");
            let (prepared, _, refused) =
                guard.under(Rule::Statements(own.clone()), || connection.prepare(&sql).map(drop));
            if let Err(error) = prepared {
                let reason = refused.unwrap_or_else(|| error.to_string());
                return Err(invalid("ddl", &format!("DEFAULT ({default}): {reason}")));
            }
        }
    }
    Ok(())
}

fn check(
    connection: &Connection,
    guard: &Guard,
    own: &BTreeSet<String>,
    (setting, sql): (&str, &str),
    parameters: &[&str],
) -> Result<(), Failure> {
    if sql.len() > SQL_BYTES_MAX {
        return Err(invalid(setting, &format!("it is longer than {SQL_BYTES_MAX} bytes")));
    }
    let word = first_word(sql).to_uppercase();
    // VACUUM asks nobody.
    if word == "VACUUM" {
        return Err(invalid(setting, "not for views: VACUUM"));
    }
    let (checked, _, refused) = guard.under(Rule::Statements(own.clone()), || {
        let mut batch = Batch::new(connection, sql);
        let first = batch.next()?.map(|statement| wrong_shape(&statement, parameters));
        Ok((first, batch.next()?.is_some()))
    });
    match checked.map_err(|error| failure(setting, sql, error, refused))? {
        (None, _) => Err(invalid(setting, "there is no statement in it")),
        (Some(Some(wrong)), _) => Err(invalid(setting, &wrong)),
        (Some(None), true) => Err(invalid(
            setting,
            "there are several statements in it; write them as a list of texts",
        )),
        (Some(None), false) => Ok(()),
    }
}

/// The first word of a statement, behind blanks and comments.
fn first_word(sql: &str) -> &str {
    let mut rest = sql.trim_start();
    loop {
        let behind = match (rest.strip_prefix("--"), rest.strip_prefix("/*")) {
            (Some(comment), _) => comment.split_once('\n'),
            (None, Some(comment)) => comment.split_once("*/"),
            (None, None) => break,
        };
        rest = behind.map_or("", |(_, rest)| rest.trim_start());
    }
    let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    rest.get(..end).unwrap_or_default()
}

fn wrong_shape(statement: &Statement<'_>, parameters: &[&str]) -> Option<String> {
    if statement.readonly() || statement.column_count() > 0 {
        return Some("it must write (INSERT, UPDATE, DELETE) and return no rows".to_owned());
    }
    (1..=statement.parameter_count()).find_map(|at| {
        let Some(name) = statement.parameter_name(at) else {
            return Some(format!("parameters have names: {}", parameters.join(", ")));
        };
        if parameters.contains(&name) {
            return None;
        }
        let meant = nearest(name, parameters.iter().copied());
        Some(match meant {
            Some(meant) => format!("unknown parameter `{name}`; did you mean `{meant}`?"),
            None => format!("unknown parameter `{name}`; there are {}", parameters.join(", ")),
        })
    })
}

fn invalid(setting: &str, reason: &str) -> Failure {
    let (setting, reason) = (setting.to_owned(), reason.to_owned());
    Failure::Invalid(Invalid { setting, line: None, column: None, reason })
}

/// What an error of SQLite means: the author's, with its place in `text`, or the file's.
fn failure(setting: &str, text: &str, error: Error, refused: Option<String>) -> Failure {
    if !is_of_statement(&error) {
        return Failure::File(error);
    }
    let (message, at) = match &error {
        // SQLite was given what is left of the text.
        Error::SqlInputError { msg, sql, offset, .. } => {
            let begin = text.len().saturating_sub(sql.len());
            (msg.clone(), usize::try_from(*offset).ok().map(|offset| begin + offset))
        }
        Error::SqliteFailure(_, Some(message)) => (message.clone(), None),
        other => (other.to_string(), None),
    };
    let before = at.and_then(|at| text.get(..at));
    let line = before.map(|before| before.matches('\n').count() + 1);
    let last = before.map(|before| before.rsplit('\n').next().unwrap_or_default());
    let column = last.map(|last| last.chars().count() + 1);
    let reason = refused.unwrap_or(message);
    Failure::Invalid(Invalid { setting: setting.to_owned(), line, column, reason })
}

/// Whether an error comes from a statement or its data, and would come again on any other disk.
pub(super) fn is_of_statement(error: &Error) -> bool {
    match error.sqlite_error_code() {
        // Not SQLite's, but about what was bound or returned.
        None => true,
        Some(code) => matches!(
            code,
            ErrorCode::ConstraintViolation
                | ErrorCode::TypeMismatch
                | ErrorCode::TooBig
                | ErrorCode::AuthorizationForStatementDenied
                | ErrorCode::OperationInterrupted
                | ErrorCode::OperationAborted
                | ErrorCode::ParameterOutOfRange
                | ErrorCode::Unknown
        ),
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.setting)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ", line {line}, column {column}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::definition::Retention;
    use crate::views::definition::tests::{LATEST_DDL, LATEST_PUT, definition, latest};
    use crate::views::file::ViewFile;

    /// A file with a view `other` that has a table of its own.
    fn with_other() -> (tempfile::TempDir, ViewFile) {
        let folder = tempfile::tempdir().unwrap();
        let (file, _) = ViewFile::open(&folder.path().join("views.db")).unwrap();
        let other = definition(
            "other",
            "CREATE TABLE other(k TEXT PRIMARY KEY)",
            "INSERT INTO other VALUES(:key)",
            &[],
        );
        made(&file, &other).unwrap();
        (folder, file)
    }

    fn made(file: &ViewFile, definition: &Definition) -> Result<Vec<Object>, String> {
        let made = file.transaction(|connection| create(connection, &file.guard, definition));
        made.map_err(|failure| match failure {
            Failure::Invalid(invalid) => invalid.to_string(),
            Failure::File(error) => panic!("the file refuses: {error}"),
        })
    }

    /// The table that the statements below write.
    const T: &str = "CREATE TABLE t(k TEXT PRIMARY KEY, v, n INTEGER)";

    #[test]
    fn forbidden_statements_are_refused_with_a_reason() {
        let (_folder, file) = with_other();
        let statements = [
            "INSERT INTO t VALUES(:key, random(), 1)",
            "INSERT INTO t VALUES(:key, randomblob(4), 1)",
            "INSERT INTO t VALUES(:key, datetime('now'), 1)",
            "INSERT INTO t VALUES(:key, date(), 1)",
            "INSERT INTO t VALUES(:key, strftime('%s'), 1)",
            "INSERT INTO t VALUES(:key, unixepoch(), 1)",
            "INSERT INTO t VALUES(:key, julianday('now'), 1)",
            "INSERT INTO t VALUES(:key, time('now'), 1)",
            "INSERT INTO t VALUES(:key, CURRENT_TIMESTAMP, 1)",
            "INSERT INTO t VALUES(:key, current_date, 1)",
            "INSERT INTO t VALUES(:key, last_insert_rowid(), 1)",
            "INSERT INTO t VALUES(:key, changes(), 1)",
            "INSERT INTO t VALUES(:key, total_changes(), 1)",
            "INSERT INTO t VALUES(:key, sqlite_version(), 1)",
            "INSERT INTO t VALUES(:key, load_extension('x'), 1)",
            "INSERT INTO t SELECT :key, (SELECT count(*) FROM other), 1",
            "INSERT INTO t SELECT k, 1, 1 FROM other",
            "INSERT INTO t SELECT name, 1, 1 FROM sqlite_schema",
            "INSERT INTO t SELECT name, 1, 1 FROM pragma_table_info('t')",
            "INSERT INTO t SELECT view, 1, 1 FROM _views",
            "INSERT INTO t SELECT view, 1, 1 FROM _status",
            "INSERT INTO other VALUES(:key)",
            "DELETE FROM other",
            "UPDATE _positions SET commit_no = 0",
            "DELETE FROM _errors",
            "DELETE FROM sqlite_schema",
            "INSERT INTO sqlite_sequence VALUES('t', 1)",
            "ATTACH 'x.db' AS x",
            "DETACH main",
            "PRAGMA journal_mode = DELETE",
            "PRAGMA writable_schema = ON",
            "BEGIN",
            "COMMIT",
            "ROLLBACK",
            "SAVEPOINT s",
            "VACUUM",
            "-- tidy up\n/* all */ vacuum",
            "VACUUM INTO 'x.db'",
            "REINDEX",
            "ANALYZE",
            "DROP TABLE t",
            "ALTER TABLE t ADD COLUMN x",
            "CREATE TABLE u(x)",
            "CREATE TEMP TABLE u(x)",
            "EXPLAIN DELETE FROM t",
            "SELECT 1",
            "INSERT INTO t VALUES(:key, 1, 1) RETURNING k",
            "INSERT INTO t VALUES(:key, 1, 1); DELETE FROM t",
            "INSERT INTO t VALUES(?, 1, 1)",
            "INSERT INTO t VALUES(:kee, 1, 1)",
            "INSERT INTO t VALUES(:now, 1, 1)",
            "INSERT INTO t VALUES(\"key\", 1, 1)",
            "",
        ];
        for sql in statements {
            let error = made(&file, &definition("v", T, sql, &[])).unwrap_err();
            assert!(error.starts_with("`on.ais.put`"), "{sql}: {error}");
        }
    }

    #[test]
    fn forbidden_ddl_is_refused_with_a_reason() {
        let (_folder, file) = with_other();
        let ddl = [
            "CREATE TABLE _t(x)",
            "CREATE TABLE other(x)",
            "CREATE TABLE sqlite_t(x)",
            "CREATE TABLE t(x DEFAULT CURRENT_TIMESTAMP)",
            "CREATE TABLE t(x DEFAULT (random()))",
            "CREATE TABLE t(x CHECK(x < random()))",
            "CREATE TABLE t(x, y AS (datetime('now')))",
            "CREATE TABLE t(x); CREATE INDEX i ON other(k)",
            "CREATE TABLE t(x); CREATE INDEX i ON t(random())",
            "CREATE TABLE t(x); CREATE TRIGGER r AFTER INSERT ON other BEGIN DELETE FROM t; END",
            "CREATE TABLE t AS SELECT * FROM other",
            "CREATE TEMP TABLE t(x)",
            "CREATE TABLE t(x); CREATE TEMP TRIGGER r AFTER INSERT ON t BEGIN DELETE FROM t; END",
            "CREATE VIRTUAL TABLE t USING fts5(x)",
            "CREATE TABLE t(x); DROP TABLE other",
            "CREATE TABLE t(x); ALTER TABLE other ADD COLUMN x",
            "CREATE TABLE t(x); INSERT INTO other VALUES(1)",
            "CREATE TABLE t(x); PRAGMA user_version = 9",
            "CREATE TABLE t(x); COMMIT",
            "CREATE TABLE t(x); ATTACH 'x.db' AS x",
            "CREATE TABLE t(x); VACUUM",
            "CREATE TABLE t(x); SELECT load_extension('x')",
            "CREATE VIEW t AS SELECT 1",
            "",
        ];
        for ddl in ddl {
            let error = made(&file, &definition("v", ddl, "DELETE FROM t", &[])).unwrap_err();
            assert!(error.starts_with("`ddl`"), "{ddl}: {error}");
        }
        let view = "CREATE TABLE t(x); CREATE VIEW w AS SELECT k FROM other";
        let error = made(&file, &definition("v", view, "INSERT INTO t SELECT k FROM w", &[]));
        assert!(error.unwrap_err().contains("`other` is not a table of this view"));
        let trigger = "CREATE TABLE t(x); \
             CREATE TRIGGER r AFTER INSERT ON t BEGIN UPDATE t SET x = random(); END";
        let error = made(&file, &definition("v", trigger, "INSERT INTO t VALUES(1)", &[]));
        assert!(error.unwrap_err().contains("the function `random`"));
        assert_eq!(file.stored().unwrap().len(), 0, "nothing of it stayed");
        assert_eq!(objects(&file.connection).unwrap().iter().filter(|o| o.name == "t").count(), 0);
    }

    #[test]
    fn what_views_need_is_permitted() {
        let (_folder, file) = with_other();
        let ddl = "\
            CREATE TABLE t(k TEXT PRIMARY KEY, v, n INTEGER DEFAULT 0); -- the rows\n\
            CREATE TABLE s(id INTEGER PRIMARY KEY AUTOINCREMENT, g AS (upper(k)), k UNIQUE); \
            CREATE UNIQUE INDEX i ON t(n, lower(k)) WHERE n > 0; \
            CREATE TRIGGER r AFTER UPDATE OF n ON t BEGIN \
              INSERT INTO s(k) VALUES(new.k || old.n); END; \
            CREATE VIEW w AS SELECT k, datetime(n / 1000, 'unixepoch') AS at FROM t;";
        let put = [
            "INSERT INTO t VALUES(:key, json_extract(:value, '$.a.b'), length(:origin)) \
             ON CONFLICT(k) DO UPDATE SET v = excluded.v, n = n + 1 WHERE excluded.v > v",
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 3) \
             INSERT INTO s(k) SELECT printf('%s-%d', :key, x) FROM c",
            "INSERT OR IGNORE INTO s(k) SELECT value->>'$.n' FROM json_each(:value, '$.lines')",
            "UPDATE t SET n = (SELECT count(*) FROM s WHERE s.k = t.k) WHERE k = :topic",
            "REPLACE INTO t SELECT :headers->>'$.unit', max(v), sum(n) FROM t GROUP BY k",
            "DELETE FROM t WHERE k IN (SELECT k FROM (SELECT k, row_number() OVER (ORDER BY n) r \
             FROM t) WHERE r > :offset - :partition - :timestamp);",
        ];
        let mut view = definition("v", ddl, put[0], &["DELETE FROM t WHERE k = :key"]);
        view.sources.get_mut("ais").unwrap().put = put.map(str::to_owned).to_vec();
        let sql = "DELETE FROM t WHERE n < :watermark - :now".to_owned();
        view.retention = Some(Retention { statements: vec![sql], every_ms: 1_000 });
        let made = made(&file, &view).unwrap();
        let names: Vec<_> = made.iter().map(|object| object.name.as_str()).collect();
        assert_eq!(names, ["i", "s", "t", "r", "w"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let (_folder, file) = with_other();
        let error =
            |ddl: &str, put: &str| made(&file, &definition("v", ddl, put, &[])).unwrap_err();
        assert_eq!(
            error("CREATE TABLE t(x);\n\nCREATE TABL u(x);", "DELETE FROM t"),
            "`ddl`, line 3, column 8: near \"TABL\": syntax error"
        );
        assert_eq!(
            error(T, "INSERT INTO t\n VALUES(:key, :nobody, 1)"),
            "`on.ais.put`: unknown parameter `:nobody`; there are :key, :value, :timestamp, \
             :offset, :partition, :topic, :origin, :headers"
        );
        assert_eq!(
            error(T, "INSERT INTO t\nVALUES(:key, nobody, 1)"),
            "`on.ais.put`, line 2, column 14: no such column: nobody"
        );
        assert!(error(T, "INSERT INTO t VALUES(:kye, 1, 1)").contains("did you mean `:key`?"));
        let other = error(LATEST_DDL, &LATEST_PUT.replace("excluded.at, ", "excluded.ta, "));
        assert!(other.contains("no such column: excluded.ta"), "{other}");
        assert!(made(&file, &latest()).is_ok());
    }
}
