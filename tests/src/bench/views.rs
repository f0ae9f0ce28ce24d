//! A view of the newest position of each ship: how fast records come to its rows, beside a bare
//! loop that runs the same statement on the same lines, in transactions of the same size. Then the
//! program makes the same rows, and makes them again for a changed definition, while it is asked
//! for a ship every 10 ms.

use std::io::{self, Error};
use std::path::Path;
use std::time::Duration;

use landfall::api::{Backend as _, QueryRequest, ViewStatus};
use landfall::clock;
use landfall::config::Config;
use landfall::daemon::Daemon;
use landfall::views::FILE_NAME;
use rusqlite::{Connection, named_params};

use super::api::add_percentiles;
use super::backlog::{Laps, fill, offline};
use super::limits::seconds_since;
use super::memory::mebibytes;
use super::pair::SETTINGS;
use super::report::{Goal, Report, Row};
use super::{Options, PATIENCE};
use crate::process::{NodeDir, Program};

const RECORDS: u64 = 1_000_000;
/// Records in a transaction of the bare loop: as many of these as a page of the log holds.
const BATCH: usize = 1_400;
/// How often the view is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(5);
/// How often the program is asked for a ship meanwhile.
const QUERY_EVERY: Duration = Duration::from_millis(10);
const QUERY: &str = "SELECT lat, lon, at FROM latest ORDER BY mmsi LIMIT 1";

const DDL: &str = "CREATE TABLE latest(mmsi INTEGER PRIMARY KEY, lat REAL, lon REAL, sog REAL, \
    at INTEGER, origin TEXT, off INTEGER)";
const PUT: &str = "INSERT INTO latest(mmsi, lat, lon, sog, at, origin, off) \
    VALUES(:value->>'$.mmsi', :value->>'$.lat', :value->>'$.lon', :value->>'$.sog', \
    :timestamp, :origin, :offset) \
    ON CONFLICT(mmsi) DO UPDATE SET lat = excluded.lat, lon = excluded.lon, sog = excluded.sog, \
    at = excluded.at, origin = excluded.origin, off = excluded.off \
    WHERE (excluded.at, excluded.origin, excluded.off) > (at, origin, off)";

/// # Errors
/// The node or SQLite refuses.
pub async fn run(options: &Options, report: &mut Report) -> io::Result<()> {
    let records = RECORDS / options.divisor;
    let node = NodeDir::new(&Program::find()?, options.dir.join("node"));
    node.done("init", &["--site", "ship"]).await?;
    let view = format!("[view.latest]\nddl = \"{DDL}\"\n[view.latest.on.ais]\nput = \"{PUT}\"\n");
    node.configure(&format!("{SETTINGS}{view}"))?;
    fill(&node.path, records).await?;
    let (bare, bare_bytes) = bare(&options.dir.join("bare.db"), records)?;
    let rate = records as f64 / kept(&node.path, records).await?;
    let row =
        Row::new("views", "a backlog into the newest position of each ship", rate, "records/s");
    report.add(row.beside("a bare rusqlite loop", bare).goal(Goal::AtLeast(0.7)));
    std::fs::remove_file(node.path.join(FILE_NAME))?;
    let made = |view: &ViewStatus| view.records == records;
    watched(&node, "made", (records, bare_bytes), made, report).await?;
    // Another definition of the same rows.
    let path = node.path.join(landfall::config::FILE_NAME);
    let again =
        std::fs::read_to_string(&path)?.replace("off INTEGER)", "off INTEGER, seen INTEGER)");
    std::fs::write(path, again)?;
    let again = |view: &ViewStatus| view.generation > 1 && view.next.is_none();
    watched(&node, "made again", (records, bare_bytes), again, report).await
}

