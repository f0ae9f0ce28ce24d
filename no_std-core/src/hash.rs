//! The stream hash: a running hash over the records of a stream, by which two nodes find out
//! whether they hold the same ones.
//!
//! `h' = first 16 bytes of SHA-256(h ‖ epoch (u64) ‖ offset (u64) ‖ encoded record)`, and all zero
//! bytes before the first record. A record has one encoding, in which lengths and absent parts are
//! explicit, so the hash does not depend on batches, compression, lanes or nodes.

use sha2::{Digest, Sha256};

use crate::num::{Epoch, Offset, ProducerId};

/// The running hash of a stream.
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StreamHash([u8; 16]);

impl StreamHash {
    /// Before the first record.
    pub const START: Self = Self([0; 16]);

    /// Wraps stored or received bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, for formats and messages.
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// The hash after one more record, given in its encoded form.
    #[must_use]
    pub fn then(self, epoch: Epoch, offset: Offset, record: &[u8]) -> Self {
        let mut start = [0; 32];
        let (hash, place) = start.split_at_mut(16);
        let (at_epoch, at_offset) = place.split_at_mut(8);
        hash.copy_from_slice(&self.0);
        at_epoch.copy_from_slice(&epoch.get().to_le_bytes());
        at_offset.copy_from_slice(&offset.get().to_le_bytes());
        // Each call costs as much as a third of a block.
        let mut hasher = Sha256::new();
        hasher.update(start);
        hasher.update(record);
        let digest = hasher.finalize();
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(digest) {
            *to = from;
        }
        Self(bytes)
    }
}

impl core::fmt::Debug for StreamHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

impl core::fmt::Display for StreamHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl ProducerId {
    /// The id of the producer of that name.
    pub fn of(name: &str) -> Self {
        let digest = Sha256::digest(name.as_bytes());
        let raw = digest.iter().take(8).rev().fold(0_u64, |raw, byte| raw << 8 | u64::from(*byte));
        Self::new(raw)
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::StreamHash;
    use crate::num::{Epoch, Offset};

    #[test]
    fn is_taken_over_the_bytes_that_the_format_names() {
        let before = StreamHash::new(core::array::from_fn(|at| at as u8));
        let mut bytes = [0; 35];
        bytes[..16].copy_from_slice(&before.bytes());
        bytes[16..24].copy_from_slice(&[8, 7, 6, 5, 4, 3, 2, 1]);
        bytes[24..32].copy_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]);
        bytes[32..].copy_from_slice(b"abc");
        let after = before.then(Epoch::new(0x0102_0304_0506_0708), Offset::new(1), b"abc");
        assert_eq!(after.bytes(), Sha256::digest(bytes)[..16]);
    }

    #[test]
    fn depends_on_what_came_before_epoch_offset_and_bytes() {
        let first = StreamHash::START.then(Epoch::new(1), Offset::ZERO, b"a");
        let others = [
            StreamHash::START.then(Epoch::new(2), Offset::ZERO, b"a"),
            StreamHash::START.then(Epoch::new(1), Offset::new(1), b"a"),
            StreamHash::START.then(Epoch::new(1), Offset::ZERO, b"b"),
            first.then(Epoch::new(1), Offset::ZERO, b"a"),
        ];
        assert!(others.iter().all(|other| *other != first));
    }
}
