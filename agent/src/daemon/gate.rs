//! The gate of a hub: the registry of sites and the book of tokens, kept in the node's own topics.

use std::collections::BTreeMap;

use landfall_core::num::Timestamp;
use landfall_protocol::message::{Enrol, GoodbyeCode};

use crate::identity::registry::{
    self, Admission as Admitted, Enrolment, Registry, SiteRecord, SiteState,
};
use crate::identity::token::{TokenId, TokenSecret};
use crate::identity::token_record::{self, TokenBook, TokenUse, TokenVerdict};
use crate::identity::{LineKeys, PublicKey, Rights, UnixSeconds};
use crate::node::{Admission, Gate, InternalRecord, PeerKey};

/// Registered sites and tokens, folded from `_sites` and `_tokens`.
#[derive(Debug, Default)]
pub struct SiteGate {
    sites: Registry,
    tokens: TokenBook,
    /// The sites whose keys the serial lines have, by what the keys are known as.
    devices: BTreeMap<PublicKey, String>,
    /// What they may do.
    plain: Rights,
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
        Self { devices, plain: Rights::plain(), ..Self::default() }
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

    /// The registered sites.
    pub fn sites(&self) -> &Registry {
        &self.sites
    }

    fn enrol(
        &self,
        key: PublicKey,
        site: &str,
        enrol: Option<Enrol<'_>>,
        now: UnixSeconds,
    ) -> Result<Vec<InternalRecord>, (GoodbyeCode, String)> {
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
        let Some(token) = self.tokens.token(id) else {
            return Err(refused("the token is unknown"));
        };
        let used = token.used(TokenUse { site: site.into(), key, at: now });
        let record = SiteRecord {
            key,
            rights: token.rights.clone(),
            state: SiteState::Active,
            enrolled_at: now,
            token: Some(id.to_string()),
            split_from: token.split_from.clone(),
        };
        Ok(vec![
            InternalRecord {
                topic: token_record::TOPIC,
                key: id.to_string().into_bytes(),
                value: Some(used.to_json()),
            },
            InternalRecord {
                topic: registry::TOPIC,
                key: site.as_bytes().to_vec(),
                value: Some(record.to_json()),
            },
        ])
    }

    fn rights(&self, site: &str) -> Option<&Rights> {
        let Some(record) = self.sites.record(site) else {
            return Some(&self.plain).filter(|_| self.is_device(site));
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
                Ok(records) => Admission::Admitted { site: site.into(), records },
                Err((code, text)) => refused(code, text),
            },
        }
    }

    fn is_welcome(&self, key: PeerKey, site: &str) -> bool {
        let key = PublicKey::from_bytes(key.0);
        if let Some(device) = self.devices.get(&key) {
            return self.admit_device(device, site).is_ok();
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

    fn split_from(&self, site: &str) -> Option<&str> {
        self.sites.record(site)?.split_from.as_deref()
    }

    fn apply(&mut self, topic: &str, key: &[u8], value: Option<&[u8]>) {
        let taken = match topic {
            registry::TOPIC => self.sites.apply(key, value).map_err(|fault| fault.to_string()),
            token_record::TOPIC => self.tokens.apply(key, value).map_err(|fault| fault.to_string()),
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
}
