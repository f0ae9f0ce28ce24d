//! Subscriptions: the topics of which a peer below asked for a copy, and how far it has each of
//! their streams. That is a hint: a wrong one costs bytes, and the frontier of the peer decides.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use landfall_core::frontier::{Branch, BranchIx, BranchKind, Frontier, Point, StreamIx};
use landfall_core::journal::Cursor;
use landfall_core::media::Media;
use landfall_core::name::{StreamId, topic_is_internal};
use landfall_core::num::{CommitNo, Lane, Offset, Partition, SegmentNo};
use landfall_protocol::message::{RefusedCode, StreamPoint, Subscribe};
use landfall_protocol::session::Fault;

use super::link::{LinkState, OwnedStream, Say};
use super::{Core, Direction, Gate, Node, Offence};

/// Topics that a peer may ask for in a session.
const TOPICS_MAX: usize = 256;
/// Ends of branches of one stream that a peer may tell; what it has of more is sent to it again.
const ENDS_MAX: usize = 64;
/// How often a peer may ask for something in a session. One that finds something missing asks again
/// for each stream that it concerns.
const ASKS_MAX: u32 = 10_000;

/// What a peer asked for, and how often.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    /// The one that is to be served next is in front.
    pub(crate) all: VecDeque<Subscription>,
    asks: u32,
}

/// A topic that a peer wants a copy of.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) topic: String,
    /// Whether the peer has told all that it has.
    pub(crate) told: bool,
    /// The ends of branches that it had when it asked.
    held: BTreeMap<StreamIx, Vec<Point>>,
    /// How far branches were sent, or stated to be missing, since.
    pub(crate) sent: BTreeMap<(StreamIx, BranchIx), Offset>,
    /// Streams that it wanted again, and from where.
    wanted: BTreeMap<StreamIx, Offset>,
    /// Streams that it does not take.
    refused: BTreeSet<StreamIx>,
    /// Whether it was told that all was sent that had been there.
    pub(crate) level: bool,
    /// What is sent from each lane. A topic may lie in several: who brings it says by its own
    /// lanes where it goes.
    pub(crate) lanes: BTreeMap<Lane, Copied>,
}

/// How far a lane was read for a topic that a peer wants a copy of.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    /// All before it was sent, if it was to be.
    pub(crate) cursor: Cursor,
    /// Streams that are being sent again, until the cursor is where it was.
    again: BTreeSet<StreamIx>,
    pub(crate) until: Option<Cursor>,
    /// The segment that is being read.
    pub(crate) inside: Option<SegmentNo>,
    /// The last commit when the cursor was at the lane's end.
    pub(crate) ended_at: Option<CommitNo>,
    /// Bytes of room that the next entry takes, if it had to wait.
    pub(crate) needs: usize,
    /// Whether there is more to be read at once.
    pub(crate) reads_on: bool,
    /// Frames that are made.
    pub(crate) ready: VecDeque<Vec<u8>>,
}

impl Subscription {
    fn new(topic: &str) -> Self {
        Self {
            topic: topic.into(),
            told: false,
            held: BTreeMap::new(),
            sent: BTreeMap::new(),
            wanted: BTreeMap::new(),
            refused: BTreeSet::new(),
            level: false,
            lanes: BTreeMap::new(),
        }
    }

    /// Whether the peer is known to have something of a stream.
    pub(crate) fn knows(&self, ix: StreamIx) -> bool {
        let any = (ix, BranchIx::MAIN)..=(ix, BranchIx(u16::MAX));
        let sent = self.sent.range(any).next().is_some();
        sent || self.held.contains_key(&ix) || self.wanted.contains_key(&ix)
    }

    /// Whether a stream is not sent from a lane: the peer does not take it, or has it while others
    /// are sent again.
    pub(crate) fn passes_over(&self, copied: &Copied, ix: StreamIx) -> bool {
        let others = copied.until.is_some() && !copied.again.contains(&ix);
        others || self.refused.contains(&ix)
    }

    /// The peer wants a stream again from an offset on.
    fn send_again(&mut self, ix: StreamIx, from: Offset) {
        let lowest = self.wanted.entry(ix).or_insert(from);
        *lowest = from.min(*lowest);
        self.held.remove(&ix);
        self.sent.retain(|(of, _), _| *of != ix);
    }
}

impl Copied {
    pub(crate) fn new(cursor: Cursor) -> Self {
        Self { cursor, ..Self::default() }
    }

