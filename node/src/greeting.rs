//! Greeting: what two nodes say of themselves, and whether they deal with each other.

use landfall_core::media::Media;
use landfall_core::num::{Epoch, LogId};
use landfall_protocol::limits::{FRAME_BYTES_CAP, FRAME_PREFIX_BYTES};
use landfall_protocol::message::{
    Enrol, Goodbye, GoodbyeCode, Hello, Introduction, LaneOffer, Lanes, List, Opened, Promise,
};
use landfall_protocol::session::{Config, Role, Session};
use landfall_protocol::time::Duration;

use super::dial::Phase;
use super::link::{Link, LinkState, Say};
use super::note::Note;
use super::promise::heard;
use super::sender::Sender;
use super::{
    Admission, AlarmKind, Core, Direction, Event, Gate, LinkId, Node, Now, Offence, Parting,
    PeerKey, Uplink,
};
use crate::codec;

/// Who is told to come again because too many connect at once, does so after a second and a random
/// part of this.
const OVERLOADED_SPREAD_MS: u64 = 4_000;

/// When somebody comes again whose registration is under way.
const LATER: GoodbyeCode = GoodbyeCode::Overloaded { retry_after: Duration::from_millis(500) };

/// What a peer said of itself.
#[derive(Clone, Debug)]
pub(crate) struct PeerHello {
    pub(crate) site: String,
    pub(crate) software: String,
    pub(crate) log: LogId,
    pub(crate) epoch: Epoch,
    pub(crate) promise: Option<Promise>,
    pub(crate) lanes: Vec<String>,
    pub(crate) enrol: Option<(String, Vec<u8>)>,
}

impl<M: Media, G: Gate> Node<M, G> {
    /// A connection is there, and the peer has proved that it owns `key`. If this node made it, it
    /// is to the first of those above.
    pub fn handle_connected(&mut self, id: LinkId, direction: Direction, key: PeerKey, now: Now) {
        let uplink = (direction == Direction::Up).then_some(Uplink::FIRST);
        self.connected(LinkState::new(id, uplink, key, now.instant), now);
    }

    /// A connection that this node made at an uplink is there, and the peer has proved that it owns
    /// `key`. If the uplink is not open any more, the connection is to be closed.
    pub fn handle_uplink_connected(&mut self, id: LinkId, uplink: Uplink, key: PeerKey, now: Now) {
        if self.core.uplinks.get(uplink).is_some() {
            return self.connected(LinkState::new(id, Some(uplink), key, now.instant), now);
        }
        let why = "nothing is sent there any more".into();
        self.core.events.push_back(Event::Close(id, why, Parting::Here));
    }

    fn connected(&mut self, mut state: LinkState, now: Now) {
        let core = &mut self.core;
        let (id, uplink) = (state.id, state.uplink);
        let session = core.new_session(uplink, now);
        assert!(session.is_some(), "the settings of sessions were checked");
        let Some(session) = session else { return };
        if let Some(uplink) = uplink {
            // If there still is a copy, it is told again.
            let site = core.settings.site.clone();
            core.end_copy_alarms(&site);
            state.sender = Some(Sender::new(core, uplink));
            core.forget_wants(uplink);
            core.say_tips(&mut state, false);
            if uplink == Uplink::FIRST {
                core.say_subscriptions(&mut state);
            }
            let asked = core.waits_before(&self.links);
            core.ask_before(&mut state, &asked);
            if let Some(above) = core.uplinks.get_mut(uplink) {
                let dialing = above.dialer.state();
                // Its time may be said before this end hears that the connection is there.
                if dialing.phase == Phase::Dialing {
                    state.called_at = dialing.since;
                }
                above.dialer.turn(Phase::Greeting, "waiting to be accepted", now.instant);
            }
        }
        let mut link = Link::new(session, state);
        if uplink.is_none() && !core.greeting_has_room(id) {
            let retry_after = Duration::from_millis(1_000 + core.random() % OVERLOADED_SPREAD_MS);
            let text = "too many nodes connect at once; come again soon";
            link.session.goodbye(GoodbyeCode::Overloaded { retry_after }, text);
            link.state.parting = Some(text.into());
        }
        self.links.insert(id, link);
        self.after(id, now);
    }
}

