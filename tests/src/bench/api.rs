//! The API, as small programs use it: a request for each record, over a connection of its own, and
//! a follower.

use std::io::{self, Error};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use landfall::api::Client;
use landfall::clock;
use tokio::task::JoinSet;

use super::Options;
use super::appends::{SETTINGS, value};
use super::report::{Report, Row};
use crate::process::{NodeDir, Program};

/// Requests of one measurement.
const REQUESTS: u64 = 20_000;
/// How many programs append at once.
const PROGRAMS: [u64; 3] = [1, 8, 64];
/// Records that a follower is timed by, and how far apart they are.
const FOLLOWED: u64 = 2_000;
const APART: Duration = Duration::from_millis(5);
const TOPIC: &str = "events";

/// # Errors
/// The node refuses.
pub async fn run(options: &Options, report: &mut Report) -> io::Result<()> {
    let requests = REQUESTS / options.divisor;
    let node = NodeDir::new(&Program::find()?, options.dir.join("node"));
    node.done("init", &["--site", "ship"]).await?;
    node.configure(SETTINGS)?;
    let running = node.run_up().await?;
    for programs in PROGRAMS {
        let started = clock::precise();
        appended(running.client(), programs, requests).await?;
        let rate = requests as f64 / (clock::precise() - started).as_secs_f64();
        let what = format!("{programs} programs, a request for each record, durable");
        report.add(Row::new("api", what, rate, "records/s"));
    }
    followed(running.client(), FOLLOWED / options.divisor, report).await?;
    running.terminate().await.map(drop)
}

/// Programs append that many records together, each waiting for its answer.
async fn appended(client: &Client, programs: u64, records: u64) -> io::Result<()> {
    let mut tasks = JoinSet::new();
    for program in 0..programs {
        let client = client.clone();
        tasks.spawn(async move {
            for number in (program..records).step_by(programs as usize) {
                append(&client, number).await?;
            }
            io::Result::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// Appends a record and waits until it is durable.
async fn append(client: &Client, number: u64) -> io::Result<()> {
    let body = Full::new(Bytes::from([value(number), "\n".into()].concat()));
    let mut answer = client.append(TOPIC, "", body).await.map_err(Error::other)?;
    while answer.next().await.map_err(Error::other)?.is_some() {}
    Ok(())
}

/// How long after its request a record is acknowledged, and how long after it a follower has it.
async fn followed(client: &Client, records: u64, report: &mut Report) -> io::Result<()> {
    let mut follower = client.follow(TOPIC, "from=latest", None).await.map_err(Error::other)?;
    let seeing = tokio::spawn(async move {
        let mut seen = Vec::new();
        while seen.len() < records as usize {
            let event = follower.next().await.map_err(Error::other)?;
            event.ok_or_else(|| Error::other("the follower was cut off"))?;
            seen.push(clock::precise());
        }
        io::Result::Ok(seen)
    });
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    let mut ticks = tokio::time::interval(APART);
    for number in 0..records {
        ticks.tick().await;
        asked.push(clock::precise());
        append(client, number).await?;
        answered.push(clock::precise());
    }
    let seen = seeing.await??;
    for (what, ends) in [("acknowledged", answered), ("at a follower", seen)] {
        let mut waits: Vec<_> = asked.iter().zip(ends).map(|(from, to)| to - *from).collect();
        add_percentiles(report, "api", &format!("a record until it is {what}"), &mut waits);
    }
    Ok(())
}

/// Adds the median and the 99th percentile of times.
pub(super) fn add_percentiles(
    report: &mut Report,
    bench: &'static str,
    what: &str,
    times: &mut [Duration],
) {
    times.sort_unstable();
    for percent in [50, 99] {
        let at = times.len() * percent / 100;
        let time = times.get(at).copied().unwrap_or_default().as_secs_f64() * 1_000.0;
        report.add(Row::new(bench, format!("{what}, p{percent}"), time, "ms"));
    }
}
