//! What views of a node in memory derive, and what happens to it.

use std::collections::BTreeMap;

use super::*;
use crate::api::{ViewState, ViewStatus};
use crate::event_json::Record;
use crate::views::apply::tests::{opened, page, record, whole};
use crate::views::apply::{Applying, apply};
use crate::views::definition::tests::latest;
use crate::views::definition::{Definition, Source};
use crate::views::file::ViewFile;
use crate::views::keeper::make_in;
use crate::views::keeper::tests::{Scene, has};
use crate::views::swap::swap;

/// An alarm for each tenth position.
const ALARM: &str = "SELECT 'v' || :key AS key, json_object('n', :key + 0) AS value, \
     json_object('unit', 'kn') AS headers WHERE :key % 10 = 0";

/// The view of latest positions, which derives something too.
fn deriving(sql: &str) -> Definition {
    let mut view = latest();
    let emit = BTreeMap::from([("alarms".to_owned(), vec![sql.to_owned()])]);
    view.sources.get_mut("ais").unwrap().emit = emit;
    view
}

/// The same without rows.
fn rule(sql: &str) -> Definition {
    let emit = BTreeMap::from([("alarms".to_owned(), vec![sql.to_owned()])]);
    let sources = BTreeMap::from([("ais".to_owned(), Source { emit, ..Source::default() })]);
    Definition { ddl: String::new(), sources, ..latest() }
}

/// All that the view derived is durable.
fn settled(records: u64) -> impl FnMut(&Vec<ViewStatus>) -> bool {
    let mut has = has("latest", records);
    move |views| has(views) && views.iter().all(|view| view.outbox == 0 && view.next.is_none())
}

fn keys(scene: &Scene) -> Vec<String> {
    let key = |record: &Record| String::from_utf8(record.key.clone().unwrap().into()).unwrap();
    scene.node.records("alarms").iter().map(key).collect()
}

fn header(record: &Record, name: &str) -> String {
    let found = record.headers.iter().find(|header| header.name == name).unwrap();
    String::from_utf8(found.value.clone().unwrap().into()).unwrap()
}

fn every_tenth(range: std::ops::Range<u64>) -> Vec<String> {
    range.filter(|key| key % 10 == 0).map(|key| format!("v{key}")).collect()
}

#[tokio::test]
async fn what_a_query_selects_becomes_records_that_name_their_causes() {
    for view in [deriving(ALARM), rule(ALARM)] {
        let scene = Scene::new();
        scene.append(0..3_000).await;
        let (views, keeping) = scene.keep(std::slice::from_ref(&view));
        scene.until(&views, settled(3_000)).await;
        scene.append(3_000..3_011).await;
        scene.until(&views, settled(3_011)).await;
        assert_eq!(keys(&scene), every_tenth(0..3_011));
        let last = scene.node.records("alarms").pop().unwrap();
        assert_eq!(last.value.as_deref(), Some(&b"{\"n\":3010}"[..]));
        assert_eq!((last.timestamp_ms, header(&last, "unit").as_str()), (3_010, "kn"));
        assert_eq!(header(&last, CAUSE).split('@').next(), Some("ship-17/ais/0"));
        assert_eq!(header(&last, BY), "latest/1");
        let told = views.board().borrow().views[0].clone();
        assert_eq!((told.derives, told.derived), (vec!["alarms".to_owned()], 302));
        keeping.stop().await;
    }
}

#[tokio::test]
async fn nothing_is_derived_again_when_the_file_is_lost() {
    for view in [deriving(ALARM), rule(ALARM)] {
        let scene = Scene::new();
        scene.append(0..500).await;
        let (views, keeping) = scene.keep(std::slice::from_ref(&view));
        scene.until(&views, settled(500)).await;
        keeping.stop().await;
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(scene.folder.path().join(format!("views.db{end}")));
        }
        scene.append(500..600).await;
        let (views, keeping) = scene.keep(std::slice::from_ref(&view));
        scene.until(&views, settled(600)).await;
        assert_eq!(keys(&scene), every_tenth(0..600));
        keeping.stop().await;
    }
}

#[tokio::test]
async fn a_file_that_a_power_cut_put_back_derives_nothing_twice_and_leaves_nothing_out() {
    for forgets in [true, false] {
        let scene = Scene::new();
        let path = |end: &str| scene.folder.path().join(format!("views.db{end}"));
        scene.append(0..500).await;
        let (views, keeping) = scene.keep(&[deriving(ALARM)]);
        scene.until(&views, settled(500)).await;
        keeping.stop().await;
        std::fs::copy(path(""), path(".before")).unwrap();
        scene.append(500..1_000).await;
        let (views, keeping) = scene.keep(&[deriving(ALARM)]);
        scene.until(&views, settled(1_000)).await;
        keeping.stop().await;
        std::fs::rename(path(".before"), path("")).unwrap();
        if forgets {
            scene.node.forget_producers();
        }
        scene.append(1_000..1_100).await;
        let (views, keeping) = scene.keep(&[deriving(ALARM)]);
        scene.until(&views, settled(1_100)).await;
        assert_eq!(keys(&scene), every_tenth(0..1_100));
        keeping.stop().await;
    }
}

