//! The gate: who is let in, and what they may write.

use landfall_core::num::Timestamp;
use landfall_protocol::message::{Enrol, GoodbyeCode};

use super::Uplink;

/// The public key by which a peer proved itself.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PeerKey(pub [u8; 32]);

/// A record of one of the node's own topics.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InternalRecord {
    /// The topic.
    pub topic: &'static str,
    /// The key.
    pub key: Vec<u8>,
    /// The value; none forgets the key.
    pub value: Option<Vec<u8>>,
}

/// Whether a peer is let in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Admission {
    /// It is, under this site, once these records are durable.
    Admitted {
        /// The site.
        site: String,
        /// What is to be recorded first.
        records: Vec<InternalRecord>,
    },
    /// Not yet: what lets it in is being recorded elsewhere. It is to come again soon.
    Later {
        /// What is waited for.
        text: String,
    },
    /// It is not.
    Refused {
        /// Why.
        code: GoodbyeCode,
        /// What, where and what to do.
        text: String,
    },
}

/// Decides who is let in and what they may write. It is a fold over the node's own topics.
pub trait Gate {
    /// Decides about a peer that says it is `site`.
    fn admit(
        &self,
        key: PeerKey,
        site: &str,
        enrol: Option<Enrol<'_>>,
        wall: Timestamp,
    ) -> Admission;

    /// Whether a key may still be connected as that site.
    fn is_welcome(&self, key: PeerKey, site: &str) -> bool;

    /// Whether `site` may send records of `origin`.
    fn may_carry(&self, site: &str, origin: &str) -> bool;

    /// Whether `site` may send records of a topic.
    fn may_write(&self, site: &str, origin: &str, topic: &str) -> bool;

    /// Whether `site` may have a copy of a topic.
    fn may_subscribe(&self, _site: &str, _topic: &str) -> bool {
        false
    }

    /// The uplink that takes what was written at an origin. Of one that is not open, it waits. The
    /// answer changes only while the node lets it, in [`super::Node::set_uplinks`].
    fn uplink_of(&self, _origin: &str) -> Uplink {
        Uplink::FIRST
    }

    /// Whether notes of the clocks of nodes below are kept here. Who keeps nothing itself says no.
    fn keeps_clocks(&self) -> bool {
        true
    }

    /// Why a topic of that origin can't be written, and what to do, if the gate knows more than
    /// that it is not allowed.
    fn why_not(&self, _origin: &str, _topic: &str) -> Option<String> {
        None
    }

    /// The site that `site` was a copy of, until it was given a name of its own.
    fn split_from(&self, _site: &str) -> Option<&str> {
        None
    }

    /// Takes in a record of one of the node's own topics, which is durable.
    fn apply(&mut self, topic: &str, key: &[u8], value: Option<&[u8]>);
}

/// Lets everybody in under the site they say they are, to write what they like.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenGate;

impl Gate for OpenGate {
    fn admit(
        &self,
        _key: PeerKey,
        site: &str,
        _enrol: Option<Enrol<'_>>,
        _wall: Timestamp,
    ) -> Admission {
        Admission::Admitted { site: site.into(), records: Vec::new() }
    }

    fn is_welcome(&self, _key: PeerKey, _site: &str) -> bool {
        true
    }

    fn may_carry(&self, _site: &str, _origin: &str) -> bool {
        true
    }

    fn may_write(&self, _site: &str, _origin: &str, topic: &str) -> bool {
        !landfall_core::name::topic_is_internal(topic)
    }

    fn may_subscribe(&self, _site: &str, topic: &str) -> bool {
        !landfall_core::name::topic_is_internal(topic)
    }

    fn apply(&mut self, _topic: &str, _key: &[u8], _value: Option<&[u8]>) {}
}
