//! The two nodes of a soak and the relay between them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use landfall::api::LinkState;
use landfall::transport::relay::{Relay, Shape};

use super::tally::Tally;
use crate::process::{NodeDir, Program, Running, until};
use landfall_simulation::rng::Rng;

/// Hub, ship, and what connects them. The processes end with this.
pub struct Pair {
    /// The hub's directory.
    pub hub: NodeDir,
    /// The ship's directory.
    pub ship: NodeDir,
    /// The hub's process, while it runs.
    pub hub_runs: Option<Running>,
    /// The ship's process, while it runs.
    pub ship_runs: Option<Running>,
    hub_address: SocketAddr,
    relay_address: SocketAddr,
    relay: Option<Relay>,
    relays: u64,
}

/// One of the two nodes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The one that is dialed.
    Hub,
    /// The one that dials.
    Ship,
}

/// Small segments, so that they change often; short waits, so that much happens in a minute.
fn settings(segment: &str, keep: &str, budget: &str) -> String {
    format!(
        r#"
[[topic]]
name = "log"
partitions = 3
[[topic]]
name = "alert"
lane = "urgent"
[storage]
segment_bytes = "{segment}"
keep_acked = "{keep}"
[hub]
idle_timeout = "5s"
[[lane]]
name = "normal"
priority = 0
budget_bytes = "{budget}"
[[lane]]
name = "urgent"
priority = 10
budget_bytes = "{budget}"
"#
    )
}

impl Pair {
    /// Makes the nodes of these names in `dir`, the hub with `more` settings, or goes on with those
    /// that are there, and starts them.
    ///
    /// # Errors
    /// What keeps them from starting.
    pub async fn open(
        dir: &Path,
        [hub, ship]: [&str; 2],
        tally: &mut Tally,
        seed: u64,
        more: &str,
    ) -> io::Result<Self> {
        let program = Program::find()?;
        if tally.hub_port == 0 {
            let mut rng = Rng::new(seed);
            (tally.hub_port, tally.relay_port) = (free_port(&mut rng)?, free_port(&mut rng)?);
        }
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut pair = Self {
            hub: NodeDir::new(&program, dir.join(hub)),
            ship: NodeDir::new(&program, dir.join(ship)),
            hub_runs: None,
            ship_runs: None,
            hub_address: address(tally.hub_port),
            relay_address: address(tally.relay_port),
            relay: None,
            relays: seed,
        };
        if !pair.hub.path.join("site").exists() {
            pair.make_hub(hub, more).await?;
        }
        pair.start(Side::Hub)?;
        pair.running(Side::Hub)?.up().await?;
        if !pair.ship.path.join("site").exists() {
            pair.make_ship(ship).await?;
        }
        pair.connect().await?;
        pair.start(Side::Ship)?;
        tally.save(dir)?;
        Ok(pair)
    }

    async fn make_hub(&self, site: &str, more: &str) -> io::Result<()> {
        let (listen, advertise) = (self.hub_address.to_string(), self.relay_address.to_string());
        let words = ["--site", site, "--listen", &listen, "--advertise", &advertise];
        self.hub.done("init", &words).await?;
        // The check wants every record at the hub, however long the soak.
        self.hub.configure(&format!("{}{more}", settings("2MiB", "3650d", "8GiB")))
    }

    async fn make_ship(&self, site: &str) -> io::Result<()> {
        let token = self.hub.done("token", &[site]).await?;
        self.ship.done("init", &["--join", token.trim()]).await?;
        // The last table of a node that has joined is the one of its upstream node.
        let settings = settings("512KiB", "10s", "32MiB");
        self.ship.configure(&format!("backoff_max = \"1s\"\n{settings}"))
    }

    /// Starts a node's process, which then takes its time.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start(&mut self, side: Side) -> io::Result<()> {
        match side {
            Side::Hub => self.hub_runs = Some(self.hub.run(&[])?),
            Side::Ship => self.ship_runs = Some(self.ship.run(&[])?),
        }
        Ok(())
    }

    /// The process of a node.
    ///
    /// # Errors
    /// It was not started.
    pub fn running(&mut self, side: Side) -> io::Result<&mut Running> {
        let running = match side {
            Side::Hub => self.hub_runs.as_mut(),
            Side::Ship => self.ship_runs.as_mut(),
        };
        running.ok_or_else(|| io::Error::other(format!("{side:?} was not started")))
    }

    /// Kills a node's process.
    ///
    /// # Errors
    /// It was ended already, by itself.
    pub async fn kill(&mut self, side: Side) -> io::Result<()> {
        let running = match side {
            Side::Hub => self.hub_runs.take(),
            Side::Ship => self.ship_runs.take(),
        };
        match running {
            Some(running) => running.kill().await,
            None => Ok(()),
        }
    }

    /// Stops a node's process in good order.
    ///
    /// # Errors
    /// It does not end, or not with exit code 0.
    pub async fn stop(&mut self, side: Side) -> io::Result<()> {
        let running = match side {
            Side::Hub => self.hub_runs.take(),
            Side::Ship => self.ship_runs.take(),
        };
        let Some(running) = running else { return Ok(()) };
        let status = running.terminate().await?;
        if status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("{side:?} stopped with {status}")))
    }

    /// Connects the two by a new relay: to the hub the ship then comes from another address.
    ///
    /// # Errors
    /// Its port is taken.
    pub async fn connect(&mut self) -> io::Result<()> {
        self.relay = None;
        self.relays += 1;
        let (here, there, seed) = (self.relay_address, self.hub_address, self.relays);
        // The tasks of the relay before give the port back in their own time.
        let relay = until("the relay's port is free", async || {
            Relay::start(here, there, Shape::default(), seed).ok()
        });
        self.relay = Some(relay.await.map_err(io::Error::other)?);
        Ok(())
    }

    /// Takes the link down or up.
    pub fn set_up(&self, up: bool) {
        if let Some(relay) = &self.relay {
            relay.set_up(up);
        }
    }

    /// Waits until all is at the hub, and stops both.
    ///
    /// # Errors
    /// It does not happen, or a node does not stop.
    pub async fn settle(&mut self) -> io::Result<()> {
        self.set_up(true);
        self.running(Side::Hub)?.up().await?;
        let synced = self.running(Side::Ship)?.until("all is at the hub", |status| {
            let synced = status.link.is_some_and(|link| link.state == LinkState::Synced);
            let behind: u64 = status.lanes.iter().map(|lane| lane.behind_records).sum();
            (synced && behind == 0).then_some(())
        });
        synced.await?;
        self.stop(Side::Ship).await?;
        self.stop(Side::Hub).await
    }
}

/// Where ports lie that the system gives to nobody who does not ask for them by number, so that a
/// node that is down finds its port free when it comes back.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const PORT_TRIES_MAX: usize = 100;

/// A port that is free on UDP and TCP.
///
/// # Errors
/// None was found.
pub fn free_port(rng: &mut Rng) -> io::Result<u16> {
    let mut last = io::Error::other("no port");
    for _ in 0..PORT_TRIES_MAX {
        let port = PORTS.start + rng.below(u64::from(PORTS.end - PORTS.start)) as u16;
        let address = (Ipv4Addr::LOCALHOST, port);
        match TcpListener::bind(address).and_then(|_| UdpSocket::bind(address)) {
            Ok(_) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(last)
}
