//! The last sequence of each producer, by which an append that is repeated is recognised.

use crate::num::ProducerId;
use crate::record::Producer;

/// What is remembered of a producer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ProducerSlot {
    /// The producer.
    pub id: ProducerId,
    /// Its last sequence in a commit that was synced.
    pub settled: Option<u64>,
    /// Its last sequence, with the commit that is being staged.
    pub staged: Option<u64>,
    /// Grows with each use; the producer with the lowest is the first to be forgotten.
    pub used: u64,
}

/// Producers in the order of their ids, in a table of fixed size.
#[derive(Clone, Debug)]
pub struct Producers<P> {
    table: P,
    len: usize,
    uses: u64,
    evicted: u64,
}

impl<P: AsRef<[ProducerSlot]> + AsMut<[ProducerSlot]>> Producers<P> {
    /// Nobody yet. As many are remembered as the table has places.
    pub fn new(table: P) -> Self {
        Self { table, len: 0, uses: 0, evicted: 0 }
    }

    /// Who is remembered.
    pub fn all(&self) -> &[ProducerSlot] {
        self.table.as_ref().get(..self.len).unwrap_or_default()
    }

    /// How many were forgotten for want of room. Their retries are no longer recognised.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The last sequence of a producer, with what is staged.
    pub fn last(&self, id: ProducerId) -> Option<u64> {
        let at = self.place(id).ok()?;
        self.all().get(at)?.staged
    }

    /// Notes a record that is being staged.
    pub fn stage(&mut self, producer: Producer) {
        self.note(producer, false);
    }

    /// Notes a record that was found in the journal.
    pub fn found(&mut self, producer: Producer) {
        self.note(producer, true);
    }

    /// What was staged has been synced.
    pub fn settle(&mut self) {
        self.used_mut().iter_mut().for_each(|slot| slot.settled = slot.staged);
    }

    /// What was staged is given up.
    pub fn revert(&mut self) {
        self.used_mut().iter_mut().for_each(|slot| slot.staged = slot.settled);
    }

    fn note(&mut self, producer: Producer, settled: bool) {
        self.uses += 1;
        let uses = self.uses;
        let at = match self.place(producer.id) {
            Ok(at) => at,
            Err(at) => self.insert(at, producer.id),
        };
        if let Some(slot) = self.table.as_mut().get_mut(at) {
            slot.staged = slot.staged.max(Some(producer.sequence));
            slot.used = uses;
            if settled {
                slot.settled = slot.staged;
            }
        }
    }

    fn insert(&mut self, place: usize, id: ProducerId) -> usize {
        let mut place = place;
        if self.len == self.table.as_ref().len() {
            let idle = self.all().iter().enumerate().min_by_key(|(_, slot)| slot.used);
            let Some((oldest, _)) = idle else { return 0 };
            self.table.as_mut().copy_within(oldest + 1.., oldest);
            self.len -= 1;
            self.evicted += 1;
            place -= usize::from(oldest < place);
        }
        self.table.as_mut().copy_within(place..self.len, place + 1);
        self.len += 1;
        if let Some(slot) = self.table.as_mut().get_mut(place) {
            *slot = ProducerSlot { id, ..ProducerSlot::default() };
        }
        place
    }

    fn place(&self, id: ProducerId) -> Result<usize, usize> {
        self.all().binary_search_by_key(&id, |slot| slot.id)
    }

    fn used_mut(&mut self) -> &mut [ProducerSlot] {
        self.table.as_mut().get_mut(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{ProducerSlot, Producers};
    use crate::num::ProducerId;
    use crate::record::Producer;

    fn producer(id: u64, sequence: u64) -> Producer {
        Producer { id: ProducerId::new(id), sequence }
    }

    #[test]
    fn a_commit_that_is_given_up_leaves_no_trace() {
        let mut producers = Producers::new([ProducerSlot::default(); 4]);
        producers.found(producer(1, 10));
        producers.stage(producer(1, 11));
        producers.stage(producer(2, 5));
        producers.revert();
        assert_eq!(producers.last(ProducerId::new(1)), Some(10));
        assert_eq!(producers.last(ProducerId::new(2)), None);
    }

    #[test]
    fn the_idlest_producer_is_forgotten_and_counted() {
        let mut producers = Producers::new([ProducerSlot::default(); 3]);
        for id in [5, 1, 3, 1, 5, 4] {
            producers.found(producer(id, id * 10));
        }
        assert_eq!(producers.last(ProducerId::new(3)), None);
        assert_eq!(producers.last(ProducerId::new(1)), Some(10));
        assert_eq!(producers.last(ProducerId::new(4)), Some(40));
        assert_eq!(producers.last(ProducerId::new(5)), Some(50));
        assert_eq!(producers.evicted(), 1);
    }
}