impl Link {
    /// Lets a peer in, or says why not.
    pub(crate) fn decide<M: Media, G: Gate>(&mut self, core: &mut Core<M, G>, now: Now) {
        match core.decide(&self.state, now) {
            Ok(site) => {
                // A session that ended meanwhile says so by itself.
                if self.session.accept(&site, now.instant).is_ok() {
                    self.state.site = Some(site);
                }
            }
            Err((code, text)) => {
                let why = format!("it was not let in: {text}");
                match Offence::of_goodbye(code) {
                    _ if code == LATER => {}
                    Some(offence) => core.offence(&self.state, offence, &why),
                    None => core.alarm(AlarmKind::Peer, self.state.peer_name(), why),
                }
                self.session.goodbye(code, &text);
                self.state.parting = Some(text);
            }
        }
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// Takes a place for a peer that is not let in yet, if there is one.
    fn greeting_has_room(&mut self, id: LinkId) -> bool {
        self.greeting.len() < self.settings.greetings_max && self.greeting.insert(id)
    }

    fn new_session(
        &self,
        uplink: Option<Uplink>,
        now: Now,
    ) -> Option<Session<landfall_protocol::buffer::Growable, 7>> {
        let offers: Vec<_> = self
            .settings
            .lanes
            .iter()
            .map(|lane| LaneOffer { name: &lane.name, priority: lane.priority })
            .collect();
        let openings: Vec<_> = self
            .journal
            .openings()
            .iter()
            .rev()
            .map(|note| Opened {
                epoch: note.epoch,
                parent: (note.parent.get() != 0).then_some(note.parent),
                first_commit: note.first_commit,
            })
            .collect();
        let enrol = self.settings.enrol.as_ref();
        let introduction = Introduction {
            site: &self.settings.site,
            log: self.journal.log(),
            epoch: self.journal.epoch(),
            boot: self.boot,
            software: &self.settings.software,
            clock: self.clocks.told(now),
            root: self.root(),
            promise: uplink.and_then(|uplink| self.uplinks.promise(uplink)),
            lanes: Lanes::new(&offers)?,
            enrol: enrol.map(|(token, secret)| Enrol { token, secret }),
            openings: List::new(&openings),
        };
        let mut config = Config::standard(FRAME_BYTES_CAP);
        (config.versions, config.features) = (self.settings.versions, self.settings.features);
        config.features_early = config.features.and(codec::FEATURES);
        config.credit_bytes = self.credit_bytes();
        config.lane_bytes_max = self.settings.lane_bytes.max(FRAME_BYTES_CAP + FRAME_PREFIX_BYTES);
        let role = if uplink.is_some() { Role::Dialer } else { Role::Listener };
        Session::new(role, config, introduction, now.instant).ok()
    }

    /// Bytes that a peer may have under way on lanes.
    pub(crate) fn credit_bytes(&self) -> u64 {
        self.settings.credit_bytes.max(Config::standard(FRAME_BYTES_CAP).credit_bytes)
    }

    pub(crate) fn on_hello(&mut self, state: &mut LinkState, hello: &Hello<'_>) {
        let said = &hello.introduction;
        state.hello = Some(PeerHello {
            site: said.site.into(),
            software: said.software.into(),
            log: said.log,
            epoch: said.epoch,
            promise: said.promise,
            lanes: said.lanes.iter().map(|(_, lane)| lane.name.into()).collect(),
            enrol: said.enrol.map(|enrol| (enrol.token.into(), enrol.secret.into())),
        });
        if let Some(uplink) = state.uplink {
            state.site = Some(said.site.into());
            // They all lead to the same root, but another one may not know yet which that is.
            if uplink == Uplink::FIRST || self.root_log.is_none() {
                self.root_log = said.root;
            }
            self.clocks.hear(said.clock, state.called_at, self.arrived_at);
            self.check_upstream(state, uplink, said.log);
        }
    }

    /// The upstream node may be another one than the last, which knows nothing of its promises.
    fn check_upstream(&mut self, state: &mut LinkState, uplink: Uplink, log: LogId) {
        if log == self.journal.log() {
            let text = "this node was told to dial itself, or a copy of itself".to_owned();
            self.alarm(AlarmKind::Peer, state.peer_name(), text.clone());
            state.goodbye = Some((GoodbyeCode::Loop, text));
        }
        // The hello named another's promise: it goes out before it is known who listens.
        let earlier = self.journal.heard().of(log).map(heard);
        let said = self.uplinks.promise(uplink);
        if let Some(promise) = earlier.filter(|_| said.is_none_or(|last| last.log != log)) {
            state.says.push_back(Say::Promised(promise));
        }
        let promised = self.was_promised_by(uplink, log);
        if let Some(sender) = state.sender.as_mut().filter(|_| !promised) {
            sender.begin_at_root(self);
        }
    }

    pub(crate) fn on_accept(&mut self, state: &LinkState, site: &str) {
        if site != self.settings.site {
            let text = format!(
                "the upstream node knows this node as {site}, but it calls itself {}. Set `site`.",
                self.settings.site
            );
            self.alarm(AlarmKind::Peer, state.peer_name(), text);
        }
    }

    pub(crate) fn on_goodbye(&mut self, state: &LinkState, goodbye: &Goodbye<'_>, now: Now) {
        let Goodbye { code, text } = goodbye;
        if let Some(uplink) = state.uplink {
            let wait = code.retry_after();
            self.dial_failed(uplink, &format!("{code}: {text}"), wait, now);
        }
        let harmless = matches!(
            code,
            GoodbyeCode::Shutdown | GoodbyeCode::Superseded | GoodbyeCode::Overloaded { .. }
        );
        let above = state.uplink.and_then(|uplink| self.uplinks.get_mut(uplink));
        if let Some(above) = above.filter(|_| code.needs_a_person()) {
            above.dialer.refuse();
        }
        if !harmless {
            self.alarm(AlarmKind::Peer, state.peer_name(), format!("it said goodbye: {text}"));
        }
    }

    fn decide(&mut self, state: &LinkState, now: Now) -> Result<String, (GoodbyeCode, String)> {
        let Some(hello) = &state.hello else {
            return Err((GoodbyeCode::ProtocolError, "there was no hello".into()));
        };
        if hello.log == self.journal.log() {
            return Err((GoodbyeCode::Loop, "this is the node that was dialed".into()));
        }
        let enrol = hello.enrol.as_ref().map(|(token, secret)| Enrol { token, secret });
        if !self.knows_internal {
            let wait = Duration::from_secs(10);
            let code = GoodbyeCode::Overloaded { retry_after: wait };
            return Err((code, "the hub can't read who is registered; check its disk".into()));
        }
        match self.gate.admit(state.key, &hello.site, enrol, now.wall) {
            Admission::Admitted { site, records } => {
                if !self.record(&records, now) {
                    let text = "the hub can't record the registration now; its disk may be full";
                    let wait = Duration::from_secs(10);
                    let code = GoodbyeCode::Overloaded { retry_after: wait };
                    return Err((code, text.into()));
                }
                Ok(site)
            }
            Admission::Later { text } => Err((LATER, text)),
            Admission::Refused { code, text } => Err((code, text)),
        }
    }

    pub(crate) fn link_opened(&mut self, state: &mut LinkState, now: Now) {
        self.greeting.remove(&state.id);
        match state.uplink {
            Some(uplink) => {
                if let Some(above) = self.uplinks.get_mut(uplink) {
                    above.dialer.turn(Phase::Up, "accepted by the upstream node", now.instant);
                }
                self.tell_clocks(state, uplink);
            }
            None => {
                self.note_living(state);
                self.note_split(state);
                if let Some(promise) = state.hello.as_ref().and_then(|hello| hello.promise) {
                    self.check_promise(state, promise);
                }
                self.ask_for_wants(state);
                self.tell_root_gaps(state);
                self.notes.push_back(Note::Arrived(state.id));
            }
        }
    }

    /// Does this node have what the peer says it promised? It is asked once in a session what it
    /// keeps.
    pub(crate) fn check_promise(&mut self, state: &mut LinkState, promise: Promise) {
        if state.lacking || promise.log != self.journal.log() || self.kept(&promise) {
            return;
        }
        state.lacking = true;
        state.says.push_back(Say::PromiseLacking(promise));
        state.says.push_back(Say::TipsWanted);
        let text = "it was promised more than this node has: this node was restored from a backup, \
                    or its disk lost synced writes. All peers are asked for what they keep.";
        self.alarm(AlarmKind::PromiseLacking, state.peer_name(), text.into());
    }

    /// Whether this node has what it promised: its journal has gone through that commit, and has
    /// lost nothing since of which nobody here knows what it was.
    pub(crate) fn kept(&self, promise: &Promise) -> bool {
        let nameless = self.journal.losses().iter().any(|loss| loss.stream.is_none());
        let may_lack = nameless && promise.epoch != self.journal.epoch();
        !may_lack && self.went_through(promise)
    }

    /// Whether this journal has gone through a commit under one of its openings.
    pub(crate) fn went_through(&self, promise: &Promise) -> bool {
        let openings = self.journal.openings();
        let Some(at) = openings.iter().position(|note| note.epoch == promise.epoch) else {
            // Openings that are forgotten are older than all that are remembered.
            let oldest = openings.first().map(|note| note.first_commit);
            return oldest.is_some_and(|oldest| promise.commit < oldest);
        };
        let ended = openings.get(at + 1).map(|note| note.first_commit);
        ended.map_or(promise.commit <= self.journal.last_commit(), |end| promise.commit < end)
    }

    pub(crate) fn link_ended(&mut self, state: &LinkState, why: &str, now: Now) {
        self.living.remove(&state.id);
        self.greeting.remove(&state.id);
        let down = |phase| matches!(phase, Phase::Waiting | Phase::Resting { .. });
        let Some(uplink) = state.uplink else { return };
        let above = self.uplinks.get(uplink);
        if above.is_some_and(|above| !down(above.dialer.state().phase)) {
            self.dial_failed(uplink, why, Duration::ZERO, now);
        }
    }
}
