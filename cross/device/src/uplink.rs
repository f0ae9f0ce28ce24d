//! The uplink: what is stored goes to a gateway, in order, until the root has it.
//!
//! A lean end of a session. It speaks the protocol of `docs/protocol.md` as a dialer with one lane,
//! and leaves out what a microcontroller has no memory for: it sends nothing before it is accepted,
//! takes no records back that its flash lost, and begins each session behind what the root has.
//!
//! The byte stream must be reliable and in order, and whoever is at its other end is believed. A
//! serial line is made such a stream by [`crate::line`].

mod clock;
mod inbox;
mod judge;
mod outbox;
mod progress;
mod send;

use core::fmt;

use embedded_io::{Read, ReadReady, Write, WriteReady};
use embedded_storage::nor_flash::NorFlash;
use landfall_core::codec::NoRoom;
use landfall_core::frontier::{BranchIx, Frontier, StreamIx};
use landfall_core::journal::Cursor;
use landfall_core::num::{LogId, Timestamp};
use landfall_protocol::limits::{FRAME_BYTES_MIN, FRAME_PREFIX_BYTES, credit_bytes_min};
use landfall_protocol::message::GoodbyeCode;
use landfall_protocol::time::{Duration, Instant};

use crate::device::{Device, LANE};
use clock::Clock;
use inbox::Inbox;
use outbox::Outbox;
use progress::Progress;

/// Bytes that an uplink is lent for what comes in.
pub const INBOX_BYTES: usize = FRAME_PREFIX_BYTES + FRAME_BYTES_MIN;

/// Openings that the hello and a clock's note tell of: all that a device remembers.
const OPENINGS: usize = 4;
/// Bytes that are read from the stream at once.
const READ_BYTES: usize = 64;
/// Bytes that the gateway may have under way on its lanes; all of them are dropped.
const CREDIT_BYTES: u64 = credit_bytes_min(FRAME_BYTES_MIN);
/// Within this time a session must be open.
const HANDSHAKE: Duration = Duration::from_secs(20);
/// A ping follows when something was said and nothing was heard for so long.
const PING_AFTER: Duration = Duration::from_secs(10);
/// The same when nothing was said.
const PING_IDLE_AFTER: Duration = Duration::from_secs(25);
/// The gateway is given up when a ping was followed by nothing for so long.
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// One end of a session, in memory that is lent: [`INBOX_BYTES`] for what comes in, and for what
/// goes out as much as the device was lent for reading.
#[derive(Debug)]
pub struct Uplink<'m, const STREAMS: usize> {
    inbox: Inbox<'m>,
    outbox: Outbox<'m>,
    state: State,
    due: Due,
    /// The calendar as a caller knows it, for the gateway's people.
    wall: Timestamp,
    clock: Clock,
    heard: Instant,
    pinged: Option<Instant>,
    /// Something was said that an answer is due to.
    said: bool,
    /// Bytes that may be sent on the lane, and that were, since the session began.
    allowed: u64,
    spent: u64,
    /// The total that was granted to the gateway.
    granted: u64,
    /// The gateway's journal, and the root's.
    peer: Option<LogId>,
    root: Option<LogId>,
    cursor: Cursor,
    streams: [Progress; STREAMS],
    parted: bool,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// There is none.
    Down(Option<Ended>),
    /// The hello is said, and the other awaited, since then.
    Greeting(Instant),
    /// The gateway's hello was heard.
    Waiting(Instant),
    Open,
}

/// What is to be said as soon as there is room.
#[derive(Clone, Copy, Debug, Default)]
struct Due {
    hello: bool,
    clock: bool,
    /// At the end of the lane.
    tips: bool,
    /// At once.
    tips_wanted: bool,
    ping: bool,
    pong: Option<u64>,
    probe: Option<u64>,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Ended {
    /// The gateway said goodbye.
    Goodbye(GoodbyeCode),
    /// The gateway said nothing for too long, or did not accept in time.
    Silent,
    /// What came in is no session of this protocol.
    PeerAtFault,
    /// The gateway speaks another version.
    Incompatible,
    /// The lent memory is too small for a message.
    Memory,
    /// The gateway never saw a stream whose beginning only the root has, and does not know the root
    /// yet. Dial again later, or another one.
    RootUnknown,
    /// The stream failed.
    Stream,
}

impl From<NoRoom> for Ended {
    fn from(_: NoRoom) -> Self {
        Self::Memory
    }
}

impl<'m, const STREAMS: usize> Uplink<'m, STREAMS> {
    /// An uplink without a connection.
    pub fn new(inbox: &'m mut [u8], outbox: &'m mut [u8]) -> Self {
        Self {
            inbox: Inbox::new(inbox),
            outbox: Outbox::new(outbox),
            state: State::Down(None),
            due: Due::default(),
            wall: Timestamp::new(0),
            clock: Clock::new(),
            heard: Instant::default(),
            pinged: None,
            said: false,
            allowed: 0,
            spent: 0,
            granted: CREDIT_BYTES,
            peer: None,
            root: None,
            cursor: Cursor::default(),
            streams: [Progress::new(landfall_core::num::Offset::ZERO); STREAMS],
            parted: false,
        }
    }

