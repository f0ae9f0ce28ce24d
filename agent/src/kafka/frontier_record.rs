//! The records of the frontier topic: how far each branch of each stream is in Kafka.
//!
//! Each shard has one partition of that topic, which its owner alone writes, in the transactions
//! that carry the records themselves. The topic is compacted: the newest record of a key counts.
//!
//! ```text
//! key    version u8 (1), kind u8
//!        0 group · 1 opening · 2 commit · 3 branch: stream, branch u16
//!        4 epoch: stream, epoch u64 · 5 gap: stream, epoch u64, from u64 · 6 mapping
//! value  group    log u64, shards u32                   which log the group is, in partition 0
//!        opening  epoch u64, site                       who owns the shard since when
//!        commit   number u64                            the last commit of the shard
//!        branch   kind u8, flags u8 (1 gaps · 2 hash), first u64, from u64, epoch u64, next u64,
//!                 [hash 16], rungs u8, each: epoch u64, next u64, hash 16
//!        epoch    next u64                              all that it wrote below is in Kafka
//!        gap      to u64, why                           Kafka refused what was here
//!        mapping  text                                  which topic is which, in partition 0
//! ```
//!
//! A branch has no room for all epochs that wrote it, so those that ended have records of their
//! own. By them what is repeated is told from what is new, although the hub keeps no log.
//!
//! Numbers are little-endian, streams and texts as in the journal's format.

use landfall_core::codec::{Malformed, NoRoom, Reader, Writer};
use landfall_core::frontier::{Branch, BranchIx, BranchKind, Point, Rung};
use landfall_core::hash::StreamHash;
use landfall_core::limits::{RUNGS_MAX, SITE_BYTES_MAX};
use landfall_core::name::{StreamId, site_is_valid};
use landfall_core::num::{CommitNo, Epoch, LogId, Offset, SegmentNo};

/// The version that is written, and the only one that is read.
const VERSION: u8 = 1;
/// The kind of a mapping.
const MAPPING: u8 = 6;
const GAPS: u8 = 1;
const HASH: u8 = 2;
/// Bytes of the reason of a gap, as many as are told to the sites.
const WHY_BYTES_MAX: usize = 120;

/// The longest record, key and value.
const BYTES_MAX: usize = 2_048;

/// A record of the frontier topic.
#[derive(Clone, Debug, PartialEq)]
pub enum FrontierRecord<'a> {
    /// The log that the hubs of a group are to the nodes below them.
    Group {
        /// Its identity.
        log: LogId,
        /// How many shards there are, for ever.
        shards: u32,
    },
    /// A hub owns the shard from here on.
    Opening {
        /// Drawn for it.
        epoch: Epoch,
        /// The hub.
        site: &'a str,
    },
    /// The last commit.
    Commit(CommitNo),
    /// How far a branch is.
    Branch {
        /// The stream.
        stream: StreamId<'a>,
        /// Which of its branches.
        ix: BranchIx,
        /// The branch, all of it durable.
        branch: Branch,
        /// Older points of it, the oldest first.
        ladder: Vec<Rung>,
    },
    /// How far an epoch came that writes no more.
    Epoch {
        /// The stream.
        stream: StreamId<'a>,
        /// The epoch.
        epoch: Epoch,
        /// The offset after its last record.
        next: Offset,
    },
    /// Kafka refused records, of which there are dead letters.
    Gap {
        /// The stream.
        stream: StreamId<'a>,
        /// The epoch that wrote them.
        epoch: Epoch,
        /// The first.
        from: Offset,
        /// The offset after the last one.
        to: Offset,
        /// Why, for people; up to 120 bytes, the rest is cut.
        why: &'a str,
    },
    /// How the hubs of the group map topics, as [`Route::text`] says it.
    ///
    /// [`Route::text`]: super::route::Route::text
    Mapping(&'a str),
}

