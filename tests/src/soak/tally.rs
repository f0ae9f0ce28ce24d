//! What a soak's folder has seen, over all runs: a small JSON file.

use std::fmt;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

/// Counts over all runs in one folder, and what a later run must know.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Processes ended by SIGKILL.
    pub kills: u64,
    /// Nodes stopped by SIGTERM and started again.
    pub stops: u64,
    /// Times the link was taken away.
    pub cuts: u64,
    /// Times all was seen to go on after a number of kills.
    pub calms: u64,
    /// Records found at the hub in the last check.
    pub records: u64,
    /// Records acknowledged to producers.
    pub acknowledged: u64,
    /// Records sent again and recognised by the node.
    pub duplicates: u64,
    /// Checks passed.
    pub checks: u64,
    /// Seconds that all runs took.
    pub seconds: u64,
    /// Where the hub listens.
    pub hub_port: u16,
    /// Where the relay does.
    pub relay_port: u16,
}

const FILE: &str = "soak.json";

impl Tally {
    /// Reads the counts, or begins to count.
    ///
    /// # Errors
    /// The file is there and can't be read.
    pub fn load(dir: &Path) -> io::Result<Self> {
        let text = match std::fs::read(dir.join(FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            text => text?,
        };
        let read: Value = serde_json::from_slice(&text)?;
        let mut tally = Self::default();
        for (name, count) in tally.counts() {
            *count = read.get(name).and_then(Value::as_u64).unwrap_or_default();
        }
        let port = |name: &str| {
            let port = read.get(name).and_then(Value::as_u64);
            port.and_then(|port| u16::try_from(port).ok()).unwrap_or_default()
        };
        (tally.hub_port, tally.relay_port) = (port("hub_port"), port("relay_port"));
        Ok(tally)
    }

    /// Writes the counts.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn save(&self, dir: &Path) -> io::Result<()> {
        let mut written = json!({"hub_port": self.hub_port, "relay_port": self.relay_port});
        let mut counted = self.clone();
        for (name, count) in counted.counts() {
            written[name] = json!(*count);
        }
        let path = dir.join(FILE);
        let new = path.with_extension("new");
        std::fs::write(&new, format!("{written:#}\n"))?;
        std::fs::rename(new, path)
    }

    fn counts(&mut self) -> [(&'static str, &mut u64); 9] {
        [
            ("kills", &mut self.kills),
            ("stops", &mut self.stops),
            ("cuts", &mut self.cuts),
            ("calms", &mut self.calms),
            ("records", &mut self.records),
            ("acknowledged", &mut self.acknowledged),
            ("duplicates", &mut self.duplicates),
            ("checks", &mut self.checks),
            ("seconds", &mut self.seconds),
        ]
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills, {} stops, {} lost links in {} s; {} records acknowledged, {} at the hub, \
             {} sent again and recognised",
            self.kills,
            self.stops,
            self.cuts,
            self.seconds,
            self.acknowledged,
            self.records,
            self.duplicates
        )
    }
}
