//! What short forms stand for, run on the bundled positions, and compared with what plain code
//! makes of the same positions.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tempfile::TempDir;

use super::aggregate::Aggregate;
use super::join::Join;
use super::latest::Latest;
use super::select::Select;
use super::window::Window;
use super::*;
use crate::demo::Sample;
use crate::event_json::Record;
use crate::time_text;
use crate::views::apply::apply;
use crate::views::apply::tests::{only, opened, page, record, whole};
use crate::views::file::{Progress, ViewFile};
use crate::views::sweep::run_sweeps;

/// A view in a file, and how far it has come.
struct Scene {
    _folder: TempDir,
    file: ViewFile,
    view: Definition,
    progress: Progress,
}

impl Scene {
    fn of(view: Result<Definition, String>) -> Self {
        let view = view.unwrap();
        assert_eq!(crate::views::check_alone(&view), Ok(()));
        let (_folder, file) = opened(&view);
        Self { _folder, file, view, progress: Progress::START }
    }

    fn take(&mut self, records: &[Record]) {
        let applied = apply(only(&self.file, &self.view), &self.progress, &page(records), 0);
        self.progress = whole(applied.unwrap());
    }

    /// Runs what is run from time to time.
    fn sweep(&self, now: i64) {
        run_sweeps(&self.file, &self.view, now, self.progress.watermark).unwrap();
    }

    /// The rows, each a JSON array.
    fn rows(&self, sql: &str) -> Vec<String> {
        let mut statement = self.file.connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }
}

/// The bundled positions as records: values, and the time of each.
fn positions() -> Vec<(Value, Record)> {
    let sample = Sample::unpack();
    let lines = sample.lines(0..sample.count());
    let position = |(line, offset): (&str, u64)| {
        let value: Value = serde_json::from_str(line).unwrap();
        let time = time_text::parse(value["time"].as_str().unwrap()).unwrap();
        let record = record(offset, &value["mmsi"].to_string(), Some(line), time);
        (value, record)
    };
    lines.lines().zip(0..).map(position).collect()
}

fn records(positions: &[(Value, Record)]) -> Vec<Record> {
    positions.iter().map(|(_, record)| record.clone()).collect()
}

