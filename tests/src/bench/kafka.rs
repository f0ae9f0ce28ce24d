//! A hub before a real Kafka: how fast a backlog gets there, beside what Kafka's own producer
//! writes; how long a record takes; and what the hub takes for one device and for many.

use std::io::{self, Error, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use landfall::api::{Client, LinkState, Status};
use landfall::clock;

use super::Options;
use super::backlog::{self, TOPIC};
use super::limits::seconds_since;
use super::memory::mebibytes;
use super::pair::Pair;
use super::producer_performance::{self as performance, TRIED};
use super::report::{Goal, Report, Row};
use crate::broker::Broker;
use crate::census::{Isolation, Seen, census};
use crate::process::{NodeDir, Running, pause};

/// Records of the backlog of one device, and of all of many together.
const RECORDS: u64 = 1_000_000;
/// How many are many.
const DEVICES: u64 = 200;
/// Runs of which the median counts.
const RUNS: usize = 3;
/// Lines that Kafka's own producer draws from.
const LINES_MAX: usize = 200_000;
/// Records whose way to Kafka is timed, with each of these settings of `kafka.commit_every`.
const TIMED: u64 = 300;
const COMMIT_EVERY: [&str; 4] = ["10ms", "50ms", "100ms", "200ms"];
/// Between two questions how far a record is.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Ticks of a second, in which Linux tells processor time.
const TICKS: f64 = 100.0;
/// A device among many keeps its files small.
const SMALL: &str = "[storage]\nsegment_bytes = \"1MiB\"\n";

/// # Errors
/// There is no Java, or a node does not do what it should.
pub async fn run(options: &Options, report: &mut Report) -> io::Result<()> {
    let broker = Broker::start_for_long(&options.dir).await?;
    let (rate, payload) = catch_up(options, &broker, true, report).await?;
    let best = beside(options, &broker, &payload, report).await?;
    let (unkeyed, _) = catch_up(options, &broker, false, report).await?;
    for (what, rate) in [("by ship", rate), ("without keys", unkeyed)] {
        let what = format!("1 device, positions {what}: catch-up, committed in Kafka");
        let row = Row::new("kafka", what, rate, "records/s");
        report.add(row.beside("the best of ProducerPerformance", best).goal(Goal::AtLeast(0.8)));
    }
    fleet(options, &broker, report).await?;
    for every in COMMIT_EVERY {
        latency(options, Some((&broker, every)), report).await?;
    }
    latency(options, None, report).await
}

/// What makes a hub stand before the broker, with names of its own there.
fn settings(broker: &Broker, name: &str, every: &str) -> String {
    let address = broker.address();
    format!(
        "[kafka]\nbrokers = [\"{address}\"]\ncommit_every = \"{every}\"\ngroup = \"{name}\"\n\
         topic = \"{name}.{{topic}}\"\nfrontier_topic = \"{name}.frontiers\"\n\
         registry_topic = \"{name}.registry\"\n"
    )
}

fn reached(status: Status) -> Option<()> {
    status.link.filter(|link| link.state == LinkState::Synced).map(|_| ())
}

/// Whether a hub has that many records and all are committed in Kafka.
fn committed(status: &Status, records: u64) -> bool {
    let arrived: u64 = status.lanes.iter().map(|lane| lane.next_seq).sum();
    arrived >= records && status.lanes.iter().all(|lane| lane.behind_records == 0)
}

/// A backlog of one device, from the start of its process until all is committed in Kafka, as the
/// hub says. The ship of a position is its key, so that they go to all partitions; or they have
/// none, so that all of one device go to one, as their order has to hold. Returns records a second,
/// and a file with what the records are made of in Kafka.
async fn catch_up(
    options: &Options,
    broker: &Broker,
    by_ship: bool,
    report: &mut Report,
) -> io::Result<(f64, PathBuf)> {
    let records = RECORDS / options.divisor;
    let how = if by_ship { "by-ship" } else { "without-keys" };
    let mut rounds = Vec::new();
    for round in 0..RUNS {
        let name = format!("{how}-{round}");
        let mut pair = Pair::make_with(options, false, &settings(broker, &name, "100ms")).await?;
        match by_ship {
            true => backlog::fill_by_ship(&pair.ship.path, records).await?,
            false => backlog::fill(&pair.ship.path, records).await?,
        };
        pair.hub_runs.until("Kafka is reached", reached).await?;
        let cpu = processor_seconds(&pair.hub_runs)?;
        let started = clock::monotonic();
        let mut ship = pair.ship.run(&["--until-synced"])?;
        let all = |status: Status| committed(&status, records).then_some(());
        pair.hub_runs.until("all is committed", all).await?;
        let seconds = seconds_since(started);
        let cpu = processor_seconds(&pair.hub_runs)? - cpu;
        let peak = mebibytes(&pair.hub_runs, "VmHWM")?;
        ship.ended_within(super::PATIENCE).await?;
        rounds.push((seconds, cpu, peak));
        finish(pair).await?;
    }
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (seconds, cpu, peak) = rounds[RUNS / 2];
    let mut row = |what: &str, value, unit| {
        report.add(Row::new("kafka", format!("1 device, {how}: {what}"), value, unit));
    };
    row("peak RSS of the hub", peak, "MiB");
    row("processor time of the hub", cpu, "s");
    let topic = format!("{how}-0.{TOPIC}");
    let seen = census(broker.address(), &topic, Isolation::Committed).map_err(Error::other)?;
    if seen.len() as u64 != records {
        return Err(Error::other(format!("{} of {records} records are in Kafka", seen.len())));
    }
    let payload = write_payload(&options.dir.join("payload"), &seen)?;
    Ok((records as f64 / seconds, payload))
}

/// A line for each record, of all that Kafka has of it: value, key, and headers.
fn write_payload(path: &Path, seen: &[Seen]) -> io::Result<PathBuf> {
    let mut file = io::BufWriter::new(std::fs::File::create(path)?);
    for record in seen.iter().take(LINES_MAX) {
        file.write_all(record.value.as_deref().unwrap_or_default())?;
        file.write_all(record.key.as_deref().unwrap_or_default())?;
        for (name, value) in &record.headers {
            file.write_all(name.as_bytes())?;
            file.write_all(value.as_deref().unwrap_or_default())?;
        }
        file.write_all(b"\n")?;
    }
    file.flush()?;
    Ok(path.to_owned())
}

/// The same bytes by Kafka's own producer, with each of its settings that may be its best. Returns
/// the records a second of the best.
async fn beside(
    options: &Options,
    broker: &Broker,
    payload: &Path,
    report: &mut Report,
) -> io::Result<f64> {
    let (records, mut best) = (RECORDS / options.divisor, 0.0_f64);
    for (at, settings) in TRIED.into_iter().enumerate() {
        let topic = format!("performance-{at}");
        broker.make_topic(&topic, 6, &[]).await?;
        let rate = performance::run(settings, broker.address(), &topic, (payload, records)).await?;
        best = best.max(rate);
        let what = format!("ProducerPerformance, {settings}");
        report.add(Row::new("kafka", what, rate, "records/s"));
    }
    Ok(best)
}

/// As many records of many devices that all begin at once.
async fn fleet(options: &Options, broker: &Broker, report: &mut Report) -> io::Result<()> {
    let devices = (DEVICES / options.divisor).max(2);
    let each = RECORDS / options.divisor / devices;
    let mut pair = Pair::make_with(options, false, &settings(broker, "many", "100ms")).await?;
    let mut ships = Vec::new();
    for number in 0..devices {
        let site = format!("ship-{number}");
        let ship = NodeDir::new(&pair.ship.program, options.dir.join(&site));
        let token = pair.hub.done("token", &[&site]).await?;
        ship.done("init", &["--join", token.trim()]).await?;
        ship.configure(SMALL)?;
        backlog::fill_by_ship(&ship.path, each).await?;
        ships.push(ship);
    }
    pair.hub_runs.until("Kafka is reached", reached).await?;
    let (cpu, started) = (processor_seconds(&pair.hub_runs)?, clock::monotonic());
    let run = |ship: &NodeDir| ship.run(&["--until-synced"]);
    let running = ships.iter().map(run).collect::<io::Result<Vec<_>>>()?;
    let all = |status: Status| committed(&status, each * devices).then_some(());
    pair.hub_runs.until("all is committed", all).await?;
    let rate = (each * devices) as f64 / seconds_since(started);
    let cpu = processor_seconds(&pair.hub_runs)? - cpu;
    let peak = mebibytes(&pair.hub_runs, "VmHWM")?;
    for mut ship in running {
        ship.ended_within(super::PATIENCE).await?;
    }
    let mut row = |what: &str, value, unit| {
        report.add(Row::new("kafka", format!("{devices} devices: {what}"), value, unit));
    };
    row("catch-up, committed in Kafka", rate, "records/s");
    row("peak RSS of the hub", peak, "MiB");
    row("processor time of the hub", cpu, "s");
    ships.iter().try_for_each(|ship| std::fs::remove_dir_all(&ship.path))?;
    finish(pair).await
}

/// How long a lone record takes from its append at a ship until the ship is told that it is durable
/// at the root: in Kafka, with this `commit_every`, or at a hub without one.
async fn latency(
    options: &Options,
    kafka: Option<(&Broker, &str)>,
    report: &mut Report,
) -> io::Result<()> {
    let told = kafka.map(|(broker, every)| settings(broker, &format!("lone-{every}"), every));
    let mut pair = Pair::make_with(options, false, &told.unwrap_or_default()).await?;
    if kafka.is_some() {
        pair.hub_runs.until("Kafka is reached", reached).await?;
    }
    let mut ship = pair.ship.run_up().await?;
    ship.until("the ship is up", reached).await?;
    let mut taken = Vec::new();
    for number in 0..TIMED / options.divisor.min(TIMED / 2) {
        // Not in step with the commits.
        pause(Duration::from_millis(number * 37 % 101)).await;
        let started = clock::precise();
        append(ship.client(), number).await?;
        rooted(&ship).await?;
        taken.push((clock::precise() - started).as_secs_f64() * 1e3);
    }
    taken.sort_by(f64::total_cmp);
    let at = |share: usize| taken[(taken.len() * share / 100).min(taken.len() - 1)];
    let what = match kafka {
        Some((_, every)) => format!("a lone record until in Kafka, commit_every {every}"),
        None => "a lone record until at a hub without Kafka".into(),
    };
    for share in [50, 99] {
        report.add(Row::new("kafka", format!("{what}, p{share}"), at(share), "ms"));
    }
    ship.terminate().await?;
    finish(pair).await
}

async fn append(client: &Client, number: u64) -> io::Result<()> {
    let body = Full::new(Bytes::from(format!("{{\"number\":{number}}}\n")));
    let mut answer = client.append(TOPIC, "", body).await.map_err(Error::other)?;
    while answer.next().await.map_err(Error::other)?.is_some() {}
    Ok(())
}

/// Waits until a ship was told that all it has is durable at the root.
async fn rooted(ship: &Running) -> io::Result<()> {
    let waited = async {
        loop {
            let status = ship.status().await;
            if status.is_some_and(|told| told.lanes.iter().all(|lane| lane.behind_records == 0)) {
                return;
            }
            pause(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(super::PATIENCE, waited).await.map_err(Error::other)
}

/// Processor time that a process has taken, in seconds.
fn processor_seconds(running: &Running) -> io::Result<f64> {
    let id = running.id().ok_or_else(|| Error::other("the hub has ended"))?;
    let text = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    // Behind the name, which may hold anything: state is the third field, times are 14 and 15.
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    Ok(ticks / TICKS)
}

/// Ends the hub, and removes both folders.
async fn finish(pair: Pair) -> io::Result<()> {
    pair.hub_runs.terminate().await?;
    std::fs::remove_dir_all(&pair.hub.path)?;
    std::fs::remove_dir_all(&pair.ship.path)
}
