//! The cursors of consumers: kept, moved, and read again at a start.
//!
//! A cursor that is moved alone is written to the lane of the node's own topics, which has room
//! when the others are full. One that is moved together with records is written beside them, in
//! their lane. A *mark* for each lane says up to where all that its partition of `_cursors` told is
//! in the node's own lane too, so that a start need not read the data for it, and data may be
//! forgotten.

use std::collections::{BTreeMap, BTreeSet};

use landfall_core::batch::ClockQuality;
use landfall_core::codec::{Reader, Writer};
use landfall_core::frontier::{Frontier, StreamIx};
use landfall_core::limits::COUNTER_MAX;
use landfall_core::media::{Media, MediaError};
use landfall_core::name::StreamId;
use landfall_core::num::{Epoch, Lane, Offset, Partition, SegmentNo};
use landfall_core::record::Record;
use landfall_protocol::message::Promise;

use super::consumer::{
    Action, CONSUMERS_MAX, Change, Consumer, ConsumerFault, Place, Slots, TOPIC, name_is_valid,
};
use super::{AlarmKind, Core, Gate, InternalRecord, Node, Now, Refusal, Request};

/// Bytes that consumers take at most as records of a batch.
pub(crate) fn bytes(changed: &[Changed]) -> usize {
    let value = |after: &Option<Consumer>| after.as_ref().map_or(0, |after| after.encoded().len());
    changed.iter().map(|(name, after, _)| name.len() + value(after) + RECORD_BYTES).sum()
}

/// Bytes of a record besides its key and its value, rounded up.
const RECORD_BYTES: usize = 64;

/// What is known of consumers, with all that is staged.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    known: BTreeMap<String, Consumer>,
    /// Consumers of which the newest is said among the data only.
    outside: BTreeSet<String>,
    /// How far each lane's partition has been told in the node's own lane.
    marks: BTreeMap<Lane, Offset>,
    /// The segment of each lane that the first cursor behind its mark lies in.
    first_outside: BTreeMap<Lane, SegmentNo>,
    /// What was known before each change that is not committed.
    undo: Vec<(String, Option<Consumer>)>,
}

/// A consumer as it is to be, and whether its members begin again; none forgets it.
pub(crate) type Changed = (String, Option<Consumer>, bool);

impl Cursors {
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &Consumer)> {
        self.known.iter().map(|(name, consumer)| (name.as_str(), consumer))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Consumer> {
        self.known.get(name)
    }

    /// What consumers will be after changes, if all of them may be made.
    pub(crate) fn changed(&self, changes: &[Change]) -> Result<Vec<Changed>, Refusal> {
        let mut changed: Vec<Changed> = Vec::new();
        for (at, change) in (0..).zip(changes) {
            let name = &change.consumer;
            let before = changed.iter().rfind(|(of, ..)| of == name);
            let before = before.map_or_else(|| self.get(name), |(_, after, _)| after.as_ref());
            let after = after(before, &change.action);
            let after = after.and_then(|after| {
                let more = before.is_none() && after.is_some();
                let full = more && self.known.len() + changed.len() >= CONSUMERS_MAX;
                if full { Err(ConsumerFault::TooMany) } else { Ok(after) }
            });
            let after = after.map_err(|why| Refusal::Consumer { at, why })?;
            let begins_anew = matches!(change.action, Action::Seek { .. } | Action::Drop);
            changed.push((name.clone(), after, begins_anew));
        }
        Ok(changed)
    }

    /// Nothing of some slots lies before a place. It is not written: at the next start, it is found
    /// again.
    pub(crate) fn pass(&mut self, name: &str, slots: Slots, to: Place) {
        let known = self.known.get_mut(name).filter(|known| !known.is_beyond(slots, to));
        if let Some(known) = known.filter(|_| slots != Slots::NONE) {
            known.set(slots, to);
        }
    }

    /// Takes in a consumer as it was written.
    pub(crate) fn replace(&mut self, name: String, consumer: Consumer) {
        self.known.insert(name, consumer);
    }

    /// Takes in a change that is staged.
    fn stage(&mut self, name: String, after: Option<Consumer>) {
        let before = match after {
            Some(after) => self.known.insert(name.clone(), after),
            None => self.known.remove(&name),
        };
        self.undo.push((name, before));
    }

    /// What was staged is durable, or will never be.
    pub(crate) fn settle(&mut self, durable: bool) {
        let undo = core::mem::take(&mut self.undo);
        for (name, before) in undo.into_iter().rev().filter(|_| !durable) {
            match before {
                Some(before) => self.known.insert(name, before),
                None => self.known.remove(&name),
            };
        }
    }

    /// Takes in a record of the node's own lane.
    pub(crate) fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> bool {
        if let Some(lane) = key.strip_prefix(MARK) {
            let [lane] = lane else { return false };
            let told = value.map(|value| Reader::new(value).varint_to(COUNTER_MAX));
            let Some(Ok(offset)) = told else { return false };
            self.marks.insert(Lane::new(*lane), Offset::new(offset));
            return true;
        }
        let Some(name) = name(key) else { return false };
        match value.map(Consumer::decode) {
            Some(Ok(consumer)) => self.known.insert(name.into(), consumer),
            Some(Err(_)) => return false,
            None => self.known.remove(name),
        };
        true
    }

    /// Takes in a record that lies among the data.
    fn apply_outside(&mut self, key: &[u8], value: Option<&[u8]>) -> bool {
        let decoded = value.map(Consumer::decode);
        let (Some(name), Some(Ok(consumer))) = (name(key), decoded) else { return false };
        if self.get(name).is_none_or(|known| known.version < consumer.version) {
            self.known.insert(name.into(), consumer);
            self.outside.insert(name.into());
        }
        true
    }
}

