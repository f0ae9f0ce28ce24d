//! Real nodes in memory: a root, and gateways below it, that a device speaks to.

use landfall_core::batch::batches;
use landfall_core::checksum::Checksum;
use landfall_core::entry::Kind;
use landfall_core::frontier::Frontier;
use landfall_core::journal::{Config, Fresh, Journal, ReadStep};
use landfall_core::limits::LANES_MAX;
use landfall_core::name::StreamId;
use landfall_core::num::{BootId, CommitNo, Epoch, Lane, LogId, Partition, Timestamp};
use landfall_core::tables::{Heap, Parts};
use landfall_node::{Direction, Event, LinkId, Node, Now, OpenGate, PeerKey, Settings, checksum};
use landfall_protocol::mux::MuxReader;
use landfall_protocol::time::Instant;
use landfall_simulation::media::disk::SimDisk;

use crate::wire::Wire;

/// The device's link at a node, and a gateway's at the root.
const BELOW: LinkId = LinkId(1);
/// The root's link at a gateway.
const ABOVE: LinkId = LinkId(2);

/// A node and what it has of a byte stream.
pub(crate) struct Site {
    pub(crate) node: Node<SimDisk, OpenGate>,
    chunks: MuxReader,
}

/// What the calendar of nodes shows when a test begins: 2026.
pub(crate) const CALENDAR_MS: i64 = 1_767_225_600_000;

pub(crate) fn at(millis: u64) -> Now {
    let wall = Timestamp::new(CALENDAR_MS + millis as i64);
    Now { instant: Instant::from_millis(millis), wall }
}

impl Site {
    /// A new node, below another one if `upstream`.
    pub(crate) fn new(name: &str, upstream: bool, id: u64) -> Self {
        Self::on(SimDisk::memory(66, 2 * 1024 * 1024), name, upstream, id)
    }

    /// A node on a disk.
    pub(crate) fn on(disk: SimDisk, name: &str, upstream: bool, id: u64) -> Self {
        let mut settings = Settings::standard(name);
        settings.upstream = upstream;
        let mut slots = [0; LANES_MAX];
        slots[..3].fill(20);
        let config = Config {
            checksum: checksum(),
            lanes: settings.journal_lanes(),
            slots,
            entry_max: 256 * 1024,
            commit_max: 1024 * 1024,
            join_max: 64 * 1024,
        };
        let fresh = Fresh {
            log: LogId::new(id),
            epoch: Epoch::new(id),
            boot: BootId::new(id),
            first_commit: CommitNo::new(1),
        };
        let parts = Parts::<Heap>::new(66, 64, config.commit_max as usize);
        let (journal, _) = Journal::open(disk, config, parts, fresh).unwrap();
        let node = Node::new(journal, settings, OpenGate, fresh.boot, id, at(0));
        Self { node, chunks: MuxReader::default() }
    }

    /// A device connects.
    pub(crate) fn connect(&mut self, now: u64) {
        self.node.handle_disconnected(BELOW, "replaced", at(now));
        self.chunks = MuxReader::default();
        self.node.handle_connected(BELOW, Direction::Down, PeerKey([9; 32]), at(now));
    }

    /// The device is gone.
    pub(crate) fn disconnect(&mut self, now: u64) {
        self.node.handle_disconnected(BELOW, "gone", at(now));
    }

