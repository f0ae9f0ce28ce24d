//! Consumers: how far programs have come with the topics that they take in, by name.
//!
//! A consumer's keys fall into [`SLOTS_MAX`] slots, and each share of them has a place of its own,
//! so that several programs can do one consumer's work. It is stored whole, as the value of a
//! record in `_cursors` whose key is its name; of several the one with the highest version holds.

use landfall_core::codec::{Malformed, NoRoom, Reader, Writer};
use landfall_core::limits::{COUNTER_MAX, SITE_BYTES_MAX, TOPIC_BYTES_MAX};
use landfall_core::name::topic_is_valid;
use landfall_core::num::{CommitNo, Epoch, Offset};

/// The topic of their cursors. Each lane has a partition of it, by the lane's number, so that a
/// cursor can be moved in the same commit in which records are written.
pub const TOPIC: &str = "_cursors";
/// Slots that keys fall into.
pub const SLOTS_MAX: u32 = 64;
/// Consumers of a node.
pub const CONSUMERS_MAX: usize = 1_024;
/// Topics of a consumer.
pub const TOPICS_MAX: usize = 64;
/// Gaps that a consumer is told one by one.
pub const GAPS_MAX: usize = 64;
/// The longest name of a consumer or of a member.
pub const NAME_BYTES_MAX: usize = 63;

/// Slots as the bits of a number.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Slots(pub u64);

impl Slots {
    /// All there are.
    pub const ALL: Self = Self(u64::MAX);
    /// None.
    pub const NONE: Self = Self(0);

    /// Whether all of `other` are among them.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// Those that are not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those of both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// How many they are.
    #[must_use]
    pub fn count(self) -> u32 {
        self.0.count_ones()
    }
}

/// The slot of a record: that of its key, wherever it was written. Records without a key promise no
/// order, and are spread by their offsets.
#[must_use]
pub fn slot_of(key: Option<&[u8]>, offset: u64) -> Slots {
    // Partitions are chosen by the remainder of the same checksum. Multiplied by 2^32 over the
    // golden ratio, its upper bits do not follow it.
    let number = key.map_or(offset as u32, crc32c::crc32c).wrapping_mul(0x9E37_79B9);
    Slots(1 << (number >> 26))
}

const _: () = assert!(1 << 6 == SLOTS_MAX, "the upper six bits name a slot");

/// A place in the node's log: what is before it has been taken in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Place {
    /// The opening that had the commit.
    pub epoch: Epoch,
    /// The commit.
    pub commit: CommitNo,
    /// Records and gaps of the commit that are before the place.
    pub index: u32,
}

impl Place {
    /// Whether it lies before another place of the same log.
    #[must_use]
    pub fn is_before(&self, other: &Self) -> bool {
        (self.commit, self.index) < (other.commit, other.index)
    }

    /// Whether both are the same, whichever openings had their commits.
    #[must_use]
    pub fn is_at(&self, other: &Self) -> bool {
        (self.commit, self.index) == (other.commit, other.index)
    }
}

/// How far a share of a consumer's slots has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Share {
    /// The slots.
    pub slots: Slots,
    /// How far.
    pub at: Place,
}

/// A consumer as it is stored.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Consumer {
    /// Counts its changes.
    pub version: u64,
    /// What it takes in.
    pub topics: Vec<String>,
    /// How far, the one that is furthest behind first. Each slot is in one of them.
    pub shares: Vec<Share>,
    /// Records that were forgotten before it took them in.
    pub lacking: u64,
    /// Those since its last commit, by stream: the latest [`GAPS_MAX`].
    pub gaps: Vec<Missed>,
}

/// Offsets of a stream that were forgotten before a consumer took them in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Missed {
    /// The stream, as `ship-17/ais/0`.
    pub stream: String,
    /// The first.
    pub from: Offset,
    /// The first that is there again.
    pub to: Offset,
}

impl Consumer {
    /// A consumer that begins at one place with all of its slots.
    #[must_use]
    pub fn new(topics: Vec<String>, at: Place) -> Self {
        let shares = vec![Share { slots: Slots::ALL, at }];
        Self { version: 1, topics, shares, ..Self::default() }
    }

    /// The place of the share that is furthest behind.
    #[must_use]
    pub fn at(&self) -> Place {
        self.shares.first().map(|share| share.at).unwrap_or_default()
    }

