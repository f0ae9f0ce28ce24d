//! A node at a host: the machine and the transport of the daemon, between which a driver like the
//! daemon's stands.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use landfall::identity::tls::HubKeys;
use landfall::identity::{NodeKey, PublicKey};
use landfall::node::checksum;
use landfall::node::{
    Append, AppendOutcome, ClientId, Direction, Event, LinkId, Node, Now, OpenGate, Parting,
    PeerKey, Settings, Ticket, Uplink,
};
use landfall::transport::{
    self, Carrier, Channel, CloseCode, Connection, ConnectionId, ResetKey, Transport,
    TransportEvent,
};
use landfall_core::batch::ClockQuality;
use landfall_core::journal::{CONTROL_SLOTS, Config, Journal};
use landfall_core::limits::LANES_MAX;
use landfall_core::num::Partition;
use landfall_core::tables::{Heap, Parts};
use landfall_protocol::time::{Duration, Instant};
use tokio::sync::mpsc;

use super::{Card, HostIx, Internet};
use landfall_simulation::journal;
use landfall_simulation::media::disk::SimDisk;
use landfall_simulation::rng::Rng;

/// A node and what it stands on.
pub(super) struct Station {
    pub(super) card: Card,
    pub(super) node: Node<SimDisk, OpenGate>,
    /// What happened to its connections, for whoever reads a failure.
    pub(super) log: Vec<String>,
    /// What carried its last connection.
    pub(super) carrier: Option<Carrier>,
    transport: Transport,
    events: mpsc::Receiver<TransportEvent>,
    upstream: Option<(SocketAddr, PublicKey)>,
    links: BTreeMap<LinkId, Connection>,
    ids: BTreeMap<ConnectionId, LinkId>,
    next_link: u64,
    /// Connections that end when the last word has had time to arrive.
    closing: Vec<(Instant, Connection, String)>,
    outcomes: BTreeMap<Ticket, AppendOutcome>,
    tickets: u64,
    disk: SimDisk,
}

/// What a station is told about itself.
pub(super) struct Plan {
    pub(super) site: &'static str,
    pub(super) host: HostIx,
    pub(super) key: NodeKey,
    /// Where it listens.
    pub(super) listen: Option<SocketAddr>,
    /// Whom it dials.
    pub(super) upstream: Option<(SocketAddr, PublicKey)>,
    pub(super) transport: transport::Settings,
    /// How often it visits, if its link is metered.
    pub(super) visit_every: Option<Duration>,
}

/// Slots of the lanes `normal` and `urgent`, and of the node's own.
const SLOTS: [u32; 3] = [40, 12, 4];
const SLOT_BYTES: u32 = 256 * 1024;
const ENTRY_MAX: u32 = 100 * 1024;
const STREAMS_MAX: usize = 64;

/// As many events as the daemon takes before a commit, and as many as it lets wait.
const TURN_INPUTS_MAX: usize = 512;
const EVENTS_MAX: usize = 1_024;
/// How long the last word of a session may take.
const LAST_WORD: Duration = Duration::from_millis(300);

impl Plan {
    /// An empty disk for its station.
    pub(super) fn disk(rng: &mut Rng) -> SimDisk {
        SimDisk::new(SLOTS.iter().sum::<u32>() + CONTROL_SLOTS, SLOT_BYTES, 512, rng.u64())
    }

    /// Starts its station on what a disk holds.
    pub(super) fn start(
        &self,
        internet: &Internet,
        disk: SimDisk,
        rng: &mut Rng,
        now: Now,
    ) -> Station {
        let mut slots = [0; LANES_MAX];
        slots[..SLOTS.len()].copy_from_slice(&SLOTS);
        let config = Config {
            checksum: checksum(),
            lanes: SLOTS.len() as u8,
            slots,
            entry_max: ENTRY_MAX,
            commit_max: 2 * ENTRY_MAX,
            join_max: 16 * 1024,
        };
        let count = SLOTS.iter().sum::<u32>() + CONTROL_SLOTS;
        let parts = Parts::<Heap>::new(count, STREAMS_MAX, config.commit_max as usize);
        let fresh = journal::fresh(rng);
        let (opened, _) = Journal::open(disk.clone(), config, parts, fresh).expect("it opens");
        let settings = Settings {
            upstream: self.upstream.is_some(),
            visit_every: self.visit_every,
            ..Settings::standard(self.site)
        };
        let node = Node::new(opened, settings, OpenGate, fresh.boot, rng.u64(), now);
        let card = Card::new(internet, self.host);
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let transport = Transport::over(
            Arc::new(card.clone()),
            self.key.clone(),
            self.transport.clone(),
            ResetKey([7; 32]),
            sender,
        );
        if let Some(address) = self.listen {
            transport.listen(address).expect("nobody else listens there");
        }
        Station {
            card,
            node,
            log: Vec::new(),
            carrier: None,
            transport,
            events,
            upstream: self.upstream,
            links: BTreeMap::new(),
            ids: BTreeMap::new(),
            next_link: 1,
            closing: Vec::new(),
            outcomes: BTreeMap::new(),
            tickets: 0,
            disk,
        }
    }
}

