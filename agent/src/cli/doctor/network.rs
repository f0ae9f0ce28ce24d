//! The way to the hub: its name, UDP, TCP, its key, and what its clock says.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use landfall_core::batch::ClockQuality;
use landfall_core::num::{BootId, Epoch, LogId, Timestamp};
use landfall_protocol::buffer::Growable;
use landfall_protocol::channel::Channel as SessionChannel;
use landfall_protocol::limits::FRAME_BYTES_CAP;
use landfall_protocol::message::{Control, Introduction, LaneMessage, LaneOffer, Lanes, List};
use landfall_protocol::session::{Config as SessionConfig, Fault, Receiver, Role, Session};
use landfall_protocol::time::Instant;
use tokio::sync::mpsc;

use super::Check;
use crate::cli::Failure;
use crate::clock;
use crate::config::Config;
use crate::entropy;
use crate::identity::tls::HubKeys;
use crate::identity::{NodeKey, PublicKey};
use crate::quantity::duration_text;
use crate::transport::{
    Carrier, Channel, DialFailure, Probe, ResetKey, Settings, Transport, TransportEvent,
};

/// How long anything on the network may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Less than this and packets of QUIC do not fit at all.
const MTU_MIN: u16 = 1_200;
/// Clocks that differ by more than this confuse whoever reads timestamps.
const CLOCK_OFFSET_MS: u64 = 2_000;
const EVENTS_MAX: usize = 64;

/// Checks the way to the first address that resolves.
pub(super) async fn check(data: &Path, config: &Config) -> Result<Vec<Check>, Failure> {
    let addresses: Vec<_> = config.upstream.addresses.iter().map(ToString::to_string).collect();
    if addresses.is_empty() {
        return Ok(vec![Check::ok(
            "hub",
            "this node has no upstream, so there is no way to check",
        )]);
    }
    let refused =
        |error: &dyn std::fmt::Display| Failure::refused(format!("landfall doctor: {error}"));
    let key = NodeKey::load(data).map_err(|error| refused(&error))?;
    let key = key.ok_or_else(|| refused(&format!("there is no node in {}", data.display())))?;
    let mut reset = [0; 32];
    entropy::fill(&mut reset).map_err(|error| refused(&error))?;
    let (events, mut reported) = mpsc::channel(EVENTS_MAX);
    let settings = Settings { handshake_timeout: PATIENCE, ..Settings::device() };
    let transport = Transport::new(key, settings, ResetKey(reset), events);

    let (mut checks, resolved) = resolve(&addresses).await;
    let Some(address) = resolved else { return Ok(checks) };
    let pinned = pinned(config);
    let (udp, tcp) = tokio::join!(
        transport.probe(address, pinned.clone(), Carrier::Quic),
        transport.probe(address, pinned.clone(), Carrier::Tcp),
    );
    checks.extend(ways(address, &udp, &tcp));
    checks.push(hub_key(&pinned, &udp, &tcp));
    if udp.is_ok() || tcp.is_ok() {
        let trip = udp.ok().and_then(|probe| probe.round_trip).unwrap_or_default();
        transport.dial(vec![address.to_string()], pinned);
        let heard = tokio::time::timeout(PATIENCE, hear_clock(&mut reported)).await;
        checks.push(clock_offset(heard.ok().flatten(), trip));
    }
    Ok(checks)
}

fn pinned(config: &Config) -> HubKeys {
    let keys = config.upstream.keys.iter();
    HubKeys(keys.filter_map(|key| key.parse::<PublicKey>().ok()).collect())
}

async fn resolve(addresses: &[String]) -> (Vec<Check>, Option<SocketAddr>) {
    let (mut checks, mut first) = (Vec::new(), None);
    for address in addresses {
        let advice = "check the name, and this machine's resolver";
        match tokio::time::timeout(PATIENCE, tokio::net::lookup_host(address)).await {
            Ok(Ok(found)) => {
                let found: Vec<_> = found.collect();
                let listed: Vec<_> = found.iter().map(ToString::to_string).collect();
                let seen = match address.parse::<SocketAddr>() {
                    Ok(_) => format!("{address} is an address and needs no resolver"),
                    Err(_) => format!("{address} is {}", listed.join(", ")),
                };
                checks.push(Check::ok("name", seen));
                first = first.or(found.first().copied());
            }
            Ok(Err(error)) => {
                checks.push(Check::fail("name", format!("{address}: {error}"), advice));
            }
            Err(_) => {
                let seen = format!("{address}: the resolver does not answer");
                checks.push(Check::fail("name", seen, advice));
            }
        }
    }
    (checks, first)
}

type Probed = Result<Probe, DialFailure>;

