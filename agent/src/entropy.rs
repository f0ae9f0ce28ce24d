//! Randomness and the machine's boot id. With `clock`, the only place that asks the system.

use std::fmt;

use sha2::{Digest, Sha256};

/// The system gave no randomness. Epochs, keys and tokens cannot be drawn: a node must not start.
#[derive(Clone, Copy, Debug)]
pub struct NoEntropy(getrandom::Error);

impl fmt::Display for NoEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the system gives no random bytes: {}; check /dev/urandom and the sandbox",
            self.0
        )
    }
}

impl std::error::Error for NoEntropy {}

/// Fills `bytes` from the system's generator, fit for keys. Blocks only early at boot.
///
/// # Errors
/// Only on a broken or over-restricted system.
pub fn fill(bytes: &mut [u8]) -> Result<(), NoEntropy> {
    getrandom::fill(bytes).map_err(NoEntropy)
}

/// 64 random bits, such as for an epoch.
///
/// # Errors
/// As [`fill`].
pub fn number() -> Result<u64, NoEntropy> {
    getrandom::u64().map_err(NoEntropy)
}

/// A number that stays the same until the machine boots again; random where the system names no
/// boot, so that two runs are then taken for two boots and never the other way round.
///
/// # Errors
/// As [`fill`].
pub fn boot_id() -> Result<u64, NoEntropy> {
    match std::fs::read("/proc/sys/kernel/random/boot_id") {
        Ok(text) if !text.is_empty() => Ok(folded(&text)),
        _ => number(),
    }
}

fn folded(text: &[u8]) -> u64 {
    let digest = Sha256::digest(text);
    digest.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        assert_ne!(number().unwrap(), number().unwrap());
        let mut key = [0; 32];
        fill(&mut key).unwrap();
        assert_ne!(key, [0; 32]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_boot_id_stays_within_a_boot() {
        assert_eq!(boot_id().unwrap(), boot_id().unwrap());
    }
}