#[tokio::test]
async fn what_was_sent_and_not_known_to_be_durable_is_written_once() {
    for forgets in [true, false] {
        let scene = Scene::new();
        scene.append(0..100).await;
        scene.node.set_synced(false);
        let (views, keeping) = scene.keep(&[deriving(ALARM)]);
        scene.until(&views, |views| views.iter().any(|view| view.outbox == 10)).await;
        keeping.stop().await;
        assert_eq!(keys(&scene).len(), 10, "they are in the log, and nobody knows");
        scene.node.set_synced(true);
        if forgets {
            scene.node.forget_producers();
        }
        let (views, keeping) = scene.keep(&[deriving(ALARM)]);
        scene.until(&views, settled(100)).await;
        assert_eq!(keys(&scene), every_tenth(0..100));
        keeping.stop().await;
    }
}

#[tokio::test]
async fn a_changed_definition_derives_from_where_the_old_one_was() {
    let scene = Scene::new();
    scene.append(0..500).await;
    let (views, keeping) = scene.keep(&[deriving(ALARM)]);
    scene.until(&views, settled(500)).await;
    keeping.stop().await;
    scene.append(500..600).await;
    let mut changed = deriving(&ALARM.replace("% 10 = 0", "% 100 = 5"));
    changed.ddl = changed.ddl.replace("lat REAL", "lat");
    let (views, keeping) = scene.keep(std::slice::from_ref(&changed));
    let is_second = |views: &Vec<ViewStatus>| views.iter().any(|view| view.generation == 2);
    scene.until(&views, is_second).await;
    scene.append(600..700).await;
    scene.until(&views, settled(700)).await;
    let mut expected = every_tenth(0..500);
    // Which of the two came to these is a race; each derives none of the other's.
    let found = keys(&scene);
    let of_old = found.iter().filter(|key| every_tenth(500..600).contains(key)).count();
    expected.extend(every_tenth(500..600).into_iter().take(of_old));
    expected.extend((of_old == 0).then(|| "v505".to_owned()));
    expected.push("v605".to_owned());
    assert_eq!(found, expected);
    assert!(of_old == 0 || of_old == 10, "{found:?}");
    let last = scene.node.records("alarms").pop().unwrap();
    assert_eq!(header(&last, BY), "latest/2");
    keeping.stop().await;
}

#[tokio::test]
async fn a_new_generation_waits_until_it_is_known_what_the_log_has() {
    let scene = Scene::new();
    scene.append(0..100).await;
    let (views, keeping) = scene.keep(&[deriving(ALARM)]);
    scene.until(&views, settled(100)).await;
    keeping.stop().await;
    let path = scene.folder.path().join("views.db");
    std::fs::remove_file(&path).unwrap();
    let (file, _) = ViewFile::open(&path).unwrap();
    make_in(&file, &deriving(ALARM), 1, &[]).map_err(|_| "refused").unwrap();
    drop(file);
    scene.node.set_tells(false);
    let mut changed = deriving(ALARM);
    changed.ddl = changed.ddl.replace("lat REAL", "lat");
    let (views, keeping) = scene.keep(std::slice::from_ref(&changed));
    let built = |view: &ViewStatus| view.next.as_ref().is_some_and(|next| next.records == 100);
    scene.until(&views, |views| views.iter().any(built)).await;
    scene.node.set_tells(true);
    let is_second = |views: &Vec<ViewStatus>| views.iter().any(|view| view.generation == 2);
    scene.until(&views, is_second).await;
    scene.append(100..120).await;
    scene.until(&views, settled(120)).await;
    assert_eq!(keys(&scene), every_tenth(0..120));
    keeping.stop().await;
}

#[tokio::test]
async fn a_changed_query_takes_effect_at_once_and_needs_no_rebuild() {
    let scene = Scene::new();
    scene.append(0..100).await;
    let (views, keeping) = scene.keep(&[deriving(ALARM)]);
    scene.until(&views, settled(100)).await;
    keeping.stop().await;
    scene.append(100..200).await;
    let (views, keeping) = scene.keep(&[deriving(&ALARM.replace("% 10 = 0", "% 100 = 5"))]);
    scene.until(&views, settled(200)).await;
    let mut expected = every_tenth(0..100);
    expected.push("v105".to_owned());
    assert_eq!(keys(&scene), expected);
    assert_eq!(views.board().borrow().views[0].generation, 1);
    keeping.stop().await;
    let (views, keeping) = scene.keep(&[deriving("SELECT nobody AS key")]);
    scene.until(&views, |views| views.iter().any(|view| view.reason.is_some())).await;
    scene.append(200..206).await;
    scene.until(&views, settled(206)).await;
    let reason = views.board().borrow().views[0].reason.clone().unwrap();
    assert!(reason.contains("`on.ais.emit.alarms`, line 1, column 8: no such column"), "{reason}");
    assert_eq!(keys(&scene).last().unwrap(), "v205", "the old one is used");
    keeping.stop().await;
}

