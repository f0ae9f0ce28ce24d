//! Hosts with several uplinks, such as the hubs of a group, and what each of them may bring.

use landfall_node::{InternalRecord, Settings, Uplink};

use super::World;
use super::gate::{OWNERS, WorldGate};
use super::host::Host;

impl Host {
    /// The host that it dials at an uplink.
    pub(super) fn above(&self, uplink: Uplink) -> Option<String> {
        match uplink {
            Uplink::FIRST => self.upstream.clone(),
            _ => self.uplinks.get(&uplink).cloned(),
        }
    }
}

impl World {
    /// A node that dials another one, as one of a group.
    pub fn hub_of_group(&mut self, name: &str, upstream: &str) {
        let settings = Settings { upstream: true, in_group: true, ..Settings::standard(name) };
        self.add_host(name, settings, Some(upstream));
    }

    /// Opens an uplink of a host, which leads to another one.
    pub fn open_uplink(&mut self, name: &str, uplink: Uplink, to: &str) {
        self.host_mut(name).uplinks.insert(uplink, to.into());
        self.tell_uplinks(name, |_| {}, "an uplink was opened");
        self.drive(name);
    }

    /// Closes an uplink of a host.
    pub fn close_uplink(&mut self, name: &str, uplink: Uplink) {
        self.host_mut(name).uplinks.remove(&uplink);
        self.tell_uplinks(name, |_| {}, "an uplink was closed");
        self.drive(name);
    }

    /// Lets what was written at an origin go over an uplink of a host, open or not, from now on.
    pub fn assign(&mut self, name: &str, origin: &str, uplink: Uplink) {
        let assign = |gate: &mut WorldGate| {
            gate.uplinks.insert(origin.into(), uplink);
        };
        assign(&mut self.host_mut(name).rules);
        self.tell_uplinks(name, assign, "another node owns a shard");
        self.drive(name);
    }

    /// Tells the node of a host which uplinks it has.
    pub(super) fn tell_uplinks(
        &mut self,
        name: &str,
        assign: impl FnOnce(&mut WorldGate),
        why: &str,
    ) {
        self.trace.say(self.now, name, || why.into());
        let now = self.clock_of(name);
        let host = self.host_mut(name);
        let uplinks: Vec<_> = host.uplinks.keys().copied().collect();
        if let Some(node) = &mut host.node {
            node.set_uplinks(&uplinks, assign, why, now);
        }
    }

    /// Lets only one host bring to the root what was written at an origin. Its links begin anew.
    /// Returns whether that is durable.
    pub fn own_at(&mut self, root: &str, origin: &str, owner: &str) -> bool {
        let value = Some(owner.as_bytes().to_vec());
        let record = InternalRecord { topic: OWNERS, key: origin.as_bytes().to_vec(), value };
        let durable = self.record(root, &record);
        let hosts: Vec<_> = self.hosts.keys().cloned().collect();
        if let Some(node) = &mut self.host_mut(root).node {
            hosts.iter().for_each(|site| node.part_from(site, "another node owns a shard"));
        }
        self.drive(root);
        durable
    }
}
