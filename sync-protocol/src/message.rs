//! The messages.
//!
//! A message is its number (one byte), its head, and, where it has one, its tail: the body of an
//! entry or the items of a list, up to the end of the frame. Heads and items are postcard; random
//! numbers, hashes and checksums have a fixed length. Nothing may follow.
//!
//! **Later versions.** A version is agreed on in the hello, so that a message changes only under a
//! new version, a new feature, or a new number. Numbers from 128 may be skipped by whoever does not
//! know them ([`IGNORABLE_MIN`]); any other unknown number is a fault of the sender, which must not
//! use it unless version and features say that it is known.

mod clock;
mod ending;
mod entry;
mod hello;
mod list;
mod root_gap;
mod standing;
mod stream;
mod subscribe;

pub use clock::Clock;
pub use ending::{Goodbye, GoodbyeCode, Refused, RefusedCode};
pub use entry::{Begin, Entry, Gap, Purpose};
pub use hello::{Enrol, Features, Hello, Introduction, LaneOffer, Lanes, Opened, Terms};
pub use list::{Item, Iter, List};
pub use root_gap::RootGap;
pub use standing::Standing;
pub use stream::{Diverged, DivergedKind, Durable, Promise, Scope, StreamPoint, Tip, Tips};
pub use subscribe::Subscribe;

use landfall_core::codec::{Malformed, NoRoom};
use landfall_core::name::{site_is_valid, topic_is_valid};
use landfall_core::num::Epoch;

use crate::wire::{CounterWire, IdWire, Input, Output};

/// The first of the numbers whose messages may be skipped by whoever does not know them.
pub const IGNORABLE_MIN: u8 = 128;
const ROOT_GAP: u8 = IGNORABLE_MIN + 1;
const PROMISED: u8 = IGNORABLE_MIN + 2;
const SUBSCRIBE: u8 = IGNORABLE_MIN + 3;
const CLOCK: u8 = IGNORABLE_MIN + 4;

