//! The bridge while it serves: a node without an upstream, whose disk is Kafka.
//!
//! It is the same node machine as anywhere, over a journal in memory that begins with the frontier
//! that was read from Kafka. So what of an entry is new, had before, early or another history is
//! decided as at any root, and promised as by any root; but what a commit of that journal holds is
//! committed to Kafka before anything that follows from it is said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use landfall_core::batch::batches;
use landfall_core::codec::Reader as Bytes;
use landfall_core::entry::Kind;
use landfall_core::frontier::{BranchIx, Frontier as _, Point, StreamIx};
use landfall_core::journal::{
    CONTROL_SLOTS, Config, Cursor, Entry, Fresh, Journal, ReadStep, Reader,
};
use landfall_core::limits::{COMMIT_BYTES_MAX, ENTRY_BYTES_MAX, JOINED_BYTES_MAX, LANES_MAX};
use landfall_core::name::StreamId;
use landfall_core::num::{BootId, CommitNo, Epoch, Lane, LogId, Offset, Partition, Timestamp};
use landfall_core::tables::{Heap, Parts};
use landfall_protocol::time::{Duration, Instant};

use super::buffer::Buffer;
use super::epochs::Epochs;
use super::fault::Fault;
use super::frontier_record::FrontierRecord;
use super::gate::KafkaGate;
use super::group::Group;
use super::line::{Heard, Line, Said};
use super::owner::{Carried, Work};
use super::refusals::Refusals;
use super::restored::Restored;
use super::route;
use super::settings::Settings;
use super::shard::Shard;
use super::topics::Topics;
use crate::clock;
use crate::node::{Direction, Event, LinkId, Node, Now, PeerKey, checksum};

/// What the bridge is called in paths and messages.
const SITE: &str = "kafka";
/// Streams that it holds, as any hub.
pub(super) const STREAMS_MAX: usize = 100_000;
/// A slot of its journal; all that a hub knows must fit one.
const SLOT_BYTES: u32 = 16 * 1024 * 1024;
/// Slots of each lane. What is not yet in Kafka is in the last two.
const SLOTS: u32 = 3;
/// Bytes that may be under way from the hub's node: what one transaction takes, and as much again
/// while that is committed.
const CREDIT_BYTES: u64 = 8 * 1024 * 1024;
/// Bytes after which a transaction is committed although its time has not come.
const COLLECT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How often topics that are not taken are tried again.
const TRY_EVERY: Duration = Duration::from_secs(10);
/// How long records are sent alone until no more is refused.
const ALONE_FOR: Duration = Duration::from_secs(10);
/// The longest rest between two looks at the shards.
const REST_MAX: Duration = Duration::from_secs(1);
/// The largest entry, its header and its path.
const SCRATCH_BYTES: usize = ENTRY_BYTES_MAX + 4_096;

/// The random numbers of an opening.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drawn {
    /// For the session machine.
    pub(super) seed: u64,
    /// This start of the machine.
    pub(super) boot: BootId,
    /// This opening.
    pub(super) epoch: Epoch,
}

/// The bridge while it serves.
pub(super) struct Serving {
    settings: Arc<Settings>,
    topics: Arc<Topics>,
    refusals: Arc<Refusals>,
    /// Until when records are sent alone, if they are.
    alone_until: Option<Instant>,
    shards: BTreeMap<u32, Shard>,
    node: Node<Buffer, KafkaGate>,
    line: Arc<Line>,
    /// How far each lane has been committed to Kafka.
    cursors: Vec<Cursor>,
    /// Where each branch stands in Kafka.
    written: BTreeMap<(StreamIx, BranchIx), Point>,
    epochs: Epochs,
    link: Option<LinkId>,
    next_link: u64,
    collected: usize,
    /// Since when something is collected.
    since: Option<Instant>,
    tried: Instant,
    scratch: Vec<u8>,
}

