//! The node thread: takes inputs, makes them durable, and hands on what follows.
//!
//! One turn: as many inputs as wait, up to a limit → commit → transmits and events → the timeout.
//! While the disk syncs the commit of one turn, the inputs of the next are taken.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use landfall_core::frontier::Frontier;
use landfall_core::num::Timestamp;
use landfall_protocol::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

use super::consumers::Lags;
use super::dial::Upstream;
use super::gate::SiteGate;
use super::handle::Waiting;
use super::input::Input;
use super::open::Opened;
use super::producer::Taken;
use super::reader::{Readers, reached};
use super::wear::Wear;
use crate::clock;
use crate::media::FileMedia;
use crate::node::{Coming, Direction, Event, LinkId, Node, Now, Parting, PeerKey, Phase, Ticket};
use crate::transport::{Channel, CloseCode, Connection, ConnectionId, Transport, TransportEvent};

/// How the node thread ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stopped {
    /// Whether the journal was closed in good order.
    pub clean: bool,
}

/// Inputs that are taken before a commit.
const TURN_INPUTS_MAX: usize = 512;
/// How long inputs are taken before a commit. What peers repeat is looked up, which may take long;
/// they must hear meanwhile that the node lives, and how far it has come.
const TURN_MAX: Duration = Duration::from_millis(100);

/// How long the last word of a session may take before its connection is closed.
const LAST_WORD: Duration = Duration::from_millis(300);

/// Whether the node's thread goes on after a turn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Course {
    GoOn,
    Stop,
}

/// What the node thread holds.
pub(super) struct Machine {
    pub(super) node: Node<FileMedia, SiteGate>,
    pub(super) transport: Option<Transport>,
    /// Where the transport's tasks run; this thread has a runtime without network.
    pub(super) network: tokio::runtime::Handle,
    pub(super) upstream: Upstream,
    pub(super) links: BTreeMap<LinkId, Peer>,
    pub(super) readers: Readers,
    pub(super) lags: Lags,
    pub(super) advertise: Vec<String>,
    pub(super) key: crate::identity::PublicKey,
    pub(super) data: PathBuf,
    pub(super) seen: BTreeMap<String, i64>,
    pub(super) wear: Wear,
    pub(super) memory_max: Option<u64>,
    pub(super) synced: watch::Sender<bool>,
    /// Stands where the upstream node would.
    #[cfg(feature = "kafka")]
    pub(super) kafka: Option<super::kafka::KafkaEnd>,
    /// What the hubs before a Kafka share.
    #[cfg(feature = "kafka")]
    pub(super) shared: Option<super::shared::Shared>,
    /// Where what is of the shards of others goes.
    #[cfg(feature = "kafka")]
    pub(super) forwards: super::forwards::Forwards,
    enrolling: bool,
    /// Connections that end when the last word has had time to arrive: closing overtakes it.
    closing: Vec<(Instant, Connection, String)>,
    pub(super) waiting: BTreeMap<Ticket, Waiting>,
    pub(super) produced: BTreeMap<Ticket, Taken>,
    ids: BTreeMap<ConnectionId, LinkId>,
    pub(super) next_link: u64,
    commits: watch::Sender<u64>,
}

/// A peer that is connected.
pub(super) struct Peer {
    connection: Connection,
    pub(super) remote: String,
    pub(super) carrier: &'static str,
}

/// The time, as the node sees it.
pub(super) fn now() -> Now {
    Now {
        instant: Instant::from_millis(clock::monotonic().ms()),
        wall: Timestamp::new(clock::wall().ms()),
    }
}

impl Machine {
    pub(super) fn new(
        opened: Opened,
        transport: Option<Transport>,
        upstream: Upstream,
        advertise: Vec<String>,
        commits: watch::Sender<u64>,
        synced: watch::Sender<bool>,
    ) -> Self {
        let written = opened.node.journal().media().written().sum();
        let counts = (written, opened.node.gate().written());
        let wear = Wear::new(counts, &opened.config, now());
        Self {
            node: opened.node,
            transport,
            network: tokio::runtime::Handle::current(),
            upstream,
            links: BTreeMap::new(),
            readers: Readers::default(),
            lags: Lags::default(),
            advertise,
            key: opened.key.public(),
            data: opened.data,
            seen: BTreeMap::new(),
            wear,
            memory_max: opened.config.node.memory_max.map(|most| most.0),
            synced,
            #[cfg(feature = "kafka")]
            kafka: None,
            #[cfg(feature = "kafka")]
            shared: None,
            #[cfg(feature = "kafka")]
            forwards: super::forwards::Forwards::default(),
            enrolling: opened.token.is_some(),
            closing: Vec::new(),
            waiting: BTreeMap::new(),
            produced: BTreeMap::new(),
            ids: BTreeMap::new(),
            next_link: 1,
            commits,
        }
    }

