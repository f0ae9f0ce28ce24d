//! A peer that says whatever it likes: a transport with a key, over which frames are sent that no
//! node would send. What it hears is kept for whoever wants to know.

mod forged;
mod raw;

pub use forged::{Forged, entry, packed};
pub use raw::Raw;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use landfall::identity::NodeKey;
use landfall::identity::tls::HubKeys;
use landfall::identity::token::Token;
use landfall::node::codec;
use landfall::transport::{Channel, Connection, ResetKey, Settings, Transport, TransportEvent};
use landfall_core::num::{BootId, Epoch, LogId, Timestamp};
use landfall_protocol::frame::prefix;
use landfall_protocol::limits::{FRAME_BYTES_CAP, credit_bytes_min};
use landfall_protocol::message::{
    Control, Decoded, Enrol, GoodbyeCode, Hello, Introduction, LaneMessage, LaneOffer, Lanes, List,
    Terms,
};
use tokio::sync::mpsc;

use crate::process::PATIENCE;

/// Who speaks, and to whom.
#[derive(Clone)]
pub struct Identity {
    /// Its name.
    pub site: String,
    /// The number that its key, journal and epoch come from.
    pub seed: u64,
    /// What it enrols with, and where the hub is.
    pub token: Token,
    /// Whether it shows its token.
    pub enrols: bool,
    /// Lanes that it announces.
    pub lanes: usize,
    /// Versions that it speaks.
    pub versions: (u16, u16),
}

/// What a peer was told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Heard {
    /// It is in.
    Accepted,
    /// Records of a stream are wanted from an offset.
    NeedFrom(String, u64),
    /// Records are synced up to there.
    Durable(String, u64),
    /// A stream is not taken.
    Refused(String),
    /// It is over, says the other end.
    Goodbye(GoodbyeCode, String),
    /// The connection is gone.
    Closed(String),
}

impl Identity {
    /// A site with the token that a hub printed.
    ///
    /// # Errors
    /// It is no token.
    pub fn new(site: &str, seed: u64, token: &str) -> Result<Self, String> {
        let token = token.parse::<Token>().map_err(|error| error.to_string())?;
        Ok(Self { site: site.into(), seed, token, enrols: true, lanes: 1, versions: (1, 1) })
    }

    /// The key, always the same for a seed.
    pub fn key(&self) -> NodeKey {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        NodeKey::from_seed(seed)
    }

    /// The frame of its hello.
    pub fn hello(&self) -> Vec<u8> {
        let names: Vec<_> = (0..self.lanes).map(|lane| format!("lane-{lane}")).collect();
        let offers: Vec<_> = names.iter().map(|name| LaneOffer { name, priority: 1 }).collect();
        let id = self.token.id.to_string();
        let introduction = Introduction {
            site: &self.site,
            log: LogId::new(self.seed),
            epoch: Epoch::new(self.seed),
            boot: BootId::new(1),
            software: "rogue 1",
            clock: Timestamp::new(0),
            root: None,
            promise: None,
            lanes: Lanes::new(&offers).expect("names of lanes"),
            enrol: self.enrols.then(|| Enrol { token: &id, secret: self.token.secret.expose() }),
            openings: List::EMPTY,
        };
        let terms = Terms {
            protocol_min: self.versions.0,
            protocol_max: self.versions.1,
            features: codec::FEATURES,
            frame_bytes_max: FRAME_BYTES_CAP,
            credit: 2 * credit_bytes_min(FRAME_BYTES_CAP),
        };
        control(&Control::Hello(Hello { terms, introduction }))
    }
}

/// A frame around a message of control.
pub fn control(message: &Control<'_>) -> Vec<u8> {
    let mut bytes = vec![0; message.encoded_len().expect("lists are short")];
    message.encode(&mut bytes).expect("it has the room that it takes");
    frame(&bytes)
}

/// A frame around a message of a lane.
pub fn lane(message: &LaneMessage<'_>) -> Vec<u8> {
    let mut bytes = vec![0; message.encoded_len()];
    message.encode(&mut bytes).expect("it has the room that it takes");
    frame(&bytes)
}

/// A frame around any bytes.
pub fn frame(bytes: &[u8]) -> Vec<u8> {
    let prefix = prefix(bytes.len()).expect("short enough for a frame");
    [&prefix, bytes].concat()
}

/// A connection to a hub.
pub struct Peer {
    connection: Connection,
    events: mpsc::Receiver<TransportEvent>,
    ears: Ears,
    unsent: BTreeMap<Channel, usize>,
    _transport: Transport,
}

/// Bytes of a channel that wait to be sent.
const UNSENT_MAX: usize = 256 * 1024;

