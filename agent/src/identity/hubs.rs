//! The hubs that share a registry: by which keys they are known, and where they listen.
//!
//! The truth is the compacted topic [`TOPIC`] (key: the hub's public key as text, value: a
//! [`HubRecord`] as JSON); [`Hubs`] is its fold in memory. A token names them all, so that whoever
//! enrols with one of them knows the others.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::key::PublicKey;
use super::token::TOKEN_ITEMS_MAX;

/// The compacted topic that holds the hubs.
pub const TOPIC: &str = "_hubs";

/// What is known of a hub.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct HubRecord {
    /// Its name, for people.
    pub site: String,
    /// Where it listens, each as `host:port`.
    pub addresses: Vec<String>,
}

impl HubRecord {
    /// The record's value in [`TOPIC`].
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("no map with other than text keys, no failing Serialize")
    }
}

/// A record of [`TOPIC`] that is not a hub's; a hub of that key is not known any more.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a record of _hubs is not readable ({0}); tokens do not name that hub")]
pub struct HubRecordFault(String);

/// The hubs as of the last record applied.
#[derive(Clone, Debug, Default)]
pub struct Hubs {
    hubs: BTreeMap<PublicKey, HubRecord>,
}

impl Hubs {
    /// Applies one record of [`TOPIC`], in log order. `None` is a tombstone.
    ///
    /// # Errors
    /// [`HubRecordFault`] if the record cannot be read: its hub is forgotten, the fold goes on.
    pub fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), HubRecordFault> {
        let key = std::str::from_utf8(key).map_err(|e| HubRecordFault(e.to_string()))?;
        let key: PublicKey = key.parse().map_err(|_| HubRecordFault("its key is none".into()))?;
        self.hubs.remove(&key);
        let Some(value) = value else { return Ok(()) };
        let record = serde_json::from_slice(value).map_err(|e| HubRecordFault(e.to_string()))?;
        self.hubs.insert(key, record);
        Ok(())
    }

    /// What is known of a hub.
    #[must_use]
    pub fn record(&self, key: &PublicKey) -> Option<&HubRecord> {
        self.hubs.get(key)
    }

    /// The names of all hubs.
    pub fn sites(&self) -> impl Iterator<Item = &str> {
        self.hubs.values().map(|hub| hub.site.as_str())
    }

    /// The keys and addresses that a token of one hub names: its own first, and then those of the
    /// others, as far as a token has room.
    #[must_use]
    pub fn beside(&self, key: PublicKey, addresses: &[String]) -> (Vec<PublicKey>, Vec<String>) {
        let others = || self.hubs.iter().filter(move |(other, _)| **other != key);
        let keys = std::iter::once(key).chain(others().map(|(other, _)| *other));
        let all = addresses.iter().chain(others().flat_map(|(_, hub)| &hub.addresses));
        let room = TOKEN_ITEMS_MAX.max(addresses.len());
        (keys.take(TOKEN_ITEMS_MAX).collect(), all.take(room).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> PublicKey {
        PublicKey::from_bytes([number; 32])
    }

    fn put(hubs: &mut Hubs, number: u8) {
        let addresses = vec![format!("hub-{number}:4520")];
        let record = HubRecord { site: format!("hub-{number}"), addresses };
        hubs.apply(key(number).to_string().as_bytes(), Some(&record.to_json())).unwrap();
    }

    #[test]
    fn a_token_names_its_own_hub_first_and_the_others_as_far_as_there_is_room() {
        let mut hubs = Hubs::default();
        (1..=12).for_each(|number| put(&mut hubs, number));
        hubs.apply(key(1).to_string().as_bytes(), None).unwrap();
        let (keys, addresses) = hubs.beside(key(3), &["mine:1".into(), "mine:2".into()]);
        assert_eq!(keys.len(), TOKEN_ITEMS_MAX);
        assert_eq!(keys[..3], [key(3), key(2), key(4)], "each once, and those that are there");
        assert_eq!(addresses.len(), TOKEN_ITEMS_MAX);
        assert_eq!(addresses[..3], ["mine:1", "mine:2", "hub-2:4520"]);
    }

    #[test]
    fn what_can_not_be_read_names_nobody() {
        let mut hubs = Hubs::default();
        put(&mut hubs, 1);
        hubs.apply(key(1).to_string().as_bytes(), Some(b"{}")).unwrap_err();
        assert_eq!(hubs.record(&key(1)), None);
        hubs.apply(b"hub", None).unwrap_err();
    }
}
