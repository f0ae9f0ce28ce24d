//! What an operator asks of a hub: tokens, sites, revocation.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use tokio::sync::oneshot;

use super::machine::{Machine, now};
use crate::api::{
    AdminCommand, AdminReply, ApiError, ErrorCode, RightsChange, TokenGrant, TokenWanted,
};
use crate::coordinates::check_site;
use crate::entropy;
use crate::identity::UnixSeconds;
use crate::identity::registry::{self, SiteRecord, SiteState};
use crate::identity::rights::Rights;
use crate::identity::token::{Token, TokenId, TokenSecret};
use crate::identity::token_record::{self, SecretHash, TokenRecord};
use crate::node::InternalRecord;

/// How long a copy may take to be told its new name.
const SPLIT_TOKEN_VALID_FOR: Duration = Duration::from_secs(7 * 86_400);

/// What a command comes to: what is to be recorded, and what is said when that is durable.
#[derive(Debug)]
pub(super) struct Decision {
    /// What is to be recorded; nothing if the command only asks.
    pub(super) records: Vec<InternalRecord>,
    pub(super) reply: AdminReply,
}

impl From<AdminReply> for Decision {
    fn from(reply: AdminReply) -> Self {
        Self { records: Vec::new(), reply }
    }
}

type Answer = oneshot::Sender<Result<AdminReply, ApiError>>;

impl Machine {
    /// Does what an operator asks for. Whoever asked may have gone.
    pub(super) fn admin(&mut self, command: AdminCommand, answer: Answer) {
        let decision = match self.decide(&command) {
            Ok(decision) => decision,
            Err(error) => return drop(answer.send(Err(error))),
        };
        #[cfg(feature = "kafka")]
        let Some((decision, answer)) = self.shares(command, decision, answer) else { return };
        let Decision { records, reply } = decision;
        let _ = answer.send(self.record(&records).map(|()| reply));
    }

    pub(super) fn decide(&self, command: &AdminCommand) -> Result<Decision, ApiError> {
        match command {
            AdminCommand::CreateToken(wanted) => self.create_token(wanted.clone()),
            AdminCommand::Sites => Ok(AdminReply::Sites(self.sites()).into()),
            AdminCommand::Revoke { site } => self.revoke(site),
            AdminCommand::Split { site, name } => self.split(site, name.clone()),
            AdminCommand::Rights { site, change } => self.rights(site, change),
        }
    }

    fn create_token(
        &self,
        TokenWanted { site, uses, valid_for, write, carry, subscribe }: TokenWanted,
    ) -> Result<Decision, ApiError> {
        let write = (!write.is_empty()).then_some(write);
        let change = RightsChange { write, carry: Some(carry), subscribe: Some(subscribe) };
        let rights = changed(Rights::plain(), &change)?;
        self.make_token(site, uses, valid_for, rights, None)
    }

    /// A copy of a site becomes a site of its own, which may also bring what it has written as the
    /// old one.
    fn split(&self, site: &str, name: Option<String>) -> Result<Decision, ApiError> {
        let sites = self.node.gate().sites();
        let Some(record) = sites.record(site) else {
            return Err(ApiError::new(ErrorCode::UnknownSite, format!("{site} is not registered")));
        };
        if let Some(taken) = name.iter().find(|name| sites.record(name).is_some()) {
            let text = format!("{taken} is registered already");
            return Err(ApiError::new(ErrorCode::Conflict, text).with_hint("choose another name"));
        }
        let mut names = (2_u64..).map(|number| format!("{site}-{number}"));
        let free = names.find(|name| sites.record(name).is_none());
        let Some(name) = name.or(free) else { unreachable!("numbers do not end") };
        check_site(&name)
            .map_err(|error| ApiError::new(ErrorCode::BadRequest, error.to_string()))?;
        let mut rights = record.rights.clone();
        rights.carry.push(parsed(site, "no site")?);
        self.make_token(name, 1, SPLIT_TOKEN_VALID_FOR, rights, Some(site.to_owned()))
    }

