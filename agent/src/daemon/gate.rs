//! The gate of a hub: the registry of sites and the book of tokens, kept in the node's own topics.

use std::collections::BTreeMap;

use landfall_core::num::Timestamp;
use landfall_protocol::message::{Enrol, GoodbyeCode};

use super::enrolling::{self, Asked, Waiting};
use super::wear;
use crate::identity::registry::{self, Admission as Admitted, Enrolment, Registry, SiteState};
use crate::identity::token::{TokenId, TokenSecret};
use crate::identity::token_record::{self, TokenBook, TokenVerdict};
use crate::identity::{Hubs, LineKeys, Owners, PublicKey, Rights, UnixSeconds, hubs, owners};
use crate::node::{Admission, Gate, InternalRecord, PeerKey, Uplink};

/// Registered sites and tokens, folded from `_sites` and `_tokens`.
#[derive(Debug, Default)]
pub struct SiteGate {
    sites: Registry,
    tokens: TokenBook,
    hubs: Hubs,
    owners: Owners,
    /// What the node had written in its life, when that was noted last.
    written: u64,
    /// Where each shard goes, and how the shard of an origin is found; empty if all goes one way.
    ways: Vec<Uplink>,
    shard: Option<fn(&str, u32) -> u32>,
    /// Whether other hubs share the registry, so that no site is registered here alone.
    shared: bool,
    /// The sites that ask to be registered, if it is shared.
    enrolling: Waiting,
    /// The sites whose keys the serial lines have, by what the keys are known as.
    devices: BTreeMap<PublicKey, String>,
    /// What they may do.
    plain: Rights,
    /// What the other hubs may do.
    forwards: Rights,
}

