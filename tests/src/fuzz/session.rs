//! Two sessions joined by pipes, driven by the bytes of an input: what they say to each other, what
//! is put in between, and when. Whatever happens, neither holds more than its settings allow.

use landfall_core::name::StreamId;
use landfall_core::num::{BootId, Epoch, LogId, Offset, Partition, Seq, Timestamp};
use landfall_protocol::buffer::Growable;
use landfall_protocol::channel::{Channel, LaneIndex};
use landfall_protocol::frame::prefix;
use landfall_protocol::limits::{CHANNELS_MAX, FRAME_BYTES_CAP};
use landfall_protocol::message::{
    Control, Durable, Entry, GoodbyeCode, Introduction, LaneMessage, LaneOffer, Lanes, List,
    Promise, Purpose, Scope, StreamPoint,
};
use landfall_protocol::session::{Closed, Config, Event, Fault, Receiver, Role, Session};
use landfall_protocol::time::{Duration, Instant};

use super::input::Input;

/// Frames of the sessions: what a node that listens must take at least, and some more.
const FRAME_BYTES_MAX: usize = 68 * 1024;
/// No pipe holds more that was put in between.
const PIPE_BYTES_MAX: usize = 256 * 1024;

/// Steps, a byte of what and who each, then what they need.
pub(super) fn session(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut world = World::new();
    while !input.is_empty() {
        let step = input.u8();
        world.step(step & 0x7F, usize::from(step >> 7), &mut input);
        world.ends.iter().for_each(End::check);
    }
    // Whoever goes on transports the rest.
    (0..64).for_each(|_| world.carry_all());
    world.ends.iter().for_each(End::check);
}

struct World {
    /// The dialer and the listener.
    ends: [End; 2],
    now: Instant,
}

struct End {
    session: Session<Growable, 7>,
    node: Node,
    config: Config,
    /// What was sent to this end and has not arrived, by channel.
    inbox: [Vec<u8>; CHANNELS_MAX],
    /// Lane bytes that its transport holds.
    unsent: [usize; CHANNELS_MAX],
    closed: Option<Closed>,
}

/// A node that takes everything.
#[derive(Default)]
struct Node {
    /// Bytes of lane messages that it was lent and has not consumed.
    cost: usize,
    objects: bool,
}

impl Receiver for Node {
    fn on_control(&mut self, _message: Control<'_>) -> Result<(), Fault> {
        if self.objects { Err(Fault::Content("no")) } else { Ok(()) }
    }

    fn on_lane(
        &mut self,
        _lane: LaneIndex,
        _message: LaneMessage<'_>,
        cost: usize,
    ) -> Result<(), Fault> {
        self.cost += cost;
        if self.objects { Err(Fault::Content("no")) } else { Ok(()) }
    }
}

impl World {
    fn new() -> Self {
        let end = |role, site| End::new(role, site);
        Self {
            ends: [end(Role::Dialer, "ship"), end(Role::Listener, "shore")],
            now: Instant::default(),
        }
    }

    fn step(&mut self, what: u8, who: usize, input: &mut Input<'_>) {
        let now = self.now;
        let end = &mut self.ends[who];
        match what % 18 {
            0 => end.deliver(input.u8(), usize::from(input.u16()), now),
            1 => self.transmit(who, usize::from(input.u16())),
            2 => self.carry_all(),
            3 => end.put(input.u8(), |_| input.take(64).to_vec()),
            4 => {
                let (channel, len) = (input.u8(), usize::from(input.u8()));
                end.put(channel, |_| framed(input.take(len)));
            }
            5 => {
                let (channel, fill, len) = (input.u8(), input.u8(), usize::from(input.u16()));
                end.put(channel, |_| vec![fill; len]);
            }
            6 => drop(end.session.accept("ship", now)),
            7 => end.session.goodbye(GoodbyeCode::Shutdown, "over"),
            8 => end.say(input),
            9 => self.send_lane(who, input),
            10 => end.lane_sent(input.u8(), usize::from(input.u16())),
            11 => end.consume(usize::from(input.u16())),
            12 => {
                self.now = now.plus(Duration::from_millis(u64::from(input.u16())));
                self.ends.iter_mut().for_each(|end| end.session.handle_timeout(self.now));
            }
            13 => drop(end.session.probe(u64::from(input.u16()), now)),
            14 => end.session.handle_disconnected(),
            15 => end.node.objects = input.u8() == 0,
            16 => {
                let channel = usize::from(input.u8()) % CHANNELS_MAX;
                let kept = usize::from(input.u16());
                end.inbox[channel].truncate(kept);
            }
            _ => end.flip(input),
        }
    }

