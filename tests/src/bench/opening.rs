//! Opening a journal of 1 GiB: after it was closed, and after its process was killed.

use std::io::{self, Error};
use std::path::Path;

use landfall::clock;
use landfall::config::Config;
use landfall::daemon;

use super::Options;
use super::backlog;
use super::limits::seconds_since;
use super::pair::SETTINGS;
use super::report::{Goal, Report, Row};
use crate::process::{NodeDir, Program};

/// Records that take about 1 GiB as stored.
const RECORDS: u64 = 4_150_000;

/// # Errors
/// A node does not do what it should.
pub async fn run(options: &Options, report: &mut Report) -> io::Result<()> {
    let node = NodeDir::new(&Program::find()?, options.dir.join("node"));
    node.done("init", &["--site", "ship"]).await?;
    node.configure(SETTINGS)?;
    let backlog = backlog::fill(&node.path, RECORDS / options.divisor).await?;
    let mib = backlog.stored_bytes as f64 / f64::from(1 << 20);
    let clean = open(&node.path)?;
    let what = format!("{mib:.0} MiB, closed in good order");
    report.add(Row::new("opening", what, clean * 1e3, "ms").goal(Goal::AtMost(200.0)));
    // The opening above was dropped without closing, as a crash leaves it; now with records.
    let mut running = node.run_up().await?;
    for lap in 0..64 {
        let line = format!("{{\"lap\":{lap}}}\n");
        let body = http_body_util::Full::new(bytes::Bytes::from(line));
        let mut answer =
            running.client().append(backlog::TOPIC, "", body).await.map_err(Error::other)?;
        while answer.next().await.map_err(Error::other)?.is_some() {}
    }
    running.up().await?;
    running.kill().await?;
    let killed = open(&node.path)?;
    let what = format!("{mib:.0} MiB, killed");
    report.add(Row::new("opening", what, killed * 1e3, "ms").goal(Goal::AtMost(1_000.0)));
    Ok(())
}

/// Seconds until the node is open for writing.
fn open(data: &Path) -> io::Result<f64> {
    let config = Config::load(None, data, []).map_err(Error::other)?;
    let started = clock::monotonic();
    let opened = daemon::open(data, config).map_err(Error::other)?;
    let seconds = seconds_since(started);
    drop(opened);
    Ok(seconds)
}
