//! The session: one end of a connection between two nodes, without IO.
//!
//! A driver moves bytes between it and a transport that has an ordered byte channel for control and
//! one for each lane; the node uses it to talk to the other end.
//!
//! - Both ends say hello first. A dialer may stream behind its hello; a listener reads nothing else
//!   before its node has accepted, so a stranger's records stay in the transport.
//! - A message is lent to the [`Receiver`] from where it came in, or, if it came in pieces, from
//!   the one place where it was gathered.
//! - Control messages are queued here, up to a limit. Lane frames are written straight into the
//!   caller's buffer and only counted, so that a body is copied once.
//! - Whatever the other end does wrong ends the session with a [`Fault`], and nothing else.

mod config;
mod credit;
mod event;
mod handshake;
mod machine;
mod output;
mod timer;

pub use config::{Config, ConfigError, Versions};
pub use event::{Closed, Event, Fault, Incompatible};
pub use output::SendError;

use landfall_core::codec::NoRoom;

use crate::buffer::Buffer;
use crate::channel::{Channel, LaneIndex};
use crate::frame::{FrameDecoder, prefix};
use crate::limits::{CONTROL_RESERVE_BYTES, FRAME_PREFIX_BYTES, GOODBYE_BYTES_MAX};
use crate::message::{Control, Features, Goodbye, GoodbyeCode, Introduction, LaneMessage};
use crate::time::{Duration, Instant};
use handshake::State;
use machine::{Machine, OwnLanes};

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// The end that made the connection.
    Dialer,
    /// The end that was called, and decides whether it accepts.
    Listener,
}

/// Where the messages of the other end go. What it lends is gone when the call returns.
pub trait Receiver {
    /// A control message: its hello, `Accept`, its goodbye, and whatever is for the node to decide.
    /// Pings, probes and credit stay in the session.
    ///
    /// # Errors
    /// The content breaks the protocol; the session ends.
    fn on_control(&mut self, message: Control<'_>) -> Result<(), Fault>;

    /// A message of a lane. When the node has dealt with it, it gives `cost` bytes of credit back
    /// with [`Session::consume`].
    ///
    /// # Errors
    /// The content breaks the protocol; the session ends.
    fn on_lane(
        &mut self,
        lane: LaneIndex,
        message: LaneMessage<'_>,
        cost: usize,
    ) -> Result<(), Fault>;
}

/// Bytes to be sent on a channel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Transmit<'a> {
    /// The channel.
    pub channel: Channel,
    /// The bytes, at least one.
    pub bytes: &'a [u8],
}

/// One end of a connection. `LANES` is the most lanes that either end may have.
///
/// Methods come in four families: getters; `handle_*`, for what happened; commands, named by verbs;
/// and `poll_*`, for what follows from it. After any of the first three, poll events until there
/// are none, then transmits until the transport takes no more, then the timeout. Time never goes
/// back.
#[derive(Clone, Debug)]
pub struct Session<B, const LANES: usize> {
    control_in: FrameDecoder<B>,
    lanes_in: [FrameDecoder<B>; LANES],
    machine: Machine<B, LANES>,
}

impl<B: Buffer, const LANES: usize> Session<B, LANES> {
    /// Begins a session over a new connection. The hello is the first thing to transmit.
    ///
    /// # Errors
    /// The settings cannot work, or are too much for the buffers of this type.
    pub fn new(
        role: Role,
        config: Config,
        introduction: Introduction<'_>,
        now: Instant,
    ) -> Result<Self, ConfigError> {
        config.check(role)?;
        let control_in = FrameDecoder::new(config.frame_bytes_max);
        let lanes_in = core::array::from_fn(|_| FrameDecoder::new(config.frame_bytes_max));
        let lanes = own_lanes(&introduction, LANES).ok_or(ConfigError::Memory)?;
        let mut machine = Machine::new(config, role, lanes, now);
        let frames = control_in.frame_bytes_max() == config.frame_bytes_max;
        if !frames || machine.output.limit() < config.control_bytes_max {
            return Err(ConfigError::Memory);
        }
        let hello = Control::Hello(handshake::hello(&config, introduction));
        machine.output.queue(&hello, 0).map_err(|_| ConfigError::ControlBytes)?;
        Ok(Self { control_in, lanes_in, machine })
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        self.machine.role
    }