    /// Gives some of what an end has to say to the other one.
    fn transmit(&mut self, from: usize, most: usize) {
        let Some(transmit) = self.ends[from].session.poll_transmit() else { return };
        let (channel, len) = (transmit.channel, transmit.bytes.len().min(most));
        let bytes = transmit.bytes[..len].to_vec();
        self.ends[from].session.handle_sent(channel, len);
        self.ends[1 - from].inbox[usize::from(channel.number())].extend(bytes);
    }

    /// Lets everything flow once in both directions.
    fn carry_all(&mut self) {
        for who in [0, 1] {
            self.transmit(who, usize::MAX);
            let now = self.now;
            let end = &mut self.ends[who];
            (0..CHANNELS_MAX as u8).for_each(|channel| end.deliver(channel, usize::MAX, now));
        }
    }

    fn send_lane(&mut self, who: usize, input: &mut Input<'_>) {
        let (lane, len) = (input.u8(), usize::from(input.u16()) * 2);
        let Some(lane) = LaneIndex::new(lane % 8) else { return };
        let end = &mut self.ends[who];
        let body = vec![1; len];
        let message = entry(&body);
        let room = end.session.lane_room(lane);
        let mut out = vec![0; message.encoded_len() + 3];
        let sent = end.session.send_lane(lane, &message, &mut out);
        assert_eq!(sent.is_ok(), message.encoded_len() <= room, "room is told truly: {sent:?}");
        let Ok(framed) = sent else { return };
        let channel = usize::from(Channel::of_lane(lane).number());
        end.unsent[channel] += framed;
        self.ends[1 - who].inbox[channel].extend(&out[..framed]);
    }
}

impl End {
    fn new(role: Role, site: &str) -> Self {
        let config = Config::standard(FRAME_BYTES_MAX);
        let session = Session::new(role, config, introduction(site), Instant::default());
        let session = session.expect("the standard settings work");
        let (inbox, unsent) = (Default::default(), [0; CHANNELS_MAX]);
        Self { session, node: Node::default(), config, inbox, unsent, closed: None }
    }

    fn deliver(&mut self, channel: u8, most: usize, now: Instant) {
        let channel = channel % CHANNELS_MAX as u8;
        let Some(number) = Channel::new(channel) else { return };
        let pipe = &mut self.inbox[usize::from(channel)];
        let offered = &pipe[..most.min(pipe.len())];
        let taken = self.session.handle_received(number, offered, now, &mut self.node);
        assert!(taken <= offered.len(), "no more is taken than there was");
        pipe.drain(..taken);
        while let Some(event) = self.session.poll_event() {
            if let Event::Closed(closed) = event {
                assert_eq!(self.closed.replace(closed), None, "a session ends once");
            }
        }
    }

    /// Puts bytes between the ends.
    fn put(&mut self, channel: u8, bytes: impl FnOnce(()) -> Vec<u8>) {
        let pipe = &mut self.inbox[usize::from(channel) % CHANNELS_MAX];
        let bytes = bytes(());
        if pipe.len() + bytes.len() <= PIPE_BYTES_MAX {
            pipe.extend(bytes);
        }
    }

