//! A view of the newest position of each ship: how fast records come to its rows, beside a bare
//! loop that runs the same statement on the same lines, in transactions of the same size.

use std::io::{self, Error};
use std::path::Path;
use std::time::Duration;

use landfall::api::Backend as _;
use landfall::clock;
use landfall::config::Config;
use landfall::daemon::Daemon;
use rusqlite::{Connection, named_params};

use super::backlog::{Laps, fill, offline};
use super::limits::seconds_since;
use super::pair::SETTINGS;
use super::report::{Goal, Report, Row};
use super::{Options, PATIENCE};
use crate::process::{NodeDir, Program};

const RECORDS: u64 = 1_000_000;
/// Records in a transaction of the bare loop: as many of these as a page of the log holds.
const BATCH: usize = 1_400;
/// How often the view is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(5);

const DDL: &str = "CREATE TABLE latest(mmsi INTEGER PRIMARY KEY, lat REAL, lon REAL, sog REAL, \
    at INTEGER, origin TEXT, off INTEGER)";
const PUT: &str = "INSERT INTO latest VALUES(:value->>'$.mmsi', :value->>'$.lat', \
    :value->>'$.lon', :value->>'$.sog', :timestamp, :origin, :offset) \
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
    let bare = records as f64 / bare(&options.dir.join("bare.db"), records)?;
    let rate = records as f64 / kept(&node.path, records).await?;
    let row =
        Row::new("views", "a backlog into the newest position of each ship", rate, "records/s");
    report.add(row.beside("a bare rusqlite loop", bare).goal(Goal::AtLeast(0.7)));
    Ok(())
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

/// Seconds that SQLite takes for the same statement, with the settings of the views' file.
fn bare(path: &Path, records: u64) -> io::Result<f64> {
    let lines: Vec<_> = Laps::new().take(records as usize).collect();
    let started = clock::monotonic();
    insert(path, &lines).map_err(Error::other)?;
    Ok(seconds_since(started))
}

fn insert(path: &Path, lines: &[String]) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY; \
         PRAGMA cache_size=-2048;",
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
