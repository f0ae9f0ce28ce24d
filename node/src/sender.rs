//! The sender: reads the lanes in order and sends what the upstream node does not have yet.
//!
//! Its place in a lane is a hint: a wrong one costs bytes, and the other end's frontier decides.
//! It begins behind what is known to be durable at the upstream node, or, if that is another node
//! than last time, behind what is durable at the root.

mod ends;
mod stated;
mod strands;
mod wanted;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use landfall_core::batch::Batch;
use landfall_core::entry::Kind;
use landfall_core::frontier::{BranchIx, Frontier, Point, StreamIx};
use landfall_core::journal::{Cursor, Entry, ReadStep, Reader};
use landfall_core::limits::JOINED_BYTES_MAX;
use landfall_core::media::Media;
use landfall_core::num::{Lane, Offset, Seq};
use landfall_protocol::channel::LaneIndex;
use landfall_protocol::message::{self, Features, LaneMessage, Purpose, Refused};

use super::joiner::Joiner;
use super::link::{Link, LinkState};
use super::note::Note;
use super::packing::{Bytes, Packing};
use super::progress::{Flight, LanePlace};
use super::repair::Repair;
use super::{AlarmKind, Core, Direction, Gate, Uplink};
use crate::checksum;

/// What is sent to the upstream node over one link.
#[derive(Debug)]
pub(crate) struct Sender {
    /// Only streams of this uplink are sent.
    pub(crate) uplink: Uplink,
    pub(crate) lanes: BTreeMap<Lane, LaneSender>,
    /// Whether it begins behind what the next node has, and not behind what the root has.
    from_hop: bool,
    /// Streams that were wanted again, and from where.
    pub(crate) lowered: BTreeMap<StreamIx, Offset>,
    /// Of streams that were wanted again: the branches of which something was sent since.
    pub(crate) resumed: BTreeSet<(StreamIx, BranchIx)>,
    /// How far each stream has been sent.
    pub(crate) sent: BTreeMap<StreamIx, Offset>,
    /// How far the next node has promised branches in this session.
    pub(crate) promised: BTreeMap<(StreamIx, BranchIx), Offset>,
    /// How far branches of streams that others write and that have forks were sent.
    strands: BTreeMap<(StreamIx, BranchIx), Offset>,
    /// Streams of which something comes from below again.
    pub(crate) repairs: BTreeMap<StreamIx, Repair>,
    /// What is wanted of streams of which another branch is coming again.
    pub(crate) queued: VecDeque<(StreamIx, Point)>,
    /// Streams that the upstream node does not take, or that wait for what is missing.
    pub(crate) held_back: BTreeSet<StreamIx>,
    pub(crate) packing: Packing,
}

#[derive(Debug, Default)]
pub(crate) struct LaneSender {
    pub(crate) cursor: Cursor,
    /// Frames that are made and wait to be polled.
    pub(crate) ready: VecDeque<Vec<u8>>,
    pub(crate) flights: VecDeque<Flight>,
    /// Streams whose end is stated to be missing.
    pub(crate) gone: VecDeque<(StreamIx, Offset)>,
    /// The last seqs that could not be read.
    missing: (Seq, Seq),
    /// Whether something was passed over that the next node has, and the root may not have.
    pub(crate) passed_unrooted: bool,
    /// Whether it was looked at the lane's end what is missing there.
    ends_known: bool,
    /// Bytes of room that the next entry takes, if it was looked at and had to wait.
    needs: usize,
}

