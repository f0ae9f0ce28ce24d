//! Views of a node in memory, and what happens to their file.

use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use crate::api::tests::memory::Memory;
use crate::api::{AppendRequest, Backend, QueryRequest, ViewState, ViewStatus};
use crate::event_json::Event;
use crate::views::definition::tests::{definition, latest};
use crate::views::definition::{Definition, Retention};
use crate::views::{Keeping, Views, keep, query};

const PATIENCE: Duration = Duration::from_secs(30);

pub(in crate::views) struct Scene {
    pub(in crate::views) folder: TempDir,
    pub(in crate::views) node: Memory,
}

impl Scene {
    pub(in crate::views) fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), node: Memory::default() }
    }

    pub(in crate::views) async fn append(&self, keys: impl IntoIterator<Item = u64>) {
        let event = |key: u64| Event {
            key: Some(Bytes::from(key.to_string())),
            timestamp_ms: Some(i64::try_from(key).unwrap()),
            ..Event::of(1, Bytes::from(format!("{{\"lat\":{key},\"lon\":1}}")))
        };
        let events = keys.into_iter().map(event).collect();
        let (topic, partition, producer) = ("ais".to_owned(), None, None);
        let request = AppendRequest { request: 1, topic, partition, producer, events };
        self.node.append(request).await.unwrap().await.unwrap();
    }

    pub(in crate::views) fn keep(&self, wanted: &[Definition]) -> (Views, Keeping) {
        keep(self.node.clone(), self.folder.path(), wanted.to_vec(), (32 << 20, 4))
            .unwrap()
            .unwrap()
    }

    pub(in crate::views) fn ask(&self, sql: &str) -> String {
        let path = self.folder.path().join(crate::views::FILE_NAME);
        match query(&path, &QueryRequest::new(sql)) {
            Ok(reply) => serde_json::to_string(&reply.rows).unwrap(),
            Err(error) => error.to_string(),
        }
    }

    pub(in crate::views) async fn until(
        &self,
        views: &Views,
        mut wanted: impl FnMut(&Vec<ViewStatus>) -> bool,
    ) {
        let mut board = views.board();
        let came = tokio::time::timeout(PATIENCE, board.wait_for(|board| wanted(&board.views)));
        let came = came.await.is_ok();
        assert!(came, "waited in vain: {:?}", views.board().borrow());
    }
}

pub(in crate::views) fn has(name: &str, records: u64) -> impl FnMut(&Vec<ViewStatus>) -> bool {
    move |views| views.iter().any(|view| view.view == name && view.records == records)
}

fn broken_view() -> Definition {
    definition("broken", "CREATE TABLE b(x", "DELETE FROM b", &[])
}

const COUNT: &str = "SELECT count(*) FROM latest";

#[tokio::test]
async fn a_broken_view_is_told_and_the_others_run() {
    let scene = Scene::new();
    scene.append(0..10).await;
    let (views, keeping) = scene.keep(&[broken_view(), latest()]);
    scene.until(&views, has("latest", 10)).await;
    let board = views.board().borrow().clone();
    assert_eq!(board.views[0].state, ViewState::Failed);
    assert_eq!(board.views[0].reason.as_deref(), Some("`ddl`: incomplete input"));
    assert_eq!(scene.ask(COUNT), "[[10]]");
    assert_eq!(
        scene.ask("SELECT view, state, caught_up, link FROM _status ORDER BY 1"),
        "[[\"broken\",\"failed\",0,\"root\"],[\"latest\",\"running\",1,\"root\"]]"
    );
    assert_eq!(
        scene.ask("SELECT view, place, log_end FROM _status ORDER BY 1"),
        "[[\"broken\",0,10],[\"latest\",10,10]]"
    );
    scene.append(10..12).await;
    scene.until(&views, has("latest", 12)).await;
    keeping.stop().await;
    assert_eq!(scene.ask("SELECT running FROM _node"), "[[0]]");
    // What is not read yet is told at the next start.
    scene.append(12..20).await;
    let (views, keeping) = scene.keep(&[broken_view()]);
    scene.until(&views, |views| views.iter().any(|view| view.view == "broken")).await;
    assert_eq!(scene.ask("SELECT place, log_end FROM _status"), "[[0,20]]");
    keeping.stop().await;
}

