//! The keys of devices that speak on a serial line: a file with a line for each.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use landfall_core::name::site_is_valid;
use landfall_protocol::line::LineKey;

use super::PublicKey;

/// A file larger than this has no keys.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The keys of the sites that may speak on a line. Each is the key of one site and of no other.
#[derive(Clone, Debug, Default)]
pub struct LineKeys(BTreeMap<String, LineKey>);

/// Why a file with keys can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LineKeysFault {
    /// The system says why.
    #[error("the keys in {0} can't be read: {1}")]
    Unreadable(PathBuf, io::Error),
    /// Others than its owner can read or write it.
    #[error("{0} can be read or written by others than its owner; run `chmod 600 {0}`")]
    TooOpen(PathBuf),
    /// A line is not a site and a key.
    #[error(
        "{0}, line {1}: expected a site, a space, and its key of 64 hexadecimal digits, such as \
         `openssl rand -hex 32` prints"
    )]
    Line(PathBuf, usize),
    /// A site has two keys.
    #[error("{0}, line {1}: the site has a key already; remove one")]
    Twice(PathBuf, usize),
}

impl LineKeys {
    /// Reads a file: in each line a site and its key. Empty lines, and those that begin with `#`,
    /// are passed over.
    ///
    /// # Errors
    /// What is wrong with it, and where. No key is in the message.
    pub fn read(path: &Path) -> Result<Self, LineKeysFault> {
        let unreadable = |error| LineKeysFault::Unreadable(path.to_owned(), error);
        let file = File::open(path).map_err(unreadable)?;
        if file.metadata().map_err(unreadable)?.permissions().mode() & 0o077 != 0 {
            return Err(LineKeysFault::TooOpen(path.to_owned()));
        }
        let mut text = String::new();
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
        let mut keys = Self::default();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let parts = line.split_once(char::is_whitespace);
            let parts = parts.filter(|(site, _)| site_is_valid(site));
            let read = parts.and_then(|(site, key)| Some((site, LineKey::from_hex(key.trim())?)));
            let Some((site, key)) = read else {
                return Err(LineKeysFault::Line(path.to_owned(), number));
            };
            if keys.0.insert(site.to_owned(), key).is_some() {
                return Err(LineKeysFault::Twice(path.to_owned(), number));
            }
        }
        Ok(keys)
    }

    /// The key of a site.
    #[must_use]
    pub fn get(&self, site: &str) -> Option<LineKey> {
        self.0.get(site).cloned()
    }

    /// What the node knows a site's key by, as it knows others by their public keys. Nobody can
    /// show it in a handshake of TLS, since no private key belongs to it.
    #[must_use]
    pub fn name_of(&self, site: &str) -> Option<PublicKey> {
        self.0.get(site).map(|key| PublicKey::from_bytes(key.name(site)))
    }

    /// The sites.
    pub fn sites(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(text: &str, mode: u32) -> Result<LineKeys, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        LineKeys::read(&path).map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_line_is_a_site_and_its_key() {
        let keys =
            format!("# at the pier\n\nbuoy-4 {}\nbuoy-5\t{}\n", "0a".repeat(32), "FF".repeat(32));
        let keys = read(&keys, 0o600).unwrap();
        assert_eq!(keys.sites().collect::<Vec<_>>(), ["buoy-4", "buoy-5"]);
        assert!(keys.get("buoy-6").is_none());
        assert_ne!(keys.name_of("buoy-4"), keys.name_of("buoy-5"));
    }

    #[test]
    fn what_is_no_file_of_keys_is_refused_and_no_key_is_told() {
        let key = "0a".repeat(32);
        let good = format!("buoy-4 {key}\n");
        for (text, mode, expected) in [
            (&good, 0o640, "chmod 600"),
            (&format!("{good}{good}"), 0o600, "line 2: the site has a key already"),
            (&format!("buoy-4 {key}0\n"), 0o600, "line 1: expected a site"),
            (&format!("buoy/4 {key}\n"), 0o600, "line 1: expected a site"),
            (&key, 0o600, "line 1: expected a site"),
        ] {
            let fault = read(text, mode).unwrap_err();
            assert!(fault.contains(expected) && !fault.contains("0a0a"), "{fault}");
        }
    }
}
