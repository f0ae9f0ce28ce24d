//! The sender: reads the lanes in order and sends what the upstream node does not have yet.
//!
//! Its place in a lane is a hint: a wrong one costs bytes, and the other end's frontier decides.
//! It begins behind what is known to be durable at the upstream node, or, if that is another node
//! than last time, behind what is durable at the root.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use landfall_core::batch::batches;
use landfall_core::control::{BranchBody, GapBody};
use landfall_core::entry::Kind;
use landfall_core::frontier::{Branch, BranchIx, Frontier, Point, StreamIx};
use landfall_core::gap::GapReason;
use landfall_core::journal::{Cursor, Entry, ReadStep, Reader};
use landfall_core::limits::JOINED_BYTES_MAX;
use landfall_core::media::Media;
use landfall_core::num::{Lane, Offset, Seq};
use landfall_protocol::channel::LaneIndex;
use landfall_protocol::message::{self, LaneMessage, Purpose, Refused, StreamPoint};

use super::joiner::Joiner;
use super::link::{Link, LinkState, Note};
use super::progress::{Flight, LanePlace};
use super::{AlarmKind, Core, Direction, Gate, Node};
use crate::codec;
use crate::media::checksum;

/// What is sent to the upstream node over one link.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) lanes: BTreeMap<Lane, LaneSender>,
    /// Whether it begins behind what the next node has, and not behind what the root has.
    from_hop: bool,
    /// Streams that were wanted again, and from where.
    lowered: BTreeMap<StreamIx, Offset>,
    /// How far each stream has been sent.
    sent: BTreeMap<StreamIx, Offset>,
    /// Streams that the upstream node does not take, or that wait for what is missing.
    pub(crate) held_back: BTreeSet<StreamIx>,
}

#[derive(Debug, Default)]
pub(crate) struct LaneSender {
    pub(crate) cursor: Cursor,
    /// Frames that are made and wait to be polled.
    pub(crate) ready: VecDeque<Vec<u8>>,
    pub(crate) flights: VecDeque<Flight>,
    /// Streams whose end is stated to be missing.
    gone: VecDeque<(StreamIx, Offset)>,
    /// The last seqs that could not be read.
    missing: (Seq, Seq),
}

impl Sender {
    pub(crate) fn new<M: Media, G: Gate>(core: &mut Core<M, G>) -> Self {
        let from_hop = core.promise.is_some();
        let mut lanes = BTreeMap::new();
        for lane in (0..core.journal.lanes()).map(Lane::new) {
            let first = core.journal.first(lane);
            let place = core.durable.entry(lane).or_insert(LanePlace { hop: first, root: first });
            let cursor = if from_hop { place.hop } else { place.root };
            let cursor = later(cursor, first);
            lanes.insert(lane, LaneSender { cursor, ..LaneSender::default() });
        }
        Self {
            lanes,
            from_hop,
            lowered: BTreeMap::new(),
            sent: BTreeMap::new(),
            held_back: BTreeSet::new(),
        }
    }

    /// The upstream node is another one than last time: begin behind what the root has.
    pub(crate) fn begin_at_root<M: Media, G: Gate>(&mut self, core: &Core<M, G>) {
        if !core::mem::take(&mut self.from_hop) {
            return;
        }
        self.sent.clear();
        for (lane, sender) in &mut self.lanes {
            let root = core.durable.get(lane).map(|place| place.root).unwrap_or_default();
            sender.cursor = later(root, core.journal.first(*lane));
            sender.flights.clear();
        }
    }

    /// Takes a stream up again that was held back.
    pub(crate) fn let_go(&mut self, ix: StreamIx) {
        self.held_back.remove(&ix);
    }
}

fn later(cursor: Cursor, first: Cursor) -> Cursor {
    if cursor.segment < first.segment { first } else { cursor }
}

