//! Kafka's own measure of itself: `org.apache.kafka.tools.ProducerPerformance`, in transactions.

use std::io::{self, Error};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::PATIENCE;

/// How it sends.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bytes of a batch at most.
    pub batch: u32,
    /// How long a transaction is open.
    pub transaction_ms: u32,
    /// How batches are packed.
    pub compression: &'static str,
}

/// What is tried, to hold us against the best. All with `acks=all`, 5 requests under way, a memory
/// of 128 MiB and 5 ms to fill a batch.
pub const TRIED: [Settings; 6] = [
    Settings { batch: 65_536, transaction_ms: 1_000, compression: "lz4" },
    Settings { batch: 262_144, transaction_ms: 100, compression: "lz4" },
    Settings { batch: 262_144, transaction_ms: 1_000, compression: "lz4" },
    Settings { batch: 1_000_000, transaction_ms: 100, compression: "lz4" },
    Settings { batch: 1_000_000, transaction_ms: 1_000, compression: "lz4" },
    Settings { batch: 262_144, transaction_ms: 1_000, compression: "none" },
];

impl std::fmt::Display for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { batch, transaction_ms, compression } = self;
        write!(f, "batches of {batch} B, transactions of {transaction_ms} ms, {compression}")
    }
}

/// Sends that many records, which are lines of a file, to a topic. Returns records a second, as it
/// tells them.
///
/// # Errors
/// It can't be run, or does not send them all.
pub async fn run(
    settings: Settings,
    broker: SocketAddr,
    topic: &str,
    (payload, records): (&Path, u64),
) -> io::Result<f64> {
    let Settings { batch, transaction_ms, compression } = settings;
    let mut java = Command::new("java");
    java.args(["-Xmx1g", "-cp"]).arg(jars()?.join("*"));
    java.args(["org.apache.kafka.tools.ProducerPerformance", "--topic", topic]);
    java.args(["--bootstrap-server", &broker.to_string(), "--throughput", "-1"]);
    java.args(["--num-records", &records.to_string(), "--payload-file"]).arg(payload);
    java.args(["--transactional-id", topic]);
    java.args(["--transaction-duration-ms", &transaction_ms.to_string(), "--command-property"]);
    java.args(["acks=all", "linger.ms=5", "buffer.memory=134217728"]);
    java.args(["max.in.flight.requests.per.connection=5"]);
    java.args([format!("batch.size={batch}"), format!("compression.type={compression}")]);
    java.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, java.output()).await??;
    let said = String::from_utf8_lossy(&output.stdout);
    let told = said.lines().rev().find_map(|line| {
        let (sent, rest) = line.split_once(" records sent, ")?;
        let (rate, _) = rest.split_once(" records/sec")?;
        (sent.parse() == Ok(records)).then(|| rate.parse().ok())?
    });
    told.ok_or_else(|| Error::other(format!("ProducerPerformance told no rate: {said}")))
}

/// The jars that the broker runs with.
fn jars() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let found = own.ancestors().map(|folder| folder.join("kafka/jars")).find(|path| path.is_dir());
    found.ok_or_else(|| Error::other("no jars; `cargo xtask bench kafka` fetches them"))
}
