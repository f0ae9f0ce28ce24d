//! Where what is durable at the root is durable: at which journal without an upstream. A gateway
//! that is new to a stream may leave out what is durable at its own root, and at no other.
//!
//! It is kept in an internal topic, so that it outlasts a restart.

use landfall_core::media::Media;
use landfall_core::num::LogId;

use super::{Core, Gate, InternalRecord};

/// The topic, with one key.
const TOPIC: &str = "_root";

/// Where promises for the root were made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum RootedAt {
    /// There were none.
    #[default]
    Nowhere,
    /// At one journal.
    One(LogId),
    /// At several, and nobody knows which promise was made where.
    Several,
}

impl RootedAt {
    /// The one journal, if it is one.
    pub(crate) fn log(self) -> Option<LogId> {
        if let Self::One(log) = self { Some(log) } else { None }
    }

    /// Takes in what is stored in an internal topic.
    pub(crate) fn apply(&mut self, topic: &str, value: Option<&[u8]>) {
        if topic == TOPIC {
            let log = value.and_then(|value| value.try_into().ok());
            *self = log.map_or(Self::Several, |log| Self::One(LogId::new(u64::from_le_bytes(log))));
        }
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// Something is durable at a journal without an upstream.
    pub(crate) fn note_root(&mut self, root: LogId) {
        if !self.knows_internal {
            // It will be said again.
            return;
        }
        let rooted = match self.rooted_at {
            RootedAt::Nowhere => RootedAt::One(root),
            RootedAt::One(known) if known != root => RootedAt::Several,
            RootedAt::One(_) | RootedAt::Several => return,
        };
        let value = rooted.log().map(|log| log.get().to_le_bytes().to_vec()).unwrap_or_default();
        let record = InternalRecord { topic: TOPIC, key: b"log".to_vec(), value: Some(value) };
        // Where it can't be stored, streams will be asked for from their beginning.
        self.record(&[record], self.arrived_at);
        self.rooted_at = rooted;
    }
}
