//! Ingest: an entry from a peer is judged as a whole, and either staged, dropped, or wanted again.

use std::collections::BTreeMap;

use landfall_core::batch::{Batch, batches};
use landfall_core::codec::{Malformed, Writer};
use landfall_core::entry::{Hop, Kind, hops};
use landfall_core::frontier::{
    Branch, BranchIx, BranchKind, Frontier, FrontierFault, Point, StreamIx,
};
use landfall_core::hash::StreamHash;
use landfall_core::journal::StageError;
use landfall_core::limits::HOPS_MAX;
use landfall_core::media::Media;
use landfall_core::name::StreamId;
use landfall_core::num::{Lane, Offset};
use landfall_protocol::message::{Entry, Purpose, RefusedCode};
use landfall_protocol::session::Fault;
use landfall_protocol::time::Duration;

use super::feed::Feed;
use super::link::{LinkState, OwnedStream, Say};
use super::promise;
use super::unread::Unjudged;
use super::verdict::{Verdict, View};
use super::{Core, Direction, Gate, Now, Offence};
use crate::checksum;

/// Streams of one origin that peers may begin here, so that none takes the places of all others.
/// The footer of a segment has room for some 2,500; with more, each entry could begin a segment.
const STREAMS_PER_ORIGIN_MAX: usize = 2_000;
/// Streams that a peer is told in one session not to be taken.
const REFUSED_MAX: usize = 4_096;

/// A batch with what it is to this node.
pub(crate) struct Judged<'a> {
    pub(crate) ix: StreamIx,
    pub(crate) batch: Batch<'a>,
    pub(crate) verdict: Verdict,
    /// Whether it lies inside of a gap.
    late: bool,
}

