//! Sites that ask to be registered. Where several hubs share the registry, what waits is decided
//! together and written at once: a fleet that comes for the first time takes no longer than a ship.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use crate::identity::registry::{self, Enrolment, Registry, SiteRecord, SiteState};
use crate::identity::token::{TokenId, TokenSecret};
use crate::identity::token_record::{self, TokenBook, TokenUse, TokenVerdict};
use crate::identity::{PublicKey, UnixSeconds};
use crate::node::InternalRecord;

/// Sites that wait.
const WAITING_MAX: usize = 256;

/// A site that showed a token, by which it may be registered as far as is known.
#[derive(Clone, Debug)]
pub struct Asked {
    pub(super) site: String,
    pub(super) key: PublicKey,
    pub(super) token: TokenId,
    pub(super) secret: TokenSecret,
    /// When it did.
    pub(super) at: UnixSeconds,
}

/// The sites that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<BTreeMap<String, Asked>>);

impl Waiting {
    /// Keeps them, as far as there is room: who finds none comes again.
    pub(super) fn put(&self, asked: impl IntoIterator<Item = Asked>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for asked in asked {
            if waiting.len() < WAITING_MAX || waiting.contains_key(&asked.site) {
                waiting.insert(asked.site.clone(), asked);
            }
        }
    }

    /// All of them, who wait no more.
    pub(super) fn take(&self) -> Vec<Asked> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting).into_values().collect()
    }
}

/// What registers those of them who may be: one after the other, each by what those before it leave
/// of its token. Tokens come first: whatever a crash leaves of this, none lets one more in.
pub(super) fn records(
    asked: &[Asked],
    sites: &Registry,
    tokens: &TokenBook,
) -> Vec<InternalRecord> {
    let (mut used, mut keys, mut registered) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
    for asked in asked {
        let Asked { site, key, token: id, secret, at } = asked;
        let open = sites.enrolment(site, key);
        if !matches!(open, Enrolment::Open | Enrolment::Repeated) || !keys.insert(key.to_string()) {
            continue;
        }
        let Some(token) = used.get(&id.to_string()).or_else(|| tokens.token(*id)) else { continue };
        if token.verdict(secret, site, key, *at) != TokenVerdict::Valid {
            continue;
        }
        let record = SiteRecord {
            key: *key,
            rights: token.rights.clone(),
            state: SiteState::Active,
            enrolled_at: *at,
            token: Some(id.to_string()),
            split_from: token.split_from.clone(),
        };
        let left = token.used(TokenUse { site: site.clone(), key: *key, at: *at });
        used.insert(id.to_string(), left);
        registered.push(InternalRecord {
            topic: registry::TOPIC,
            key: site.as_bytes().to_vec(),
            value: Some(record.to_json()),
        });
    }
    let used = used.into_iter().map(|(id, token)| InternalRecord {
        topic: token_record::TOPIC,
        key: id.into_bytes(),
        value: Some(token.to_json()),
    });
    used.chain(registered).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Rights;
    use crate::identity::token_record::{SecretHash, TokenRecord};

    const NOW: UnixSeconds = UnixSeconds(1_000);
    const TOKEN: TokenId = TokenId::from_random(*b"identity");

    fn secret() -> TokenSecret {
        TokenSecret::from_random([3; 16])
    }

    /// A token for so many sites.
    fn tokens(uses_max: u32) -> TokenBook {
        let token = TokenRecord {
            id: TOKEN,
            secret_hash: SecretHash::of(&secret()),
            site_pattern: "ship-*".parse().unwrap(),
            expires: UnixSeconds(2_000),
            uses_max,
            uses: 0,
            used_by: None,
            rights: Rights::plain(),
            split_from: None,
        };
        let mut tokens = TokenBook::default();
        tokens.apply(TOKEN.to_string().as_bytes(), Some(&token.to_json())).unwrap();
        tokens
    }

    fn asked(site: &str, key: u8) -> Asked {
        let key = PublicKey::from_bytes([key; 32]);
        Asked { site: site.into(), key, token: TOKEN, secret: secret(), at: NOW }
    }

    /// The sites that come to be registered, and how often the token is used then.
    fn registered(asked: &[Asked], uses_max: u32) -> (Vec<String>, u32) {
        let (mut sites, mut tokens) = (Registry::default(), tokens(uses_max));
        let records = records(asked, &sites, &tokens);
        assert!(records.is_sorted_by_key(|record| record.topic == registry::TOPIC));
        for record in records {
            match record.topic {
                registry::TOPIC => sites.apply(&record.key, record.value.as_deref()).unwrap(),
                _ => tokens.apply(&record.key, record.value.as_deref()).unwrap(),
            }
        }
        let names = sites.sites().map(|(name, _)| name.to_owned()).collect();
        (names, tokens.token(TOKEN).unwrap().uses)
    }

    #[test]
    fn sites_that_wait_together_are_registered_at_once_as_often_as_their_token_says() {
        let fleet = [asked("ship-1", 1), asked("ship-2", 2), asked("ship-3", 3)];
        assert_eq!(
            registered(&fleet, 3),
            (vec!["ship-1".into(), "ship-2".into(), "ship-3".into()], 3)
        );
        assert_eq!(registered(&fleet, 2), (vec!["ship-1".into(), "ship-2".into()], 2));
    }

    #[test]
    fn a_key_gets_one_name_and_who_may_not_have_its_name_holds_nobody_up() {
        let fleet =
            [asked("ship-1", 1), asked("ship-2", 1), asked("train-1", 2), asked("ship-3", 3)];
        assert_eq!(registered(&fleet, 9), (vec!["ship-1".into(), "ship-3".into()], 2));
    }

    #[test]
    fn who_waits_is_taken_once_and_asks_once() {
        let waiting = Waiting::default();
        waiting.put([asked("ship-1", 1), asked("ship-1", 1), asked("ship-2", 2)]);
        assert_eq!(waiting.take().len(), 2);
        assert!(waiting.take().is_empty());
        waiting.put((0..300).map(|number| asked(&format!("ship-{number}"), 1)));
        assert_eq!(waiting.take().len(), WAITING_MAX);
    }
}