    fn make_token(
        &self,
        site: String,
        uses: u32,
        valid_for: Duration,
        rights: Rights,
        split_from: Option<String>,
    ) -> Result<Decision, ApiError> {
        if self.advertise.is_empty() {
            let text = "this node names no address where other nodes reach it";
            return Err(ApiError::new(ErrorCode::Conflict, text).with_hint(
                "set `listen`, and `advertise` to a host name or address, in landfall.toml",
            ));
        }
        let pattern = parsed(&site, "neither a site nor a pattern such as `ship-*`")?;
        let wall = u64::try_from(now().wall.get() / 1_000).unwrap_or_default();
        let expires = UnixSeconds(wall.saturating_add(valid_for.as_secs()));
        let (mut id, mut secret) = ([0; 8], [0; TokenSecret::LENGTH]);
        let drawn = entropy::fill(&mut id).and_then(|()| entropy::fill(&mut secret));
        drawn.map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()))?;
        let (hub_keys, addresses) = self.node.gate().hubs().beside(self.key, &self.advertise);
        let token = Token {
            id: TokenId::from_random(id),
            secret: TokenSecret::from_random(secret),
            expires,
            hub_keys,
            addresses,
            site: pattern,
        };
        let record = TokenRecord {
            id: token.id,
            secret_hash: SecretHash::of(&token.secret),
            site_pattern: token.site.clone(),
            expires,
            uses_max: uses,
            uses: 0,
            used_by: None,
            rights,
            split_from,
        };
        let text = token.to_text().map_err(|_| {
            ApiError::new(ErrorCode::BadRequest, "too many addresses to advertise in one token")
        })?;
        let record = InternalRecord {
            topic: token_record::TOPIC,
            key: token.id.to_string().into_bytes(),
            value: Some(record.to_json()),
        };
        let expires_ms = i64::try_from(expires.0).unwrap_or(i64::MAX / 1_000) * 1_000;
        let reply = AdminReply::Token(TokenGrant { token: text, site, uses, expires_ms });
        Ok(Decision { records: vec![record], reply })
    }

    fn revoke(&self, site: &str) -> Result<Decision, ApiError> {
        let Some(record) = self.node.gate().sites().record(site).cloned() else {
            return Err(ApiError::new(ErrorCode::UnknownSite, format!("{site} is not registered")));
        };
        let record = SiteRecord { state: SiteState::Revoked, ..record };
        let message = format!("{site} is revoked; its connections are cut, its records stay");
        Ok(Decision {
            records: vec![site_record(site, &record)],
            reply: AdminReply::Done { message },
        })
    }

    /// Changes what a registered site may do.
    fn rights(&self, site: &str, change: &RightsChange) -> Result<Decision, ApiError> {
        let Some(record) = self.node.gate().sites().record(site).cloned() else {
            return Err(ApiError::new(ErrorCode::UnknownSite, format!("{site} is not registered")));
        };
        let rights = changed(record.rights.clone(), change)?;
        let message = format!("{site} may {}", told(&rights));
        let reply = AdminReply::Done { message };
        if change.is_empty() {
            return Ok(reply.into());
        }
        let record = SiteRecord { rights, ..record };
        Ok(Decision { records: vec![site_record(site, &record)], reply })
    }

    /// Makes records of the registry durable, and does what follows from them. The links of sites
    /// whose rights have changed begin anew, so that they ask again for what they may have now.
    pub(super) fn record(&mut self, records: &[InternalRecord]) -> Result<(), ApiError> {
        let sites = records.iter().filter(|record| record.topic == registry::TOPIC);
        let sites = sites.filter_map(|record| std::str::from_utf8(&record.key).ok());
        let rights = |machine: &Self, site: &str| {
            machine.node.gate().sites().record(site).map(|record| record.rights.clone())
        };
        let before: Vec<_> =
            sites.filter_map(|site| Some((site.to_owned(), rights(self, site)?))).collect();
        if !self.node.record(records, now()) {
            let text = "the registry could not be written; the disk may be full or failing";
            return Err(ApiError::new(ErrorCode::DiskFull, text));
        }
        if !before.is_empty() {
            self.node.cut_unwelcome();
        }
        for (site, before) in before {
            if rights(self, &site).is_some_and(|now| now != before) {
                self.node.part_from(&site, "what this site may do was changed; call again");
            }
        }
        Ok(())
    }
}

fn site_record(site: &str, record: &SiteRecord) -> InternalRecord {
    InternalRecord {
        topic: registry::TOPIC,
        key: site.as_bytes().to_vec(),
        value: Some(record.to_json()),
    }
}

/// Rights after a change.
fn changed(mut rights: Rights, change: &RightsChange) -> Result<Rights, ApiError> {
    if let Some(write) = &change.write {
        rights.write = all_parsed(write, "neither a topic nor a pattern such as `engine-*`")?;
    }
    if let Some(carry) = &change.carry {
        rights.carry = all_parsed(carry, "neither a site nor a pattern such as `buoy-*`")?;
    }
    if let Some(subscribe) = &change.subscribe {
        let what = "neither a topic nor a pattern such as `commands.*`";
        rights.subscribe = all_parsed(subscribe, what)?;
    }
    Ok(rights)
}

/// What somebody may do, for people.
fn told(rights: &Rights) -> String {
    fn all<T: Display>(patterns: &[T], none: &str) -> String {
        let texts: Vec<_> = patterns.iter().map(T::to_string).collect();
        if texts.is_empty() { none.to_owned() } else { texts.join(", ") }
    }
    let Rights { write, carry, subscribe, .. } = rights;
    format!(
        "write {}; carry {}; have come down {}",
        all(write, "nothing"),
        all(carry, "nobody"),
        all(subscribe, "nothing")
    )
}

fn parsed<T: FromStr>(text: &str, what: &str) -> Result<T, ApiError> {
    text.parse().map_err(|_| ApiError::new(ErrorCode::BadRequest, format!("`{text}` is {what}")))
}

fn all_parsed<T: FromStr>(texts: &[String], what: &str) -> Result<Vec<T>, ApiError> {
    texts.iter().map(|text| parsed(text, what)).collect()
}
