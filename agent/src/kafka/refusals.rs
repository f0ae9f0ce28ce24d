//! Records that Kafka does not take for what they are: found, and put aside with what belongs to
//! them.
//!
//! A transaction in which Kafka refuses a record is thrown away, and which record it was is not
//! told if others stood in its batch. So the shards are taken over anew, and send each record
//! *alone*. Then it is known, and whatever came in its entry is put aside with it: a group is
//! refused whole. Taken over once more, the shards write dead letters in its place, in the same
//! transaction as the frontier, which says that there is a gap.
//!
//! If no record is refused alone, a batch of several was too large for the topic: they are made
//! smaller.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use landfall_core::batch::Batch;
use landfall_core::name::StreamId;
use landfall_core::num::{Epoch, Offset, Partition};
use rdkafka::error::RDKafkaErrorCode;

/// Bytes of a batch of records for Kafka, as librdkafka makes them, and the least that is tried.
const BATCH_BYTES: usize = 1_000_000;
const BATCH_BYTES_MIN: usize = 16 * 1024;
/// By what they are divided if they are too large.
const BATCH_STEP: usize = 4;

/// A stretch of a stream that is put aside.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Aside {
    pub(super) origin: String,
    pub(super) topic: String,
    pub(super) partition: Partition,
    pub(super) epoch: Epoch,
    /// Its first offset, and the one after its last.
    pub(super) from: Offset,
    pub(super) to: Offset,
    /// The record that Kafka refused, if it is one of them.
    pub(super) refused: Option<Offset>,
    /// Why, for people.
    pub(super) why: String,
}

impl Aside {
    /// All of a batch.
    pub(super) fn of(batch: &Batch<'_>, refused: Option<Offset>, why: String) -> Self {
        let head = &batch.head;
        let StreamId { origin, topic, partition } = head.stream;
        Self {
            origin: origin.into(),
            topic: topic.into(),
            partition,
            epoch: head.epoch,
            from: head.base,
            to: head.end(),
            refused,
            why,
        }
    }

    pub(super) fn stream(&self) -> StreamId<'_> {
        StreamId { origin: &self.origin, topic: &self.topic, partition: self.partition }
    }

    /// Whether a record of a stream is one of them.
    pub(super) fn holds(&self, offset: Offset) -> bool {
        (self.from..self.to).contains(&offset)
    }
}

/// How the next producers send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Sending {
    /// Each record in a batch of its own.
    pub(super) alone: bool,
    /// Bytes of a batch at most.
    pub(super) batch_bytes: usize,
}

/// What Kafka refused, from one opening to the next.
#[derive(Debug)]
pub(super) struct Refusals(Mutex<State>);

#[derive(Debug)]
struct State {
    sending: Sending,
    /// By origin, topic, partition, epoch and first offset.
    aside: BTreeMap<(String, String, Partition, Epoch, Offset), Aside>,
}

impl Refusals {
    pub(super) fn new() -> Self {
        let sending = Sending { alone: false, batch_bytes: BATCH_BYTES };
        Self(Mutex::new(State { sending, aside: BTreeMap::new() }))
    }

    /// How to send from the next opening on.
    pub(super) fn sending(&self) -> Sending {
        self.state().sending
    }

    /// Something in a batch was refused: the next opening is to send each record alone.
    pub(super) fn look(&self) {
        self.state().sending.alone = true;
    }

    /// No record was refused alone: batches are to be smaller.
    pub(super) fn look_no_more(&self) {
        let mut state = self.state();
        let batch_bytes = (state.sending.batch_bytes / BATCH_STEP).max(BATCH_BYTES_MIN);
        state.sending = Sending { alone: false, batch_bytes };
    }

    /// These were found: the next opening writes dead letters in their place.
    pub(super) fn put_aside(&self, found: Vec<Aside>) {
        let mut state = self.state();
        state.sending.alone = false;
        for aside in found {
            let Aside { origin, topic, partition, epoch, from, .. } = &aside;
            let key = (origin.clone(), topic.clone(), *partition, *epoch, *from);
            state.aside.insert(key, aside);
        }
    }

    /// What is put aside of the records of a batch.
    pub(super) fn of(&self, batch: &Batch<'_>) -> Vec<Aside> {
        let state = self.state();
        if state.aside.is_empty() {
            return Vec::new();
        }
        let head = &batch.head;
        let of_batch = |aside: &&Aside| {
            let same = aside.stream() == head.stream && aside.epoch == head.epoch;
            same && aside.from < head.end() && head.base < aside.to
        };
        // Entries may be joined otherwise by now.
        let within = |aside: &Aside| {
            let (from, to) = (aside.from.max(head.base), aside.to.min(head.end()));
            Aside { from, to, ..aside.clone() }
        };
        state.aside.values().filter(of_batch).map(within).collect()
    }

    /// Dead letters for these are committed.
    pub(super) fn forget(&self, written: &[Aside]) {
        let is_written = |aside: &Aside| {
            let ends = |written: &Aside| {
                let same = written.stream() == aside.stream() && written.epoch == aside.epoch;
                same && written.to == aside.to
            };
            written.iter().any(ends)
        };
        self.state().aside.retain(|_, aside| !is_written(aside));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds what Kafka refused of a transaction whose records were sent alone, by counting them as
/// they were counted when they were sent.
#[derive(Debug)]
pub(super) struct Finder<'a> {
    refusals: &'a Refusals,
    /// Which records of the transaction were refused.
    refused: &'a [(usize, RDKafkaErrorCode)],
    count: usize,
    found: Vec<Aside>,
}

impl<'a> Finder<'a> {
    pub(super) fn new(refusals: &'a Refusals, refused: &'a [(usize, RDKafkaErrorCode)]) -> Self {
        Self { refusals, refused, count: 0, found: Vec::new() }
    }

