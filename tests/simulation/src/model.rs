//! A model of a journal that is trivially right: a list of records for each lane.

use std::collections::BTreeMap;

use landfall_core::frontier::{Frontier, Point};
use landfall_core::hash::StreamHash;
use landfall_core::journal::Journal;
use landfall_core::media::Media;
use landfall_core::num::{Lane, ProducerId, Seq};
use landfall_core::tables::{Loss, Tables};

use crate::journal::{Got, read_all, stream};

/// What a journal must hold.
#[derive(Clone, Debug, Default)]
pub struct Model {
    lanes: Vec<Shelf>,
    tips: BTreeMap<String, Point>,
    producers: BTreeMap<u64, u64>,
    /// A commit that was begun and not acknowledged: there as a whole, or not at all.
    doubt: Option<(usize, Vec<Noted>)>,
    /// Records that were dropped although nobody else had them.
    loud: Vec<(String, u64)>,
}

/// A lane.
#[derive(Clone, Debug, Default)]
struct Shelf {
    /// All records that were ever acknowledged. The place of each is its seq.
    records: Vec<Noted>,
    /// The first seq that was not dropped.
    first: usize,
    /// A drop that failed and may have been done all the same.
    doubt: Option<Drop>,
}

/// Everything below a seq is dropped.
#[derive(Clone, Copy, Debug)]
pub struct Drop {
    /// The first seq that stays.
    pub first: Seq,
    /// Whether it is to be told as a loss.
    pub loud: bool,
}

/// A record that was staged, with what it means for its stream and producer.
#[derive(Clone, Debug)]
pub struct Noted {
    /// The record as a reader must find it.
    pub got: Got,
    /// Its topic.
    pub topic: String,
    /// Its producer and sequence.
    pub producer: Option<(u64, u64)>,
}

impl Model {
    /// A model with that many lanes and nothing in them.
    pub fn new(lanes: usize) -> Self {
        Self { lanes: vec![Shelf::default(); lanes], ..Self::default() }
    }

    /// The next seq of a lane.
    pub fn next_seq(&self, lane: usize) -> Seq {
        Seq::new(self.lanes[lane].records.len() as u64)
    }

    /// Where a topic's stream has come to.
    pub fn tip(&self, topic: &str) -> Point {
        self.tips.get(topic).copied().unwrap_or(Point::START)
    }

    /// The last sequence of a producer.
    pub fn sequence(&self, producer: u64) -> Option<u64> {
        self.producers.get(&producer).copied()
    }

    /// A commit was acknowledged.
    pub fn acknowledge(&mut self, lane: usize, records: Vec<Noted>) {
        assert!(self.doubt.is_none(), "nothing is acknowledged behind a commit in doubt");
        for noted in records {
            assert_eq!(noted.got.seq, self.next_seq(lane), "seqs are dense");
            let tip = self.tip(&noted.topic);
            assert_eq!(noted.got.offset, tip.next, "offsets go on");
            let hash = tip.hash.unwrap_or(StreamHash::START);
            let hash = hash.then(noted.got.epoch, tip.next, &noted.got.encoded);
            let (epoch, next) = (noted.got.epoch, tip.next.plus(1));
            self.tips.insert(noted.topic.clone(), Point { epoch, next, hash: Some(hash) });
            self.producers.extend(noted.producer);
            self.lanes[lane].records.push(noted);
        }
    }

    /// A commit was begun and failed.
    pub fn doubt(&mut self, lane: usize, records: Vec<Noted>) {
        self.doubt = Some((lane, records));
    }

    /// Whether a journal has to be looked at before anything more is acknowledged.
    pub fn is_in_doubt(&self) -> bool {
        self.doubt.is_some() || self.lanes.iter().any(|shelf| shelf.doubt.is_some())
    }

