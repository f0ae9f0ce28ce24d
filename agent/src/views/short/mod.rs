//! Short forms: a few words in place of a view's statements, which they generate.
//!
//! What they generate is SQL that a person could have written; `landfall view explain` prints it,
//! and it is checked like any other.

use std::collections::BTreeMap;

use super::definition::{Definition, OnError, Retention, Source, name_is_valid};

pub mod aggregate;
pub mod join;
pub mod latest;
pub mod rule;
pub mod select;
#[cfg(test)]
mod tests;
pub mod window;

/// Columns by name, each with what it holds: a path into the value such as `$.lat`, or an
/// expression of the record's parameters such as `:timestamp / 1000`.
pub type Columns = BTreeMap<String, String>;

/// The SQL of what a column holds.
///
/// # Errors
/// Says that it is neither a path nor an expression.
fn expression(name: &str, text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.starts_with('$') {
        return Ok(format!(":value->>'{}'", text.replace('\'', "''")));
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    if text.is_empty()
        || text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(is_word)
    {
        return Err(format!("`{name}`: `{text}` is no path; write `$.{text}`, perhaps"));
    }
    Ok(format!("({text})"))
}

/// What must hold for a record to count.
fn condition(text: Option<&String>) -> Result<String, String> {
    text.map_or(Ok("true".to_owned()), |text| expression("where", text))
}

/// Refuses names that can't be columns beside those that are `taken`.
fn check_names<'n>(names: impl Iterator<Item = &'n String>, taken: &[&str]) -> Result<(), String> {
    let mut seen: Vec<&str> = Vec::new();
    for name in names {
        if !name_is_valid(name) || taken.contains(&name.as_str()) {
            return Err(format!(
                "`{name}` cannot be a column here: use lower-case letters, digits and `_`, and \
                 none of `{}`",
                taken.join("`, `")
            ));
        }
        if seen.contains(&name.as_str()) {
            return Err(format!("there are two columns `{name}`"));
        }
        seen.push(name);
    }
    Ok(())
}

fn quote(name: &str) -> String {
    format!("\"{name}\"")
}

/// Names or pieces of SQL, with commas between them.
fn list(pieces: impl IntoIterator<Item = String>) -> String {
    pieces.into_iter().collect::<Vec<_>>().join(", ")
}

fn definition(
    name: &str,
    ddl: String,
    sources: impl IntoIterator<Item = (String, Source)>,
    retention: Option<Retention>,
) -> Definition {
    Definition {
        name: name.to_owned(),
        ddl,
        sources: sources.into_iter().collect(),
        on_error: OnError::DeadLetter,
        retention,
        accept_loss: false,
    }
}
