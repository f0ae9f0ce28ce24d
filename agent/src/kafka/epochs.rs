//! How far each epoch of each stream is in Kafka: by that what is repeated is told from what is
//! new, long after ladders and memory have forgotten it.

use std::collections::BTreeMap;

use landfall_core::frontier::{BranchIx, Point, StreamIx};
use landfall_core::num::{Epoch, Offset};

use super::restored::EpochEnd;

/// How far epochs came.
#[derive(Debug, Default)]
pub(super) struct Epochs(BTreeMap<(StreamIx, Epoch), End>);

#[derive(Clone, Copy, Debug)]
struct End {
    next: Offset,
    /// Whether Kafka has a record of it.
    written: bool,
}

impl Epochs {
    /// Epochs that have ended, by their records, and those at whose records branches end now.
    pub(super) fn new(ended: Vec<EpochEnd>, tips: &BTreeMap<(StreamIx, BranchIx), Point>) -> Self {
        let mut epochs = Self::default();
        for (ix, epoch, next) in ended {
            epochs.0.insert((ix, epoch), End { next, written: true });
        }
        for ((ix, _), tip) in tips {
            epochs.came(*ix, tip.epoch, tip.next);
        }
        epochs
    }

    /// An epoch has come to an offset.
    pub(super) fn came(&mut self, ix: StreamIx, epoch: Epoch, next: Offset) {
        // A statement is of no epoch, and leads nowhere.
        if epoch == Point::START.epoch {
            return;
        }
        let end = self.0.entry((ix, epoch)).or_insert(End { next, written: false });
        if end.next < next {
            *end = End { next, written: false };
        }
    }

    /// The epochs of a stream that write no more and that Kafka has no record of. It has one from
    /// now on.
    pub(super) fn take_ended(
        &mut self,
        ix: StreamIx,
        writes: impl Fn(Epoch) -> bool,
    ) -> Vec<(Epoch, Offset)> {
        let all = (ix, Epoch::new(0))..=(ix, Epoch::new(u64::MAX));
        let mut ended = Vec::new();
        for ((_, epoch), end) in self.0.range_mut(all) {
            if !end.written && !writes(*epoch) {
                end.written = true;
                ended.push((*epoch, end.next));
            }
        }
        ended
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = EpochEnd> {
        self.0.iter().map(|((ix, epoch), end)| (*ix, *epoch, end.next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: StreamIx = StreamIx(3);

    fn point(epoch: u64, next: u64) -> Point {
        Point { epoch: Epoch::new(epoch), next: Offset::new(next), hash: None }
    }

    #[test]
    fn an_epoch_is_written_once_when_another_goes_on() {
        let mut epochs = Epochs::default();
        epochs.came(STREAM, Epoch::new(7), Offset::new(10));
        assert_eq!(epochs.take_ended(STREAM, |epoch| epoch == Epoch::new(7)), []);
        epochs.came(STREAM, Epoch::new(7), Offset::new(12));
        epochs.came(STREAM, Epoch::new(2), Offset::new(15));
        let ended = epochs.take_ended(STREAM, |epoch| epoch == Epoch::new(2));
        assert_eq!(ended, [(Epoch::new(7), Offset::new(12))]);
        assert_eq!(epochs.take_ended(STREAM, |epoch| epoch == Epoch::new(2)), []);
    }

    #[test]
    fn what_was_restored_goes_on_where_it_was() {
        let tips = [((STREAM, BranchIx(0)), point(5, 20)), ((STREAM, BranchIx(1)), point(0, 9))];
        let ended = vec![(STREAM, Epoch::new(4), Offset::new(8))];
        let mut epochs = Epochs::new(ended, &tips.into());
        let all: Vec<_> = epochs.all().map(|(_, epoch, next)| (epoch.get(), next.get())).collect();
        assert_eq!(all, [(4, 8), (5, 20)]);
        let ended = epochs.take_ended(STREAM, |_| false);
        assert_eq!(ended, [(Epoch::new(5), Offset::new(20))]);
    }
}
