//! Offences: what a peer does that it must not, each under a name that is told in the log, counted,
//! and shown by `landfall status`. The names are for programs too, and stay.

use landfall_core::media::Media;
use landfall_protocol::message::{GoodbyeCode, RefusedCode};
use landfall_protocol::session::{Closed, Fault};

use super::link::LinkState;
use super::{AlarmKind, Core, Direction, Gate, Node};

/// Something that a peer must not do. What the node does about it stands in `docs/security.md`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Offence {
    /// A frame is longer than agreed.
    FrameTooLong,
    /// A frame holds no message.
    MalformedMessage,
    /// A message has no place where the session stands.
    WrongState,
    /// A channel was not announced.
    WrongChannel,
    /// More was sent than was granted.
    CreditOverrun,
    /// A grant was taken back.
    CreditWithdrawn,
    /// A codec was not agreed on.
    CodecNotAgreed,
    /// A message that only the node above may say.
    WrongDirection,
    /// A promise from a node that nothing is sent to.
    FalsePromise,
    /// Too much was sent before the peer was let in.
    SentAhead,
    /// What this node says is not read.
    NotListening,
    /// The session did not open in time.
    NeverOpened,
    /// A body does not unpack to the length that was told: a bomb, or damage.
    BodyLength,
    /// A body does not have its checksum.
    BodyChecksum,
    /// A batch is malformed.
    MalformedBatch,
    /// The records of a batch do not give its stream hash.
    FalseHash,
    /// Batches or statements contradict each other or what is stored.
    Contradiction,
    /// Records of others came as if given back.
    ForeignReturn,
    /// Records of an origin that the peer may not carry, or a statement about them.
    ForeignOrigin,
    /// Records of a topic that the peer may not write, or a statement about them.
    ForeignTopic,
    /// Records of a topic that does not exist here.
    UnknownTopic,
    /// A topic was asked for that the peer may not have.
    ForeignSubscription,
    /// Records came around in a circle.
    Loop,
    /// More streams of one origin than are taken.
    TooManyStreams,
    /// More gaps in one session than are taken.
    GapFlood,
    /// More refused streams in one session than are answered.
    RefusalFlood,
    /// More topics, or more often, were asked for in one session than are served.
    SubscriptionFlood,
    /// Entries were sent again that nobody asked for.
    Replay,
    /// The peer's key is not registered.
    NotEnrolled,
    /// The peer's token is not valid.
    TokenRefused,
    /// The peer's site was revoked.
    Revoked,
    /// The two have no common ground.
    Incompatible,
}

impl Offence {
    /// All of them.
    pub const ALL: [Self; 32] = [
        Self::FrameTooLong,
        Self::MalformedMessage,
        Self::WrongState,
        Self::WrongChannel,
        Self::CreditOverrun,
        Self::CreditWithdrawn,
        Self::CodecNotAgreed,
        Self::WrongDirection,
        Self::FalsePromise,
        Self::SentAhead,
        Self::NotListening,
        Self::NeverOpened,
        Self::BodyLength,
        Self::BodyChecksum,
        Self::MalformedBatch,
        Self::FalseHash,
        Self::Contradiction,
        Self::ForeignReturn,
        Self::ForeignOrigin,
        Self::ForeignTopic,
        Self::UnknownTopic,
        Self::ForeignSubscription,
        Self::Loop,
        Self::TooManyStreams,
        Self::GapFlood,
        Self::RefusalFlood,
        Self::SubscriptionFlood,
        Self::Replay,
        Self::NotEnrolled,
        Self::TokenRefused,
        Self::Revoked,
        Self::Incompatible,
    ];

    /// Its name, and what it is in words.
    const fn told(self) -> (&'static str, &'static str) {
        match self {
            Self::FrameTooLong => ("frame_too_long", "a frame is longer than agreed"),
            Self::MalformedMessage => ("malformed_message", "a frame holds no message"),
            Self::WrongState => ("wrong_state", "a message has no place here"),
            Self::WrongChannel => ("wrong_channel", "a channel was not announced"),
            Self::CreditOverrun => ("credit_overrun", "more was sent than was granted"),
            Self::CreditWithdrawn => ("credit_withdrawn", "a grant was taken back"),
            Self::CodecNotAgreed => ("codec_not_agreed", "a codec was not agreed on"),
            Self::WrongDirection => ("wrong_direction", "only the node above may say this"),
            Self::FalsePromise => ("false_promise", "nothing was sent that it could promise"),
            Self::SentAhead => ("sent_ahead", "too much was sent before it was let in"),
            Self::NotListening => ("not_listening", "it does not read what it is told"),
            Self::NeverOpened => ("never_opened", "the session did not open in time"),
            Self::BodyLength => ("body_length", "a body does not unpack to its length"),
            Self::BodyChecksum => ("body_checksum", "a body does not have its checksum"),
            Self::MalformedBatch => ("malformed_batch", "a batch is malformed"),
            Self::FalseHash => ("false_hash", "records do not give their stream hash"),
            Self::Contradiction => ("contradiction", "what it sent contradicts itself"),
            Self::ForeignReturn => ("foreign_return", "records of others came back"),
            Self::ForeignOrigin => ("foreign_origin", "it may not carry that origin"),
            Self::ForeignTopic => ("foreign_topic", "it may not write that topic"),
            Self::UnknownTopic => ("unknown_topic", "the topic does not exist here"),
            Self::ForeignSubscription => {
                ("foreign_subscription", "it may not have a copy of that topic")
            }
            Self::Loop => ("loop", "records came around in a circle"),
            Self::TooManyStreams => ("too_many_streams", "there are too many streams"),
            Self::GapFlood => ("gap_flood", "too many gaps were stated in one session"),
            Self::RefusalFlood => ("refusal_flood", "too many streams had to be refused"),
            Self::SubscriptionFlood => ("subscription_flood", "too much was asked for"),
            Self::Replay => ("replay", "entries came again that nobody asked for"),
            Self::NotEnrolled => ("not_enrolled", "its key is not registered"),
            Self::TokenRefused => ("token_refused", "its token is not valid"),
            Self::Revoked => ("revoked", "its site was revoked"),
            Self::Incompatible => ("incompatible", "there is no common ground"),
        }
    }