impl Serving {
    /// Goes on from what was read from Kafka, as the log of the group.
    pub(super) fn new(
        (settings, topics, refusals): (Arc<Settings>, Arc<Topics>, Arc<Refusals>),
        shards: BTreeMap<u32, Shard>,
        line: Arc<Line>,
        (log, restored): (LogId, Restored),
        drawn: Drawn,
    ) -> Result<Self, Fault> {
        let node_settings = node_settings(&settings);
        let config = journal_config(&node_settings);
        let slots = config.slots.iter().sum::<u32>() + CONTROL_SLOTS;
        let mut parts = Parts::<Heap>::new(slots, STREAMS_MAX, config.commit_max as usize);
        let first_commit = restored.commit.plus(1);
        let gaps: Vec<_> = restored.gaps().map(owned).collect();
        let (frontier, ended) = restored.frontier(STREAMS_MAX)?;
        parts.frontier = frontier;
        let (epoch, boot) = (drawn.epoch, drawn.boot);
        let fresh = Fresh { log, epoch, boot, first_commit };
        let opened = Journal::open(Buffer::new(slots, SLOT_BYTES), config, parts, fresh);
        let (journal, _) = opened.map_err(|error| Fault::Frontier(error.to_string()))?;
        let lanes = (0..node_settings.lanes.len() as u8).map(Lane::new);
        let cursors = lanes.map(|lane| journal.first(lane)).collect();
        let owned = shards.keys().copied().collect();
        let gate = KafkaGate { settings: settings.clone(), topics: topics.clone(), shards: owned };
        let node = Node::new(journal, node_settings, gate, drawn.boot, drawn.seed, now());
        let written = tips(&node);
        let epochs = Epochs::new(ended, &written);
        // What comes from here on, the hub's node does not repeat: it lives as long as the bridge.
        let mut node = node.remembering(epochs.all());
        for ((origin, topic, partition), offsets, why) in &gaps {
            let stream = StreamId { origin, topic, partition: *partition };
            node.miss_at_root(stream, *offsets, why, now());
        }
        let alone_until = refusals.sending().alone.then(|| now().instant.plus(ALONE_FOR));
        let (tried, scratch) = (now().instant, vec![0; SCRATCH_BYTES]);
        let (link, next_link, collected, since) = (None, 1, 0, None);
        Ok(Self {
            settings,
            topics,
            refusals,
            alone_until,
            shards,
            node,
            line,
            cursors,
            written,
            epochs,
            link,
            next_link,
            collected,
            since,
            tried,
            scratch,
        })
    }

    /// Serves the hub's node until the process ends, or other shards are this hub's.
    pub(super) fn run(&mut self, group: &Group) -> Result<(), Fault> {
        loop {
            let heard = self.line.wait(self.patience());
            if heard.stop {
                return Ok(());
            }
            if group.shards()? != self.node.gate().shards {
                return Err(Fault::Moved);
            }
            self.take(heard)?;
            if self.node.poll_timeout().is_some_and(|(at, _)| at <= now().instant) {
                self.node.handle_timeout(now());
            }
            if let Some(fault) = self.topics.take_fault() {
                return Err(fault);
            }
            if let Some(fault) = self.shards.values().find_map(Shard::fault) {
                return Err(fault);
            }
            self.try_refused();
            self.look_no_more()?;
            if self.since.is_none_or(|_| self.is_due()) {
                self.flush()?;
            }
        }
    }

    fn take(&mut self, heard: Heard) -> Result<(), Fault> {
        if heard.dialed {
            self.hang_up("the hub dialed again");
            let id = LinkId(self.next_link);
            (self.next_link, self.link) = (self.next_link + 1, Some(id));
            self.line.tell(Said::Opened);
            self.node.handle_connected(id, Direction::Down, PeerKey([0; 32]), now());
        }
        for (channel, bytes) in heard.bytes {
            let Some(link) = self.link else { break };
            self.node.handle_received(link, channel, &bytes, now());
            self.line.tell(Said::Sent(channel, bytes.len()));
            if channel != 0 {
                self.collected += bytes.len();
                self.since.get_or_insert(now().instant);
            }
            if self.collected >= COLLECT_BYTES_MAX {
                self.flush()?;
            }
        }
        if heard.closed {
            self.hang_up("the hub has hung up");
        }
        Ok(())
    }

    fn hang_up(&mut self, why: &str) {
        if let Some(link) = self.link.take() {
            self.node.handle_disconnected(link, why, now());
        }
    }

    /// Whether what was collected is to be committed now.
    fn is_due(&self) -> bool {
        self.since.is_some_and(|since| now().instant >= since.plus(self.commit_every()))
    }

    fn commit_every(&self) -> Duration {
        let every = self.settings.commit_every.as_millis();
        Duration::from_millis(u64::try_from(every).unwrap_or(u64::MAX))
    }

    /// How long there may be nothing to do.
    fn patience(&self) -> std::time::Duration {
        let now = now().instant;
        let due = self.since.map(|since| since.plus(self.commit_every()));
        let timeout = self.node.poll_timeout().map(|(at, _)| at);
        let next = due.into_iter().chain(timeout).min();
        let rest = next.map_or(REST_MAX, |at| at.since(now).min(REST_MAX));
        std::time::Duration::from_millis(rest.millis().max(1))
    }

