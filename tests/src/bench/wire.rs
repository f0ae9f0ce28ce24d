//! Bytes on the wire, in both directions with QUIC's own, against the JSON that they carry. The
//! link has a rate at which bodies are packed: on the loopback itself they would go as stored.

use std::io::{self, Error};
use std::num::NonZeroU64;

use landfall::transport::relay::{BitsPerSecond, Relay, Shape};

use super::Options;
use super::backlog::{self, Backlog};
use super::pair::Pair;
use super::report::{Goal, Report, Row};

/// Records of each backlog: 16 MiB of JSON and more.
const RECORDS: u64 = 100_000;
/// What the link takes: 100 Mbit/s.
const RATE: Option<NonZeroU64> = NonZeroU64::new(100_000_000);

/// # Errors
/// A node does not do what it should.
pub async fn run(options: &Options, report: &mut Report) -> io::Result<()> {
    let records = RECORDS / options.divisor;
    let pair = Pair::make(options, true).await?;
    let backlog = backlog::fill(&pair.ship.path, records).await?;
    let share = share(pair, &backlog).await?;
    report.add(Row::new(
        "wire",
        "bulk at 100 Mbit/s, share of the JSON's bytes",
        share,
        "of the JSON",
    ));
    let pair = Pair::make(options, true).await?;
    let backlog = backlog::trickle(&pair.ship.path, records).await?;
    let share = self::share(pair, &backlog).await?;
    let what = "one-record commits at 100 Mbit/s, share of the JSON's bytes";
    let row = Row::new("wire", what, share, "of the JSON");
    report.add(row.goal(Goal::AtMost(0.30)));
    Ok(())
}

async fn share(pair: Pair, backlog: &Backlog) -> io::Result<f64> {
    let shape = Shape { rate: RATE.map(BitsPerSecond), ..Shape::default() };
    let relay = Relay::start(pair.dialed, pair.hub_address, shape, 1)?;
    let mut ship = pair.ship.run(&["--until-synced"])?;
    let status = ship.ended_within(super::PATIENCE).await?;
    if !status.success() {
        return Err(Error::other(format!("the ship ended with {status}")));
    }
    let bytes = relay.bytes_to_target() + relay.bytes_to_dialer();
    pair.hub_runs.terminate().await?;
    std::fs::remove_dir_all(&pair.hub.path)?;
    std::fs::remove_dir_all(&pair.ship.path)?;
    Ok(bytes as f64 / backlog.json_bytes as f64)
}