    /// There is a new connection: a session begins.
    pub fn connected(&mut self, now: Instant) {
        self.inbox.clear();
        self.outbox.clear();
        self.state = State::Greeting(now);
        self.due = Due { hello: true, ..Due::default() };
        (self.heard, self.pinged, self.said) = (now, None, false);
        (self.allowed, self.spent, self.granted) = (0, 0, CREDIT_BYTES);
        (self.peer, self.root) = (None, None);
    }

    /// The connection is gone.
    pub fn disconnected(&mut self) {
        self.end(Ended::Stream);
    }

    /// Whether the gateway has accepted this device.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Why the last session ended; none while there is one, and before the first.
    pub fn ended(&self) -> Option<Ended> {
        if let State::Down(ended) = self.state { ended } else { None }
    }

    /// Whether a gateway ever said that somebody else wrote as this site, or that it holds records
    /// that this device lost. A person should look at it.
    pub fn has_parted(&self) -> bool {
        self.parted
    }

    /// Moves bytes: at most 64 in, and as many out of one message as the stream takes. Returns
    /// whether there was anything to do; if not, nothing is due before the next byte, append, or
    /// second.
    ///
    /// `wall` is the time by the calendar, zero as long as it is not known. The timestamps of
    /// records are by the same clock, and by `now` where that is zero: once the gateway has said
    /// its time, readers are told what those should have been that were wrong.
    pub fn poll<F: NorFlash, S: Read + ReadReady + Write + WriteReady>(
        &mut self,
        device: &mut Device<'_, F, STREAMS>,
        now: Instant,
        wall: Timestamp,
        stream: &mut S,
    ) -> bool {
        self.wall = wall;
        self.due.clock |= self.clock.look(now, wall);
        match self.step(device, now, stream) {
            Ok(busy) => busy,
            Err(ended) => {
                self.end(ended);
                false
            }
        }
    }

    fn step<F: NorFlash, S: Read + ReadReady + Write + WriteReady>(
        &mut self,
        device: &mut Device<'_, F, STREAMS>,
        now: Instant,
        stream: &mut S,
    ) -> Result<bool, Ended> {
        if let State::Down(_) = self.state {
            return Ok(false);
        }
        let mut busy = false;
        if stream.read_ready().map_err(|_| Ended::Stream)? {
            let mut bytes = [0; READ_BYTES];
            let read = stream.read(&mut bytes).map_err(|_| Ended::Stream)?;
            if read == 0 {
                return Err(Ended::Stream);
            }
            self.receive(device, bytes.get(..read).unwrap_or_default(), now)?;
            busy = true;
        }
        self.pass(now)?;
        if self.outbox.waiting().is_empty() {
            let before = self.cursor;
            self.next_message(device)?;
            busy |= self.cursor != before;
        }
        if !self.outbox.waiting().is_empty() && stream.write_ready().map_err(|_| Ended::Stream)? {
            let sent = stream.write(self.outbox.waiting()).map_err(|_| Ended::Stream)?;
            self.outbox.sent(sent);
            busy = true;
        }
        Ok(busy)
    }

    fn receive<F: NorFlash>(
        &mut self,
        device: &mut Device<'_, F, STREAMS>,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(), Ended> {
        (self.heard, self.pinged, self.said) = (now, None, false);
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.inbox.take(rest)?;
            rest = rest.get(taken..).unwrap_or_default();
            self.judge(device, now)?;
        }
        Ok(())
    }

    /// Time has passed.
    fn pass(&mut self, now: Instant) -> Result<(), Ended> {
        if let State::Greeting(since) | State::Waiting(since) = self.state {
            return if now.since(since) >= HANDSHAKE { Err(Ended::Silent) } else { Ok(()) };
        }
        if let Some(pinged) = self.pinged {
            return if now.since(pinged) >= PONG_WITHIN { Err(Ended::Silent) } else { Ok(()) };
        }
        let after = if self.said { PING_AFTER } else { PING_IDLE_AFTER };
        if now.since(self.heard) >= after {
            (self.due.ping, self.pinged) = (true, Some(now));
        }
        Ok(())
    }

    /// The gateway has accepted: everything is sent that the root does not have.
    fn open<F: NorFlash>(&mut self, device: &Device<'_, F, STREAMS>) {
        self.state = State::Open;
        (self.due.tips, self.due.clock) = (true, true);
        self.cursor = device.journal.first(LANE);
        for (ix, progress) in (0..).map(StreamIx).zip(&mut self.streams) {
            let branch = device.journal.frontier().branch(ix, BranchIx::MAIN);
            *progress = Progress::new(branch.map(|branch| branch.root).unwrap_or_default());
        }
    }

    fn end(&mut self, ended: Ended) {
        if !matches!(self.state, State::Down(_)) {
            self.outbox.clear();
            self.state = State::Down(Some(ended));
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Goodbye(code) => write!(f, "the gateway said goodbye: {code}"),
            Self::Silent => f.write_str("nothing was heard of the gateway for too long"),
            Self::PeerAtFault => f.write_str("the gateway broke the protocol"),
            Self::Incompatible => f.write_str("the gateway speaks another version"),
            Self::Memory => f.write_str("the lent memory is too small for a message"),
            Self::RootUnknown => f.write_str("the gateway does not know the root yet"),
            Self::Stream => f.write_str("the stream failed"),
        }
    }
}

impl core::error::Error for Ended {}