/// What the keys of marks begin with; no name does.
const MARK: &[u8] = b"#";
/// Cursors among the data after which they are told in the node's own lane at the latest.
const OUTSIDE_MAX: u64 = 16_384;

fn name(key: &[u8]) -> Option<&str> {
    core::str::from_utf8(key).ok().filter(|name| name_is_valid(name))
}

/// What a consumer is after an action.
fn after(before: Option<&Consumer>, action: &Action) -> Result<Option<Consumer>, ConsumerFault> {
    let Some(before) = before else {
        return match action {
            Action::Create { topics, at } => Ok(Some(Consumer::new(topics.clone(), *at))),
            _ => Err(ConsumerFault::Unknown),
        };
    };
    let mut after = Consumer { version: before.version + 1, ..before.clone() };
    match action {
        Action::Create { topics, .. } if *topics != before.topics => {
            return Err(ConsumerFault::OtherTopics);
        }
        Action::Create { .. } => return Ok(Some(before.clone())),
        Action::Commit { share, .. } if before.is_beyond(share.slots, share.at) => {
            return Err(ConsumerFault::Backwards);
        }
        Action::Commit { share, .. } => {
            after.gaps.clear();
            after.set(share.slots, share.at);
        }
        Action::Seek { at } => {
            after.gaps.clear();
            after.set(Slots::ALL, *at);
        }
        Action::Drop => return Ok(None),
    }
    Ok(Some(after))
}

impl<M: Media, G: Gate> Node<M, G> {
    /// The consumers by name, with all that was appended and committed.
    pub fn consumers(&self) -> impl Iterator<Item = (&str, &Consumer)> {
        self.core.cursors.all()
    }

    /// A consumer.
    pub fn consumer(&self, name: &str) -> Option<&Consumer> {
        self.core.cursors.get(name)
    }

    /// Whether all that is stored of the node's own topics could be read since it was opened; until
    /// then, nobody knows of consumers.
    pub fn knows_own_topics(&self) -> bool {
        self.core.knows_internal
    }

