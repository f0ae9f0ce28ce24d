//! Dead letters of views and rules: what their statements refuse goes to `<topic>.dead` as what
//! they derive does, through the outbox, so that it is there once.

use std::collections::BTreeSet;

use landfall_core::codec::Writer;
use landfall_core::num::Partition;
use rusqlite::{Connection, Error};

use super::outbox::{Entry, adding, cause_of, put};
use super::{Deriving, LogPlace};
use crate::api::{DEAD_HEADERS, SetAside, SetAsideBy, dead_topic, letter_of};
use crate::coordinates::Coordinates;
use crate::event_json::{Header, Record};
use crate::node::Target;
use crate::views::definition::{Definition, OnError};
use crate::views::notes::Refused;

/// The topics that letters of a view go to.
pub(in crate::views) fn letter_topics(definition: &Definition) -> BTreeSet<String> {
    match definition.on_error {
        OnError::DeadLetter => {
            definition.sources.keys().filter_map(|topic| dead_topic(topic)).collect()
        }
        OnError::Halt => BTreeSet::new(),
    }
}

/// Puts the letter about a record that was refused, and that ends at a place, behind what has the
/// sequence `last`. Returns the last sequence.
///
/// # Errors
/// The file refuses.
pub(in crate::views) fn put_letter(
    connection: &Connection,
    deriving: &Deriving<'_>,
    refused: &Refused<'_>,
    (at, now_ms): (LogPlace, i64),
    last: u64,
) -> Result<u64, Error> {
    let derivation = deriving.derivation;
    if derivation.after.is_some_and(|after| at <= after) {
        return Ok(last);
    }
    let Refused { record, error } = refused;
    let about = SetAside {
        coordinates: &record.coordinates,
        timestamp_ms: record.timestamp_ms,
        key: record.key.as_ref(),
        value: record.value.as_ref(),
        headers: &record.headers,
    };
    // Of a topic whose name leaves no room for letters, `_errors` tells.
    let Some(letter) = letter_of(SetAsideBy::View(&derivation.view), error, about) else {
        return Ok(last);
    };
    let partition = Partition::new((deriving.partition_of)(&letter.topic, Some(&letter.key)));
    let target = Target { topic: letter.topic.clone(), partition };
    let (cause, offset) = cause_of(&record.coordinates);
    if deriving.known.has(&target, &cause, offset, 0) {
        return Ok(last);
    }
    let encoded = letter.as_record(now_ms, |record| {
        let mut bytes = vec![0; record.encoded_len()];
        let written = record.encode(&mut Writer::new(&mut bytes));
        assert!(written.is_ok(), "a record takes the length that it says");
        bytes
    });
    let (sequence, cause) = (last + 1, record.coordinates.to_string());
    let entry = Entry { sequence, at, target, cause, nth: 0, encoded };
    put(&mut adding(connection)?, derivation, &entry)?;
    Ok(sequence)
}

/// The record that a letter of a view is about; none if it is no letter of that view.
pub(super) fn set_aside_by(view: &str, record: &Record) -> Option<Coordinates> {
    let header = |name: &str| {
        let of_name = |header: &&Header| {
            header.name.strip_prefix(DEAD_HEADERS).is_some_and(|rest| rest == name)
        };
        std::str::from_utf8(record.headers.iter().find(of_name)?.value.as_deref()?).ok()
    };
    (header("view")? == view).then(|| header("record")?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
