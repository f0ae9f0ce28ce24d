//! Walking through the journal of a stopped node, record by record, with all hashes recomputed.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use landfall::config::Config;
use landfall::coordinates::StreamName;
use landfall::daemon;
use landfall::media::FileMedia;
use landfall::node::checksum;
use landfall_core::batch::{Batch, batches};
use landfall_core::entry::Kind;
use landfall_core::frontier::{BranchIx, Frontier, StreamIx};
use landfall_core::hash::StreamHash;
use landfall_core::journal::{Journal, ReadStep};
use landfall_core::num::Lane;
use landfall_core::tables::Heap;

/// A record on the way.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    /// Its stream.
    pub stream: &'a StreamName,
    /// Its offset.
    pub offset: u64,
    /// Its epoch.
    pub epoch: u64,
    /// The stream hash behind it, recomputed.
    pub hash: StreamHash,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
}

/// What a node holds of a stream.
#[derive(Clone, Debug)]
pub struct HeldStream {
    /// The first offset that is still there.
    pub first: u64,
    /// The offset behind the last one.
    pub next: u64,
    /// Epochs in the order of the records, each once in a row.
    pub epochs: Vec<u64>,
    /// The recomputed hash before the first record and behind each.
    hashes: Vec<StreamHash>,
}

/// What a node holds.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// Streams with one branch.
    pub streams: BTreeMap<StreamName, HeldStream>,
    /// What is not as it must be, a line each.
    pub wrong: Vec<String>,
}

impl HeldStream {
    /// The hash behind the last record.
    pub fn hash(&self) -> Option<StreamHash> {
        self.hashes.last().copied()
    }

    /// The hash behind the record at an offset, if it is there.
    pub fn hash_behind(&self, offset: u64) -> Option<StreamHash> {
        let at = offset.checked_sub(self.first)?.checked_add(1)?;
        self.hashes.get(usize::try_from(at).ok()?).copied()
    }
}

impl fmt::Display for HeldStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {:?}", self.next, self.hash())
    }
}

/// The largest entry with its header and path.
const ENTRY_ROOM: usize = 260 * 1024;

/// Opens the journal in a node's directory and visits each record in it, lane by lane. Streams are
/// expected to have one branch, and no gaps.
///
/// # Errors
/// The node can't be opened, such as when it runs.
pub fn walk(data: &Path, visit: &mut dyn FnMut(Visit<'_>)) -> Result<Held, String> {
    let config = Config::load(None, data, []).map_err(|error| error.to_string())?;
    let opened = daemon::open(data, config).map_err(|error| error.to_string())?;
    let journal = opened.node.journal();
    let mut walk = Walk { site: opened.node.settings().site.clone(), held: Held::default(), visit };
    for loss in journal.losses() {
        walk.wrong(format!("a loss: {loss:?}"));
    }
    let mut buffer = vec![0; ENTRY_ROOM];
    for lane in (0..journal.lanes()).map(Lane::new) {
        walk.lane(journal, lane, &mut buffer);
    }
    walk.heads(journal);
    walk.epochs(journal);
    Ok(walk.held)
}

struct Walk<'v> {
    site: String,
    held: Held,
    visit: &'v mut dyn FnMut(Visit<'_>),
}

