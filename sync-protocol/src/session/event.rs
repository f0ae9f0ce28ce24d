//! What a session reports: events, how it ended, and by whose fault.

use core::fmt;

use crate::channel::Channel;
use crate::frame::FrameTooLong;
use crate::message::{GoodbyeCode, MessageError};

/// Something the node must know. What the other end said comes through [`super::Receiver`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The other end's hello was heard and there is common ground. A listener accepts it or says
    /// goodbye.
    HelloReceived,
    /// The session is open. Bytes that were held back are to be offered again.
    Opened,
    /// The other end answered the probe: it is alive.
    ProbeAnswered,
    /// The other end did not answer the probe in time.
    ProbeSilent,
    /// The session is over. What is left to transmit may be sent, then the connection closed.
    Closed(Closed),
}

/// How a session ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Closed {
    /// This node said goodbye.
    Here(GoodbyeCode),
    /// The other end said goodbye.
    Peer(GoodbyeCode),
    /// The other end broke the protocol.
    PeerAtFault(Fault),
    /// The two ends have no common ground.
    Incompatible(Incompatible),
    /// Nothing was heard of the other end for too long.
    PeerSilent,
    /// The session did not open in time.
    NotOpened,
    /// The transport lost the connection.
    TransportLost,
}

/// What the other end did wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// It sent a frame that is longer than agreed.
    Frame(FrameTooLong),
    /// It sent a frame that holds no message.
    Message(MessageError),
    /// It sent a message that has no place in this state of the session.
    WrongState(u8),
    /// It used a channel that it did not announce, or that this end cannot serve.
    WrongChannel(Channel),
    /// It sent more than it was granted.
    CreditOverrun,
    /// It took back what it had granted.
    CreditWithdrawn,
    /// It sent a body in a codec that was not agreed on.
    Codec(u8),
    /// The node found its content to break the protocol.
    Content(&'static str),
}

/// Why there is no common ground.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Incompatible {
    /// No version of the protocol is spoken by both.
    Version {
        /// The oldest version of the other end.
        peer_min: u16,
        /// The newest version of the other end.
        peer_max: u16,
    },
    /// It grants too little for the frames that it takes.
    Credit,
    /// It listens, and takes shorter frames than a dialer may send early.
    Frames,
    /// It has more lanes than this end can serve.
    Lanes,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(code) => write!(f, "this node said goodbye: {code}"),
            Self::Peer(code) => write!(f, "the other end said goodbye: {code}"),
            Self::PeerAtFault(fault) => write!(f, "the other end broke the protocol: {fault}"),
            Self::Incompatible(why) => write!(f, "the ends are incompatible: {why}"),
            Self::PeerSilent => f.write_str("nothing was heard of the other end for too long"),
            Self::NotOpened => f.write_str("the session did not open in time"),
            Self::TransportLost => f.write_str("the connection was lost"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(too_long) => too_long.fmt(f),
            Self::Message(error) => error.fmt(f),
            Self::WrongState(number) => write!(f, "message {number} has no place here"),
            Self::WrongChannel(channel) => write!(f, "{channel} was not announced"),
            Self::CreditOverrun => f.write_str("more was sent than was granted"),
            Self::CreditWithdrawn => f.write_str("a grant was taken back"),
            Self::Codec(codec) => write!(f, "codec {codec} was not agreed on"),
            Self::Content(why) => f.write_str(why),
        }
    }
}

impl fmt::Display for Incompatible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { peer_min, peer_max } => {
                write!(f, "the other end speaks versions {peer_min} to {peer_max}")
            }
            Self::Credit => f.write_str("less is granted than four frames"),
            Self::Frames => f.write_str("a listener must take longer frames"),
            Self::Lanes => f.write_str("there are more lanes than can be served"),
        }
    }
}

impl core::error::Error for Fault {}

impl From<FrameTooLong> for Fault {
    fn from(too_long: FrameTooLong) -> Self {
        Self::Frame(too_long)
    }
}

impl From<MessageError> for Fault {
    fn from(error: MessageError) -> Self {
        Self::Message(error)
    }
}

/// Events that wait to be polled. No kind can wait twice, so a small array holds them all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Events {
    waiting: [Option<Event>; 5],
}

impl Events {
    pub(super) fn push(&mut self, event: Event) {
        let same = |place: &Option<Event>| place.is_none() || *place == Some(event);
        let place = self.waiting.iter_mut().find(|place| same(place));
        assert!(place.is_some(), "each kind of event has a place");
        if let Some(place) = place {
            *place = Some(event);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        self.waiting.rotate_left(1);
        self.waiting.last_mut().and_then(Option::take)
    }
}
