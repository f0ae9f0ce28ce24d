//! Views of a running node: other programs read them, and nothing that happens to the node or to
//! their file makes them wrong.

use std::collections::BTreeMap;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use landfall::api::{QueryRequest, Status, ViewState, ViewStatus};
use landfall::demo::Sample;
use landfall::views;
use landfall_simulation::rng::Rng;
use landfall_tests::process::{NodeDir, PATIENCE, Program, Running, pause, until};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};

mod dead;
mod derived;
mod holding;
mod kills;
mod memory;
mod short;
mod verify;

/// The newest position of each vessel, and how many there were: what is applied twice, or not at
/// all, changes the count.
const LATEST: &str = r#"
ddl = """
CREATE TABLE latest(
  mmsi TEXT PRIMARY KEY, lat REAL NOT NULL, lon REAL, at INTEGER, origin TEXT, off INTEGER,
  n INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX latest_at ON latest(at);
"""
[on.ais]
put = [
"""
INSERT INTO latest VALUES(
  :key, :value->>'$.lat', :value->>'$.lon', :timestamp, :origin, :offset, 1)
ON CONFLICT(mmsi) DO UPDATE SET n = n + 1
""",
"""
UPDATE latest SET lat = :value->>'$.lat', lon = :value->>'$.lon', at = :timestamp,
  origin = :origin, off = :offset
WHERE mmsi = :key AND (:timestamp, :origin, :offset) > (at, origin, off)
""",
]
"#;
const DUMP: &str = "SELECT * FROM latest ORDER BY mmsi";

/// A node without any other, and what it keeps.
struct Alone {
    _dir: TempDir,
    node: NodeDir,
}

impl Alone {
    /// Makes a node with a view of positions.
    async fn with(view: &str) -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let node = NodeDir::new(&Program::find()?, dir.path().join("ship"));
        node.done("init", &["--site", "ship"]).await?;
        std::fs::create_dir(node.path.join("views"))?;
        std::fs::write(node.path.join("views/latest.toml"), view)?;
        Ok(Self { _dir: dir, node })
    }

    async fn append(&self, lines: &[&str]) -> io::Result<String> {
        self.append_to("ais", lines).await
    }

    async fn append_to(&self, topic: &str, lines: &[&str]) -> io::Result<String> {
        let path = self.node.path.with_extension("in");
        std::fs::write(&path, lines.join("\n") + "\n")?;
        let words = [topic, &path.to_string_lossy(), "--key-field", "mmsi", "--time-field", "time"];
        self.node.done("append", &words).await
    }

    async fn ask(&self, sql: &str) -> io::Result<Vec<Value>> {
        let out = self.node.done("query", &[sql, "--json", "--max", "100000"]).await?;
        out.lines().map(|line| serde_json::from_str(line).map_err(io::Error::other)).collect()
    }
}

/// The bundled sample of real positions.
fn sample() -> String {
    let sample = Sample::unpack();
    sample.lines(0..sample.count()).to_owned()
}

/// The view `latest`, if its statements have settled so many records.
fn settled(records: u64) -> impl FnMut(Status) -> Option<ViewStatus> {
    move |status| {
        let view = status.views.into_iter().find(|view| view.view == "latest")?;
        (view.records + view.errors == records && view.caught_up).then_some(view)
    }
}

async fn all(runs: &mut Running, records: u64) -> ViewStatus {
    let what = format!("all of {records} records are in the view");
    runs.until(&what, settled(records)).await.unwrap()
}

const READER: &str = r#"
import sqlite3, sys
views = sqlite3.connect("file:" + sys.argv[1] + "?mode=ro", uri=True, timeout=5)
views.execute("PRAGMA query_only=1")
asked, last = 0, 0
while True:
    found, total = views.execute("SELECT count(*), coalesce(sum(n), 0) FROM latest").fetchone()
    views.execute("BEGIN")
    one = views.execute("SELECT coalesce(sum(n), 0) FROM latest").fetchone()[0]
    two = views.execute("SELECT coalesce(records, 0) FROM _status").fetchone()[0]
    views.execute("COMMIT")
    assert one == two, f"rows of {one} records beside the position of {two}"
    assert last <= total, "rows went away"
    asked, last = asked + 1, total
    if asked == 1: print("reads", flush=True)
    if total == int(sys.argv[2]): break
