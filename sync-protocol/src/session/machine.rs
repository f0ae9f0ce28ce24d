//! The part of a session that reacts to whole messages, to time, and to the node.

use super::config::Config;
use super::credit::{Allowance, Granted};
use super::event::{Closed, Event, Events, Fault};
use super::handshake::{Agreed, State, agree};
use super::output::{Output, Text};
use super::timer::{Timer, Timers};
use super::{Receiver, Role};
use crate::buffer::Buffer;
use crate::channel::{Channel, LaneIndex};
use crate::limits::{
    CONTROL_RESERVE_BYTES, CREDIT_BYTES_EARLY, FRAME_BYTES_EARLY, FRAME_PREFIX_BYTES,
};
use crate::message::{Control, Decoded, Features, Goodbye, GoodbyeCode, Hello, LaneMessage};
use crate::time::{Duration, Instant};

#[derive(Clone, Debug)]
pub(super) struct Machine<B, const LANES: usize> {
    pub(super) role: Role,
    pub(super) config: Config,
    pub(super) state: State,
    pub(super) output: Output<B, LANES>,
    pub(super) granted: Granted,
    pub(super) allowance: Allowance,
    pub(super) timers: Timers,
    pub(super) events: Events,
    pub(super) lanes: OwnLanes,
    pub(super) pings: Pings,
    pub(super) silence: Silence,
    /// The probe that was sent and not answered.
    pub(super) probe: Option<u64>,
}

/// The lanes that this end announced.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnLanes {
    pub(super) count: usize,
    pub(super) most_urgent: usize,
}

/// What is known of a silence of the other end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Silence {
    pub(super) since: Instant,
    /// Something was said since, other than pings and their answers, so more than silence is due.
    said: bool,
    pinged: bool,
}

/// How pings fare.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pings {
    count: u64,
    sent: Option<Instant>,
    pub(super) round_trip: Option<Duration>,
}

impl<B: Buffer, const LANES: usize> Machine<B, LANES> {
    pub(super) fn new(config: Config, role: Role, lanes: OwnLanes, now: Instant) -> Self {
        let mut timers = Timers::default();
        timers.set(Timer::Handshake, now.plus(config.handshake_within));
        Self {
            role,
            config,
            state: State::Greeting,
            output: Output::new(config.control_bytes_max),
            granted: Granted::new(config.credit_bytes),
            allowance: Allowance::new(CREDIT_BYTES_EARLY),
            timers,
            events: Events::default(),
            lanes,
            pings: Pings::default(),
            silence: Silence::default(),
            probe: None,
        }
    }

    pub(super) fn closed(&self) -> Option<Closed> {
        if let State::Closed(closed) = self.state { Some(closed) } else { None }
    }

    /// What a dialer may use before it has heard the other end's hello.
    pub(super) fn early(&self) -> Features {
        match self.role {
            Role::Dialer => self.config.features.and(self.config.features_early),
            Role::Listener => Features::NONE,
        }
    }

    pub(super) fn agreed(&self) -> Option<Agreed> {
        match self.state {
            State::Deciding(agreed) | State::Waiting(agreed) | State::Open(agreed) => Some(agreed),
            State::Greeting | State::Closed(_) => None,
        }
    }

    /// Whether control messages are read. While the node decides, they wait in the transport.
    pub(super) fn reads_control(&self) -> bool {
        matches!(self.state, State::Greeting | State::Waiting(_) | State::Open(_))
    }

    /// What was agreed on, if the node may speak: a dialer at once, a listener once it accepted.
    pub(super) fn may_send(&self) -> bool {
        match self.state {
            State::Open(_) => true,
            State::Greeting | State::Waiting(_) => self.role == Role::Dialer,
            State::Deciding(_) | State::Closed(_) => false,
        }
    }

    /// The longest frame that may be sent on a lane, without prefix.
    pub(super) fn frame_bytes_max(&self) -> usize {
        let taken = self.agreed().map_or(FRAME_BYTES_EARLY, |agreed| agreed.frame_bytes_max);
        taken.min(self.config.lane_bytes_max.saturating_sub(FRAME_PREFIX_BYTES))
    }

    /// The longest control message that the node may send, without prefix.
    pub(super) fn control_bytes_max(&self) -> usize {
        let taken = self.agreed().map_or(FRAME_BYTES_EARLY, |agreed| agreed.frame_bytes_max);
        taken.min(self.output.limit().saturating_sub(CONTROL_RESERVE_BYTES + FRAME_PREFIX_BYTES))
    }

    pub(super) fn on_control(
        &mut self,
        frame: &[u8],
        now: Instant,
        sink: &mut impl Receiver,
    ) -> Result<(), Fault> {
        let Decoded::Message(message) = Control::decode(frame)? else { return Ok(()) };
        if let Control::Goodbye(goodbye) = message {
            sink.on_control(message)?;
            self.output.clear();
            self.close(Closed::Peer(goodbye.code));
            return Ok(());
        }
        match (self.state, message) {
            (State::Greeting, Control::Hello(hello)) => self.on_hello(&hello, sink),
            (State::Waiting(agreed), Control::Accept(_)) => {
                sink.on_control(message)?;
                self.open(agreed, now);
                Ok(())
            }
            (State::Open(_), Control::Hello(_) | Control::Accept(_)) => {
                Err(Fault::WrongState(message.number()))
            }
            (State::Open(_), _) => self.on_open_control(message, now, sink),
            _ => Err(Fault::WrongState(message.number())),
        }
    }

