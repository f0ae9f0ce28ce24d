//! The other hubs before a Kafka: what is of a shard that one of them owns is forwarded to it, by
//! an ordinary uplink.

use std::collections::{BTreeMap, BTreeSet};

use super::machine::{Machine, now};
use crate::identity::PublicKey;
use crate::identity::tls::HubKeys;
use crate::kafka::route::shard;
use crate::node::{UPLINKS_MAX, Uplink};
use crate::transport::AttemptId;

/// Which uplink leads to which hub.
#[derive(Debug, Default)]
pub(super) struct Forwards {
    shards: u32,
    /// For as long as the node runs.
    uplinks: BTreeMap<PublicKey, Uplink>,
    /// Dials that were not answered yet.
    dials: BTreeMap<AttemptId, Uplink>,
    /// What the node was told last: the uplink of each shard, and those that are open.
    told: (Vec<Uplink>, BTreeSet<Uplink>),
}

impl Forwards {
    pub(super) fn new(shards: u32) -> Self {
        Self { shards, ..Self::default() }
    }

    /// The uplink to a hub; none if there are too many hubs.
    fn to(&mut self, hub: PublicKey) -> Option<Uplink> {
        let next = self.uplinks.len() + 1;
        let uplink = self.uplinks.get(&hub).copied();
        uplink.or_else(|| {
            let uplink = Uplink(u8::try_from(next).ok().filter(|_| next < UPLINKS_MAX)?);
            self.uplinks.insert(hub, uplink);
            Some(uplink)
        })
    }
}

/// An uplink that is never open: what is sent there waits.
const NOWHERE: Uplink = Uplink(u8::MAX);

impl Machine {
    /// Lets what is of each shard go to the hub that owns it.
    pub(super) fn route(&mut self) {
        let gate = self.node.gate();
        let mut ways = Vec::new();
        let mut open = BTreeSet::new();
        for shard in 0..self.forwards.shards {
            let owner = gate.owners().of(shard).map(|owner| owner.hub);
            let other = owner.filter(|hub| *hub != self.key);
            let way = other.map(|hub| self.forwards.to(hub).unwrap_or(NOWHERE));
            let known = other.is_some_and(|hub| gate.hubs().record(&hub).is_some());
            open.extend(way.filter(|way| known && *way != NOWHERE));
            if way == Some(NOWHERE) {
                tracing::error!(shard, "there are too many hubs in the group; its sites wait");
            }
            ways.push(way.unwrap_or(Uplink::FIRST));
        }
        let told = (ways.clone(), open.clone());
        if self.forwards.told == told {
            return;
        }
        self.forwards.told = told;
        let open: Vec<_> = open.into_iter().collect();
        tracing::info!(?ways, "where the shards are");
        let why = "shards are owned by other hubs than before; call again";
        self.node.set_uplinks(&open, |gate| gate.assign(ways, shard), why, now());
    }

    /// Dials the hub that an uplink leads to.
    pub(super) fn dial_hub(&mut self, uplink: Uplink) {
        let hub = self.forwards.uplinks.iter().find(|(_, to)| **to == uplink);
        let record = hub.and_then(|(key, _)| Some((*key, self.node.gate().hubs().record(key)?)));
        let (Some((key, record)), Some(transport)) = (record, &self.transport) else {
            let why = "it is not known where that hub listens";
            return self.node.handle_dial_failed(uplink, why, now());
        };
        tracing::info!(hub = record.site, "dialing a hub that owns shards");
        let addresses = record.addresses.clone();
        let _network = self.network.enter();
        let attempt = transport.dial(addresses, HubKeys(vec![key]));
        self.forwards.dials.insert(attempt, uplink);
    }

    /// The uplink that was dialed.
    pub(super) fn dialed(&mut self, attempt: AttemptId) -> Uplink {
        self.forwards.dials.remove(&attempt).unwrap_or(Uplink::FIRST)
    }
}
