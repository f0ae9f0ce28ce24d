//! The hub's side of enrolment tokens: a hash of each secret, and what may be done with it.
//!
//! The truth is the compacted topic [`TOPIC`] (key: the token's id as text, value: a
//! [`TokenRecord`] as JSON); [`TokenBook`] is its fold in memory.

use std::collections::BTreeMap;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::key::PublicKey;
use super::rights::{Rights, SitePattern};
use super::token::{TokenId, TokenSecret};
use super::{UnixSeconds, base32};

/// The compacted topic that holds the tokens.
pub const TOPIC: &str = "_tokens";

/// What a hub knows of a token.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TokenRecord {
    /// Which token it is.
    pub id: TokenId,
    /// A hash of the secret. The secret has 128 random bits, so a plain hash does not help a reader
    /// of the log.
    pub secret_hash: SecretHash,
    /// The sites it is good for.
    pub site_pattern: SitePattern,
    /// From when on it is refused.
    pub expires: UnixSeconds,
    /// How many sites may enrol with it.
    #[serde(default = "once")]
    pub uses_max: u32,
    /// How many have.
    #[serde(default)]
    pub uses: u32,
    /// The last site that came with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<TokenUse>,
    /// What its site gets.
    pub rights: Rights,
    /// The site whose copy is to enrol with it, if it is for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_from: Option<String>,
}

fn once() -> u32 {
    1
}

/// Who came with a token, and when.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TokenUse {
    /// The site that was enrolled.
    pub site: String,
    /// Its key.
    pub key: PublicKey,
    /// When, by the hub's clock.
    pub at: UnixSeconds,
}

/// SHA-256 of a token's secret, as base32 in JSON.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// Hashes a secret.
    #[must_use]
    pub fn of(secret: &TokenSecret) -> Self {
        let hash = digest(&SHA256, secret.expose());
        Self(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    fn is_of(&self, secret: &TokenSecret) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.0.as_slice(), Self::of(secret).0.as_slice()).into()
    }
}

impl From<SecretHash> for String {
    fn from(hash: SecretHash) -> Self {
        base32::encode(&hash.0)
    }
}

impl TryFrom<String> for SecretHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = base32::decode(&text).map_err(|_| "not a hash")?;
        Ok(Self(bytes.try_into().map_err(|_| "not a hash")?))
    }
}

/// What the bearer of a token gets to hear.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenVerdict {
    /// It is good for this site and key; also for the site that used it before, whose answer may
    /// have got lost.
    #[error("the token is valid")]
    Valid,
    /// The hub has no such token.
    #[error("the hub does not know this token: it was withdrawn, or it is for another hub")]
    Unknown,
    /// As many sites as it is for have used it.
    #[error("the token was used up before: make a new one with `landfall token` at the hub")]
    Used,
    /// Its time is over.
    #[error("the token has expired: make a new one with `landfall token` at the hub")]
    Expired,
    /// It is for other names.
    #[error("the token is for another site: the name of this site does not fit its pattern")]
    WrongSite,
    /// The secret differs: nothing else about the token is said to its bearer.
    #[error("the token's secret is wrong: copy the token again")]
    WrongSecret,
}

impl TokenRecord {
    /// The record's value in [`TOPIC`].
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("no map with other than text keys, no failing Serialize")
    }

    /// Whether `site`, holding `key`, may enrol with `secret` at `now`.
    ///
    /// The secret is judged first: who lacks it learns nothing else.
    #[must_use]
    pub fn verdict(
        &self,
        secret: &TokenSecret,
        site: &str,
        key: &PublicKey,
        now: UnixSeconds,
    ) -> TokenVerdict {
        if !self.secret_hash.is_of(secret) {
            return TokenVerdict::WrongSecret;
        }
        if self.last_used_by(site, key) {
            return TokenVerdict::Valid;
        }
        if self.uses >= self.uses_max {
            return TokenVerdict::Used;
        }
        if now >= self.expires {
            return TokenVerdict::Expired;
        }
        if !self.site_pattern.matches(site) {
            return TokenVerdict::WrongSite;
        }
        TokenVerdict::Valid
    }

    /// The record when a site has enrolled with it. Who came last and comes again, since the answer
    /// got lost, is counted once.
    #[must_use]
    pub fn used(&self, by: TokenUse) -> Self {
        let again = self.last_used_by(&by.site, &by.key);
        let uses = if again { self.uses } else { self.uses.saturating_add(1) };
        Self { uses, used_by: Some(by), ..self.clone() }
    }

    fn last_used_by(&self, site: &str, key: &PublicKey) -> bool {
        self.used_by.as_ref().is_some_and(|used| used.site == site && used.key == *key)
    }
}

/// A record of [`TOPIC`] that is not a token record of this id; a token of that id is not known any
/// more.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a record of _tokens is not readable ({0}); the token is refused")]
pub struct TokenRecordFault(String);

/// The tokens as of the last record applied.
#[derive(Clone, Debug, Default)]
pub struct TokenBook {
    tokens: BTreeMap<String, TokenRecord>,
}