impl Link {
    /// The next frame of a lane, if there is something to send and room for it.
    pub(crate) fn next_lane_bytes<M: Media, G: Gate>(
        &mut self,
        core: &mut Core<M, G>,
        lane: Lane,
        index: LaneIndex,
    ) -> Option<Vec<u8>> {
        if self.state.direction == Direction::Down {
            return self.next_giveback(core, index);
        }
        let mut sender = self.state.sender.take()?;
        let mut pump = Pump { link: self, core, lane, index, sender: &mut sender };
        let bytes = pump.next();
        self.state.sender = Some(sender);
        if bytes.is_none() {
            // What was passed over without being sent, such as records that came back, is durable
            // above; no promise will come for it.
            core.advance_durable(&mut self.state);
        }
        bytes
    }

    /// Frames a lane message; none if there is no room for it now.
    pub(crate) fn frame(&mut self, index: LaneIndex, message: &LaneMessage<'_>) -> Option<Vec<u8>> {
        let mut out = vec![0; FRAME_OVERHEAD + message.encoded_len()];
        let len = self.session.send_lane(index, message, &mut out).ok()?;
        out.truncate(len);
        Some(out)
    }
}

/// Bytes around a message, rounded up.
pub(crate) const FRAME_OVERHEAD: usize = 16;
/// The longest head of an entry message, with its path.
pub(crate) const ENTRY_OVERHEAD: usize = 1_024;

/// One lane of one link, while frames are made for it.
struct Pump<'a, M: Media, G> {
    link: &'a mut Link,
    core: &'a mut Core<M, G>,
    lane: Lane,
    index: LaneIndex,
    sender: &'a mut Sender,
}

/// What becomes of the next entry of the lane.
enum Turn {
    /// It was dealt with.
    On,
    /// It must wait until what is joined so far has been sent.
    Flush,
    /// There is nothing behind.
    End,
}

