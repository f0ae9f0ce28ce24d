//! Devices on serial lines of a gateway: a microcontroller in QEMU whose power goes and whose line
//! is bad, and somebody without a key.
//!
//! `cargo xtask firmware` builds the firmware and names it in `LANDFALL_FIRMWARE`; without it the
//! chain from the microcontroller to the hub is skipped.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::{env, fs, io};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use landfall::{clock, time_text};
use landfall_protocol::line::{Caller, LineKey};
use landfall_protocol::time::Instant;
use landfall_simulation::rng::Rng;
use landfall_tests::injection::skipped;
use landfall_tests::process::{NodeDir, Running, until};
use landfall_tests::soak::pair::free_port;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::fleet::Fleet;

/// The key of the emulated device.
const KEY: [u8; 32] = [7; 32];
/// Starts of the device.
const STARTS: u64 = 8;
/// One byte in so many is damaged on the line.
const NOISE_ONE_IN: u64 = 5_000;

/// A hub, and a gateway below it with a serial line for `buoy-4`.
struct Scene {
    fleet: Fleet,
    hub: Running,
    gateway: Running,
    node: NodeDir,
    line: SocketAddr,
}

impl Scene {
    async fn new() -> Self {
        let (fleet, hub) = Fleet::running().await.unwrap();
        let token = fleet.token("gateway", &["--carry", "buoy-*"]).await.unwrap();
        let node = fleet.ship_with("gateway", &token).await.unwrap();
        let keys = fleet.dir.path().join("line.keys");
        let hex: String = KEY.iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(&keys, format!("# the pier\nbuoy-4 {hex}\n")).unwrap();
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();
        let seed = landfall::entropy::number().unwrap();
        let line = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(&mut Rng::new(seed)).unwrap()));
        let settings =
            format!("[[serial]]\ntcp = \"{line}\"\nkeys_file = \"{}\"\n", keys.display());
        node.configure(&settings).unwrap();
        let gateway = node.run_up().await.unwrap();
        Self { fleet, hub, gateway, node, line }
    }

    async fn offences(&self, name: &str) -> u64 {
        let status = self.gateway.status().await.expect("the gateway answers");
        status.offences.get(name).copied().unwrap_or_default()
    }

    /// Records that the hub has.
    async fn arrived(&self) -> u64 {
        self.hub.status().await.expect("the hub answers").streams.records
    }

    /// What the hub has of the device, each offset once.
    async fn records(&self) -> BTreeMap<u64, u64> {
        let read = self.fleet.hub.done("read", &["sea"]).await.unwrap();
        let mut found = BTreeMap::new();
        for line in read.lines() {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(record["origin"], "buoy-4");
            let value = match &record["value"] {
                serde_json::Value::Object(bytes) => {
                    BASE64_STANDARD.decode(bytes["base64"].as_str().unwrap()).unwrap()
                }
                serde_json::Value::String(text) => text.clone().into_bytes(),
                value => value.to_string().into_bytes(),
            };
            let value = u64::from_le_bytes(value.try_into().unwrap());
            let offset = record["offset"].as_u64().unwrap();
            assert_eq!(found.insert(offset, value), None, "offset {offset} is there twice");
        }
        found
    }

    /// When the newest record was made, as the hub tells it of a device that knows no date.
    async fn dated(&self) -> Option<i64> {
        let read = self.fleet.hub.done("read", &["sea", "--corrected"]).await.unwrap();
        let record: serde_json::Value = serde_json::from_str(read.lines().last()?).unwrap();
        assert_eq!(record["clock"], "unset");
        assert!(record["timestamp"].as_str().unwrap().starts_with("1970-01-01T00:0"));
        time_text::parse(record["corrected"].as_str()?)
    }
}

#[tokio::test]
async fn what_a_microcontroller_acknowledged_is_at_the_hub_once_whatever_happens_on_its_way() {
    let test = "what_a_microcontroller_acknowledged_is_at_the_hub_once_whatever_happens_on_its_way";
    let Some(firmware) = firmware(test) else { return };
    let scene = Scene::new().await;
    let (mut rng, folder) = (Rng::new(11), tempfile::tempdir().unwrap());
    fs::write(folder.path().join("flash.bin"), vec![0xFF; 16 * 4096]).unwrap();
    fs::write(folder.path().join("line.key"), KEY).unwrap();
    let bad_line = BadLine::before(scene.line).await.unwrap();
    let mut told = BTreeMap::new();
    for start in 1..=STARTS {
        let device = Device::start(&firmware, folder.path(), bad_line.address).unwrap();
        // The last start is left alone until all has arrived that was told before.
        let last = told.keys().next_back().copied().unwrap_or_default();
        let wanted = if start == STARTS { last + 1 } else { scene.arrived().await + rng.below(40) };
        let what = format!("start {start}: {wanted} records at the hub");
        let arrived = async || (scene.arrived().await >= wanted).then_some(());
        until(&what, arrived).await.unwrap();
        told.extend(device.kill().await);
    }
    let found = scene.records().await;
    let offsets: Vec<u64> = found.keys().copied().collect();
    assert_eq!(offsets, (0..found.len() as u64).collect::<Vec<_>>(), "none is missing");
    let mut checked = 0;
    for (offset, value) in told.range(..found.len() as u64) {
        assert_eq!(found[offset], *value, "offset {offset}");
        checked += 1;
    }
    assert!(checked > 50, "{checked} records were told and arrived");
    assert!(bad_line.damaged() > 5, "{} bytes were damaged", bad_line.damaged());
    assert!(scene.offences("line_noise").await > 0, "noise is counted");
    assert_eq!(scene.offences("line_key").await, 0, "and is nobody");
    let dated = until("the hub knows when the last record was made", || scene.dated()).await;
    let ago_ms = clock::wall().ms() - dated.unwrap();
    assert!((-5_000..600_000).contains(&ago_ms), "{ago_ms} ms ago");
    let hub = scene.hub.status().await.unwrap();
    assert!(hub.offences.is_empty() && hub.alarms.is_empty(), "{:?}", hub.alarms);
}