    /// Changes a byte on its way.
    fn flip(&mut self, input: &mut Input<'_>) {
        let pipe = &mut self.inbox[usize::from(input.u8()) % CHANNELS_MAX];
        let (at, with) = (usize::from(input.u16()), input.u8());
        if let Some(byte) = pipe.get_mut(at) {
            *byte ^= with;
        }
    }

    fn say(&mut self, input: &mut Input<'_>) {
        let stream = StreamId {
            origin: "ship",
            topic: "ais",
            partition: Partition::new(u32::from(input.u8())),
        };
        let (epoch, next) = (Epoch::new(2), Offset::new(u64::from(input.u16())));
        let points = [StreamPoint { stream, epoch, next, hash: None }; 40];
        let (log, commit) = (LogId::new(1), landfall_core::num::CommitNo::ZERO);
        let promise = Promise { log, epoch, commit };
        let streams = List::new(&points[..usize::from(input.u8()) % 41]);
        let message = match input.u8() % 5 {
            0 => Control::Ping(1),
            1 => Control::TipsWanted,
            2 => Control::NeedFrom(points[0]),
            3 => Control::PromiseLacking(promise),
            _ => Control::Durable(Durable { scope: Scope::Hop, promise, streams }),
        };
        let room = self.session.control_room();
        let sent = self.session.send_control(&message);
        let len = message.encoded_len().expect("the list is short");
        let its_own = matches!(message, Control::Ping(_));
        assert!(its_own || sent.is_ok() == (len <= room), "room is told truly: {sent:?}");
    }

    fn lane_sent(&mut self, channel: u8, most: usize) {
        let number = 1 + channel % (CHANNELS_MAX as u8 - 1);
        let Some(channel) = Channel::new(number) else { return };
        let sent = most.min(self.unsent[usize::from(number)]);
        self.unsent[usize::from(number)] -= sent;
        self.session.handle_sent(channel, sent);
    }

    fn consume(&mut self, most: usize) {
        let consumed = most.min(self.node.cost);
        self.node.cost -= consumed;
        self.session.consume(consumed);
    }

    /// It holds no more than its settings allow, and what has ended stays so.
    fn check(&self) {
        let waiting = self.session.clone().poll_transmit().map_or(0, |sent| sent.bytes.len());
        assert!(waiting <= self.config.control_bytes_max, "{waiting} bytes wait");
        assert!(self.unsent.iter().all(|unsent| *unsent <= self.config.lane_bytes_max));
        assert!(self.node.cost as u64 <= self.config.credit_bytes, "credit bounds what comes");
        assert!(self.closed.is_none() || self.session.closed() == self.closed);
        assert!(self.session.closed().is_none() || !self.session.is_open());
        // The other end says how long a frame it takes.
        assert!(self.session.message_bytes_max() <= FRAME_BYTES_CAP);
    }
}

/// Bytes in a frame of their own.
pub(super) fn framed(bytes: &[u8]) -> Vec<u8> {
    let prefix = prefix(bytes.len()).expect("it is short");
    [&prefix, bytes].concat()
}

pub(super) fn introduction(site: &str) -> Introduction<'_> {
    let lane = |name, priority| LaneOffer { name, priority };
    Introduction {
        site,
        log: LogId::new(1),
        epoch: Epoch::new(2),
        boot: BootId::new(3),
        software: "test",
        clock: Timestamp::new(0),
        root: None,
        promise: None,
        lanes: Lanes::new(&[lane("normal", 10), lane("urgent", 200)]).expect("two lanes"),
        enrol: None,
        openings: List::EMPTY,
    }
}

/// An entry with that body.
pub(super) fn entry(body: &[u8]) -> LaneMessage<'_> {
    let body_len = body.len() as u32;
    let (purpose, seq, records) = (Purpose::Uplink, Seq::ZERO, body_len.min(1));
    let (codec, body_crc, path) = (0, 0, &[][..]);
    LaneMessage::Entry(Entry { purpose, seq, records, codec, body_len, body_crc, path, body })
}
