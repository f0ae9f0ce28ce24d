//! Pages of records, good and bad, and the rows they make.

use std::path::Path;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::api::Seen;
use crate::coordinates::{Coordinates, StreamName};
use crate::event_json::{Header, RecordClock};
use crate::views::check::create;
use crate::views::definition::tests::{definition, latest};
use crate::views::notes::{put_objects, put_view};

pub(in crate::views) fn record(
    offset: u64,
    key: &str,
    value: Option<&str>,
    timestamp_ms: i64,
) -> Record {
    let stream = StreamName { origin: "ship".into(), topic: "ais".into(), partition: 0 };
    Record {
        coordinates: Coordinates { stream, offset, epoch: Some(0xab) },
        seq: offset,
        lane: "normal".into(),
        timestamp_ms,
        clock: RecordClock::default(),
        key: Some(Bytes::from(key.to_owned())),
        value: value.map(|value| Bytes::from(value.to_owned())),
        headers: Vec::new(),
    }
}

fn cursor(commit: u64) -> Cursor {
    Cursor { log_id: 7, epoch: 8, commit, index: 0 }
}

/// A page of these records, of which the first has this offset.
pub(in crate::views) fn page(records: &[Record]) -> ReadPage {
    let behind = |record: &Record| cursor(record.coordinates.offset + 1);
    let items = records.iter().map(|r| ReadItem::Record(Box::new(r.clone()), behind(r))).collect();
    let (seen, lacking) = (Seen::default(), 0);
    let cursor = records.last().map_or(cursor(0), behind);
    ReadPage { items, cursor, through: cursor.commit, end: true, seen, lacking }
}

fn made(folder: &Path, definition: &Definition) -> ViewFile {
    let (file, _) = ViewFile::open(&folder.join("views.db")).unwrap();
    file.transaction(|connection| {
        let made = create(connection, &file.guard, definition).map_err(|_| "refused").unwrap();
        put_view(connection, definition, 1, None)?;
        put_objects(connection, &definition.name, &made)
    })
    .unwrap();
    file
}

pub(in crate::views) fn opened(definition: &Definition) -> (TempDir, ViewFile) {
    let folder = TempDir::new().unwrap();
    let file = made(folder.path(), definition);
    (folder, file)
}

/// A view that derives nothing.
pub(in crate::views) fn only<'v>(file: &'v ViewFile, definition: &'v Definition) -> Applying<'v> {
    Applying { file, definition, deriving: None }
}

pub(in crate::views) fn whole(applied: Applied) -> Progress {
    match applied {
        Applied::Whole(progress) => progress,
        Applied::Halted(_, reason) => panic!("halted: {reason}"),
    }
}

