//! The benchmarks: what Landfall does beside what the machine can do, in one run on one machine.
//!
//! Each measures its limit in the same run and gives the ratio, since machines differ and are
//! noisy. Nodes are processes of the program that was built, unless a row says "library".
//!
//! - [`backlog`]: real positions, shifted in time and id per lap, and a ship's folder full of them.
//! - [`limits`]: what the disk and bare QUIC reach.
//! - [`catchup`], [`appends`], [`memory`], [`opening`], [`urgent`], [`wire`]: a benchmark each.
//! - [`report`]: rows, for people and as JSON.

pub mod appends;
pub mod backlog;
pub mod catchup;
pub mod limits;
pub mod memory;
pub mod opening;
pub mod pair;
pub mod report;
pub mod urgent;
pub mod wire;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use report::Report;

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
pub const NAMES: [&str; 7] =
    ["append", "bulk", "trickle", "wire", "urgent", "memory", "opening"];

/// Runs one benchmark.
///
/// # Errors
/// The machine lacks something, or a node does not do what it should.
pub async fn run(name: &str, options: &Options, report: &mut Report) -> io::Result<()> {
    let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(&options.dir)?;
    let options = &Options { dir: folder.path().to_owned(), ..options.clone() };
    match name {
        "append" => appends::run(options, report).await,
        "bulk" => catchup::bulk(options, report).await,
        "trickle" => catchup::trickle(options, report).await,
        "wire" => wire::run(options, report).await,
        "urgent" => urgent::run(options, report).await,
        "memory" => memory::run(options, report).await,
        "opening" => opening::run(options, report).await,
        _ => Err(io::Error::other(format!("no benchmark `{name}`"))),
    }
}