impl<M: Media, G: Gate> Pump<'_, M, G> {
    fn next(&mut self) -> Option<Vec<u8>> {
        if self.lane().ready.is_empty() {
            self.fill();
        }
        self.lane().ready.pop_front()
    }

    fn lane(&mut self) -> &mut LaneSender {
        self.sender.lanes.entry(self.lane).or_default()
    }

    fn fill(&mut self) {
        self.state_gone();
        let room = self.link.session.lane_room(self.index);
        if room < ROOM_MIN {
            return;
        }
        let limit = JOINED_BYTES_MAX.min(room - ENTRY_OVERHEAD);
        let mut joiner = Joiner::default();
        let mut seq = None;
        let mut buffer = core::mem::take(&mut self.core.scratch);
        let mut reader = Reader::new(&mut buffer);
        loop {
            let mut cursor = self.lane().cursor;
            let step = self.core.journal.read_on(self.lane, &mut cursor, &mut reader);
            let turn = match step {
                ReadStep::Entry(entry) => {
                    seq = seq.or(Some(entry.header.seq));
                    self.turn(&entry, &mut joiner, limit, room)
                }
                ReadStep::Missing(first, end) => {
                    self.lane().missing = (first, end);
                    Turn::On
                }
                ReadStep::End | ReadStep::TooLong(_) | ReadStep::Failed(_) => Turn::End,
            };
            match turn {
                Turn::On => self.lane().cursor = cursor,
                Turn::Flush | Turn::End => break,
            }
        }
        self.core.scratch = buffer;
        self.flush(&mut joiner, seq.unwrap_or_default());
    }

    fn turn(&mut self, entry: &Entry<'_>, joiner: &mut Joiner, limit: usize, room: usize) -> Turn {
        match entry.header.kind {
            Kind::Data => self.data(entry, joiner, limit, room),
            Kind::Gap | Kind::Branch if !joiner.is_empty() => Turn::Flush,
            Kind::Gap => self.relay_gap(entry.body),
            Kind::Branch => self.relay_branch(entry.body),
            _ => Turn::On,
        }
    }

    fn data(&mut self, entry: &Entry<'_>, joiner: &mut Joiner, limit: usize, room: usize) -> Turn {
        let mut wanted = Vec::new();
        for batch in batches(entry.body, checksum()).map_while(Result::ok) {
            let Some(ix) = self.core.journal.frontier().find(batch.head.stream) else { continue };
            let (epoch, next) = (batch.head.epoch, batch.head.end());
            let end = Point { epoch, next, hash: Some(batch.head.after) };
            if self.is_wanted(ix, batch.head.stream.topic, end) {
                wanted.push((ix, batch));
            }
        }
        let head = |batch: &landfall_core::batch::Batch<'_>| batch.head.encoded_len();
        let bytes: usize = wanted.iter().map(|(_, batch)| head(batch) + batch.records.len()).sum();
        if wanted.is_empty() {
            return Turn::On;
        }
        if !joiner.takes(entry.path, bytes, limit) || bytes + ENTRY_OVERHEAD > room {
            return Turn::Flush;
        }
        // What is said before a batch must not overtake what is joined so far.
        if !joiner.is_empty() && wanted.iter().any(|(ix, batch)| self.skips(*ix, batch.head.base)) {
            return Turn::Flush;
        }
        for (ix, batch) in &wanted {
            match self.prepare(*ix, batch.head.base, batch.head.before, batch.head.epoch) {
                Some(true) => {}
                Some(false) => continue,
                None => return Turn::Flush,
            }
            joiner.add(*ix, entry.path, batch);
            let sent = self.sender.sent.entry(*ix).or_default();
            *sent = batch.head.end().max(*sent);
        }
        Turn::On
    }

    /// Whether a batch is to be sent at all.
    fn is_wanted(&self, ix: StreamIx, topic: &str, end: Point) -> bool {
        if !self.core.topics.goes_up(topic) || self.sender.held_back.contains(&ix) {
            return false;
        }
        if let Some(floor) = self.sender.lowered.get(&ix) {
            return end.next > *floor;
        }
        let promised = |branch: Branch| match self.sender.from_hop {
            true => branch.hop,
            false => branch.root,
        };
        let frontier = self.core.journal.frontier();
        let branch = self.core.branch_at(ix, end).and_then(|at| frontier.branch(ix, at));
        // What is known for all branches is known for the one that the batch is of.
        let all = frontier.branches(ix).map(|(_, branch)| promised(branch)).min();
        end.next > branch.map(promised).or(all).unwrap_or_default()
    }

    /// Whether a batch does not go on from what was sent of its stream.
    fn skips(&self, ix: StreamIx, base: Offset) -> bool {
        base > self.sender.sent.get(&ix).copied().unwrap_or_default()
    }

    /// Says what must be said before a batch: that its stream begins in its middle, or that
    /// something before it is missing. Whether it may be sent; none if it must wait for room.
    fn prepare(
        &mut self,
        ix: StreamIx,
        base: Offset,
        before: landfall_core::hash::StreamHash,
        epoch: landfall_core::num::Epoch,
    ) -> Option<bool> {
        let forked = self.core.journal.frontier().branch(ix, BranchIx(1)).is_some();
        let sent = self.sender.sent.get(&ix).copied();
        let at = Point { epoch, next: base, hash: Some(before) };
        match sent {
            None if base > Offset::ZERO => self.say_start(ix, at).then_some(true),
            Some(sent) if base > sent && !forked => {
                if self.core.journal.frontier().name(ix).origin == self.core.settings.site {
                    return self.say_gap(ix, sent, at).then_some(true);
                }
                // Only its origin may say that it is gone.
                self.sender.held_back.insert(ix);
                let missing = Point { epoch, next: sent, hash: None };
                self.core.notes.push_back(Note::Wanted(ix, missing));
                Some(false)
            }
            _ => Some(true),
        }
    }

    /// Says that a stream begins in its middle here: behind what is durable at the root, and, if
    /// more is gone than that, behind a gap.
    fn say_start(&mut self, ix: StreamIx, at: Point) -> bool {
        let branch = self.core.journal.frontier().branch(ix, BranchIx::MAIN);
        let root = branch.map(|branch| branch.root).unwrap_or_default();
        let own = self.core.journal.frontier().name(ix).origin == self.core.settings.site;
        if root >= at.next || root == Offset::ZERO || !own {
            return self.say_begin(ix, at, root);
        }
        let rooted = Point { next: root, hash: None, ..at };
        self.say_begin(ix, rooted, root) && self.say_gap(ix, root, at)
    }

    fn say_begin(&mut self, ix: StreamIx, at: Point, root: Offset) -> bool {
        let stream = self.core.journal.frontier().name(ix);
        let begin = message::Begin {
            point: StreamPoint { stream, epoch: at.epoch, next: at.next, hash: at.hash },
            durable_at: self.core.rooted_at.log().filter(|_| root >= at.next),
            reason: GapReason::NeverReceived,
        };
        let frame = self.link.frame(self.index, &LaneMessage::Begin(begin));
        self.ready(frame)
    }

    fn say_gap(&mut self, ix: StreamIx, from: Offset, to: Point) -> bool {
        let missing = self.lane().missing;
        self.core.note_missing(self.lane, missing, ix, from, to);
        let reason = self.core.gap_reason(ix, from);
        let stream = self.core.journal.frontier().name(ix);
        let (next, epoch, after) = (to.next, to.epoch, to.hash);
        let gap = message::Gap { stream, from, to: next, epoch, reason, after };
        let frame = self.link.frame(self.index, &LaneMessage::Gap(gap));
        self.ready(frame)
    }

    fn ready(&mut self, frame: Option<Vec<u8>>) -> bool {
        let made = frame.is_some();
        self.lane().ready.extend(frame);
        made
    }

    fn relay_gap(&mut self, body: &[u8]) -> Turn {
        let Ok(gap) = GapBody::decode(body) else { return Turn::On };
        let Some(ix) = self.core.journal.frontier().find(gap.stream) else { return Turn::On };
        let end = Point { epoch: gap.branch.0, next: gap.to, hash: gap.after };
        if !self.is_wanted(ix, gap.stream.topic, end) {
            return Turn::On;
        }
        let sent = self.sender.sent.get(&ix).copied();
        let message = message::Gap {
            stream: gap.stream,
            from: sent.unwrap_or(gap.from).clamp(gap.from, gap.to),
            to: gap.to,
            epoch: gap.branch.0,
            reason: gap.reason,
            after: gap.after,
        };
        let frame = self.link.frame(self.index, &LaneMessage::Gap(message));
        self.sender.sent.insert(ix, sent.unwrap_or_default().max(gap.to));
        if self.ready(frame) { Turn::On } else { Turn::Flush }
    }

    fn relay_branch(&mut self, body: &[u8]) -> Turn {
        let Ok(begun) = BranchBody::decode(body) else { return Turn::On };
        let Some(ix) = self.core.journal.frontier().find(begun.stream) else { return Turn::On };
        if begun.durable_at.is_none() || !self.is_wanted(ix, begun.stream.topic, begun.at) {
            return Turn::On;
        }
        let (epoch, next, hash) = (begun.at.epoch, begun.at.next, begun.at.hash);
        let message = message::Begin {
            point: StreamPoint { stream: begun.stream, epoch, next, hash },
            durable_at: begun.durable_at,
            reason: GapReason::NeverReceived,
        };
        let frame = self.link.frame(self.index, &LaneMessage::Begin(message));
        self.sender.sent.insert(ix, next);
        if self.ready(frame) { Turn::On } else { Turn::Flush }
    }

    /// States that streams which are wanted again are gone up to their tips.
    fn state_gone(&mut self) {
        while let Some((ix, from)) = self.lane().gone.front().copied() {
            let tip = self.core.journal.frontier().tip(ix);
            if tip.next > from && !self.say_gap(ix, from, tip) {
                return;
            }
            self.lane().gone.pop_front();
            self.sender.sent.insert(ix, tip.next);
        }
    }

    fn flush(&mut self, joiner: &mut Joiner, seq: Seq) {
        if joiner.is_empty() {
            return;
        }
        let ends = joiner.ends().collect();
        let (records, path) = (joiner.records(), joiner.path().to_vec());
        let stored = joiner.take(|ix| self.core.journal.frontier().name(ix));
        let (codec, body) = codec::pack(&stored, self.link.session.features());
        let entry = message::Entry {
            purpose: Purpose::Uplink,
            seq,
            records,
            codec,
            body_len: stored.len() as u32,
            body_crc: checksum().of(&stored),
            path: &path,
            body: &body,
        };
        let frame = self.link.frame(self.index, &LaneMessage::Entry(entry));
        assert!(frame.is_some(), "what was joined fits the room there was");
        self.ready(frame);
        let lane = self.lane();
        let after = lane.cursor;
        lane.flights.push_back(Flight { after, ends });
    }
}