    /// What was acknowledged since may not be so. A drop that failed meanwhile stays in doubt.
    pub fn go_back(&mut self, before: Self) {
        let now = std::mem::replace(self, before);
        for (shelf, now) in self.lanes.iter_mut().zip(now.lanes) {
            shelf.doubt = now.doubt;
        }
    }

    /// A segment was dropped; in doubt if that was not acknowledged.
    pub fn drop_below(&mut self, lane: usize, drop: Drop, acknowledged: bool) {
        let shelf = &mut self.lanes[lane];
        if !acknowledged {
            shelf.doubt = Some(drop);
            return;
        }
        let first = drop.first.get() as usize;
        let dropped = shelf.records[shelf.first..first].iter();
        if drop.loud {
            self.loud.extend(dropped.map(|noted| (noted.topic.clone(), noted.got.offset.get())));
        }
        shelf.first = first;
    }

    /// Compares a journal with what it must hold. What was in doubt is no longer.
    pub fn check<M: Media, T: Tables>(&mut self, journal: &Journal<M, T>) {
        for lane in 0..self.lanes.len() {
            self.settle(journal, lane);
            let lecture = read_all(journal, Lane::new(lane as u8));
            assert_eq!(lecture.missing, [], "nothing is missing in lane {lane}");
            let shelf = &self.lanes[lane];
            let kept = &shelf.records[shelf.first..];
            let first = Seq::new(shelf.first as u64);
            assert_eq!(journal.seqs(Lane::new(lane as u8)).0, first, "the first of lane {lane}");
            for (noted, got) in kept.iter().zip(&lecture.records) {
                assert_eq!(&noted.got, got, "a record of lane {lane}");
            }
            assert_eq!(kept.len(), lecture.records.len(), "records of lane {lane}");
        }
        self.doubt = None;
        for (topic, tip) in &self.tips {
            let ix = journal.frontier().find(stream(topic));
            let found = ix.map(|ix| journal.frontier().tip(ix));
            assert_eq!(found, Some(*tip), "the tip of {topic}");
        }
        for (id, sequence) in &self.producers {
            assert_eq!(journal.producer(ProducerId::new(*id)), Some(*sequence), "producer {id}");
        }
    }

    /// Checks that what was dropped loudly, and nothing that is still there, is named by losses.
    pub fn check_losses<M: Media, T: Tables>(&self, journal: &Journal<M, T>) {
        let frontier = journal.frontier();
        let named = |loss: &Loss, topic: &str, offset: u64| {
            let ix = loss.stream.map(|(ix, _)| ix);
            ix.is_some_and(|ix| frontier.name(ix) == stream(topic))
                && (loss.from.get()..loss.to.get()).contains(&offset)
        };
        for (topic, offset) in &self.loud {
            let told = journal.losses().iter().any(|loss| named(loss, topic, *offset));
            assert!(told, "{topic}@{offset} was dropped and no loss says so");
        }
        for noted in self.lanes.iter().flat_map(|shelf| &shelf.records[shelf.first..]) {
            let (topic, offset) = (&noted.topic, noted.got.offset.get());
            let told = journal.losses().iter().any(|loss| named(loss, topic, offset));
            assert!(!told, "{topic}@{offset} is still there: {:?}", journal.losses());
        }
    }

    /// Finds out what became of what was in doubt.
    fn settle<M: Media, T: Tables>(&mut self, journal: &Journal<M, T>, lane: usize) {
        let (first, next) = journal.seqs(Lane::new(lane as u8));
        if let Some(drop) = self.lanes[lane].doubt.take().filter(|drop| drop.first == first) {
            self.drop_below(lane, drop, true);
        }
        if next > self.next_seq(lane) {
            let (of, records) = self.doubt.take().expect("nothing is there that was not appended");
            assert_eq!(of, lane, "what was in doubt is where it was appended");
            self.acknowledge(lane, records);
        }
        assert_eq!(next, self.next_seq(lane), "the end of lane {lane}");
    }
}
