//! What a view is: tables, and statements that every record of some topics runs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A view as it was written, its SQL unchecked.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Definition {
    /// Its name: lower-case letters, digits and `_`, a letter first.
    pub name: String,
    /// The statements that make its tables, indexes, triggers and SQL views.
    pub ddl: String,
    /// What the records of each topic do.
    pub sources: BTreeMap<String, Source>,
    /// What becomes of a record that its statements refuse.
    pub on_error: OnError,
    /// What is swept from time to time.
    pub retention: Option<Retention>,
    /// Whether its rows may lack those of records that the log has forgotten, when they are made
    /// anew.
    #[serde(default)]
    pub accept_loss: bool,
}

/// What the records of one topic do.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Source {
    /// Statements for a record with a value.
    pub put: Vec<String>,
    /// Statements for a tombstone; without any, tombstones change nothing.
    pub delete: Vec<String>,
    /// What is derived from each record, tombstones too: queries whose rows are records of a
    /// topic.
    #[serde(default)]
    pub emit: BTreeMap<String, Vec<String>>,
}

/// What becomes of a record that its statements refuse.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// It is set aside as a dead letter, and the view goes on.
    DeadLetter,
    /// The view stops in front of it.
    Halt,
}

/// What is swept from time to time.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Retention {
    /// The statements, one after the other.
    pub statements: Vec<String>,
    /// Milliseconds between two sweeps.
    pub every_ms: u64,
}

/// Letters of a name.
const NAME_LETTERS_MAX: usize = 63;
/// What the parameters of a record's statements may be called.
pub const PARAMETERS: [&str; 8] =
    [":key", ":value", ":timestamp", ":offset", ":partition", ":topic", ":origin", ":headers"];
/// What the parameters of a sweep may be called.
pub const SWEEP_PARAMETERS: [&str; 2] = [":now", ":watermark"];

impl OnError {
    /// The words of the setting.
    pub const WORDS: [&str; 2] = ["dead_letter", "halt"];

    /// The one that `word` stands for.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        match word {
            "dead_letter" => Some(Self::DeadLetter),
            "halt" => Some(Self::Halt),
            _ => None,
        }
    }
}

impl Definition {
    /// What its rows are made by, as 16 hexadecimal digits: with another hash the rows would be
    /// others. What is swept, what is derived, and what becomes of errors, can change without a
    /// rebuild.
    #[must_use]
    pub fn hash(&self) -> String {
        let rows = self.sources.iter().map(|(topic, made)| (topic, &made.put, &made.delete));
        // The parts are text only, so that this cannot fail.
        let made_by = serde_json::to_vec(&(&self.ddl, rows.collect::<Vec<_>>()));
        let made_by = made_by.unwrap_or_default();
        let digest = Sha256::digest(made_by);
        digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The topics that it reads.
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        self.sources.keys().cloned().collect()
    }

    /// The topics that it derives.
    #[must_use]
    pub fn derives(&self) -> BTreeSet<String> {
        self.sources.values().flat_map(|source| source.emit.keys().cloned()).collect()
    }

    /// Whether it derives anything.
    #[must_use]
    pub fn emits(&self) -> bool {
        self.sources.values().any(|source| !source.emit.is_empty())
    }

    /// Whether it derives topics and has no rows.
    #[must_use]
    pub fn is_rule(&self) -> bool {
        let writes = |source: &Source| !source.put.is_empty() || !source.delete.is_empty();
        self.ddl.is_empty() && !self.sources.values().any(writes)
    }
}

/// Whether a view may be called so.
#[must_use]
pub fn name_is_valid(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.len() <= NAME_LETTERS_MAX
        && name.bytes().all(letter)
        && name.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The newest position of each vessel.
    pub(crate) const LATEST_DDL: &str = "\
        CREATE TABLE latest(mmsi TEXT PRIMARY KEY, lat REAL, lon REAL, at INTEGER, origin TEXT, \
        off INTEGER, gone INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID";
    pub(crate) const LATEST_PUT: &str = "\
        INSERT INTO latest VALUES(:key, :value->>'$.lat', :value->>'$.lon', :timestamp, :origin, \
        :offset, 0) ON CONFLICT(mmsi) DO UPDATE SET lat=excluded.lat, lon=excluded.lon, \
        at=excluded.at, origin=excluded.origin, off=excluded.off, gone=0 \
        WHERE (excluded.at, excluded.origin, excluded.off) > (at, origin, off)";
    pub(crate) const LATEST_DELETE: &str = "\
        INSERT INTO latest VALUES(:key, NULL, NULL, :timestamp, :origin, :offset, 1) \
        ON CONFLICT(mmsi) DO UPDATE SET lat=NULL, lon=NULL, at=excluded.at, \
        origin=excluded.origin, off=excluded.off, gone=1 \
        WHERE (excluded.at, excluded.origin, excluded.off) > (at, origin, off)";

    pub(crate) fn definition(name: &str, ddl: &str, put: &str, delete: &[&str]) -> Definition {
        let delete = delete.iter().map(|sql| (*sql).to_owned()).collect();
        let source = Source { put: vec![put.to_owned()], delete, ..Source::default() };
        Definition {
            name: name.to_owned(),
            ddl: ddl.to_owned(),
            sources: BTreeMap::from([("ais".to_owned(), source)]),
            on_error: OnError::DeadLetter,
            retention: None,
            accept_loss: false,
        }
    }

    pub(crate) fn latest() -> Definition {
        definition("latest", LATEST_DDL, LATEST_PUT, &[LATEST_DELETE])
    }

    #[test]
    fn the_hash_tells_what_makes_other_rows_and_nothing_else() {
        let first = latest();
        let other = Definition { ddl: LATEST_DDL.replace("REAL", "TEXT"), ..first.clone() };
        let retention =
            Some(Retention { statements: vec!["DELETE FROM latest".into()], every_ms: 1_000 });
        let mut kept = Definition { on_error: OnError::Halt, retention, ..first.clone() };
        let emit = BTreeMap::from([("alarms".to_owned(), vec!["SELECT :key AS key".to_owned()])]);
        kept.sources.get_mut("ais").unwrap().emit = emit;
        assert_ne!(first.hash(), other.hash());
        assert_eq!(first.hash(), kept.hash());
        assert_eq!(first.hash().len(), 16);
    }

    #[test]
    fn names_are_those_that_sql_needs_not_quote() {
        assert!(["a", "latest_position", "x2"].iter().all(|name| name_is_valid(name)));
        let long = "a".repeat(64);
        for name in ["", "_a", "2x", "A", "a-b", "a b", "ä", "a;", &long] {
            assert!(!name_is_valid(name), "{name}");
        }
    }
}