    /// Ends the search for a record that Kafka refuses, if it found none.
    fn look_no_more(&self) -> Result<(), Fault> {
        if self.since.is_some() || self.alone_until.is_none_or(|until| now().instant < until) {
            return Ok(());
        }
        self.refusals.look_no_more();
        Err(Fault::Record("it takes each record by itself; batches are made smaller".into()))
    }

    /// Begins the session anew, now and then, if topics were refused: they may be there by now.
    fn try_refused(&mut self) {
        let now = now().instant;
        if now.since(self.tried) < TRY_EVERY {
            return;
        }
        self.tried = now;
        let refused = self.topics.refused();
        if refused.is_empty() {
            return;
        }
        self.topics.forget_refused();
        let taken = refused.iter().any(|(topic, _)| self.topics.partitions(topic).is_ok());
        if taken {
            self.node.part("topics that were refused are taken now");
        }
    }

    /// The last commit that was promised, or is about to be.
    pub(super) fn last_commit(&self) -> CommitNo {
        self.node.journal().last_commit()
    }

    /// Commits to Kafka what came in, and then says what follows from it.
    fn flush(&mut self) -> Result<(), Fault> {
        (self.collected, self.since) = (0, None);
        self.node.commit(now());
        if self.node.journal().has_failed() {
            return Err(Fault::Broken("the journal in memory failed"));
        }
        let works = self.gather()?;
        for (shard, work) in &works {
            tracing::debug!(shard, entries = work.entries.len(), "committing to Kafka");
        }
        let mut begun = Vec::new();
        for (number, work) in works {
            let shard = self.shards.get(&number);
            let shard = shard.ok_or(Fault::Broken("a shard is not there"))?;
            shard.begin(work)?;
            begun.push(shard);
        }
        // All are waited for, so that none is in the middle of something if one fails.
        let outcomes: Vec<_> = begun.into_iter().map(Shard::committed).collect();
        let letters = outcomes.into_iter().collect::<Result<Vec<_>, _>>()?;
        for aside in letters.iter().flatten() {
            self.node.miss_at_root(aside.stream(), (aside.from, aside.to), &aside.why, now());
        }
        self.speak();
        Ok(())
    }

    /// What the journal holds that is not in Kafka yet, by shard.
    fn gather(&mut self) -> Result<BTreeMap<u32, Work>, Fault> {
        let mut works: BTreeMap<u32, Work> = BTreeMap::new();
        let mut touched = BTreeSet::new();
        let frontier = self.node.journal().frontier();
        let mut scratch = std::mem::take(&mut self.scratch);
        for (lane, cursor) in (0..).map(Lane::new).zip(&mut self.cursors) {
            let mut reader = Reader::new(&mut scratch);
            loop {
                match self.node.journal().read_on(lane, cursor, &mut reader) {
                    ReadStep::Entry(entry) => {
                        take_entry(
                            &entry,
                            self.settings.shards,
                            &mut works,
                            &mut |stream, end| {
                                let ix = frontier.find(stream);
                                touched.extend(ix);
                                if let (Some(ix), Some((epoch, next))) = (ix, end) {
                                    self.epochs.came(ix, epoch, next);
                                }
                            },
                        )?;
                    }
                    ReadStep::End => break,
                    _ => return Err(Fault::Broken("an entry left memory before it was in Kafka")),
                }
            }
        }
        self.scratch = scratch;
        for ix in touched {
            self.note_frontier(ix, &mut works);
        }
        let commit = FrontierRecord::Commit(self.node.journal().last_commit()).encode();
        for work in works.values_mut() {
            work.frontier.push(commit.clone());
        }
        Ok(works)
    }

    /// Adds how far the branches of a stream are, as far as Kafka does not have it yet.
    fn note_frontier(&mut self, ix: StreamIx, works: &mut BTreeMap<u32, Work>) {
        let frontier = self.node.journal().frontier();
        let stream = frontier.name(ix);
        let work = works.entry(route::shard(stream.origin, self.settings.shards)).or_default();
        for (at, branch) in frontier.branches(ix) {
            if self.written.insert((ix, at), branch.tip) == Some(branch.tip) {
                continue;
            }
            let ladder = frontier.ladder(ix, at).to_vec();
            work.frontier.push(FrontierRecord::Branch { stream, ix: at, branch, ladder }.encode());
        }
        let writes = |epoch| frontier.branches(ix).any(|(_, branch)| branch.tip.epoch == epoch);
        for (epoch, next) in self.epochs.take_ended(ix, writes) {
            work.frontier.push(FrontierRecord::Epoch { stream, epoch, next }.encode());
        }
    }

