//! A hub in a temporary folder, and ships that join it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use bytes::Bytes;
use http_body_util::Full;
use landfall::api::{AppendDone, Client, LinkState, ReceiptLine, Status};
use landfall::transport::relay::{Relay, Shape};
use landfall_simulation::rng::Rng;
use landfall_tests::process::{NodeDir, PATIENCE, Program, Running};
use landfall_tests::soak::pair::free_port;
use tempfile::TempDir;

/// A hub, stopped or running, behind a relay.
pub(crate) struct Fleet {
    pub(crate) dir: TempDir,
    pub(crate) program: Program,
    pub(crate) hub: NodeDir,
    /// What ships reach the hub through.
    pub(crate) relay: Relay,
    address: SocketAddr,
}

impl Fleet {
    /// Makes a hub, and does not start it.
    pub(crate) async fn new(shape: Shape) -> io::Result<Self> {
        Self::within(tempfile::tempdir()?, shape).await
    }

    /// Makes a hub of this name, and does not start it.
    pub(crate) async fn named(site: &str) -> io::Result<Self> {
        Self::of(tempfile::tempdir()?, site, Shape::default()).await
    }

    /// Makes a hub in the folder `hub` of a folder, where there may be an empty one.
    pub(crate) async fn within(dir: TempDir, shape: Shape) -> io::Result<Self> {
        Self::of(dir, "hub", shape).await
    }

    async fn of(dir: TempDir, site: &str, shape: Shape) -> io::Result<Self> {
        let program = Program::find()?;
        let hub = NodeDir::new(&program, dir.path().join("hub"));
        let seed = landfall::entropy::number().map_err(io::Error::other)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(&mut Rng::new(seed))?));
        let relay = Relay::start((Ipv4Addr::LOCALHOST, 0).into(), address, shape, seed)?;
        let (listen, advertise) = (address.to_string(), relay.address().to_string());
        let words = ["--site", site, "--listen", &listen, "--advertise", &advertise];
        hub.done("init", &words).await?;
        Ok(Self { dir, program, hub, relay, address })
    }

    /// Makes a hub and starts it.
    pub(crate) async fn running() -> io::Result<(Self, Running)> {
        let fleet = Self::new(Shape::default()).await?;
        let hub = fleet.hub.run_up().await?;
        Ok((fleet, hub))
    }

    /// Where the hub itself listens.
    pub(crate) fn listens(&self) -> SocketAddr {
        self.address
    }

    /// A place for a node.
    pub(crate) fn node(&self, name: &str) -> NodeDir {
        NodeDir::new(&self.program, self.dir.path().join(name))
    }

    /// A token for a site.
    pub(crate) async fn token(&self, site: &str, words: &[&str]) -> io::Result<String> {
        let token = self.hub.done("token", &[&[site], words].concat()).await?;
        Ok(token.trim().to_owned())
    }

    /// Makes a ship that dials again soon when a dial has failed.
    pub(crate) async fn ship(&self, site: &str) -> io::Result<NodeDir> {
        let token = self.token(site, &[]).await?;
        self.ship_with(site, &token).await
    }

    /// Makes a ship with a token, in a folder of its site's name.
    pub(crate) async fn ship_with(&self, folder: &str, token: &str) -> io::Result<NodeDir> {
        let ship = self.node(folder);
        ship.done("init", &["--join", token]).await?;
        ship.configure("backoff_max = \"1s\"\ntcp_fallback_delay = \"100ms\"\n")?;
        Ok(ship)
    }

    /// Writes lines into a file of the fleet's folder.
    pub(crate) fn file(&self, name: &str, lines: &[String]) -> io::Result<String> {
        let path: PathBuf = self.dir.path().join(name);
        std::fs::write(&path, lines.join("\n") + "\n")?;
        Ok(path.to_string_lossy().into_owned())
    }
}

/// Bytes of memory that a process takes.
pub(crate) fn rss(running: &Running) -> u64 {
    let path = format!("/proc/{}/status", running.id().expect("it runs"));
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Lines that differ from all lines of another name.
pub(crate) fn lines(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!(r#"{{"from":"{name}","k":{},"n":{n}}}"#, n % 7)).collect()
}

/// The values of a topic at a node, in its order.
pub(crate) async fn values(node: &NodeDir, topic: &str) -> io::Result<Vec<String>> {
    let read = node.done("read", &[topic]).await?;
    let value = |line: &str| {
        let record: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(record.get("value")?.to_string())
    };
    Ok(read.lines().filter_map(value).collect())
}

/// Lines of the input that an append told to be durable.
pub(crate) fn through(out: &str) -> usize {
    let receipts = out.lines().filter_map(|line| serde_json::from_str::<ReceiptLine>(line).ok());
    receipts.map(|receipt| receipt.through_line).max().unwrap_or(0) as usize
}

/// Appends a line under its producer's number. Says whether it was acknowledged.
pub(crate) async fn append_numbered(
    client: &Client,
    topic: &str,
    number: usize,
    line: &str,
) -> bool {
    let query = format!("partition=0&producer=p&first_sequence={number}");
    let body = Full::new(Bytes::from(format!("{line}\n")));
    let appended = async {
        let mut answer = client.append(topic, &query, body).await.ok()?;
        let mut done = None;
        while let Some(line) = answer.next().await.ok()? {
            done = serde_json::from_slice::<serde_json::Value>(&line).ok()?.get("done").cloned();
        }
        serde_json::from_value::<AppendDone>(done?).ok()
    };
    tokio::time::timeout(PATIENCE, appended).await.expect("an append is answered").is_some()
}

/// The same lines, whatever their order, each as often.
pub(crate) fn assert_same(mut found: Vec<String>, wanted: &[&[String]]) {
    let mut wanted = wanted.concat();
    found.sort();
    wanted.sort();
    let lacks: Vec<_> = wanted.iter().filter(|line| !found.contains(line)).take(3).collect();
    assert_eq!(found.len(), wanted.len(), "of these, some are missing: {lacks:?}");
    assert_eq!(found, wanted);
}

/// All that the node has is durable at the root.
pub(crate) fn synced(status: Status) -> Option<Status> {
    let link = status.link.as_ref()?;
    let behind: u64 = status.lanes.iter().map(|lane| lane.behind_records).sum();
    (link.state == LinkState::Synced && behind == 0).then_some(status)
}

/// Whether the node is connected to the one above it.
pub(crate) fn is_up(status: &Status) -> bool {
    let state = status.link.as_ref().map(|link| link.state);
    matches!(state, Some(LinkState::Synced | LinkState::CatchingUp))
}

/// What alarms a status has.
pub(crate) fn alarms(status: &Status) -> Vec<&str> {
    status.alarms.iter().map(|alarm| alarm.what.as_str()).collect()
}