    /// Whether a place of it was lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.shares.iter().any(|share| share.at.epoch == super::cursors::LOST)
    }

    /// Whether it takes a topic in.
    #[must_use]
    pub fn names(&self, topic: &str) -> bool {
        self.topics.iter().any(|named| named == topic)
    }

    /// Whether some of these slots are behind a place already.
    pub(crate) fn is_beyond(&self, slots: Slots, at: Place) -> bool {
        let of = |share: &&Share| share.slots.0 & slots.0 != 0;
        self.shares.iter().filter(of).any(|share| at.is_before(&share.at))
    }

    /// Moves slots to a place.
    pub(crate) fn set(&mut self, slots: Slots, at: Place) {
        self.shares.iter_mut().for_each(|share| share.slots = share.slots.without(slots));
        match self.shares.iter_mut().find(|share| share.at.is_at(&at)) {
            Some(share) => *share = Share { slots: share.slots.with(slots), at },
            None => self.shares.push(Share { slots, at }),
        }
        self.shares.retain(|share| share.slots != Slots::NONE);
        self.shares.sort_by_key(|share| (share.at.commit, share.at.index));
    }

    /// Writes `format u8 = 1 · version · topics: count, strings · shares: count, each slots u64 ·
    /// epoch u64 · commit · index · lacking · gaps: count, each stream, from, to`; numbers without
    /// a width are varints.
    pub(crate) fn encoded(&self) -> Vec<u8> {
        let topics: usize = self.topics.iter().map(|topic| topic.len() + 2).sum();
        let gaps: usize = self.gaps.iter().map(|gap| gap.stream.len() + GAP_BYTES_MAX).sum();
        let shares = self.shares.len() * SHARE_BYTES_MAX;
        let mut bytes = vec![0; HEAD_BYTES_MAX + topics + shares + gaps];
        let mut writer = Writer::new(&mut bytes);
        let written = self.encode(&mut writer);
        assert!(written.is_ok(), "room was left for all parts");
        let len = writer.len();
        bytes.truncate(len);
        bytes
    }

    fn encode(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        writer.u8(FORMAT)?;
        writer.varint(self.version)?;
        writer.varint(self.topics.len() as u64)?;
        self.topics.iter().try_for_each(|topic| writer.string(topic.as_bytes()))?;
        writer.varint(self.shares.len() as u64)?;
        self.shares.iter().try_for_each(|Share { slots, at }| {
            writer.u64(slots.0)?;
            writer.u64(at.epoch.get())?;
            writer.varint(at.commit.get())?;
            writer.varint(u64::from(at.index))
        })?;
        writer.varint(self.lacking)?;
        writer.varint(self.gaps.len() as u64)?;
        self.gaps.iter().try_for_each(|Missed { stream, from, to }| {
            writer.string(stream.as_bytes())?;
            writer.varint(from.get())?;
            writer.varint(to.get())
        })
    }

    /// Reads what [`Consumer::encoded`] wrote.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != FORMAT {
            return Err(Malformed::Unknown);
        }
        let version = reader.varint_to(COUNTER_MAX)?;
        let mut topics = Vec::new();
        for _ in 0..reader.varint_to(TOPICS_MAX as u64)? {
            let topic = core::str::from_utf8(reader.string(TOPIC_BYTES_MAX)?);
            let topic = topic.ok().filter(|topic| topic_is_valid(topic)).ok_or(Malformed::Text)?;
            topics.push(topic.to_owned());
        }
        let (mut shares, mut seen) = (Vec::new(), Slots::NONE);
        for _ in 0..reader.varint_to(u64::from(SLOTS_MAX))? {
            let slots = Slots(reader.u64()?);
            let epoch = Epoch::new(reader.u64()?);
            let commit = CommitNo::new(reader.varint_to(COUNTER_MAX)?);
            let index = reader.varint_to(u64::from(u32::MAX))? as u32;
            if slots == Slots::NONE || seen.0 & slots.0 != 0 {
                return Err(Malformed::Contradiction);
            }
            seen = seen.with(slots);
            shares.push(Share { slots, at: Place { epoch, commit, index } });
        }
        let lacking = reader.varint_to(COUNTER_MAX)?;
        let mut gaps = Vec::new();
        for _ in 0..reader.varint_to(GAPS_MAX as u64)? {
            let stream = core::str::from_utf8(reader.string(STREAM_BYTES_MAX)?);
            let stream = stream.map_err(|_| Malformed::Text)?.to_owned();
            let from = Offset::new(reader.varint_to(COUNTER_MAX)?);
            let to = Offset::new(reader.varint_to(COUNTER_MAX)?);
            gaps.push(Missed { stream, from, to });
        }
        if seen != Slots::ALL || !reader.is_empty() {
            return Err(Malformed::Contradiction);
        }
        Ok(Self { version, topics, shares, lacking, gaps })
    }
}

