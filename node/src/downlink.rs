//! The downlink: sends a peer below what it lacks of a topic that it asked for. It reads the
//! topic's lane in order, passes over segments without news by their footers, and waits at the end.

mod turn;

use landfall_core::frontier::{BranchIx, Frontier, StreamIx};
use landfall_core::journal::{ReadStep, Reader};
use landfall_core::media::{Media, MediaError};
use landfall_core::num::{Lane, Offset, SegmentNo, Seq};
use landfall_protocol::channel::LaneIndex;
use landfall_protocol::message::{self, LaneMessage, Purpose};

use super::joiner::Joiner;
use super::link::Link;
use super::sender::{ENTRY_OVERHEAD, ROOM_MIN};
use super::subscription::{Copied, Subscription};
use super::{Core, Gate};
use crate::checksum;

/// Bytes of the journal that are read in one turn: others wait meanwhile.
const TURN_BYTES_MAX: usize = 4 * 1_024 * 1_024;
/// What a look into a footer counts for.
const FOOTER_BYTES: usize = 64 * 1_024;

impl Link {
    /// The next frame of a topic that the peer asked for.
    pub(crate) fn next_copied<M: Media, G: Gate>(
        &mut self,
        core: &mut Core<M, G>,
        lane: Lane,
        index: LaneIndex,
    ) -> Option<Vec<u8>> {
        if self.state.subscriptions.all.is_empty() || !self.session.is_open() {
            return None;
        }
        let site = self.state.site.clone()?;
        let mut all = core::mem::take(&mut self.state.subscriptions.all);
        let mut bytes = None;
        for _ in 0..all.len() {
            let Some(mut of) = all.pop_front() else { break };
            if let Some(mut copied) = of.lanes.remove(&lane) {
                let (site, of, copied_here) = (site.as_str(), &mut of, &mut copied);
                let mut copy =
                    Copying { link: self, core, lane, index, site, of, copied: copied_here };
                bytes = copy.next();
                of.lanes.insert(lane, copied);
            }
            all.push_back(of);
            if bytes.is_some() {
                break;
            }
        }
        self.state.subscriptions.all = all;
        bytes
    }

    /// Whether there is more to be read for the peer at once.
    pub(crate) fn reads_on(&self) -> bool {
        let mut lanes = self.state.subscriptions.all.iter().flat_map(|of| of.lanes.values());
        lanes.any(|copied| copied.reads_on)
    }
}

/// One lane of a subscription of a link, while frames are made for it.
struct Copying<'a, M: Media, G> {
    link: &'a mut Link,
    core: &'a mut Core<M, G>,
    lane: Lane,
    index: LaneIndex,
    site: &'a str,
    of: &'a mut Subscription,
    /// Its lane, which is not with it meanwhile.
    copied: &'a mut Copied,
}

/// What becomes of the next entry of the lane.
enum Turn {
    /// It was dealt with.
    On,
    /// It must wait until what is joined so far has been sent, or until there is room.
    Wait,
    /// Another segment begins.
    Out,
    /// There is nothing behind.
    End,
}

