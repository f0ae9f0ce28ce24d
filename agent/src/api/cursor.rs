//! A reader's place in a node: behind which record of which commit it goes on.

use std::fmt;
use std::str::FromStr;

use landfall_core::limits::LANES_MAX;

/// The place behind a record; printed `log-epoch-commit-index`, the first two in hexadecimal.
///
/// It means something only to the node that gave it. A node that has another log id, or lacks the
/// commit, refuses it instead of starting somewhere else.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Cursor {
    /// The log's id.
    pub log_id: u64,
    /// The epoch that the commit was written in.
    pub epoch: u64,
    /// The commit.
    pub commit: u64,
    /// Records of the commit that are behind the reader, lanes in their order.
    pub index: u32,
}

/// The place of some of a consumer's slots; printed as a cursor, and behind `/` the slots in
/// hexadecimal if they are not all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ShareCursor {
    /// The place.
    pub cursor: Cursor,
    /// The slots, a bit each.
    pub slots: u64,
}

/// How far a reader has come in each lane of a node, by number: the seq of the next record. What is
/// below the lane's first one is behind the reader for good.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Seen(pub [u64; LANES_MAX]);

/// Text that is no cursor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}-{}-{}", self.log_id, self.epoch, self.commit, self.index)
    }
}

impl FromStr for Cursor {
    type Err = NotCursor;

    fn from_str(text: &str) -> Result<Self, NotCursor> {
        let mut parts = text.split('-');
        let mut next = |radix| {
            let part = parts.next().filter(|part| !part.starts_with('+')).ok_or(NotCursor)?;
            u64::from_str_radix(part, radix).map_err(|_| NotCursor)
        };
        let (log_id, epoch, commit, index) = (next(16)?, next(16)?, next(10)?, next(10)?);
        let index = u32::try_from(index).map_err(|_| NotCursor)?;
        match parts.next() {
            None => Ok(Self { log_id, epoch, commit, index }),
            Some(_) => Err(NotCursor),
        }
    }
}

impl fmt::Display for ShareCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.slots {
            u64::MAX => self.cursor.fmt(f),
            slots => write!(f, "{}/{slots:x}", self.cursor),
        }
    }
}

impl FromStr for ShareCursor {
    type Err = NotCursor;

    fn from_str(text: &str) -> Result<Self, NotCursor> {
        let Some((cursor, slots)) = text.split_once('/') else {
            return Ok(Self { cursor: text.parse()?, slots: u64::MAX });
        };
        let slots = Some(slots).filter(|slots| !slots.starts_with('+')).ok_or(NotCursor)?;
        let slots = u64::from_str_radix(slots, 16).map_err(|_| NotCursor)?;
        if slots == 0 {
            return Err(NotCursor);
        }
        Ok(Self { cursor: cursor.parse()?, slots })
    }
}

impl fmt::Display for NotCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a cursor; use one that this node gave, unchanged")
    }
}

impl std::error::Error for NotCursor {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_printed_as_it_is_parsed() {
        let cursor = Cursor { log_id: u64::MAX, epoch: 0xab, commit: 12, index: 3 };
        assert_eq!(cursor.to_string(), "ffffffffffffffff-ab-12-3");
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for wrong in ["", "1-2-3", "1-2-3-4-5", "1-2-+3-4", "x-2-3-4", "1-2-3-4294967296"] {
            assert_eq!(wrong.parse::<Cursor>(), Err(NotCursor), "{wrong}");
        }
    }

    #[test]
    fn the_cursor_of_a_share_names_its_slots_if_they_are_not_all() {
        let cursor = Cursor { log_id: 7, epoch: 0xab, commit: 12, index: 3 };
        for (slots, text) in [(u64::MAX, "7-ab-12-3"), (0xf0, "7-ab-12-3/f0")] {
            let share = ShareCursor { cursor, slots };
            assert_eq!((share.to_string().as_str(), text.parse()), (text, Ok(share)));
        }
        for wrong in ["7-ab-12-3/", "7-ab-12-3/0", "7-ab-12-3/+1", "7-ab-12/1", "/1"] {
            assert_eq!(wrong.parse::<ShareCursor>(), Err(NotCursor), "{wrong}");
        }
    }
}