    /// Whether everything may be said.
    pub fn is_open(&self) -> bool {
        matches!(self.machine.state, State::Open(_))
    }

    /// How the session ended, if it has.
    pub fn closed(&self) -> Option<Closed> {
        self.machine.closed()
    }

    /// The version of the protocol, once the other end's hello was heard.
    pub fn version(&self) -> Option<u16> {
        self.machine.agreed().map(|agreed| agreed.version)
    }

    /// What both ends can do, or are taken to before the other end's hello was heard.
    pub fn features(&self) -> Features {
        self.machine.agreed().map_or(self.machine.early(), |agreed| agreed.features)
    }

    /// The time from the last ping that was answered to its answer.
    pub fn round_trip(&self) -> Option<Duration> {
        self.machine.pings.round_trip
    }

    /// When something was last heard; none if not everything may be said.
    pub fn heard_at(&self) -> Option<Instant> {
        self.is_open().then_some(self.machine.silence.since)
    }

    /// The longest message that [`Session::send_lane`] may ever take in this session, in bytes. It
    /// changes once, when the other end's hello is heard.
    pub fn message_bytes_max(&self) -> usize {
        self.machine.frame_bytes_max()
    }

    /// The longest message that [`Session::send_lane`] takes on this lane now, in bytes: what
    /// credit, the transport's backlog and the frame's limit allow.
    pub fn lane_room(&self, lane: LaneIndex) -> usize {
        let machine = &self.machine;
        if !machine.may_send() || lane.get() >= machine.lanes.count {
            return 0;
        }
        let unsent = machine.output.lane_unsent(lane.get());
        let room = machine.config.lane_bytes_max.saturating_sub(unsent);
        let credit = machine.allowance.left(lane.get() == machine.lanes.most_urgent);
        let credit = usize::try_from(credit).unwrap_or(usize::MAX);
        room.min(credit).saturating_sub(FRAME_PREFIX_BYTES).min(machine.frame_bytes_max())
    }

    /// Bytes of this lane that have been given out and not been reported as sent.
    pub fn lane_unsent(&self, lane: LaneIndex) -> usize {
        self.machine.output.lane_unsent(lane.get())
    }

    /// The longest message that [`Session::send_control`] may ever take in this session, in bytes.
    /// It changes once, when the other end's hello is heard.
    pub fn control_bytes_max(&self) -> usize {
        self.machine.control_bytes_max()
    }

    /// The longest message that [`Session::send_control`] takes now, in bytes.
    pub fn control_room(&self) -> usize {
        let room = self.machine.output.control_room();
        if self.machine.may_send() { room.min(self.control_bytes_max()) } else { 0 }
    }

    /// Bytes came in on a channel. Returns how many were taken; the others are to be kept and
    /// offered again, with what follows them, after the next event. After the end everything is
    /// taken and dropped.
    #[must_use = "what was not taken must be offered again"]
    pub fn handle_received(
        &mut self,
        channel: Channel,
        bytes: &[u8],
        now: Instant,
        sink: &mut impl Receiver,
    ) -> usize {
        let taken = match channel.lane() {
            None => self.receive_control(bytes, now, sink),
            Some(lane) => self.receive_lane(lane, bytes, sink),
        };
        match taken {
            Ok(taken) if taken > 0 => self.machine.heard(now),
            Ok(_) => {}
            Err(fault) => self.machine.fail(fault),
        }
        if self.machine.closed().is_some() { bytes.len() } else { taken.unwrap_or(bytes.len()) }
    }

    /// The transport has sent bytes of a channel, or holds them as its own. More than was lent or
    /// framed is a defect of the caller.
    pub fn handle_sent(&mut self, channel: Channel, bytes: usize) {
        match channel.lane() {
            None => self.machine.output.sent_control(bytes),
            Some(lane) => self.machine.output.sent_lane(lane.get(), bytes),
        }
    }

    /// The connection is gone.
    pub fn handle_disconnected(&mut self) {
        self.machine.output.clear();
        self.machine.close(Closed::TransportLost);
    }

