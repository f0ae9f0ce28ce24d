//! The node: what to acknowledge, accept, refuse, promise, send and forget. It is a machine without
//! threads, sockets or clock; its only IO is its journal's medium.
//!
//! A driver hands in what happened (`handle_*`), makes it durable ([`Node::commit`]), and takes
//! what follows from it (`poll_*`): transmits until there are none, then events, then the timeout.
//! While a disk syncs, it may hand in more ([`Node::commit_ahead`]); what follows is held then.
//! The daemon and the simulator drive the same machine.
//!
//! ```text
//! append ─▶ queues ─┐                      ┌─▶ sender ─▶ session ─▶ transmits
//!                   ├─▶ journal ─ commit ──┤
//! session ─▶ ingest ┘                      └─▶ outcomes, promises
//! ```
//!
//! - Nothing is acknowledged or promised, and nothing leaves, before its commit is synced.
//! - The frontier decides what of an entry is new, had before, early, or another history.

mod alarm;
mod append;
mod before;
mod behind;
mod branch;
mod checksum;
pub mod clock;
mod clocks;
mod closer;
pub mod codec;
pub mod consumer;
mod cursors;
mod derived;
mod dial;
mod downlink;
mod feed;
mod gate;
mod giveback;
mod greeting;
mod group;
mod held;
mod hold;
mod ingest;
mod joiner;
mod late;
mod link;
mod lookup;
pub mod members;
mod note;
mod nowhere;
mod offence;
mod own;
mod pace;
mod packing;
mod payload;
mod progress;
mod promise;
mod queue;
mod refused;
mod repair;
mod retain;
mod root;
mod root_gap;
mod say;
mod sender;
mod settings;
mod sink;
mod standing;
mod statement;
mod subscribe;
mod subscription;
mod tips;
mod twins;
mod unread;
mod uplinks;
mod verdict;
mod visit;

pub use alarm::{Alarm, AlarmKind};
pub use append::{Append, AppendOutcome, ClientId, Refusal, Ticket};
pub use checksum::checksum;
pub use derived::{CauseStream, Derived, Target};
pub use dial::{DialState, Phase};
pub use gate::{Admission, Gate, InternalRecord, OpenGate, PeerKey};
pub use group::{Condition, Part, Request, Written};
pub use hold::ViewPlace;
pub use link::{Direction, LinkId, LinkView};
pub use offence::Offence;
pub use settings::{LaneSettings, OnFull, Replicate, Settings, TopicSettings, TrimAt};
pub use standing::HeardStanding;
pub use subscribe::Coming;
pub use uplinks::{UPLINKS_MAX, Uplink};

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use landfall_core::frontier::{Frontier, StreamIx};
use landfall_core::journal::{Cursor, Journal};
use landfall_core::media::Media;
use landfall_core::num::{BootId, Epoch, Lane, LogId, Offset, Seq, Timestamp};
use landfall_core::tables::Heap;
use landfall_protocol::message::Promise;
use landfall_protocol::time::Instant;

use crate::codec::Codec;

use append::Appends;
use link::Link;
use settings::Topics;

/// The time as the driver knows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Now {
    /// On a clock that never goes back.
    pub instant: Instant,
    /// By the calendar, as far as the node knows it.
    pub wall: Timestamp,
}

/// Bytes to be sent to a peer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transmit {
    /// Over which link.
    pub link: LinkId,
    /// On which channel.
    pub channel: u8,
    /// What.
    pub bytes: Vec<u8>,
}

/// What a driver must do or may want to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An append has been decided.
    Appended(Ticket, AppendOutcome),
    /// The node above at this uplink is to be dialed.
    Dial(Uplink),
    /// Close this link once what was polled for it has been sent, for this reason.
    Close(LinkId, String, Parting),
    /// Something a person should know.
    Alarm(Alarm),
}

