//! A node's Ed25519 key, and the public half by which others know it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ring::signature::{self, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::sign::SigningKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::base32;

/// How every Ed25519 public key begins as a SubjectPublicKeyInfo (RFC 8410): the algorithm, then 32
/// bytes of key.
const PUBLIC_KEY_INFO_HEAD: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// How an Ed25519 key pair begins in PKCS#8 without its public half (RFC 8410); 32 bytes of private
/// half follow.
const PKCS8_HEAD: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// A node's Ed25519 public key: what a registry and a pin hold.
///
/// Its text form is 52 characters of base32: the whole key, so that text and key are the same
/// thing.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PublicKey([u8; PublicKey::LENGTH]);

impl PublicKey {
    /// Bytes of a key.
    pub const LENGTH: usize = 32;

    /// Takes the 32 raw bytes of a key.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// The 32 raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    /// The first eight characters of the text form: enough to tell keys apart in a log, never
    /// enough to trust one.
    #[must_use]
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(8);
        text
    }

    /// Whether `signature` over `message` was made by the holder of this key.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&signature::ED25519, &self.0).verify(message, signature).is_ok()
    }

    /// Reads the form in which TLS carries a raw public key (a SubjectPublicKeyInfo); `None` for
    /// any other algorithm.
    pub(super) fn from_public_key_info(der: &[u8]) -> Option<Self> {
        let key = der.strip_prefix(&PUBLIC_KEY_INFO_HEAD)?;
        Some(Self(key.try_into().ok()?))
    }

    pub(super) fn to_public_key_info(self) -> Vec<u8> {
        [PUBLIC_KEY_INFO_HEAD.as_slice(), &self.0].concat()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&base32::encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// The text is not a public key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a public key: expected 52 characters a-z and 2-7, as `landfall status` prints them")]
pub struct PublicKeyFault;

impl FromStr for PublicKey {
    type Err = PublicKeyFault;

    fn from_str(text: &str) -> Result<Self, PublicKeyFault> {
        let bytes = base32::decode(text).map_err(|_| PublicKeyFault)?;
        Ok(Self(bytes.try_into().map_err(|_| PublicKeyFault)?))
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A node's key pair. The private half leaves this type only for the key file and for TLS; `Debug`
/// does not show it.
#[derive(Clone)]
pub struct NodeKey {
    public: PublicKey,
    pkcs8: Arc<[u8]>,
    signing: Arc<dyn SigningKey>,
}

/// The bytes are not an Ed25519 key pair in PKCS#8.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an Ed25519 key pair in PKCS#8 form")]
pub struct KeyFault;

impl NodeKey {
    /// Makes the key pair that belongs to 32 random bytes, which must be fit for keys and used for
    /// nothing else.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let pkcs8 = [PKCS8_HEAD.as_slice(), &seed].concat();
        Self::from_pkcs8(&pkcs8).expect("any 32 bytes are the private half of an Ed25519 key")
    }

    /// Reads a key pair from its PKCS#8 form.
    ///
    /// # Errors
    /// [`KeyFault`] if the bytes are anything else, or public and private half do not belong
    /// together.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyFault> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(|_| KeyFault)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyFault)?;
        let signing = rustls::crypto::ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8))
            .map_err(|_| KeyFault)?;
        Ok(Self { public: PublicKey(public), pkcs8: pkcs8.into(), signing })
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }

    pub(super) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    pub(super) fn signing(&self) -> Arc<dyn SigningKey> {
        self.signing.clone()
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.public.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_key_are_the_same_thing() {
        let key = NodeKey::from_seed([7; 32]).public();
        let text = key.to_string();
        assert_eq!(text.len(), 52);
        assert_eq!(text.parse(), Ok(key));
        assert_eq!(text.to_uppercase().parse(), Ok(key));
        assert!(text.starts_with(&key.short()));
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<PublicKey>(&json).unwrap(), key);
    }

    #[test]
    fn shortened_or_foreign_text_is_not_a_key() {
        let text = NodeKey::from_seed([7; 32]).public().to_string();
        assert_eq!(text[..51].parse::<PublicKey>(), Err(PublicKeyFault));
        assert_eq!(format!("{text}a").parse::<PublicKey>(), Err(PublicKeyFault));
        assert_eq!("".parse::<PublicKey>(), Err(PublicKeyFault));
    }

    #[test]
    fn a_key_survives_its_pkcs8_form_and_a_cut_one_is_refused() {
        let key = NodeKey::from_seed([7; 32]);
        assert_eq!(NodeKey::from_pkcs8(key.pkcs8()).unwrap().public(), key.public());
        let cut = &key.pkcs8()[..key.pkcs8().len() - 1];
        assert_eq!(NodeKey::from_pkcs8(cut).unwrap_err(), KeyFault);
    }

    #[test]
    fn a_seed_gives_the_key_of_rfc_8032() {
        let seed = [
            0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec,
            0x2c, 0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03,
            0x1c, 0xae, 0x7f, 0x60,
        ];
        let public = NodeKey::from_seed(seed).public();
        assert_eq!(public.as_bytes()[..4], [0xd7, 0x5a, 0x98, 0x01]);
    }

    #[test]
    fn only_ed25519_key_infos_are_read() {
        let key = NodeKey::from_seed([7; 32]).public();
        let info = key.to_public_key_info();
        assert_eq!(PublicKey::from_public_key_info(&info), Some(key));
        let mut x25519 = info.clone();
        x25519[8] = 0x6e;
        assert_eq!(PublicKey::from_public_key_info(&x25519), None);
        assert_eq!(PublicKey::from_public_key_info(&info[..43]), None);
    }

    #[test]
    fn debug_output_does_not_show_the_private_half() {
        let key = NodeKey::from_seed([7; 32]);
        assert_eq!(format!("{key:?}"), format!("NodeKey({})", key.public().short()));
    }
}
