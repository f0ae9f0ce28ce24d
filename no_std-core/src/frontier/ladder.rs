//! The ladder of a branch: older points at growing distances, so that the place where two
//! histories part can be narrowed down without reading the log.

use crate::hash::StreamHash;
use crate::limits::RUNGS_MAX;
use crate::num::{Epoch, Offset};

/// An older point of a branch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rung {
    /// The epoch of the record before it.
    pub epoch: Epoch,
    /// The offset of the record behind it.
    pub next: Offset,
    /// The stream hash there.
    pub hash: StreamHash,
}

/// Up to 32 rungs in order of their offsets.
#[derive(Clone, Copy, Debug)]
pub struct Ladder {
    rungs: [Rung; RUNGS_MAX],
    len: usize,
}

impl Ladder {
    const BLANK: Rung = Rung { epoch: Epoch::new(0), next: Offset::ZERO, hash: StreamHash::START };

    /// Without rungs.
    pub const EMPTY: Self = Self { rungs: [Self::BLANK; RUNGS_MAX], len: 0 };

    /// The rungs, the oldest first.
    pub fn rungs(&self) -> &[Rung] {
        self.rungs.get(..self.len).unwrap_or_default()
    }

    /// Adds a rung above all others. A full ladder loses the rung that leaves the smallest hole in
    /// proportion to its distance from the top, so the spacing grows about geometrically.
    pub fn push(&mut self, rung: Rung) {
        if self.rungs().last().is_some_and(|top| top.next >= rung.next) {
            return;
        }
        if self.len == RUNGS_MAX {
            let loose = self.loosest(rung.next);
            self.rungs.copy_within(loose + 1.., loose);
            self.len -= 1;
        }
        if let Some(place) = self.rungs.get_mut(self.len) {
            *place = rung;
            self.len += 1;
        }
    }

    fn loosest(&self, top: Offset) -> usize {
        let hole = |window: &[Rung]| match window {
            [below, at, above] => {
                let distance = top.since(at.next).max(1);
                u128::from(above.next.since(below.next)) * 65_536 / u128::from(distance)
            }
            _ => u128::MAX,
        };
        let holes = self.rungs().windows(3).map(hole).enumerate();
        // The oldest rung stays: it bounds what can be told without reading.
        holes.min_by_key(|(_, hole)| *hole).map_or(1, |(at, _)| at + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::{Ladder, Rung};
    use crate::hash::StreamHash;
    use crate::limits::RUNGS_MAX;
    use crate::num::{Epoch, Offset};

    #[test]
    fn a_long_history_keeps_its_ends_and_grows_sparser_with_age() {
        let mut ladder = Ladder::EMPTY;
        for next in 1..=100_000 {
            let (epoch, next) = (Epoch::new(1), Offset::new(next));
            ladder.push(Rung { epoch, next, hash: StreamHash::START });
        }
        let rungs = ladder.rungs();
        assert_eq!(rungs.len(), RUNGS_MAX);
        assert_eq!(rungs.first().map(|rung| rung.next.get()), Some(1));
        assert_eq!(rungs.last().map(|rung| rung.next.get()), Some(100_000));
        let near = rungs[RUNGS_MAX - 1].next.since(rungs[RUNGS_MAX - 2].next);
        let widest = rungs.windows(2).map(|pair| pair[1].next.since(pair[0].next)).max();
        assert!(near <= 4, "the newest rungs are close together, not {near} apart");
        assert!(widest > Some(10_000), "old rungs are far apart, not {widest:?}");
    }
}