impl Walk<'_> {
    fn wrong(&mut self, text: String) {
        self.held.wrong.push(format!("{}: {text}", self.site));
    }

    fn lane(&mut self, journal: &Journal<FileMedia, Heap>, lane: Lane, buffer: &mut [u8]) {
        let mut cursor = journal.first(lane);
        loop {
            match journal.read(lane, &mut cursor, buffer) {
                ReadStep::Entry(entry) if entry.header.kind == Kind::Data => {
                    for batch in batches(entry.body, checksum()) {
                        match batch {
                            Ok(batch) => self.batch(&batch),
                            Err(fault) => self.wrong(format!("an entry is damaged: {fault:?}")),
                        }
                    }
                }
                ReadStep::Entry(entry) if entry.header.kind == Kind::Gap => {
                    self.wrong(format!("lane {lane} has a gap at seq {}", entry.header.seq));
                }
                ReadStep::Entry(_) => {}
                ReadStep::Failed(error) => {
                    return self.wrong(format!("lane {lane} can't be read: {error}"));
                }
                ReadStep::Missing(from, to) => {
                    self.wrong(format!("lane {lane} lacks seqs {from} to {to}"));
                }
                ReadStep::TooLong(bytes) => {
                    return self.wrong(format!("lane {lane} has an entry of {bytes} bytes"));
                }
                ReadStep::End => return,
            }
        }
    }

    fn batch(&mut self, batch: &Batch<'_>) {
        let head = &batch.head;
        let name = StreamName {
            origin: head.stream.origin.into(),
            topic: head.stream.topic.into(),
            partition: head.stream.partition.get(),
        };
        let (base, epoch) = (head.base.get(), head.epoch.get());
        let new = HeldStream {
            first: base,
            next: base,
            epochs: vec![epoch],
            hashes: vec![if base == 0 { StreamHash::START } else { head.before }],
        };
        let stream = self.held.streams.entry(name.clone()).or_insert(new);
        let mut hash = stream.hash().unwrap_or_default();
        if stream.next != base || hash != head.before || head.partial {
            let text = format!("{name}: {stream} is followed by {head:?}");
            return self.wrong(text);
        }
        if stream.epochs.last() != Some(&epoch) {
            stream.epochs.push(epoch);
        }
        for placed in batch.records() {
            let Ok(placed) = placed else { break };
            let offset = placed.offset.get();
            hash = hash.then(head.epoch, placed.offset, placed.encoded);
            (stream.next, _) = (offset + 1, stream.hashes.push(hash));
            let (key, value) = (placed.record.key, placed.record.value);
            (self.visit)(Visit { stream: &name, offset, epoch, hash, key, value });
        }
        if hash != head.after || stream.next != head.end().get() {
            let text = format!("{name}: the content gives {stream}, stored is {head:?}");
            self.wrong(text);
        }
    }

    /// The stored heads must be where the content leads.
    fn heads(&mut self, journal: &Journal<FileMedia, Heap>) {
        let frontier = journal.frontier();
        for ix in (0..frontier.streams()).map(StreamIx) {
            let id = frontier.name(ix);
            let name = StreamName {
                origin: id.origin.into(),
                topic: id.topic.into(),
                partition: id.partition.get(),
            };
            let branches = frontier.branches(ix).count();
            let Some(head) = frontier.branch(ix, BranchIx::MAIN) else { continue };
            if branches != 1 {
                self.wrong(format!("{name} has {branches} branches"));
            }
            let Some(held) = self.held.streams.get(&name) else { continue };
            let (next, hash) = (head.tip.next.get(), head.tip.hash);
            if (next, hash) != (held.next, held.hash()) {
                self.wrong(format!("{name}: content ends at {held}, stored is {next} {hash:?}"));
            }
        }
    }

    /// The epochs of the node's own streams follow each other as its openings did.
    fn epochs(&mut self, journal: &Journal<FileMedia, Heap>) {
        let openings: Vec<_> = journal.openings().iter().map(|note| note.epoch.get()).collect();
        let mut wrong = Vec::new();
        for (name, held) in self.held.streams.iter().filter(|(name, _)| name.origin == self.site) {
            let order = held.epochs.iter();
            // Older openings than the journal remembers have no place.
            let places = order.filter_map(|epoch| openings.iter().position(|known| known == epoch));
            let places: Vec<_> = places.collect();
            if !places.is_sorted_by(|a, b| a < b) {
                wrong.push(format!("{name} has epochs out of order: {:x?}", held.epochs));
            }
        }
        wrong.into_iter().for_each(|text| self.wrong(text));
    }
}