#[tokio::test]
async fn a_view_goes_on_where_it_was() {
    let scene = Scene::new();
    scene.append(0..5_000).await;
    let (views, keeping) = scene.keep(&[latest()]);
    scene.until(&views, |views| views.iter().any(|view| view.records > 0)).await;
    keeping.stop().await;
    scene.append(5_000..6_000).await;
    let (views, keeping) = scene.keep(&[latest()]);
    scene.until(&views, has("latest", 6_000)).await;
    assert_eq!(views.board().borrow().views[0].generation, 1);
    assert_eq!(scene.ask(COUNT), "[[6000]]");
    keeping.stop().await;
    let (views, keeping) = scene.keep(&[]);
    scene.until(&views, Vec::is_empty).await;
    keeping.stop().await;
    assert!(scene.ask(COUNT).contains("no such table"), "what nobody wants is dropped");
}

#[tokio::test]
async fn a_changed_definition_is_built_beside_the_old_rows_and_takes_their_place() {
    let scene = Scene::new();
    scene.append(0..5_000).await;
    let (views, keeping) = scene.keep(&[latest()]);
    scene.until(&views, has("latest", 5_000)).await;
    keeping.stop().await;
    let reader = rusqlite::Connection::open(scene.folder.path().join("views.db")).unwrap();
    let columns = |reader: &rusqlite::Connection| {
        let mut statement = reader.prepare("SELECT * FROM latest").unwrap();
        let mut rows = statement.query([]).unwrap();
        rows.next().unwrap();
        rows.as_ref().unwrap().column_count()
    };
    reader.execute_batch("BEGIN").unwrap();
    assert_eq!(columns(&reader), 7);
    let wide = "CREATE TABLE latest(k TEXT PRIMARY KEY, n INTEGER DEFAULT 7, g AS (n + 1)); \
        CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, k); \
        CREATE INDEX by_n ON latest(n); CREATE VIEW top AS SELECT k FROM latest; \
        CREATE TRIGGER t AFTER INSERT ON latest BEGIN INSERT INTO log(k) VALUES(new.k); END";
    let wide = definition("latest", wide, "INSERT INTO latest(k) VALUES(:key)", &[]);
    let (views, keeping) = scene.keep(std::slice::from_ref(&wide));
    scene.until(&views, |views| views.iter().any(|view| view.generation == 2)).await;
    assert_eq!(columns(&reader), 7, "a reader keeps what it saw");
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(columns(&reader), 3);
    let all = "SELECT count(*), sum(n), sum(g), (SELECT count(*) FROM log), \
        (SELECT count(*) FROM top) FROM latest";
    assert_eq!(scene.ask(all), "[[5000,35000,40000,5000,5000]]");
    scene.append(5_000..5_010).await;
    scene.until(&views, has("latest", 5_010)).await;
    assert_eq!(scene.ask("SELECT max(id) FROM log"), "[[5010]]");
    assert!(!scene.folder.path().join("views.latest.next.db").exists());
    keeping.stop().await;
    let broken = Definition { ddl: "CREATE TABLE latest(".to_owned(), ..wide };
    let (views, keeping) = scene.keep(&[broken]);
    scene.until(&views, |views| views.iter().any(|view| view.reason.is_some())).await;
    scene.append(5_010..5_020).await;
    scene.until(&views, has("latest", 5_020)).await;
    let view = views.board().borrow().views[0].clone();
    assert_eq!((view.generation, view.state), (2, ViewState::Running));
    assert!(view.reason.unwrap().starts_with("the new definition is not used: `ddl`"));
    keeping.stop().await;
}

#[tokio::test]
async fn a_file_that_is_taken_away_is_made_anew() {
    let scene = Scene::new();
    scene.append(0..100).await;
    let (views, keeping) = scene.keep(&[latest()]);
    scene.until(&views, has("latest", 100)).await;
    for end in ["", "-wal", "-shm"] {
        std::fs::remove_file(scene.folder.path().join(format!("views.db{end}"))).unwrap();
    }
    scene.append(100..101).await;
    scene.until(&views, has("latest", 101)).await;
    assert_eq!(scene.ask(COUNT), "[[101]]");
    keeping.stop().await;
}