/// With less room than this it is not worth to begin a frame.
const ROOM_MIN: usize = 8 * 1_024;

impl<M: Media, G: Gate> Core<M, G> {
    /// Why records of a stream of this node are missing from an offset on.
    fn gap_reason(&self, ix: StreamIx, from: Offset) -> GapReason {
        let losses = self.journal.losses().iter();
        let here = |loss: &&landfall_core::tables::Loss| {
            loss.stream.is_some_and(|(of, _)| of == ix) && loss.from <= from && from < loss.to
        };
        let loss = losses.rev().find(here).and_then(|loss| loss.reason);
        let branch = self.journal.frontier().branch(ix, BranchIx::MAIN);
        match (loss, branch) {
            (Some(reason), _) => reason,
            (None, Some(branch)) if branch.root > from => match self.rooted_at.log() {
                // Another root was never promised them.
                Some(log) if self.root_log.is_some_and(|root| root != log) => {
                    GapReason::NeverReceived
                }
                _ => GapReason::AcknowledgedThenLost,
            },
            (None, Some(branch)) if branch.hop > from => GapReason::HopLost,
            _ => GapReason::Dropped,
        }
    }

    /// The upstream node wants a stream again.
    pub(crate) fn on_need_from(&mut self, state: &mut LinkState, want: &StreamPoint<'_>) {
        let (Some(sender), Some(ix)) =
            (&mut state.sender, self.journal.frontier().find(want.stream))
        else {
            return;
        };
        sender.let_go(ix);
        sender.lowered.insert(ix, want.next);
        sender.sent.insert(ix, want.next);
        if let Some((lane, cursor)) = self.place_of(ix, want.next) {
            let lane = sender.lanes.entry(lane).or_default();
            if (cursor.segment, cursor.at) < (lane.cursor.segment, lane.cursor.at) {
                lane.cursor = cursor;
                lane.flights.clear();
            }
        } else if want.stream.origin == self.settings.site {
            let lane = self.lane_of_topic(want.stream.topic);
            let lane = sender.lanes.entry(lane).or_default();
            lane.gone.push_back((ix, want.next));
        } else {
            sender.held_back.insert(ix);
            let point = Point { epoch: want.epoch, next: want.next, hash: want.hash };
            self.notes.push_back(Note::Wanted(ix, point));
        }
    }

    /// The upstream node does not take a stream.
    pub(crate) fn on_refused(&mut self, state: &mut LinkState, refused: &Refused<'_>) {
        let (Some(sender), Some(ix)) =
            (&mut state.sender, self.journal.frontier().find(refused.stream))
        else {
            return;
        };
        sender.held_back.insert(ix);
        let text = format!("{} does not take it: {}", state.peer_name(), refused.text);
        self.alarm(AlarmKind::Stalled, self.stream_name(ix), text);
    }
}

impl<M: Media, G: Gate> Node<M, G> {
    /// The upstream node wants a stream again that came from below: whoever sent it is asked.
    pub(crate) fn pass_wanted(&mut self, ix: StreamIx, point: Point) {
        for link in self.links.values_mut() {
            let below = link.state.direction == Direction::Down;
            if below && link.state.feeds.contains_key(&ix) {
                link.state.says.push_back(super::link::Say::NeedFrom(ix, point));
            }
        }
    }
}
