//! Appends: requests wait in a queue for each lane, are staged in order, and are answered when
//! their commit is synced.
//!
//! A refusal refuses everything of the same client that is in flight behind it: clients number
//! their attempts, and only a client that has seen the refusal begins a new attempt.

use landfall_core::batch::ClockQuality;
use landfall_core::codec::Reader;
use landfall_core::frontier::{Frontier, StreamIx};
use landfall_core::journal::StageError;
use landfall_core::media::{Media, MediaError};
use landfall_core::name::{StreamId, topic_is_internal, topic_is_valid};
use landfall_core::num::{Epoch, Lane, Offset, Partition, Seq};
use landfall_core::record::Record;

use super::consumer::ConsumerFault;
use super::cursors::{self, Changed};
use super::group::{Part, Request, Written};
use super::queue::Queues;
use super::refused::RefusedClients;
use super::{AlarmKind, Core, Event, Gate, Node, Now, OnFull};

/// Names an append to its caller.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Ticket(pub u64);

/// Somebody who appends, and whose appends must keep their order.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ClientId(pub u64);

/// Records to be appended to one partition of one topic.
#[derive(Clone, Debug)]
pub struct Append {
    /// Names it in the outcome.
    pub ticket: Ticket,
    /// Who appends.
    pub client: ClientId,
    /// The client's attempt. It begins a new one after each refusal that it has seen.
    pub attempt: u32,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: Partition,
    /// Encoded records, one behind the other.
    pub records: Vec<u8>,
    /// Whether they are to be readable together or not at all.
    pub group: bool,
    /// How far the clock that gave the timestamps could be trusted.
    pub clock: ClockQuality,
}

/// What became of an append.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AppendOutcome {
    /// It is durable.
    Appended {
        /// The epoch of the records.
        epoch: Epoch,
        /// The offset of the first new record; the others follow it.
        first: Option<Offset>,
        /// The seq of the first new record.
        seq: Option<Seq>,
        /// How many records are new.
        written: u32,
        /// Where they are, by partition, in the order of the request.
        parts: Vec<Written>,
        /// How many had been written before by the same producer.
        duplicates: u32,
    },
    /// It was refused, but for the records that had been written before the fault.
    Refused {
        /// Records that are durable all the same, from the front.
        written: u32,
        /// Why.
        why: Refusal,
    },
}

/// Why an append was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The name can't name a topic.
    TopicName,
    /// Topics that begin with `_` are the node's own.
    InternalTopic,
    /// The topic is unknown and may not be made.
    UnknownTopic,
    /// The topic comes down from the upstream node.
    ComesDown,
    /// A record is malformed or over its limits.
    BadRecord,
    /// A record or group is too large for the journal.
    TooLarge,
    /// The partitions of a group are of several lanes.
    SeveralLanes,
    /// A condition does not hold.
    Unmet {
        /// Which, from 0.
        at: u32,
        /// The offset of a record that there should not be.
        offset: Offset,
    },
    /// Too many records would have to be looked through for a condition, or some of them are gone.
    TooFarBack {
        /// Which, from 0.
        at: u32,
    },
    /// The lane has used its budget.
    LaneFull(Lane),
    /// The medium has no space left.
    NoSpace,
    /// The medium failed.
    Media,
    /// Something of the same client in front of it was refused.
    Behind,
    /// Too much waits already.
    Busy,
    /// A consumer can't be changed so.
    Consumer {
        /// Which change, from 0.
        at: u32,
        /// Why.
        why: ConsumerFault,
    },
}

/// Appends that wait, and those that are staged.
#[derive(Debug, Default)]
pub(crate) struct Appends {
    pub(crate) queues: Queues,
    staged: Vec<StagedAppend>,
    /// The one that is being staged; it may take several commits.
    current: Option<StagedAppend>,
    refused: RefusedClients,
}

#[derive(Debug)]
struct StagedAppend {
    ticket: Ticket,
    client: ClientId,
    attempt: u32,
    parts: Vec<(StreamIx, Written)>,
    /// Where the cursors are that it moves.
    cursors: Option<StreamIx>,
    seq: Option<Seq>,
    written: u32,
    duplicates: u32,
    /// Records of it that an earlier commit made durable.
    durable: u32,
    refused: Option<Refusal>,
}