    /// Whether all that is before a place was not lost since.
    pub fn has_place(&self, place: &Place) -> bool {
        self.core.has_place(place)
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    pub(crate) fn has_place(&self, place: &Place) -> bool {
        let Place { epoch, commit, .. } = *place;
        epoch != LOST && self.went_through(&Promise { log: self.journal.log(), epoch, commit })
    }

    /// What consumers will be after a request, if it may change them so.
    pub(crate) fn check_changes(
        &mut self,
        lane: Lane,
        append: &Request,
    ) -> Result<Vec<Changed>, Refusal> {
        if append.changes.is_empty() {
            return Ok(Vec::new());
        }
        if !self.knows_internal {
            return Err(Refusal::Busy);
        }
        let own = lane == self.settings.internal_lane();
        let moves = |change: &Change| matches!(change.action, Action::Commit { .. });
        if !own && !append.changes.iter().all(moves) {
            return Err(Refusal::BadRecord);
        }
        let forgets = |change: &Change| change.action == Action::Drop;
        if append.changes.iter().any(forgets) {
            // What is told among the data must not come back.
            self.commit_staged();
            if !self.gather_cursors() {
                return Err(Refusal::Media);
            }
        }
        let mut changes = append.changes.clone();
        for (at, change) in (0..).zip(&mut changes) {
            let Some(place) = change.action.place_mut() else { continue };
            let here = self.has_place(place) && place.commit <= self.journal.last_commit();
            if !here {
                return Err(Refusal::Consumer { at, why: ConsumerFault::Gone });
            }
            place.epoch = self.journal.epoch();
            if let Action::Commit { share, member } = &change.action {
                self.may_commit(&change.consumer, member.as_deref(), share)
                    .map_err(|why| Refusal::Consumer { at, why })?;
            }
        }
        self.cursors.changed(&changes)
    }

    /// Stages consumers as they are to be, behind the records that they are changed with.
    pub(crate) fn stage_cursors(
        &mut self,
        lane: Lane,
        changed: Vec<Changed>,
    ) -> Result<(), Refusal> {
        for (name, after, begins_anew) in changed {
            let Some(ix) = self.cursors_in(lane) else { return Err(Refusal::TooLarge) };
            let value = after.as_ref().map(Consumer::encoded);
            let wall = self.arrived_at.wall;
            let record = Record::new(wall, Some(name.as_bytes()), value.as_deref());
            let clock = ClockQuality::Unknown;
            let staged =
                self.until_staged(lane, |core| core.journal.stage_record(lane, ix, &record, clock));
            if let (Some(staged), true) = (staged?, lane == self.settings.internal_lane()) {
                let stream = (TOPIC, Partition::new(u32::from(lane.get())));
                self.newest.apply(stream, name.as_bytes(), after.is_some(), staged.offset);
            }
            if begins_anew {
                self.groups.remove(&name);
            }
            self.note_changed(lane, name, after);
        }
        Ok(())
    }

    /// The partition of `_cursors` that lies in a lane.
    pub(crate) fn cursors_in(&mut self, lane: Lane) -> Option<StreamIx> {
        let origin = self.settings.site.clone();
        let partition = Partition::new(u32::from(lane.get()));
        self.journal.frontier_mut().add(StreamId { origin: &origin, topic: TOPIC, partition }).ok()
    }

    /// Notes a consumer as it was staged in a lane.
    fn note_changed(&mut self, lane: Lane, name: String, after: Option<Consumer>) {
        if lane == self.settings.internal_lane() {
            self.cursors.outside.remove(&name);
        } else {
            self.cursors.outside.insert(name.clone());
            let segment = self.journal.near(lane, self.journal.seqs(lane).1).segment;
            self.cursors.first_outside.entry(lane).or_insert(segment);
        }
        self.cursors.stage(name, after);
    }

    /// After a turn: the clock is looked at, cursors are gathered before a start would look for
    /// them for long, and what they were before is forgotten.
    pub(crate) fn tend_own_topics(&mut self, now: Now) {
        self.tend_clocks(now);
        if self.journal.has_failed() {
            return;
        }
        if self.cursors_are_scattered() {
            self.gather_cursors();
        }
        self.tend_own();
    }

    /// Reads the cursors that are told among the data only, and looks whether what consumers have
    /// taken in is still here.
    pub(crate) fn load_cursors(&mut self) -> Result<(), MediaError> {
        for lane in (0..self.settings.lanes.len() as u8).map(Lane::new) {
            let partition = Partition::new(u32::from(lane.get()));
            let origin = self.settings.site.clone();
            let stream = StreamId { origin: &origin, topic: TOPIC, partition };
            let Some(ix) = self.journal.frontier().find(stream) else { continue };
            let from = self.cursors.marks.get(&lane).copied().unwrap_or_default();
            let tip = self.journal.frontier().tip(ix).next;
            if tip <= from {
                continue;
            }
            let mut cursors = core::mem::take(&mut self.cursors);
            let read = self.each_batch(ix, (from, tip), |place, batch| {
                cursors.first_outside.entry(lane).or_insert(place.1.segment);
                for placed in batch.records().map_while(Result::ok) {
                    // What can't be read is not a cursor; the one before it holds.
                    let _ = cursors
                        .apply_outside(placed.record.key.unwrap_or_default(), placed.record.value);
                }
                true
            });
            self.cursors = cursors;
            read?;
        }
        self.check_places();
        Ok(())
    }

    /// Places hold in this opening from now on, if what is before them was not lost.
    fn check_places(&mut self) {
        let epoch = self.journal.epoch();
        let mut known = core::mem::take(&mut self.cursors.known);
        for (name, consumer) in &mut known {
            let mut lost = false;
            for share in &mut consumer.shares {
                let kept = self.has_place(&share.at);
                lost |= !kept;
                share.at.epoch = if kept { epoch } else { LOST };
            }
            if lost {
                let text = "its cursor is beyond what this node has: this node was restored, or \
                            its disk lost synced writes. It is given nothing until `landfall \
                            consumer seek` says where to go on.";
                self.alarm(AlarmKind::Consumer, name.clone(), text.into());
            }
        }
        self.cursors.known = known;
    }

    /// Whether cursors lie where a start would have to look for them for long.
    fn cursors_are_scattered(&self) -> bool {
        let journal = &self.journal;
        self.cursors.first_outside.iter().any(|(lane, first)| {
            let partition = Partition::new(u32::from(lane.get()));
            let stream = StreamId { origin: &self.settings.site, topic: TOPIC, partition };
            let tip = journal.frontier().find(stream).map(|ix| journal.frontier().tip(ix).next);
            let mark = self.cursors.marks.get(lane).copied().unwrap_or_default();
            let many = tip.is_some_and(|tip| tip.since(mark) > OUTSIDE_MAX);
            many || journal.near(*lane, journal.seqs(*lane).1).segment != *first
        })
    }

    /// Tells in the node's own lane what was told of cursors among the data. Returns whether all of
    /// it is durable there. Nothing may be staged.
    pub(crate) fn gather_cursors(&mut self) -> bool {
        if self.cursors.first_outside.is_empty() {
            return true;
        }
        let gathered = self.write_gathered();
        if !gathered {
            let text = "the cursors of consumers can't be written, so nothing is forgotten. Check \
                        the disk.";
            self.alarm(AlarmKind::Journal, TOPIC.into(), text.into());
        }
        gathered
    }

    fn write_gathered(&mut self) -> bool {
        let own = self.settings.internal_lane();
        let mut records = Vec::new();
        for name in &self.cursors.outside {
            let value = self.cursors.get(name).map(Consumer::encoded);
            records.push((name.clone().into_bytes(), value));
        }
        let lanes: Vec<_> = self.cursors.first_outside.keys().copied().collect();
        let mut marks = Vec::new();
        for lane in lanes {
            let Some(ix) = self.cursors_in(lane) else { return false };
            let tip = self.journal.frontier().tip(ix).next;
            let mut value = [0; 10];
            let mut writer = Writer::new(&mut value);
            let written = writer.varint(tip.get());
            assert!(written.is_ok(), "a varint takes ten bytes at most");
            let key = [MARK, &[lane.get()]].concat();
            records.push((key, Some(writer.written().to_vec())));
            marks.push((lane, tip));
        }
        let partition = Partition::new(u32::from(own.get()));
        let records = records.into_iter();
        let records = records.map(|(key, value)| InternalRecord { topic: TOPIC, key, value });
        if !self.write_internal(partition, &records.collect::<Vec<_>>()) {
            return false;
        }
        self.cursors.marks.extend(marks);
        self.cursors.outside.clear();
        self.cursors.first_outside.clear();
        true
    }
}

/// The epoch of a place whose commit was lost.
pub(crate) const LOST: Epoch = Epoch::new(0);