    /// Hands over what the node has to say.
    fn speak(&mut self) {
        while let Some(transmit) = self.node.poll_transmit() {
            self.node.handle_sent(transmit.link, transmit.channel, transmit.bytes.len());
            self.line.tell(Said::Received(transmit.channel, transmit.bytes));
        }
        while let Some(event) = self.node.poll_event() {
            match event {
                Event::Close(_, why, _) => {
                    self.hang_up(&why);
                    self.line.tell(Said::Closed(why));
                }
                Event::Alarm(alarm) => {
                    tracing::warn!(kind = ?alarm.kind, subject = alarm.subject, "{}", alarm.text);
                }
                Event::Appended(..) | Event::Dial(_) => {}
            }
        }
    }
}

/// How far an epoch has come.
type Come = (Epoch, Offset);

/// Sorts an entry by the shards of what it holds, and tells which streams it moves.
fn take_entry(
    entry: &Entry<'_>,
    shards: u32,
    works: &mut BTreeMap<u32, Work>,
    touched: &mut dyn FnMut(StreamId<'_>, Option<Come>),
) -> Result<(), Fault> {
    let unreadable = Fault::Broken("an entry in memory can't be read");
    if !matches!(entry.header.kind, Kind::Data | Kind::Repair) {
        if matches!(entry.header.kind, Kind::Gap | Kind::Branch) {
            // Both begin with their stream.
            let stream = StreamId::decode(&mut Bytes::new(entry.body));
            touched(stream.map_err(|_| unreadable)?, None);
        }
        return Ok(());
    }
    let mut concerned = BTreeSet::new();
    for batch in batches(entry.body, checksum()) {
        let head = batch.map_err(|_| unreadable.clone())?.head;
        concerned.insert(route::shard(head.stream.origin, shards));
        touched(head.stream, Some((head.epoch, head.end())));
    }
    let carried = Carried { path: entry.path.into(), body: entry.body.into() };
    for shard in concerned {
        works.entry(shard).or_default().entries.push(carried.clone());
    }
    Ok(())
}

/// A gap that outlives what it was read from.
fn owned(
    (stream, offsets, why): (StreamId<'_>, (Offset, Offset), &str),
) -> ((String, String, Partition), (Offset, Offset), String) {
    ((stream.origin.into(), stream.topic.into(), stream.partition), offsets, why.into())
}

/// Where the branches stand that were read from Kafka.
fn tips(node: &Node<Buffer, KafkaGate>) -> BTreeMap<(StreamIx, BranchIx), Point> {
    let frontier = node.journal().frontier();
    let streams = (0..frontier.streams()).map(StreamIx);
    let tips = streams
        .flat_map(|ix| frontier.branches(ix).map(move |(at, branch)| ((ix, at), branch.tip)));
    tips.collect()
}

fn now() -> Now {
    Now {
        instant: Instant::from_millis(clock::monotonic().ms()),
        wall: Timestamp::new(clock::wall().ms()),
    }
}

fn node_settings(settings: &Settings) -> crate::node::Settings {
    crate::node::Settings {
        lanes: settings.lanes.clone(),
        credit_bytes: CREDIT_BYTES,
        ..crate::node::Settings::standard(SITE)
    }
}

fn journal_config(settings: &crate::node::Settings) -> Config {
    let lanes = settings.journal_lanes();
    let mut slots = [0; LANES_MAX];
    slots.iter_mut().take(usize::from(lanes)).for_each(|slots| *slots = SLOTS);
    Config {
        checksum: checksum(),
        lanes,
        slots,
        entry_max: ENTRY_BYTES_MAX as u32,
        commit_max: COMMIT_BYTES_MAX as u32,
        join_max: JOINED_BYTES_MAX as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bridge_can_do_what_a_dialer_does_before_it_has_heard_what_the_other_end_can() {
        let told = [("LANDFALL_KAFKA_BROKERS".to_owned(), "127.0.0.1:9092".to_owned())];
        let config = crate::config::Config::load(None, std::path::Path::new("none"), told).unwrap();
        let settings = Settings::of(&config, "hub", "key", &[]).unwrap().unwrap();
        let dialer = crate::node::Settings::standard("hub").features;
        assert_eq!(node_settings(&settings).features, dialer);
    }
}
