//! Who a node is, and what a hub lets it do.
//!
//! Trust is a registered public key. A node proves that it holds the key in the TLS handshake
//! ([`tls`]); whose key it is and what it may do is the hub's registry ([`registry`], [`rights`]),
//! asked after every handshake. A key gets into the registry by an enrolment token ([`token`],
//! [`token_record`]).

mod base32;
pub mod hubs;
pub mod key;
mod key_file;
mod line_keys;
pub mod owners;
pub mod registry;
pub mod rights;
pub mod tls;
pub mod token;
pub mod token_record;

pub use hubs::{HubRecord, HubRecordFault, Hubs};
pub use key::{KeyFault, NodeKey, PublicKey, PublicKeyFault};
pub use key_file::KeyFileFault;
pub use line_keys::{LineKeys, LineKeysFault};
pub use owners::{OwnerRecord, OwnerRecordFault, Owners};
pub use registry::{Admission, Enrolment, Registry, RegistryFault, SiteRecord, SiteState};
pub use rights::{PatternFault, Rights, SitePattern, TopicPattern};
pub use token::{Token, TokenFault, TokenId, TokenOverflow, TokenSecret};
pub use token_record::{SecretHash, TokenBook, TokenRecord, TokenUse, TokenVerdict};

/// Seconds since 1970-01-01 UTC, as far as the node's clock can be trusted.
#[derive(
    Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize,
)]
#[serde(transparent)]
pub struct UnixSeconds(pub u64);
