//! The gate of a hub: the registry of sites and the book of tokens, kept in the node's own topics.

use landfall_core::num::Timestamp;
use landfall_protocol::message::{Enrol, GoodbyeCode};

use crate::identity::registry::{
    self, Admission as Admitted, Enrolment, Registry, SiteRecord, SiteState,
};
use crate::identity::token::{TokenId, TokenSecret};
use crate::identity::token_record::{self, TokenBook, TokenUse, TokenVerdict};
use crate::identity::{PublicKey, UnixSeconds};
use crate::node::{Admission, Gate, InternalRecord, PeerKey};

/// Registered sites and tokens, folded from `_sites` and `_tokens`.
#[derive(Debug, Default)]
pub struct SiteGate {
    sites: Registry,
    tokens: TokenBook,
}

impl SiteGate {
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

    fn rights(&self, site: &str) -> Option<&crate::identity::rights::Rights> {
        let record = self.sites.record(site)?;
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
        let known = self.sites.site_of(&key);
        known.is_some_and(|(name, record)| name == site && record.state == SiteState::Active)
    }

    fn may_carry(&self, site: &str, origin: &str) -> bool {
        self.rights(site).is_some_and(|rights| rights.may_carry(origin))
    }

    fn may_write(&self, site: &str, origin: &str, topic: &str) -> bool {
        self.rights(site).is_some_and(|rights| rights.may_write(site, origin, topic))
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