impl SiteGate {
    /// A gate that lets the devices in whose keys these are, besides whoever is registered.
    pub fn with_devices<'a>(keys: impl IntoIterator<Item = &'a LineKeys>) -> Self {
        let mut devices = BTreeMap::new();
        for keys in keys {
            let named =
                keys.sites().filter_map(|site| Some((keys.name_of(site)?, site.to_owned())));
            devices.extend(named);
        }
        let (plain, forwards) = (Rights::plain(), Rights::forwards());
        Self { devices, plain, forwards, ..Self::default() }
    }

    fn is_device(&self, site: &str) -> bool {
        self.devices.values().any(|device| device == site)
    }

    /// A device speaks for the site of its key, and for no other.
    fn admit_device(&self, device: &str, site: &str) -> Result<(), (GoodbyeCode, String)> {
        if device != site {
            let text = format!("the key of {device} was shown by somebody who says it is {site}");
            return Err((GoodbyeCode::NotEnrolled, text));
        }
        match self.sites.record(site).map(|record| record.state) {
            None => Ok(()),
            Some(SiteState::Revoked) => {
                let text = format!("{site} was revoked; ask the operator of this node");
                Err((GoodbyeCode::Revoked, text))
            }
            Some(SiteState::Active) => {
                let text = format!("{site} is registered here with a key of its own");
                Err((GoodbyeCode::NotEnrolled, text))
            }
        }
    }

    /// The same gate where several hubs share what it knows.
    #[must_use]
    pub fn shared(self) -> Self {
        Self { shared: true, ..self }
    }

    /// The registered sites.
    pub fn sites(&self) -> &Registry {
        &self.sites
    }

    /// The tokens.
    pub fn tokens(&self) -> &TokenBook {
        &self.tokens
    }

    /// The hubs that share the registry.
    pub fn hubs(&self) -> &Hubs {
        &self.hubs
    }

    /// The hubs that own the shards.
    pub fn owners(&self) -> &Owners {
        &self.owners
    }

    /// Bytes that the node had written in its life when that was noted last.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Sets the uplink of each shard.
    pub fn assign(&mut self, ways: Vec<Uplink>, shard: fn(&str, u32) -> u32) {
        (self.ways, self.shard) = (ways, Some(shard));
    }

    /// The hub with this key, if it is another one that shares the registry.
    fn hub(&self, key: &PublicKey) -> Option<&str> {
        self.hubs.record(key).filter(|_| self.shared).map(|hub| hub.site.as_str())
    }

    fn is_hub(&self, site: &str) -> bool {
        self.shared && self.hubs.sites().any(|hub| hub == site)
    }

    /// The sites that have asked to be registered since, if the registry is shared, and what
    /// registers them.
    pub fn take_enrolling(&self) -> (Vec<Asked>, Vec<InternalRecord>) {
        let asked = self.enrolling.take();
        let records = enrolling::records(&asked, &self.sites, &self.tokens);
        (asked, records)
    }

    /// Decides again about sites, since others decided something meanwhile.
    pub fn enrol_again(&self, asked: Vec<Asked>) {
        self.enrolling.put(asked);
    }

    /// Lets a site in, or lets it wait where other hubs must hear of it first.
    fn admitted(&self, site: &str, asked: Asked) -> Admission {
        if !self.shared {
            let records = enrolling::records(&[asked], &self.sites, &self.tokens);
            return Admission::Admitted { site: site.into(), records };
        }
        self.enrolling.put([asked]);
        Admission::Later { text: format!("{site} is being registered in Kafka; come again soon") }
    }

    fn enrol(
        &self,
        key: PublicKey,
        site: &str,
        enrol: Option<Enrol<'_>>,
        now: UnixSeconds,
    ) -> Result<Asked, (GoodbyeCode, String)> {
        let Some(enrol) = enrol else {
            let text = format!(
                "{site} is not registered here; make a token with `landfall token` at the hub and \
                 run `landfall init --join`"
            );
            return Err((GoodbyeCode::NotEnrolled, text));
        };
        let refused = |text: &str| (GoodbyeCode::TokenRefused, text.to_owned());
        if self.is_device(site) {
            return Err(refused("a device on a serial line has this name; choose another"));
        }
        if self.is_hub(site) {
            return Err(refused("a hub has this name; choose another"));
        }
        let id = TokenId::try_from(enrol.token.to_owned());
        let id = id.map_err(|_| refused("the token has no valid id"))?;
        let secret = enrol.secret.try_into().map_err(|_| refused("the token has no secret"))?;
        let secret = TokenSecret::from_random(secret);
        match self.tokens.verdict(id, &secret, site, &key, now) {
            TokenVerdict::Valid => {}
            verdict => {
                return Err(refused(&format!("{verdict}; ask the hub's operator for a new one")));
            }
        }
        match self.sites.enrolment(site, &key) {
            Enrolment::Open | Enrolment::Repeated => {}
            Enrolment::NameTaken => {
                return Err(refused("another key is registered under this site; choose another"));
            }
            Enrolment::KeyTaken { site } => {
                return Err(refused(&format!("this key is registered as {site}")));
            }
            Enrolment::Revoked => {
                let text = "this site was revoked; ask the hub's operator".to_owned();
                return Err((GoodbyeCode::Revoked, text));
            }
        }
        Ok(Asked { site: site.into(), key, token: id, secret, at: now })
    }

    fn rights(&self, site: &str) -> Option<&Rights> {
        let Some(record) = self.sites.record(site) else {
            let plain = Some(&self.plain).filter(|_| self.is_device(site));
            return plain.or_else(|| Some(&self.forwards).filter(|_| self.is_hub(site)));
        };
        (record.state == SiteState::Active).then_some(&record.rights)
    }
}

impl Gate for SiteGate {
    fn admit(
        &self,
        key: PeerKey,
        site: &str,
        enrol: Option<Enrol<'_>>,
        wall: Timestamp,
    ) -> Admission {
        let key = PublicKey::from_bytes(key.0);
        let now = UnixSeconds(u64::try_from(wall.get() / 1_000).unwrap_or_default());
        let refused = |code, text: String| Admission::Refused { code, text };
        if let Some(device) = self.devices.get(&key) {
            return match self.admit_device(device, site) {
                Ok(()) => Admission::Admitted { site: site.into(), records: Vec::new() },
                Err((code, text)) => refused(code, text),
            };
        }
        if let Some(hub) = self.hub(&key) {
            return match hub == site {
                true => Admission::Admitted { site: site.into(), records: Vec::new() },
                false => {
                    let text = format!("the key of hub {hub} was shown by {site}");
                    refused(GoodbyeCode::NotEnrolled, text)
                }
            };
        }
        match self.sites.admit(&key) {
            Admitted::Admitted { site, .. } => {
                Admission::Admitted { site: site.into(), records: Vec::new() }
            }
            Admitted::Revoked { site } => {
                refused(GoodbyeCode::Revoked, format!("{site} was revoked; ask the hub's operator"))
            }
            Admitted::Ambiguous => refused(
                GoodbyeCode::NotEnrolled,
                "this key is registered under two names; ask the hub's operator".into(),
            ),
            Admitted::Unknown => match self.enrol(key, site, enrol, now) {
                Ok(asked) => self.admitted(site, asked),
                Err((code, text)) => refused(code, text),
            },
        }
    }

