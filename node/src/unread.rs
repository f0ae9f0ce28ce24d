//! What the medium refuses to read, for now. Nothing is judged by what could not be seen: it is put
//! off and tried again.

use landfall_core::codec::Malformed;
use landfall_core::media::{Media, MediaError};
use landfall_protocol::message::GoodbyeCode;
use landfall_protocol::time::Duration;

use super::link::LinkState;
use super::{AlarmKind, Core, Gate, Now};

/// Why a batch can't be judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unjudged {
    /// It breaks the rules of the format.
    Malformed,
    /// What is stored of its stream can't be read now.
    Unread(MediaError),
}

impl From<Malformed> for Unjudged {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl From<MediaError> for Unjudged {
    fn from(error: MediaError) -> Self {
        Self::Unread(error)
    }
}

/// After a failed read, the medium is left alone for so long.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// A peer that could not be dealt with is to come back after so long.
const COME_BACK_AFTER: Duration = Duration::from_secs(10);

impl<M: Media, G: Gate> Core<M, G> {
    /// The medium refused to read. Whoever reads stays where it is.
    pub(crate) fn read_failed(&mut self, error: MediaError) {
        let text = format!(
            "it can't be read: {error}. What needs it waits and is tried again. Check the disk."
        );
        self.alarm(AlarmKind::Unreadable, "journal".into(), text);
        self.read_again = Some(self.arrived_at.instant.plus(READ_AGAIN_AFTER));
    }

    /// Whether the medium is left alone after a failed read.
    pub(crate) fn waits_to_read(&self) -> bool {
        self.read_again.is_some()
    }

    /// Tries again what could not be read, if the time has come.
    pub(crate) fn read_again_if_due(&mut self, now: Now) {
        if self.read_again.is_none_or(|at| at > now.instant) {
            return;
        }
        self.read_again = None;
        self.arrived_at = now;
        if !self.knows_internal {
            self.load_internal();
        }
    }

    /// What a peer said can't be judged without reading: it is to say it again later.
    pub(crate) fn put_off(&mut self, state: &mut LinkState, error: MediaError) {
        self.read_failed(error);
        let code = GoodbyeCode::Overloaded { retry_after: COME_BACK_AFTER };
        state.goodbye = Some((code, "the disk can't be read now; come back later".into()));
    }
}
