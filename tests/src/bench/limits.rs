//! What the machine can do: the disk alone, and QUIC alone.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Error};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use landfall::clock;
use landfall::identity::NodeKey;
use landfall::identity::tls::{self, HubKeys, RefusedKey};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustix::fs::{FallocateFlags, fallocate};

/// Bytes between two syncs, as many as a full commit has.
const STEP_BYTES: usize = 4 << 20;
/// Bytes handed to QUIC at once.
const PIECE_BYTES: usize = 64 << 10;
/// The keys of the two ends; they protect nothing.
const SINK_KEY: [u8; 32] = [1; 32];
const SOURCE_KEY: [u8; 32] = [2; 32];

/// Writes `bytes` bytes in steps into a file of reserved space, with a sync behind each. Returns
/// the seconds.
///
/// # Errors
/// The disk is full or fails.
pub fn write_synced(dir: &Path, bytes: u64, step: usize) -> io::Result<f64> {
    let path = dir.join("limit");
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
    fallocate(&file, FallocateFlags::empty(), 0, bytes.max(1))?;
    file.sync_all()?;
    // Something that is not all zeros, made before the clock runs.
    let piece: Vec<u8> = (0..step).map(|at| (at * 31 >> 3) as u8).collect();
    let started = clock::monotonic();
    let mut at = 0;
    while at < bytes {
        let len = (bytes - at).min(step as u64);
        file.write_all_at(&piece[..len as usize], at)?;
        file.sync_data()?;
        at += len;
    }
    let seconds = seconds_since(started);
    std::fs::remove_file(path)?;
    Ok(seconds)
}

/// As [`write_synced`], in steps of a full commit.
///
/// # Errors
/// The disk is full or fails.
pub fn write_commits(dir: &Path, bytes: u64) -> io::Result<f64> {
    write_synced(dir, bytes, STEP_BYTES)
}

/// The mean seconds of a `fdatasync` behind one written unit.
///
/// # Errors
/// The disk is full or fails.
pub fn sync_seconds(dir: &Path) -> io::Result<f64> {
    const SYNCS: u64 = 500;
    let unit = 4096;
    Ok(write_synced(dir, SYNCS * unit, unit as usize)? / SYNCS as f64)
}

/// Seconds since a point in time.
#[must_use]
pub fn seconds_since(started: clock::Monotonic) -> f64 {
    clock::monotonic().ms_since(started) as f64 / 1_000.0
}

/// Moves the first `bytes` bytes of `files` to another process over one stream of one bare QUIC
/// connection. Returns the seconds from the first byte to the answer that all have come.
///
/// # Errors
/// The other process does not start, or the connection fails.
pub async fn quic_alone(files: &[PathBuf], bytes: u64) -> io::Result<f64> {
    let mut sink = Sink::start()?;
    let crypto = tls::client_config(
        &NodeKey::from_seed(SOURCE_KEY),
        HubKeys(vec![NodeKey::from_seed(SINK_KEY).public()]),
        RefusedKey::default(),
    );
    let crypto = QuicClientConfig::try_from(crypto.map_err(Error::other)?).map_err(Error::other)?;
    let mut endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
    let connecting = endpoint.connect(sink.address()?, tls::SERVER_NAME).map_err(Error::other)?;
    let connection = connecting.await?;
    let (mut send, mut receive) = connection.open_bi().await?;
    let started = clock::monotonic();
    let mut left = bytes;
    for path in files {
        let file = File::open(path)?;
        let mut at = 0;
        loop {
            let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(left).unwrap_or(PIECE_BYTES))];
            let len = file.read_at(&mut piece, at)?;
            if len == 0 {
                break;
            }
            piece.truncate(len);
            send.write_chunk(piece.into()).await?;
            at += len as u64;
            left -= len as u64;
        }
    }
    send.finish().map_err(Error::other)?;
    receive.read_to_end(1).await.map_err(Error::other)?;
    let seconds = seconds_since(started);
    connection.close(0_u32.into(), b"done");
    endpoint.wait_idle().await;
    Ok(seconds)
}

/// The process that takes what [`quic_alone`] sends.
struct Sink(Child);

impl Sink {
    fn start() -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let child = command.arg(SINK_WORD).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        Ok(Self(child))
    }

    /// Where it listens, which is the first line it prints.
    fn address(&mut self) -> io::Result<SocketAddr> {
        let output = self.0.stdout.take().ok_or_else(|| Error::other("no output"))?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        line.trim().parse().map_err(Error::other)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The word that makes the program of the benchmarks a sink.
pub const SINK_WORD: &str = "quic-sink";

/// Takes what one connection sends, and answers when it ends.
///
/// # Errors
/// The connection fails.
pub async fn sink() -> io::Result<()> {
    let crypto = tls::server_config(&NodeKey::from_seed(SINK_KEY)).map_err(Error::other)?;
    let crypto = QuicServerConfig::try_from(crypto).map_err(Error::other)?;
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let endpoint = quinn::Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into())?;
    println!("{}", endpoint.local_addr()?);
    let incoming = endpoint.accept().await.ok_or_else(|| Error::other("nobody came"))?;
    let connection = incoming.await?;
    let (mut send, mut receive) = connection.accept_bi().await?;
    while receive.read_chunk(PIECE_BYTES, true).await.map_err(Error::other)?.is_some() {}
    send.write_all(b"!").await?;
    send.finish().map_err(Error::other)?;
    connection.closed().await;
    Ok(())
}
