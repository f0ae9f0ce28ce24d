//! A link: a session with a peer, and what this node knows of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use landfall_core::frontier::{BranchIx, Point, StreamIx};
use landfall_core::media::Media;
use landfall_core::num::{Epoch, Lane, Offset, Seq};
use landfall_protocol::buffer::Growable;
use landfall_protocol::channel::{Channel, LaneIndex};
use landfall_protocol::limits::CREDIT_BYTES_EARLY;
use landfall_protocol::message::{GoodbyeCode, Purpose};
use landfall_protocol::session::{self, SendError, Session};
use landfall_protocol::time::Instant;

use super::feed::Feed;
use super::giveback::Giveback;
use super::greeting::PeerHello;
use super::promise::Points;
pub(crate) use super::say::{OwnedStream, Say};
use super::sender::Sender;
use super::sink::Sink;
use super::subscribe::Coming;
use super::subscription::Subscriptions;
use super::{Core, Event, Gate, Node, Now, Offence, Parting, PeerKey, Transmit, Uplink};

/// A connection, as the driver names it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LinkId(pub u64);

/// Who made a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// This node, to its upstream node.
    Up,
    /// The peer, from below.
    Down,
}

/// What can be told of a link.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LinkView<'a> {
    /// The connection.
    pub id: LinkId,
    /// Who made it.
    pub direction: Direction,
    /// At which uplink, if this node made it.
    pub uplink: Option<Uplink>,
    /// The peer's site, once it is accepted.
    pub site: Option<&'a str>,
    /// The peer's software and version, as it says.
    pub software: Option<&'a str>,
    /// Whether everything may be said.
    pub open: bool,
}

pub(crate) struct Link {
    pub(crate) session: Session<Growable, 7>,
    pub(crate) state: LinkState,
    /// Bytes that the session does not take yet, for each channel.
    held: BTreeMap<u8, Vec<u8>>,
    /// Bytes of control that the transport holds.
    control_unsent: usize,
}

/// What this node knows of a peer.
pub(crate) struct LinkState {
    pub(crate) id: LinkId,
    pub(crate) direction: Direction,
    /// At which uplink it is; none if the peer dialed.
    pub(crate) uplink: Option<Uplink>,
    pub(crate) key: PeerKey,
    /// When it was called, or seen to be there.
    pub(crate) called_at: Instant,
    /// Notes of clocks that it told, and that were new.
    pub(crate) clocks: usize,
    pub(crate) hello: Option<PeerHello>,
    /// The site under which the peer was accepted.
    pub(crate) site: Option<String>,
    pub(crate) feeds: BTreeMap<StreamIx, Feed>,
    /// What the peer may be told to be durable once what is staged is synced.
    pub(crate) proven: Points,
    /// What the peer was told to be durable here, and not yet to be durable at the root.
    pub(crate) told: Points,
    /// Streams whose refusal has been said.
    pub(crate) refused: BTreeSet<String>,
    /// Gaps that the peer has stated.
    pub(crate) gaps: usize,
    /// Where each lane has come.
    pub(crate) seqs: BTreeMap<Lane, Seq>,
    /// The peer was asked for something again, so that entries may come again.
    pub(crate) asked_again: bool,
    /// Bytes of entries that came again, though nobody asked for them, and brought nothing new.
    pub(crate) repeated: u64,
    pub(crate) sender: Option<Sender>,
    pub(crate) givebacks: VecDeque<Giveback>,
    /// The topics that the peer asked for.
    pub(crate) subscriptions: Subscriptions,
    /// The topics that it was asked for, and how they stand.
    pub(crate) asked: BTreeMap<String, Coming>,
    /// There was no room for what comes down: it is asked for again then.
    pub(crate) room_at: Option<Instant>,
    /// Where the peer's own streams ended when the session began, and what came of them since.
    pub(crate) own_ends: BTreeMap<StreamIx, Point>,
    /// Streams of which something was given back.
    pub(crate) returned: BTreeSet<StreamIx>,
    /// What the lane message at hand was sent for.
    pub(crate) purpose: Purpose,
    /// There was no room for what came back: it waits for the next session.
    pub(crate) returns_wait: bool,
    /// The peer was promised more than this node has.
    pub(crate) lacking: bool,
    /// What the upstream node, which lacks a promise, has not said yet to have: up to where.
    pub(crate) owed: BTreeMap<StreamIx, Offset>,
    /// Ends of branches that the upstream node was asked for, and whether for those at the root.
    pub(crate) asked_tips: BTreeSet<(StreamIx, BranchIx, Offset, bool)>,
    /// What the node above was asked for of what lies before what is here.
    pub(crate) asked_before: BTreeSet<(StreamIx, Epoch, Offset)>,
    pub(crate) says: VecDeque<Say>,
    /// Credit to be given back when what came in is durable.
    pub(crate) consumed: usize,
    /// A goodbye that is due.
    pub(crate) goodbye: Option<(GoodbyeCode, String)>,
    /// What the last goodbye said: a transport that closes may overtake it.
    pub(crate) parting: Option<String>,
    /// What seems to be lost, until it is known whether its writer is alive.
    pub(crate) doubts: Vec<super::twins::Doubt>,
    /// When something last came that nothing has proved yet.
    pub(crate) unproven: Option<Instant>,
    /// A newer link of the same site waits for the answer to a probe.
    pub(crate) rival: Option<LinkId>,
}

