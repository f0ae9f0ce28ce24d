//! What a log has of a derived topic, so that nothing is derived twice, whatever was forgotten of
//! who derived it: each derived record names its cause, and causes of one stream come in order.

use std::collections::BTreeMap;

use landfall_core::num::{Epoch, Offset, Partition};

/// A partition that records are derived to.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Target {
    /// The topic.
    pub topic: String,
    /// Its partition.
    pub partition: Partition,
}

/// One epoch of a stream that records are derived from. Branches of a stream part in their epochs.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct CauseStream {
    /// Where the records were first written.
    pub origin: String,
    /// The topic.
    pub topic: String,
    /// Its partition.
    pub partition: Partition,
    /// The epoch.
    pub epoch: Epoch,
}

/// The last causes of what was derived, in memory that follows their streams and not the records.
#[derive(Clone, Debug, Default)]
pub struct Derived {
    last: BTreeMap<Target, BTreeMap<CauseStream, Last>>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    offset: Offset,
    /// How many records were derived from it.
    count: u32,
}

impl Derived {
    /// Takes note of a derived record that the log has.
    pub fn note(&mut self, target: Target, stream: CauseStream, offset: Offset) {
        let streams = self.last.entry(target).or_default();
        let last = streams.entry(stream).or_insert(Last { offset, count: 0 });
        match offset.cmp(&last.offset) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => last.count += 1,
            std::cmp::Ordering::Greater => *last = Last { offset, count: 1 },
        }
    }

    /// Whether the log has the record that a cause derives as its `nth` one, counted from 0, to a
    /// target.
    #[must_use]
    pub fn has(&self, target: &Target, stream: &CauseStream, offset: Offset, nth: u32) -> bool {
        let last = self.last.get(target).and_then(|streams| streams.get(stream));
        last.is_some_and(|last| offset < last.offset || offset == last.offset && nth < last.count)
    }

    /// Whether nothing was noted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(partition: u32) -> Target {
        Target { topic: "alarms".to_owned(), partition: Partition::new(partition) }
    }

    fn stream(epoch: u64) -> CauseStream {
        let (origin, topic) = ("ship".to_owned(), "ais".to_owned());
        CauseStream { origin, topic, partition: Partition::new(0), epoch: Epoch::new(epoch) }
    }

    #[test]
    fn what_stands_up_to_the_last_cause_is_there_and_nothing_behind_it() {
        let mut derived = Derived::default();
        for offset in [3, 7, 7] {
            derived.note(target(0), stream(1), Offset::new(offset));
        }
        let has = |offset, nth| derived.has(&target(0), &stream(1), Offset::new(offset), nth);
        assert!(has(3, 0) && has(5, 9), "causes before the last one were all seen");
        assert!(has(7, 0) && has(7, 1) && !has(7, 2), "of the last one, as many as are there");
        assert!(!has(8, 0));
    }

    #[test]
    fn partitions_and_branches_are_apart() {
        let mut derived = Derived::default();
        derived.note(target(0), stream(1), Offset::new(7));
        assert!(!derived.has(&target(1), &stream(1), Offset::new(3), 0));
        assert!(!derived.has(&target(0), &stream(2), Offset::new(3), 0));
    }
}