    /// Runs until it is told to stop.
    pub(super) async fn run(mut self, mut inputs: mpsc::Receiver<Input>) -> Stopped {
        // What was known of the shards' owners when the node ran last may still hold.
        #[cfg(feature = "kafka")]
        self.route();
        self.node.handle_timeout(now());
        self.follow();
        loop {
            if self.node.journal().has_failed() {
                tracing::error!(
                    "the disk failed to write or sync; the node stops, and recovers when it is \
                     started again. Check the disk."
                );
                return self.stop(inputs).await;
            }
            let course = match self.next(&mut inputs).await {
                Some(input) => self.turn(input, &mut inputs),
                None => {
                    self.node.handle_timeout(now());
                    Course::GoOn
                }
            };
            if course == Course::Stop {
                return self.stop(inputs).await;
            }
            self.turn_over(!inputs.is_empty());
        }
    }

    /// The next input, or none if it is time for something else. Before the node rests, what is in
    /// flight lands.
    async fn next(&mut self, inputs: &mut mpsc::Receiver<Input>) -> Option<Input> {
        if self.node.holds() {
            match inputs.try_recv() {
                Ok(input) => {
                    if self.node.poll_timeout().is_some_and(|(at, _)| at <= now().instant) {
                        self.node.handle_timeout(now());
                    }
                    return Some(input);
                }
                Err(_) => self.land(),
            }
            if self.node.journal().has_failed() {
                return None;
            }
        }
        let wait = self.wait();
        tokio::select! {
            input = inputs.recv() => Some(input.unwrap_or(Input::Stop)),
            () = tokio::time::sleep(wait) => None,
        }
    }

    /// Takes as many inputs as wait, up to a limit.
    fn turn(&mut self, input: Input, inputs: &mut mpsc::Receiver<Input>) -> Course {
        let commit = self.node.journal().last_commit();
        let began = now().instant;
        let mut next = input;
        for taken in 1.. {
            match next {
                Input::Stop => return Course::Stop,
                input => self.take(input),
            }
            // What is received must be taken, so the limits come first. Behind a commit that is
            // full, the peers are told at once: they may be waiting for it.
            let long = now().instant.since(began) >= TURN_MAX;
            let journal = self.node.journal();
            let told = journal.last_commit() != commit || journal.is_full();
            if taken >= TURN_INPUTS_MAX || told || long {
                break;
            }
            match inputs.try_recv() {
                Ok(input) => next = input,
                Err(_) => break,
            }
        }
        Course::GoOn
    }

    /// How long nothing needs to be done by itself.
    fn wait(&self) -> std::time::Duration {
        let due = self.node.poll_timeout().map(|(at, _)| at.since(now().instant));
        let closing = self.closing.iter().map(|(at, ..)| at.since(now().instant));
        let due = due.into_iter().chain(closing).min().unwrap_or(Duration::from_secs(60)).millis();
        std::time::Duration::from_millis(due.clamp(1, 60_000))
    }

