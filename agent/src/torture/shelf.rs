//! Which numbers of a run were found, and where: as few pieces as they make.

use std::collections::BTreeMap;

use serde::Serialize;

use super::content::{RunId, told};

/// Consecutive numbers.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(super) struct Numbers {
    pub(super) first: u64,
    pub(super) last: u64,
}

/// Consecutive numbers at consecutive offsets of one epoch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Piece {
    pub(super) first: u64,
    /// At least one, and `first + count` fits.
    pub(super) count: u64,
    pub(super) offset: u64,
    pub(super) epoch: u64,
}

/// What a node has of a topic.
#[derive(Debug, Default)]
pub(super) struct Shelves {
    shelves: BTreeMap<RunId, Shelf>,
    /// Records that are none of `torture`.
    pub(super) foreign: u64,
}

/// What was found of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf {
    pieces: Vec<Piece>,
    /// Numbers whose content is not what was written.
    pub(super) changed: Vec<u64>,
}

impl Shelves {
    /// Takes a record that was found.
    pub(super) fn take(&mut self, value: Option<&[u8]>, offset: u64, epoch: u64) {
        let Some(told) = value.and_then(told).filter(|told| told.number < u64::MAX) else {
            self.foreign += 1;
            return;
        };
        let shelf = self.shelves.entry(told.run).or_default();
        if !told.intact {
            shelf.changed.push(told.number);
        }
        shelf.add(told.number, offset, epoch);
    }

    /// What was found of a run, in the order of its numbers.
    pub(super) fn of(&self, run: RunId) -> Shelf {
        let mut shelf = self.shelves.get(&run).cloned().unwrap_or_default();
        shelf.pieces.sort_by_key(|piece| (piece.first, piece.epoch, piece.offset));
        shelf.changed.sort_unstable();
        shelf
    }
}

impl Shelf {
    fn add(&mut self, number: u64, offset: u64, epoch: u64) {
        if let Some(last) = self.pieces.last_mut()
            && (last.epoch, last.first + last.count) == (epoch, number)
            && last.offset.checked_add(last.count) == Some(offset)
        {
            last.count += 1;
            return;
        }
        self.pieces.push(Piece { first: number, count: 1, offset, epoch });
    }

    /// Those of some numbers that were not found.
    pub(super) fn missing(&self, wanted: Numbers) -> Vec<Numbers> {
        let mut missing = Vec::new();
        let mut next = wanted.first;
        for piece in &self.pieces {
            let (first, end) = (piece.first, piece.first + piece.count);
            if end <= next {
                continue;
            }
            if first > wanted.last {
                break;
            }
            if first > next {
                missing.push(Numbers { first: next, last: first - 1 });
            }
            next = end;
        }
        if next <= wanted.last {
            missing.push(Numbers { first: next, last: wanted.last });
        }
        missing
    }

    /// How many different numbers were found that are not below `from`.
    pub(super) fn count_from(&self, from: u64) -> u64 {
        let (mut next, mut count) = (from, 0);
        for piece in &self.pieces {
            let end = piece.first + piece.count;
            count += end.saturating_sub(next.max(piece.first));
            next = next.max(end);
        }
        count
    }

    /// Numbers that were found more than once.
    pub(super) fn twice(&self) -> Vec<Numbers> {
        let (mut twice, mut next) = (Vec::new(), 0);
        for piece in &self.pieces {
            let end = piece.first + piece.count;
            if piece.first < next {
                twice.push(Numbers { first: piece.first, last: end.min(next) - 1 });
            }
            next = next.max(end);
        }
        twice
    }

    /// Numbers that stand before an earlier one of the same epoch.
    pub(super) fn out_of_order(&self) -> Vec<Numbers> {
        let pairs = self.pieces.windows(2).filter_map(|pair| <&[Piece; 2]>::try_from(pair).ok());
        let wrong = pairs.filter(|[before, piece]| {
            before.epoch == piece.epoch
                && piece.first >= before.first + before.count
                && piece.offset <= before.offset
        });
        wrong.map(|[_, piece]| piece.numbers()).collect()
    }