impl Sender {
    pub(crate) fn new<M: Media, G: Gate>(core: &mut Core<M, G>, uplink: Uplink) -> Self {
        let above = core.uplinks.get_mut(uplink);
        let from_hop = above.as_ref().is_some_and(|above| above.promise.is_some() && !above.mixed);
        let (mut none, mut lanes) = (BTreeMap::new(), BTreeMap::new());
        let durable = above.map_or(&mut none, |above| &mut above.durable);
        for lane in (0..core.journal.lanes()).map(Lane::new) {
            let first = core.journal.first(lane);
            let place = durable.entry(lane).or_insert(LanePlace { hop: first, root: first });
            let cursor = if from_hop { place.hop } else { place.root };
            let cursor = later(cursor, first);
            lanes.insert(lane, LaneSender { cursor, ..LaneSender::default() });
        }
        Self {
            uplink,
            lanes,
            from_hop,
            lowered: BTreeMap::new(),
            resumed: BTreeSet::new(),
            sent: BTreeMap::new(),
            promised: BTreeMap::new(),
            strands: BTreeMap::new(),
            repairs: BTreeMap::new(),
            queued: VecDeque::new(),
            held_back: BTreeSet::new(),
            packing: Packing::new(core.counts_bytes()),
        }
    }

    /// The upstream node is another one than last time: begin behind what the root has.
    pub(crate) fn begin_at_root<M: Media, G: Gate>(&mut self, core: &Core<M, G>) {
        if !core::mem::take(&mut self.from_hop) {
            return;
        }
        self.sent.clear();
        self.strands.clear();
        for (lane, sender) in &mut self.lanes {
            let durable = core.uplinks.get(self.uplink).and_then(|above| above.durable.get(lane));
            let root = durable.map(|place| place.root).unwrap_or_default();
            sender.cursor = later(root, core.journal.first(*lane));
            sender.needs = 0;
            sender.passed_unrooted = false;
            sender.flights.clear();
        }
    }

    /// Holds a stream back. No promise will come for what was sent of it.
    pub(crate) fn hold_back(&mut self, ix: StreamIx) {
        self.held_back.insert(ix);
        let flights = self.lanes.values_mut().flat_map(|lane| &mut lane.flights);
        flights.for_each(|flight| flight.ends.retain(|(of, ..)| *of != ix));
    }

    /// Takes a stream up again that was held back.
    pub(crate) fn let_go(&mut self, ix: StreamIx) {
        self.held_back.remove(&ix);
        self.repairs.remove(&ix);
    }