#[tokio::test]
async fn a_row_that_is_no_record_is_refused_with_its_cause() {
    let wrong = [
        ("SELECT NULL AS key", "a derived record needs a `key` or a `value`"),
        ("SELECT 1 AS key, 'x' AS timestamp", "`timestamp` must be milliseconds since 1970"),
        ("SELECT 1 AS key, '[]' AS headers", "`headers` must be a JSON object"),
        (
            "SELECT 1 AS key, json_object('landfall.x', 1) AS headers",
            "headers with `landfall.` first are the node's own",
        ),
        ("SELECT zeroblob(250000) AS value", "at most 245760 fit"),
    ];
    for (sql, why) in wrong {
        let scene = Scene::new();
        scene.append(0..12).await;
        let (views, keeping) = scene.keep(&[deriving(&format!("{sql} WHERE :key = '7'"))]);
        scene.until(&views, settled(11)).await;
        let error = scene.ask("SELECT \"offset\", error FROM _errors");
        assert!(error.starts_with("[[7,") && error.contains(why), "{sql}: {error}");
        assert_eq!(scene.ask("SELECT count(*) FROM latest WHERE mmsi = '7'"), "[[0]]");
        keeping.stop().await;
    }
}

#[tokio::test]
async fn a_view_waits_for_a_log_that_refuses_and_says_why() {
    let scene = Scene::new();
    scene.append(0..100).await;
    scene.node.set_room(105);
    let (views, keeping) = scene.keep(&[deriving(ALARM)]);
    let waits = |views: &Vec<ViewStatus>| views.iter().any(|v| v.state == ViewState::Waiting);
    scene.until(&views, waits).await;
    let told = views.board().borrow().views[0].clone();
    assert!(told.reason.unwrap().contains("what it derives is refused: lane `normal` is full"));
    assert_eq!((told.records, told.outbox), (100, 10), "the rows are there");
    scene.node.set_room(1_000);
    scene.until(&views, settled(100)).await;
    assert_eq!(keys(&scene), every_tenth(0..100));
    keeping.stop().await;
}

#[tokio::test]
async fn a_view_that_derives_faster_than_the_log_takes_waits_for_it() {
    let scene = Scene::new();
    let many = "SELECT :key AS key, value FROM json_each('[1,2,3,4]')";
    scene.append(0..20_000).await;
    let (views, keeping) = scene.keep(&[rule(many)]);
    let mut most = 0;
    let all = |views: &Vec<ViewStatus>| {
        most = views.iter().map(|view| view.outbox).max().unwrap_or(0).max(most);
        settled(20_000)(views)
    };
    scene.until(&views, all).await;
    assert!(most < 40_000, "{most} waited");
    assert_eq!(keys(&scene).len(), 80_000);
    keeping.stop().await;
}

/// What waits in a file, by the key of its cause's place.
fn places(file: &ViewFile) -> Vec<u64> {
    let sql = "SELECT commit_no FROM _outbox WHERE view = 'latest' ORDER BY id";
    let mut statement = file.connection.prepare(sql).unwrap();
    let places = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap();
    places.map(|place| place.unwrap().unsigned_abs()).collect()
}

/// Applies records with these offsets; each of them derives one, behind a place.
fn derive(file: &ViewFile, offsets: std::ops::Range<u64>, after: Option<LogPlace>) {
    let view = deriving("SELECT :key AS key");
    let records: Vec<_> = offsets.map(|n| record(n, &n.to_string(), Some("{}"), 0)).collect();
    let derivation = Derivation { after, ..begun(&file.connection, "latest", 1).unwrap() };
    let known = Derived::default();
    let deriving = Deriving { derivation: &derivation, known: &known, partition_of: &|_, _| 0 };
    let applying = Applying { file, definition: &view, deriving: Some(&deriving) };
    let before = file.progress("latest").unwrap();
    whole(apply(applying, &before, &page(&records), 0).unwrap());
}

#[test]
fn a_new_generation_derives_behind_what_the_old_one_has_come_to() {
    let (folder, file) = opened(&deriving("SELECT :key AS key"));
    put_derivation(&file.connection, "latest").unwrap();
    derive(&file, 0..3, None);
    let path = folder.path().join("next.db");
    let (next, _) = ViewFile::open(&path).unwrap();
    make_in(&next, &deriving("SELECT :key AS key"), 2, &[]).map_err(|_| "refused").unwrap();
    derive(&next, 0..9, Some((2, 0)));
    assert_eq!(places(&next), [3, 4, 5, 6, 7, 8, 9], "a record at offset n ends commit n + 1");
    assert_eq!(begun(&next.connection, "latest", 2).unwrap().after, Some((2, 0)));
    drop(next);
    swap(&file, &path, "latest", Some((5, 0))).unwrap();
    let waiting = [1, 2, 3, 6, 7, 8, 9];
    assert_eq!(places(&file), waiting, "the old one's stays, the new one's from there on comes");
    assert_eq!(begun(&file.connection, "latest", 2).unwrap().after, Some((5, 0)));
}
