//! The gateway's end of one line: bytes in, bytes out, and the channels in them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use landfall_protocol::line::{Answerer, Heard, PAYLOAD_BYTES_MAX};
use landfall_protocol::mux::{CHUNK_HEADER_BYTES, MuxReader};
use landfall_protocol::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::Semaphore;

use super::super::event::{Channel, CloseReason};
use super::super::link::{Link, reserve};
use super::super::network::ByteStream;
use super::super::offence::{Offence, Offences};
use crate::clock;
use crate::identity::{LineKeys, PublicKey};

/// Bytes of a channel in one frame.
const CHUNK_BYTES_MAX: usize = PAYLOAD_BYTES_MAX - CHUNK_HEADER_BYTES;
/// Bytes that are read at once.
const READ_BYTES: usize = 512;
/// When nothing is due.
const NOTHING_DUE: Duration = Duration::from_secs(60);

/// A line that is there.
pub(super) struct Wire {
    reader: ReadHalf<Box<dyn ByteStream>>,
    writer: WriteHalf<Box<dyn ByteStream>>,
    answerer: Answerer,
    keys: Arc<LineKeys>,
    /// What was read and is not judged yet lies between the two.
    read: [u8; READ_BYTES],
    from: usize,
    to: usize,
    name: Arc<str>,
    offences: Arc<Offences>,
}

/// Why nothing more is heard.
pub(super) enum Silence {
    /// The device does not take what is sent.
    Lost,
    /// The line itself is gone.
    Gone(io::Error),
}

/// How a session ended.
pub(super) enum End {
    /// The device has begun another one.
    Anew,
    /// The device is gone, or breaks the rules.
    Over(CloseReason),
    /// The line is gone.
    Gone(io::Error),
}