    fn is_welcome(&self, key: PeerKey, site: &str) -> bool {
        let key = PublicKey::from_bytes(key.0);
        if let Some(device) = self.devices.get(&key) {
            return self.admit_device(device, site).is_ok();
        }
        if self.hub(&key) == Some(site) {
            return true;
        }
        let known = self.sites.site_of(&key);
        known.is_some_and(|(name, record)| name == site && record.state == SiteState::Active)
    }

    fn may_carry(&self, site: &str, origin: &str) -> bool {
        self.rights(site).is_some_and(|rights| rights.may_carry(origin))
    }

    fn may_write(&self, site: &str, origin: &str, topic: &str) -> bool {
        self.rights(site).is_some_and(|rights| rights.may_write(site, origin, topic))
    }

    fn may_subscribe(&self, site: &str, topic: &str) -> bool {
        self.rights(site).is_some_and(|rights| rights.may_subscribe(site, topic))
    }

    fn uplink_of(&self, origin: &str) -> Uplink {
        let shard = self.shard.map(|shard| shard(origin, self.ways.len() as u32));
        let way = shard.and_then(|shard| self.ways.get(shard as usize));
        way.copied().unwrap_or(Uplink::FIRST)
    }

    fn split_from(&self, site: &str) -> Option<&str> {
        self.sites.record(site)?.split_from.as_deref()
    }