    /// Its name, for logs, counters and programs.
    pub const fn name(self) -> &'static str {
        self.told().0
    }

    /// The fault by which a session ends for it.
    pub(crate) const fn fault(self) -> Fault {
        Fault::Content(self.told().1)
    }

    /// What a session's fault is called. A fault of content is known by its words.
    fn of_fault(fault: Fault) -> Self {
        let by_words = |words| Self::ALL.into_iter().find(|offence| offence.told().1 == words);
        match fault {
            Fault::Frame(_) => Self::FrameTooLong,
            Fault::Message(_) => Self::MalformedMessage,
            Fault::WrongState(_) => Self::WrongState,
            Fault::WrongChannel(_) => Self::WrongChannel,
            Fault::CreditOverrun => Self::CreditOverrun,
            Fault::CreditWithdrawn => Self::CreditWithdrawn,
            Fault::Codec(_) => Self::CodecNotAgreed,
            Fault::Content(words) => by_words(words).unwrap_or(Self::Contradiction),
            _ => Self::Contradiction,
        }
    }

    pub(crate) const fn of_goodbye(code: GoodbyeCode) -> Option<Self> {
        Some(match code {
            GoodbyeCode::NotEnrolled => Self::NotEnrolled,
            GoodbyeCode::Revoked => Self::Revoked,
            GoodbyeCode::TokenRefused => Self::TokenRefused,
            GoodbyeCode::Loop => Self::Loop,
            GoodbyeCode::ProtocolError => Self::WrongState,
            _ => return None,
        })
    }

    pub(crate) const fn of_refusal(code: RefusedCode) -> Self {
        match code {
            RefusedCode::NotAllowedTopic => Self::ForeignTopic,
            RefusedCode::NotAllowedOrigin => Self::ForeignOrigin,
            RefusedCode::Loop => Self::Loop,
            RefusedCode::TooLarge => Self::TooManyStreams,
            RefusedCode::UnknownTopic => Self::UnknownTopic,
            _ => Self::Contradiction,
        }
    }
}

/// How often each offence was met since the node started.
#[derive(Clone, Debug)]
pub(crate) struct Offences {
    counts: [u64; Offence::ALL.len()],
}

impl Default for Offences {
    fn default() -> Self {
        Self { counts: [0; Offence::ALL.len()] }
    }
}

impl Offences {
    /// Counts one, and returns how many there are now.
    fn count(&mut self, offence: Offence) -> u64 {
        let count = self.counts.get_mut(offence as usize);
        count.map_or(0, |count| {
            *count = count.saturating_add(1);
            *count
        })
    }
}

impl<M: Media, G: Gate> Node<M, G> {
    /// How often each offence was met since the node started, where it was.
    pub fn offences(&self) -> impl Iterator<Item = (Offence, u64)> {
        let counts = self.core.offences.counts.iter().copied();
        Offence::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0)
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// Counts an offence and raises its alarm. Of each offence the log tells what is new about a
    /// registered site, and besides the first, second, fourth, eighth and so on, so that no peer
    /// can fill it.
    pub(crate) fn offence(&mut self, state: &LinkState, offence: Offence, text: &str) {
        let told = self.offences.count(offence).is_power_of_two();
        let text = format!("{}: {text}", offence.name());
        self.alarm_paced(AlarmKind::Peer, state.peer_name(), text, told, state.site.is_some());
    }

    /// A session ended: was it by the peer's fault?
    pub(crate) fn blame(&mut self, state: &LinkState, why: Closed) {
        let offence = match why {
            Closed::PeerAtFault(fault) => Offence::of_fault(fault),
            Closed::Incompatible(_) => Offence::Incompatible,
            Closed::NotOpened if state.direction == Direction::Down => Offence::NeverOpened,
            _ => return,
        };
        self.offence(state, offence, &format!("{why}. The connection was closed."));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Offence;

    #[test]
    fn each_offence_is_told_from_the_others_by_name_words_and_place() {
        let names: BTreeSet<_> = Offence::ALL.iter().map(|offence| offence.name()).collect();
        assert_eq!(names.len(), Offence::ALL.len());
        for (at, offence) in Offence::ALL.into_iter().enumerate() {
            assert_eq!(offence as usize, at);
            assert_eq!(Offence::of_fault(offence.fault()), offence);
        }
    }

    #[test]
    fn each_offence_is_documented() {
        let page = include_str!("../../docs/security.md");
        for offence in Offence::ALL {
            assert!(page.contains(&format!("| `{}` |", offence.name())), "{}", offence.name());
        }
    }
}