    /// Takes what the device sent and sends what it is told; a turn of the node.
    pub(crate) fn turn(&mut self, wire: &mut Wire, now: u64) {
        let bytes: Vec<u8> = wire.up.drain(..).collect();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let found = self.chunks.handle(rest).expect("a device sends chunks");
            rest = &rest[found.header..];
            let Some(piece) = found.piece else { continue };
            self.node.handle_received(BELOW, piece.channel.number(), piece.bytes, at(now));
            let used = piece.bytes.len();
            self.chunks.taken(used);
            rest = &rest[used..];
        }
        self.finish(now, |link, channel, bytes| {
            assert_eq!(link, BELOW, "this node speaks to the device only");
            chunk(wire, channel, bytes);
        });
    }

    /// Commits, and passes on what is to be sent.
    fn finish(&mut self, now: u64, mut send: impl FnMut(LinkId, u8, &[u8])) {
        self.node.commit(at(now));
        while let Some(transmit) = self.node.poll_transmit() {
            send(transmit.link, transmit.channel, &transmit.bytes);
            self.node.handle_sent(transmit.link, transmit.channel, transmit.bytes.len());
        }
        while let Some(event) = self.node.poll_event() {
            if let Event::Close(link, why, _) = event {
                self.node.handle_disconnected(link, &why, at(now));
            }
        }
        self.node.handle_timeout(at(now));
    }

    /// How many of the device's records are here, gaps included.
    pub(crate) fn arrived(&self) -> u64 {
        let frontier = self.node.journal().frontier();
        let partition = Partition::new(0);
        let sea = frontier.find(StreamId { origin: "buoy-4", topic: "sea", partition });
        sea.map_or(0, |ix| frontier.tip(ix).next.get())
    }

    /// What a person should know.
    pub(crate) fn alarms(&self) -> Vec<String> {
        self.node.alarms().map(|alarm| format!("{:?}: {}", alarm.kind, alarm.text)).collect()
    }

    /// The values of the device's records here, in the order of their offsets, which are dense.
    pub(crate) fn records(&self) -> Vec<u64> {
        let records = self.placed();
        for (expected, (offset, _)) in (0..).zip(&records) {
            assert_eq!(*offset, expected, "once, and in order");
        }
        records.into_iter().map(|(_, value)| value).collect()
    }

    /// The values of the device's records here, of all branches, in the order in which they came.
    pub(crate) fn values(&self) -> Vec<u64> {
        self.placed().into_iter().map(|(_, value)| value).collect()
    }

    fn placed(&self) -> Vec<(u64, u64)> {
        let (mut cursor, mut buffer) = (self.node.journal().first(Lane::new(0)), vec![0; 300_000]);
        let mut found = Vec::new();
        loop {
            match self.node.journal().read(Lane::new(0), &mut cursor, &mut buffer) {
                ReadStep::End => return found,
                ReadStep::Entry(entry) if entry.header.kind == Kind::Data => {
                    for batch in batches(entry.body, Checksum::PORTABLE).flatten() {
                        for placed in batch.records().flatten() {
                            let value = placed.record.value.unwrap_or_default().try_into();
                            found.push((placed.offset.get(), u64::from_le_bytes(value.unwrap())));
                        }
                    }
                }
                ReadStep::Entry(_) => {}
                step => panic!("the node's journal lost something: {step:?}"),
            }
        }
    }
}

/// A gateway and the root above it, with a link that loses nothing.
pub(crate) struct Chain {
    pub(crate) gateway: Site,
    pub(crate) root: Site,
}

impl Chain {
    /// A gateway that has just been connected with the root.
    pub(crate) fn new(mut gateway: Site, mut root: Site, now: u64) -> Self {
        gateway.node.handle_connected(ABOVE, Direction::Up, PeerKey([1; 32]), at(now));
        root.connect(now);
        Self { gateway, root }
    }

    /// A turn of both.
    pub(crate) fn turn(&mut self, wire: &mut Wire, now: u64) {
        let Self { gateway, root } = self;
        let mut up = Vec::new();
        let bytes: Vec<u8> = wire.up.drain(..).collect();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let found = gateway.chunks.handle(rest).expect("a device sends chunks");
            rest = &rest[found.header..];
            let Some(piece) = found.piece else { continue };
            let used = piece.bytes.len();
            gateway.node.handle_received(BELOW, piece.channel.number(), piece.bytes, at(now));
            gateway.chunks.taken(used);
            rest = &rest[used..];
        }
        gateway.finish(now, |link, channel, bytes| match link {
            BELOW => chunk(wire, channel, bytes),
            _ => up.push((channel, bytes.to_vec())),
        });
        for (channel, bytes) in up {
            root.node.handle_received(BELOW, channel, &bytes, at(now));
        }
        let mut down = Vec::new();
        root.finish(now, |_, channel, bytes| down.push((channel, bytes.to_vec())));
        for (channel, bytes) in down {
            gateway.node.handle_received(ABOVE, channel, &bytes, at(now));
        }
    }
}

fn chunk(wire: &mut Wire, channel: u8, bytes: &[u8]) {
    for part in bytes.chunks(200) {
        wire.down.extend([channel, part.len() as u8, 0]);
        wire.down.extend(part);
    }
}