impl<M: Media, G: Gate> Copying<'_, M, G> {
    fn next(&mut self) -> Option<Vec<u8>> {
        self.copied.reads_on = false;
        if self.copied.ready.is_empty() && !self.core.waits_to_read() {
            self.fill();
        }
        self.copied.ready.pop_front()
    }

    fn fill(&mut self) {
        let needs = self.copied.needs.max(ROOM_MIN);
        let ended = self.copied.ended_at == Some(self.core.journal.last_commit());
        if ended && (self.of.level || !self.others_ended())
            || self.link.room(self.core, self.index) < needs
        {
            return;
        }
        let mut buffer = core::mem::take(&mut self.core.scratch);
        let mut joiner = Joiner::default();
        let ended = self.read(&mut buffer, &mut joiner);
        self.core.scratch = buffer;
        self.flush(&mut joiner);
        match ended {
            Ok(true) => self.end(),
            Ok(false) => {}
            Err(error) => self.core.read_failed(error),
        }
    }

    /// Joins what is next. Whether the lane's end was reached.
    fn read(&mut self, buffer: &mut [u8], joiner: &mut Joiner) -> Result<bool, MediaError> {
        let mut spent = 0;
        loop {
            if self.copied.inside.is_none() && !self.enter(buffer, &mut spent)? {
                return Ok(self.copied.inside.is_none() && !self.copied.reads_on);
            }
            let mut reader = Reader::new(buffer);
            let turn = self.read_inside(&mut reader, joiner, &mut spent)?;
            match turn {
                Turn::Out => self.copied.inside = None,
                Turn::End => return Ok(true),
                Turn::On | Turn::Wait => return Ok(false),
            }
        }
    }

    /// Reads in one segment. `On` if the turn is over.
    fn read_inside(
        &mut self,
        reader: &mut Reader<'_>,
        joiner: &mut Joiner,
        spent: &mut usize,
    ) -> Result<Turn, MediaError> {
        loop {
            if *spent > TURN_BYTES_MAX {
                self.copied.reads_on = true;
                return Ok(Turn::On);
            }
            let mut cursor = self.copied.cursor;
            let step = self.core.journal.read_on(self.lane, &mut cursor, reader);
            let turn = match step {
                ReadStep::Failed(error) => return Err(error),
                ReadStep::End | ReadStep::TooLong(_) => Turn::End,
                _ if self.copied.inside != Some(cursor.segment) => {
                    // It is looked at from its start, or passed over.
                    let start = self.core.journal.segment_from(self.lane, cursor.segment);
                    self.copied.cursor = start.unwrap_or(cursor);
                    return Ok(Turn::Out);
                }
                ReadStep::Missing(..) => Turn::On,
                ReadStep::Entry(entry) => {
                    *spent += ENTRY_OVERHEAD + entry.body.len();
                    self.turn(&entry, joiner)
                }
            };
            if !matches!(turn, Turn::On) {
                return Ok(turn);
            }
            self.copied.move_to(cursor);
        }
    }

    /// Finds the next segment that may have news. Whether there is one; if not, the cursor is at
    /// the lane's end, or the turn is over.
    fn enter(&mut self, buffer: &mut [u8], spent: &mut usize) -> Result<bool, MediaError> {
        loop {
            let place = self.copied.cursor;
            let Some(start) = self.core.journal.segment_from(self.lane, place.segment) else {
                return Ok(false);
            };
            let is_last =
                self.core.journal.segment_from(self.lane, start.segment.plus(1)).is_none();
            if start.segment != place.segment {
                self.copied.move_to(start);
            }
            let settled =
                self.core.journal.staged_bytes() == 0 && self.core.journal.in_flight().is_none();
            let worth = match is_last {
                true => !settled || self.core.has_news(self.of, self.copied, self.site),
                false => self.is_told_of_news(start.segment, buffer)?,
            };
            if worth {
                self.copied.inside = Some(start.segment);
                return Ok(true);
            }
            *spent += FOOTER_BYTES;
            if let Some(until) = self.copied.until.filter(|until| until.segment <= start.segment) {
                // From there on, all streams are sent.
                self.copied.move_to(until);
                continue;
            }
            let next = self.core.journal.segment_from(self.lane, start.segment.plus(1));
            self.copied.move_to(next.unwrap_or_else(|| self.core.journal.last(self.lane)));
            if is_last {
                return Ok(false);
            }
            if *spent > TURN_BYTES_MAX {
                self.copied.reads_on = true;
                return Ok(false);
            }
        }
    }

    /// Whether a segment's footer tells of something that the peer lacks.
    fn is_told_of_news(
        &mut self,
        segment: SegmentNo,
        buffer: &mut [u8],
    ) -> Result<bool, MediaError> {
        let (core, of, copied, site) = (&*self.core, &*self.of, &*self.copied, self.site);
        let mut news = false;
        core.journal.tell_segment(self.lane, segment, buffer, &mut |span| {
            if news || span.stream.topic != of.topic || span.stream.origin == site {
                return;
            }
            let frontier = core.journal.frontier();
            let Some(ix) = frontier.find(span.stream).filter(|ix| !of.passes_over(copied, *ix))
            else {
                return;
            };
            let named = span.branch.and_then(|name| frontier.named(ix, name));
            let at = named.or_else(|| core.branch_of(ix, span.from, span.to));
            news = core.lacks(of, ix, at, span.to.next);
        })?;
        Ok(news)
    }

    fn ready(&mut self, frame: Option<Vec<u8>>) -> bool {
        let made = frame.is_some();
        self.copied.ready.extend(frame);
        made
    }

    /// All that is stored was sent. What is committed from now on is news.
    fn end(&mut self) {
        let journal = &self.core.journal;
        if journal.staged_bytes() == 0 && journal.in_flight().is_none() {
            self.copied.ended_at = Some(journal.last_commit());
            // The next look begins with the question whether there is news at all.
            self.copied.inside = None;
        }
        if !self.of.level && self.others_ended() {
            let topic = self.of.topic.clone();
            let frame = self.link.frame(self.index, &LaneMessage::Level(&topic));
            self.of.level = self.ready(frame);
        }
    }

    fn others_ended(&self) -> bool {
        self.of.lanes.values().all(|copied| copied.ended_at.is_some())
    }

    fn flush(&mut self, joiner: &mut Joiner) {
        if joiner.is_empty() {
            return;
        }
        let (records, path) = (joiner.records(), joiner.path().to_vec());
        let mut stored = Vec::new();
        joiner.take(&mut stored, |ix| self.core.journal.frontier().name(ix));
        let (codec, body) = self.core.codec.pack(&stored, self.link.session.features());
        let entry = message::Entry {
            purpose: Purpose::Down,
            seq: Seq::ZERO,
            records,
            codec,
            body_len: stored.len() as u32,
            body_crc: checksum().of(&stored),
            path: &path,
            body,
        };
        let frame = self.link.frame(self.index, &LaneMessage::Entry(entry));
        assert!(frame.is_some(), "what was joined fits the room there was");
        self.ready(frame);
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// Whether a peer lacks something of a branch up to an offset. If it can't be told which branch
    /// that is, all must have come there.
    fn lacks(&self, of: &Subscription, ix: StreamIx, at: Option<BranchIx>, end: Offset) -> bool {
        let reached = match at {
            Some(at) => Some(self.reached(of, ix, at)),
            None => {
                let branches = self.journal.frontier().branches(ix);
                branches.map(|(at, _)| self.reached(of, ix, at)).min()
            }
        };
        reached.unwrap_or_default() < end
    }
}
