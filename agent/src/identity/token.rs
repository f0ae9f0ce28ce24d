//! The enrolment token: one line that a person carries from the hub to a device.
//!
//! ```text
//! lf1_ base32( format 1 | id 8 | secret 16 | expires 8 | count 1, hub key 32 each
//!              | count 1, address each | site pattern | checksum 4 )
//! address, pattern = length 1, bytes                 numbers are little-endian
//! ```
//! The checksum (first bytes of SHA-256 over all before it) tells a mistyped token from a refused
//! one. The secret is worth the enrolment: it is compared at the hub by hash and is never in
//! `Debug` output.

use std::fmt;
use std::str::FromStr;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::UnixSeconds;
use super::base32::{self, Base32Fault};
use super::key::PublicKey;
use super::rights::SitePattern;

const PREFIX: &str = "lf1_";
const FORMAT: u8 = 1;
const CHECKSUM_LENGTH: usize = 4;

/// Hub keys and addresses that a token may hold, each.
pub const TOKEN_ITEMS_MAX: usize = 8;

/// What an enrolment token says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Token {
    /// Which of the hub's tokens it is.
    pub id: TokenId,
    /// What proves that its bearer may enrol.
    pub secret: TokenSecret,
    /// When the hub stops to take it.
    pub expires: UnixSeconds,
    /// The keys by which the hub is known: 1 to [`TOKEN_ITEMS_MAX`].
    pub hub_keys: Vec<PublicKey>,
    /// Where the hub listens, each `host:port` of at most 255 bytes: 1 to [`TOKEN_ITEMS_MAX`].
    pub addresses: Vec<String>,
    /// The name that the new site has, or how it begins.
    pub site: SitePattern,
}

/// The public name of a token: random, so that it says nothing about how many there are.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId([u8; 8]);

impl TokenId {
    /// Takes 8 random bytes.
    #[must_use]
    pub const fn from_random(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&base32::encode(&self.0))
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for TokenId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = base32::decode(&text).map_err(|_| "not a token id")?;
        Ok(Self(bytes.try_into().map_err(|_| "not a token id")?))
    }
}

/// The secret of a token. It has no `Display`, its `Debug` shows nothing, and it cannot be compared
/// in variable time.
#[derive(Clone)]
pub struct TokenSecret([u8; TokenSecret::LENGTH]);

impl TokenSecret {
    /// Bytes of a secret.
    pub const LENGTH: usize = 16;

    /// Takes 16 random bytes.
    #[must_use]
    pub const fn from_random(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// The raw bytes, for the message that enrols a site.
    #[must_use]
    pub const fn expose(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }
}

impl PartialEq for TokenSecret {
    fn eq(&self, other: &Self) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.0.as_slice(), other.0.as_slice()).into()
    }
}

impl Eq for TokenSecret {}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(hidden)")
    }
}

/// Why a text is not a token.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenFault {
    /// It begins otherwise.
    #[error("not an enrolment token: it should begin with `lf1_`, as `landfall token` prints it")]
    NotAToken,
    /// A character that no token has.
    #[error("the token holds the character {0:?}, which no token has: copy it again, as one line")]
    Character(char),
    /// Cut off, or a character too many or too few.
    #[error("the token is incomplete: copy it again, as one line")]
    Incomplete,
    /// The checksum differs.
    #[error("the token is mistyped (its checksum does not fit): copy it again")]
    Mistyped,
    /// Made by a later version.
    #[error("the token has format {0}, which this version does not know: update landfall here")]
    Format(u8),
    /// The checksum fits but a field is wrong.
    #[error("the token was made wrongly ({0}): make a new one with `landfall token`")]
    Malformed(&'static str),
}

/// What does not fit into a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a token names 1 to 8 hub keys and 1 to 8 addresses, each of 1 to 255 printable bytes")]
pub struct TokenOverflow;