/// The first byte of a value.
const FORMAT: u8 = 1;
/// Bytes of a value besides its lists.
const HEAD_BYTES_MAX: usize = 64;
/// Bytes of an encoded gap besides its stream.
const GAP_BYTES_MAX: usize = 2 + 10 + 10;
/// Bytes of a stream as it is printed.
const STREAM_BYTES_MAX: usize = SITE_BYTES_MAX + TOPIC_BYTES_MAX + 12;
/// Bytes of an encoded share.
const SHARE_BYTES_MAX: usize = 8 + 8 + 10 + 5;

/// What becomes of a consumer, with the records beside it or not at all.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// Its name.
    pub consumer: String,
    /// What.
    pub action: Action,
}

/// What becomes of a consumer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// It is made, unless it is there with these topics.
    Create {
        /// What it takes in.
        topics: Vec<String>,
        /// From where.
        at: Place,
    },
    /// What it was given up to a place has been taken in.
    Commit {
        /// How far, and which of its slots.
        share: Share,
        /// The member that was given it, if the consumer is shared.
        member: Option<String>,
    },
    /// It goes on at a place, before or behind.
    Seek {
        /// Where.
        at: Place,
    },
    /// It is forgotten.
    Drop,
}

impl Action {
    pub(crate) fn place_mut(&mut self) -> Option<&mut Place> {
        match self {
            Self::Create { at, .. } | Self::Seek { at } => Some(at),
            Self::Commit { share, .. } => Some(&mut share.at),
            Self::Drop => None,
        }
    }
}

/// Why a consumer was not changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConsumerFault {
    /// There is none of this name.
    Unknown,
    /// There is one with other topics.
    OtherTopics,
    /// It has come further already.
    Backwards,
    /// There are as many as a node keeps.
    TooMany,
    /// The place is not one of this log, or what is before it was lost.
    Gone,
    /// Its place was lost: it must seek.
    Lost,
    /// It has members, and one of them must commit.
    Shared,
    /// The member was not given this, or its lease is over.
    NotYours,
    /// It has as many members as it can have.
    TooManyMembers,
}

/// Whether `name` may name a consumer or a member of one: as for a site.
#[must_use]
pub fn name_is_valid(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX && landfall_core::name::site_is_valid(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(commit: u64, index: u32) -> Place {
        Place { epoch: Epoch::new(7), commit: CommitNo::new(commit), index }
    }

    #[test]
    fn a_consumer_is_read_as_it_was_written_and_anything_else_is_refused() {
        let mut consumer = Consumer::new(vec!["ais".into(), "log".into()], place(3, 1));
        consumer.set(Slots(0xff), place(1 << 40, u32::MAX));
        let (from, to) = (Offset::new(7), Offset::new(1 << 40));
        consumer.gaps.push(Missed { stream: "ship/ais/0".into(), from, to });
        consumer.lacking = 1 << 41;
        let bytes = consumer.encoded();
        assert_eq!(Consumer::decode(&bytes), Ok(consumer.clone()));
        for len in 0..bytes.len() {
            assert!(Consumer::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
        let twice = Share { slots: Slots(1), at: place(0, 0) };
        consumer.shares.push(twice);
        assert_eq!(Consumer::decode(&consumer.encoded()), Err(Malformed::Contradiction));
        consumer.shares.clear();
        assert_eq!(Consumer::decode(&consumer.encoded()), Err(Malformed::Contradiction));
    }

    #[test]
    fn shares_part_and_meet_again() {
        let mut consumer = Consumer::new(vec!["ais".into()], place(3, 1));
        consumer.set(Slots(0b11), place(5, 0));
        assert_eq!((consumer.at(), consumer.shares.len()), (place(3, 1), 2));
        assert!(consumer.is_beyond(Slots(0b10), place(4, 9)));
        assert!(!consumer.is_beyond(Slots(0b100), place(4, 9)));
        consumer.set(Slots::ALL.without(Slots(0b11)), place(5, 0));
        assert_eq!(consumer.shares, [Share { slots: Slots::ALL, at: place(5, 0) }]);
    }

    #[test]
    fn keys_of_one_partition_are_spread_over_all_slots() {
        let mut slots = Slots::NONE;
        for number in 0..20_000_u32 {
            let key = number.to_string();
            if crc32c::crc32c(key.as_bytes()) % 16 == 3 {
                slots = slots.with(slot_of(Some(key.as_bytes()), 0));
            }
        }
        assert_eq!(slots, Slots::ALL);
        let keyless = (0..64).map(|offset| slot_of(None, offset));
        assert!(keyless.fold(Slots::NONE, Slots::with).count() > 32);
    }
}