/// Who ended a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Parting {
    /// This node, whose last word should still arrive.
    Here,
    /// The peer, or nobody; nothing more is to be said.
    There,
}

/// A node over its journal.
pub struct Node<M: Media, G> {
    core: Core<M, G>,
    links: BTreeMap<LinkId, Link>,
    held: held::Held,
}

/// Everything but the links, so that one link can be worked on together with it.
pub(crate) struct Core<M: Media, G> {
    pub(crate) journal: Journal<M, Heap>,
    pub(crate) settings: Settings,
    pub(crate) topics: Topics,
    pub(crate) gate: G,
    pub(crate) appends: Appends,
    pub(crate) payload: payload::Payload,
    /// Whether commits may be synced while the next one is staged.
    pub(crate) ahead: bool,
    /// The nodes above; none at a root.
    pub(crate) uplinks: uplinks::Uplinks,
    pub(crate) events: VecDeque<Event>,
    pub(crate) alarms: alarm::Alarms,
    pub(crate) offences: offence::Offences,
    pub(crate) boot: BootId,
    /// The log at the root, as the upstream node says.
    pub(crate) root_log: Option<LogId>,
    /// Where what is durable at the root is durable.
    pub(crate) rooted_at: root::RootedAt,
    /// The last promise that was heard from the root.
    pub(crate) root_promise: Option<Promise>,
    pub(crate) gaps: late::Gaps,
    pub(crate) root_gaps: root_gap::RootGaps,
    pub(crate) clocks: clocks::Clocks,
    /// How far epochs are here of which the journal may not tell.
    pub(crate) remembered: BTreeMap<(StreamIx, Epoch), Offset>,
    /// How many streams each origin has, once a peer began one.
    pub(crate) streams_of: Option<BTreeMap<String, usize>>,
    pub(crate) topic_streams: subscription::TopicStreams,
    /// What the upstream node wants again and only others below have.
    pub(crate) wants: repair::Wants,
    /// The sessions from below.
    pub(crate) living: BTreeMap<LinkId, twins::Living>,
    pub(crate) standings: standing::Standings,
    /// The cap on what is sent to the upstream node.
    pub(crate) pace: Option<pace::Pace>,
    /// What one link has to tell others.
    pub(crate) notes: VecDeque<note::Note>,
    /// What came in and was not yet durable is gone: the peers must begin again.
    pub(crate) reset_links: bool,
    /// The time of the input at hand.
    pub(crate) arrived_at: Now,
    /// The link that had something to send last, and whether any had in this round.
    pub(crate) transmitted: Option<(LinkId, bool)>,
    /// Peers that dialed and are not let in yet.
    pub(crate) greeting: BTreeSet<LinkId>,
    /// When old records were last looked for.
    pub(crate) trimmed_at: Instant,
    /// Where entries are read into.
    pub(crate) scratch: Vec<u8>,
    /// The body that was sent last: its memory takes the next one.
    pub(crate) body: Vec<u8>,
    /// Where a repeated point of a stream was found last: the place before its entry.
    pub(crate) looked: RefCell<BTreeMap<StreamIx, (Lane, Cursor)>>,
    /// Packs and unpacks bodies.
    pub(crate) codec: Codec,
    /// Whether all that is stored of the node's own topics has been read.
    pub(crate) knows_internal: bool,
    pub(crate) cursors: cursors::Cursors,
    /// The views that the log waits for.
    pub(crate) views: Vec<hold::HeldView>,
    /// Who shares the work of consumers.
    pub(crate) groups: members::Groups,
    pub(crate) newest: own::Newest,
    /// When what the medium refused to read is tried again.
    pub(crate) read_again: Option<Instant>,
    random: u64,
}

