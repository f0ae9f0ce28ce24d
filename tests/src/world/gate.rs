//! Who may do what in a world: everybody everything, but for what is forbidden.

use landfall::node::{Admission, Gate, OpenGate, PeerKey};
use landfall_core::num::Timestamp;
use landfall_protocol::message::Enrol;

/// Something that a site may not do at a host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Rule {
    /// It may not carry records of an origin.
    Carry(&'static str, &'static str),
    /// It may not write a topic.
    Write(&'static str, &'static str),
}

/// The rights at a host.
#[derive(Clone, Debug, Default)]
pub struct WorldGate(pub(super) Vec<Rule>);

impl Gate for WorldGate {
    fn admit(
        &self,
        key: PeerKey,
        site: &str,
        enrol: Option<Enrol<'_>>,
        wall: Timestamp,
    ) -> Admission {
        OpenGate.admit(key, site, enrol, wall)
    }

    fn is_welcome(&self, _key: PeerKey, _site: &str) -> bool {
        true
    }

    fn may_carry(&self, site: &str, origin: &str) -> bool {
        let forbids =
            |rule: &Rule| matches!(rule, Rule::Carry(by, of) if (*by, *of) == (site, origin));
        !self.0.iter().any(forbids)
    }

    fn may_write(&self, site: &str, origin: &str, topic: &str) -> bool {
        let forbids =
            |rule: &Rule| matches!(rule, Rule::Write(by, to) if (*by, *to) == (site, topic));
        OpenGate.may_write(site, origin, topic) && !self.0.iter().any(forbids)
    }

    fn apply(&mut self, _topic: &str, _key: &[u8], _value: Option<&[u8]>) {}
}
