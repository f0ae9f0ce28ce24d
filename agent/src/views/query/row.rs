//! A row of an answer as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rusqlite::types::ValueRef;
use rusqlite::{Error, Row};
use serde_json::{Value, json};

/// What a value takes in an answer besides its text.
const VALUE_OVERHEAD: usize = 16;

/// The values of a row with so many columns, and the bytes they take; none if those are more than
/// `bytes_max`.
pub(super) fn values(
    row: &Row<'_>,
    columns: usize,
    bytes_max: usize,
) -> Result<Option<(Vec<Value>, usize)>, Error> {
    let mut bytes = 0;
    for at in 0..columns {
        let text = row.get_ref(at)?.as_bytes_or_null().ok().flatten();
        bytes += VALUE_OVERHEAD + text.map_or(0, <[u8]>::len);
    }
    if bytes > bytes_max {
        return Ok(None);
    }
    let values = (0..columns).map(|at| row.get_ref(at).map(as_json));
    Ok(Some((values.collect::<Result<_, _>>()?, bytes)))
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