impl<M: Media, G: Gate> Node<M, G> {
    /// A node over an open journal. `seed` is any random number.
    pub fn new(
        journal: Journal<M, Heap>,
        settings: Settings,
        gate: G,
        boot: BootId,
        seed: u64,
        now: Now,
    ) -> Self {
        let heard = journal.heard().last();
        let first = || uplinks::Uplinks::one(settings.backoff, heard, now.instant);
        let uplinks = settings.upstream.then(first).unwrap_or_default();
        let topics = Topics::new(&settings);
        let clocks = clocks::Clocks::new(boot, journal.epoch(), now);
        let mut core = Core {
            journal,
            topics,
            gate,
            appends: Appends::default(),
            payload: payload::Payload::default(),
            ahead: false,
            uplinks,
            events: VecDeque::new(),
            alarms: alarm::Alarms::default(),
            offences: offence::Offences::default(),
            boot,
            root_log: None,
            rooted_at: root::RootedAt::default(),
            root_promise: None,
            gaps: late::Gaps::default(),
            root_gaps: root_gap::RootGaps::default(),
            clocks,
            remembered: BTreeMap::new(),
            streams_of: None,
            topic_streams: subscription::TopicStreams::default(),
            wants: repair::Wants::new(),
            living: BTreeMap::new(),
            standings: standing::Standings::default(),
            pace: settings.rate_bytes_max.map(|rate| pace::Pace::new(rate, now.instant)),
            notes: VecDeque::new(),
            reset_links: false,
            arrived_at: now,
            transmitted: None,
            greeting: BTreeSet::new(),
            trimmed_at: now.instant,
            scratch: vec![0; SCRATCH_BYTES],
            body: Vec::new(),
            looked: RefCell::default(),
            codec: Codec::default(),
            knows_internal: false,
            cursors: cursors::Cursors::default(),
            views: Vec::new(),
            groups: members::Groups::new(),
            newest: own::Newest::default(),
            read_again: None,
            random: seed,
            settings,
        };
        core.report_losses();
        core.load_internal();
        core.promise_own();
        Self { core, links: BTreeMap::new(), held: held::Held::default() }
    }

    /// The same, to which all records are known to be here that an epoch of a stream wrote below an
    /// offset, although its journal does not tell. Its caller keeps what the journal forgets.
    #[must_use]
    pub fn remembering(
        mut self,
        epochs: impl IntoIterator<Item = (StreamIx, Epoch, Offset)>,
    ) -> Self {
        let epochs = epochs.into_iter().map(|(ix, epoch, next)| ((ix, epoch), next));
        self.core.remembered.extend(epochs);
        self
    }

    /// What is stored.
    pub fn journal(&self) -> &Journal<M, Heap> {
        &self.core.journal
    }

    /// The node's settings.
    pub fn settings(&self) -> &Settings {
        &self.core.settings
    }

    /// Who may do what.
    pub fn gate(&self) -> &G {
        &self.core.gate
    }

    /// What a person should know, the oldest first.
    pub fn alarms(&self) -> impl Iterator<Item = &Alarm> {
        self.core.alarms.all()
    }

    /// How the first uplink stands; none without an upstream.
    pub fn dial_state(&self) -> Option<&DialState> {
        self.core.uplinks.get(Uplink::FIRST).map(|above| above.dialer.state())
    }

    /// How each open uplink stands.
    pub fn dial_states(&self) -> impl Iterator<Item = (Uplink, &DialState)> {
        self.core.uplinks.iter().map(|(uplink, above)| (uplink, above.dialer.state()))
    }