impl Appends {
    pub(crate) fn is_empty(&self) -> bool {
        self.staged.is_empty() && self.queues.is_empty()
    }

    /// Whether records of a stream are staged.
    pub(crate) fn has_staged(&self, ix: StreamIx) -> bool {
        self.staged.iter().any(|append| append.parts.iter().any(|(part, _)| *part == ix))
    }
}

impl<M: Media, G: Gate> Node<M, G> {
    /// Somebody appends. The outcome comes as an event, after [`Node::commit`].
    pub fn handle_append(&mut self, append: impl Into<Request>) {
        let (core, append) = (&mut self.core, append.into());
        let lane = match core.lane_for(&append) {
            Ok(lane) => lane,
            Err(why) => return core.refuse(&append, why),
        };
        core.appends.queues.push(lane, append);
    }

    /// Makes durable what was appended and what came in, and answers for it.
    pub fn commit(&mut self, now: Now) {
        self.core.ahead = false;
        self.write(now);
        self.land();
    }

    /// Writes what was appended and what came in. It is durable, and what follows from it can be
    /// polled, when [`Node::land`] or another commit has returned; until then the next inputs can
    /// be handled.
    pub fn commit_ahead(&mut self, now: Now) {
        self.core.ahead = true;
        self.write(now);
        self.hold_or_release();
    }

