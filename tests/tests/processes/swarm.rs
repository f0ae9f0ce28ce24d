//! Five hundred devices that come back at once when their hub was killed and runs again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use landfall::clock;
use landfall_protocol::message::GoodbyeCode;
use landfall_simulation::rng::Rng;
use landfall_tests::process::pause;
use landfall_tests::rogue::{Forged, Heard, Identity, Peer};
use tokio::sync::Barrier;

use crate::fleet::{Fleet, rss, values};

const DEVICES: u64 = 500;
/// Within what time all records of all must be at the hub again, on two cores.
const WITHIN_MS: u64 = 90_000;
/// What the hub may take in all.
const RSS_MAX: u64 = 300 << 20;

/// How the devices fared.
#[derive(Default)]
struct Tally {
    refused: AtomicU64,
    overloaded: AtomicU64,
}

struct Device {
    identity: Identity,
    stream: Forged,
    rng: Rng,
    tally: Arc<Tally>,
}

impl Device {
    /// Dials until it is let in, and waits as long as it is told to, or ever longer.
    async fn enter(&mut self) -> Peer {
        let mut longest = 1_000;
        loop {
            let wait = match Peer::enter(&self.identity).await {
                Ok(peer) => return peer,
                Err(Heard::Goodbye(GoodbyeCode::Overloaded { retry_after }, _)) => {
                    self.tally.overloaded.fetch_add(1, Ordering::Relaxed);
                    retry_after.millis()
                }
                Err(_) => {
                    self.tally.refused.fetch_add(1, Ordering::Relaxed);
                    longest = (2 * longest).min(8_000);
                    self.rng.below(longest)
                }
            };
            pause(Duration::from_millis(wait)).await;
        }
    }

    /// Brings records, and waits until they are durable.
    async fn bring(&mut self, values: &[&str]) {
        loop {
            let mut peer = self.enter().await;
            // It sends what it has not heard to be durable; a lost answer makes it send again.
            let mut stream = self.stream.clone();
            peer.send(1, &stream.entry(stream.next, values)).await;
            let end = stream.next;
            let done = |heard: &Heard| matches!(heard, Heard::Durable(_, to) if *to >= end);
            if done(&peer.until(done).await) {
                self.stream = stream;
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_that_comes_back_at_once_is_served_paced_and_within_bounds() {
    let fleet = Fleet::new(Default::default()).await.unwrap();
    fleet.hub.configure("[hub]\nhandshakes_max = 64\n").unwrap();
    let hub = fleet.hub.run_up().await.unwrap();
    let uses = DEVICES.to_string();
    let token = fleet.token("dev-*", &["--uses", &uses]).await.unwrap();
    let tally = Arc::new(Tally::default());
    let stop = Arc::new(Barrier::new(DEVICES as usize + 1));
    let mut devices = Vec::new();
    for n in 0..DEVICES {
        let mut identity = Identity::new(&format!("dev-{n}"), 1_000 + n, &token).unwrap();
        identity.token.addresses = vec![fleet.listens().to_string()];
        let stream = Forged::new(&identity.site, "log", 1);
        let mut device = Device { identity, stream, rng: Rng::new(n), tally: tally.clone() };
        let stop = stop.clone();
        devices.push(tokio::spawn(async move {
            let value = |k| format!("{{\"from\":{n},\"k\":{k}}}");
            device.bring(&[&value(0), &value(1)]).await;
            stop.wait().await;
            stop.wait().await;
            device.bring(&[&value(2), &value(3), &value(4)]).await;
        }));
    }
    stop.wait().await;
    hub.kill().await.unwrap();
    let hub = fleet.hub.run_up().await.unwrap();
    let (refused, began) = (tally.refused.load(Ordering::Relaxed), clock::monotonic());
    stop.wait().await;
    let mut highest = 0;
    for device in devices {
        device.await.unwrap();
        highest = highest.max(rss(&hub));
    }
    let took = clock::monotonic().ms_since(began);
    let again = tally.refused.load(Ordering::Relaxed) - refused;
    let overloaded = tally.overloaded.load(Ordering::Relaxed);
    println!("{took} ms, {} MiB, {again} dials refused, {overloaded} overloaded", highest >> 20);
    assert!(took < WITHIN_MS, "it took {took} ms");
    assert!(highest < RSS_MAX, "the hub takes {} MiB", highest >> 20);
    assert!(again > 0, "nothing was paced: the test is too small");
    let found = values(&fleet.hub, "log").await.unwrap();
    let wanted: BTreeSet<_> = (0..DEVICES)
        .flat_map(|n| (0..5).map(move |k| format!("{{\"from\":{n},\"k\":{k}}}")))
        .collect();
    assert_eq!(found.len(), wanted.len(), "each record is there once");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), wanted);
    assert!(hub.terminate().await.unwrap().success());
    assert_eq!(fleet.hub.call("verify", &[]).await.unwrap().code, Some(0));
}