    /// The connections there are.
    pub fn links(&self) -> impl Iterator<Item = LinkView<'_>> {
        self.links.iter().map(|(id, link)| link.view(*id))
    }

    /// The journal of the node at the root; its own if it has no upstream.
    pub fn root_log(&self) -> Option<LogId> {
        self.core.root()
    }

    /// How far a lane is durable at the next node, whichever that is of a stream.
    pub fn durable_seq(&self, lane: Lane) -> Seq {
        if self.core.not_promised(lane, |branch| branch.hop) > 0 {
            let place = self.core.hop_place(lane);
            place.map_or(self.core.journal.seqs(lane).0, |place| place.seq)
        } else {
            self.core.journal.seqs(lane).1
        }
    }

    /// How far a lane is durable at the root.
    pub fn root_seq(&self, lane: Lane) -> Seq {
        if self.behind_records(lane) > 0 {
            let place = self.core.rooted_place(lane);
            place.map_or(self.core.journal.seqs(lane).0, |place| place.seq)
        } else {
            self.core.journal.seqs(lane).1
        }
    }

    /// How many records of a lane are to be replicated and not yet durable at the root.
    pub fn behind_records(&self, lane: Lane) -> u64 {
        self.core.not_promised(lane, |branch| branch.root)
    }

    /// Bytes of a lane that are to be replicated and not yet durable at the root. Records differ in
    /// size; these are taken to be like the rest.
    pub fn behind_bytes(&self, lane: Lane) -> u64 {
        self.core.bytes_of(lane, self.behind_records(lane))
    }

    /// Whether a topic is in a lane that goes before the default one.
    pub fn is_urgent(&self, topic: &str) -> bool {
        let lane = self.core.topics.of(topic).map(|topic| topic.lane);
        lane.is_some_and(|lane| self.core.lane_is_urgent(lane))
    }

    /// Appends records to the node's own topics. Returns whether they are durable.
    pub fn record(&mut self, records: &[InternalRecord], now: Now) -> bool {
        self.core.record(records, now)
    }

    /// Whether all that is to be replicated is durable at the root.
    pub fn is_synced(&self) -> bool {
        self.core.appends.is_empty() && self.core.is_synced()
    }

    /// Gives the medium back, as a crash would leave it.
    pub fn into_media(self) -> M {
        self.core.journal.into_media()
    }

    /// Ends in good order: what is staged is committed, and the journal closed.
    ///
    /// # Errors
    /// The medium failed; the next opening will find out how far it came.
    pub fn close(mut self, now: Now) -> Result<M, landfall_core::journal::CheckpointFault> {
        self.hasten();
        self.commit(now);
        // What is not gathered is looked for at the next start.
        self.core.gather_cursors();
        self.core.journal.close()
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// The journal at the root, if it is known.
    pub(crate) fn root(&self) -> Option<LogId> {
        if self.settings.upstream { self.root_log } else { Some(self.journal.log()) }
    }

    /// Whether each byte that is sent upward counts.
    pub(crate) fn counts_bytes(&self) -> bool {
        self.settings.rate_bytes_max.is_some() || self.settings.visit_every.is_some()
    }

    /// Whether a lane goes before the default one.
    pub(crate) fn lane_is_urgent(&self, lane: Lane) -> bool {
        let priority = |lane: Lane| {
            let lane = self.settings.lanes.get(usize::from(lane.get()));
            lane.map(|lane| lane.priority).unwrap_or_default()
        };
        priority(lane) > priority(self.settings.default_lane)
    }

    /// A random number: SplitMix64 over the seed (Steele, Lea, Flood, 2014).
    pub(crate) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Who promises, and from what state.
    pub(crate) fn promise_now(&self) -> Promise {
        Promise {
            log: self.journal.log(),
            epoch: self.journal.epoch(),
            commit: self.journal.last_commit(),
        }
    }

    fn is_synced(&self) -> bool {
        if !self.settings.upstream {
            return true;
        }
        let frontier = self.journal.frontier();
        (0..frontier.streams()).map(landfall_core::frontier::StreamIx).all(|ix| {
            let carried = self.topics.goes_up(frontier.name(ix).topic);
            !carried
                || frontier.branches(ix).all(|(_, branch)| {
                    let began = branch.from.max(Offset::ZERO);
                    branch.root >= branch.tip.next || branch.tip.next == began
                })
        })
    }
}

/// The largest entry, its header and its path.
const SCRATCH_BYTES: usize = 260 * 1024;
