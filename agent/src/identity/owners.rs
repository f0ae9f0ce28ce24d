//! Which hub owns which shard of the sites, as far as they have told each other.
//!
//! The truth is the compacted topic [`TOPIC`] (key: the shard's number as text, value: an
//! [`OwnerRecord`] as JSON); [`Owners`] is its fold in memory. It is a hint: who writes a shard is
//! decided by Kafka's fence, and whoever is told wrongly forwards to a hub that does not own the
//! shard either, and is told anew.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::key::PublicKey;

/// The compacted topic that holds the owners.
pub const TOPIC: &str = "_owners";

/// Who owns a shard.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct OwnerRecord {
    /// The hub.
    pub hub: PublicKey,
    /// Where its opening is in the shard's partition: the later one counts.
    pub opened_at: u64,
}

impl OwnerRecord {
    /// The record's value in [`TOPIC`].
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("no map with other than text keys, no failing Serialize")
    }
}

/// A record of [`TOPIC`] that is not an owner's; of that shard nobody is known.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a record of _owners is not readable ({0}); what is of that shard waits")]
pub struct OwnerRecordFault(String);

/// The owners as of the last record applied.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    owners: BTreeMap<u32, OwnerRecord>,
}

impl Owners {
    /// Applies one record of [`TOPIC`], in log order. `None` is a tombstone.
    ///
    /// # Errors
    /// [`OwnerRecordFault`] if the record cannot be read: its shard has no owner, the fold goes on.
    pub fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), OwnerRecordFault> {
        let shard = std::str::from_utf8(key).ok().and_then(|text| text.parse().ok());
        let shard = shard.ok_or_else(|| OwnerRecordFault("its key is no shard".into()))?;
        self.owners.remove(&shard);
        let Some(value) = value else { return Ok(()) };
        let record = serde_json::from_slice(value).map_err(|e| OwnerRecordFault(e.to_string()))?;
        self.owners.insert(shard, record);
        Ok(())
    }

    /// Who owns a shard, if anybody has told.
    #[must_use]
    pub fn of(&self, shard: u32) -> Option<&OwnerRecord> {
        self.owners.get(&shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_record_counts_and_what_can_not_be_read_names_nobody() {
        let mut owners = Owners::default();
        let record = |number, opened_at| {
            let hub = PublicKey::from_bytes([number; 32]);
            OwnerRecord { hub, opened_at }
        };
        owners.apply(b"3", Some(&record(1, 10).to_json())).unwrap();
        owners.apply(b"3", Some(&record(2, 20).to_json())).unwrap();
        assert_eq!(owners.of(3), Some(&record(2, 20)));
        assert_eq!(owners.of(2), None);
        owners.apply(b"3", Some(b"{}")).unwrap_err();
        assert_eq!(owners.of(3), None);
        owners.apply(b"x", None).unwrap_err();
    }
}