/// A message on the control channel.
#[allow(clippy::large_enum_variant, reason = "only lent; boxing needs an allocator")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Control<'a> {
    /// The first message of either end.
    Hello(Hello<'a>),
    /// The listener takes the dialer in, under this site.
    Accept(&'a str),
    /// The last message of an end.
    Goodbye(Goodbye<'a>),
    /// The other end shall answer with a pong.
    Ping(u64),
    /// The answer to a ping.
    Pong(u64),
    /// Bytes that the other end may have sent on lanes, counted from the start of the session.
    Credit(u64),
    /// Where the sender's streams end.
    Tips(Tips<'a>),
    /// The other end shall tell where all its streams end.
    TipsWanted,
    /// How far records are promised to be synced.
    Durable(Durable<'a>),
    /// An entry was refused for what is missing before it: send this stream again from here.
    NeedFrom(StreamPoint<'a>),
    /// Records of a stream are not taken.
    Refused(Refused<'a>),
    /// The ends hold different records of a stream.
    Diverged(Diverged<'a>),
    /// Another node writes as the receiver's site, under this epoch, and is alive.
    CopySeen(Epoch),
    /// The sender does not have what it is said to have promised.
    PromiseLacking(Promise),
    /// The other end shall say whether it is still there, since another claims to be it.
    Probe(u64),
    /// The answer to a probe.
    ProbeAnswer(u64),
    /// How far the sender is, for people.
    Standing(Standing),
    /// Records of the receiver that the root could not store.
    RootGap(RootGap<'a>),
    /// What the receiver once promised, and what the hello did not name: it named the promise of
    /// the node that was dialed before.
    Promised(Promise),
    /// The sender wants a copy of a topic, and has this of it.
    Subscribe(Subscribe<'a>),
    /// What is known of a machine's clock.
    Clock(Clock<'a>),
}

/// A message on a lane.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LaneMessage<'a> {
    /// Batches of records.
    Entry(Entry<'a>),
    /// Offsets are missing.
    Gap(Gap<'a>),
    /// A stream starts in its middle.
    Begin(Begin<'a>),
    /// All that was there of this topic, which the receiver asked for, was sent.
    Level(&'a str),
}

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decoded<M> {
    /// A message.
    Message(M),
    /// A message of a later version that may be skipped.
    Ignored,
}

/// Why a frame holds no message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum MessageError {
    /// The frame is empty.
    Empty,
    /// The number means nothing here, and may not be skipped.
    Unknown(u8),
    /// A message with that number is not what it claims to be.
    Malformed(u8, Malformed),
}

impl<'a> Control<'a> {
    /// Bytes that the message takes in a frame.
    ///
    /// # Errors
    /// A list is over its limit.
    pub fn encoded_len(&self) -> Result<usize, NoRoom> {
        let mut out = Output::counting();
        self.put(&mut out)?;
        Ok(out.len())
    }

    /// Writes the message to the front of `out` and returns how many bytes it took.
    ///
    /// # Errors
    /// It does not fit, or a list is over its limit.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, NoRoom> {
        let mut out = Output::to(out);
        self.put(&mut out)?;
        Ok(out.len())
    }

    /// Reads and checks the message that a frame holds.
    ///
    /// # Errors
    /// It holds none; the sender is at fault.
    pub fn decode(frame: &'a [u8]) -> Result<Decoded<Self>, MessageError> {
        decode(frame, Self::take)
    }

    /// The number of its kind.
    pub const fn number(&self) -> u8 {
        match self {
            Self::Hello(_) => 1,
            Self::Accept(_) => 2,
            Self::Goodbye(_) => 3,
            Self::Ping(_) => 4,
            Self::Pong(_) => 5,
            Self::Credit(_) => 6,
            Self::Tips(_) => 7,
            Self::TipsWanted => 8,
            Self::Durable(_) => 9,
            Self::NeedFrom(_) => 10,
            Self::Refused(_) => 11,
            Self::Diverged(_) => 12,
            Self::CopySeen(_) => 13,
            Self::PromiseLacking(_) => 14,
            Self::Probe(_) => 15,
            Self::ProbeAnswer(_) => 16,
            Self::Standing(_) => IGNORABLE_MIN,
            Self::RootGap(_) => ROOT_GAP,
            Self::Promised(_) => PROMISED,
            Self::Subscribe(_) => SUBSCRIBE,
            Self::Clock(_) => CLOCK,
        }
    }

    fn put(&self, out: &mut Output<'_>) -> Result<(), NoRoom> {
        out.value(&self.number())?;
        match self {
            Self::Hello(hello) => hello.put(out),
            Self::Accept(site) => out.value(site),
            Self::Goodbye(goodbye) => goodbye.put(out),
            Self::Ping(number)
            | Self::Pong(number)
            | Self::Credit(number)
            | Self::Probe(number)
            | Self::ProbeAnswer(number) => out.value(number),
            Self::Tips(tips) => tips.put(out),
            Self::TipsWanted => Ok(()),
            Self::Durable(durable) => durable.put(out),
            Self::NeedFrom(point) => point.put(out),
            Self::Refused(refused) => refused.put(out),
            Self::Diverged(diverged) => diverged.put(out),
            Self::CopySeen(epoch) => out.value(&IdWire::from(*epoch)),
            Self::PromiseLacking(promise) | Self::Promised(promise) => promise.put(out),
            Self::Standing(standing) => standing.put(out),
            Self::RootGap(gap) => gap.put(out),
            Self::Subscribe(subscribe) => subscribe.put(out),
            Self::Clock(clock) => clock.put(out),
        }
    }

    fn take(number: u8, input: &mut Input<'a>) -> Result<Option<Self>, Malformed> {
        Ok(Some(match number {
            1 => Self::Hello(Hello::take(input)?),
            2 => Self::Accept(site(input.value()?)?),
            3 => Self::Goodbye(Goodbye::take(input)?),
            4 => Self::Ping(input.value()?),
            5 => Self::Pong(input.value()?),
            6 => Self::Credit(input.value::<CounterWire>()?.checked()?),
            7 => Self::Tips(Tips::take(input)?),
            8 => Self::TipsWanted,
            9 => Self::Durable(Durable::take(input)?),
            10 => Self::NeedFrom(StreamPoint::take(input)?),
            11 => Self::Refused(Refused::take(input)?),
            12 => Self::Diverged(Diverged::take(input)?),
            13 => Self::CopySeen(input.value::<IdWire>()?.epoch()),
            14 => Self::PromiseLacking(Promise::take(input)?),
            15 => Self::Probe(input.value()?),
            16 => Self::ProbeAnswer(input.value()?),
            IGNORABLE_MIN => Self::Standing(Standing::take(input)?),
            ROOT_GAP => Self::RootGap(RootGap::take(input)?),
            PROMISED => Self::Promised(Promise::take(input)?),
            SUBSCRIBE => Self::Subscribe(Subscribe::take(input)?),
            CLOCK => Self::Clock(Clock::take(input)?),
            _ => return Ok(None),
        }))
    }
}

impl<'a> LaneMessage<'a> {
    /// Bytes that the message takes in a frame.
    pub fn encoded_len(&self) -> usize {
        let mut out = Output::counting();
        // Counting refuses nothing.
        let _ = self.put_head(&mut out);
        out.len() + self.tail().len()
    }

    /// Writes the message to the front of `out` and returns how many bytes it took.
    ///
    /// # Errors
    /// It does not fit.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, NoRoom> {
        let mut out = Output::to(out);
        self.put_head(&mut out)?;
        out.bytes(self.tail())?;
        Ok(out.len())
    }

    /// Reads and checks the message that a frame holds.
    ///
    /// # Errors
    /// It holds none; the sender is at fault.
    pub fn decode(frame: &'a [u8]) -> Result<Decoded<Self>, MessageError> {
        decode(frame, Self::take)
    }

    /// The number of its kind.
    pub const fn number(&self) -> u8 {
        match self {
            Self::Entry(_) => 32,
            Self::Gap(_) => 33,
            Self::Begin(_) => 34,
            Self::Level(_) => 35,
        }
    }

    /// Writes everything but an entry's body, which follows, and returns how many bytes it took.
    ///
    /// # Errors
    /// It does not fit.
    pub fn encode_head(&self, out: &mut [u8]) -> Result<usize, NoRoom> {
        let mut out = Output::to(out);
        self.put_head(&mut out)?;
        Ok(out.len())
    }

    /// What follows the head: the body of an entry.
    pub(crate) fn tail(&self) -> &'a [u8] {
        match self {
            Self::Entry(entry) => entry.body,
            Self::Gap(_) | Self::Begin(_) | Self::Level(_) => &[],
        }
    }

    fn put_head(&self, out: &mut Output<'_>) -> Result<(), NoRoom> {
        out.value(&self.number())?;
        match self {
            Self::Entry(entry) => entry.put_head(out),
            Self::Gap(gap) => gap.put(out),
            Self::Begin(begin) => begin.put(out),
            Self::Level(topic) => out.value(topic),
        }
    }

    fn take(number: u8, input: &mut Input<'a>) -> Result<Option<Self>, Malformed> {
        Ok(Some(match number {
            32 => Self::Entry(Entry::take(input)?),
            33 => Self::Gap(Gap::take(input)?),
            34 => Self::Begin(Begin::take(input)?),
            35 => Self::Level(topic(input.value()?)?),
            _ => return Ok(None),
        }))
    }
}

fn decode<'a, M>(
    frame: &'a [u8],
    take: impl FnOnce(u8, &mut Input<'a>) -> Result<Option<M>, Malformed>,
) -> Result<Decoded<M>, MessageError> {
    let (number, rest) = frame.split_first().ok_or(MessageError::Empty)?;
    let mut input = Input::new(rest);
    let taken = take(*number, &mut input).map_err(|why| MessageError::Malformed(*number, why))?;
    let Some(message) = taken else {
        let ignorable = *number >= IGNORABLE_MIN;
        return if ignorable { Ok(Decoded::Ignored) } else { Err(MessageError::Unknown(*number)) };
    };
    input.end().map_err(|why| MessageError::Malformed(*number, why))?;
    Ok(Decoded::Message(message))
}

fn site(name: &str) -> Result<&str, Malformed> {
    if site_is_valid(name) { Ok(name) } else { Err(Malformed::Text) }
}

fn topic(name: &str) -> Result<&str, Malformed> {
    if topic_is_valid(name) { Ok(name) } else { Err(Malformed::Text) }
}

impl core::fmt::Display for MessageError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Empty => f.write_str("a frame is empty"),
            Self::Unknown(number) => write!(f, "message {number} is unknown on its channel"),
            Self::Malformed(number, why) => write!(f, "message {number} is malformed: {why}"),
        }
    }
}

impl core::error::Error for MessageError {}