/// The most bytes of a link that wait for the session: what a dialer may send on lanes before it is
/// let in, and a piece of control.
const HELD_BYTES_MAX: usize = CREDIT_BYTES_EARLY as usize + 128 * 1024;

/// Bytes of control that a transport may hold; the rest waits here.
const CONTROL_UNSENT_MAX: usize = 256 * 1024;
/// Messages that wait until a peer has read those before them.
const SAYS_MAX: usize = 16_384;

impl<M: Media, G: Gate> Node<M, G> {
    /// Bytes came in on a channel of a link. Order within a channel is the transport's promise.
    pub fn handle_received(&mut self, id: LinkId, channel: u8, bytes: &[u8], now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        self.core.arrived_at = now;
        link.receive(&mut self.core, channel, bytes, now);
        self.after(id, now);
    }

    /// The transport has sent bytes of a channel, and may be given more.
    pub fn handle_sent(&mut self, id: LinkId, channel: u8, bytes: usize) {
        let (Some(link), Some(channel)) = (self.links.get_mut(&id), Channel::new(channel)) else {
            return;
        };
        match channel {
            Channel::CONTROL => {
                link.control_unsent = link.control_unsent.saturating_sub(bytes);
            }
            lane => link.session.handle_sent(lane, bytes),
        }
    }

    /// A connection is gone.
    pub fn handle_disconnected(&mut self, id: LinkId, why: &str, now: Now) {
        let Some(mut link) = self.links.remove(&id) else { return };
        link.session.handle_disconnected();
        self.core.link_ended(&link.state, why, now);
    }

    /// A time that [`Node::poll_timeout`] gave has come.
    pub fn handle_timeout(&mut self, now: Now) {
        self.visit(now);
        let ids: Vec<_> = self.links.keys().copied().collect();
        for id in ids {
            if let Some(link) = self.links.get_mut(&id) {
                link.session.handle_timeout(now.instant);
                if link.state.proof_due().is_some_and(|(due, _)| due <= now.instant) {
                    self.core.prove(&mut link.state);
                }
                self.core.subscribe_again_if_due(&mut link.state, now.instant);
            }
            self.after(id, now);
        }
        self.core.read_again_if_due(now);
        self.core.dial_if_due(now);
    }

    /// Cuts the links of peers that are not welcome any more.
    pub fn cut_unwelcome(&mut self) {
        for link in self.links.values_mut() {
            let Some(site) = &link.state.site else { continue };
            if !self.core.gate.is_welcome(link.state.key, site) {
                let text = "this site's rights were withdrawn; ask the hub's operator".to_owned();
                link.state.goodbye = Some((GoodbyeCode::Revoked, text));
            }
        }
        self.end_foreign_subscriptions();
        self.flush();
    }

    /// Says goodbye to a site, which may call again at once.
    pub fn part_from(&mut self, site: &str, text: &str) {
        for link in self.links.values_mut() {
            if link.state.site.as_deref() == Some(site) {
                link.session.goodbye(GoodbyeCode::Shutdown, text);
            }
        }
        self.flush();
    }

    /// Says goodbye to all peers.
    pub fn part(&mut self, text: &str) {
        for link in self.links.values_mut() {
            link.session.goodbye(GoodbyeCode::Shutdown, text);
        }
    }

