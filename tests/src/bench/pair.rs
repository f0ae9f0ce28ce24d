//! A hub and a ship for a benchmark.

use std::io::{self, Error};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::Options;
use crate::process::{NodeDir, Program, Running};
use crate::soak::pair::free_port;
use landfall_simulation::rng::Rng;

/// The folders of the two nodes; the hub runs.
pub struct Pair {
    /// The hub's folder.
    pub hub: NodeDir,
    /// The ship's folder.
    pub ship: NodeDir,
    /// The hub's process.
    pub hub_runs: Running,
    /// Where the hub listens.
    pub hub_address: SocketAddr,
    /// Where the ship dials.
    pub dialed: SocketAddr,
}

/// Budgets that no benchmark fills, and nothing given back while one runs.
pub(super) const SETTINGS: &str = r#"
[storage]
segment_bytes = "16MiB"
keep_acked = "3650d"
[[lane]]
name = "normal"
priority = 0
budget_bytes = "32GiB"
[[lane]]
name = "urgent"
priority = 10
budget_bytes = "1GiB"
[[topic]]
name = "alert"
lane = "urgent"
"#;

impl Pair {
    /// Makes a hub and a ship that has joined it. With `relayed`, the ship dials another port,
    /// where a relay is to listen.
    ///
    /// # Errors
    /// A node can't be made or started.
    pub async fn make(options: &Options, relayed: bool) -> io::Result<Self> {
        Self::make_with(options, relayed, "").await
    }

    /// The same, with a hub that is told more.
    ///
    /// # Errors
    /// A node can't be made or started.
    pub async fn make_with(options: &Options, relayed: bool, told: &str) -> io::Result<Self> {
        let program = Program::find()?;
        let seed = landfall::entropy::number().map_err(|_| Error::other("no randomness"))?;
        let mut rng = Rng::new(seed);
        let mut address = || free_port(&mut rng).map(|port| (Ipv4Addr::LOCALHOST, port).into());
        let hub_address: SocketAddr = address()?;
        let dialed = if relayed { address()? } else { hub_address };
        let hub = NodeDir::new(&program, options.dir.join("hub"));
        let (listen, advertise) = (hub_address.to_string(), dialed.to_string());
        hub.done("init", &["--site", "hub", "--listen", &listen, "--advertise", &advertise])
            .await?;
        hub.configure(&[SETTINGS, told].concat())?;
        let hub_runs = hub.run_up().await?;
        let ship_program = match &options.device_program {
            Some(path) => Program::at(path.clone()),
            None => program,
        };
        let ship = NodeDir::new(&ship_program, options.dir.join("ship"));
        let token = hub.done("token", &["ship"]).await?;
        ship.done("init", &["--join", token.trim()]).await?;
        ship.configure(SETTINGS)?;
        Ok(Self { hub, ship, hub_runs, hub_address, dialed })
    }
}

/// The segment files of a node, in order of their names.
///
/// # Errors
/// The folder can't be read.
pub fn segments(data: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for file in std::fs::read_dir(data.join("segments"))? {
        files.push(file?.path());
    }
    files.sort();
    Ok(files)
}