try:
    views.execute("DELETE FROM latest")
    print("it could write")
except sqlite3.OperationalError:
    print(found, total, asked)
"#;

#[tokio::test]
async fn python_reads_the_latest_positions_while_they_are_written() {
    let alone = Alone::with(LATEST).await.unwrap();
    let sample = sample();
    let lines: Vec<&str> = sample.lines().collect();
    let mut runs = alone.node.run_up().await.unwrap();
    all(&mut runs, 0).await;
    let path = alone.node.path.join(views::FILE_NAME);
    let mut python = tokio::process::Command::new("python3");
    let path = path.to_string_lossy();
    python.args(["-c", READER, &path, &lines.len().to_string()]);
    let mut python = python.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut told = BufReader::new(python.stdout.take().unwrap()).lines();
    assert_eq!(told.next_line().await.unwrap().as_deref(), Some("reads"));
    for part in lines.chunks(250) {
        alone.append(part).await.unwrap();
    }
    let last = tokio::time::timeout(PATIENCE, told.next_line()).await.unwrap().unwrap().unwrap();
    assert!(last.starts_with("4264 5000 "), "{last}");
    let asked: u64 = last.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(asked > 10, "{last}");
    let rows = alone.ask(DUMP).await.unwrap();
    let mut expected = BTreeMap::new();
    for line in &lines {
        let value: Value = serde_json::from_str(line).unwrap();
        let time = value["time"].as_str().unwrap().to_owned();
        let newest =
            expected.entry(value["mmsi"].to_string()).or_insert_with(|| (time.clone(), vec![]));
        if time > newest.0 {
            *newest = (time, vec![]);
        }
        if value["time"] == newest.0.as_str() {
            newest.1.push(value["lat"].as_f64().unwrap());
        }
    }
    // Of positions at the same time, the last one counts.
    for row in &rows {
        let (_, lats) = &expected[row["mmsi"].as_str().unwrap()];
        assert_eq!(row["lat"].as_f64(), lats.last().copied(), "{row}");
    }
    assert_eq!(rows.len(), expected.len());
    assert!(runs.terminate().await.unwrap().success());
    assert_eq!(alone.ask(DUMP).await.unwrap(), rows, "also while the node does not run");
}

#[tokio::test]
async fn a_view_that_is_killed_20_times_equals_one_that_is_made_anew() {
    let alone = Alone::with(LATEST).await.unwrap();
    let sample = sample();
    let lines: Vec<&str> = sample.lines().collect();
    let seed = landfall::entropy::number().unwrap();
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    let mut appended = 0;
    for _ in 0..20 {
        let from = rng.below(4_000) as usize;
        alone.append(&lines[from..from + 1_000]).await.unwrap();
        appended += 1_000;
        let runs = alone.node.run(&[]).unwrap();
        pause(Duration::from_millis(rng.below(150))).await;
        runs.kill().await.unwrap();
    }
    let mut runs = alone.node.run_up().await.unwrap();
    all(&mut runs, appended).await;
    let found = alone.ask(DUMP).await.unwrap();
    assert!(runs.terminate().await.unwrap().success());
    std::fs::remove_file(alone.node.path.join(views::FILE_NAME)).unwrap();
    let mut runs = alone.node.run_up().await.unwrap();
    all(&mut runs, appended).await;
    assert_eq!(alone.ask(DUMP).await.unwrap(), found);
}