    fn take(&mut self, input: Input) {
        if input.shows() {
            // Nobody is shown what a power cut could take back.
            self.land();
        }
        match input {
            Input::Append(append, waiting) => {
                self.waiting.insert(append.ticket, waiting);
                if append.records.iter().any(|part| self.node.is_urgent(&part.topic)) {
                    self.node.hurry(now());
                }
                self.node.handle_append(*append);
            }
            Input::Produced(queue) => {
                let (append, taken) = queue.take();
                self.produced.insert(append.ticket, taken);
                if self.node.is_urgent(&append.topic) {
                    self.node.hurry(now());
                }
                self.node.handle_append(append);
            }
            Input::Read(query, answer) => {
                let page = self.readers.page(&self.node, &query, None);
                // Whoever asked may have gone.
                let _ = answer.send(page);
            }
            Input::Fetch(wanted, answer) => {
                let _ = answer.send(self.fetch(&wanted));
            }
            Input::Leave { consumer, member } => self.node.leave(&consumer, &member),
            Input::Reached(place, answer) => {
                let _ = answer.send(reached(&self.node, &place));
            }
            Input::Passed(lane, at, answer) => {
                let _ = answer.send(super::trace::passed(&self.node, &lane, at));
            }
            #[cfg(feature = "views")]
            Input::Views(places) => self.node.hold_for_views(places),
            #[cfg(feature = "views")]
            Input::Missed(answer) => {
                let missed = self.node.missed_by_views();
                let _ = answer.send(missed.map(|(view, n)| (view.to_owned(), n)).collect());
            }
            Input::Status(answer) => {
                let _ = answer.send(self.status());
            }
            Input::Admin(command, answer) => self.admin(command, answer),
            Input::Transport(event) => self.on_transport(event),
            #[cfg(feature = "kafka")]
            Input::Kafka(said) => self.on_kafka(said),
            #[cfg(feature = "kafka")]
            Input::Registry(told) => self.on_registry(told),
            Input::Stop => {}
        }
    }

    /// Makes durable what the turn brought, and hands on what follows. If more waits, the disk may
    /// sync while that is taken.
    fn turn_over(&mut self, more_waits: bool) {
        self.close_due();
        if more_waits {
            self.node.commit_ahead(now());
        } else {
            self.node.commit(now());
        }
        self.follow();
        #[cfg(feature = "kafka")]
        self.propose_enrolling();
        self.note_enrolled();
        self.note_wear();
        self.publish();
    }

    /// Waits until all that was written is durable, and hands on what follows.
    fn land(&mut self) {
        if self.node.holds() {
            self.node.land();
            self.follow();
            self.publish();
        }
    }

    /// Tells who waits for it how far the node has come.
    fn publish(&mut self) {
        let commit = self.node.journal().synced_commit().get();
        self.commits.send_if_modified(|last| core::mem::replace(last, commit) != commit);
        let comes = self.node.coming_down().any(|(_, coming)| coming == Coming::Asked);
        let synced = self.node.is_synced() && self.is_up_or_root() && !comes;
        self.synced.send_if_modified(|last| core::mem::replace(last, synced) != synced);
    }

    fn close_due(&mut self) {
        let now = now().instant;
        for (_, connection, why) in self.closing.extract_if(.., |(at, ..)| *at <= now) {
            connection.close(CloseCode::DONE, &why);
        }
    }

    /// Forgets the enrolment token once the upstream node has accepted this one.
    fn note_enrolled(&mut self) {
        let up = self.node.dial_state().is_some_and(|state| state.phase == Phase::Up);
        if up && core::mem::take(&mut self.enrolling) {
            Opened::forget_token(&self.data);
        }
    }

    fn is_up_or_root(&self) -> bool {
        self.node.dial_state().is_none_or(|state| state.phase == Phase::Up)
    }

    fn follow(&mut self) {
        #[cfg_attr(not(feature = "kafka"), expect(unused_mut, reason = "Kafka takes from it"))]
        while let Some(mut transmit) = self.node.poll_transmit() {
            #[cfg(feature = "kafka")]
            if self.sends_to_kafka(&mut transmit) {
                continue;
            }
            let Some(channel) = Channel::new(transmit.channel) else { continue };
            if let Some(peer) = self.links.get(&transmit.link) {
                // If it is closed, the transport says so in an event of its own.
                let _ = peer.connection.send(channel, Bytes::from(transmit.bytes));
            }
        }
        while let Some(event) = self.node.poll_event() {
            self.on_event(event);
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Appended(ticket, outcome) => self.answer(ticket, outcome),
            Event::Dial(uplink) => self.dial(uplink),
            Event::Close(link, why, parting) => {
                self.note_seen(link);
                #[cfg(feature = "kafka")]
                self.closes_kafka(link, &why);
                if let Some(peer) = self.links.remove(&link) {
                    tracing::info!(link = link.0, %why, "closing a connection");
                    let wait = if parting == Parting::Here { LAST_WORD } else { Duration::ZERO };
                    let at = now().instant.plus(wait);
                    self.closing.push((at, peer.connection, why.clone()));
                    self.node.handle_disconnected(link, &why, now());
                }
            }
            Event::Alarm(alarm) => {
                let what = super::report::kind(alarm.kind);
                tracing::warn!(what, subject = %alarm.subject, "{}", alarm.text);
            }
        }
    }

