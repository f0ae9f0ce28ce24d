//! What the two hellos make of a session.

use super::Role;
use super::config::Config;
use super::event::Incompatible;
use crate::limits::{CREDIT_BYTES_EARLY, FRAME_BYTES_EARLY, credit_bytes_min};
use crate::message::{Features, Hello, Introduction, Terms};

/// Where a session stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// This end has said hello and waits for the other's.
    Greeting,
    /// The listener has heard the hello, and its node decides. Nothing is read meanwhile.
    Deciding(Agreed),
    /// The dialer has heard the hello and waits to be accepted.
    Waiting(Agreed),
    /// Everything may be said.
    Open(Agreed),
    /// It is over.
    Closed(super::Closed),
}

/// What the ends have agreed on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Agreed {
    pub(super) version: u16,
    pub(super) features: Features,
    /// The longest frame that the other end takes.
    pub(super) frame_bytes_max: usize,
    /// How many lanes the other end has.
    pub(super) peer_lanes: usize,
}

/// The hello of this end.
pub(super) fn hello<'a>(config: &Config, introduction: Introduction<'a>) -> Hello<'a> {
    let terms = Terms {
        protocol_min: config.versions.oldest,
        protocol_max: config.versions.newest,
        features: config.features,
        frame_bytes_max: config.frame_bytes_max,
        credit: config.credit_bytes,
    };
    Hello { terms, introduction }
}

/// Common ground with the other end: the highest version that both speak, and what both can do.
pub(super) fn agree(
    config: &Config,
    role: Role,
    lanes_max: usize,
    hello: &Hello<'_>,
) -> Result<Agreed, Incompatible> {
    let peer = &hello.terms;
    let version = config.versions.newest.min(peer.protocol_max);
    if version < config.versions.oldest.max(peer.protocol_min) {
        let (peer_min, peer_max) = (peer.protocol_min, peer.protocol_max);
        return Err(Incompatible::Version { peer_min, peer_max });
    }
    if peer.credit < credit_bytes_min(peer.frame_bytes_max) {
        return Err(Incompatible::Credit);
    }
    let listens = role == Role::Dialer;
    if listens && (peer.frame_bytes_max < FRAME_BYTES_EARLY || peer.credit < CREDIT_BYTES_EARLY) {
        return Err(Incompatible::Frames);
    }
    let peer_lanes = hello.introduction.lanes.count();
    if peer_lanes > lanes_max {
        return Err(Incompatible::Lanes);
    }
    Ok(Agreed {
        version,
        features: config.features.and(peer.features),
        frame_bytes_max: peer.frame_bytes_max,
        peer_lanes,
    })
}