    /// Goes back to a place of a lane, if it lies before the one where it is.
    pub(crate) fn rewind(&mut self, lane: Lane, cursor: Cursor) {
        let lane = self.lanes.entry(lane).or_default();
        // What was sent ahead of a sync that failed lies farther on now, under the same seqs.
        let place = |cursor: &Cursor| (cursor.seq, cursor.segment, cursor.at);
        if place(&cursor) < place(&lane.cursor) {
            lane.cursor = cursor;
            lane.needs = 0;
            // What was sent from before it is not sent again, and still waits for its promise.
            let before = |flight: &&Flight| place(&flight.after) < place(&cursor);
            let passed = lane.flights.iter().take_while(before).count();
            lane.flights.truncate(passed + 1);
            // What lies behind is sent again, in flights of its own.
            if let Some(last) =
                lane.flights.back_mut().filter(|last| place(&cursor) < place(&last.after))
            {
                last.after = cursor;
            }
        }
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
            let back = self.next_giveback(core, index);
            return back.or_else(|| self.next_copied(core, lane, index));
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

    /// Bytes that the next message of a lane may have. One that is longer than what may wait has
    /// the lane for itself.
    pub(crate) fn room<M: Media, G: Gate>(&self, core: &Core<M, G>, index: LaneIndex) -> usize {
        let room = self.session.lane_room(index);
        match self.session.lane_unsent(index) {
            0 => room,
            unsent => room.min(core.settings.lane_bytes.saturating_sub(unsent)),
        }
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
pub(crate) struct Pump<'a, M: Media, G> {
    link: &'a mut Link,
    pub(crate) core: &'a mut Core<M, G>,
    pub(crate) lane: Lane,
    index: LaneIndex,
    pub(crate) sender: &'a mut Sender,
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

    fn room(&self) -> usize {
        self.link.room(self.core, self.index)
    }

    /// Makes several frames at once: to read ahead for each of them alone would read most of the
    /// journal several times.
    fn fill(&mut self) {
        self.state_gone();
        self.advance_repairs();
        let room = self.room();
        if room < ROOM_MIN || self.core.waits_to_read() {
            return;
        }
        let mut buffer = core::mem::take(&mut self.core.scratch);
        // What there is no room for would be read ahead in vain.
        let len = buffer.len().min(room + ENTRY_OVERHEAD);
        let mut reader = Reader::new(buffer.get_mut(..len).unwrap_or_default());
        while self.join_next(&mut reader) && self.lane().ready.len() < READY_MAX {}
        self.core.scratch = buffer;
        self.state_gone();
    }

    /// Makes the frame of the next body. Whether there may be another at once.
    fn join_next(&mut self, reader: &mut Reader<'_>) -> bool {
        let room = self.room();
        // To look at the next entry costs a read, even if it has to wait.
        if room < self.lane().needs.max(ROOM_MIN) {
            return false;
        }
        let limit = JOINED_BYTES_MAX.min(room - ENTRY_OVERHEAD);
        let mut joiner = Joiner::default();
        let mut seq = None;
        let last = loop {
            let mut cursor = self.lane().cursor;
            let step = self.core.journal.read_on(self.lane, &mut cursor, reader);
            let turn = match step {
                ReadStep::Entry(entry) => {
                    seq = seq.or(Some(entry.header.seq));
                    self.turn(&entry, &mut joiner, limit, room)
                }
                ReadStep::Missing(first, end) => {
                    self.lane().missing = (first, end);
                    self.lane().ends_known = false;
                    Turn::On
                }
                ReadStep::TooLong(len) => {
                    self.lane().needs = len;
                    Turn::End
                }
                ReadStep::End => {
                    self.look_for_lost_ends();
                    Turn::End
                }
                ReadStep::Failed(error) => {
                    self.core.read_failed(error);
                    Turn::End
                }
            };
            match turn {
                Turn::On => self.lane().cursor = cursor,
                Turn::Flush | Turn::End => break turn,
            }
        };
        let joined = !joiner.is_empty();
        self.flush(&mut joiner, seq.unwrap_or_default());
        joined && matches!(last, Turn::Flush)
    }

    fn turn(&mut self, entry: &Entry<'_>, joiner: &mut Joiner, limit: usize, room: usize) -> Turn {
        match entry.header.kind {
            Kind::Data => {
                let wanted = self.wanted(entry);
                self.join(wanted, entry, joiner, limit, room)
            }
            Kind::Repair => {
                let (wanted, note) = self.sender.wanted_of_repair(self.core, entry);
                self.core.notes.extend(note);
                self.join(wanted, entry, joiner, limit, room)
            }
            Kind::Gap | Kind::Branch if !joiner.is_empty() => Turn::Flush,
            Kind::Gap => self.relay_gap(entry.body),
            Kind::Branch => self.relay_branch(entry.body),
            _ => Turn::On,
        }
    }

    fn join(
        &mut self,
        wanted: Vec<(StreamIx, Batch<'_>)>,
        entry: &Entry<'_>,
        joiner: &mut Joiner,
        limit: usize,
        room: usize,
    ) -> Turn {
        let head = |batch: &Batch<'_>| batch.head.encoded_len();
        let bytes: usize = wanted.iter().map(|(_, batch)| head(batch) + batch.records.len()).sum();
        if wanted.is_empty() {
            return Turn::On;
        }
        let needs = bytes + ENTRY_OVERHEAD;
        if !joiner.takes(entry.path, bytes, limit) || needs > room {
            self.lane().needs = needs;
            return Turn::Flush;
        }
        // What is said before a batch must not overtake what is joined so far.
        if !joiner.is_empty() && wanted.iter().any(|(ix, batch)| self.skips(*ix, batch)) {
            return Turn::Flush;
        }
        for (ix, batch) in &wanted {
            match self.prepare(*ix, batch) {
                Some(true) => {}
                Some(false) => continue,
                None => return Turn::Flush,
            }
            joiner.add(*ix, entry.path, batch);
            let sent = self.sender.sent.entry(*ix).or_default();
            *sent = batch.head.end().max(*sent);
            self.sender.note_repaired(*ix, batch);
        }
        Turn::On
    }

    /// Says what must be said before a batch: that its stream begins in its middle, or that
    /// something before it is missing. Whether it may be sent; none if it must wait for room.
    fn prepare(&mut self, ix: StreamIx, batch: &Batch<'_>) -> Option<bool> {
        let frontier = self.core.journal.frontier();
        let forked = frontier.branch(ix, BranchIx(1)).is_some();
        let own = self.core.is_own(ix);
        let (epoch, base) = (batch.head.epoch, batch.head.base);
        let at = Point { epoch, next: base, hash: Some(batch.head.before) };
        let end = Point { epoch, next: batch.head.end(), hash: Some(batch.head.after) };
        if forked && !own && !self.goes_on_with_strand(ix, batch) {
            return Some(false);
        }
        match self.sender.sent.get(&ix).copied() {
            None if base > Offset::ZERO => self.begin_in_the_middle(ix, at).then_some(true),
            Some(_) if forked => self.resume_branch(ix, batch).then_some(true),
            Some(sent) if base > sent.max(self.passed(ix, base, end)) => {
                if own {
                    return self.say_gap(ix, sent, at).then_some(true);
                }
                // Only its origin may say that it is gone.
                self.sender.hold_back(ix);
                self.sender.repairs.insert(ix, Repair::new(self.lane, at));
                let missing = Point { epoch, next: sent, hash: None };
                self.core.notes.push_back(Note::Wanted(ix, missing, at));
                Some(false)
            }
            _ => Some(true),
        }
    }

    fn ready(&mut self, frame: Option<Vec<u8>>) -> bool {
        let made = frame.is_some();
        self.lane().ready.extend(frame);
        made
    }

    fn flush(&mut self, joiner: &mut Joiner, seq: Seq) {
        if joiner.is_empty() {
            return;
        }
        let ends = joiner.ends().collect();
        let (records, path) = (joiner.records(), joiner.path().to_vec());
        let mut stored = core::mem::take(&mut self.core.body);
        joiner.take(&mut stored, |ix| self.core.journal.frontier().name(ix));
        let agreed = self.link.session.features();
        let agreed = if self.sender.packing.packs() { agreed } else { Features::NONE };
        let (codec, body) = self.core.codec.pack(&stored, agreed);
        let entry = message::Entry {
            purpose: Purpose::Uplink,
            seq,
            records,
            codec,
            body_len: stored.len() as u32,
            body_crc: checksum().of(&stored),
            path: &path,
            body,
        };
        let bytes = Bytes { stored: stored.len() as u64, sent: body.len() as u64 };
        let frame = self.link.frame(self.index, &LaneMessage::Entry(entry));
        assert!(frame.is_some(), "what was joined fits the room there was");
        self.ready(frame);
        stored.shrink_to(JOINED_BYTES_MAX);
        self.core.body = stored;
        let lane = self.lane();
        let after = lane.cursor;
        lane.flights.push_back(Flight { after, ends, bytes });
    }
}

/// Frames that are made at once: as many full bodies as are read ahead.
const READY_MAX: usize = 4;
/// With less room than this it is not worth to begin a frame.
pub(crate) const ROOM_MIN: usize = 8 * 1_024;

impl<M: Media, G: Gate> Core<M, G> {
    /// The peer does not take a stream, or the upstream node does not send a topic down.
    pub(crate) fn on_refused(&mut self, state: &mut LinkState, refused: &Refused<'_>) {
        if state.direction == Direction::Down {
            return self.on_copy_refused(state, refused.stream);
        }
        if self.on_topic_refused(state, refused) {
            return;
        }
        let (Some(sender), Some(ix)) =
            (&mut state.sender, self.journal.frontier().find(refused.stream))
        else {
            return;
        };
        sender.hold_back(ix);
        state.owed.remove(&ix);
        let text = format!("{} does not take it: {}", state.peer_name(), refused.text);
        self.alarm(AlarmKind::Stalled, self.stream_name(ix), text);
    }
}
