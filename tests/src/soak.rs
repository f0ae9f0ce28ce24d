//! The soak: a hub and a device as real processes, killed at random while records are appended.
//!
//! ```text
//! producers ──Unix socket──▶ ship ──relay──▶ hub        all but the two nodes: this process
//!     └──────▶ ledger          ▲                ▲
//!                              └── SIGKILL, cut ┘
//! ```
//!
//! Every record says which producer wrote it as its how-manieth, and all else in it follows from
//! these two numbers, so the check needs nothing but the ledger of what was sent and acknowledged.
//!
//! - [`ledger`]: what was sent and what was acknowledged, on disk before it counts.
//! - [`producer`]: who appends, with and without numbering its lines for the node.
//! - [`pair`]: the two nodes and the relay between them.
//! - [`storm`]: what befalls them, drawn from a seed.
//! - [`kafka`]: the same with a Kafka behind one hub or several, and a census of what is there.
//! - [`check`]: both journals, read record by record, against the ledger and each other.

pub mod check;
pub mod kafka;
pub mod ledger;
pub mod pair;
pub mod producer;
pub mod storm;
pub mod tally;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use landfall::clock;
use tokio::sync::watch;
use tokio::task::JoinSet;

use ledger::Ledger;
use pair::Pair;
use tally::Tally;

/// What a soak is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many times a process is killed, in this run.
    pub kills: u64,
    /// Decides what happens when, as far as the machine lets it.
    pub seed: u64,
    /// Where the nodes are: a folder that an earlier soak left is gone on with.
    pub dir: PathBuf,
    /// When to stop even if not all kills are done.
    pub minutes: Option<u64>,
    /// Whether to print how it goes.
    pub verbose: bool,
}

/// Why a soak did not come to a good end.
#[derive(Debug)]
pub enum SoakError {
    /// The nodes broke a promise; each line is one.
    Violation(Vec<String>),
    /// The machine lacks something.
    Machine(io::Error),
}

impl From<io::Error> for SoakError {
    fn from(error: io::Error) -> Self {
        Self::Machine(error)
    }
}

impl fmt::Display for SoakError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violation(lines) => write!(f, "promises were broken:\n{}", lines.join("\n")),
            Self::Machine(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SoakError {}

/// Kills, lets everything settle, and checks. Returns what this folder has seen so far.
///
/// # Errors
/// See [`SoakError`].
pub async fn run(options: &Options) -> Result<Tally, SoakError> {
    let started = clock::monotonic();
    std::fs::create_dir_all(&options.dir)?;
    let mut tally = Tally::load(&options.dir)?;
    let ledger = Arc::new(Mutex::new(Ledger::open(&options.dir)?));
    let mut pair = Pair::open(&options.dir, ["hub", "ship"], &mut tally, options.seed, "").await?;
    let (stop, stopped) = watch::channel(false);
    let mut producers = JoinSet::new();
    for who in 0..producer::PRODUCERS.len() {
        let (client, ledger, stopped) = (pair.ship.client(), ledger.clone(), stopped.clone());
        producers.spawn(producer::produce(who, client, ledger, options.seed, stopped));
    }
    let struck = storm::strike(options, &mut pair, &mut tally, &ledger).await;
    stop.send_replace(true);
    while let Some(done) = producers.join_next().await {
        done.map_err(io::Error::other)?.map_err(|line| SoakError::Violation(vec![line]))?;
    }
    struck?;
    pair.settle().await?;
    tally.seconds += clock::monotonic().ms_since(started) / 1_000;
    let mut ledger = ledger.lock().map_err(|_| io::Error::other("a producer panicked"))?;
    ledger.close()?;
    let found = check::check(&pair, &ledger).map_err(SoakError::Violation)?;
    tally.records = found.records;
    tally.acknowledged = ledger.acknowledged();
    tally.duplicates += ledger.duplicates();
    tally.checks += 1;
    tally.save(&options.dir)?;
    Ok(tally)
}