    /// The time that [`Session::poll_timeout`] gave has come. Harmless if it has not.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.machine.timers.expire(now) {
            self.machine.on_timer(timer, now);
        }
    }

    /// Accepts the dialer under a site, after [`Event::HelloReceived`].
    ///
    /// # Errors
    /// This is not a listener that decides, perhaps because the session ended meanwhile.
    pub fn accept(&mut self, site: &str, now: Instant) -> Result<(), SendError> {
        let State::Deciding(agreed) = self.machine.state else { return Err(SendError::NotOpen) };
        self.machine.output.queue(&Control::Accept(site), GOODBYE_BYTES_MAX)?;
        self.machine.open(agreed, now);
        Ok(())
    }

    /// Ends the session with a reason, for the other end's log and for its people. A listener
    /// refuses a dialer in this way. Does nothing if the session is over.
    pub fn goodbye(&mut self, code: GoodbyeCode, text: &str) {
        self.machine.part(Closed::Here(code), Goodbye { code, text });
    }

    /// Queues a control message of the node. A dialer may do so before it is accepted.
    ///
    /// # Errors
    /// It cannot be sent now, or at all.
    pub fn send_control(&mut self, message: &Control<'_>) -> Result<(), SendError> {
        if !for_the_node(message) {
            return Err(SendError::NotYours);
        }
        if !self.machine.may_send() {
            return Err(SendError::NotOpen);
        }
        let len = message.encoded_len().map_err(|NoRoom| SendError::TooLong)?;
        if len > self.control_bytes_max() {
            return Err(SendError::TooLong);
        }
        self.machine.output.queue(message, CONTROL_RESERVE_BYTES)?;
        self.machine.said();
        Ok(())
    }

    /// Writes the frame of a lane message to the front of `out`, for the caller to send on the
    /// lane's channel in this order, and returns its length. A dialer may do so before it is
    /// accepted.
    ///
    /// # Errors
    /// It cannot be sent now, or at all. [`SendError::NoCredit`] and [`SendError::NoRoom`] pass.
    pub fn send_lane(
        &mut self,
        lane: LaneIndex,
        message: &LaneMessage<'_>,
        out: &mut [u8],
    ) -> Result<usize, SendError> {
        let whole = FRAME_PREFIX_BYTES + message.encoded_len();
        let out = out.get_mut(..whole).ok_or(SendError::NoRoom)?;
        let head = self.send_lane_head(lane, message, out)?;
        let tail = out.get_mut(head..).ok_or(SendError::NoRoom)?;
        tail.copy_from_slice(message.tail());
        Ok(whole)
    }

    /// As [`Session::send_lane`], but without an entry's body: the caller sends it from where it
    /// is, right behind the bytes written here, whose number is returned.
    ///
    /// # Errors
    /// It cannot be sent now, or at all.
    pub fn send_lane_head(
        &mut self,
        lane: LaneIndex,
        message: &LaneMessage<'_>,
        out: &mut [u8],
    ) -> Result<usize, SendError> {
        let len = message.encoded_len();
        self.check_send(lane, message, len)?;
        let (start, rest) =
            out.split_at_mut_checked(FRAME_PREFIX_BYTES).ok_or(SendError::NoRoom)?;
        start.copy_from_slice(&prefix(len).ok_or(SendError::TooLong)?);
        let head = message.encode_head(rest).map_err(|NoRoom| SendError::NoRoom)?;
        self.machine.said();
        self.machine.allowance.spend(FRAME_PREFIX_BYTES + len);
        self.machine.output.add_unsent(lane.get(), FRAME_PREFIX_BYTES + len);
        Ok(FRAME_PREFIX_BYTES + head)
    }

    /// Gives back the credit of lane messages that the node has dealt with. More than was received
    /// is a defect of the caller.
    pub fn consume(&mut self, cost: usize) {
        self.machine.granted.consume(cost);
    }

    /// Asks the other end whether it is alive, since another claims to be it. One of
    /// [`Event::ProbeAnswered`] and [`Event::ProbeSilent`] follows.
    ///
    /// # Errors
    /// The session is not open.
    pub fn probe(&mut self, nonce: u64, now: Instant) -> Result<(), SendError> {
        if !self.is_open() {
            return Err(SendError::NotOpen);
        }
        self.machine.probe = Some(nonce);
        self.machine.output.soon.probe = Some(nonce);
        let due = now.plus(self.machine.config.probe_within);
        self.machine.timers.set(timer::Timer::Probe, due);
        Ok(())
    }

    /// The next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.machine.events.pop()
    }

    /// Bytes to be sent next. They stay until [`Session::handle_sent`] tells how many were sent.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<Transmit<'_>> {
        self.machine.speak();
        let bytes = self.machine.output.waiting();
        (!bytes.is_empty()).then_some(Transmit { channel: Channel::CONTROL, bytes })
    }

    /// When [`Session::handle_timeout`] is to be called, and what for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.machine.timers.next()
    }

    fn receive_control(
        &mut self,
        bytes: &[u8],
        now: Instant,
        sink: &mut impl Receiver,
    ) -> Result<usize, Fault> {
        let mut taken = 0;
        while self.machine.reads_control() {
            let rest = bytes.get(taken..).unwrap_or_default();
            let fed = self.control_in.handle(rest)?;
            taken += fed.consumed;
            let Some(frame) = fed.frame else { break };
            self.machine.on_control(frame, now, sink)?;
        }
        self.control_in.settle();
        Ok(taken)
    }

    fn receive_lane(
        &mut self,
        lane: LaneIndex,
        bytes: &[u8],
        sink: &mut impl Receiver,
    ) -> Result<usize, Fault> {
        let readable = self.machine.check_lane(lane)?;
        let Some(decoder) = self.lanes_in.get_mut(lane.get()).filter(|_| readable) else {
            return Ok(0);
        };
        let mut taken = 0;
        loop {
            let rest = bytes.get(taken..).unwrap_or_default();
            let fed = decoder.handle(rest)?;
            taken += fed.consumed;
            self.machine.granted.receive(fed.consumed)?;
            let Some(frame) = fed.frame else { break };
            self.machine.on_lane(lane, frame, sink)?;
        }
        decoder.settle();
        Ok(taken)
    }

    fn check_send(
        &self,
        lane: LaneIndex,
        message: &LaneMessage<'_>,
        len: usize,
    ) -> Result<(), SendError> {
        if !self.machine.may_send() {
            return Err(SendError::NotOpen);
        }
        let agreed = match message {
            LaneMessage::Entry(entry) => self.features().has_codec(entry.codec),
            LaneMessage::Gap(_) | LaneMessage::Begin(_) | LaneMessage::Level(_) => true,
        };
        if lane.get() >= self.machine.lanes.count || !agreed {
            return Err(SendError::NotAgreed);
        }
        if len > self.message_bytes_max() {
            return Err(SendError::TooLong);
        }
        let most_urgent = lane.get() == self.machine.lanes.most_urgent;
        let whole = FRAME_PREFIX_BYTES + len;
        if self.machine.allowance.left(most_urgent) < whole as u64 {
            return Err(SendError::NoCredit);
        }
        let unsent = self.machine.output.lane_unsent(lane.get());
        let fits = whole <= self.machine.config.lane_bytes_max.saturating_sub(unsent);
        if fits { Ok(()) } else { Err(SendError::NoRoom) }
    }
}