impl Peer {
    /// Connects, and says nothing.
    ///
    /// # Errors
    /// The hub is not reached, or takes no connection.
    pub async fn connect(identity: &Identity) -> Result<Self, String> {
        let (reports, mut events) = mpsc::channel(256);
        let settings = Settings {
            priorities: Settings::control_then(&[0; 7]),
            handshake_timeout: Duration::from_secs(20),
            ..Settings::device()
        };
        let transport = Transport::new(identity.key(), settings, ResetKey([9; 32]), reports);
        transport.dial(identity.token.addresses.clone(), HubKeys(identity.token.hub_keys.clone()));
        let event = tokio::time::timeout(PATIENCE, events.recv()).await;
        match event.map_err(|_| "no answer")?.ok_or("the transport ended")? {
            TransportEvent::Opened(opened) => Ok(Self {
                connection: opened.connection,
                events,
                ears: Ears::default(),
                unsent: BTreeMap::new(),
                _transport: transport,
            }),
            TransportEvent::DialFailed { failure, .. } => Err(failure.to_string()),
            other => Err(format!("{other:?}")),
        }
    }

    /// Connects, says hello, and waits until it is in.
    ///
    /// # Errors
    /// It is not let in: what it heard.
    pub async fn enter(identity: &Identity) -> Result<Self, Heard> {
        let mut peer = Self::connect(identity).await.map_err(Heard::Closed)?;
        peer.send(0, &identity.hello()).await;
        match peer.heard().await {
            Heard::Accepted => Ok(peer),
            other => Err(other),
        }
    }

    /// Sends bytes on a channel, as fast as the other end takes them. What can't be sent any more
    /// is dropped: the connection is over, as will be heard.
    pub async fn send(&mut self, channel: u8, bytes: &[u8]) {
        let channel = Channel::new(channel).expect("there are eight channels");
        for piece in bytes.chunks(64 * 1024) {
            while self.unsent.get(&channel).copied().unwrap_or_default() > UNSENT_MAX {
                match tokio::time::timeout(PATIENCE, self.events.recv()).await {
                    Ok(Some(event)) => {
                        if self.take(event).is_some() {
                            return;
                        }
                    }
                    _ => return,
                }
            }
            if self.connection.send(channel, Bytes::copy_from_slice(piece)).is_err() {
                return;
            }
            *self.unsent.entry(channel).or_default() += piece.len();
        }
    }

    /// What is heard next, of what a test may ask for.
    pub async fn heard(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.ears.heard() {
                return heard;
            }
            let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
            let event = event.expect("the hub says something").expect("the transport runs");
            if let Some(closed) = self.take(event) {
                return closed;
            }
        }
    }

    /// Waits for one of the things that are heard; others are passed over.
    pub async fn until(&mut self, wanted: impl Fn(&Heard) -> bool) -> Heard {
        loop {
            let heard = self.heard().await;
            if wanted(&heard) || matches!(heard, Heard::Goodbye(..) | Heard::Closed(_)) {
                return heard;
            }
        }
    }

    /// Waits until the hub ends it.
    pub async fn ended(&mut self) -> Heard {
        self.until(|_| false).await
    }

    fn take(&mut self, event: TransportEvent) -> Option<Heard> {
        match event {
            TransportEvent::Received { channel, bytes, .. } if channel == Channel::CONTROL => {
                self.ears.take(&bytes);
            }
            TransportEvent::Sent { channel, bytes, .. } => {
                let unsent = self.unsent.entry(channel).or_default();
                *unsent = unsent.saturating_sub(bytes);
            }
            TransportEvent::Closed { reason, .. } => {
                // What came before the end is heard first.
                return Some(self.ears.heard().unwrap_or(Heard::Closed(reason.to_string())));
            }
            _ => {}
        }
        None
    }
}

/// What a hub says on the control channel, as it is understood by somebody who only listens.
#[derive(Default)]
pub struct Ears {
    unread: Vec<u8>,
    promised: VecDeque<Heard>,
}

impl Ears {
    /// Bytes have come.
    pub fn take(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// The next thing that was said.
    pub fn heard(&mut self) -> Option<Heard> {
        loop {
            if let Some(promised) = self.promised.pop_front() {
                return Some(promised);
            }
            let length = self.unread.first_chunk::<3>()?;
            let length = u32::from_le_bytes([length[0], length[1], length[2], 0]) as usize;
            let frame = self.unread.get(3..3 + length)?.to_vec();
            self.unread.drain(..3 + length);
            let heard = match Control::decode(&frame).expect("a hub speaks well") {
                Decoded::Message(Control::Accept(_)) => Heard::Accepted,
                Decoded::Message(Control::NeedFrom(point)) => {
                    Heard::NeedFrom(point.stream.to_string(), point.next.get())
                }
                Decoded::Message(Control::Durable(durable)) => {
                    let points = durable.streams.iter();
                    let told = points
                        .map(|point| Heard::Durable(point.stream.to_string(), point.next.get()));
                    self.promised.extend(told);
                    continue;
                }
                Decoded::Message(Control::Refused(refused)) => {
                    Heard::Refused(refused.stream.to_string())
                }
                Decoded::Message(Control::Goodbye(goodbye)) => {
                    Heard::Goodbye(goodbye.code, goodbye.text.into())
                }
                _ => continue,
            };
            return Some(heard);
        }
    }
}
