//! What operators and other nodes hand over as a whole: settings, tokens, records of registries.

use std::path::Path;

use landfall::config::{Config, ConfigError, ConfigFile};
use landfall::identity::{Registry, SiteRecord, Token, TokenBook, TokenFault, TokenRecord};
use sha2::{Digest as _, Sha256};

use super::input::Input;

/// A file of settings and, behind a zero byte, variables as lines `NAME=value`.
pub(super) fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (file, variables) = text.split_once('\0').unwrap_or((text, ""));
    let variables = variables.lines().filter_map(|line| line.split_once('='));
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    match load(file, variables) {
        Ok(config) => {
            assert!(config.lanes.iter().all(|lane| config.lane(&lane.name) == Some(lane)));
            assert!(config.topics.iter().all(|topic| config.topic(&topic.name) == Some(topic)));
        }
        Err(error) => assert!(!error.to_string().is_empty(), "an error says something"),
    }
}

fn load(
    file: &str,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let mut file = ConfigFile::parse(file, Path::new("landfall.toml"))?;
    file.apply_environment(variables)?;
    Config::from_file(&file)
}

/// A token as text or, if the first byte is odd, its bytes, to which a checksum that fits is added.
pub(super) fn token(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let sealed = input.u8() & 1 != 0;
    let text = if sealed {
        let fields = input.rest();
        let sum = Sha256::digest(fields);
        format!("lf1_{}", base32(fields.iter().chain(&sum[..4])))
    } else {
        String::from_utf8_lossy(input.rest()).into_owned()
    };
    match text.parse::<Token>() {
        Ok(token) => {
            let printed = token.to_text().expect("what can be read can be written");
            assert_eq!(printed.parse(), Ok(token));
        }
        Err(fault) => {
            assert!(!fault.to_string().is_empty(), "an error says something");
            assert!(!sealed || fault != TokenFault::Mistyped, "the checksum fits");
        }
    }
}

/// Lower-case base32 without padding, as tokens have it.
pub(super) fn base32<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bits = Vec::new();
    for byte in bytes {
        bits.extend((0..8).rev().map(|bit| byte >> bit & 1));
    }
    let letter = |group: &[u8]| (0..5).fold(0, |all, at| all << 1 | group.get(at).unwrap_or(&0));
    bits.chunks(5).map(|group| char::from(ALPHABET[usize::from(letter(group))])).collect()
}

/// Records of `_sites` and `_tokens`: lines `key value`, or `key` alone for a tombstone.
pub(super) fn registry(bytes: &[u8]) {
    let (mut sites, mut tokens) = (Registry::default(), TokenBook::default());
    for line in bytes.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b' ');
        let (key, value) = (parts.next().unwrap_or_default(), parts.next());
        let _ = sites.apply(key, value);
        let _ = tokens.apply(key, value);
    }
    for (name, record) in sites.sites() {
        assert_eq!(sites.record(name), Some(record));
        assert!(sites.site_of(&record.key).is_some() || shares_its_key(&sites, record));
        let _ = (sites.admit(&record.key), sites.enrolment(name, &record.key));
        let _ = record.rights.may_write(name, name, "ais");
        let mut again = Registry::default();
        assert_eq!(again.apply(name.as_bytes(), Some(&record.to_json())), Ok(()));
        assert_eq!(again.record(name), Some(record));
    }
    for record in tokens.tokens() {
        assert_eq!(tokens.token(record.id), Some(record));
        let id = record.id.to_string();
        let mut again = TokenBook::default();
        assert_eq!(again.apply(id.as_bytes(), Some(&TokenRecord::to_json(record))), Ok(()));
        assert_eq!(again.token(record.id), Some(record));
    }
}

/// A key that several sites have lets nobody in.
fn shares_its_key(sites: &Registry, record: &SiteRecord) -> bool {
    sites.sites().filter(|(_, other)| other.key == record.key).count() > 1
}