    fn on_transport(&mut self, event: TransportEvent) {
        match event {
            TransportEvent::Opened(opened) => {
                let id = LinkId(self.next_link);
                self.next_link += 1;
                let uplink = opened.attempt.map(|attempt| self.dialed(attempt));
                let up = uplink.is_some();
                tracing::info!(link = id.0, remote = %opened.remote, key = %opened.peer.short(),
                    carrier = %opened.carrier, up, "connected");
                self.ids.insert(opened.connection.id(), id);
                let carrier = match opened.carrier {
                    crate::transport::Carrier::Quic => "quic",
                    crate::transport::Carrier::Tcp => "tls",
                    crate::transport::Carrier::Serial => "serial",
                };
                let remote = opened.remote.to_string();
                let peer = Peer { connection: opened.connection, remote, carrier };
                self.links.insert(id, peer);
                let key = PeerKey(*opened.peer.as_bytes());
                match uplink {
                    Some(uplink) => self.node.handle_uplink_connected(id, uplink, key, now()),
                    None => self.node.handle_connected(id, Direction::Down, key, now()),
                }
            }
            TransportEvent::Received { connection, channel, bytes } => {
                if let Some(id) = self.ids.get(&connection).copied() {
                    self.node.handle_received(id, channel.number(), &bytes, now());
                }
            }
            TransportEvent::Sent { connection, channel, bytes } => {
                if let Some(id) = self.ids.get(&connection).copied() {
                    self.node.handle_sent(id, channel.number(), bytes);
                }
            }
            TransportEvent::Closed { connection, reason } => {
                if let Some(id) = self.ids.remove(&connection) {
                    let why = reason.to_string();
                    tracing::info!(link = id.0, %why, "disconnected");
                    self.note_seen(id);
                    self.links.remove(&id);
                    self.node.handle_disconnected(id, &why, now());
                }
            }
            TransportEvent::DialFailed { attempt, failure } => {
                tracing::info!(%failure, "the node above was not reached");
                let uplink = self.dialed(attempt);
                self.node.handle_dial_failed(uplink, &failure.to_string(), now());
            }
        }
    }

    fn note_seen(&mut self, id: LinkId) {
        let site = self.node.links().find(|link| link.id == id).and_then(|link| link.site);
        let site = site.map(str::to_owned);
        self.seen.extend(site.map(|site| (site, clock::wall().ms())));
    }

    /// Waits until the peers have closed, as they do when they have heard the last word.
    async fn hear_out(&mut self, inputs: &mut mpsc::Receiver<Input>) {
        let patience = std::time::Duration::from_millis(LAST_WORD.millis());
        let all_closed = async {
            while !self.ids.is_empty() {
                match inputs.recv().await {
                    Some(Input::Transport(TransportEvent::Closed { connection, .. })) => {
                        self.ids.remove(&connection);
                    }
                    Some(_) => {}
                    None => return,
                }
            }
        };
        // Who does not answer in time hears of it as the connection ends.
        let _ = tokio::time::timeout(patience, all_closed).await;
    }

    async fn stop(mut self, mut inputs: mpsc::Receiver<Input>) -> Stopped {
        self.note_wear_at_end();
        self.node.hasten();
        self.node.commit(now());
        self.node.part("the node is stopping");
        self.follow();
        self.hear_out(&mut inputs).await;
        #[cfg(feature = "kafka")]
        self.stop_kafka();
        if let Some(transport) = self.transport.take() {
            let patience = std::time::Duration::from_secs(2);
            let shutdown =
                transport.shutdown(CloseCode::SHUTDOWN, "the node is stopping", patience);
            tokio::pin!(shutdown);
            loop {
                tokio::select! {
                    () = &mut shutdown => break,
                    input = inputs.recv() => if let Some(Input::Append(..)) = input {},
                }
            }
        }
        let streams = self.node.journal().frontier().streams();
        let clean = self.node.close(now()).is_ok();
        tracing::info!(streams, clean, "stopped");
        Stopped { clean }
    }
}
