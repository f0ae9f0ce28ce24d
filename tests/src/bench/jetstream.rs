//! The same backlog through a NATS JetStream leaf node: a stream at the leaf, mirrored by the hub.
//!
//! Its mirror is done when the hub counts all messages. It syncs its files every two minutes, so it
//! promises less then than Landfall's hub.

use std::io::{self, Error};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use landfall::clock;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::backlog::{self, Laps};
use super::limits::seconds_since;
use super::pair::Pair;
use super::report::{Goal, Report, Row};
use super::{Options, PATIENCE, catchup};
use crate::process::pause;

const PROGRAM: &str = "nats-server";
const RECORDS: u64 = 1_000_000;
const STREAM: &str = "ais";
/// How long an answer of a server may take.
const ANSWER: Duration = Duration::from_secs(30);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(10);

/// Mirrors a backlog by JetStream and by Landfall, one after the other. Where there is no
/// `nats-server` it says so and measures nothing.
///
/// # Errors
/// A server or node does not do what it should.
pub async fn run(options: &Options, report: &mut Report) -> io::Result<()> {
    let version = Command::new(PROGRAM).arg("--version").output();
    let Some(version) = version.ok().filter(|output| output.status.success()) else {
        println!("jetstream  {PROGRAM} is not installed; nothing is measured");
        return Ok(());
    };
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let records = RECORDS / options.divisor;
    let theirs = records as f64 / mirror(&options.dir, records).await?;
    let pair = Pair::make(options, false).await?;
    let backlog = backlog::fill(&pair.ship.path, records).await?;
    let ours = records as f64 / catchup::catch_up(pair, &backlog).await?;
    let row = Row::new("jetstream", "catch-up in bulk, records", ours, "records/s");
    let beside = format!("the mirror of a leaf, {version}");
    report.add(row.beside(beside, theirs).goal(Goal::AtLeast(10.0)));
    Ok(())
}

/// Fills a stream at a leaf, then lets a hub mirror it. Returns the seconds of the latter.
async fn mirror(dir: &Path, records: u64) -> io::Result<f64> {
    let [hub_port, leaf_port, link_port] = free_ports()?;
    let listen = format!("listen: \"127.0.0.1:{link_port}\"");
    let remote = format!("reconnect: 1, remotes: [{{url: \"nats://127.0.0.1:{link_port}\"}}]");
    let _leaf = Server::start(dir, "leaf", leaf_port, &remote)?;
    let mut leaf = Client::connect(leaf_port).await?;
    let stream = json!({"name": STREAM, "subjects": [STREAM], "storage": "file"});
    leaf.ask(&format!("$JS.API.STREAM.CREATE.{STREAM}"), &stream).await?;
    leaf.publish(Laps::new().take(records as usize)).await?;
    leaf.await_messages(records).await?;
    let _hub = Server::start(dir, "hub", hub_port, &listen)?;
    let mut hub = Client::connect(hub_port).await?;
    hub.await_leaf().await?;
    let origin = json!({"name": STREAM, "external": {"api": "$JS.leaf.API"}});
    let stream = json!({"name": STREAM, "storage": "file", "mirror": origin});
    let started = clock::monotonic();
    hub.ask(&format!("$JS.API.STREAM.CREATE.{STREAM}"), &stream).await?;
    hub.await_messages(records).await?;
    Ok(seconds_since(started))
}

/// Three ports of loopback that nobody has.
fn free_ports() -> io::Result<[u16; 3]> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let held = [bind()?, bind()?, bind()?];
    let [a, b, c] = &held;
    Ok([a.local_addr()?.port(), b.local_addr()?.port(), c.local_addr()?.port()])
}

/// A server, killed when it is dropped.
struct Server(Child);

impl Server {
    /// Starts one whose JetStream domain and folder have its name.
    fn start(dir: &Path, name: &str, port: u16, leafnodes: &str) -> io::Result<Self> {
        let store = dir.join(name);
        let config = dir.join(format!("{name}.conf"));
        let text = format!(
            "server_name: {name}\nlisten: \"127.0.0.1:{port}\"\n\
             jetstream {{ store_dir: {:?}, domain: {name} }}\nleafnodes {{ {leafnodes} }}\n",
            store.display().to_string()
        );
        std::fs::write(&config, text)?;
        let mut command = Command::new(PROGRAM);
        command.arg("-c").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn()?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A client of the NATS protocol that awaits each answer.
struct Client(BufStream<TcpStream>);

impl Client {
    /// Connects once the server listens.
    async fn connect(port: u16) -> io::Result<Self> {
        let started = clock::monotonic();
        let stream = loop {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                Ok(stream) => break stream,
                Err(error) if seconds_since(started) > ANSWER.as_secs_f64() => return Err(error),
                Err(_) => pause(PAUSE).await,
            }
        };
        let mut client = Self(BufStream::new(stream));
        client.0.write_all(b"CONNECT {\"verbose\":false}\r\nSUB in 1\r\n").await?;
        Ok(client)
    }

    async fn publish(&mut self, values: impl Iterator<Item = String>) -> io::Result<()> {
        for value in values {
            let message = format!("PUB {STREAM} {}\r\n{value}\r\n", value.len());
            self.0.write_all(message.as_bytes()).await?;
        }
        self.0.flush().await
    }

    /// Asks the server's API, and takes no error for an answer.
    async fn ask(&mut self, subject: &str, body: &Value) -> io::Result<Value> {
        let answer = timeout(ANSWER, self.request(subject, body)).await??;
        match answer.get("error") {
            Some(error) => Err(Error::other(format!("{PROGRAM}: {subject}: {error}"))),
            None => Ok(answer),
        }
    }

    async fn request(&mut self, subject: &str, body: &Value) -> io::Result<Value> {
        let body = body.to_string();
        let message = format!("PUB {subject} in {}\r\n{body}\r\n", body.len());
        self.0.write_all(message.as_bytes()).await?;
        self.0.flush().await?;
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line.starts_with("PING") {
                self.0.write_all(b"PONG\r\n").await?;
                self.0.flush().await?;
            } else if line.starts_with("MSG") {
                let len = line.split_whitespace().last().and_then(|len| len.parse().ok());
                let len: usize = len.ok_or(io::ErrorKind::InvalidData)?;
                let mut body = vec![0; len + 2];
                self.0.read_exact(&mut body).await?;
                return serde_json::from_slice(&body).map_err(Error::other);
            }
        }
    }

    async fn await_messages(&mut self, count: u64) -> io::Result<()> {
        let subject = format!("$JS.API.STREAM.INFO.{STREAM}");
        let started = clock::monotonic();
        loop {
            let answer = self.ask(&subject, &json!({})).await?;
            if answer["state"]["messages"].as_u64() >= Some(count) {
                return Ok(());
            }
            if seconds_since(started) > PATIENCE.as_secs_f64() {
                return Err(Error::other(format!("{PROGRAM}: {count} messages did not come")));
            }
            pause(PAUSE).await;
        }
    }

    /// Waits until the leaf's API answers through the hub; before that nobody answers.
    async fn await_leaf(&mut self) -> io::Result<()> {
        let started = clock::monotonic();
        let asked = Duration::from_millis(200);
        while timeout(asked, self.request("$JS.leaf.API.INFO", &json!({}))).await.is_err() {
            if seconds_since(started) > ANSWER.as_secs_f64() {
                return Err(Error::other(format!("{PROGRAM}: the leaf does not connect")));
            }
        }
        Ok(())
    }
}
