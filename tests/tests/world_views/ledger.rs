//! What a view must have, read from the log by a fold of its own, and what it has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use landfall::api::DEAD_HEADERS;
use landfall_core::codec::Reader;
use landfall_core::record::Record;
use landfall_simulation::world::{Held, HeldRecord};
use rusqlite::{Connection, OpenFlags};

/// The topic, origin and offset of a record, and its value.
pub(crate) type Row = (String, String, u64, String);

/// How often records were taken in.
pub(crate) type Rows = BTreeMap<Row, u64>;

/// What the file of a view has.
pub(crate) fn rows(file: &Path) -> Rows {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let sql = "SELECT topic, origin, off, value, n FROM rows";
    let mut statement = connection.prepare(sql).unwrap();
    let number = |row: &rusqlite::Row<'_>, at| row.get(at).map(i64::unsigned_abs);
    let rows = statement.query_map([], |row| {
        Ok(((row.get(0)?, row.get(1)?, number(row, 2)?, row.get(3)?), number(row, 4)?))
    });
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

/// What a log has for a view.
pub(crate) fn taken_in(held: &Held) -> Rows {
    let mut rows = Rows::new();
    for record in &held.records {
        let (origin, topic) = stream(record);
        let value = value(record);
        if ["a", "b"].contains(&topic) && !is_refused(&value) {
            let row = (topic.to_owned(), origin.to_owned(), record.offset, value);
            *rows.entry(row).or_default() += 1;
        }
    }
    rows
}

/// Whether the view refuses a value.
pub(crate) fn is_refused(value: &str) -> bool {
    value.ends_with('3')
}

/// Expects that two are the same.
pub(crate) fn expect_same(what: &str, rows: &Rows, log: &Rows) {
    let more = rows.iter().find(|(row, n)| log.get(*row) != Some(n));
    let instead = more.and_then(|(row, _)| log.get(row));
    assert!(more.is_none(), "{what} has {more:?}, of which the log has {instead:?}");
    let lacks = log.keys().find(|row| !rows.contains_key(*row));
    assert!(lacks.is_none(), "{what} lacks {lacks:?}");
}

/// Expects that the view of a host has had these values, but for what it refuses.
pub(crate) fn expect_all(host: &str, rows: &Rows, values: &BTreeSet<String>) {
    let has: BTreeSet<_> = rows.keys().map(|(_, _, _, value)| value).collect();
    let lacks = values.iter().find(|value| !is_refused(value) && !has.contains(value));
    assert!(lacks.is_none(), "the view of {host} never had {lacks:?}");
}

/// How often a log has what a host derived or set aside, by the topic and the cause.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Derived(BTreeMap<(String, String), u64>);

/// What a host derived and set aside.
pub(crate) fn derived(host: &str, held: &Held) -> Derived {
    let mut derived = BTreeMap::new();
    for record in &held.records {
        let (origin, topic) = stream(record);
        if let Some(cause) = cause(record).filter(|_| origin == host) {
            *derived.entry((topic.to_owned(), cause)).or_default() += 1;
        }
    }
    Derived(derived)
}

impl Derived {
    /// Expects that a host has derived each record that its log has a cause of, once; or twice, or
    /// not, if that can't be otherwise.
    pub(crate) fn expect_once(
        &self,
        host: &str,
        held: &Held,
        (may_be_twice, may_lack): (bool, bool),
    ) {
        let twice = self.0.iter().find(|(_, count)| **count > 1);
        assert!(twice.is_none() || may_be_twice, "{host} derived twice: {twice:?}");
        for record in &held.records {
            let Some(to) = derives(record) else { continue };
            let cause = format!("{}@{}~{:x}", record.stream, record.offset, record.epoch.get());
            let is_there = self.0.contains_key(&(to.clone(), cause.clone()));
            assert!(is_there || may_lack, "{host} lacks what {cause} derives to {to}");
        }
    }
}

/// The topic that a record derives another one to, or is set aside in.
fn derives(record: &HeldRecord) -> Option<String> {
    let (_, topic) = stream(record);
    match (topic, value(record).chars().last()) {
        ("a" | "b", Some('3')) => Some(format!("{topic}.dead")),
        ("a", Some('7')) => Some("derived".to_owned()),
        ("b", Some('5')) => Some("routed".to_owned()),
        _ => None,
    }
}

/// The origin and the topic of a record.
fn stream(record: &HeldRecord) -> (&str, &str) {
    let mut parts = record.stream.split('/');
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

fn value(record: &HeldRecord) -> String {
    let decoded = Record::decode(&mut Reader::new(&record.encoded)).unwrap();
    String::from_utf8_lossy(decoded.value.unwrap_or_default()).into_owned()
}

/// The coordinates of what a record was derived from, or set aside for.
fn cause(record: &HeldRecord) -> Option<String> {
    let decoded = Record::decode(&mut Reader::new(&record.encoded)).ok()?;
    let about = format!("{DEAD_HEADERS}record");
    let names = ["landfall.cause", &about];
    let header = decoded.headers.iter().find(|header| names.contains(&header.name))?;
    String::from_utf8(header.value?.to_vec()).ok()
}