    /// Numbers of an acknowledgement that lie elsewhere than it said.
    pub(super) fn elsewhere(&self, acked: Piece) -> Vec<Numbers> {
        let end = acked.first.saturating_add(acked.count);
        let pieces = self.pieces.iter().filter_map(|piece| {
            let (first, last) =
                (piece.first.max(acked.first), (piece.first + piece.count).min(end));
            if first >= last {
                return None;
            }
            let told = acked.offset.wrapping_add(first - acked.first);
            let found = piece.offset.wrapping_add(first - piece.first);
            let same = (told, acked.epoch) == (found, piece.epoch);
            (!same).then_some(Numbers { first, last: last - 1 })
        });
        pieces.collect()
    }
}

impl Piece {
    pub(super) fn numbers(&self) -> Numbers {
        Numbers { first: self.first, last: self.first + self.count - 1 }
    }
}

impl Numbers {
    pub(super) fn count(&self) -> u64 {
        self.last - self.first + 1
    }
}

#[cfg(test)]
mod tests {
    use super::super::content::line;
    use super::*;

    const RUN: RunId = RunId(5);

    /// Records with these numbers at offsets that run on from 100, in epoch 1.
    fn shelf(numbers: &[u64]) -> Shelf {
        let mut shelves = Shelves::default();
        for (offset, number) in (100..).zip(numbers) {
            shelves.take(Some(line(RUN, *number).as_bytes()), offset, 1);
        }
        shelves.take(Some(b"{}"), 0, 1);
        assert_eq!(shelves.foreign, 1);
        shelves.of(RUN)
    }

    fn numbers(first: u64, last: u64) -> Numbers {
        Numbers { first, last }
    }

    #[test]
    fn what_is_missing_is_told_by_number() {
        let found = shelf(&[1, 2, 3, 6, 7, 10]);
        assert_eq!(found.pieces.len(), 3);
        assert_eq!(found.missing(numbers(1, 3)), []);
        assert_eq!(found.missing(numbers(2, 12)), [numbers(4, 5), numbers(8, 9), numbers(11, 12)]);
        assert_eq!((found.count_from(1), found.count_from(7)), (6, 2));
        assert_eq!(shelf(&[]).missing(numbers(1, 2)), [numbers(1, 2)]);
    }

    #[test]
    fn what_is_there_twice_or_out_of_order_or_elsewhere_is_told() {
        let found = shelf(&[1, 2, 3, 2, 3, 4]);
        assert_eq!(found.twice(), [numbers(2, 3)]);
        assert_eq!(found.count_from(0), 4);
        assert_eq!(shelf(&[1, 2, 3]).twice(), []);
        assert_eq!(shelf(&[5, 6, 1, 2]).out_of_order(), [numbers(5, 6)]);
        assert_eq!(shelf(&[1, 2, 5]).out_of_order(), []);
        let acked = Piece { first: 1, count: 3, offset: 100, epoch: 1 };
        assert_eq!(shelf(&[1, 2, 3]).elsewhere(acked), []);
        assert_eq!(shelf(&[1, 3]).elsewhere(acked), [numbers(3, 3)]);
        assert_eq!(shelf(&[1, 2]).elsewhere(Piece { epoch: 2, ..acked }), [numbers(1, 2)]);
    }

    #[test]
    fn a_changed_record_is_there_and_changed() {
        let mut shelves = Shelves::default();
        let changed = line(RUN, 3).replace("\"data\":\"", "\"data\":\"x");
        shelves.take(Some(changed.as_bytes()), 0, 1);
        let found = shelves.of(RUN);
        assert_eq!((found.changed.as_slice(), found.count_from(0)), (&[3][..], 1));
    }
}