impl Token {
    /// The line for the person who carries it, *with the secret*. There is no `Display`, lest it
    /// gets into a log.
    ///
    /// # Errors
    /// [`TokenOverflow`] if a list or an address has an impossible length.
    pub fn to_text(&self) -> Result<String, TokenOverflow> {
        Ok(format!("{PREFIX}{}", base32::encode(&self.encode()?)))
    }

    fn encode(&self) -> Result<Vec<u8>, TokenOverflow> {
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(&self.id.0);
        bytes.extend_from_slice(&self.secret.0);
        bytes.extend_from_slice(&self.expires.0.to_le_bytes());
        bytes.push(count(self.hub_keys.len())?);
        for key in &self.hub_keys {
            bytes.extend_from_slice(key.as_bytes());
        }
        bytes.push(count(self.addresses.len())?);
        for address in &self.addresses {
            push_text(&mut bytes, address)?;
        }
        push_text(&mut bytes, &self.site.to_string())?;
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        Ok(bytes)
    }
}

fn count(items: usize) -> Result<u8, TokenOverflow> {
    match u8::try_from(items) {
        Ok(count) if is_count(count) => Ok(count),
        _ => Err(TokenOverflow),
    }
}

fn is_count(items: u8) -> bool {
    (1..=TOKEN_ITEMS_MAX).contains(&usize::from(items))
}

fn push_text(bytes: &mut Vec<u8>, text: &str) -> Result<(), TokenOverflow> {
    if !is_printable(text) {
        return Err(TokenOverflow);
    }
    bytes.push(u8::try_from(text.len()).map_err(|_| TokenOverflow)?);
    bytes.extend_from_slice(text.as_bytes());
    Ok(())
}

fn is_printable(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|c| c.is_control() || c.is_whitespace())
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LENGTH] {
    let hash = digest(&SHA256, bytes);
    hash.as_ref()[..CHECKSUM_LENGTH].try_into().expect("SHA-256 has 32 bytes")
}

impl FromStr for Token {
    type Err = TokenFault;

    fn from_str(text: &str) -> Result<Self, TokenFault> {
        let body = text.trim().strip_prefix(PREFIX).ok_or(TokenFault::NotAToken)?;
        let bytes = base32::decode(body).map_err(|fault| match fault {
            Base32Fault::Character(character) => TokenFault::Character(character),
            Base32Fault::Length => TokenFault::Incomplete,
        })?;
        let (bytes, sum) =
            bytes.split_last_chunk::<CHECKSUM_LENGTH>().ok_or(TokenFault::Incomplete)?;
        if checksum(bytes) != *sum {
            return Err(TokenFault::Mistyped);
        }
        let mut fields = Fields(bytes);
        let token = fields.token()?;
        if !fields.0.is_empty() {
            return Err(TokenFault::Malformed("something follows its end"));
        }
        Ok(token)
    }
}