    /// Bytes to be sent next.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.release_landed();
        if let Some(transmit) = self.held.transmits.due.pop_front() {
            return Some(transmit);
        }
        if self.holds() { None } else { self.next_transmit() }
    }

    pub(crate) fn next_transmit(&mut self) -> Option<Transmit> {
        loop {
            let from = self.core.transmitted.map_or(LinkId(0), |(from, _)| from);
            for (id, link) in self.links.range_mut(from..) {
                link.flush(&mut self.core);
                if let Some((channel, bytes)) = link.next_bytes(&mut self.core) {
                    // Those before it were asked: with many links it is dear to begin anew.
                    self.core.transmitted = Some((*id, true));
                    return Some(Transmit { link: *id, channel, bytes });
                }
            }
            let round = self.core.transmitted.take();
            if round.is_some_and(|(_, any)| any) {
                self.core.transmitted = Some((LinkId(0), false));
            } else if self.core.notes.is_empty() {
                return None;
            } else {
                self.pass_notes();
            }
        }
    }

    /// Something the driver must do or may want to know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.release_landed();
        if let Some(event) = self.held.events.due.pop_front() {
            return Some(event);
        }
        if self.holds() { None } else { self.core.events.pop_front() }
    }

    /// When [`Node::handle_timeout`] is to be called, and what for.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let sessions = self.links.values().filter_map(|link| link.session.poll_timeout());
        let dial = self.core.uplinks.iter().filter_map(|(_, above)| above.dialer.poll_timeout());
        let unproven = self.links.values().filter_map(|link| link.state.proof_due());
        let read = self.core.read_again.map(|at| (at, "reading failed"));
        let rooms = self.links.values().filter_map(|link| link.state.room_at);
        let rooms = rooms.map(|at| (at, "there was no room for what comes down"));
        let reads_on = self.links.values().any(Link::reads_on);
        let reads_on = reads_on.then_some((self.core.arrived_at.instant, "reading on"));
        let pace = self.core.pace.as_ref().and_then(super::pace::Pace::poll_timeout);
        let all = sessions
            .chain(dial)
            .chain(unproven)
            .chain(read)
            .chain(rooms)
            .chain(reads_on)
            .chain(pace)
            .chain(self.visit_timeout())
            .chain(self.collected_at());
        all.min_by_key(|(at, _)| *at)
    }

    /// Deals with what a link's session reports and what it has to tell others.
    pub(crate) fn after(&mut self, id: LinkId, now: Now) {
        self.core.arrived_at = now;
        while let Some(event) = self.links.get_mut(&id).and_then(|link| link.session.poll_event()) {
            self.on_session_event(id, event, now);
        }
        self.pass_notes();
    }

    fn on_session_event(&mut self, id: LinkId, event: session::Event, now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        match event {
            session::Event::HelloReceived if link.state.direction == Direction::Down => {
                link.decide(&mut self.core, now);
            }
            session::Event::Opened => {
                self.core.link_opened(&mut link.state, now);
                link.offer_held(&mut self.core, now);
            }
            session::Event::ProbeAnswered => self.on_twin(id),
            session::Event::ProbeSilent => self.on_dead_twin(id),
            session::Event::Closed(why) => {
                let text = link.state.parting.take().unwrap_or_else(|| why.to_string());
                self.core.blame(&link.state, why);
                let parting = match why {
                    session::Closed::Peer(_) | session::Closed::TransportLost => Parting::There,
                    _ => Parting::Here,
                };
                self.core.events.push_back(Event::Close(id, text, parting));
            }
            _ => {}
        }
    }

    /// Sends what links have to say, and begins anew with all if what they sent was lost.
    pub(crate) fn flush(&mut self) {
        if core::mem::take(&mut self.core.reset_links) {
            for link in self.links.values_mut() {
                let wait = landfall_protocol::time::Duration::from_secs(1);
                let code = GoodbyeCode::Overloaded { retry_after: wait };
                link.session.goodbye(code, "a commit failed; what was not promised is not here");
            }
        }
        for link in self.links.values_mut() {
            link.flush(&mut self.core);
        }
    }
}

impl Link {
    pub(crate) fn new(session: Session<Growable, 7>, state: LinkState) -> Self {
        Self { session, state, held: BTreeMap::new(), control_unsent: 0 }
    }