fn rows(file: &ViewFile, sql: &str) -> Vec<String> {
    let mut statement = file.connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

#[test]
fn a_view_is_the_fold_of_the_log_however_it_is_cut_into_pages() {
    // Late records, deletions before and after what they delete, and equal times.
    let times = [5, 3, 9, 9, 1, 7, 2, 9, 8, 4, 6, 9, 0, 5];
    let records: Vec<_> = (0..140_u64)
        .map(|n| {
            let key = format!("v{}", n * 7 % 5);
            let value = format!("{{\"lat\":{n},\"lon\":-{n}.5}}");
            let value = (n % 6 != 4).then_some(value.as_str());
            record(n, &key, value, times[n as usize * 5 % times.len()] + n as i64 / 40)
        })
        .collect();
    let definition = latest();
    let all = "SELECT mmsi || ' ' || ifnull(lat, '-') || ' ' || at || ' ' || off || ' ' || gone \
               FROM latest ORDER BY 1";
    let mut outcomes = Vec::new();
    for size in [1, 3, 64, 140] {
        let (_folder, file) = opened(&definition);
        let mut progress = Progress::START;
        for part in records.chunks(size) {
            progress = whole(apply(only(&file, &definition), &progress, &page(part), 0).unwrap());
            assert_eq!(file.progress("latest").unwrap(), progress, "they commit together");
        }
        assert_eq!((progress.records, progress.errors), (140, 0));
        outcomes.push(rows(&file, all));
    }
    // What the tie-break says, by hand.
    let newest = |key: &str| {
        let of_key = records.iter().filter(|r| r.key.as_deref() == Some(key.as_bytes()));
        of_key.max_by_key(|r| (r.timestamp_ms, r.coordinates.offset)).unwrap()
    };
    let expected: Vec<_> = ["v0", "v1", "v2", "v3", "v4"]
        .map(|key| {
            let r = newest(key);
            let offset = r.coordinates.offset;
            let lat = r.value.as_ref().map_or("-".to_owned(), |_| format!("{offset}.0"));
            format!("{key} {lat} {} {offset} {}", r.timestamp_ms, u8::from(r.value.is_none()))
        })
        .into();
    assert!(outcomes.iter().all(|rows| *rows == expected), "{outcomes:?} {expected:?}");
}

#[test]
fn a_record_that_is_refused_leaves_nothing_and_stops_nothing() {
    let ddl = "CREATE TABLE seen(k); CREATE TABLE t(k TEXT UNIQUE, n INTEGER CHECK(n < 100)); \
         CREATE TRIGGER r BEFORE INSERT ON t WHEN new.n < 0 BEGIN \
         SELECT raise(ROLLBACK, 'below zero'); END";
    let mut view = definition("v", ddl, "INSERT INTO seen VALUES(:key)", &[]);
    let heavy = "INSERT INTO t SELECT :key, :value->>'$.n' WHERE (WITH RECURSIVE c(x) AS (SELECT \
         1 UNION ALL SELECT x + 1 FROM c WHERE x < :value->>'$.steps') SELECT count(x) FROM c) > 0";
    view.sources.get_mut("ais").unwrap().put.push(heavy.into());
    let (_folder, file) = opened(&view);
    let good = "{\"n\":1,\"steps\":1}";
    let values = [
        ("a", good),
        ("b", "not JSON"),
        ("c", "{\"n\":100,\"steps\":1}"),
        ("d", good),
        ("a", good),
        ("e", "{\"n\":-1,\"steps\":1}"),
        ("f", "{\"n\":1,\"steps\":1000000000}"),
        ("g", good),
    ];
    let offsets = values.iter().zip(0..);
    let records: Vec<_> =
        offsets.map(|((key, value), n)| record(n, key, Some(value), n as i64)).collect();
    let progress = whole(apply(only(&file, &view), &Progress::START, &page(&records), 77).unwrap());
    assert_eq!((progress.records, progress.errors), (3, 5));
    assert_eq!(progress.cursor, Some(cursor(8)));
    assert_eq!(rows(&file, "SELECT k FROM t ORDER BY k"), ["a", "d", "g"]);
    assert_eq!(rows(&file, "SELECT k FROM seen ORDER BY k"), ["a", "d", "g"]);
    let errors = rows(&file, "SELECT \"offset\" || ' ' || at_ms || ' ' || error FROM _errors");
    let expected = [
        "1 77 malformed JSON",
        "2 77 CHECK constraint failed: n < 100",
        "4 77 UNIQUE constraint failed: t.k",
        "5 77 below zero",
        "6 77 its statements take too many steps",
    ];
    assert_eq!(errors, expected);
}

#[test]
fn a_value_that_grows_beyond_all_bounds_is_refused_and_stops_nothing() {
    let ddl = "CREATE TABLE t(k TEXT, long TEXT)";
    let put = "INSERT INTO t VALUES(:key, replace(:value, 'a', :value))";
    let view = definition("v", ddl, put, &[]);
    let (_folder, file) = opened(&view);
    let long = "a".repeat(20_000);
    let records = [record(0, "x", Some(&long), 0), record(1, "y", Some("a"), 0)];
    let progress = whole(apply(only(&file, &view), &Progress::START, &page(&records), 0).unwrap());
    assert_eq!((progress.records, progress.errors), (1, 1));
    assert_eq!(rows(&file, "SELECT k FROM t"), ["y"]);
    assert_eq!(rows(&file, "SELECT error FROM _errors"), ["string or blob too big"]);
}

#[test]
fn a_view_that_halts_stands_before_the_record_that_was_refused() {
    let ddl = "CREATE TABLE t(k TEXT UNIQUE)";
    let mut view = definition("v", ddl, "INSERT INTO t VALUES(:key)", &[]);
    view.on_error = OnError::Halt;
    let (_folder, file) = opened(&view);
    let records: Vec<_> =
        ["a", "b", "a", "c"].iter().zip(0..).map(|(key, n)| record(n, key, Some(""), 0)).collect();
    let applied = apply(only(&file, &view), &Progress::START, &page(&records), 0).unwrap();
    let Applied::Halted(progress, reason) = applied else { panic!("it went on") };
    assert_eq!(reason, "ship/ais/0@2~ab was refused: UNIQUE constraint failed: t.k");
    assert_eq!((progress.cursor, progress.records), (Some(cursor(2)), 2));
    assert_eq!(file.progress("v").unwrap().cursor, Some(cursor(2)));
    assert_eq!(rows(&file, "SELECT k FROM t"), ["a", "b"]);
    assert_eq!(rows(&file, "SELECT state FROM _views"), ["halted"]);
}

#[test]
fn statements_get_all_of_a_record() {
    let ddl = "CREATE TABLE t(what TEXT)";
    let put = "INSERT INTO t VALUES(concat_ws('|', :key, typeof(:value), hex(:value), :timestamp, \
         :offset, :partition, :topic, :origin, :headers))";
    let view = definition("v", ddl, put, &[]);
    let (_folder, file) = opened(&view);
    let header = |name: &str, value: Option<&'static [u8]>| Header {
        name: name.into(),
        value: value.map(Bytes::from_static),
    };
    let mut first = record(3, "k", Some(""), -5);
    first.value = Some(Bytes::from_static(b"\xff"));
    first.headers = vec![
        header("u", Some(b"m")),
        header("x", None),
        header("u", Some(b"kn")),
        header("b", Some(b"\xfe")),
    ];
    let tombstone = record(4, "k", None, 0);
    let progress = apply(only(&file, &view), &Progress::START, &page(&[first, tombstone]), 0);
    assert_eq!(whole(progress.unwrap()).records, 2);
    let expected =
        "k|blob|FF|-5|3|0|ais|ship|{\"b\":{\"base64\":\"/g==\"},\"u\":\"kn\",\"x\":null}";
    assert_eq!(rows(&file, "SELECT what FROM t"), [expected]);
}