/// What is left to read of a token whose checksum fits.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn token(&mut self) -> Result<Token, TokenFault> {
        let [format] = self.array()?;
        if format != FORMAT {
            return Err(TokenFault::Format(format));
        }
        Ok(Token {
            id: TokenId(self.array()?),
            secret: TokenSecret(self.array()?),
            expires: UnixSeconds(u64::from_le_bytes(self.array()?)),
            hub_keys: self.list(|fields| fields.array().map(PublicKey::from_bytes))?,
            addresses: self.list(Self::text)?,
            site: self
                .text()?
                .parse()
                .map_err(|_| TokenFault::Malformed("its site is not a pattern"))?,
        })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TokenFault> {
        let (field, rest) =
            self.0.split_first_chunk::<N>().ok_or(TokenFault::Malformed("a field is missing"))?;
        self.0 = rest;
        Ok(*field)
    }

    fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, TokenFault>,
    ) -> Result<Vec<T>, TokenFault> {
        let [count] = self.array()?;
        if !is_count(count) {
            return Err(TokenFault::Malformed("it names no hub, or too many"));
        }
        (0..count).map(|_| item(self)).collect()
    }

    fn text(&mut self) -> Result<String, TokenFault> {
        let [length] = self.array()?;
        let (text, rest) = self
            .0
            .split_at_checked(usize::from(length))
            .ok_or(TokenFault::Malformed("a text is cut off"))?;
        self.0 = rest;
        match std::str::from_utf8(text) {
            Ok(text) if is_printable(text) => Ok(text.into()),
            _ => Err(TokenFault::Malformed("a text is not printable")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token {
            id: TokenId::from_random(*b"identity"),
            secret: TokenSecret::from_random(*b"0123456789abcdef"),
            expires: UnixSeconds(1_900_000_000),
            hub_keys: vec![PublicKey::from_bytes([5; 32])],
            addresses: vec!["hub.example:4520".into(), "[2001:db8::1]:4520".into()],
            site: "ship-*".parse().unwrap(),
        }
    }

    #[test]
    fn a_token_survives_its_text_form_white_space_around_it_included() {
        let text = token().to_text().unwrap();
        assert!(text.starts_with("lf1_"));
        assert!(!text.contains(char::is_whitespace));
        assert_eq!(text.parse(), Ok(token()));
        assert_eq!(format!("  {text}\n").parse(), Ok(token()));
    }

    #[test]
    fn every_single_mistyped_character_is_noticed() {
        let text = token().to_text().unwrap();
        for index in PREFIX.len()..text.len() {
            let mut typed = text.clone().into_bytes();
            typed[index] = if typed[index] == b'a' { b'b' } else { b'a' };
            let typed = String::from_utf8(typed).unwrap();
            let fault = typed.parse::<Token>().unwrap_err();
            assert!(
                matches!(fault, TokenFault::Mistyped | TokenFault::Incomplete),
                "character {index}: {fault}"
            );
        }
    }

    #[test]
    fn cut_and_foreign_texts_say_what_is_wrong() {
        let text = token().to_text().unwrap();
        for length in 0..text.len() {
            assert!(text[..length].parse::<Token>().is_err(), "{length} characters");
        }
        assert_eq!("hello".parse::<Token>(), Err(TokenFault::NotAToken));
        assert_eq!("lf1_ab!c".parse::<Token>(), Err(TokenFault::Character('!')));
        assert_eq!("lf1_".parse::<Token>(), Err(TokenFault::Incomplete));
    }

    #[test]
    fn a_later_format_and_trailing_fields_are_refused_as_such() {
        let sealed = |mut bytes: Vec<u8>| {
            let sum = checksum(&bytes);
            bytes.extend_from_slice(&sum);
            format!("{PREFIX}{}", base32::encode(&bytes)).parse::<Token>()
        };
        let body = token().encode().unwrap();
        let body = &body[..body.len() - CHECKSUM_LENGTH];
        let mut later = body.to_vec();
        later[0] = 2;
        assert_eq!(sealed(later), Err(TokenFault::Format(2)));
        let longer = [body, &[0]].concat();
        assert!(matches!(sealed(longer), Err(TokenFault::Malformed(_))));
        for length in 1..body.len() {
            assert!(sealed(body[..length].to_vec()).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_when_the_token_is_made() {
        let overflow = |token: Token| assert_eq!(token.to_text(), Err(TokenOverflow));
        overflow(Token { addresses: vec![], ..token() });
        overflow(Token { addresses: vec!["hub:1".into(); 9], ..token() });
        overflow(Token { addresses: vec!["x".repeat(256)], ..token() });
        overflow(Token { addresses: vec!["hub :1".into()], ..token() });
        overflow(Token { hub_keys: vec![], ..token() });
    }

    #[test]
    fn debug_output_does_not_show_the_secret() {
        let shown = format!("{:?}", token());
        assert!(shown.contains("hidden"));
        assert!(!shown.contains("48, 49, 50"), "the secret begins with the bytes of `012`");
    }
}