impl Judged<'_> {
    pub(crate) fn is_late_of(&self, ix: StreamIx) -> bool {
        self.late && self.ix == ix
    }

    pub(crate) fn is_current_of(&self, ix: StreamIx) -> bool {
        !self.late && self.ix == ix
    }

    /// Where it begins and ends.
    pub(crate) fn ends(&self) -> (Point, Point) {
        let head = &self.batch.head;
        let point = |next, hash| Point { epoch: head.epoch, next, hash: Some(hash) };
        (point(head.base, head.before), point(head.end(), head.after))
    }

    /// Where it ends, if it is a repair of that stream.
    pub(crate) fn repaired(&self, ix: StreamIx) -> Option<Point> {
        let repairs = self.ix == ix && self.verdict == Verdict::Repair;
        repairs.then_some(self.ends().1)
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// An entry came in on a lane.
    pub(crate) fn on_entry(
        &mut self,
        state: &mut LinkState,
        lane: Lane,
        entry: &Entry<'_>,
        now: Now,
    ) -> Result<(), Fault> {
        let body = self
            .codec
            .unpack(entry.codec, entry.body, entry.body_len)
            .map_err(|_| Offence::BodyLength.fault())?;
        if checksum().of(&body) != entry.body_crc {
            return Err(Offence::BodyChecksum.fault());
        }
        let down = entry.purpose == Purpose::Down;
        if down && state.direction == Direction::Down {
            return Err(Offence::WrongDirection.fault());
        }
        let waits = if down { state.room_at.is_some() } else { state.returns_wait };
        if entry.purpose != Purpose::Uplink && waits {
            return Ok(());
        }
        let lane = if down { self.lane_of_body(&body)? } else { lane };
        let again = note_seq(state, lane, entry);
        let mut judged: Vec<Judged<'_>> = Vec::new();
        for batch in batches(&body, checksum()) {
            let batch = batch.map_err(|_| Offence::MalformedBatch.fault())?;
            if !self.is_allowed(state, entry, batch.head.stream)? {
                continue;
            }
            self.check_batch(&batch, entry.purpose).map_err(Offence::fault)?;
            let Some(ix) = self.stream_of_peer(batch.head.stream) else {
                self.refuse_stream(state, batch.head.stream, RefusedCode::TooLarge)?;
                continue;
            };
            let (epoch, next) = (batch.head.epoch, batch.head.end());
            state.note_own_end(ix, Point { epoch, next, hash: Some(batch.head.after) });
            let feed = state.feeds.get(&ix).cloned().unwrap_or_default();
            if feed.is_given_up() {
                // What it is joined with must not wait with it.
                continue;
            }
            match self.judge_parts(ix, &batch, &feed, &mut judged) {
                Ok(()) => {}
                Err(Unjudged::Malformed) => return Err(Offence::MalformedBatch.fault()),
                Err(Unjudged::Unread(error)) => {
                    self.put_off(state, error);
                    return Ok(());
                }
            }
        }
        if again {
            self.note_replay(state, entry, &judged);
        }
        if self.want_again(state, &judged) {
            return Ok(());
        }
        let lane = match (entry.purpose, judged.first()) {
            (Purpose::Return, Some(first)) => self.lane_of_topic(first.batch.head.stream.topic),
            _ => lane,
        };
        self.take_entry(state, lane, entry, &judged, now)
    }

    /// Whether the peer may send records of that stream.
    fn is_allowed(
        &mut self,
        state: &mut LinkState,
        entry: &Entry<'_>,
        stream: StreamId<'_>,
    ) -> Result<bool, Fault> {
        let own = stream.origin == self.settings.site;
        if entry.purpose == Purpose::Return {
            return if own { Ok(true) } else { Err(Offence::ForeignReturn.fault()) };
        }
        let Some(site) = state.site.clone() else {
            return Err(Offence::WrongState.fault());
        };
        let sends = self.check_sender(state, &site, stream);
        let passed = |hop: Hop<'_>| hop.site == self.settings.site;
        // Records of its own come in again only from a hub that it forwards to.
        let own = own && !self.uplinks.are_several();
        let again = !self.settings.in_group && hops(entry.path).flatten().any(passed);
        let looped = own || again;
        let code = if looped || hops(entry.path).count() >= HOPS_MAX {
            RefusedCode::Loop
        } else if let Err(code) = sends {
            code
        } else if self.topics.of(stream.topic).is_none() {
            RefusedCode::UnknownTopic
        } else {
            return Ok(true);
        };
        self.refuse_stream(state, stream, code)?;
        Ok(false)
    }

    /// A batch as a whole: full, and at a root or right before Kafka, with the stream hash that its
    /// records give. Stored under a false one there, it could be told from damage by nobody. A
    /// relay does no work for single records, and leaves that to the root.
    fn check_batch(&self, batch: &Batch<'_>, purpose: Purpose) -> Result<(), Offence> {
        if batch.head.partial {
            return Err(Offence::MalformedBatch);
        }
        if self.settings.upstream && !self.settings.verifies && purpose != Purpose::Down {
            return Ok(());
        }
        batch.verify().map_err(|why| match why {
            Malformed::Checksum => Offence::FalseHash,
            _ => Offence::MalformedBatch,
        })
    }

    /// Tells the peer, once, that records of a stream are not taken.
    ///
    /// # Errors
    /// It was told so of too many streams.
    pub(crate) fn refuse_stream(
        &mut self,
        state: &mut LinkState,
        stream: StreamId<'_>,
        code: RefusedCode,
    ) -> Result<(), Fault> {
        let known = Some(code).filter(|code| *code == RefusedCode::NotAllowedTopic);
        let known = known.and_then(|_| self.gate.why_not(stream.origin, stream.topic));
        let ask = || match code {
            RefusedCode::Loop => format!(
                "{code}. What came down does not go up: set its topic to `replicate = \"never\"`, \
                 or to `down` again"
            ),
            _ => format!("{code}: ask the operator of {}", self.settings.site),
        };
        let text = known.unwrap_or_else(ask);
        let alarm = format!("it sent records of {stream}, which are not taken: {code}");
        self.offence(state, Offence::of_refusal(code), &alarm);
        if state.refused.len() >= REFUSED_MAX {
            return Err(Offence::RefusalFlood.fault());
        }
        if state.refused.insert(stream.to_string()) {
            let stream = OwnedStream::from(stream);
            state.says.push_back(Say::Refused { stream, code, text });
        }
        Ok(())
    }

    /// The place of a peer's stream: none if there are too many, of its origin or in all.
    pub(crate) fn stream_of_peer(&mut self, stream: StreamId<'_>) -> Option<StreamIx> {
        let frontier = self.journal.frontier();
        if let Some(ix) = frontier.find(stream) {
            return Some(ix);
        }
        let all = self.streams_of.get_or_insert_with(|| {
            let mut counts = BTreeMap::new();
            for ix in (0..frontier.streams()).map(StreamIx) {
                *counts.entry(frontier.name(ix).origin.to_owned()).or_default() += 1;
            }
            counts
        });
        let count = all.entry(stream.origin.to_owned()).or_default();
        if *count >= STREAMS_PER_ORIGIN_MAX {
            return None;
        }
        let ix = self.journal.frontier_mut().add(stream).ok()?;
        *count += 1;
        Some(ix)
    }

    /// An entry came again that nobody asked for. A relay does that by itself when it goes on with
    /// what it had to ask for below: what it repeats had no promise yet, so all of it was under way
    /// at once. More than that is a replay. It is judged like any other, and costs only time.
    fn note_replay(&mut self, state: &mut LinkState, entry: &Entry<'_>, judged: &[Judged<'_>]) {
        if judged.iter().any(|item| item.verdict != Verdict::Had) {
            state.repeated = 0;
            return;
        }
        state.repeated += entry.body.len() as u64;
        if state.repeated > self.credit_bytes() {
            self.offence(state, Offence::Replay, "it sends again what it has sent");
        }
    }

    fn judge_parts<'a>(
        &mut self,
        ix: StreamIx,
        batch: &Batch<'a>,
        feed: &Feed,
        judged: &mut Vec<Judged<'a>>,
    ) -> Result<(), Unjudged> {
        for (verdict, batch) in self.repairs(ix, batch, judged)? {
            if let Some(verdict) = verdict {
                judged.push(Judged { ix, batch, verdict, late: false });
                continue;
            }
            for part in self.at_beginning(ix, &batch)? {
                for (inside, batch) in self.parts(ix, &part)? {
                    let late = inside && !self.goes_on_from_tip(ix, &batch, judged);
                    let verdict = match late {
                        true => self.judge_late(ix, &batch, judged)?,
                        false => self.judge_batch(ix, &batch, feed, judged)?,
                    };
                    judged.push(Judged { ix, batch, verdict, late });
                }
            }
        }
        Ok(())
    }

    fn take_entry(
        &mut self,
        state: &mut LinkState,
        lane: Lane,
        entry: &Entry<'_>,
        judged: &[Judged<'_>],
        now: Now,
    ) -> Result<(), Fault> {
        let (mut body, mut repair) = (Vec::new(), Vec::new());
        for item in judged {
            match item.verdict {
                Verdict::Repair => raw(&mut repair, &item.batch),
                Verdict::Next(_) | Verdict::First => raw(&mut body, &item.batch),
                Verdict::Late => {
                    let head = &item.batch.head;
                    self.begin_branch(state, lane, item, (head.base, head.before))?;
                    raw(&mut body, &item.batch);
                }
                Verdict::Fork(from, before) => {
                    self.begin_branch(state, lane, item, (from, before))?;
                    cut(&mut body, &item.batch, from, before)
                        .map_err(|_| Offence::MalformedBatch.fault())?;
                }
                Verdict::Overlap(_, from, before) => {
                    cut(&mut body, &item.batch, from, before)
                        .map_err(|_| Offence::MalformedBatch.fault())?;
                }
                _ => {}
            }
        }
        for (kind, body) in [(Kind::Repair, &repair), (Kind::Data, &body)] {
            if body.is_empty() {
                continue;
            }
            // What comes back to its origin has passed nobody on its way from there.
            let returned = entry.purpose == Purpose::Return;
            let path = if returned { Vec::new() } else { self.path_here(state, entry.path, now) };
            if !self.stage_until(state, lane, |core| {
                core.journal.stage_body(lane, kind, &path, body).map(|_| ())
            })? {
                return Ok(());
            }
            self.payload.add_body(lane, body);
        }
        for item in judged {
            self.note_progress(state, item);
            self.give_up_what_parted(state, item);
        }
        Ok(())
    }

    /// Stages something that came from a peer. Returns false if there is no room and the peer was
    /// told to come back later.
    pub(crate) fn stage_until(
        &mut self,
        state: &mut LinkState,
        lane: Lane,
        mut stage: impl FnMut(&mut Self) -> Result<(), StageError>,
    ) -> Result<bool, Fault> {
        loop {
            match stage(self) {
                Ok(()) => return Ok(true),
                Err(StageError::OtherLane | StageError::CommitFull) => self.commit_staged(),
                Err(StageError::LaneFull) if self.room_for_peers(lane) => {}
                // What comes from above is kept there, and room is made by what goes up.
                Err(StageError::LaneFull) if state.direction == Direction::Up => {
                    match state.purpose {
                        Purpose::Down => self.wait_for_room(state, lane),
                        _ => state.returns_wait = true,
                    }
                    return Ok(false);
                }
                Err(StageError::LaneFull | StageError::Media(_)) => {
                    let code = landfall_protocol::message::GoodbyeCode::Overloaded {
                        retry_after: Duration::from_secs(10),
                    };
                    state.goodbye = Some((code, "there is no room; it is being made".into()));
                    return Ok(false);
                }
                Err(StageError::Frontier(FrontierFault::Misfit)) => {
                    // Two entries of one commit contradict each other in a way that each did not.
                    self.journal.abandon();
                    self.reset_links = true;
                    return Err(Offence::Contradiction.fault());
                }
                Err(_) => return Err(Offence::Contradiction.fault()),
            }
        }
    }

    fn begin_branch(
        &mut self,
        state: &mut LinkState,
        lane: Lane,
        item: &Judged<'_>,
        (from, before): (Offset, StreamHash),
    ) -> Result<(), Fault> {
        let head = &item.batch.head;
        let frontier = self.journal.frontier();
        let is_begun = |(_, branch): (_, Branch)| {
            let here = branch.tip.meets(from, before) && branch.first == head.epoch;
            here && branch.is_empty()
        };
        if frontier.branches(item.ix).any(is_begun) {
            return Ok(());
        }
        let at = Point { epoch: head.epoch, next: from, hash: Some(before) };
        let kind = if item.late { BranchKind::Late } else { BranchKind::Fork };
        match kind {
            BranchKind::Late => self.report_late(state, item.ix, head.base, head.end()),
            _ => self.report_fork(state, item.ix, at),
        }
        self.stage_branch(state, lane, item.ix, (kind, at, None))
    }

    /// The path that records took to here.
    fn path_here(&self, state: &LinkState, path: &[u8], now: Now) -> Vec<u8> {
        let mut bytes = vec![0; path.len() + 80];
        let mut writer = Writer::new(&mut bytes);
        let site = state.site.as_deref().unwrap_or_default();
        let hop = Hop { site, received: now.wall };
        let written = writer.bytes(path).and_then(|()| hop.encode(&mut writer));
        assert!(written.is_ok(), "a hop has a limit");
        let len = writer.len();
        bytes.truncate(len);
        bytes
    }

    /// Notes what an item of an entry has brought, or shown to be here.
    pub(crate) fn note_progress(&mut self, state: &mut LinkState, item: &Judged<'_>) {
        let (base, end) = item.ends();
        let branch = match item.verdict {
            Verdict::Repair => {
                // It is told when the root has it; what is here goes when it has been sent on.
                if let Some(branch) = self.branch_at(item.ix, end) {
                    promise::add(&mut state.told, item.ix, Some(branch), end);
                }
                return self.repaired(item.ix, end);
            }
            Verdict::Unproven => {
                state.feeds.entry(item.ix).or_default().repeat(base, end);
                state.unproven = Some(self.arrived_at.instant);
                return;
            }
            _ => self.branch_of(item.ix, base.next, end),
        };
        let feed = state.feeds.entry(item.ix).or_default();
        feed.goes_on(branch, base, end);
        if item.verdict != Verdict::Had {
            feed.note_news();
        }
        promise::add(&mut state.proven, item.ix, branch, end);
    }
}