/// The lanes that this end announces, if there is room for them.
fn own_lanes(introduction: &Introduction<'_>, lanes_max: usize) -> Option<OwnLanes> {
    let count = introduction.lanes.count();
    let by_priority = introduction.lanes.iter().min_by_key(|(_, lane)| u8::MAX - lane.priority);
    let (most_urgent, _) = by_priority?;
    (count <= lanes_max).then_some(OwnLanes { count, most_urgent: most_urgent.get() })
}

/// Whether the node says it, and not the session.
fn for_the_node(message: &Control<'_>) -> bool {
    match message {
        Control::Hello(_)
        | Control::Accept(_)
        | Control::Goodbye(_)
        | Control::Ping(_)
        | Control::Pong(_)
        | Control::Credit(_)
        | Control::Probe(_)
        | Control::ProbeAnswer(_) => false,
        Control::Tips(_)
        | Control::TipsWanted
        | Control::Durable(_)
        | Control::NeedFrom(_)
        | Control::Refused(_)
        | Control::Diverged(_)
        | Control::CopySeen(_)
        | Control::PromiseLacking(_)
        | Control::Standing(_)
        | Control::RootGap(_)
        | Control::Promised(_)
        | Control::Subscribe(_)
        | Control::Clock(_) => true,
    }
}