impl Wire {
    pub(super) fn new(
        stream: Box<dyn ByteStream>,
        (keys, seed): (Arc<LineKeys>, [u8; 16]),
        name: Arc<str>,
        offences: Arc<Offences>,
    ) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let (answerer, read) = (Answerer::new(seed), [0; READ_BYTES]);
        Self { reader, writer, answerer, keys, read, from: 0, to: 0, name, offences }
    }

    /// The site of the device that the session is with.
    pub(super) fn site(&self) -> Option<&str> {
        self.answerer.site()
    }

    /// What the node knows that device's key by.
    pub(super) fn peer(&self) -> Option<PublicKey> {
        self.keys.name_of(self.site()?)
    }

    /// Ends the session.
    pub(super) fn hang_up(&mut self) {
        self.answerer.hang_up();
    }

    /// Waits until a device has shown its key. A call that is given up loses nothing.
    pub(super) async fn opened(&mut self) -> io::Result<()> {
        loop {
            match self.heard(None).await {
                Ok(Heard::Opened) => return Ok(()),
                Ok(_) => {}
                // Without a session there is nobody to be lost.
                Err(Silence::Lost) => self.hang_up(),
                Err(Silence::Gone(error)) => return Err(error),
            }
        }
    }

    /// Carries what a session has to say, from its first bytes on, until it ends.
    pub(super) async fn carry(&mut self, link: &Link) -> End {
        let mut channels = Channels::default();
        loop {
            if let Err(rule) = channels.deliver(self.answerer.payload(), link).await {
                return End::Over(CloseReason::Misbehaved(rule));
            }
            match self.heard(Some(link)).await {
                Ok(Heard::Opened) => return End::Anew,
                Ok(_) => {}
                Err(Silence::Lost) => return End::Over(CloseReason::TimedOut),
                Err(Silence::Gone(error)) => return End::Gone(error),
            }
        }
    }

    /// Sends, repeats and acknowledges until something was heard that matters.
    async fn heard(&mut self, link: Option<&Link>) -> Result<Heard, Silence> {
        loop {
            if let Some(heard) = self.judge() {
                return Ok(heard);
            }
            if self.answerer.is_lost(now()) {
                return Err(Silence::Lost);
            }
            let due = self.answerer.due().map(|due| due.since(now()).millis());
            let due = due.map_or(NOTHING_DUE, |millis| Duration::from_millis(millis.max(1)));
            let ready = link.filter(|_| self.answerer.is_ready());
            let waiting = self.answerer.waiting(now());
            tokio::select! {
                biased;
                written = self.writer.write(waiting), if !waiting.is_empty() => {
                    let written = written.map_err(Silence::Gone)?;
                    if written == 0 {
                        return Err(Silence::Gone(io::ErrorKind::WriteZero.into()));
                    }
                    self.answerer.sent(written, now());
                }
                read = self.reader.read(&mut self.read) => {
                    (self.from, self.to) = (0, read.map_err(Silence::Gone)?);
                    if self.to == 0 {
                        return Err(Silence::Gone(io::ErrorKind::UnexpectedEof.into()));
                    }
                }
                (channel, bytes) = next_chunk(ready), if ready.is_some() => {
                    self.put(channel, &bytes);
                    if let Some(link) = ready {
                        link.sent(channel, bytes.len()).await;
                    }
                }
                () = tokio::time::sleep(due) => {}
            }
        }
    }

    /// Judges what was read, up to something that matters.
    fn judge(&mut self) -> Option<Heard> {
        while self.from < self.to {
            let byte = *self.read.get(self.from)?;
            self.from += 1;
            match self.answerer.handle_byte(byte, |site| self.keys.get(site)) {
                Heard::Nothing => {}
                Heard::Noise => {
                    let why = "what came is no frame: noise, or somebody without the key";
                    self.offences.count(Offence::LineNoise, &self.name, why);
                }
                Heard::Refused => {
                    let site = self.answerer.called_as().unwrap_or_default();
                    let why = format!(
                        "somebody calls as {site} without the key that this line's `keys_file` \
                         has of it, or it has none"
                    );
                    self.offences.count(Offence::LineKey, &self.name, why);
                }
                heard @ (Heard::Opened | Heard::Payload) => return Some(heard),
            }
        }
        None
    }

    fn put(&mut self, channel: Channel, bytes: &[u8]) {
        let mut chunk = Vec::with_capacity(PAYLOAD_BYTES_MAX);
        let [low, high, ..] = bytes.len().to_le_bytes();
        chunk.extend([channel.number(), low, high]);
        chunk.extend(bytes);
        let taken = self.answerer.put(&chunk, now());
        assert_eq!(taken, chunk.len(), "a frame takes a whole chunk");
    }
}

async fn next_chunk(link: Option<&Link>) -> (Channel, Bytes) {
    let Some(link) = link else { return std::future::pending().await };
    link.outbox.take_first(|channel| link.settings.priority(channel), CHUNK_BYTES_MAX).await
}

fn now() -> Instant {
    Instant::from_millis(clock::monotonic().ms())
}

/// The channels of a session.
#[derive(Default)]
struct Channels {
    mux: MuxReader,
    budgets: [Option<Arc<Semaphore>>; Channel::COUNT],
}

impl Channels {
    /// Hands on what came, each piece when its channel has room.
    async fn deliver(&mut self, payload: &[u8], link: &Link) -> Result<(), &'static str> {
        let payload = Bytes::copy_from_slice(payload);
        let mut at = 0;
        while at < payload.len() {
            let rest = payload.get(at..).unwrap_or_default();
            let found = self.mux.handle(rest).map_err(|_| "a chunk that can't be")?;
            at += found.header;
            let Some(piece) = found.piece else { continue };
            let channel = Channel::new(piece.channel.number()).ok_or("an unknown channel")?;
            let budget = self.budgets.get_mut(channel.index()).ok_or("an unknown channel")?;
            let budget = budget.get_or_insert_with(|| link.receive_budget()).clone();
            let len = piece.bytes.len().min(link.settings.receive_budget as usize);
            let room = reserve(&budget, len).await;
            link.received(channel, payload.slice(at..at + len), room).await;
            self.mux.taken(len);
            at += len;
        }
        Ok(())
    }
}