    pub(super) fn on_lane(
        &mut self,
        lane: LaneIndex,
        frame: &[u8],
        sink: &mut impl Receiver,
    ) -> Result<(), Fault> {
        let cost = FRAME_PREFIX_BYTES + frame.len();
        let Decoded::Message(message) = LaneMessage::decode(frame)? else {
            self.granted.consume(cost);
            return Ok(());
        };
        if let LaneMessage::Entry(entry) = message
            && !self.agreed().is_some_and(|agreed| agreed.features.has_codec(entry.codec))
        {
            return Err(Fault::Codec(entry.codec));
        }
        sink.on_lane(lane, message, cost)
    }

    /// Whether a lane's bytes may be read now.
    pub(super) fn check_lane(&self, lane: LaneIndex) -> Result<bool, Fault> {
        let State::Open(agreed) = self.state else { return Ok(false) };
        let served = lane.get() < agreed.peer_lanes.min(LANES);
        if served { Ok(true) } else { Err(Fault::WrongChannel(Channel::of_lane(lane))) }
    }

    /// Something was heard.
    pub(super) fn heard(&mut self, now: Instant) {
        if matches!(self.state, State::Open(_)) {
            self.silence = Silence { since: now, said: false, pinged: false };
            self.timers.set(Timer::Ping, now.plus(self.config.ping_after));
            self.timers.clear(Timer::Silence);
        }
    }

    /// Something is said that the other end may well answer.
    pub(super) fn said(&mut self) {
        self.silence.said = true;
    }

    pub(super) fn on_timer(&mut self, timer: Timer, now: Instant) {
        match timer {
            Timer::Handshake => self.close(Closed::NotOpened),
            Timer::Silence => self.close(Closed::PeerSilent),
            Timer::Ping => self.on_silence(now),
            Timer::Probe => {
                self.probe = None;
                self.events.push(Event::ProbeSilent);
            }
        }
    }

    /// Nothing was heard for a while. Where nothing is due either, the dialer's ping tells both
    /// ends of each other, and the listener waits for it.
    fn on_silence(&mut self, now: Instant) {
        let later = match self.role {
            Role::Dialer => Duration::ZERO,
            Role::Listener => self.config.ping_after,
        };
        let idle = self.silence.since.plus(self.config.ping_idle_after).plus(later);
        let next = now.plus(self.config.ping_after);
        if now < idle && !self.silence.said {
            self.timers.set(Timer::Ping, next.min(idle));
            return;
        }
        self.pings.count += 1;
        self.pings.sent = Some(now);
        self.output.soon.ping = Some(self.pings.count);
        self.timers.set(Timer::Ping, next);
        if !self.silence.pinged {
            self.silence.pinged = true;
            self.timers.set(Timer::Silence, now.plus(self.config.pong_within));
        }
    }

    pub(super) fn open(&mut self, agreed: Agreed, now: Instant) {
        self.state = State::Open(agreed);
        self.timers.clear(Timer::Handshake);
        self.heard(now);
        self.events.push(Event::Opened);
    }

    /// Ends the session with a last message. Does nothing if it is over.
    pub(super) fn part(&mut self, closed: Closed, goodbye: Goodbye<'_>) {
        if self.closed().is_none() {
            self.output.farewell(goodbye);
            self.close(closed);
        }
    }

    pub(super) fn fail(&mut self, fault: Fault) {
        let text = Text::of(&fault);
        let goodbye = Goodbye { code: GoodbyeCode::ProtocolError, text: text.as_str() };
        self.part(Closed::PeerAtFault(fault), goodbye);
    }

    /// Ends the session without a word. Does nothing if it is over.
    pub(super) fn close(&mut self, closed: Closed) {
        if self.closed().is_none() {
            self.timers.clear_all();
            self.output.soon = super::output::Soon::default();
            self.state = State::Closed(closed);
            self.events.push(Event::Closed(closed));
        }
    }

    /// Queues what the session itself has to say.
    pub(super) fn speak(&mut self) {
        if matches!(self.state, State::Open(_)) {
            self.output.flush();
            if let Some(total) = self.granted.due()
                && self.output.say(Some(total), Control::Credit).is_none()
            {
                self.granted.announce(total);
            }
        }
    }

    fn on_hello(&mut self, hello: &Hello<'_>, sink: &mut impl Receiver) -> Result<(), Fault> {
        let agreed = match agree(&self.config, self.role, LANES, hello) {
            Ok(agreed) => agreed,
            Err(why) => {
                let text = Text::of(&why);
                let goodbye = Goodbye { code: GoodbyeCode::Incompatible, text: text.as_str() };
                self.part(Closed::Incompatible(why), goodbye);
                return Ok(());
            }
        };
        sink.on_control(Control::Hello(*hello))?;
        self.allowance.learn(hello.terms.credit);
        self.state = match self.role {
            Role::Dialer => State::Waiting(agreed),
            Role::Listener => State::Deciding(agreed),
        };
        self.events.push(Event::HelloReceived);
        Ok(())
    }

    fn on_open_control(
        &mut self,
        message: Control<'_>,
        now: Instant,
        sink: &mut impl Receiver,
    ) -> Result<(), Fault> {
        match message {
            Control::Ping(nonce) => self.output.soon.pong = Some(nonce),
            Control::Probe(nonce) => self.output.soon.probe_answer = Some(nonce),
            Control::Credit(total) => self.allowance.raise(total)?,
            Control::Pong(nonce) => {
                if nonce == self.pings.count
                    && let Some(sent) = self.pings.sent.take()
                {
                    self.pings.round_trip = Some(now.since(sent));
                }
            }
            Control::ProbeAnswer(nonce) => {
                if self.probe == Some(nonce) {
                    self.probe = None;
                    self.timers.clear(Timer::Probe);
                    self.events.push(Event::ProbeAnswered);
                }
            }
            _ => sink.on_control(message)?,
        }
        Ok(())
    }
}