    fn apply(&mut self, topic: &str, key: &[u8], value: Option<&[u8]>) {
        let taken = match topic {
            registry::TOPIC => self.sites.apply(key, value).map_err(|fault| fault.to_string()),
            token_record::TOPIC => self.tokens.apply(key, value).map_err(|fault| fault.to_string()),
            hubs::TOPIC => self.hubs.apply(key, value).map_err(|fault| fault.to_string()),
            owners::TOPIC => self.owners.apply(key, value).map_err(|fault| fault.to_string()),
            wear::TOPIC => {
                self.written = wear::told(key, value).unwrap_or(self.written);
                Ok(())
            }
            _ => Ok(()),
        };
        if let Err(fault) = taken {
            tracing::error!(topic, %fault, "a registry record can't be read; it admits nobody");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::registry::SiteRecord;

    fn keys() -> LineKeys {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let text = format!("buoy-4 {}\nbuoy-5 {}\n", "04".repeat(32), "05".repeat(32));
        crate::whole_file::write_whole(&path, text.as_bytes(), 0o600).unwrap();
        LineKeys::read(&path).unwrap()
    }

    fn refused(gate: &SiteGate, key: PeerKey, site: &str) -> Option<GoodbyeCode> {
        match gate.admit(key, site, None, Timestamp::new(0)) {
            Admission::Admitted { site: admitted, records } => {
                assert!(admitted == site && records.is_empty() && gate.is_welcome(key, site));
                None
            }
            Admission::Later { text } => panic!("nothing is shared: {text}"),
            Admission::Refused { code, .. } => {
                assert!(!gate.is_welcome(key, site));
                Some(code)
            }
        }
    }

    #[test]
    fn a_device_is_the_site_of_its_key_and_may_do_what_a_plain_token_gives() {
        let keys = keys();
        let gate = SiteGate::with_devices([&keys]);
        let key = |site| PeerKey(*keys.name_of(site).unwrap().as_bytes());
        assert_eq!(refused(&gate, key("buoy-4"), "buoy-4"), None);
        assert_eq!(refused(&gate, key("buoy-4"), "buoy-5"), Some(GoodbyeCode::NotEnrolled));
        assert_eq!(refused(&gate, key("buoy-4"), "ship-1"), Some(GoodbyeCode::NotEnrolled));
        assert!(gate.may_write("buoy-4", "buoy-4", "sea"));
        assert!(!gate.may_write("buoy-4", "buoy-4", "_sites"));
        assert!(!gate.may_write("buoy-4", "buoy-5", "sea") && !gate.may_carry("buoy-4", "buoy-5"));
        assert!(!gate.may_write("ship-1", "ship-1", "sea"), "nobody else gets in by this");
        let enrol = Some(Enrol { token: "t", secret: &[1; 32] });
        let told = gate.admit(PeerKey([1; 32]), "buoy-4", enrol, Timestamp::new(0));
        let Admission::Refused { text, .. } = told else { panic!("buoy-4 enrolled") };
        assert!(text.contains("a device on a serial line has this name"), "{text}");
    }

    #[test]
    fn what_the_registry_says_of_a_devices_name_goes_before_its_key() {
        let keys = keys();
        let mut gate = SiteGate::with_devices([&keys]);
        let key = PeerKey(*keys.name_of("buoy-4").unwrap().as_bytes());
        for (state, code) in [
            (SiteState::Active, GoodbyeCode::NotEnrolled),
            (SiteState::Revoked, GoodbyeCode::Revoked),
        ] {
            let record = SiteRecord {
                key: PublicKey::from_bytes([1; 32]),
                rights: Rights::plain(),
                state,
                enrolled_at: UnixSeconds(0),
                token: None,
                split_from: None,
            };
            gate.apply(registry::TOPIC, b"buoy-4", Some(&record.to_json()));
            assert_eq!(refused(&gate, key, "buoy-4"), Some(code));
        }
    }

    fn put_hub(gate: &mut SiteGate, key: PeerKey, site: &str) {
        let record = crate::identity::HubRecord { site: site.into(), addresses: Vec::new() };
        let key = PublicKey::from_bytes(key.0).to_string();
        gate.apply(hubs::TOPIC, key.as_bytes(), Some(&record.to_json()));
    }

    #[test]
    fn a_hub_of_the_group_brings_what_others_wrote_and_nobody_else_has_its_name() {
        let hub = PeerKey([7; 32]);
        let mut gate = SiteGate::with_devices([]).shared();
        assert_eq!(refused(&gate, hub, "hub-2"), Some(GoodbyeCode::NotEnrolled));
        put_hub(&mut gate, hub, "hub-2");
        assert_eq!(refused(&gate, hub, "hub-2"), None);
        assert_eq!(refused(&gate, hub, "hub-3"), Some(GoodbyeCode::NotEnrolled));
        assert!(gate.may_carry("hub-2", "ship-1") && gate.may_write("hub-2", "ship-1", "log"));
        assert!(!gate.may_write("hub-2", "ship-1", "_sites"));
        let enrol = Some(Enrol { token: "t", secret: &[1; 32] });
        let told = gate.admit(PeerKey([1; 32]), "hub-2", enrol, Timestamp::new(0));
        let Admission::Refused { text, .. } = told else { panic!("somebody is hub-2, too") };
        assert!(text.contains("a hub has this name"), "{text}");
        let mut alone = SiteGate::with_devices([]);
        put_hub(&mut alone, hub, "hub-2");
        assert_eq!(refused(&alone, hub, "hub-2"), Some(GoodbyeCode::NotEnrolled));
    }

    #[test]
    fn what_is_of_a_shard_goes_where_the_shard_is() {
        let mut gate = SiteGate::default();
        assert_eq!(gate.uplink_of("1"), Uplink::FIRST);
        gate.assign(vec![Uplink(0), Uplink(3)], |origin, shards| {
            origin.parse::<u32>().unwrap() % shards
        });
        let ways: Vec<_> = ["0", "1", "2", "3"].map(|origin| gate.uplink_of(origin).0).into();
        assert_eq!(ways, [0, 3, 0, 3]);
    }
}