impl<'a> FrontierRecord<'a> {
    /// The record's key and value.
    #[must_use]
    pub fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        if let Self::Mapping(text) = self {
            return (vec![VERSION, MAPPING], text.as_bytes().to_vec());
        }
        let (mut key, mut value) = ([0; BYTES_MAX], [0; BYTES_MAX]);
        let (mut key, mut value) = (Writer::new(&mut key), Writer::new(&mut value));
        let written = self.put(&mut key, &mut value);
        assert!(written.is_ok(), "names and ladders have limits");
        (key.written().to_vec(), value.written().to_vec())
    }

    fn put(&self, key: &mut Writer<'_>, value: &mut Writer<'_>) -> Result<(), NoRoom> {
        key.u8(VERSION)?;
        match self {
            Self::Group { log, shards } => {
                key.u8(0)?;
                value.u64(log.get())?;
                value.u32(*shards)
            }
            Self::Opening { epoch, site } => {
                key.u8(1)?;
                value.u64(epoch.get())?;
                value.string(site.as_bytes())
            }
            Self::Commit(commit) => {
                key.u8(2)?;
                value.u64(commit.get())
            }
            Self::Branch { stream, ix, branch, ladder } => {
                key.u8(3)?;
                stream.encode(key)?;
                key.u16(ix.0)?;
                put_branch(value, branch, ladder)
            }
            Self::Epoch { stream, epoch, next } => {
                key.u8(4)?;
                stream.encode(key)?;
                key.u64(epoch.get())?;
                value.u64(next.get())
            }
            Self::Gap { stream, epoch, from, to, why } => {
                key.u8(5)?;
                stream.encode(key)?;
                key.u64(epoch.get())?;
                key.u64(from.get())?;
                value.u64(to.get())?;
                value.string(cut(why).as_bytes())
            }
            // It may be longer than all others, and is written as it is.
            Self::Mapping(_) => Err(NoRoom),
        }
    }

    /// Reads a record.
    ///
    /// # Errors
    /// A later version wrote it, or something else than a hub.
    pub fn decode(key: &'a [u8], value: &'a [u8]) -> Result<Self, Malformed> {
        if key == [VERSION, MAPPING] {
            return std::str::from_utf8(value).map(Self::Mapping).map_err(|_| Malformed::Text);
        }
        let (mut key, mut value) = (Reader::new(key), Reader::new(value));
        if key.u8()? != VERSION {
            return Err(Malformed::Unknown);
        }
        let record = match key.u8()? {
            0 => Self::Group { log: LogId::new(value.u64()?), shards: value.u32()? },
            1 => Self::Opening { epoch: Epoch::new(value.u64()?), site: site(&mut value)? },
            2 => Self::Commit(CommitNo::new(value.counter()?)),
            3 => {
                let stream = StreamId::decode(&mut key)?;
                let ix = BranchIx(key.u16()?);
                let (branch, ladder) = take_branch(&mut value)?;
                Self::Branch { stream, ix, branch, ladder }
            }
            4 => {
                let (stream, epoch) = (StreamId::decode(&mut key)?, Epoch::new(key.u64()?));
                Self::Epoch { stream, epoch, next: Offset::new(value.counter()?) }
            }
            5 => {
                let (stream, epoch) = (StreamId::decode(&mut key)?, Epoch::new(key.u64()?));
                let from = Offset::new(key.counter()?);
                let to = Offset::new(value.counter()?);
                let why = std::str::from_utf8(value.string(WHY_BYTES_MAX)?);
                let why = why.map_err(|_| Malformed::Text)?;
                if to <= from {
                    return Err(Malformed::Contradiction);
                }
                Self::Gap { stream, epoch, from, to, why }
            }
            _ => return Err(Malformed::Unknown),
        };
        if key.is_empty() && value.is_empty() { Ok(record) } else { Err(Malformed::Contradiction) }
    }
}

/// As much of a text as there is room for.
fn cut(text: &str) -> &str {
    let end = (0..=text.len().min(WHY_BYTES_MAX)).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

fn put_branch(value: &mut Writer<'_>, branch: &Branch, ladder: &[Rung]) -> Result<(), NoRoom> {
    let Branch { kind, first, from, tip, gaps, .. } = branch;
    value.u8(kind.code())?;
    let gaps = if *gaps { GAPS } else { 0 };
    value.u8(gaps | if tip.hash.is_some() { HASH } else { 0 })?;
    value.u64(first.get())?;
    value.u64(from.get())?;
    value.u64(tip.epoch.get())?;
    value.u64(tip.next.get())?;
    value.bytes(tip.hash.map(StreamHash::bytes).as_ref().map_or(&[], |hash| hash))?;
    value.u8(u8::try_from(ladder.len()).map_err(|_| NoRoom)?)?;
    for Rung { epoch, next, hash } in ladder {
        value.u64(epoch.get())?;
        value.u64(next.get())?;
        value.bytes(&hash.bytes())?;
    }
    Ok(())
}

fn take_branch(value: &mut Reader<'_>) -> Result<(Branch, Vec<Rung>), Malformed> {
    let kind = BranchKind::from_code(value.u8()?)?;
    let flags = value.u8()?;
    let first = Epoch::new(value.u64()?);
    let from = Offset::new(value.counter()?);
    let (epoch, next) = (Epoch::new(value.u64()?), Offset::new(value.counter()?));
    let hash = if flags & HASH != 0 { Some(StreamHash::new(value.array()?)) } else { None };
    let tip = Point { epoch, next, hash };
    let rungs = usize::from(value.u8()?);
    if flags & !(GAPS | HASH) != 0 || next < from || rungs > RUNGS_MAX {
        return Err(Malformed::Contradiction);
    }
    let mut ladder = Vec::with_capacity(rungs);
    for _ in 0..rungs {
        let (epoch, next) = (Epoch::new(value.u64()?), Offset::new(value.counter()?));
        ladder.push(Rung { epoch, next, hash: StreamHash::new(value.array()?) });
    }
    let mark = (SegmentNo::ZERO, Offset::ZERO);
    // What is stored there is durable at the root.
    let branch =
        Branch { kind, first, from, tip, hop: next, root: next, mark, gaps: flags & GAPS != 0 };
    Ok((branch, ladder))
}

fn site<'a>(value: &mut Reader<'a>) -> Result<&'a str, Malformed> {
    let site = std::str::from_utf8(value.string(SITE_BYTES_MAX)?).map_err(|_| Malformed::Text)?;
    if site_is_valid(site) { Ok(site) } else { Err(Malformed::Text) }
}