    /// Begins anew with a stream, and goes on with the others where it is now.
    fn rewind(&mut self, first: Cursor, ix: StreamIx) {
        self.again.insert(ix);
        let until = self.until.unwrap_or(self.cursor);
        self.until = Some(if is_before(&until, &self.cursor) { self.cursor } else { until });
        (self.cursor, self.inside, self.ended_at, self.needs) = (first, None, None, 0);
    }

    pub(crate) fn move_to(&mut self, cursor: Cursor) {
        self.cursor = cursor;
        if self.until.is_some_and(|until| !is_before(&cursor, &until)) {
            self.until = None;
            self.again.clear();
        }
    }
}

/// Whether a place of a lane lies before another.
pub(crate) fn is_before(cursor: &Cursor, other: &Cursor) -> bool {
    let place = |cursor: &Cursor| (cursor.segment, cursor.at, cursor.seq);
    place(cursor) < place(other)
}

/// The streams of each topic, found as they come to be.
#[derive(Debug, Default)]
pub(crate) struct TopicStreams {
    of: BTreeMap<String, Vec<StreamIx>>,
    known: u32,
}

impl TopicStreams {
    pub(crate) fn of(&mut self, frontier: &impl Frontier, topic: &str) -> &[StreamIx] {
        let streams = frontier.streams();
        if self.known > streams {
            *self = Self::default();
        }
        for ix in (self.known..streams).map(StreamIx) {
            self.of.entry(frontier.name(ix).topic.to_owned()).or_default().push(ix);
        }
        self.known = streams;
        self.of.get(topic).map(Vec::as_slice).unwrap_or_default()
    }
}

