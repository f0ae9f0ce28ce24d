//! Questions to the views of a running node: behind a position, and again whenever the answer is
//! another one.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::api::{
    ApiError, Client, ClientError, FollowEvent, QueryRequest, ReceiptLine, Target, serve_connection,
};

/// How long anything may take that a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);

const VIEWS: &str = r#"
[view.busy]
ddl = "CREATE TABLE busy(one INTEGER PRIMARY KEY, n INTEGER)"
[view.busy.on.busy]
put = "INSERT INTO busy VALUES(1, 1) ON CONFLICT DO UPDATE SET n = n + 1"
[view.quiet.latest]
topic = "quiet"
[view.halts]
ddl = "CREATE TABLE halts(a INTEGER NOT NULL)"
on_error = "halt"
[view.halts.on.bad]
put = "INSERT INTO halts VALUES(:value->>'$.a')"
"#;

const BUSY: &str = "SELECT coalesce(sum(n), 0) FROM busy";
const QUIET: &str = "SELECT count(*) FROM quiet";

/// A node with views, and a client of its API.
struct Scene {
    _folder: TempDir,
    daemon: Daemon,
    client: Client,
    _serves: watch::Sender<bool>,
}

impl Scene {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        create(folder.path(), "ship", None, "").unwrap();
        std::fs::write(folder.path().join("landfall.toml"), VIEWS).unwrap();
        let config = Config::load(None, folder.path(), []).unwrap();
        let mut daemon =
            Daemon::start(open(folder.path(), config.clone()).unwrap(), false).unwrap();
        daemon.keep_views(&config, folder.path()).unwrap();
        let (serves, stop) = watch::channel(false);
        let handle = daemon.handle.clone();
        let connect = move || {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            tokio::spawn(serve_connection(theirs, handle.clone(), 1 << 16, stop.clone()));
            ours
        };
        let client = Client::new(Target::InProcess(Arc::new(connect)));
        Self { _folder: folder, daemon, client, _serves: serves }
    }

    /// Appends a line; gives its coordinates.
    async fn append(&self, topic: &str, line: &'static str) -> String {
        let body = Full::new(Bytes::from_static(line.as_bytes()));
        let mut lines = self.client.append(topic, "", body).await.unwrap();
        let receipt = lines.next().await.unwrap().unwrap();
        let receipt: ReceiptLine = serde_json::from_slice(&receipt).unwrap();
        receipt.written[0].first.clone()
    }

    async fn ask(&self, sql: &str, place: &str, wait_max_ms: u64) -> Result<Value, ApiError> {
        let min_position = Some(place.to_owned());
        let request = QueryRequest { min_position, wait_max_ms, ..QueryRequest::new(sql) };
        match self.client.query(&request).await {
            Ok(reply) => Ok(json!(reply.rows)),
            Err(ClientError::Refused(error)) => Err(error),
            Err(error) => panic!("{error}"),
        }
    }
}

fn number(event: &FollowEvent) -> u64 {
    let data: Value = serde_json::from_slice(&event.data).unwrap();
    data["rows"][0][0].as_u64().unwrap()
}

#[tokio::test]
async fn what_was_appended_is_seen_behind_its_position() {
    let scene = Scene::new();
    for n in 1..=100 {
        let place = scene.append("busy", "{}").await;
        assert_eq!(scene.ask(BUSY, &place, 30_000).await, Ok(json!([[n]])));
    }
    // What holds nothing for a view is behind it all the same.
    let place = scene.append("other", "{}").await;
    assert_eq!(scene.ask(BUSY, &place, 5_000).await, Ok(json!([[100]])));
    scene.daemon.stop().await;
}

#[tokio::test]
async fn a_position_that_does_not_come_is_told_and_one_that_comes_is_waited_for() {
    let scene = Scene::new();
    scene.append("busy", "{}").await;
    let error = scene.ask(BUSY, "ship/busy/0@1", 50).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NotYet);
    let error = scene.ask(BUSY, "ffff-1-1-1", 50).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Gone, "a cursor of another log");
    assert_eq!(scene.ask(BUSY, "soon", 50).await.unwrap_err().code, ErrorCode::BadRequest);
    let (answer, _) = tokio::join!(scene.ask(BUSY, "ship/busy/0@1", 30_000), async {
        tokio::task::yield_now().await;
        scene.append("busy", "{}").await
    });
    assert_eq!(answer, Ok(json!([[2]])));
    let place = scene.append("bad", "{}").await;
    let error = scene.ask("SELECT * FROM halts", &place, 30_000).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Conflict, "{error}");
    assert!(error.message.contains("`halts` has stopped"), "{error}");
    let told = scene.ask(BUSY, &place, 30_000).await;
    assert_eq!(told, Ok(json!([[2]])), "another view that stopped stops no question");
    scene.daemon.stop().await;
}

#[tokio::test]
async fn under_a_thousand_writes_a_second_no_change_is_missed_and_none_is_a_phantom() {
    const WRITES: u64 = 2_000;
    let scene = Scene::new();
    // The views may not be there yet.
    let patient = |sql| QueryRequest { time_max_ms: 30_000, ..QueryRequest::new(sql) };
    let mut busy = scene.client.live(&patient(BUSY), None).await.unwrap();
    let mut quiet = scene.client.live(&patient(QUIET), None).await.unwrap();
    assert_eq!(number(&quiet.next().await.unwrap().unwrap()), 0);
    let mut producer = scene.daemon.handle.producer("busy", 0);
    let writing = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        for _ in 0..WRITES / 10 {
            ticks.tick().await;
            for _ in 0..10 {
                producer.append(None, None, Some(b"{}")).await.unwrap();
            }
        }
        producer.flush().await.unwrap();
    };
    let following = async {
        let (mut last, mut events) = (None, 0);
        while last.as_ref().is_none_or(|last| number(last) < WRITES) {
            let event = tokio::time::timeout(PATIENCE, busy.next()).await.unwrap();
            let event = event.unwrap().unwrap();
            let before = last.as_ref().map(number);
            assert!(before < Some(number(&event)), "{before:?}, then {event:?}");
            (last, events) = (Some(event), events + 1);
        }
        (last.unwrap(), events)
    };
    let (_, (last, events)) = tokio::join!(writing, following);
    assert!(events > 5, "{events} answers");

    // Nothing was told of a table that nobody wrote; and what is written is told.
    let body = Full::new(Bytes::from_static(b"{\"k\":1}\n"));
    let mut lines = scene.client.append("quiet", "key_field=k", body).await.unwrap();
    lines.next().await.unwrap();
    let event = tokio::time::timeout(PATIENCE, quiet.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(number(&event), 1);

    // Who comes again with the last answer gets only another one.
    drop(busy);
    let mut again = scene.client.live(&QueryRequest::new(BUSY), Some(&last.id)).await.unwrap();
    scene.append("busy", "{}").await;
    let event = tokio::time::timeout(PATIENCE, again.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(number(&event), WRITES + 1);
    scene.daemon.stop().await;
}
