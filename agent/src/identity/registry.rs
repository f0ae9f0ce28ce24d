//! The hub's registry of sites: key → site → rights.
//!
//! The truth is the compacted topic [`TOPIC`] (key: the site's name, value: a [`SiteRecord`] as
//! JSON); [`Registry`] is its fold in memory. It fails closed: a record that this version cannot
//! read takes the site's rights away, and a key that stands under two names opens the door to
//! neither.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::UnixSeconds;
use super::key::PublicKey;
use super::rights::Rights;

/// The compacted topic that holds the registry.
pub const TOPIC: &str = "_sites";

/// What a hub knows of a site.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SiteRecord {
    /// The key by which the site proves who it is.
    pub key: PublicKey,
    /// What it may do.
    pub rights: Rights,
    /// Whether it is let in.
    pub state: SiteState,
    /// When it was enrolled, by the hub's clock.
    pub enrolled_at: UnixSeconds,
    /// The token it came with (its text form), if it came with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The site that it was a copy of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_from: Option<String>,
}

/// Whether a site is let in.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SiteState {
    /// It is.
    Active,
    /// An operator has shut it out; live connections are cut, its records stay.
    Revoked,
}

impl SiteRecord {
    /// The record's value in [`TOPIC`].
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("no map with other than text keys, no failing Serialize")
    }
}

/// What to do with a peer that has proved to hold a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission<'a> {
    /// It is this site, with the rights of this record.
    Admitted {
        /// The site's name.
        site: &'a str,
        /// What is known of it.
        record: &'a SiteRecord,
    },
    /// It was this site and is shut out.
    Revoked {
        /// The site's name.
        site: &'a str,
    },
    /// Nobody has registered the key; it may come with a token.
    Unknown,
    /// The key stands under several names: an operator has to remove all but one.
    Ambiguous,
}

/// Whether a site may be registered under a name with a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Enrolment<'a> {
    /// Neither name nor key is known.
    Open,
    /// Exactly this was registered before: the answer got lost, say yes again.
    Repeated,
    /// The name belongs to another key.
    NameTaken,
    /// The key belongs to another name.
    KeyTaken {
        /// That name.
        site: &'a str,
    },
    /// Name or key is shut out.
    Revoked,
}

/// A record of [`TOPIC`] that could not be taken as it stands.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RegistryFault {
    /// The key is not a name.
    #[error("a record of _sites has a key that is not a site's name; it was skipped")]
    BadName,
    /// The value is not a site record that this version understands.
    #[error("the record of site `{site}` in _sites is not readable ({why}); the site is shut out")]
    Unreadable {
        /// The site, which has no rights until a readable record follows.
        site: String,
        /// What the JSON reader said.
        why: String,
    },
    /// The key stands under several names.
    #[error(
        "sites `{site}` and `{other}` have the same key; both are shut out until one is removed"
    )]
    SharedKey {
        /// The site of this record.
        site: String,
        /// Another site with the key.
        other: String,
    },
}

/// The registry as of the last record applied.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    sites: BTreeMap<String, SiteRecord>,
    names: BTreeMap<PublicKey, BTreeSet<String>>,
}

