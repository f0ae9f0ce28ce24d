//! What lies on the disk and what only lies in its cache: files in pages, names in changes.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::ops::Range;

use super::damage::{Lost, Model};
use landfall_simulation::rng::Rng;

/// The number of the outermost directory.
pub(super) const ROOT: u64 = 1;
/// What the kernel writes at once, and what has a fate of its own.
const PAGE: usize = 4096;
/// What all files may take together, with those that are removed until the power goes.
pub(super) const SPACE: usize = 256 << 20;
/// Changes of names that wait; behind them the oldest is written back.
const CHANGES_MAX: usize = 256;

pub(super) type Names = BTreeMap<OsString, u64>;

/// A file, a directory, or a socket.
#[derive(Clone, Default)]
pub(super) struct Node {
    /// Type and permissions, as the system has them in one number. They are never lost.
    pub(super) mode: u32,
    pub(super) content: Content,
}

/// Bytes as everybody reads them, and as they lie below the cache.
#[derive(Clone, Default)]
pub(super) struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
    unsynced: BTreeSet<usize>,
}

/// What is in each directory.
#[derive(Clone, Default)]
struct Tree(BTreeMap<u64, Names>);

/// Names that change in one call, all or none: in which directory, which name, to what.
struct Change(Vec<(u64, OsString, Option<u64>)>);

/// Everything on the disk and in its cache.
pub(super) struct Files {
    nodes: BTreeMap<u64, Node>,
    now: Tree,
    synced: Tree,
    /// What is in `now` and not in `synced`, oldest first.
    changes: Vec<Change>,
    /// What the system does not have open, and will look for by name.
    closed: BTreeSet<u64>,
    next: u64,
}

impl Files {
    /// An empty disk.
    pub(super) fn new(root_mode: u32) -> Self {
        let nodes = [(ROOT, Node { mode: root_mode, ..Node::default() })].into();
        let tree = Tree([(ROOT, Names::new())].into());
        let (changes, closed) = Default::default();
        Self { nodes, now: tree.clone(), synced: tree, changes, closed, next: ROOT + 1 }
    }

    pub(super) fn node(&self, number: u64) -> Option<&Node> {
        self.nodes.get(&number)
    }

    pub(super) fn node_mut(&mut self, number: u64) -> Option<&mut Node> {
        self.nodes.get_mut(&number)
    }

    pub(super) fn names(&self, directory: u64) -> Option<&Names> {
        self.now.0.get(&directory)
    }

    pub(super) fn find(&self, directory: u64, name: &OsStr) -> Option<u64> {
        self.now.0.get(&directory)?.get(name).copied()
    }

    /// The system uses it again.
    pub(super) fn open(&mut self, number: u64) {
        self.closed.remove(&number);
    }

    /// The system has forgotten it. If it has no name either, it is gone.
    pub(super) fn close(&mut self, number: u64) {
        self.closed.insert(number);
        self.collect();
    }

    fn collect(&mut self) {
        let named: BTreeSet<u64> =
            [self.now.named(), self.synced.named()].concat().into_iter().collect();
        let is_gone = |number: &u64| self.closed.contains(number) && !named.contains(number);
        self.nodes.retain(|number, _| !is_gone(number));
    }

    /// Bytes that all files take.
    pub(super) fn taken(&self) -> usize {
        self.nodes.values().map(|node| node.content.now.len()).sum()
    }

    /// A new node under a new name.
    pub(super) fn make(&mut self, directory: u64, name: &OsStr, mode: u32, is_dir: bool) -> u64 {
        let number = self.next;
        self.next += 1;
        self.nodes.insert(number, Node { mode, ..Node::default() });
        if is_dir {
            // The empty directory is there whenever its name is.
            self.now.0.insert(number, Names::new());
            self.synced.0.insert(number, Names::new());
        }
        self.change(vec![(directory, name.to_owned(), Some(number))]);
        number
    }

    /// Takes a name away. What it named stays for those who have it open.
    pub(super) fn remove(&mut self, directory: u64, name: &OsStr) {
        self.change(vec![(directory, name.to_owned(), None)]);
    }

