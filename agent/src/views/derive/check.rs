//! Checking the queries whose rows become records.

use std::collections::BTreeSet;

use rusqlite::{Connection, Statement};

use super::emit::COLUMNS;
use crate::nearest::nearest;
use crate::views::authorizer::Guard;
use crate::views::check::{Failure, check_shape, wrong_parameter};
use crate::views::definition::{Definition, PARAMETERS};

/// Checks the queries of a definition, of which `own` are the tables.
///
/// # Errors
/// As those of a view's other statements.
pub(in crate::views) fn check_emits(
    connection: &Connection,
    guard: &Guard,
    definition: &Definition,
    own: &BTreeSet<String>,
) -> Result<(), Failure> {
    for (topic, source) in &definition.sources {
        for (to, statements) in &source.emit {
            for (at, sql) in statements.iter().enumerate() {
                let setting = match statements.len() {
                    1 => format!("on.{topic}.emit.{to}"),
                    _ => format!("on.{topic}.emit.{to}[{}]", at + 1),
                };
                check_shape(connection, guard, own, (&setting, sql), wrong_shape)?;
            }
        }
    }
    Ok(())
}

fn wrong_shape(statement: &Statement<'_>) -> Option<String> {
    if !statement.readonly() || statement.column_count() == 0 {
        return Some("it must be a query (SELECT), whose rows are records".to_owned());
    }
    let names: Vec<&str> = statement.column_names().collect();
    if let Some(unknown) = names.iter().find(|name| !COLUMNS.contains(name)) {
        let meant = nearest(unknown, COLUMNS);
        let meant = meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
        return Some(format!(
            "a derived record has no `{unknown}`{meant} There are `{}`: write `SELECT … AS key, … \
             AS value`",
            COLUMNS.join("`, `")
        ));
    }
    if (1..names.len()).any(|at| names.iter().take(at).any(|name| names.get(at) == Some(name))) {
        return Some("a column is there twice".to_owned());
    }
    if !names.contains(&"key") && !names.contains(&"value") {
        return Some("a derived record needs a column `key` or `value`".to_owned());
    }
    wrong_parameter(statement, &PARAMETERS)
}