impl TokenBook {
    /// Applies one record of [`TOPIC`], in log order. `None` is a tombstone.
    ///
    /// # Errors
    /// [`TokenRecordFault`] if the record cannot be read: its token is refused, the fold goes on.
    pub fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), TokenRecordFault> {
        let id = std::str::from_utf8(key).map_err(|e| TokenRecordFault(e.to_string()))?;
        self.tokens.remove(id);
        let Some(value) = value else { return Ok(()) };
        let record: TokenRecord =
            serde_json::from_slice(value).map_err(|e| TokenRecordFault(e.to_string()))?;
        if record.id.to_string() != id {
            return Err(TokenRecordFault("it stands under another id".into()));
        }
        self.tokens.insert(id.into(), record);
        Ok(())
    }

    /// The token of this id.
    #[must_use]
    pub fn token(&self, id: TokenId) -> Option<&TokenRecord> {
        self.tokens.get(&id.to_string())
    }

    /// All tokens by id.
    pub fn tokens(&self) -> impl Iterator<Item = &TokenRecord> {
        self.tokens.values()
    }

    /// [`TokenRecord::verdict`] for a token that may be unknown.
    #[must_use]
    pub fn verdict(
        &self,
        id: TokenId,
        secret: &TokenSecret,
        site: &str,
        key: &PublicKey,
        now: UnixSeconds,
    ) -> TokenVerdict {
        match self.token(id) {
            Some(record) => record.verdict(secret, site, key, now),
            None => TokenVerdict::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: TokenId = TokenId::from_random(*b"identity");
    const KEY: PublicKey = PublicKey::from_bytes([7; 32]);
    const OTHER: PublicKey = PublicKey::from_bytes([8; 32]);
    const BEFORE: UnixSeconds = UnixSeconds(999);
    const EXPIRY: UnixSeconds = UnixSeconds(1000);

    fn secret() -> TokenSecret {
        TokenSecret::from_random([3; 16])
    }

    fn record() -> TokenRecord {
        TokenRecord {
            id: ID,
            secret_hash: SecretHash::of(&secret()),
            site_pattern: "ship-*".parse().unwrap(),
            expires: EXPIRY,
            uses_max: 1,
            uses: 0,
            used_by: None,
            rights: Rights::plain(),
            split_from: None,
        }
    }

    fn used(uses_max: u32) -> TokenRecord {
        let by = TokenUse { site: "ship-17".into(), key: KEY, at: BEFORE };
        TokenRecord { uses_max, ..record() }.used(by)
    }

    #[test]
    fn each_way_to_be_wrong_has_its_verdict() {
        let judge = |site, now| record().verdict(&secret(), site, &KEY, now);
        assert_eq!(judge("ship-17", BEFORE), TokenVerdict::Valid);
        assert_eq!(judge("ship-17", EXPIRY), TokenVerdict::Expired);
        assert_eq!(judge("train-1", BEFORE), TokenVerdict::WrongSite);
        let wrong = TokenSecret::from_random([4; 16]);
        assert_eq!(record().verdict(&wrong, "train-1", &KEY, EXPIRY), TokenVerdict::WrongSecret);
    }

    #[test]
    fn a_used_token_is_good_only_for_who_used_it() {
        let judge = |site, key| used(1).verdict(&secret(), site, key, BEFORE);
        assert_eq!(judge("ship-17", &KEY), TokenVerdict::Valid, "the answer had got lost");
        assert_eq!(judge("ship-17", &OTHER), TokenVerdict::Used);
        assert_eq!(judge("ship-18", &KEY), TokenVerdict::Used);
    }

    #[test]
    fn a_token_for_two_lets_the_next_one_in_and_then_nobody() {
        let judge = |token: &TokenRecord, site, key| token.verdict(&secret(), site, key, BEFORE);
        let once = used(2);
        assert_eq!(judge(&once, "ship-18", &OTHER), TokenVerdict::Valid);
        let again = once.used(TokenUse { site: "ship-17".into(), key: KEY, at: BEFORE });
        assert_eq!(again.uses, 1, "who comes again is counted once");
        let twice = again.used(TokenUse { site: "ship-18".into(), key: OTHER, at: BEFORE });
        let third = PublicKey::from_bytes([9; 32]);
        assert_eq!(judge(&twice, "ship-19", &third), TokenVerdict::Used);
        assert_eq!(judge(&twice, "ship-18", &OTHER), TokenVerdict::Valid, "its answer got lost");
    }

    #[test]
    fn the_book_folds_records_and_tombstones() {
        let mut book = TokenBook::default();
        let key = ID.to_string();
        let judge = |book: &TokenBook| book.verdict(ID, &secret(), "ship-17", &KEY, BEFORE);
        assert_eq!(judge(&book), TokenVerdict::Unknown);
        book.apply(key.as_bytes(), Some(&record().to_json())).unwrap();
        assert_eq!(judge(&book), TokenVerdict::Valid);
        assert_eq!(book.token(ID), Some(&record()));
        book.apply(key.as_bytes(), None).unwrap();
        assert_eq!(judge(&book), TokenVerdict::Unknown);
    }

    #[test]
    fn an_unreadable_or_misplaced_record_makes_its_token_unknown() {
        let mut book = TokenBook::default();
        let key = ID.to_string();
        book.apply(key.as_bytes(), Some(&record().to_json())).unwrap();
        book.apply(key.as_bytes(), Some(b"{}")).unwrap_err();
        assert_eq!(book.tokens().count(), 0);
        book.apply(b"elsewhere", Some(&record().to_json())).unwrap_err();
        assert_eq!(book.tokens().count(), 0);
    }

    #[test]
    fn the_stored_form_holds_no_secret() {
        let json = String::from_utf8(record().to_json()).unwrap();
        assert!(!json.contains(&base32::encode(secret().expose())), "{json}");
    }
}