    /// Gives something another name, in place of what had it.
    pub(super) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr), number: u64) {
        self.change(vec![(from.0, from.1.to_owned(), None), (to.0, to.1.to_owned(), Some(number))]);
    }

    fn change(&mut self, steps: Vec<(u64, OsString, Option<u64>)>) {
        let change = Change(steps);
        self.now.apply(&change);
        self.changes.push(change);
        if self.changes.len() > CHANGES_MAX {
            self.write_back(1);
        }
    }

    /// A file's bytes and length are on the disk; its name may still be missing.
    pub(super) fn sync_file(&mut self, number: u64) {
        if let Some(node) = self.nodes.get_mut(&number) {
            node.content.sync();
        }
    }

    /// All names of a directory are on the disk, and all that changed anywhere before them.
    pub(super) fn sync_names(&mut self, directory: u64) {
        let of = |change: &Change| change.0.iter().any(|(of, ..)| *of == directory);
        let through = self.changes.iter().rposition(of).map_or(0, |at| at + 1);
        self.write_back(through);
    }

    /// Everything is on the disk.
    pub(super) fn settle(&mut self) {
        self.write_back(self.changes.len());
        self.nodes.values_mut().for_each(|node| node.content.sync());
    }

    fn write_back(&mut self, changes: usize) {
        for change in self.changes.drain(..changes) {
            self.synced.apply(&change);
        }
        self.collect();
    }

    /// The power has gone: what is left is what will be found.
    pub(super) fn lose(&mut self, rng: &mut Rng, lost: &mut Lost) {
        let model = Model::drawn(rng);
        let kept = model.changes_kept(self.changes.len(), rng);
        lost.names += (self.changes.len() - kept) as u64;
        self.write_back(kept);
        self.changes.clear();
        self.now = self.synced.clone();
        self.closed = self.nodes.keys().copied().collect();
        self.collect();
        for node in self.nodes.values_mut() {
            node.content.lose(model, rng, lost);
        }
    }
}

impl Tree {
    /// What has a name, and the outermost directory.
    fn named(&self) -> Vec<u64> {
        self.0.values().flat_map(|names| names.values().copied()).chain([ROOT]).collect()
    }

    fn apply(&mut self, change: &Change) {
        for (directory, name, to) in &change.0 {
            let Some(names) = self.0.get_mut(directory) else { continue };
            match to {
                Some(number) => names.insert(name.clone(), *number),
                None => names.remove(name),
            };
        }
    }
}

impl Content {
    pub(super) fn len(&self) -> usize {
        self.now.len()
    }

    pub(super) fn read(&self, at: usize, count: usize) -> &[u8] {
        let from = at.min(self.now.len());
        &self.now[from..(at + count).min(self.now.len())]
    }

    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        let range = at..at + bytes.len();
        if self.now.len() < range.end {
            self.now.resize(range.end, 0);
        }
        self.now[range.clone()].copy_from_slice(bytes);
        self.mark(range);
    }

    /// Cuts it off, or makes it longer by zeros that need no sync of their own.
    pub(super) fn resize(&mut self, length: usize) {
        self.mark(length..self.now.len().max(length));
        self.now.resize(length, 0);
    }

    fn mark(&mut self, range: Range<usize>) {
        self.unsynced.extend(range.start / PAGE..range.end.div_ceil(PAGE));
    }

    fn sync(&mut self) {
        self.synced.resize(self.now.len(), 0);
        for page in std::mem::take(&mut self.unsynced) {
            let range = page * PAGE..((page + 1) * PAGE).min(self.now.len());
            if !range.is_empty() {
                self.synced[range.clone()].copy_from_slice(&self.now[range]);
            }
        }
    }

    fn lose(&mut self, model: Model, rng: &mut Rng, lost: &mut Lost) {
        let length = model.length(self.synced.len(), self.now.len(), rng);
        self.now.resize(self.now.len().max(length), 0);
        self.synced.resize(length, 0);
        for page in std::mem::take(&mut self.unsynced) {
            let range = page * PAGE..((page + 1) * PAGE).min(length);
            if range.is_empty() {
                continue;
            }
            let elsewhere = rng.below(self.synced.len().div_ceil(PAGE) as u64) as usize * PAGE;
            let other = self.synced[elsewhere..].iter().copied().take(PAGE).collect::<Vec<_>>();
            let (new, old) = (&self.now[range.clone()], &mut self.synced[range]);
            model.page(old, new, &other, rng, lost);
        }
        self.now.clone_from(&self.synced);
    }
}
