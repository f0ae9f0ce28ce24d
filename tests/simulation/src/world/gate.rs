//! Who may do what in a world: everybody everything, but for what is forbidden or revoked.

use std::collections::{BTreeMap, BTreeSet};

use landfall_core::num::Timestamp;
use landfall_node::{Admission, Gate, OpenGate, PeerKey, Uplink};
use landfall_protocol::message::{Enrol, GoodbyeCode};

/// Something that a site may not do at a host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Rule {
    /// It may not carry records of an origin.
    Carry(&'static str, &'static str),
    /// It may not write a topic.
    Write(&'static str, &'static str),
    /// It may not have a copy of a topic.
    Subscribe(&'static str, &'static str),
}

/// The rights at a host.
#[derive(Clone, Debug, Default)]
pub struct WorldGate {
    pub(super) rules: Vec<Rule>,
    /// Sites that are not let in, and sites with topics that they may not have, as the node's own
    /// topic says.
    revoked: BTreeSet<String>,
    /// Which site alone may bring what was written at an origin, as the node's own topic says.
    owners: BTreeMap<String, String>,
    /// The uplinks of origins whose records do not go over the first.
    pub(super) uplinks: BTreeMap<String, Uplink>,
}

/// The node's own topic that says who is revoked.
pub(super) const SITES: &str = "_sites";
/// The one that says who may bring what.
pub(super) const OWNERS: &str = "_owners";

impl Gate for WorldGate {
    fn admit(
        &self,
        key: PeerKey,
        site: &str,
        enrol: Option<Enrol<'_>>,
        wall: Timestamp,
    ) -> Admission {
        if self.revoked.contains(site) {
            let (code, text) = (GoodbyeCode::Revoked, "ask the operator".into());
            return Admission::Refused { code, text };
        }
        OpenGate.admit(key, site, enrol, wall)
    }

    fn is_welcome(&self, _key: PeerKey, site: &str) -> bool {
        !self.revoked.contains(site)
    }

    fn may_carry(&self, site: &str, origin: &str) -> bool {
        let forbids =
            |rule: &Rule| matches!(rule, Rule::Carry(by, of) if (*by, *of) == (site, origin));
        !self.rules.iter().any(forbids)
    }

    fn may_write(&self, site: &str, origin: &str, topic: &str) -> bool {
        let forbids =
            |rule: &Rule| matches!(rule, Rule::Write(by, to) if (*by, *to) == (site, topic));
        let owns = self.owners.get(origin).is_none_or(|owner| owner == site);
        owns && OpenGate.may_write(site, origin, topic) && !self.rules.iter().any(forbids)
    }

    fn may_subscribe(&self, site: &str, topic: &str) -> bool {
        let forbids =
            |rule: &Rule| matches!(rule, Rule::Subscribe(by, to) if (*by, *to) == (site, topic));
        let taken = self.revoked.contains(&format!("{site}/{topic}"));
        OpenGate.may_subscribe(site, topic) && !taken && !self.rules.iter().any(forbids)
    }

    fn uplink_of(&self, origin: &str) -> Uplink {
        self.uplinks.get(origin).copied().unwrap_or(Uplink::FIRST)
    }

    fn apply(&mut self, topic: &str, key: &[u8], value: Option<&[u8]>) {
        let site = String::from_utf8_lossy(key).into_owned();
        match value {
            Some(_) if topic == SITES => drop(self.revoked.insert(site)),
            None if topic == SITES => drop(self.revoked.remove(&site)),
            Some(owner) if topic == OWNERS => {
                self.owners.insert(site, String::from_utf8_lossy(owner).into_owned());
            }
            _ => {}
        }
    }
}