/// Notes the seq of an entry. Whether it comes again, and nobody asked for it: entries come in the
/// order of their seqs.
fn note_seq(state: &mut LinkState, lane: Lane, entry: &Entry<'_>) -> bool {
    if entry.purpose != Purpose::Uplink || state.asked_again {
        return false;
    }
    let last = state.seqs.get(&lane).copied();
    state.seqs.insert(lane, last.map_or(entry.seq, |last| last.max(entry.seq)));
    last.is_some_and(|last| entry.seq <= last)
}

/// What the frontier will be once an earlier batch of the same entry is staged.
pub(crate) fn foresee(views: &mut Vec<View<'_>>, earlier: &Judged<'_>) {
    let head = &earlier.batch.head;
    let tip = Point { epoch: head.epoch, next: head.end(), hash: Some(head.after) };
    let moved = match earlier.verdict {
        Verdict::Next(at) | Verdict::Overlap(at, ..) => Some(at),
        Verdict::First | Verdict::Fork(..) | Verdict::Late => None,
        _ => return,
    };
    if let Some(view) = views.iter_mut().find(|view| Some(view.ix) == moved) {
        view.branch.tip = tip;
        return;
    }
    let none = Offset::ZERO;
    let kind = if earlier.late { BranchKind::Late } else { BranchKind::Fork };
    let (first, mut from) = (head.epoch, head.base);
    if let Verdict::Fork(at, _) = earlier.verdict {
        from = at;
    }
    let mark = (landfall_core::num::SegmentNo::ZERO, none);
    let branch = Branch { kind, first, from, tip, hop: none, root: none, mark, gaps: false };
    views.push(View { ix: BranchIx(views.len() as u16), branch, ladder: &[] });
}

fn raw(body: &mut Vec<u8>, batch: &Batch<'_>) {
    let at = body.len();
    body.resize(at + batch.head.encoded_len(), 0);
    let written = batch.head.encode(&mut Writer::new(&mut body[at..]), checksum());
    assert!(written.is_ok(), "room was made for the head");
    body.extend_from_slice(batch.records);
}

/// Appends the part of a batch that begins at `from`, where the stream hash is `before`.
fn cut(
    body: &mut Vec<u8>,
    batch: &Batch<'_>,
    from: Offset,
    before: StreamHash,
) -> Result<(), Malformed> {
    let mut skipped = 0;
    for placed in batch.records() {
        let placed = placed?;
        if placed.offset < from {
            skipped += placed.encoded.len();
        }
    }
    let records = batch.records.get(skipped..).ok_or(Malformed::Contradiction)?;
    let mut head = batch.head;
    let gone = from.since(head.base) as u32;
    (head.base, head.before) = (from, before);
    (head.span, head.records) = (head.span - gone, head.records - gone);
    head.len = records.len() as u32;
    raw(body, &Batch { head, records });
    Ok(())
}
