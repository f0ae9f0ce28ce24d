//! Appending: records of 100 bytes, durable before they are acknowledged, beside a loop that writes
//! and syncs as many bytes.

use std::collections::VecDeque;
use std::io::{self, Error};

use bytes::Bytes;
use http_body_util::Full;
use landfall::clock;
use landfall::daemon::IN_FLIGHT_MAX;

use super::Options;
use super::backlog::offline;
use super::limits::{seconds_since, sync_seconds, write_synced};
use super::report::{Goal, Report, Row};
use crate::process::{NodeDir, Program};

pub(super) const SETTINGS: &str = r#"
[api]
connections_max = 256
[[lane]]
name = "normal"
priority = 0
budget_bytes = "64GiB"
"#;
/// Records of one measurement.
const RECORDS: u64 = 400_000;
/// Bytes of a record's value.
const VALUE_BYTES: usize = 100;
/// Bytes between two syncs of the bare loop.
const STEP_BYTES: usize = 256 << 10;
/// Lines in one request to the API.
const REQUEST_LINES: u64 = 4_096;
/// How many producers append at once.
const PRODUCERS: [u64; 3] = [1, 8, 64];
/// Ticks a second at which timed records are appended.
const TICKS: u64 = 1_000;
/// For how many ticks they are.
const TIMED_TICKS: u64 = 3_000;

/// Through the library, then through the API, then the latency at half the rate.
///
/// # Errors
/// The node refuses.
pub async fn run(options: &Options, report: &mut Report) -> io::Result<()> {
    let records = RECORDS / options.divisor;
    let node = NodeDir::new(&Program::find()?, options.dir.join("node"));
    node.done("init", &["--site", "ship"]).await?;
    node.configure(SETTINGS)?;
    let mut alone = 0.0;
    for producers in PRODUCERS {
        let bare = records as f64 / bare(options, records)?;
        let what = format!("library, {producers} producers with {IN_FLIGHT_MAX} in flight");
        let rate = records as f64 / library(&node, producers, records).await?;
        let row = Row::new("append", what, rate, "records/s");
        report.add(row.beside("a bare write + sync loop", bare).goal(Goal::AtLeast(0.5)));
        alone = if producers == 1 { rate } else { alone };
        let what = format!("API, {producers} producers, {REQUEST_LINES} lines a request");
        let rate = records as f64 / api(&node, producers, records).await?;
        let row = Row::new("append", what, rate, "records/s");
        report.add(row.beside("a bare write + sync loop", bare));
    }
    latency(options, &node, alone / 2.0, report).await
}

fn bare(options: &Options, records: u64) -> io::Result<f64> {
    write_synced(&options.dir, records * VALUE_BYTES as u64, STEP_BYTES)
}

pub(super) fn value(number: u64) -> Bytes {
    let mut value = format!("{{\"number\":\"{number:020}\",\"filling\":\"").into_bytes();
    value.resize(VALUE_BYTES - 2, b'a' + (number % 26) as u8);
    value.extend_from_slice(b"\"}");
    value.into()
}

async fn library(node: &NodeDir, producers: u64, records: u64) -> io::Result<f64> {
    let daemon = offline(&node.path)?;
    let started = clock::monotonic();
    let mut tasks = tokio::task::JoinSet::new();
    for producer in 0..producers {
        let mut producing = daemon.handle.producer("events", 0);
        tasks.spawn(async move {
            for number in (producer..records).step_by(producers as usize) {
                producing.append(None, None, Some(&value(number))).await.map_err(Error::other)?;
            }
            producing.flush().await.map_err(Error::other)
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let seconds = seconds_since(started);
    daemon.stop().await;
    Ok(seconds)
}

async fn api(node: &NodeDir, producers: u64, records: u64) -> io::Result<f64> {
    let running = node.run_up().await?;
    let started = clock::monotonic();
    let mut tasks = tokio::task::JoinSet::new();
    for producer in 0..producers {
        let client = running.client().clone();
        tasks.spawn(async move {
            let numbers: Vec<_> = (producer..records).step_by(producers as usize).collect();
            for numbers in numbers.chunks(REQUEST_LINES as usize) {
                let lines = numbers.iter().flat_map(|number| [value(*number), "\n".into()]);
                let body = Full::new(Bytes::from(lines.collect::<Vec<_>>().concat()));
                let mut answer = client.append("events", "", body).await.map_err(Error::other)?;
                while answer.next().await.map_err(Error::other)?.is_some() {}
            }
            io::Result::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let seconds = seconds_since(started);
    running.terminate().await?;
    Ok(seconds)
}

/// One producer at `rate` records a second: how long each record takes to be acknowledged, as seen
/// by who looks at each tick.
async fn latency(
    options: &Options,
    node: &NodeDir,
    rate: f64,
    report: &mut Report,
) -> io::Result<()> {
    let sync_ms = sync_seconds(&options.dir)? * 1_000.0;
    let daemon = offline(&node.path)?;
    let mut producing = daemon.handle.producer("events", 0);
    let each = (rate / TICKS as f64).max(1.0) as u64;
    let mut ticks = tokio::time::interval(std::time::Duration::from_micros(1_000_000 / TICKS));
    let (mut asked, mut waits) = (VecDeque::new(), Vec::new());
    for tick in 0.. {
        ticks.tick().await;
        let now = clock::monotonic();
        while waits.len() < producing.durable_count() as usize {
            waits.extend(asked.pop_front().map(|asked| now.ms_since(asked)));
        }
        if tick >= TIMED_TICKS {
            break;
        }
        for number in 0..each {
            asked.push_back(now);
            let value = value(tick * each + number);
            producing.append(None, None, Some(&value)).await.map_err(Error::other)?;
        }
    }
    producing.flush().await.map_err(Error::other)?;
    daemon.stop().await;
    waits.sort_unstable();
    let p99 = waits.get(waits.len() * 99 / 100).copied().unwrap_or_default() as f64;
    let what = format!("p99 until durable, {:.0} records/s", each as f64 * TICKS as f64);
    report.add(Row::new("append", "fdatasync behind 4 KiB", sync_ms, "ms"));
    report.add(Row::new("append", what, p99, "ms").goal(Goal::AtMost(2.0 * sync_ms + 5.0)));
    Ok(())
}
