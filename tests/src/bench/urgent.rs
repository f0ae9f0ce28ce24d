//! Priorities: an urgent record while a backlog goes over a slow link with a small queue.

use std::io::{self, Error};
use std::num::NonZeroU64;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use landfall::api::Status;
use landfall::clock;
use landfall::transport::relay::{BitsPerSecond, Relay, Shape};

use super::Options;
use super::backlog;
use super::limits::seconds_since;
use super::pair::Pair;
use super::report::{Goal, Report, Row};
use crate::process::pause;

/// Records of the backlog in the lane `normal`.
const RECORDS: u64 = 1_000_000;
/// The link's rate.
const RATE: BitsPerSecond = BitsPerSecond(NonZeroU64::new(10_000_000).expect("it is not zero"));
/// Its queue, in bytes.
const QUEUE_BYTES: usize = 64 << 10;
/// How long each way takes, once through the queue.
const DELAY: Duration = Duration::from_millis(20);
/// Urgent records, one after another.
const URGENT: u64 = 10;
/// How long the backlog goes before the first.
const BEFORE: Duration = Duration::from_secs(3);

/// # Errors
/// A node does not do what it should.
pub async fn run(options: &Options, report: &mut Report) -> io::Result<()> {
    let pair = Pair::make(options, true).await?;
    backlog::fill(&pair.ship.path, RECORDS / options.divisor).await?;
    let shape = Shape { rate: Some(RATE), queue: QUEUE_BYTES, delay: DELAY, ..Shape::default() };
    let _relay = Relay::start(pair.dialed, pair.hub_address, shape, 1)?;
    let mut ship = pair.ship.run(&[])?;
    ship.until("the backlog begins to arrive", |status| {
        (lane(&status, "normal").0 > 0).then_some(())
    })
    .await?;
    pause(BEFORE).await;
    let mut slowest: f64 = 0.0;
    for number in 0..URGENT {
        let body = Full::new(Bytes::from(format!("{{\"alarm\":{number}}}\n")));
        let appended = clock::monotonic();
        let mut answer = ship.client().append("alert", "", body).await.map_err(Error::other)?;
        while answer.next().await.map_err(Error::other)?.is_some() {}
        let arrived = |status: Status| (lane(&status, "urgent").0 > number).then_some(());
        ship.until("the urgent record is durable at the hub", arrived).await?;
        slowest = slowest.max(seconds_since(appended));
    }
    let status = ship.up().await?;
    let (_, behind) = lane(&status, "normal");
    if behind == 0 {
        return Err(Error::other("the backlog was gone before the urgent records were there"));
    }
    let what = format!("append to durable at the hub, slowest of {URGENT}, 10 Mbit/s");
    report.add(Row::new("urgent", what, slowest * 1e3, "ms").goal(Goal::AtMost(2_000.0)));
    report.add(Row::new("urgent", "records still behind in lane normal", behind as f64, "records"));
    ship.terminate().await?;
    pair.hub_runs.terminate().await.map(drop)
}

/// How far a lane is durable at the root, and how many of its records are not.
fn lane(status: &Status, name: &str) -> (u64, u64) {
    let lane = status.lanes.iter().find(|lane| lane.name == name);
    lane.map_or((0, 0), |lane| (lane.root_seq, lane.behind_records))
}
