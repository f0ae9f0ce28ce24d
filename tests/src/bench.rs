//! The benchmarks: what Landfall does beside what the machine can do, in one run on one machine.
//!
//! Each measures its limit in the same run and gives the ratio, since machines differ and are
//! noisy. Nodes are processes of the program that was built, unless a row says "library".
//!
//! - [`backlog`]: real positions, shifted in time and id per lap, and a ship's folder full of them.
//! - [`limits`]: what the disk and bare QUIC reach.
//! - [`catchup`], [`appends`], [`api`], [`memory`], [`opening`], [`urgent`], [`views`], [`wire`]: a
//!   benchmark each.
//! - [`jetstream`]: the same backlog through a NATS JetStream leaf node, if it is installed.
//! - [`kafka`]: a hub before a real Apache Kafka, beside its own [`producer_performance`].
//! - [`report`]: rows, for people and as JSON.

pub mod api;
pub mod appends;
pub mod backlog;
pub mod catchup;
pub mod jetstream;
pub mod kafka;
pub mod limits;
pub mod memory;
pub mod opening;
pub mod pair;
pub mod producer_performance;
pub mod report;
pub mod urgent;
pub mod views;
pub mod wire;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use report::{Goal, Report, Row};

/// How long a node may take for what a benchmark asks of it.
const PATIENCE: Duration = Duration::from_secs(900);

/// How a benchmark is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the nodes are made; what a benchmark made is gone when it ends.
    pub dir: PathBuf,
    /// Divides the amount of data, to try a benchmark out; 1 is the real thing.
    pub divisor: u64,
    /// The program as it goes onto devices, for what is measured of memory; the one beside this
    /// program if there is none.
    pub device_program: Option<PathBuf>,
}

/// The benchmarks, in the order in which they run.
pub const NAMES: [&str; 12] = [
    "bulk",
    "trickle",
    "jetstream",
    "append",
    "api",
    "views",
    "wire",
    "urgent",
    "memory",
    "opening",
    "size",
    "kafka",
];

/// Runs one benchmark.
///
/// # Errors
/// The machine lacks something, or a node does not do what it should.
pub async fn run(name: &str, options: &Options, report: &mut Report) -> io::Result<()> {
    let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(&options.dir)?;
    let options = &Options { dir: folder.path().to_owned(), ..options.clone() };
    match name {
        "api" => api::run(options, report).await,
        "append" => appends::run(options, report).await,
        "bulk" => catchup::bulk(options, report).await,
        "kafka" => kafka::run(options, report).await,
        "jetstream" => jetstream::run(options, report).await,
        "trickle" => catchup::trickle(options, report).await,
        "wire" => wire::run(options, report).await,
        "urgent" => urgent::run(options, report).await,
        "views" => views::run(options, report).await,
        "memory" => memory::run(options, report).await,
        "opening" => opening::run(options, report).await,
        "size" => size(options, report),
        _ => Err(io::Error::other(format!("no benchmark `{name}`"))),
    }
}

/// The stripped program for devices, in bytes.
fn size(options: &Options, report: &mut Report) -> io::Result<()> {
    let missing = || io::Error::other("which program? --device-program P");
    let path = options.device_program.as_ref().ok_or_else(missing)?;
    let mebibytes = path.metadata()?.len() as f64 / f64::from(1 << 20);
    let row = Row::new("size", "the program for devices, stripped", mebibytes, "MiB");
    report.add(row.goal(Goal::AtMost(4.0)));
    Ok(())
}
