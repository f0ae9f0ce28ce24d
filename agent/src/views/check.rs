//! Making a view's tables, and checking its statements before any record runs them.

use std::collections::BTreeSet;
use std::fmt;

use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::{Batch, Connection, Error, ErrorCode, Statement};

use super::authorizer::{Guard, Rule};
use super::definition::{Definition, PARAMETERS, SWEEP_PARAMETERS};
use super::derive::check_emits;
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
    if !definition.is_rule() && !made.iter().any(|object| object.kind == "table") {
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
    check_emits(connection, guard, definition, &own)?;
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

/// Checks what can be changed while the view's tables stay: what it sweeps, or what it derives.
///
/// # Errors
/// As [`create`].
pub(super) fn check_kept(
    connection: &Connection,
    guard: &Guard,
    definition: &Definition,
    made: &[Object],
    which: Kept,
) -> Result<(), Failure> {
    let holds_rows = |object: &&Object| object.kind == "table" || object.kind == "view";
    let own = made.iter().filter(holds_rows).map(|object| object.name.to_lowercase()).collect();
    match which {
        Kept::Emits => check_emits(connection, guard, definition, &own),
        Kept::Sweeps => check_sweeps(connection, guard, definition, &own),
    }
}

/// What of a definition can be changed while the view's tables stay.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kept {
    Emits,
    Sweeps,
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
    check_shape(connection, guard, own, (setting, sql), |statement| {
        if statement.readonly() || statement.column_count() > 0 {
            return Some("it must write (INSERT, UPDATE, DELETE) and return no rows".to_owned());
        }
        wrong_parameter(statement, parameters)
    })
}

/// Checks a statement; `wrong` says what is wrong with its shape.
pub(super) fn check_shape(
    connection: &Connection,
    guard: &Guard,
    own: &BTreeSet<String>,
    (setting, sql): (&str, &str),
    wrong: impl Fn(&Statement<'_>) -> Option<String>,
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
        let first = batch.next()?.map(|statement| wrong(&statement));
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

/// What is wrong with a statement's parameters.
pub(super) fn wrong_parameter(statement: &Statement<'_>, parameters: &[&str]) -> Option<String> {
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
mod tests;