    /// Looks at the batches of the next entry.
    pub(super) fn take_entry(&mut self, batches: &[Batch<'_>]) {
        let mut hit = None;
        for batch in batches {
            let aside = self.refusals.of(batch);
            let is_aside = |at: &Offset| aside.iter().any(|aside| aside.holds(*at));
            let offsets = (0..u64::from(batch.head.records)).map(|at| batch.head.base.plus(at));
            let (letters, sent): (Vec<_>, Vec<_>) = offsets.partition(is_aside);
            for (count, at) in (self.count..).zip(&sent) {
                let refused = self.refused.iter().find(|(counted, _)| *counted == count);
                hit = hit.or(refused.map(|(_, code)| (batch.head.stream, *at, *code)));
            }
            // Letters stand behind the records of their batch.
            self.count += sent.len() + letters.len();
        }
        if let Some(hit) = hit {
            self.found.extend(with_its_entry(batches, hit));
        }
    }

    /// What is to be put aside.
    pub(super) fn found(self) -> Vec<Aside> {
        self.found
    }
}

/// The batches of an entry, one of whose records was refused, as far as they are of its origin: a
/// group has one, and an entry of several was joined by a node that passed it on.
fn with_its_entry(
    batches: &[Batch<'_>],
    (stream, at, code): (StreamId<'_>, Offset, RDKafkaErrorCode),
) -> Vec<Aside> {
    let belongs = |batch: &&Batch<'_>| batch.head.stream.origin == stream.origin;
    let aside = |batch: &Batch<'_>| {
        let head = &batch.head;
        let own = head.stream == stream && head.base <= at && at < head.end();
        let why = match own && head.records == 1 {
            true => code.to_string(),
            false => format!("{code}, of {stream}@{at}, with which it came"),
        };
        Aside::of(batch, own.then_some(at), why)
    };
    batches.iter().filter(belongs).map(aside).collect()
}

#[cfg(test)]
mod tests {
    use landfall_core::batch::{BatchHead, ClockQuality};
    use landfall_core::hash::StreamHash;

    use super::*;

    const TOO_LARGE: RDKafkaErrorCode = RDKafkaErrorCode::MessageSizeTooLarge;

    /// A batch of so many records, of which nothing but the numbers matter here.
    fn batch(origin: &'static str, base: u64, records: u32) -> Batch<'static> {
        let stream = StreamId { origin, topic: "t", partition: Partition::new(0) };
        let hash = StreamHash::START;
        let head = BatchHead {
            stream,
            epoch: Epoch::new(7),
            base: Offset::new(base),
            span: records,
            records,
            len: 0,
            before: hash,
            after: hash,
            partial: false,
            clock: ClockQuality::Unknown,
        };
        Batch { head, records: &[] }
    }

    fn found(refusals: &Refusals, refused: usize, entries: &[Vec<Batch<'_>>]) -> Vec<Aside> {
        let refused = [(refused, TOO_LARGE)];
        let mut finder = Finder::new(refusals, &refused);
        entries.iter().for_each(|entry| finder.take_entry(entry));
        finder.found()
    }

    fn ends(aside: &[Aside]) -> Vec<(u64, u64)> {
        aside.iter().map(|aside| (aside.from.get(), aside.to.get())).collect()
    }

    #[test]
    fn what_came_in_one_entry_with_a_refused_record_is_put_aside_and_nothing_else() {
        let refusals = Refusals::new();
        let entries = [
            vec![batch("a", 0, 3)],
            vec![batch("a", 3, 2), batch("b", 0, 1)],
            vec![batch("a", 5, 1)],
        ];
        let found = found(&refusals, 4, &entries);
        assert_eq!(ends(&found), [(3, 5)]);
        assert_eq!(found[0].refused, Some(Offset::new(4)));
    }

    #[test]
    fn letters_are_counted_behind_the_records_of_their_batch() {
        let refusals = Refusals::new();
        let entries = [vec![batch("a", 0, 3)], vec![batch("a", 3, 4)]];
        refusals.put_aside(found(&refusals, 1, &entries));
        assert_eq!(ends(&found(&refusals, 4, &entries)), [(3, 7)]);
        let mine = found(&refusals, 4, &entries);
        assert_eq!(mine[0].refused, Some(Offset::new(4)));
    }

    #[test]
    fn what_is_joined_otherwise_by_now_stays_aside_until_all_of_it_is_written() {
        let refusals = Refusals::new();
        refusals.put_aside(found(&refusals, 0, &[vec![batch("a", 0, 4)]]));
        let first = refusals.of(&batch("a", 0, 2));
        assert_eq!(ends(&first), [(0, 2)]);
        refusals.forget(&first);
        let second = refusals.of(&batch("a", 2, 6));
        assert_eq!(ends(&second), [(2, 4)]);
        refusals.forget(&second);
        assert_eq!(refusals.of(&batch("a", 0, 8)), []);
    }

    #[test]
    fn after_a_search_that_found_nothing_batches_are_smaller_and_not_without_end() {
        let refusals = Refusals::new();
        refusals.look();
        assert!(refusals.sending().alone);
        for _ in 0..9 {
            refusals.look_no_more();
        }
        let sending = Sending { alone: false, batch_bytes: BATCH_BYTES_MIN };
        assert_eq!(refusals.sending(), sending);
    }
}
