//! What a view does from time to time.

use rusqlite::{Error, ToSql};

use super::definition::Definition;
use super::file::ViewFile;

/// Runs a view's sweeps in one transaction; returns how many rows they changed.
pub(super) fn run_sweeps(
    file: &ViewFile,
    definition: &Definition,
    now_ms: i64,
    watermark: Option<i64>,
) -> Result<usize, Error> {
    let Some(retention) = &definition.retention else { return Ok(0) };
    let given: [(&str, &dyn ToSql); 2] = [(":now", &now_ms), (":watermark", &watermark)];
    file.transaction(|connection| {
        let mut changed = 0;
        for sql in &retention.statements {
            let mut statement = connection.prepare(sql)?;
            let has = |name: &&(&str, _)| matches!(statement.parameter_index(name.0), Ok(Some(_)));
            let given: Vec<_> = given.iter().filter(has).copied().collect();
            changed += statement.execute(given.as_slice())?;
        }
        Ok(changed)
    })
}