impl Registry {
    /// Applies one record of [`TOPIC`], in log order. `None` is a tombstone.
    ///
    /// # Errors
    /// [`RegistryFault`] says what is wrong with the record; the registry stays consistent and the
    /// fold goes on.
    pub fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), RegistryFault> {
        let site = match std::str::from_utf8(key) {
            Ok(site) if !site.is_empty() => site,
            _ => return Err(RegistryFault::BadName),
        };
        self.remove(site);
        let Some(value) = value else { return Ok(()) };
        let record: SiteRecord = serde_json::from_slice(value).map_err(|error| {
            RegistryFault::Unreadable { site: site.into(), why: error.to_string() }
        })?;
        let names = self.names.entry(record.key).or_default();
        let other = names.first().cloned();
        names.insert(site.into());
        self.sites.insert(site.into(), record);
        match other {
            Some(other) => Err(RegistryFault::SharedKey { site: site.into(), other }),
            None => Ok(()),
        }
    }

    fn remove(&mut self, site: &str) {
        let Some(old) = self.sites.remove(site) else { return };
        let names = self.names.get_mut(&old.key).expect("every site's key is in the index");
        names.remove(site);
        if names.is_empty() {
            self.names.remove(&old.key);
        }
    }

    /// Who the holder of the key is, and whether to let it in. To be asked after every handshake.
    #[must_use]
    pub fn admit(&self, key: &PublicKey) -> Admission<'_> {
        let Some(names) = self.names.get(key) else { return Admission::Unknown };
        match self.only(names) {
            None => Admission::Ambiguous,
            Some((site, record)) => match record.state {
                SiteState::Active => Admission::Admitted { site, record },
                SiteState::Revoked => Admission::Revoked { site },
            },
        }
    }

    /// The site that has this key, admitted or not; `None` too if several have it.
    #[must_use]
    pub fn site_of(&self, key: &PublicKey) -> Option<(&str, &SiteRecord)> {
        self.only(self.names.get(key)?)
    }

    fn only(&self, names: &BTreeSet<String>) -> Option<(&str, &SiteRecord)> {
        let name = names.first().filter(|_| names.len() == 1)?;
        self.sites.get_key_value(name).map(|(site, record)| (site.as_str(), record))
    }

    /// Whether `site` may be registered with `key`; a valid token is a matter of its own.
    #[must_use]
    pub fn enrolment(&self, site: &str, key: &PublicKey) -> Enrolment<'_> {
        let by_key = self.names.get(key).and_then(|names| names.first());
        match (self.sites.get(site), by_key) {
            (Some(record), _) if record.state == SiteState::Revoked => Enrolment::Revoked,
            (Some(record), _) if record.key != *key => Enrolment::NameTaken,
            (_, Some(_)) if matches!(self.admit(key), Admission::Revoked { .. }) => {
                Enrolment::Revoked
            }
            (None, Some(other)) => Enrolment::KeyTaken { site: other },
            (Some(_), _) => Enrolment::Repeated,
            (None, None) => Enrolment::Open,
        }
    }

    /// What is known of a site.
    #[must_use]
    pub fn record(&self, site: &str) -> Option<&SiteRecord> {
        self.sites.get(site)
    }

    /// All sites by name.
    pub fn sites(&self) -> impl Iterator<Item = (&str, &SiteRecord)> {
        self.sites.iter().map(|(site, record)| (site.as_str(), record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: PublicKey = PublicKey::from_bytes([7; 32]);
    const OTHER: PublicKey = PublicKey::from_bytes([8; 32]);

    fn record(key: PublicKey, state: SiteState) -> SiteRecord {
        SiteRecord {
            key,
            rights: Rights::plain(),
            state,
            enrolled_at: UnixSeconds(1_800_000_000),
            token: None,
            split_from: None,
        }
    }

    fn put(registry: &mut Registry, site: &str, key: PublicKey, state: SiteState) {
        registry.apply(site.as_bytes(), Some(&record(key, state).to_json())).unwrap();
    }

    #[test]
    fn a_site_is_admitted_revoked_admitted_again_and_forgotten() {
        let mut registry = Registry::default();
        assert_eq!(registry.admit(&KEY), Admission::Unknown);
        put(&mut registry, "ship-17", KEY, SiteState::Active);
        let record = record(KEY, SiteState::Active);
        let admitted = Admission::Admitted { site: "ship-17", record: &record };
        assert_eq!(registry.admit(&KEY), admitted);
        put(&mut registry, "ship-17", KEY, SiteState::Revoked);
        assert_eq!(registry.admit(&KEY), Admission::Revoked { site: "ship-17" });
        put(&mut registry, "ship-17", KEY, SiteState::Active);
        assert!(matches!(registry.admit(&KEY), Admission::Admitted { .. }));
        registry.apply(b"ship-17", None).unwrap();
        assert_eq!(registry.admit(&KEY), Admission::Unknown);
        assert_eq!(registry.sites().count(), 0);
    }

    #[test]
    fn a_new_key_of_a_site_retires_the_old_one() {
        let mut registry = Registry::default();
        put(&mut registry, "ship-17", KEY, SiteState::Active);
        put(&mut registry, "ship-17", OTHER, SiteState::Active);
        assert_eq!(registry.admit(&KEY), Admission::Unknown);
        assert_eq!(registry.site_of(&OTHER).unwrap().0, "ship-17");
    }

    #[test]
    fn a_record_of_a_later_version_shuts_the_site_out_instead_of_keeping_old_rights() {
        let mut registry = Registry::default();
        put(&mut registry, "ship-17", KEY, SiteState::Active);
        let later = String::from_utf8(record(KEY, SiteState::Active).to_json()).unwrap();
        let later = later.replace("active", "suspended");
        let fault = registry.apply(b"ship-17", Some(later.as_bytes())).unwrap_err();
        assert!(matches!(fault, RegistryFault::Unreadable { .. }), "{fault}");
        assert_eq!(registry.admit(&KEY), Admission::Unknown);
    }

    #[test]
    fn one_key_under_two_names_opens_no_door_in_either_order() {
        for (first, second) in [("a", "b"), ("b", "a")] {
            let mut registry = Registry::default();
            put(&mut registry, first, KEY, SiteState::Active);
            let value = record(KEY, SiteState::Active).to_json();
            let fault = registry.apply(second.as_bytes(), Some(&value)).unwrap_err();
            assert!(matches!(fault, RegistryFault::SharedKey { .. }), "{fault}");
            assert_eq!(registry.admit(&KEY), Admission::Ambiguous);
            registry.apply(second.as_bytes(), None).unwrap();
            assert!(matches!(registry.admit(&KEY), Admission::Admitted { .. }));
        }
    }

    #[test]
    fn enrolling_never_takes_a_name_or_a_key_from_somebody() {
        let mut registry = Registry::default();
        assert_eq!(registry.enrolment("ship-17", &KEY), Enrolment::Open);
        put(&mut registry, "ship-17", KEY, SiteState::Active);
        assert_eq!(registry.enrolment("ship-17", &KEY), Enrolment::Repeated);
        assert_eq!(registry.enrolment("ship-17", &OTHER), Enrolment::NameTaken);
        assert_eq!(registry.enrolment("ship-18", &KEY), Enrolment::KeyTaken { site: "ship-17" });
        put(&mut registry, "ship-17", KEY, SiteState::Revoked);
        assert_eq!(registry.enrolment("ship-17", &KEY), Enrolment::Revoked);
        assert_eq!(registry.enrolment("ship-17", &OTHER), Enrolment::Revoked);
        assert_eq!(registry.enrolment("ship-18", &KEY), Enrolment::Revoked);
    }

    #[test]
    fn a_record_without_a_name_is_skipped() {
        let mut registry = Registry::default();
        assert_eq!(registry.apply(b"", None), Err(RegistryFault::BadName));
        assert_eq!(registry.apply(&[0xff], None), Err(RegistryFault::BadName));
    }
}
