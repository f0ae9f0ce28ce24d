//! How an end says no: to a stream, or to the whole session.

use core::fmt;

use landfall_core::codec::{Malformed, NoRoom};
use landfall_core::name::StreamId;

use crate::limits::{RETRY_AFTER_MS_MAX, TEXT_BYTES_MAX};
use crate::time::Duration;
use crate::wire::{Input, Output, StreamWire, cut, printable};

/// The last message of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Goodbye<'a> {
    /// Why.
    pub code: GoodbyeCode,
    /// What, where and what to do, for people; up to 120 bytes, the rest is cut.
    pub text: &'a str,
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum GoodbyeCode {
    /// The node stops.
    Shutdown,
    /// The key is not registered.
    NotEnrolled,
    /// The site's rights were withdrawn.
    Revoked,
    /// The token is unknown, used, expired, or for another site.
    TokenRefused,
    /// The other end broke the protocol.
    ProtocolError,
    /// A newer session of the same site replaces this one.
    Superseded,
    /// There is no version, or no limit, that both ends can live with.
    Incompatible,
    /// There is no room for this session at present.
    Overloaded {
        /// How long to stay away at least; up to an hour.
        retry_after: Duration,
    },
    /// The two nodes are each other's upstream, or the same node.
    Loop,
    /// A reason of a later version.
    Other(u8),
}

/// Records of a stream that the sender of this does not take, at least in this session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refused<'a> {
    /// The stream.
    pub stream: StreamId<'a>,
    /// Why.
    pub code: RefusedCode,
    /// What, where and what to do, for people; up to 120 bytes, the rest is cut.
    pub text: &'a str,
}

/// Why a stream is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RefusedCode {
    /// The site may not write the topic.
    NotAllowedTopic,
    /// The site may not carry records of that origin.
    NotAllowedOrigin,
    /// The records do not match their checksums or hashes.
    Malformed,
    /// The records have been here, or passed too many nodes.
    Loop,
    /// A record or body is over the receiver's limits.
    TooLarge,
    /// The receiver does not know the topic and does not make topics.
    UnknownTopic,
    /// What was sent does not show how the history of the stream relates to the receiver's, however
    /// often it is asked for. It is taken again in the next session.
    Unrelated,
    /// A reason of a later version.
    Other(u8),
}

impl<'a> Goodbye<'a> {
    pub(crate) fn put(&self, out: &mut Output<'_>) -> Result<(), NoRoom> {
        let wait = self.code.retry_after().millis().min(u64::from(RETRY_AFTER_MS_MAX));
        out.value(&(self.code.number(), wait, cut(self.text, TEXT_BYTES_MAX)))
    }

    pub(crate) fn take(input: &mut Input<'a>) -> Result<Self, Malformed> {
        let (number, wait, text): (u8, u64, &'a str) = input.value()?;
        if wait > u64::from(RETRY_AFTER_MS_MAX) {
            return Err(Malformed::Limit);
        }
        let code = GoodbyeCode::of(number, Duration::from_millis(wait));
        Ok(Self { code, text: printable(text, TEXT_BYTES_MAX)? })
    }
}

impl GoodbyeCode {
    /// How long the other end is to stay away at least.
    pub const fn retry_after(self) -> Duration {
        match self {
            Self::Overloaded { retry_after } => retry_after,
            _ => Duration::ZERO,
        }
    }

    /// Whether trying again is of no use until a person has done something.
    pub const fn needs_a_person(self) -> bool {
        matches!(
            self,
            Self::NotEnrolled
                | Self::Revoked
                | Self::TokenRefused
                | Self::Incompatible
                | Self::Loop
        )
    }

    const fn number(self) -> u8 {
        match self {
            Self::Shutdown => 1,
            Self::NotEnrolled => 2,
            Self::Revoked => 3,
            Self::TokenRefused => 4,
            Self::ProtocolError => 5,
            Self::Superseded => 6,
            Self::Incompatible => 7,
            Self::Overloaded { .. } => 8,
            Self::Loop => 9,
            Self::Other(number) => number,
        }
    }

    const fn of(number: u8, retry_after: Duration) -> Self {
        match number {
            1 => Self::Shutdown,
            2 => Self::NotEnrolled,
            3 => Self::Revoked,
            4 => Self::TokenRefused,
            5 => Self::ProtocolError,
            6 => Self::Superseded,
            7 => Self::Incompatible,
            8 => Self::Overloaded { retry_after },
            9 => Self::Loop,
            other => Self::Other(other),
        }
    }
}

impl<'a> Refused<'a> {
    pub(crate) fn put(&self, out: &mut Output<'_>) -> Result<(), NoRoom> {
        let text = cut(self.text, TEXT_BYTES_MAX);
        out.value(&(StreamWire::from(self.stream), self.code.number(), text))
    }

    pub(crate) fn take(input: &mut Input<'a>) -> Result<Self, Malformed> {
        let (stream, number, text): (StreamWire<'a>, u8, &'a str) = input.value()?;
        Ok(Self {
            stream: stream.try_into()?,
            code: RefusedCode::of(number),
            text: printable(text, TEXT_BYTES_MAX)?,
        })
    }
}

impl RefusedCode {
    const fn number(self) -> u8 {
        match self {
            Self::NotAllowedTopic => 1,
            Self::NotAllowedOrigin => 2,
            Self::Malformed => 3,
            Self::Loop => 4,
            Self::TooLarge => 5,
            Self::UnknownTopic => 6,
            Self::Unrelated => 7,
            Self::Other(number) => number,
        }
    }

    const fn of(number: u8) -> Self {
        match number {
            1 => Self::NotAllowedTopic,
            2 => Self::NotAllowedOrigin,
            3 => Self::Malformed,
            4 => Self::Loop,
            5 => Self::TooLarge,
            6 => Self::UnknownTopic,
            7 => Self::Unrelated,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for GoodbyeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shutdown => "the node stops",
            Self::NotEnrolled => "the key is not registered",
            Self::Revoked => "the site's rights were withdrawn",
            Self::TokenRefused => "the token was refused",
            Self::ProtocolError => "the protocol was broken",
            Self::Superseded => "a newer session of the site replaces this one",
            Self::Incompatible => "there is no version or limit that both ends can live with",
            Self::Overloaded { retry_after } => {
                return write!(f, "no room at present; come back in {retry_after} or later");
            }
            Self::Loop => "the nodes are each other's upstream, or the same node",
            Self::Other(number) => return write!(f, "reason {number} of a later version"),
        })
    }
}

impl fmt::Display for RefusedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAllowedTopic => "the site may not write the topic",
            Self::NotAllowedOrigin => "the site may not carry records of that origin",
            Self::Malformed => "the records do not match their checksums or hashes",
            Self::Loop => "the records have been here, or passed too many nodes",
            Self::TooLarge => "a record or body is over the limits",
            Self::UnknownTopic => "the topic is unknown and is not made",
            Self::Unrelated => "how its history relates to the one here is not shown",
            Self::Other(number) => return write!(f, "reason {number} of a later version"),
        })
    }
}