fn columns(pairs: &[(&str, &str)]) -> Columns {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn windows(size_ms: u64, every_ms: u64) -> Window {
    Window { size_ms, every_ms, grace_ms: 0, keep_ms: None }
}

fn counted(window: Option<Window>) -> Aggregate {
    Aggregate {
        topic: "ais".into(),
        of_latest: false,
        by: Columns::new(),
        columns: columns(&[("n", "count")]),
        filter: None,
        window,
    }
}

#[test]
fn vessels_per_square_degree_move_with_the_vessels() {
    let degree = |name: &str| format!("CAST(:value->>'$.{name}' + 180 AS INTEGER) - 180");
    let (lat, lon) = (degree("lat"), degree("lon"));
    let per_degree = Aggregate {
        of_latest: true,
        by: columns(&[("lat", &lat), ("lon", &lon)]),
        columns: columns(&[
            ("vessels", "count"),
            ("fastest", "max($.sog)"),
            ("mean", "avg($.sog)"),
        ]),
        ..counted(None)
    };
    let positions = positions();
    let mut scene = Scene::of(per_degree.definition("per_degree"));
    let sql = "SELECT json_array(lat, lon, vessels, fastest, round(mean, 6)) FROM per_degree \
               ORDER BY lat, lon";
    for part in [&positions[..2_500], &positions[2_500..]] {
        scene.take(&records(part));
        let seen = part.last().unwrap().1.coordinates.offset as usize + 1;
        let mut newest = BTreeMap::new();
        for (value, record) in &positions[..seen] {
            let at = (record.timestamp_ms, record.coordinates.offset);
            let place = newest.entry(record.key.clone()).or_insert((at, value));
            if at > place.0 {
                *place = (at, value);
            }
        }
        let mut groups: BTreeMap<_, Vec<f64>> = BTreeMap::new();
        for (_, value) in newest.values() {
            let degree = |name: &str| value[name].as_f64().unwrap().floor() as i64;
            let group = groups.entry((degree("lat"), degree("lon"))).or_default();
            group.extend(value["sog"].as_f64());
        }
        let found = scene.rows(sql);
        assert_eq!(found.len(), groups.len());
        for (row, ((lat, lon), speeds)) in found.iter().zip(&groups) {
            let row: Value = serde_json::from_str(row).unwrap();
            assert_eq!((&row[0], &row[1]), (&Value::from(*lat), &Value::from(*lon)));
            let fastest = speeds.iter().copied().fold(f64::NAN, f64::max);
            assert_eq!(
                (row[2].as_u64(), row[3].as_f64()),
                (Some(speeds.len() as u64), Some(fastest))
            );
            let mean = speeds.iter().sum::<f64>() / speeds.len() as f64;
            assert!((row[4].as_f64().unwrap() - mean).abs() < 1e-5, "{row} {mean}");
        }
    }
}

#[test]
fn aggregates_by_windows_are_those_that_plain_code_finds() {
    let positions = positions();
    let minute = 60_000;
    let aggregate = Aggregate {
        by: columns(&[("class", "coalesce(:value->>'$.class', '-')")]),
        columns: columns(&[
            ("n", "count"),
            ("named", "count($.name)"),
            ("draft", "sum($.draft)"),
            ("slowest", "min($.sog)"),
            ("fastest", "max($.sog)"),
            ("mean", "avg($.sog)"),
        ]),
        filter: Some(":value->>'$.sog' > 0.5".into()),
        ..counted(None)
    };
    for (size, every) in [(10 * minute, 10 * minute), (10 * minute, 3 * minute)] {
        let window = Some(windows(size, every));
        let mut scene = Scene::of(Aggregate { window, ..aggregate.clone() }.definition("busy"));
        scene.take(&records(&positions));
        let mut expected: BTreeMap<(i64, String), Vec<&Value>> = BTreeMap::new();
        let (size, every) = (size as i64, every as i64);
        for (value, record) in &positions {
            if value["sog"].as_f64().is_none_or(|sog| sog <= 0.5) {
                continue;
            }
            let class = value["class"].as_str().unwrap_or("-").to_owned();
            let mut start = record.timestamp_ms.div_euclid(every) * every;
            while start + size > record.timestamp_ms {
                expected.entry((start, class.clone())).or_default().push(value);
                start -= every;
            }
        }
        let sql = "SELECT json_array(start, class, n, named, round(draft, 3), slowest, fastest, \
                   round(mean, 6), \"end\" - start) FROM busy ORDER BY start, class";
        let found = scene.rows(sql);
        assert_eq!(found.len(), expected.len());
        for (row, ((start, class), values)) in found.iter().zip(&expected) {
            let row: Vec<Value> = serde_json::from_str(row).unwrap();
            let all = |name: &str| values.iter().filter_map(|value| value[name].as_f64()).collect();
            let (speeds, drafts): (Vec<f64>, Vec<f64>) = (all("sog"), all("draft"));
            let named = values.iter().filter(|value| value["name"].is_string()).count();
            assert_eq!(row[..2], [Value::from(*start), Value::from(class.as_str())]);
            assert_eq!(row[2..4], [Value::from(values.len()), Value::from(named)]);
            let close = |value: &Value, expected: f64| {
                (value.as_f64().unwrap_or(0.0) - expected).abs() < 1e-3
            };
            assert!(close(&row[4], drafts.iter().sum()), "{row:?}");
            assert!(close(&row[5], speeds.iter().copied().fold(f64::NAN, f64::min)), "{row:?}");
            assert!(close(&row[6], speeds.iter().copied().fold(f64::NAN, f64::max)), "{row:?}");
            assert!(close(&row[7], speeds.iter().sum::<f64>() / speeds.len() as f64), "{row:?}");
            assert_eq!(row[8], size);
        }
    }
}

#[test]
fn a_window_closes_by_records_or_by_the_clock_and_a_late_record_still_counts() {
    let window = Window { grace_ms: 5_000, keep_ms: Some(100_000), ..windows(10_000, 10_000) };
    let mut scene = Scene::of(counted(Some(window)).definition("w"));
    let sql = "SELECT start || ' ' || n || ' ' || closed FROM w ORDER BY start";
    let at = |offset: u64, time: i64| record(offset, "a", Some("{}"), time);
    scene.take(&[at(0, 100_001), at(1, 109_999), at(2, 110_000), at(3, -1)]);
    scene.sweep(0);
    assert_eq!(scene.rows(sql), ["-10000 1 1", "100000 2 0", "110000 1 0"]);
    // By the records: the first window's end and grace are over.
    scene.take(&[at(4, 115_000)]);
    scene.sweep(0);
    assert_eq!(scene.rows(sql), ["-10000 1 1", "100000 2 1", "110000 2 0"]);
    // By the clock, and nothing comes any more.
    scene.sweep(124_999);
    assert_eq!(scene.rows(sql), ["100000 2 1", "110000 2 0"], "the first one ended 100 s ago");
    scene.sweep(125_000);
    assert_eq!(scene.rows(sql), ["100000 2 1", "110000 2 1"]);
    let written = |scene: &Scene| scene.rows("SELECT total_changes() || ''");
    let before = written(&scene);
    scene.sweep(125_001);
    assert_eq!(written(&scene), before, "nothing is written while nothing closes");
    scene.take(&[at(5, 100_500)]);
    assert_eq!(scene.rows(sql)[0], "100000 3 1");
    // A clock that is wrong by decades takes nothing away, nor does a record that is.
    scene.sweep(4_000_000_000_000);
    assert_eq!(scene.rows(sql).len(), 2, "{:?}", scene.rows(sql));
    scene.take(&[at(6, 4_000_000_000_000)]);
    scene.sweep(210_000);
    assert_eq!(scene.rows(sql), ["110000 2 1", "4000000000000 1 0"], "100 s behind its end");
}

#[test]
fn records_are_filtered_and_projected() {
    let alarms = Select {
        topic: "ais".into(),
        key: "mmsi".into(),
        columns: columns(&[("sog", "$.sog"), ("name", "coalesce(:value->>'$.name', '?')")]),
        filter: Some(":value->>'$.sog' > 20".into()),
        keep_ms: Some(60_000),
    };
    let positions = positions();
    let mut scene = Scene::of(alarms.definition("alarms"));
    scene.take(&records(&positions));
    let fast =
        positions.iter().filter(|(value, _)| value["sog"].as_f64().is_some_and(|sog| sog > 20.0));
    let told = |(value, record): &(Value, Record)| {
        let name = value["name"].as_str().unwrap_or("?");
        format!("{} {} {name} {}", value["mmsi"], value["sog"], record.coordinates.offset)
    };
    let expected: Vec<_> = fast.clone().map(told).collect();
    assert!(expected.len() > 10);
    let sql =
        "SELECT mmsi || ' ' || sog || ' ' || name || ' ' || \"offset\" FROM alarms ORDER BY id";
    assert_eq!(scene.rows(sql), expected);
    let newest = scene.progress.watermark.unwrap();
    scene.sweep(newest);
    let kept = fast.filter(|(_, record)| record.timestamp_ms > newest - 60_000).count();
    assert_eq!(scene.rows(sql).len(), kept);
    assert!(kept < expected.len());
}

#[test]
fn of_the_newest_records_those_that_meet_a_condition_are_there() {
    let latest = Latest {
        topic: "ais".into(),
        key: "mmsi".into(),
        columns: columns(&[("sog", "$.sog")]),
        filter: Some(":value->>'$.sog' > 5".into()),
    };
    let mut scene = Scene::of(latest.definition("fast"));
    let sql = "SELECT mmsi || ' ' || sog FROM fast ORDER BY 1";
    let said = |offset, key, sog| {
        let value = format!("{{\"sog\":{sog}}}");
        record(offset, key, Some(&value), offset as i64)
    };
    scene.take(&[said(0, "a", "7"), said(1, "b", "9"), said(2, "c", "1"), said(3, "d", "null")]);
    assert_eq!(scene.rows(sql), ["a 7", "b 9"]);
    scene.take(&[said(4, "b", "2"), said(5, "c", "6"), record(6, "a", None, 6)]);
    assert_eq!(scene.rows(sql), ["c 6"]);
}

#[test]
fn what_comes_late_on_the_right_is_joined_to_what_was_there_before() {
    let side = |topic: &str, key: &str, pairs: &[(&str, &str)]| Latest {
        topic: topic.into(),
        key: key.into(),
        columns: columns(pairs),
        filter: None,
    };
    let join = |inner: bool| Join {
        left: side("ais", "mmsi", &[("sog", "$.sog"), ("owner", "$.owner")]),
        right: side("owners", "id", &[("called", "$.called")]),
        on: "owner".into(),
        inner,
    };
    let of = |topic: &str, offset: u64, key: &str, value: Option<&str>| {
        let mut record = record(offset, key, value, offset as i64);
        record.coordinates.stream.topic = topic.into();
        record
    };
    let sql = "SELECT mmsi || ' ' || coalesce(called, '-') FROM v ORDER BY mmsi";
    let (mut inner, mut left) =
        (Scene::of(join(true).definition("v")), Scene::of(join(false).definition("v")));
    let steps: [(Record, &[&str], &[&str]); 5] = [
        (of("ais", 0, "a", Some("{\"sog\":1,\"owner\":\"x\"}")), &[], &["a -"]),
        (of("ais", 1, "b", Some("{\"sog\":1,\"owner\":\"y\"}")), &[], &["a -", "b -"]),
        (of("owners", 0, "x", Some("{\"called\":\"Xi\"}")), &["a Xi"], &["a Xi", "b -"]),
        (of("ais", 2, "b", Some("{\"owner\":\"x\"}")), &["a Xi", "b Xi"], &["a Xi", "b Xi"]),
        (of("owners", 1, "x", None), &[], &["a -", "b -"]),
    ];
    for (record, of_inner, of_left) in steps {
        inner.take(std::slice::from_ref(&record));
        left.take(std::slice::from_ref(&record));
        assert_eq!(
            (inner.rows(sql), left.rows(sql)),
            (
                of_inner.iter().map(|s| (*s).into()).collect(),
                of_left.iter().map(|s| (*s).into()).collect()
            )
        );
    }
}

#[test]
fn what_a_form_cannot_be_is_told() {
    let wrong = |aggregate: Aggregate| aggregate.definition("v").unwrap_err();
    let with =
        |name: &str, text: &str| Aggregate { columns: columns(&[(name, text)]), ..counted(None) };
    assert!(wrong(with("n", "median($.x)")).contains("`median($.x)` is nothing to compute"));
    assert!(wrong(with("n", "count(")).contains("is nothing to compute"));
    assert!(wrong(with("n", "sum(x)")).contains("write `$.x`"));
    assert!(wrong(with("end", "count")).contains("`end` cannot be a column here"));
    assert!(
        wrong(Aggregate { columns: Columns::new(), ..counted(None) }).contains("compute something")
    );
    let many = Some(windows(200_000, 1_000));
    assert!(wrong(counted(many)).contains("more than 100 windows"));
    assert!(wrong(counted(Some(windows(1_000, 2_000)))).contains("at least once"));
    let both = Aggregate { of_latest: true, ..counted(Some(windows(1_000, 1_000))) };
    assert!(wrong(both).contains("`window` is of records"));
    let twice = Aggregate { by: columns(&[("n", "$.n")]), ..counted(None) };
    assert!(wrong(twice).contains("two columns `n`"));
    let names: BTreeSet<_> = counted(None).definition("v").unwrap().topics().into_iter().collect();
    assert_eq!(names, BTreeSet::from(["ais".to_owned()]));
}
