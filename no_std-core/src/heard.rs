//! The promises that a node has heard of others: where their journals stood when they promised. A
//! node that has gone back finds out by them, when it is told what it had promised.

use crate::limits::HEARD_MAX;
use crate::num::{CommitNo, Epoch, LogId};

/// The last promise that was heard of a journal: where it stood.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Heard {
    /// The journal.
    pub log: LogId,
    /// Its opening.
    pub epoch: Epoch,
    /// Its last commit.
    pub commit: CommitNo,
    /// Whether other nodes have promised what the root does not have yet.
    pub mixed: bool,
}

/// The last promise of each of the latest journals, [`HEARD_MAX`] at most.
#[derive(Clone, Copy, Debug, Default)]
pub struct Promises {
    /// Without a place between two; the last is of the next node.
    known: [Option<Heard>; HEARD_MAX],
}

impl Promises {
    /// The last promise of the next node.
    pub fn last(&self) -> Option<Heard> {
        self.iter().last()
    }

    /// The last promise of a journal.
    pub fn of(&self, log: LogId) -> Option<Heard> {
        self.iter().find(|heard| heard.log == log)
    }

    /// All of them; that of the next node comes last.
    pub fn iter(&self) -> impl Iterator<Item = Heard> {
        self.known.iter().flatten().copied()
    }

    /// Notes a promise of the next node. The oldest is forgotten if there are too many.
    pub fn note(&mut self, heard: Heard) {
        // Its place, the first that is free, or that of the oldest.
        let is_there = |known: &Option<Heard>| known.is_none_or(|known| known.log == heard.log);
        let mut at = self.known.iter().position(is_there).unwrap_or(0);
        while let Some(next @ Some(_)) = self.known.get(at + 1).copied() {
            self.put(at, next);
            at += 1;
        }
        self.put(at, Some(heard));
    }

    /// Notes a promise that was passed on by the next node, which remains the last. What was heard
    /// under an earlier opening of that journal stays: it may have gone back since, and who
    /// promises what is passed on is not told what it lacks.
    pub fn note_passed_on(&mut self, heard: Heard) {
        let Some(last) = self.last() else { return };
        match self.of(heard.log) {
            Some(known) if known.epoch != heard.epoch || known.log == last.log => {}
            _ => {
                self.note(heard);
                self.note(last);
            }
        }
    }

    fn put(&mut self, at: usize, heard: Option<Heard>) {
        if let Some(place) = self.known.get_mut(at) {
            *place = heard;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn heard(log: u64, epoch: u64) -> Heard {
        let (log, epoch) = (LogId::new(log), Epoch::new(epoch));
        Heard { log, epoch, commit: CommitNo::new(7), mixed: false }
    }

    fn logs(promises: &Promises) -> Vec<u64> {
        promises.iter().map(|heard| heard.log.get()).collect()
    }

    #[test]
    fn the_next_node_is_last_and_the_oldest_is_forgotten() {
        let mut promises = Promises::default();
        (1..=4).for_each(|log| promises.note(heard(log, 1)));
        promises.note(heard(2, 5));
        assert_eq!(logs(&promises), [1, 3, 4, 2]);
        promises.note(heard(9, 1));
        assert_eq!(logs(&promises), [3, 4, 2, 9]);
        assert_eq!(promises.of(LogId::new(2)), Some(heard(2, 5)));
        assert_eq!(promises.of(LogId::new(1)), None);
    }

    #[test]
    fn what_is_passed_on_stands_behind_the_next_node_and_under_its_first_opening() {
        let mut promises = Promises::default();
        promises.note_passed_on(heard(1, 1));
        assert_eq!(logs(&promises), [], "nobody has passed it on");
        promises.note(heard(2, 1));
        promises.note_passed_on(heard(1, 1));
        assert_eq!(logs(&promises), [1, 2]);
        promises.note_passed_on(heard(1, 3));
        assert_eq!(promises.of(LogId::new(1)), Some(heard(1, 1)));
        promises.note_passed_on(heard(2, 3));
        assert_eq!(promises.last(), Some(heard(2, 1)));
    }
}