#[tokio::test]
async fn who_calls_on_a_serial_line_without_its_key_is_refused_and_named() {
    let scene = Scene::new().await;
    for (site, key) in [("buoy-4", [8; 32]), ("buoy-5", KEY)] {
        let before = scene.offences("line_key").await;
        let mut line = TcpStream::connect(scene.line).await.unwrap();
        let mut stranger = Caller::new(site, LineKey::new(key), [1; 16]);
        let start = Instant::default();
        stranger.handle_timeout(start);
        line.write_all(stranger.waiting(start)).await.unwrap();
        let refused = async || (scene.offences("line_key").await > before).then_some(());
        until("it is refused", refused).await.unwrap();
        let log = fs::read_to_string(scene.node.log()).unwrap();
        let told = log.lines().filter(|line| line.contains("line_key"));
        assert!(told.into_iter().any(|line| line.contains(site)), "{site} is not in the log");
    }
    // Who only makes noise is cut off in time, and is no device.
    let mut line = TcpStream::connect(scene.line).await.unwrap();
    line.write_all(b"\0AT+CGMI\r\n\0").await.unwrap();
    let noise = async || (scene.offences("line_noise").await > 0).then_some(());
    until("noise is counted", noise).await.unwrap();
    assert_eq!(line.read(&mut [0; 100]).await.unwrap(), 0, "it was not answered, and is cut off");
    assert!(scene.offences("handshake_timeout").await > 0);
    assert_eq!(scene.arrived().await, 0);
}

/// The built firmware for a test, which says that it is skipped if there is none.
fn firmware(test: &str) -> Option<PathBuf> {
    let firmware = env::var_os("LANDFALL_FIRMWARE").map(PathBuf::from);
    if firmware.is_none() {
        skipped(test, "`cargo xtask firmware` builds what it needs");
    }
    firmware
}

/// A running emulator, and what it told.
struct Device {
    child: Child,
    told: JoinHandle<BTreeMap<u64, u64>>,
}

impl Device {
    fn start(firmware: &Path, folder: &Path, line: SocketAddr) -> io::Result<Self> {
        let mut command = Command::new("qemu-system-arm");
        command.args(["-machine", "lm3s6965evb", "-cpu", "cortex-m3", "-display", "none"]);
        command.args(["-monitor", "none", "-serial", &format!("tcp:{line}"), "-serial", "stdio"]);
        command.args(["-semihosting-config", "enable=on,target=native", "-kernel"]);
        command.arg(firmware).current_dir(folder).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).split(b'\n');
        let told = tokio::spawn(async move {
            let mut told = BTreeMap::new();
            while let Ok(Some(line)) = lines.next_segment().await {
                let line = String::from_utf8_lossy(&line).into_owned();
                let words: Vec<&str> = line.split(' ').collect();
                // The last line may have been cut with the power, and is not counted then.
                if let ["stored", offset, value] = words[..]
                    && let (Ok(offset), Ok(value)) = (offset.parse(), value.parse())
                {
                    told.insert(offset, value);
                }
            }
            told
        });
        Ok(Self { child, told })
    }

    /// Cuts the power, in the middle of whatever it does. Returns what it had told.
    async fn kill(mut self) -> BTreeMap<u64, u64> {
        self.child.kill().await.unwrap();
        let mut told = self.told.await.unwrap();
        // A number that was cut looks like another one.
        told.pop_last();
        told
    }
}

/// A line that damages bytes, before the gateway's.
struct BadLine {
    address: SocketAddr,
    damaged: Arc<Mutex<u64>>,
    _carried: JoinHandle<()>,
}

impl BadLine {
    async fn before(gateway: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, damaged) = (listener.local_addr()?, Arc::new(Mutex::new(0)));
        let count = damaged.clone();
        let carried = tokio::spawn(async move {
            for seed in 0.. {
                let Ok((device, _)) = listener.accept().await else { return };
                let Ok(gateway) = TcpStream::connect(gateway).await else { return };
                let (from_device, to_device) = device.into_split();
                let (from_gateway, to_gateway) = gateway.into_split();
                tokio::spawn(damage(from_device, to_gateway, Rng::new(2 * seed), count.clone()));
                tokio::spawn(damage(
                    from_gateway,
                    to_device,
                    Rng::new(2 * seed + 1),
                    count.clone(),
                ));
            }
        });
        Ok(Self { address, damaged, _carried: carried })
    }

    fn damaged(&self) -> u64 {
        *self.damaged.lock().unwrap()
    }
}

/// Carries bytes, and changes, drops or adds some.
async fn damage(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut rng: Rng,
    count: Arc<Mutex<u64>>,
) {
    let mut buffer = [0; 256];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let mut bytes = Vec::new();
        for byte in &buffer[..read] {
            let what = rng.below(NOISE_ONE_IN);
            *count.lock().unwrap() += u64::from(what < 1);
            match what {
                0 => match rng.below(3) {
                    0 => {}
                    1 => bytes.push(byte ^ 1 << rng.below(8)),
                    _ => bytes.extend([*byte, rng.below(256) as u8]),
                },
                _ => bytes.push(*byte),
            }
        }
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