#[tokio::test]
async fn a_record_that_is_refused_is_told_and_the_next_one_seen_at_once() {
    let alone = Alone::with(LATEST).await.unwrap();
    let broken = "[view.broken]\nddl = 'CREATE TABLE broken(x)'\n[view.broken.on.ais]\n\
         put = 'INSERT INTO broken VALUES(random())'\n";
    alone.node.configure(broken).unwrap();
    let mut runs = alone.node.run_up().await.unwrap();
    all(&mut runs, 0).await;
    alone.append(&[r#"{"mmsi":"a","time":1}"#]).await.unwrap();
    alone.append(&[r#"{"mmsi":"a","lat":1,"time":1}"#]).await.unwrap();
    let seen = async {
        until("the second record", async || {
            let rows = alone.ask("SELECT lat FROM latest").await.unwrap();
            (rows.len() == 1).then_some(())
        })
        .await
    };
    tokio::time::timeout(Duration::from_secs(1), seen).await.unwrap().unwrap();
    let view = all(&mut runs, 2).await;
    assert_eq!((view.records, view.errors, view.state), (1, 1, ViewState::Running));
    let errors =
        alone.ask("SELECT view, topic, origin, \"offset\", error FROM _errors").await.unwrap();
    let expected = serde_json::json!([{
        "view": "latest", "topic": "ais", "origin": "ship", "offset": 0,
        "error": "NOT NULL constraint failed: latest.lat",
    }]);
    assert_eq!(Value::from(errors), expected);
    let named = dealt_with(&alone).await;
    assert!(named.starts_with("view/latest:ship/ais/0@0~"), "{named}");
    let status = runs.status().await.unwrap();
    let broken = status.views.iter().find(|view| view.view == "broken").unwrap();
    assert_eq!(broken.state, ViewState::Failed);
    let reason = broken.reason.as_deref().unwrap();
    assert!(reason.contains("`on.ais.put`, line 1") && reason.contains("`random`"), "{reason}");
    let list = alone.node.done("view", &["list"]).await.unwrap();
    assert!(list.contains("failed") && list.contains("`random`"), "{list}");
}

/// Retries the only dead letter, which is refused again, and drops what comes of that. Returns its
/// name.
async fn dealt_with(alone: &Alone) -> String {
    let only = async || {
        let list = alone.node.done("dead", &["list", "ais", "--json"]).await.unwrap();
        let [letter] = &list.lines().collect::<Vec<_>>()[..] else { return None };
        let letter: Value = serde_json::from_str(letter).unwrap();
        Some(letter["key"].as_str().unwrap().to_owned())
    };
    let first = until("a dead letter", only).await.unwrap();
    let table = alone.node.done("dead", &["list", "ais"]).await.unwrap();
    assert!(table.contains("NOT NULL constraint failed"), "{table}");
    let shown = alone.node.done("dead", &["show", &first]).await.unwrap();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let shown = (&shown["key"], &shown["value"]);
    assert_eq!(shown, (&first.as_str().into(), &serde_json::json!({"mmsi": "a", "time": 1})));
    alone.node.done("dead", &["retry", &first]).await.unwrap();
    let again = until("another letter", async || only().await.filter(|name| *name != first));
    let again = again.await.unwrap();
    let of = |letter: &str| letter.split_once(':').unwrap().1.to_owned();
    let traced = alone.node.done("trace", &[&of(&first)]).await.unwrap();
    assert!(traced.contains(&first) && traced.contains("settled: NOT NULL"), "{traced}");
    let traced = alone.node.done("trace", &[&of(&again)]).await.unwrap();
    assert!(traced.contains("waits: NOT NULL"), "{traced}");
    alone.node.done("dead", &["drop", &again]).await.unwrap();
    let none = alone.node.done("dead", &["list", "ais"]).await.unwrap();
    assert_eq!(none, "there are no dead letters of ais\n");
    first
}

#[tokio::test]
async fn a_file_that_is_deleted_or_overwritten_under_a_running_node_is_made_anew() {
    let alone = Alone::with(LATEST).await.unwrap();
    let sample = sample();
    let lines: Vec<&str> = sample.lines().collect();
    alone.append(&lines).await.unwrap();
    let mut runs = alone.node.run_up().await.unwrap();
    all(&mut runs, 5_000).await;
    let before = alone.ask(DUMP).await.unwrap();
    let path = alone.node.path.join(views::FILE_NAME);
    std::fs::remove_file(&path).unwrap();
    alone.append(&lines[..1]).await.unwrap();
    all(&mut runs, 5_001).await;
    assert_eq!(alone.ask("SELECT sum(n) AS n FROM latest").await.unwrap()[0]["n"], 5_001);
    let bytes = until("the rows are in the database proper", async || {
        std::fs::read(&path).ok().filter(|bytes| bytes.len() > 64 * 4_096)
    });
    let bytes = bytes.await.unwrap();
    // All but the pages that every query needs. Where the log beside the database still has a page,
    // it is read there, and put over what was spoilt: so again until a query has met it.
    let mut spoilt = bytes.clone();
    spoilt[3 * 4_096..].fill(0xee);
    until("a query meets what was spoilt", async || {
        use std::io::Write as _;
        let mut file = std::fs::OpenOptions::new().write(true).open(&path).ok()?;
        file.write_all(&spoilt).unwrap();
        runs.client().query(&QueryRequest::new("SELECT sum(lat) FROM latest")).await.err()
    })
    .await
    .unwrap();
    until("the file is whole again", async || {
        let rows = alone.ask("SELECT sum(n) AS n FROM latest").await.ok()?;
        (rows.first()?["n"] == 5_001).then_some(())
    })
    .await
    .unwrap();
    assert!(runs.terminate().await.unwrap().success());
    std::fs::write(&path, "this is no database").unwrap();
    let mut runs = alone.node.run_up().await.unwrap();
    all(&mut runs, 5_001).await;
    assert_eq!(alone.ask(DUMP).await.unwrap().len(), before.len());
}

#[tokio::test]
async fn a_changed_definition_takes_the_place_of_the_old_one_under_readers() {
    let alone = Alone::with(LATEST).await.unwrap();
    let sample = sample();
    let lines: Vec<&str> = sample.lines().collect();
    alone.append(&lines).await.unwrap();
    let mut runs = alone.node.run_up().await.unwrap();
    all(&mut runs, 5_000).await;
    assert!(runs.terminate().await.unwrap().success());
    let wider =
        LATEST.replace("lon REAL,", "lon REAL, area TEXT AS (round(lat) || ' ' || round(lon)),");
    std::fs::write(alone.node.path.join("views/latest.toml"), wider).unwrap();
    let path = alone.node.path.join(views::FILE_NAME);
    let (stop, mut stopping) = tokio::sync::oneshot::channel::<()>();
    let reading = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        let mut asked = 0;
        while stopping.try_recv().is_err() {
            ticks.tick().await;
            let all = QueryRequest::new("SELECT sum(n) FROM latest");
            let reply = views::query(&path, &all).map_err(|error| error.to_string())?;
            if reply.rows[0][0] != 5_000 {
                return Err(format!("{:?}", reply.rows));
            }
            asked += 1;
        }
        Ok(asked)
    });
    let mut runs = alone.node.run_up().await.unwrap();
    let in_place = |status: Status| {
        status.views.into_iter().find(|view| view.generation == 2 && view.caught_up)
    };
    runs.until("the new generation", in_place).await.unwrap();
    stop.send(()).unwrap();
    let asked: u64 = reading.await.unwrap().unwrap();
    assert!(asked > 1, "nobody read");
    let areas = alone.ask("SELECT area, count(*) AS n FROM latest GROUP BY area").await.unwrap();
    assert!(areas.len() > 10, "{areas:?}");
}

#[tokio::test]
async fn rows_whose_records_the_log_has_forgotten_go_only_if_that_is_accepted() {
    let alone = Alone::with(LATEST).await.unwrap();
    let small = "[storage]\nsegment_bytes = \"512KiB\"\n[[lane]]\nname = \"normal\"\n\
         priority = 0\nbudget_bytes = \"1MiB\"\non_full = \"drop_oldest\"\n";
    alone.node.configure(small).unwrap();
    let sample = sample();
    let lines: Vec<&str> = sample.lines().collect();
    let mut runs = alone.node.run_up().await.unwrap();
    let mut appended = 0;
    // Step by step, so that the log forgets nothing that the view has not seen.
    for part in lines.chunks(500).chain(lines.chunks(500)).chain(lines.chunks(500)) {
        alone.append(part).await.unwrap();
        appended += part.len() as u64;
        assert_eq!(all(&mut runs, appended).await.lacking, 0);
    }
    assert!(runs.terminate().await.unwrap().success());
    let left = alone.node.done("read", &["ais"]).await.unwrap().lines().count() as u64;
    assert!(left < appended, "the log forgot nothing");
    let wider = LATEST.replace("lon REAL,", "lon REAL, sog REAL,").replace(
        "latest VALUES(\n  :key, :value->>'$.lat', :value->>'$.lon',",
        "latest VALUES(\n  :key, :value->>'$.lat', :value->>'$.lon', :value->>'$.sog',",
    );
    let definition = alone.node.path.join("views/latest.toml");
    std::fs::write(&definition, &wider).unwrap();
    let mut runs = alone.node.run_up().await.unwrap();
    let told = |status: Status| {
        status.views.into_iter().find(|view| view.reason.is_some() && view.next.is_none())
    };
    let view = runs.until("the loss is told", told).await.unwrap();
    let reason = view.reason.unwrap();
    assert!(reason.contains("`accept_loss = true`"), "{reason}");
    let total = "SELECT sum(n) AS n FROM latest";
    assert_eq!(alone.ask(total).await.unwrap()[0]["n"], appended, "the rows stay");
    let last = format!("ship/ais/0@{}", appended - 1);
    let lossy = alone.node.call("view", &["at", "latest", &last]).await.unwrap();
    assert!(lossy.code == Some(3) && lossy.err.contains("are gone from the log"), "{lossy:?}");
    let words = ["at", "latest", &last, "--accept-loss", "--json", "--sql", total];
    let rows = alone.node.done("view", &words).await.unwrap();
    assert_eq!(rows, format!("{{\"n\":{left}}}\n"));
    assert!(runs.terminate().await.unwrap().success());
    accepted_at_the_start(&alone).await;
    std::fs::write(&definition, format!("accept_loss = true\n{wider}")).unwrap();
    let mut runs = alone.node.run_up().await.unwrap();
    let in_place = |status: Status| {
        status.views.into_iter().find(|view| view.generation == 2 && view.caught_up)
    };
    let view = runs.until("the new generation", in_place).await.unwrap();
    assert_eq!((view.records, view.lacking), (left, appended - left));
    assert_eq!(alone.ask(total).await.unwrap()[0]["n"], left);
    let list = alone.node.done("view", &["list"]).await.unwrap();
    assert!(list.contains("records before the view came to them"), "{list}");
    let last = format!("ship/ais/0@{}", appended - 1);
    // These rows never had what is gone, so that nothing is lost to them.
    alone.node.done("view", &["at", "latest", &last, "--max", "1"]).await.unwrap();
    let gone = alone.node.call("view", &["at", "latest", "ship/ais/0@0"]).await.unwrap();
    assert!(gone.err.contains("no record ship/ais/0@0"), "{gone:?}");
}

/// A copy of the node is told at its start that rows may go, and lets them go.
async fn accepted_at_the_start(alone: &Alone) {
    let copy = alone.node.path.with_extension("copy");
    let copied =
        std::process::Command::new("cp").arg("-r").args([&alone.node.path, &copy]).status();
    assert!(copied.unwrap().success());
    let mut runs = NodeDir::new(&alone.node.program, copy).run(&["--accept-loss"]).unwrap();
    let in_place = |status: Status| {
        status.views.into_iter().find(|view| view.generation == 2 && view.caught_up)
    };
    runs.until("the new generation of the copy", in_place).await.unwrap();
    assert!(runs.terminate().await.unwrap().success());
}