    pub(crate) fn view(&self, id: LinkId) -> LinkView<'_> {
        LinkView {
            id,
            direction: self.state.direction,
            uplink: self.state.uplink,
            site: self.state.site.as_deref(),
            software: self.state.hello.as_ref().map(|hello| hello.software.as_str()),
            open: self.session.is_open(),
        }
    }

    fn receive<M: Media, G: Gate>(
        &mut self,
        core: &mut Core<M, G>,
        number: u8,
        bytes: &[u8],
        now: Now,
    ) {
        let Some(channel) = Channel::new(number) else { return };
        let held = self.held.entry(number).or_default();
        if held.is_empty() {
            let sink = &mut Sink { core, state: &mut self.state, now };
            let taken = self.session.handle_received(channel, bytes, now.instant, sink);
            held.extend_from_slice(bytes.get(taken..).unwrap_or_default());
        } else {
            held.extend_from_slice(bytes);
        }
        if self.held.values().map(Vec::len).sum::<usize>() > HELD_BYTES_MAX {
            self.held.clear();
            self.end_for(core, Offence::SentAhead);
        }
    }

    /// Ends the session for an offence that the session itself does not see.
    pub(crate) fn end_for<M: Media, G: Gate>(&mut self, core: &mut Core<M, G>, offence: Offence) {
        if self.session.closed().is_none() {
            core.offence(&self.state, offence, "the connection was closed");
            self.session.goodbye(GoodbyeCode::ProtocolError, offence.name());
            self.state.parting = Some(offence.name().into());
        }
    }

    /// Offers the session what it did not take before.
    fn offer_held<M: Media, G: Gate>(&mut self, core: &mut Core<M, G>, now: Now) {
        for (number, held) in &mut self.held {
            let Some(channel) = Channel::new(*number).filter(|_| !held.is_empty()) else {
                continue;
            };
            let bytes = core::mem::take(held);
            let sink = &mut Sink { core, state: &mut self.state, now };
            let taken = self.session.handle_received(channel, &bytes, now.instant, sink);
            held.extend_from_slice(bytes.get(taken..).unwrap_or_default());
        }
    }

    /// Hands to the session what is to be said, as far as it has room.
    pub(crate) fn flush<M: Media, G: Gate>(&mut self, core: &mut Core<M, G>) {
        if let Some((code, text)) = self.state.goodbye.take() {
            self.session.goodbye(code, &text);
            self.state.parting = Some(text);
        }
        if self.state.says.len() > SAYS_MAX {
            self.state.says.clear();
            self.end_for(core, Offence::NotListening);
        }
        while let Some(say) = self.state.says.front() {
            let asks = matches!(say, Say::NeedFrom(..) | Say::TipsWanted | Say::Diverged { .. });
            self.state.asked_again |= asks;
            match say.send(core.journal.frontier(), &mut self.session) {
                Ok(()) | Err(SendError::TooLong | SendError::NotAgreed | SendError::NotYours) => {
                    self.state.says.pop_front();
                }
                Err(_) => break,
            }
        }
    }

    fn next_bytes<M: Media, G: Gate>(&mut self, core: &mut Core<M, G>) -> Option<(u8, Vec<u8>)> {
        let has_room = self.control_unsent < CONTROL_UNSENT_MAX;
        if let Some(transmit) = self.session.poll_transmit().filter(|_| has_room) {
            let bytes = transmit.bytes.to_vec();
            self.control_unsent += bytes.len();
            self.session.handle_sent(Channel::CONTROL, bytes.len());
            return Some((Channel::CONTROL.number(), bytes));
        }
        let up = self.state.direction == Direction::Up;
        core.lanes_by_priority().into_iter().find_map(|lane| {
            let index = LaneIndex::new(lane.get()).filter(|_| !up || core.may_send(lane))?;
            let bytes = self.next_lane_bytes(core, lane, index)?;
            if up {
                core.note_sent(bytes.len());
            }
            Some((Channel::of_lane(index).number(), bytes))
        })
    }
}

impl LinkState {
    pub(crate) fn new(id: LinkId, uplink: Option<Uplink>, key: PeerKey, now: Instant) -> Self {
        Self {
            id,
            direction: if uplink.is_some() { Direction::Up } else { Direction::Down },
            uplink,
            key,
            called_at: now,
            clocks: 0,
            hello: None,
            site: None,
            feeds: BTreeMap::new(),
            proven: Points::new(),
            told: Points::new(),
            refused: BTreeSet::new(),
            gaps: 0,
            seqs: BTreeMap::new(),
            asked_again: false,
            repeated: 0,
            sender: None,
            givebacks: VecDeque::new(),
            subscriptions: Subscriptions::default(),
            asked: BTreeMap::new(),
            room_at: None,
            own_ends: BTreeMap::new(),
            returned: BTreeSet::new(),
            purpose: Purpose::Uplink,
            returns_wait: false,
            lacking: false,
            owed: BTreeMap::new(),
            asked_tips: BTreeSet::new(),
            asked_before: BTreeSet::new(),
            says: VecDeque::new(),
            consumed: 0,
            goodbye: None,
            parting: None,
            doubts: Vec::new(),
            unproven: None,
            rival: None,
        }
    }

    /// The lane here that a peer's lane goes to: the one of the same name, or the first.
    pub(crate) fn lane_of<M: Media, G: Gate>(&self, core: &Core<M, G>, lane: LaneIndex) -> Lane {
        let names = self.hello.as_ref().map(|hello| hello.lanes.as_slice()).unwrap_or_default();
        let name = names.get(lane.get());
        let here = core.settings.lanes.iter().position(|here| Some(&here.name) == name);
        Lane::new(here.unwrap_or_default() as u8)
    }

    /// The peer's site, or what it says of itself.
    pub(crate) fn peer_name(&self) -> String {
        let said = self.hello.as_ref().map(|hello| hello.site.clone());
        self.site.clone().or(said).unwrap_or_else(|| "an unknown peer".into())
    }
}