#[tokio::test]
async fn a_reader_that_holds_a_transaction_is_noticed_and_holds_nothing_up() {
    let scene = Scene::new();
    scene.append(0..100).await;
    let (views, keeping) = scene.keep(&[latest()]);
    scene.until(&views, has("latest", 100)).await;
    let path = scene.folder.path().join("views.db");
    let reader = rusqlite::Connection::open(path).unwrap();
    let count = || reader.query_row(COUNT, [], |row| row.get::<_, i64>(0)).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    assert_eq!(count(), 100);
    scene.append(100..200).await;
    scene.until(&views, has("latest", 200)).await;
    let mut board = views.board();
    let held = board.wait_for(|board| board.held_since_ms.is_some());
    tokio::time::timeout(PATIENCE, held).await.unwrap().unwrap();
    scene.append(200..300).await;
    scene.until(&views, has("latest", 300)).await;
    assert_eq!(count(), 100, "it sees what it saw");
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(count(), 300);
    let free = board.wait_for(|board| board.held_since_ms.is_none());
    tokio::time::timeout(PATIENCE, free).await.unwrap().unwrap();
    keeping.stop().await;
}

#[tokio::test]
async fn a_reader_that_finds_the_file_damaged_has_it_made_anew() {
    let scene = Scene::new();
    scene.append(0..3_000).await;
    let (views, keeping) = scene.keep(&[latest()]);
    scene.until(&views, has("latest", 3_000)).await;
    keeping.stop().await;
    let (views, keeping) = scene.keep(&[latest()]);
    scene.until(&views, has("latest", 3_000)).await;
    let path = scene.folder.path().join("views.db");
    let bytes = std::fs::metadata(&path).unwrap().len();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    use std::os::unix::fs::FileExt as _;
    file.write_all_at(&vec![0xee; usize::try_from(bytes).unwrap() - 4_096 * 3], 4_096 * 3).unwrap();
    assert_ne!(scene.ask(COUNT), "[[3000]]");
    let asked = views.query(QueryRequest::new("SELECT sum(lat) FROM latest")).await;
    assert_eq!(asked.unwrap_err().code, crate::api::ErrorCode::Internal);
    // The file may be whole again by now.
    scene.until(&views, |_| scene.ask(COUNT) == "[[3000]]").await;
    keeping.stop().await;
}

#[tokio::test]
async fn rows_of_another_log_are_made_anew() {
    let scene = Scene::new();
    scene.append(0..100).await;
    let (views, keeping) = scene.keep(&[latest()]);
    scene.until(&views, has("latest", 100)).await;
    keeping.stop().await;
    let file = rusqlite::Connection::open(scene.folder.path().join("views.db")).unwrap();
    let ghost = "INSERT INTO latest(mmsi, gone) VALUES('ghost', 0); \
        UPDATE _positions SET log = '00000000000000ff'";
    file.execute_batch(ghost).unwrap();
    drop(file);
    let (views, keeping) = scene.keep(&[latest()]);
    scene.until(&views, |views| views.iter().any(|view| view.generation == 2)).await;
    scene.until(&views, has("latest", 100)).await;
    assert_eq!(scene.ask(COUNT), "[[100]]", "the ghost is gone");
    keeping.stop().await;
}

#[tokio::test]
async fn what_is_old_is_swept() {
    let scene = Scene::new();
    scene.append(0..100).await;
    let sql = "DELETE FROM latest WHERE at < :watermark - 9".to_owned();
    let swept = Definition {
        retention: Some(Retention { statements: vec![sql], every_ms: 20 }),
        ..latest()
    };
    let (views, keeping) = scene.keep(&[swept]);
    scene.until(&views, has("latest", 100)).await;
    let path = scene.folder.path().join("views.db");
    let reader = rusqlite::Connection::open(path).unwrap();
    let came = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        while reader.query_row(COUNT, [], |row| row.get::<_, i64>(0)).unwrap() != 10 {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, came).await.unwrap();
    keeping.stop().await;
}
