//! What an operator asks of a hub: tokens, sites, revocation.

use super::machine::{Machine, now};
use crate::api::{AdminCommand, AdminReply, ApiError, ErrorCode, TokenGrant};
use crate::entropy;
use crate::identity::UnixSeconds;
use crate::identity::registry::{self, SiteRecord, SiteState};
use crate::identity::rights::Rights;
use crate::identity::token::{Token, TokenId, TokenSecret};
use crate::identity::token_record::{self, SecretHash, TokenRecord};
use crate::node::InternalRecord;

impl Machine {
    pub(super) fn admin(&mut self, command: AdminCommand) -> Result<AdminReply, ApiError> {
        match command {
            AdminCommand::CreateToken { site, uses, valid_for } => {
                self.create_token(site, uses, valid_for)
            }
            AdminCommand::Sites => Ok(AdminReply::Sites(self.sites())),
            AdminCommand::Revoke { site } => self.revoke(&site),
            AdminCommand::Split { site } => Err(ApiError::new(
                ErrorCode::BadRequest,
                format!("{site} can't be split yet; both copies are served under their epochs"),
            )
            .with_hint("stop the copy, then enrol it under a name of its own")),
            AdminCommand::Stop => Err(ApiError::new(
                ErrorCode::BadRequest,
                "a node is stopped by its service manager, or with SIGTERM",
            )),
        }
    }

    fn create_token(
        &mut self,
        site: String,
        uses: u32,
        valid_for: std::time::Duration,
    ) -> Result<AdminReply, ApiError> {
        if self.advertise.is_empty() {
            return Err(ApiError::new(ErrorCode::Conflict, "this node does not listen")
                .with_hint("set listen, and advertise if it is behind NAT, in landfall.toml"));
        }
        let pattern = site.parse().map_err(|_| {
            let text = format!("`{site}` is neither a site nor a pattern such as `ship-*`");
            ApiError::new(ErrorCode::BadRequest, text)
        })?;
        let wall = u64::try_from(now().wall.get() / 1_000).unwrap_or_default();
        let expires = UnixSeconds(wall.saturating_add(valid_for.as_secs()));
        let (mut id, mut secret) = ([0; 8], [0; TokenSecret::LENGTH]);
        let drawn = entropy::fill(&mut id).and_then(|()| entropy::fill(&mut secret));
        drawn.map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()))?;
        let token = Token {
            id: TokenId::from_random(id),
            secret: TokenSecret::from_random(secret),
            expires,
            hub_keys: vec![self.key],
            addresses: self.advertise.clone(),
            site: pattern,
        };
        let record = TokenRecord {
            id: token.id,
            secret_hash: SecretHash::of(&token.secret),
            site_pattern: token.site.clone(),
            expires,
            single_use: uses == 1,
            used_by: None,
            rights: Rights::plain(),
        };
        let text = token.to_text().map_err(|_| {
            ApiError::new(ErrorCode::BadRequest, "too many addresses to advertise in one token")
        })?;
        self.record(InternalRecord {
            topic: token_record::TOPIC,
            key: token.id.to_string().into_bytes(),
            value: Some(record.to_json()),
        })?;
        let expires_ms = i64::try_from(expires.0).unwrap_or(i64::MAX / 1_000) * 1_000;
        Ok(AdminReply::Token(TokenGrant { token: text, site, uses, expires_ms }))
    }

    fn revoke(&mut self, site: &str) -> Result<AdminReply, ApiError> {
        let Some(record) = self.node.gate().sites().record(site).cloned() else {
            return Err(ApiError::new(ErrorCode::UnknownSite, format!("{site} is not registered")));
        };
        let record = SiteRecord { state: SiteState::Revoked, ..record };
        self.record(InternalRecord {
            topic: registry::TOPIC,
            key: site.as_bytes().to_vec(),
            value: Some(record.to_json()),
        })?;
        self.node.cut_unwelcome();
        let message = format!("{site} is revoked; its connections are cut, its records stay");
        Ok(AdminReply::Done { message })
    }

    fn record(&mut self, record: InternalRecord) -> Result<(), ApiError> {
        if self.node.record(&record, now()) {
            return Ok(());
        }
        let text = "the registry could not be written; the disk may be full or failing";
        Err(ApiError::new(ErrorCode::DiskFull, text))
    }
}