impl<M: Media, G: Gate> Node<M, G> {
    /// Ends the subscriptions of peers that may not have them any more.
    pub(crate) fn end_foreign_subscriptions(&mut self) {
        for link in self.links.values_mut().filter(|link| link.state.direction == Direction::Down) {
            let Some(site) = link.state.site.clone() else { continue };
            let all = &link.state.subscriptions.all;
            let ended = all.iter().filter(|of| !self.core.gate.may_subscribe(&site, &of.topic));
            let ended: Vec<_> = ended.map(|of| of.topic.clone()).collect();
            for topic in ended {
                self.core.refuse_topic(&mut link.state, &topic, RefusedCode::NotAllowedTopic);
            }
        }
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// A peer asks for a topic.
    pub(crate) fn on_subscribe(
        &mut self,
        state: &mut LinkState,
        asked: &Subscribe<'_>,
    ) -> Result<(), Fault> {
        if state.direction == Direction::Up {
            return Err(Offence::WrongDirection.fault());
        }
        count_ask(state)?;
        let site = state.site.clone().unwrap_or_default();
        let allowed = self.gate.may_subscribe(&site, asked.topic);
        if topic_is_internal(asked.topic) || !allowed {
            let text = format!("it asked for the topic {}, which it may not have", asked.topic);
            self.offence(state, Offence::ForeignSubscription, &text);
            self.refuse_topic(state, asked.topic, RefusedCode::NotAllowedTopic);
            return Ok(());
        }
        if self.topics.of(asked.topic).is_none() {
            self.refuse_topic(state, asked.topic, RefusedCode::UnknownTopic);
            return Ok(());
        }
        let all = &mut state.subscriptions.all;
        // What was told whole and is asked for again begins anew.
        all.retain(|of| of.topic != asked.topic || !of.told);
        let known = all.iter().position(|of| of.topic == asked.topic);
        if known.is_none() && all.len() >= TOPICS_MAX {
            return Err(Offence::SubscriptionFlood.fault());
        }
        let mut of =
            known.and_then(|at| all.remove(at)).unwrap_or_else(|| Subscription::new(asked.topic));
        for point in asked.held.iter() {
            let Some(ix) = self.journal.frontier().find(point.stream) else { continue };
            let ends = of.held.entry(ix).or_default();
            if ends.len() < ENDS_MAX {
                ends.push(Point { epoch: point.epoch, next: point.next, hash: point.hash });
            }
        }
        if asked.last {
            of.told = true;
            let lanes = (0..self.settings.lanes.len() as u8).map(Lane::new);
            of.lanes = lanes.map(|lane| (lane, Copied::new(self.journal.first(lane)))).collect();
        }
        all.push_back(of);
        Ok(())
    }

    /// Tells a peer that it does not get a topic.
    fn refuse_topic(&self, state: &mut LinkState, topic: &str, code: RefusedCode) {
        state.subscriptions.all.retain(|of| of.topic != topic);
        let (origin, partition) = (self.settings.site.as_str(), Partition::new(0));
        let stream = OwnedStream::from(StreamId { origin, topic, partition });
        let text = match code {
            RefusedCode::UnknownTopic => format!("{origin} has no such topic"),
            _ => format!("ask the operator of {origin} for the right to subscribe to it"),
        };
        state.says.push_back(Say::Refused { stream, code, text });
    }

    /// A peer lacks something of a stream that is sent to it.
    pub(crate) fn on_copy_wanted(
        &mut self,
        state: &mut LinkState,
        want: &StreamPoint<'_>,
    ) -> Result<(), Fault> {
        count_ask(state)?;
        let topic = want.stream.topic;
        let of = state.subscriptions.all.iter_mut().find(|of| of.told && of.topic == topic);
        if let (Some(of), Some(ix)) = (of, self.journal.frontier().find(want.stream)) {
            of.send_again(ix, want.next);
            for (lane, copied) in &mut of.lanes {
                copied.rewind(self.journal.first(*lane), ix);
            }
        }
        Ok(())
    }

    /// A peer does not take a stream that is sent to it.
    pub(crate) fn on_copy_refused(&self, state: &mut LinkState, stream: StreamId<'_>) {
        let Some(ix) = self.journal.frontier().find(stream) else { return };
        for of in state.subscriptions.all.iter_mut().filter(|of| of.topic == stream.topic) {
            of.refused.insert(ix);
        }
    }

    /// Whether something of a topic was not sent yet, by where its streams end.
    pub(crate) fn has_news(&mut self, of: &Subscription, copied: &Copied, site: &str) -> bool {
        let mut known = core::mem::take(&mut self.topic_streams);
        let frontier = self.journal.frontier();
        let mut streams = known.of(frontier, &of.topic).iter().copied();
        let news = streams.any(|ix| {
            let sent = frontier.name(ix).origin == site || of.passes_over(copied, ix);
            let lacks = |(at, held): (BranchIx, Branch)| {
                held.tip.next > self.reached(of, ix, at).max(held.from)
            };
            !sent && frontier.branches(ix).any(lacks)
        });
        self.topic_streams = known;
        news
    }

    /// How far a peer has a branch, as far as is known.
    pub(crate) fn reached(&self, of: &Subscription, ix: StreamIx, at: BranchIx) -> Offset {
        if let Some(sent) = of.sent.get(&(ix, at)) {
            return *sent;
        }
        if let Some(from) = of.wanted.get(&ix) {
            return *from;
        }
        let ends = of.held.get(&ix).into_iter().flatten();
        ends.map(|end| self.covered(ix, at, *end)).max().unwrap_or_default()
    }

    /// How far a branch leads to a point that the peer has.
    fn covered(&self, ix: StreamIx, at: BranchIx, end: Point) -> Offset {
        let frontier = self.journal.frontier();
        let Some(branch) = frontier.branch(ix, at) else { return Offset::ZERO };
        if let Some(home) = self.branch_at(ix, end) {
            let parted = frontier.branch(ix, home).map(|home| home.from.max(branch.from));
            return if home == at { end.next } else { end.next.min(parted.unwrap_or_default()) };
        }
        // An epoch has one history, so what is known of it here leads there.
        let tip = (branch.tip.epoch == end.epoch).then_some(branch.tip.next);
        let rungs = frontier.ladder(ix, at).iter().filter(|rung| rung.epoch == end.epoch);
        let same = rungs.map(|rung| rung.next).chain(tip).max();
        if let Some(next) = same {
            return next.min(end.next);
        }
        // It was written under an epoch that is not remembered. If the branch is shorter, it can't
        // lead there; else it may, and what follows will show.
        let leads = branch.kind == BranchKind::Main && end.next <= branch.tip.next;
        if leads { end.next } else { Offset::ZERO }
    }
}

fn count_ask(state: &mut LinkState) -> Result<(), Fault> {
    state.subscriptions.asks += 1;
    let flood = state.subscriptions.asks > ASKS_MAX;
    if flood { Err(Offence::SubscriptionFlood.fault()) } else { Ok(()) }
}