/// Runs the program until its view is as wanted, and asks for a ship all the time. Of each record
/// the bare loop wrote so many bytes.
async fn watched(
    node: &NodeDir,
    what: &str,
    (records, bare_bytes): (u64, f64),
    is_done: impl Fn(&ViewStatus) -> bool,
    report: &mut Report,
) -> io::Result<()> {
    let running = node.run_up().await?;
    let started = clock::precise();
    let mut waits = Vec::new();
    let mut ticks = tokio::time::interval(QUERY_EVERY);
    let asked = async {
        loop {
            ticks.tick().await;
            let asked = clock::precise();
            match running.client().query(&QueryRequest::new(QUERY)).await {
                Ok(_) => waits.push(clock::precise() - asked),
                // Until the table is made, there is nothing to ask. From then on there is.
                Err(_) if waits.is_empty() => {}
                Err(error) => return Err(Error::other(error)),
            }
            let status = running.status().await.ok_or_else(|| Error::other("it has ended"))?;
            if status.views.iter().any(&is_done) {
                return Ok::<_, Error>(());
            }
        }
    };
    tokio::time::timeout(PATIENCE, asked).await??;
    let rate = records as f64 / (clock::precise() - started).as_secs_f64();
    let row = |what: &str, value, unit| Row::new("views", what, value, unit);
    report.add(row(&format!("rows {what} by the program, asked every 10 ms"), rate, "records/s"));
    add_percentiles(report, "views", &format!("a query while rows are {what}"), &mut waits);
    let peak = mebibytes(&running, "VmHWM")?;
    let goal = super::memory::at_most("rss_view");
    report.add(row(&format!("peak RSS while rows are {what}"), peak, "MiB").goal(goal));
    let id = running.id().ok_or_else(|| Error::other("it has ended"))?;
    let written = written_bytes(&id.to_string())? / records as f64;
    let row = row(&format!("bytes written for a record, rows {what}"), written, "B");
    report.add(row.beside("a bare rusqlite loop", bare_bytes));
    running.terminate().await.map(drop)
}

/// What a process has given to the disk: pages that it made dirty, each as often as it did so
/// after it had been written.
fn written_bytes(process: &str) -> io::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/io"))?;
    let written = text.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok());
    written.ok_or_else(|| Error::other("no write_bytes in its io"))
}

/// Seconds until the view has all records.
async fn kept(data: &Path, records: u64) -> io::Result<f64> {
    let mut daemon: Daemon = offline(data)?;
    let config = Config::load(None, data, []).map_err(Error::other)?;
    let started = clock::monotonic();
    daemon.keep_views(&config, data).map_err(Error::other)?;
    let handle = daemon.handle.clone();
    let came = async {
        let mut ticks = tokio::time::interval(ASK_EVERY);
        loop {
            ticks.tick().await;
            let status = handle.status().await.map_err(Error::other)?;
            if status.views.iter().any(|view| view.records == records) {
                return Ok::<_, Error>(());
            }
        }
    };
    tokio::time::timeout(PATIENCE, came).await??;
    let seconds = seconds_since(started);
    daemon.stop().await;
    Ok(seconds)
}

/// Records a second that SQLite runs the same statement for, with the settings of the views' file
/// but that SQLite itself brings into the database what is written, and the bytes that it writes
/// for each.
fn bare(path: &Path, records: u64) -> io::Result<(f64, f64)> {
    let lines: Vec<_> = Laps::new().take(records as usize).collect();
    let before = written_bytes("self")?;
    let started = clock::monotonic();
    insert(path, &lines).map_err(Error::other)?;
    let seconds = seconds_since(started);
    let bytes = written_bytes("self")? - before;
    Ok((records as f64 / seconds, bytes / records as f64))
}

fn insert(path: &Path, lines: &[String]) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; \
         PRAGMA journal_size_limit=8388608; PRAGMA temp_store=FILE; PRAGMA cache_size=-2048; \
         PRAGMA foreign_keys=OFF; PRAGMA trusted_schema=OFF;",
    )?;
    connection.execute_batch(DDL)?;
    for (batch, lines) in lines.chunks(BATCH).enumerate() {
        let transaction = connection.transaction()?;
        let mut statement = transaction.prepare(PUT)?;
        for (at, line) in lines.iter().enumerate() {
            let offset = (batch * BATCH + at) as i64;
            statement.execute(named_params! {
                ":value": line, ":timestamp": offset, ":origin": "ship", ":offset": offset,
            })?;
        }
        drop(statement);
        transaction.commit()?;
    }
    Ok(())
}