impl Station {
    /// Ends it as SIGKILL would, and gives back what its disk holds.
    pub(super) fn kill(self) -> SimDisk {
        self.card.kill();
        self.disk
    }

    /// What it stands on.
    pub(super) fn disk(&self) -> &SimDisk {
        &self.disk
    }

    /// Whether it has a connection.
    pub(super) fn is_connected(&self) -> bool {
        !self.links.is_empty()
    }

    /// Hands an append to the node.
    pub(super) fn append(&mut self, topic: &str, records: Vec<u8>) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let append = Append {
            ticket,
            client: ClientId(1),
            attempt: 0,
            topic: topic.into(),
            partition: Partition::new(0),
            records,
            group: false,
            clock: ClockQuality::Local,
        };
        self.node.handle_append(append);
        ticket
    }

    /// What became of an append.
    pub(super) fn outcome(&mut self, ticket: Ticket) -> Option<AppendOutcome> {
        self.outcomes.remove(&ticket)
    }

    /// Takes what the transport has reported, and registers for more. Returns whether there was
    /// anything.
    pub(super) fn poll_events(&mut self, context: &mut Context<'_>, now: Now) -> bool {
        let mut taken = 0;
        while taken < TURN_INPUTS_MAX
            && let Poll::Ready(Some(event)) = self.events.poll_recv(context)
        {
            self.on_transport(event, now);
            taken += 1;
        }
        taken > 0
    }

    /// Makes durable what came in, and hands on what follows.
    pub(super) fn turn(&mut self, now: Now) {
        if self.node.poll_timeout().is_some_and(|(at, _)| at <= now.instant) {
            self.node.handle_timeout(now);
        }
        for (_, connection, why) in self.closing.extract_if(.., |(at, ..)| *at <= now.instant) {
            connection.close(CloseCode::DONE, &why);
        }
        self.node.commit(now);
        while let Some(transmit) = self.node.poll_transmit() {
            let channel = Channel::new(transmit.channel).expect("the node has eight channels");
            if let Some(connection) = self.links.get(&transmit.link) {
                // If it is closed, the transport says so in an event of its own.
                let _ = connection.send(channel, Bytes::from(transmit.bytes));
            }
        }
        while let Some(event) = self.node.poll_event() {
            self.on_event(event, now);
        }
    }

    /// When something is to be done next without an event.
    pub(super) fn due(&self) -> Option<Instant> {
        let closing = self.closing.iter().map(|(at, ..)| *at);
        closing.chain(self.node.poll_timeout().map(|(at, _)| at)).min()
    }

    fn on_event(&mut self, event: Event, now: Now) {
        match event {
            Event::Appended(ticket, outcome) => drop(self.outcomes.insert(ticket, outcome)),
            Event::Dial(_) => {
                self.say(now, "dials".into());
                let (address, key) = self.upstream.expect("only who has an upstream dials");
                self.transport.dial(vec![address.to_string()], HubKeys(vec![key]));
            }
            Event::Close(link, why, parting) => {
                self.say(now, format!("closes: {why}"));
                if let Some(connection) = self.links.remove(&link) {
                    let wait = if parting == Parting::Here { LAST_WORD } else { Duration::ZERO };
                    self.closing.push((now.instant.plus(wait), connection, why.clone()));
                    self.node.handle_disconnected(link, &why, now);
                }
            }
            Event::Alarm(alarm) => self.say(now, format!("{:?}: {}", alarm.kind, alarm.text)),
        }
    }

    fn on_transport(&mut self, event: TransportEvent, now: Now) {
        match event {
            TransportEvent::Opened(opened) => {
                self.say(now, format!("connected over {} to {}", opened.carrier, opened.remote));
                self.carrier = Some(opened.carrier);
                let link = LinkId(self.next_link);
                self.next_link += 1;
                let up = opened.attempt.is_some();
                let direction = if up { Direction::Up } else { Direction::Down };
                self.ids.insert(opened.connection.id(), link);
                self.links.insert(link, opened.connection);
                let key = PeerKey(*opened.peer.as_bytes());
                self.node.handle_connected(link, direction, key, now);
            }
            TransportEvent::Received { connection, channel, bytes } => {
                if let Some(link) = self.ids.get(&connection) {
                    self.node.handle_received(*link, channel.number(), &bytes, now);
                }
            }
            TransportEvent::Sent { connection, channel, bytes } => {
                if let Some(link) = self.ids.get(&connection) {
                    self.node.handle_sent(*link, channel.number(), bytes);
                }
            }
            TransportEvent::Closed { connection, reason } => {
                self.say(now, format!("disconnected: {reason}"));
                if let Some(link) = self.ids.remove(&connection) {
                    self.links.remove(&link);
                    self.node.handle_disconnected(link, &reason.to_string(), now);
                }
            }
            TransportEvent::DialFailed { failure, .. } => {
                self.say(now, format!("not reached: {failure}"));
                self.node.handle_dial_failed(Uplink::FIRST, &failure.to_string(), now);
            }
        }
    }

    fn say(&mut self, now: Now, what: String) {
        self.log.push(format!("{:>9} ms: {what}", now.instant.millis()));
    }
}