    fn write(&mut self, now: Now) {
        self.core.arrived_at = now;
        self.core.commit_staged();
        for lane in self.core.lanes_to_write() {
            if !self.core.is_due(lane, now.instant) {
                continue;
            }
            while let Some(append) = self.core.appends.queues.take(lane) {
                self.core.stage_append(lane, &append);
            }
            self.core.commit_staged();
        }
        self.core.tend_own_topics(now);
        self.settle_promises();
        self.core.trim_lanes(now);
        self.say_standing(now);
        if let Some(pace) = &mut self.core.pace {
            pace.fill(now.instant);
        }
        self.flush();
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// Lanes in the order in which they are served.
    pub(crate) fn lanes_by_priority(&self) -> Vec<Lane> {
        let lanes = self.settings.lanes.iter().enumerate();
        let mut lanes: Vec<_> = lanes.map(|(at, lane)| (lane.priority, at as u8)).collect();
        lanes.sort_by_key(|(priority, at)| (u8::MAX - priority, *at));
        lanes.into_iter().map(|(_, at)| Lane::new(at)).collect()
    }

    /// The lanes that are written to, in the order in which they are served.
    fn lanes_to_write(&self) -> Vec<Lane> {
        let mut lanes = self.lanes_by_priority();
        lanes.push(self.settings.internal_lane());
        lanes
    }

    fn lane_for(&self, append: &Request) -> Result<Lane, Refusal> {
        let mut lanes = append.records.iter().map(|part| self.lane_to_write(&part.topic));
        // Cursors that are moved alone find room when the lanes of data are full.
        let alone = match append.changes.is_empty() {
            true => self.settings.default_lane,
            false => self.settings.internal_lane(),
        };
        let lane = lanes.next().unwrap_or(Ok(alone))?;
        for other in lanes {
            if other? != lane {
                return Err(Refusal::SeveralLanes);
            }
        }
        if self.appends.queues.bytes() + append.bytes() > self.settings.append_bytes_max {
            return Err(Refusal::Busy);
        }
        Ok(lane)
    }

    fn lane_to_write(&self, topic: &str) -> Result<Lane, Refusal> {
        if !topic_is_valid(topic) {
            return Err(Refusal::TopicName);
        }
        if topic_is_internal(topic) {
            return Err(Refusal::InternalTopic);
        }
        if self.topics.comes_down(topic) {
            return Err(Refusal::ComesDown);
        }
        self.topics.of(topic).map(|topic| topic.lane).ok_or(Refusal::UnknownTopic)
    }

    fn refuse(&mut self, append: &Request, why: Refusal) {
        self.appends.refused.add(append.client, append.attempt);
        let outcome = AppendOutcome::Refused { written: 0, why };
        self.events.push_back(Event::Appended(append.ticket, outcome));
    }

    fn stage_append(&mut self, lane: Lane, append: &Request) {
        if self.appends.refused.covers(append.client, append.attempt) {
            return self.refuse(append, Refusal::Behind);
        }
        let mut parts = Vec::with_capacity(append.records.len());
        for part in &append.records {
            let site = self.settings.site.clone();
            let (topic, partition) = (part.topic.as_str(), part.partition);
            let stream = StreamId { origin: &site, topic, partition };
            let Ok(ix) = self.journal.frontier_mut().add(stream) else {
                return self.refuse(append, Refusal::TooLarge);
            };
            parts.push((ix, Written::default()));
        }
        let repeated = append.group && self.is_repeated(append);
        if !repeated && let Err(why) = self.check_conditions(&append.conditions) {
            return self.refuse(append, why);
        }
        let changed = if repeated { Ok(Vec::new()) } else { self.check_changes(lane, append) };
        let changed = match changed {
            Ok(changed) => changed,
            Err(why) => return self.refuse(append, why),
        };
        let cursors = if changed.is_empty() { None } else { self.cursors_in(lane) };
        if cursors.is_none() && !changed.is_empty() {
            return self.refuse(append, Refusal::TooLarge);
        }
        self.appends.current = Some(StagedAppend {
            ticket: append.ticket,
            client: append.client,
            attempt: append.attempt,
            parts,
            cursors,
            seq: None,
            written: 0,
            duplicates: 0,
            durable: 0,
            refused: None,
        });
        let outcome = self.stage_records(lane, append, repeated, changed);
        let Some(mut staged) = self.appends.current.take() else { return };
        if let Err(why) = outcome {
            staged.refused = staged.refused.or(Some(why));
            self.appends.refused.add(append.client, append.attempt);
        }
        self.appends.staged.push(staged);
    }

    fn is_repeated(&self, append: &Request) -> bool {
        let Some(part) = append.records.first() else { return false };
        let first = Record::decode(&mut Reader::new(&part.records));
        first.is_ok_and(|first| self.was_written(&first))
    }

    fn stage_records(
        &mut self,
        lane: Lane,
        append: &Request,
        repeated: bool,
        changed: Vec<Changed>,
    ) -> Result<(), Refusal> {
        if append.group {
            self.check_group(append)?;
            if repeated {
                if let Some(entry) = &mut self.appends.current {
                    entry.duplicates = append.count();
                }
                return Ok(());
            }
            let heads = (append.records.len() + 1) * landfall_core::batch::HEAD_BYTES_MAX;
            let bytes = append.bytes() + heads + cursors::bytes(&changed);
            self.until_staged(lane, |core| core.journal.begin_group(lane, bytes))?;
        }
        let mut parts = append.records.iter().enumerate();
        let outcome =
            parts.try_for_each(|(at, part)| self.stage_each(lane, at, part, append.clock));
        let outcome = outcome.and_then(|()| self.stage_cursors(lane, changed));
        if append.group {
            self.journal.end_group();
        }
        outcome
    }

    /// A group is staged whole or not at all, so what could be refused is refused before.
    fn check_group(&self, append: &Request) -> Result<(), Refusal> {
        for part in &append.records {
            let mut reader = Reader::new(&part.records);
            while !reader.is_empty() {
                let record = Record::decode(&mut reader).map_err(|_| Refusal::BadRecord)?;
                record.check().map_err(|_| Refusal::BadRecord)?;
            }
        }
        Ok(())
    }

    fn stage_each(
        &mut self,
        lane: Lane,
        at: usize,
        part: &Part,
        clock: ClockQuality,
    ) -> Result<(), Refusal> {
        let ix = self.appends.current.as_ref().and_then(|entry| entry.parts.get(at));
        let Some(ix) = ix.map(|(ix, _)| *ix) else { return Ok(()) };
        let mut reader = Reader::new(&part.records);
        while !reader.is_empty() {
            let record = Record::decode(&mut reader).map_err(|_| Refusal::BadRecord)?;
            let staged =
                self.until_staged(lane, |core| core.journal.stage_record(lane, ix, &record, clock));
            let Some(entry) = &mut self.appends.current else { return Ok(()) };
            if let Some(why) = entry.refused {
                return Err(why);
            }
            match staged? {
                Some(placed) => {
                    self.payload.add(lane, record.encoded_len());
                    entry.seq = entry.seq.or(Some(placed.seq));
                    entry.written += 1;
                    if let Some((_, written)) = entry.parts.get_mut(at) {
                        written.first = written.first.or(Some(placed.offset));
                        written.count += 1;
                    }
                }
                None => entry.duplicates += 1,
            }
        }
        Ok(())
    }

    /// Stages something, committing and making room as often as it takes. None if it had been
    /// written before.
    pub(crate) fn until_staged<T>(
        &mut self,
        lane: Lane,
        mut stage: impl FnMut(&mut Self) -> Result<T, StageError>,
    ) -> Result<Option<T>, Refusal> {
        loop {
            match stage(self) {
                Ok(staged) => return Ok(Some(staged)),
                Err(StageError::Duplicate) => return Ok(None),
                Err(StageError::OtherLane | StageError::CommitFull) => self.commit_staged(),
                Err(StageError::LaneFull) => {
                    self.commit_staged();
                    if !self.make_room(lane) {
                        return Err(Refusal::LaneFull(lane));
                    }
                }
                Err(StageError::TooLarge | StageError::Frontier(_)) => {
                    return Err(Refusal::TooLarge);
                }
                Err(StageError::Media(MediaError::NoSpace)) => {
                    self.commit_staged();
                    // Whatever fills the disk would take what is dropped too, so that nothing goes
                    // that is nowhere else.
                    if !self.trim(lane) {
                        return Err(Refusal::NoSpace);
                    }
                }
                Err(StageError::Media(_)) => return Err(Refusal::Media),
                Err(_) => return Err(Refusal::BadRecord),
            }
        }
    }

    /// Commits what is staged, and answers the appends in it.
    pub(crate) fn commit_staged(&mut self) {
        let committed = match self.ahead {
            true => self.journal.commit_ahead(),
            false => self.journal.commit(),
        };
        match committed {
            Ok(_) => self.cursors.settle(true),
            Err(error) => {
                self.cursors.settle(false);
                let text = format!("a commit was given up: {error}. Check the disk.");
                self.alarm(AlarmKind::Journal, "journal".into(), text);
                let Appends { staged, current, refused, .. } = &mut self.appends;
                self.reset_links = true;
                for append in staged.iter_mut().chain(current) {
                    append.written = append.durable;
                    append.refused = append.refused.or(Some(Refusal::Media));
                    refused.add(append.client, append.attempt);
                }
            }
        }
        if let Some(current) = &mut self.appends.current {
            current.durable = current.written;
        }
        self.answer_staged();
    }

    fn answer_staged(&mut self) {
        for append in core::mem::take(&mut self.appends.staged) {
            let parts = append.parts.iter().map(|(ix, _)| *ix).chain(append.cursors);
            for ix in parts {
                if !self.goes_on(ix) {
                    self.is_root_for(ix);
                }
            }
            let parts: Vec<_> = append.parts.iter().map(|(_, written)| *written).collect();
            let outcome = match append.refused {
                Some(why) => AppendOutcome::Refused { written: append.written, why },
                None => AppendOutcome::Appended {
                    epoch: self.journal.epoch(),
                    first: parts.iter().find_map(|part| part.first),
                    seq: append.seq,
                    written: append.written,
                    parts,
                    duplicates: append.duplicates,
                },
            };
            self.events.push_back(Event::Appended(append.ticket, outcome));
        }
    }

    /// Makes room in a lane that is full, as it is configured.
    fn make_room(&mut self, lane: Lane) -> bool {
        if self.trim(lane) {
            return true;
        }
        let settings = self.settings.lanes.get(usize::from(lane.get()));
        let drops = settings.is_some_and(|lane| lane.on_full == OnFull::DropOldest);
        drops && self.drop_undurable(lane)
    }
}
