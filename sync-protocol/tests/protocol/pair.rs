//! Two sessions joined by a pipe for each channel, in virtual time. The pipes cut wherever a seed
//! says, and what an end does not take waits in them.

use landfall_core::num::{BootId, Epoch, LogId, Seq, Timestamp};
use landfall_protocol::buffer::Growable;
use landfall_protocol::channel::{Channel, LaneIndex};
use landfall_protocol::message::{
    Control, Entry, Introduction, LaneMessage, LaneOffer, Lanes, List, Purpose,
};
use landfall_protocol::session::{
    Closed, Config, Event, Fault, Receiver, Role, SendError, Session,
};
use landfall_protocol::time::{Duration, Instant};

pub(crate) const NORMAL: u8 = 0;
pub(crate) const URGENT: u8 = 1;

/// What an end has heard and seen.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) control: Vec<String>,
    pub(crate) bodies: Vec<(usize, Vec<u8>)>,
    pub(crate) events: Vec<Event>,
    /// Credit that is to be given back.
    pub(crate) cost: usize,
    /// What it finds wrong with every lane message.
    pub(crate) objection: Option<Fault>,
}

pub(crate) struct End {
    pub(crate) session: Session<Growable, 7>,
    pub(crate) heard: Heard,
    /// What was sent and has not arrived, by channel.
    pub(crate) pipes: [Vec<u8>; 8],
}

pub(crate) struct Pair {
    pub(crate) dialer: End,
    pub(crate) listener: End,
    pub(crate) now: Instant,
    cuts: u64,
}

pub(crate) fn lane(index: u8) -> LaneIndex {
    LaneIndex::new(index).unwrap()
}

pub(crate) fn introduction(site: &str) -> Introduction<'_> {
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
        lanes: Lanes::new(&[lane("normal", 10), lane("urgent", 200)]).unwrap(),
        enrol: None,
        openings: List::EMPTY,
    }
}

pub(crate) fn entry(body: &[u8]) -> LaneMessage<'_> {
    let body_len = u32::try_from(body.len()).unwrap();
    let (purpose, seq, records) = (Purpose::Uplink, Seq::ZERO, 1);
    let (codec, body_crc, path) = (0, 0, &[][..]);
    LaneMessage::Entry(Entry { purpose, seq, records, codec, body_len, body_crc, path, body })
}

impl End {
    fn new(role: Role, site: &str, config: Config) -> Self {
        let session = Session::new(role, config, introduction(site), Instant::default()).unwrap();
        Self { session, heard: Heard::default(), pipes: Default::default() }
    }

    /// Frames a message of a lane and puts it into the lane's pipe.
    pub(crate) fn say(&mut self, index: u8, body: &[u8]) -> Result<(), SendError> {
        let mut out = vec![0; body.len() + 100];
        let framed = self.session.send_lane(lane(index), &entry(body), &mut out)?;
        self.pipes[usize::from(index) + 1].extend(&out[..framed]);
        Ok(())
    }

    /// Gives back the credit of everything heard.
    pub(crate) fn consume(&mut self) {
        self.session.consume(std::mem::take(&mut self.heard.cost));
    }

    pub(crate) fn saw(&self, event: Event) -> bool {
        self.heard.events.contains(&event)
    }

    /// Moves what the session has to say into the control pipe, and takes its events.
    pub(crate) fn transmit(&mut self) -> bool {
        let mut any = false;
        while let Some(transmit) = self.session.poll_transmit() {
            let (channel, len) = (transmit.channel, transmit.bytes.len());
            self.pipes[usize::from(channel.number())].extend(transmit.bytes);
            self.session.handle_sent(channel, len);
            any = true;
        }
        while let Some(event) = self.session.poll_event() {
            self.heard.events.push(event);
            any = true;
        }
        any
    }
}

impl Pair {
    pub(crate) fn new(dialer: Config, listener: Config, seed: u64) -> Self {
        let dialer = End::new(Role::Dialer, "ship", dialer);
        let listener = End::new(Role::Listener, "shore", listener);
        Self { dialer, listener, now: Instant::default(), cuts: seed }
    }

    /// Two ends with the usual settings.
    pub(crate) fn standard(seed: u64) -> Self {
        let config = Config::standard(68 * 1024);
        Self::new(config, config, seed)
    }

    /// Two ends that have opened their session.
    pub(crate) fn open(seed: u64) -> Self {
        Self::standard(seed).opened()
    }

    /// The pair with its session opened.
    pub(crate) fn opened(self) -> Self {
        let mut pair = self;
        pair.settle();
        pair.listener.session.accept("ship", pair.now).unwrap();
        pair.settle();
        assert!(pair.dialer.session.is_open() && pair.listener.session.is_open());
        pair
    }

    /// Moves bytes until nothing moves.
    pub(crate) fn settle(&mut self) {
        loop {
            let mut moved = self.dialer.transmit();
            moved |= self.listener.transmit();
            moved |= deliver(&mut self.dialer, &mut self.listener, self.now, &mut self.cuts);
            moved |= deliver(&mut self.listener, &mut self.dialer, self.now, &mut self.cuts);
            if !moved {
                return;
            }
        }
    }

    /// Lets time pass, timer by timer, with the link up.
    pub(crate) fn pass(&mut self, span: Duration) {
        let until = self.now.plus(span);
        self.settle();
        while let Some(due) = self.next_timer().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.dialer.session.handle_timeout(self.now);
            self.listener.session.handle_timeout(self.now);
            self.settle();
        }
        self.now = until;
    }

    fn next_timer(&self) -> Option<Instant> {
        let due = |end: &End| end.session.poll_timeout().map(|(due, _)| due);
        due(&self.dialer).into_iter().chain(due(&self.listener)).min()
    }
}

impl Receiver for Heard {
    fn on_control(&mut self, message: Control<'_>) -> Result<(), Fault> {
        self.control.push(format!("{message:?}"));
        Ok(())
    }

    fn on_lane(
        &mut self,
        lane: LaneIndex,
        message: LaneMessage<'_>,
        cost: usize,
    ) -> Result<(), Fault> {
        if let LaneMessage::Entry(entry) = message {
            self.bodies.push((lane.get(), entry.body.to_vec()));
        }
        self.cost += cost;
        self.objection.map_or(Ok(()), Err)
    }
}

/// Brings what waits in each pipe to the other end, in pieces.
fn deliver(from: &mut End, to: &mut End, now: Instant, cuts: &mut u64) -> bool {
    let mut moved = false;
    for number in 0..8 {
        let pipe = &mut from.pipes[usize::from(number)];
        let channel = Channel::new(number).unwrap();
        while !pipe.is_empty() {
            *cuts = cuts.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let piece = (1 + (*cuts >> 33) as usize % 997).min(pipe.len());
            let taken = to.session.handle_received(channel, &pipe[..piece], now, &mut to.heard);
            if number > 0 && from.session.closed().is_none() {
                from.session.handle_sent(channel, taken);
            }
            pipe.drain(..taken);
            moved |= taken > 0;
            if taken == 0 {
                break;
            }
        }
    }
    moved
}

/// How the session of an end is over.
pub(crate) fn closed(end: &End) -> Closed {
    let closed = end.session.closed().unwrap();
    assert!(end.saw(Event::Closed(closed)));
    closed
}
