//! How a cap on memory is divided among what takes it.
//!
//! What the program needs for itself is set aside first. The rest goes in shares to what grows with
//! the work: each is a bound that its holder keeps to by itself, so that all together stay below
//! the cap. Without a cap each has the bound that it has by itself.

use super::Config;
use super::error::ConfigError;
use super::sections::Profile;

const MIB: u64 = 1 << 20;

/// What each holder of memory may take, in bytes if nothing else is said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shares {
    /// Records that are synced together. Two such commits may be in memory at a time.
    pub commit: u64,
    /// Appends of programs that wait for the node.
    pub appends: usize,
    /// What is under way to a peer, or from one.
    pub window: u64,
    /// Connections of programs at a time.
    pub programs: u32,
    /// Connections of other nodes at a time.
    pub peers: u32,
    /// All of SQLite.
    pub sqlite: u64,
    /// Queries at a time, each of which may have an answer of 8 MiB.
    pub queries: usize,
}

/// What each has without a cap; the settings that there are for single ones stand beside it.
const FREE: Shares = Shares {
    commit: u64::MAX,
    appends: 16 << 20,
    window: u64::MAX,
    programs: u32::MAX,
    peers: u32::MAX,
    sqlite: 32 << 20,
    queries: 4,
};

/// Bytes that a program's connection takes at full rate, beside the appends that it waits for.
const PROGRAM_BYTES: u64 = 256 << 10;
/// Bytes that a node's connection takes while it sends, beside the window.
const PEER_BYTES: u64 = 256 << 10;
/// Bytes of an answer, as rows and as text.
const ANSWER_BYTES: u64 = 16 << 20;

impl Config {
    /// What each holder of memory may take.
    #[must_use]
    pub fn memory(&self) -> Shares {
        let Some(cap) = self.node.memory_max else { return FREE };
        let rest = cap.0.saturating_sub(self.own_bytes());
        let part = |of: u64, least: u64, most: u64| (rest / of).clamp(least, most);
        let count = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
        let appends = part(8, MIB / 2, FREE.appends as u64);
        let queries = part(3, ANSWER_BYTES, FREE.queries as u64 * ANSWER_BYTES) / ANSWER_BYTES;
        Shares {
            commit: part(16, MIB / 2, 4 * MIB),
            appends: usize::try_from(appends).unwrap_or(usize::MAX),
            window: part(8, MIB / 2, 4 * MIB),
            programs: count(part(8, 8 * PROGRAM_BYTES, u64::MAX) / PROGRAM_BYTES),
            peers: count(part(4, 4 * PEER_BYTES, u64::MAX) / PEER_BYTES),
            sqlite: part(4, 6 * MIB, FREE.sqlite),
            queries: usize::try_from(queries).unwrap_or(1),
        }
    }

    /// What the program takes for itself, about: code, tables, threads, and what is little. With
    /// views that is what they need while nothing is asked; before a Kafka, what librdkafka does.
    fn own_bytes(&self) -> u64 {
        let mebibytes = match (self.kafka.is_there(), self.node.profile, self.has_views()) {
            (true, ..) => 128,
            (false, Profile::Hub, _) => 24,
            (false, Profile::Device, true) => 14,
            (false, Profile::Device, false) => 10,
        };
        mebibytes * MIB
    }

    /// Whether it keeps views.
    #[cfg(feature = "views")]
    pub(crate) fn has_views(&self) -> bool {
        !self.views.is_empty()
    }

    /// Whether it keeps views; this program can't.
    #[cfg(not(feature = "views"))]
    pub(crate) fn has_views(&self) -> bool {
        false
    }

    /// The least cap that this configuration can be divided by.
    fn memory_least(&self) -> u64 {
        let mebibytes = match (self.kafka.is_there(), self.node.profile, self.has_views()) {
            (true, ..) => 256,
            (false, Profile::Hub, _) => 64,
            (false, Profile::Device, true) => 48,
            (false, Profile::Device, false) => 20,
        };
        mebibytes * MIB
    }
}

pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let least = config.memory_least();
    match config.node.memory_max {
        Some(cap) if cap.0 < least => {
            let why = format!(
                "is {cap}, and this node needs {} at least: 20 MiB as a device, 48 MiB with views, \
                 64 MiB with `profile = \"hub\"`, 256 MiB before a Kafka",
                crate::quantity::ByteSize(least)
            );
            Err(ConfigError::conflict("memory_max", why))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigFile;

    fn config(text: &str) -> Result<Config, ConfigError> {
        Config::from_file(&ConfigFile::parse(text, "landfall.toml".as_ref())?)
    }

    #[test]
    fn a_cap_is_shared_and_the_shares_stay_below_it() {
        for (cap, profile) in [(20, "device"), (64, "device"), (64, "hub"), (4_096, "hub")] {
            let text = format!("memory_max = \"{cap}MiB\"\nprofile = \"{profile}\"\n");
            let config = config(&text).unwrap();
            let told = config.memory();
            let sum = config.own_bytes()
                + 2 * told.commit
                + told.appends as u64
                + told.window
                + u64::from(told.programs) * PROGRAM_BYTES
                + u64::from(told.peers) * PEER_BYTES;
            assert!(sum <= cap * MIB, "{cap} MiB: {sum} in {told:?}");
        }
        assert_eq!(config("").unwrap().memory(), FREE);
    }

    #[test]
    fn a_cap_that_is_too_low_is_refused_with_what_is_needed() {
        let refused = config("memory_max = \"63MiB\"\nprofile = \"hub\"\n").unwrap_err();
        assert!(refused.to_string().contains("64 MiB at least"), "{refused}");
        let refused = config("memory_max = \"19MiB\"\n").unwrap_err();
        assert!(refused.to_string().contains("from `20MiB`"), "{refused}");
    }
}
