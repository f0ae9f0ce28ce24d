//! Catching up: a ship with a backlog, from the start of its process until all of it is durable at
//! the hub.

use std::io;

use landfall::api::Status;
use landfall::clock;

use super::Options;
use super::backlog::{self, Backlog, TOPIC};
use super::limits::{quic_alone, seconds_since, write_commits};
use super::pair::{Pair, segments};
use super::report::{Goal, Report, Row};

/// Records of the backlog in bulk.
const BULK_RECORDS: u64 = 1_000_000;
/// Records of the backlog with a commit for each.
const TRICKLE_RECORDS: u64 = 200_000;
/// Runs of which the median counts.
const RUNS: usize = 3;

/// Many records a commit, beside QUIC and the disk alone.
///
/// # Errors
/// A node does not do what it should.
pub async fn bulk(options: &Options, report: &mut Report) -> io::Result<()> {
    let records = BULK_RECORDS / options.divisor;
    let mut rounds = Vec::new();
    for _ in 0..RUNS {
        let pair = Pair::make(options, false).await?;
        let backlog = backlog::fill(&pair.ship.path, records).await?;
        let quic = quic_alone(&segments(&pair.ship.path)?, backlog.stored_bytes).await?;
        let disk = write_commits(&options.dir, backlog.stored_bytes)?;
        let seconds = catch_up(pair, &backlog).await?;
        rounds.push((seconds, quic, disk, backlog));
    }
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (seconds, quic, disk, backlog) = rounds[RUNS / 2];
    let megabytes = backlog.stored_bytes as f64 / 1e6;
    let lower = if quic > disk { "QUIC alone" } else { "write + fdatasync alone" };
    let rate = |what: &str, seconds: f64| Row::new("bulk", what, megabytes / seconds, "MB/s");
    report.add(rate("QUIC alone, the same bytes, two processes", quic));
    report.add(rate("write + fdatasync alone, the same bytes in 4 MiB steps", disk));
    let row = rate("catch-up, durable at the hub, stored bytes", seconds);
    report.add(row.beside(lower, megabytes / quic.max(disk)).goal(Goal::AtLeast(0.7)));
    report.add(Row::new("bulk", "catch-up, records", records as f64 / seconds, "records/s"));
    Ok(())
}

/// One record a commit, beside a backlog in bulk of as many records.
///
/// # Errors
/// A node does not do what it should.
pub async fn trickle(options: &Options, report: &mut Report) -> io::Result<()> {
    let records = TRICKLE_RECORDS / options.divisor;
    let mut rounds = Vec::new();
    for _ in 0..RUNS {
        let pair = Pair::make(options, false).await?;
        let backlog = backlog::fill(&pair.ship.path, records).await?;
        let bulk = catch_up(pair, &backlog).await?;
        let pair = Pair::make(options, false).await?;
        let backlog = backlog::trickle(&pair.ship.path, records).await?;
        rounds.push((catch_up(pair, &backlog).await?, bulk, backlog));
    }
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (seconds, bulk, backlog) = rounds[RUNS / 2];
    let row = Row::new(
        "trickle",
        "catch-up of one-record commits",
        records as f64 / seconds,
        "records/s",
    );
    let bulk = records as f64 / bulk;
    report.add(row.beside("the same records in bulk", bulk).goal(Goal::AtLeast(1.0 / 6.0)));
    let each = backlog.stored_bytes as f64 / records as f64;
    report.add(Row::new("trickle", "bytes on the ship's disk for each record", each, "B"));
    Ok(())
}

/// Runs the ship until all is durable at the hub, as the hub says. Returns the seconds. The folders
/// are gone afterwards.
pub(super) async fn catch_up(mut pair: Pair, backlog: &Backlog) -> io::Result<f64> {
    let started = clock::monotonic();
    let mut ship = pair.ship.run(&["--until-synced"])?;
    let all = |status: Status| {
        let arrived: u64 = status.lanes.iter().map(|lane| lane.next_seq).sum();
        (arrived >= backlog.records).then_some(())
    };
    pair.hub_runs.until("all is durable at the hub", all).await?;
    let seconds = seconds_since(started);
    let status = ship.ended_within(super::PATIENCE).await?;
    let hub = pair.hub_runs.client().status().await.map_err(io::Error::other)?;
    let arrived: u64 = hub.lanes.iter().map(|lane| lane.next_seq).sum();
    if !status.success() || arrived != backlog.records {
        let text = format!("the ship ended with {status}; {arrived} records of {TOPIC} arrived");
        return Err(io::Error::other(text));
    }
    pair.hub_runs.terminate().await?;
    std::fs::remove_dir_all(&pair.hub.path)?;
    std::fs::remove_dir_all(&pair.ship.path)?;
    Ok(seconds)
}
