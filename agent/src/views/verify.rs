//! Whether a view's rows are what the log says: they are made again in the shadow, up to the
//! view's position, and compared.
//!
//! The rows are copied first, so that the view goes on meanwhile. Sweeps are run on both copies,
//! for the same time.

use std::path::{Path, PathBuf};

use rusqlite::Error;

use super::again::{make_again, refused};
use super::check::Failure;
use super::definition::Definition;
use super::file::{Progress, ViewFile, remove};
use super::keeper::make_in;
use super::notes::quoted;
use super::swap::{columns, copy};
use super::sweep::run_sweeps;
use crate::api::{ApiError, Backend, ErrorCode, TableVerdict, ViewVerdict};
use crate::clock;

/// Rows of each table that are shown, of those that differ.
const EXAMPLES_MAX: u32 = 5;
/// Letters of such a row.
const EXAMPLE_LETTERS: u32 = 200;

/// Compares the rows of the view `name` in the file of `data` with what the log of `backend` says.
///
/// # Errors
/// There is no such view, the log can't be read, or the disk refuses.
pub async fn verify<B: Backend>(
    backend: B,
    data: &Path,
    name: &str,
) -> Result<ViewVerdict, ApiError> {
    let [kept, made] = shadow_paths(data, name);
    let (views, view) = (data.join(super::FILE_NAME), name.to_owned());
    let runtime = tokio::runtime::Handle::current();
    let verifying = tokio::task::spawn_blocking(move || {
        Shadow::begin(&views, &view, &kept, &made)?.compare(&backend, &runtime)
    });
    let verdict = verifying.await;
    remove_shadow(data, name);
    verdict.unwrap_or_else(|_| Err(ApiError::new(ErrorCode::Internal, "the comparison failed")))
}

/// Takes away what a comparison left on the disk.
pub(super) fn remove_shadow(data: &Path, name: &str) {
    for path in shadow_paths(data, name) {
        remove(&path);
    }
}

fn shadow_paths(data: &Path, name: &str) -> [PathBuf; 2] {
    ["kept", "again"].map(|which| data.join(format!("views.{name}.{which}.db")))
}

/// A copy of a view's rows, and an empty view of the same definition beside it.
struct Shadow {
    kept: ViewFile,
    made: ViewFile,
    made_path: PathBuf,
    definition: Definition,
    generation: u64,
    progress: Progress,
}

impl Shadow {
    fn begin(views: &Path, name: &str, kept: &Path, made: &Path) -> Result<Self, ApiError> {
        let unknown = || ApiError::new(ErrorCode::NotFound, format!("there is no view `{name}`"));
        if !views.exists() {
            return Err(unknown());
        }
        for path in [kept, made] {
            remove(path);
        }
        let (kept, _) = ViewFile::open(kept).map_err(refused)?;
        copy(&kept, views, name).map_err(refused)?;
        let stored = kept.stored().map_err(refused)?.remove(name).ok_or_else(unknown)?;
        let rows = kept.objects(name).map_err(refused)?;
        let can_be_made = |view: &Definition| !rows.is_empty() || view.is_rule();
        let Some(definition) = stored.definition.filter(can_be_made) else {
            let text = format!("the view `{name}` has no rows: its definition can't be used");
            return Err(ApiError::new(ErrorCode::Conflict, text));
        };
        let progress = kept.progress(name).map_err(refused)?;
        let (shadow, _) = ViewFile::open(made).map_err(refused)?;
        let generation = stored.generation;
        make_in(&shadow, &definition, generation, &[]).map_err(|failure| match failure {
            Failure::File(error) => refused(error),
            Failure::Invalid(invalid) => ApiError::new(ErrorCode::Conflict, invalid.to_string()),
        })?;
        let made_path = made.to_owned();
        Ok(Self { kept, made: shadow, made_path, definition, generation, progress })
    }

    fn compare<B: Backend>(
        self,
        backend: &B,
        runtime: &tokio::runtime::Handle,
    ) -> Result<ViewVerdict, ApiError> {
        let made = match self.progress.cursor {
            Some(to) => make_again((&self.made, &self.definition), (backend, runtime), to)?,
            None => Progress::START,
        };
        let Self { kept, made: shadow, made_path, definition, generation, progress } = self;
        let (now, watermark) = (clock::wall().ms(), progress.watermark);
        for file in [&kept, &shadow] {
            run_sweeps(file, &definition, now, watermark).map_err(refused)?;
        }
        drop(shadow);
        let tables = differences(&kept, &made_path, &definition.name).map_err(refused)?;
        Ok(ViewVerdict {
            view: definition.name,
            generation,
            commit: progress.cursor.map_or(0, |cursor| cursor.commit),
            records: progress.records,
            records_again: made.records,
            lacking: made.lacking.saturating_sub(progress.lacking),
            tables,
        })
    }
}

/// What differs, table by table.
fn differences(kept: &ViewFile, made: &Path, view: &str) -> Result<Vec<TableVerdict>, Error> {
    kept.connection.execute("ATTACH ?1 AS next", [&made.to_string_lossy()])?;
    let objects = kept.objects(view)?;
    let tables = objects.iter().filter(|object| object.kind == "table");
    tables
        .map(|table| {
            let names = columns(&kept.connection, &table.name)?;
            let of = |file: &str| {
                format!("SELECT {} FROM {file}.{}", names.join(", "), quoted(&table.name))
            };
            let shown = format!(
                "substr(concat_ws(', ', {}), 1, {EXAMPLE_LETTERS})",
                names.iter().map(|name| format!("quote({name})")).collect::<Vec<_>>().join(", ")
            );
            let count = |sql: &str| {
                let sql = format!("SELECT count(*) FROM ({sql})");
                kept.connection.query_row(&sql, [], |row| row.get::<_, i64>(0))
            };
            let beyond = |one: &str, other: &str| {
                let sql = format!("{} EXCEPT {}", of(one), of(other));
                let some = format!("SELECT {shown} FROM ({sql}) LIMIT {EXAMPLES_MAX}");
                let mut statement = kept.connection.prepare(&some)?;
                let some = statement.query_map([], |row| row.get(0))?;
                Ok::<_, Error>((count(&sql)?.unsigned_abs(), some.collect::<Result<_, Error>>()?))
            };
            let (surplus, surplus_rows) = beyond("main", "next")?;
            let (missing, missing_rows) = beyond("next", "main")?;
            Ok(TableVerdict {
                table: table.name.clone(),
                rows: count(&of("main"))?.unsigned_abs(),
                rows_again: count(&of("next"))?.unsigned_abs(),
                surplus,
                missing,
                surplus_rows,
                missing_rows,
            })
        })
        .collect()
}