fn ways(address: SocketAddr, udp: &Probed, tcp: &Probed) -> Vec<Check> {
    let mut checks = Vec::new();
    match udp {
        Ok(probe) => {
            let trip = duration_text(probe.round_trip.unwrap_or_default());
            checks.push(Check::ok("udp", format!("{address} answers over QUIC in {trip}")));
            let mtu = probe.mtu.unwrap_or_default();
            let seen = format!("datagrams of {mtu} bytes get through");
            checks.push(match mtu > MTU_MIN {
                true => Check::ok("mtu", seen),
                false => Check::warn("mtu", seen, "it works; larger ones would cost less"),
            });
        }
        Err(failure) if answered(failure) => {
            checks.push(Check::ok("udp", format!("{address} answers over QUIC")));
        }
        Err(failure) if tcp.is_ok() => {
            let advice = "TCP stands in; let UDP pass, both ways, for a faster link";
            checks.push(Check::warn("udp", failure.to_string(), advice));
        }
        Err(failure) => {
            let advice = "check that the hub runs and that no firewall is between";
            checks.push(Check::fail("udp", failure.to_string(), advice));
        }
    }
    checks.push(match tcp {
        Ok(_) => Check::ok("tcp", format!("{address} answers over TLS on TCP")),
        Err(failure) if answered(failure) => Check::ok("tcp", format!("{address} answers")),
        Err(failure) => {
            let advice = "where UDP is blocked, there would be no other way";
            Check::warn("tcp", failure.to_string(), advice)
        }
    });
    checks
}

/// Whether somebody was there, though not the hub.
fn answered(failure: &DialFailure) -> bool {
    matches!(failure, DialFailure::WrongHubKey { .. })
}

fn hub_key(pinned: &HubKeys, udp: &Probed, tcp: &Probed) -> Check {
    if pinned.0.is_empty() {
        let advice = "write the hub's key into upstream.keys, or enrol with a token";
        return Check::fail("hub key", "no key is pinned, so no hub is trusted", advice);
    }
    for probed in [udp, tcp] {
        match probed {
            Ok(probe) => {
                let seen = format!("the hub shows the pinned key {}", probe.peer.short());
                return Check::ok("hub key", seen);
            }
            Err(failure) if answered(failure) => {
                let advice = "do not go on before it is clear who answers there";
                return Check::fail("hub key", failure.to_string(), advice);
            }
            Err(_) => {}
        }
    }
    Check::warn("hub key", "not seen, since nobody answers", "")
}

fn clock_offset(heard: Option<Timestamp>, round_trip: Duration) -> Check {
    let Some(hub) = heard else {
        return Check::warn("clock", "the hub did not say its time", "is it overloaded?");
    };
    if clock::WallMs::from_ms(hub.get()).quality() == ClockQuality::Unset {
        let advice = "nobody goes by its time; set it";
        return Check::warn("clock", "nobody has set the hub's clock", advice);
    }
    let half = i64::try_from(round_trip.as_millis() / 2).unwrap_or_default();
    let ahead = clock::wall().ms().saturating_sub(hub.get().saturating_add(half));
    let apart = duration_text(Duration::from_millis(ahead.unsigned_abs()));
    let than = if ahead < 0 { "behind" } else { "ahead of" };
    let seen = format!("this clock is {apart} {than} the hub's");
    if ahead.unsigned_abs() > CLOCK_OFFSET_MS {
        let advice = "nothing is lost by it, and `read --corrected` tells what times should have \
                      been; set the clock";
        return Check::warn("clock", seen, advice);
    }
    Check::ok("clock", seen)
}

/// The clock in the hub's hello, which it says before it has heard ours. Ours is not said, so the
/// hub takes this for no second node of the same name.
async fn hear_clock(reported: &mut mpsc::Receiver<TransportEvent>) -> Option<Timestamp> {
    let lanes = Lanes::new(&[LaneOffer { name: "normal", priority: 1 }])?;
    let introduction = Introduction {
        site: "doctor",
        log: LogId::new(0),
        epoch: Epoch::new(0),
        boot: BootId::new(0),
        software: "",
        clock: Timestamp::new(0),
        root: None,
        promise: None,
        lanes,
        enrol: None,
        openings: List::new(&[]),
    };
    let config = SessionConfig::standard(FRAME_BYTES_CAP);
    let now = Instant::from_millis(clock::monotonic().ms());
    let mut session = Session::<Growable, 7>::new(Role::Dialer, config, introduction, now).ok()?;
    let mut ear = Ear(None);
    let (mut connection, mut held) = (None, Vec::new());
    while let Some(event) = reported.recv().await {
        match event {
            TransportEvent::Opened(opened) => connection = Some(opened.connection),
            TransportEvent::Received { channel: Channel::CONTROL, bytes, .. } => {
                held.extend_from_slice(&bytes);
                let taken = session.handle_received(SessionChannel::CONTROL, &held, now, &mut ear);
                held.drain(..taken);
                if ear.0.is_some() {
                    break;
                }
            }
            TransportEvent::Closed { .. } | TransportEvent::DialFailed { .. } => break,
            _ => {}
        }
    }
    // It was held until here, for without it the connection is closed.
    drop(connection);
    ear.0
}

struct Ear(Option<Timestamp>);

impl Receiver for Ear {
    fn on_control(&mut self, message: Control<'_>) -> Result<(), Fault> {
        if let Control::Hello(hello) = message {
            self.0 = Some(hello.introduction.clock);
        }
        Ok(())
    }

    fn on_lane(
        &mut self,
        _: landfall_protocol::channel::LaneIndex,
        _: LaneMessage<'_>,
        _: usize,
    ) -> Result<(), Fault> {
        Ok(())
    }
}