#[cfg(test)]
mod tests {
    use landfall_core::num::Partition;

    use super::*;

    fn branch(hash: Option<StreamHash>, rungs: u64) -> FrontierRecord<'static> {
        let stream = StreamId { origin: "ship-17", topic: "ais", partition: Partition::new(300) };
        let rung = |at| Rung {
            epoch: Epoch::new(u64::MAX),
            next: Offset::new(at),
            hash: StreamHash::new([at as u8; 16]),
        };
        let next = Offset::new(1 << 40);
        let branch = Branch {
            kind: BranchKind::Fork,
            first: Epoch::new(7),
            from: Offset::new(3),
            tip: Point { epoch: Epoch::new(9), next, hash },
            hop: next,
            root: next,
            mark: (SegmentNo::ZERO, Offset::ZERO),
            gaps: hash.is_none(),
        };
        let ladder = (0..rungs).map(rung).collect();
        FrontierRecord::Branch { stream, ix: BranchIx(2), branch, ladder }
    }

    fn samples() -> Vec<FrontierRecord<'static>> {
        vec![
            FrontierRecord::Group { log: LogId::new(0x0102), shards: 4 },
            FrontierRecord::Opening { epoch: Epoch::new(5), site: "hub-1" },
            FrontierRecord::Commit(CommitNo::new(77)),
            FrontierRecord::Epoch {
                stream: StreamId { origin: "s", topic: "t", partition: Partition::new(0) },
                epoch: Epoch::new(8),
                next: Offset::new(9),
            },
            FrontierRecord::Gap {
                stream: StreamId { origin: "s", topic: "t", partition: Partition::new(0) },
                epoch: Epoch::new(8),
                from: Offset::new(9),
                to: Offset::new(11),
                why: "too large",
            },
            branch(None, 0),
            branch(Some(StreamHash::new([7; 16])), 32),
        ]
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        for record in samples() {
            let (key, value) = record.encode();
            assert_eq!(FrontierRecord::decode(&key, &value), Ok(record));
        }
    }

    #[test]
    fn the_bytes_are_those_of_version_1() {
        let (key, value) = FrontierRecord::Group { log: LogId::new(0x0102), shards: 4 }.encode();
        assert_eq!(
            (key.as_slice(), value.as_slice()),
            ([1, 0].as_slice(), [2, 1, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0].as_slice())
        );
        let (key, value) = branch(None, 0).encode();
        assert_eq!(key, b"\x01\x03\x07ship-17\x03ais\xAC\x02\x02\x00");
        assert_eq!(value.len(), 2 + 4 * 8 + 1);
    }

    #[test]
    fn each_partition_of_a_topic_and_each_branch_has_a_key_of_its_own() {
        let (first, _) = branch(None, 0).encode();
        let FrontierRecord::Branch { stream, branch, ladder, .. } = branch(None, 0) else {
            panic!("a branch was made");
        };
        let stream = StreamId { partition: Partition::new(2), ..stream };
        let other = FrontierRecord::Branch { stream, ix: BranchIx(2), branch, ladder };
        assert_ne!(first, other.encode().0);
    }

    #[test]
    fn whatever_is_cut_off_changed_or_added_is_refused_or_means_something_else() {
        for record in samples() {
            let (key, value) = record.encode();
            for end in 0..value.len() {
                let cut = FrontierRecord::decode(&key, value.get(..end).unwrap());
                assert!(cut.is_err(), "{record:?} cut at {end}");
            }
            let longer = [value.as_slice(), &[0]].concat();
            assert!(FrontierRecord::decode(&key, &longer).is_err());
            let later = [&[VERSION + 1], key.get(1..).unwrap()].concat();
            assert_eq!(FrontierRecord::decode(&later, &value), Err(Malformed::Unknown));
        }
    }

    #[test]
    fn a_tip_below_its_start_and_too_many_rungs_are_refused() {
        let (key, value) = branch(None, 0).encode();
        let mut backward = value.clone();
        backward.get_mut(10..18).unwrap().copy_from_slice(&(1_u64 << 41).to_le_bytes());
        assert_eq!(FrontierRecord::decode(&key, &backward), Err(Malformed::Contradiction));
        let mut tall = value;
        *tall.last_mut().unwrap() = 33;
        assert_eq!(FrontierRecord::decode(&key, &tall), Err(Malformed::Contradiction));
    }
}
