//! Promises: what is durable here is told to who sent it, and what is durable above is noted and
//! told on.

use std::collections::BTreeMap;

use landfall_core::frontier::{Branch, BranchIx, BranchKind, Frontier, Point, StreamIx};
use landfall_core::heard::Heard;
use landfall_core::limits::RUNGS_MAX;
use landfall_core::media::Media;
use landfall_core::num::{CommitNo, Epoch, LogId, Offset};
use landfall_protocol::limits::STREAMS_MAX;
use landfall_protocol::message::{Durable, Promise, Scope};

use super::link::{LinkState, Say};
use super::note::Note;
use super::{AlarmKind, Core, Direction, Gate, Node, Uplink};

/// Points that were proved to be here: the highest of each stream, branch and epoch, and the tips
/// that the peer asked for by name. What is one branch here may be several at the peer, of which
/// each waits for a word of its own.
pub(crate) type Points = BTreeMap<(StreamIx, Option<BranchIx>, Epoch, Option<Offset>), Point>;

/// Tips that are kept for a peer besides the highest points. What more it asks for is answered
/// when something ends there again, or in the next session.
pub(crate) const TIPS_KEPT_MAX: usize = 1_024;

/// Epochs of one branch of which points are kept. What is beyond, which a peer may make up, takes
/// the place of the lowest.
const EPOCHS_KEPT_MAX: usize = 2 * RUNGS_MAX;

/// Adds a point, unless a higher one is known.
pub(crate) fn add(points: &mut Points, ix: StreamIx, branch: Option<BranchIx>, at: Point) {
    let key = (ix, branch, at.epoch, None);
    if !points.contains_key(&key) {
        let all = (ix, branch, Epoch::new(0), None)..=(ix, branch, Epoch::new(u64::MAX), None);
        let its = points.range(all).filter(|((.., tip), _)| tip.is_none());
        if its.clone().count() >= EPOCHS_KEPT_MAX {
            let lowest = its.min_by_key(|(_, point)| point.next).map(|(key, _)| *key);
            lowest.and_then(|lowest| points.remove(&lowest));
        }
    }
    let point = points.entry(key).or_insert(at);
    if point.next <= at.next {
        *point = at;
    }
}

/// Adds a tip of the peer, which it is told of even if a higher point is known.
pub(crate) fn add_tip(points: &mut Points, ix: StreamIx, branch: Option<BranchIx>, at: Point) {
    if points.len() < TIPS_KEPT_MAX {
        points.insert((ix, branch, at.epoch, Some(at.next)), at);
    } else {
        add(points, ix, branch, at);
    }
}

/// The epoch of a point that is known by a statement: no record that ends there is promised.
pub(crate) const STATED: Epoch = Epoch::new(0);

/// The last promise that was heard.
pub(crate) fn heard(heard: Heard) -> Promise {
    let Heard { log, epoch, commit, .. } = heard;
    Promise { log, epoch, commit }
}

impl<M: Media, G: Gate> Node<M, G> {
    /// What came in is durable: tells each peer, and gives it its credit back.
    pub(crate) fn settle_promises(&mut self) {
        for link in self.links.values_mut() {
            let consumed = core::mem::take(&mut link.state.consumed);
            link.session.consume(consumed);
            let proven = core::mem::take(&mut link.state.proven);
            if self.core.reset_links || proven.is_empty() {
                continue;
            }
            match link.state.direction {
                Direction::Down => self.core.promise_hop(&mut link.state, proven),
                Direction::Up => self.core.note_returned(&mut link.state, proven),
            }
        }
        self.pass_notes();
    }

    /// Streams have become durable at the root: tells whoever sent them here.
    pub(crate) fn pass_root(&mut self, streams: &[StreamIx]) {
        for link in self.links.values_mut().filter(|link| link.state.direction == Direction::Down) {
            self.core.promise_root(&mut link.state, streams);
        }
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    fn promise_hop(&mut self, state: &mut LinkState, proven: Points) {
        let mut here = Vec::new();
        let mut beyond = Vec::new();
        let mut before = Vec::new();
        for ((ix, branch, _, tip), point) in proven {
            if self.goes_on(ix) {
                if self.lies_before(ix, branch, point) {
                    before.push((ix, point));
                }
                let keep = if tip.is_some() { add_tip } else { add };
                keep(&mut state.told, ix, branch, point);
                beyond.push((ix, point));
            } else {
                self.is_root_for(ix);
                here.push((ix, point));
            }
        }
        let rooted: Vec<_> = beyond.iter().map(|(ix, _)| *ix).collect();
        let promise = self.promise_now();
        self.say_durable(state, Scope::Root, promise, here);
        self.say_durable(state, Scope::Hop, promise, beyond);
        self.promise_root(state, &rooted);
        if !before.is_empty() {
            self.notes.push_back(Note::AskedBefore(before));
        }
    }

    /// What came back from the upstream node is durable there.
    fn note_returned(&mut self, state: &mut LinkState, mut returned: Points) {
        // What came down goes nowhere else from here.
        returned.retain(|(ix, ..), _| {
            let goes_on = self.goes_on(*ix);
            if !goes_on {
                self.is_root_for(*ix);
            }
            goes_on
        });
        let upstream = state.hello.as_ref().map(|hello| hello.log);
        let scope = if upstream == self.root_log { Scope::Root } else { Scope::Hop };
        // The upstream node says by itself what of it is durable at the root.
        let tips: Vec<_> = returned.iter().map(|((ix, ..), at)| (*ix, *at, Offset::ZERO)).collect();
        for tips in tips.chunks(STREAMS_MAX) {
            state.says.push_back(Say::Tips { last: false, tips: tips.to_vec() });
        }
        for ((ix, ..), point) in returned {
            self.note_promise(state, ix, point, scope);
        }
    }

    pub(crate) fn say_durable(
        &self,
        state: &mut LinkState,
        scope: Scope,
        promise: Promise,
        points: Vec<(StreamIx, Point)>,
    ) {
        for points in points.chunks(STREAMS_MAX) {
            let points = points.to_vec();
            state.says.push_back(Say::Durable { scope, promise, points });
        }
    }

    /// Tells a peer how far streams that it sent are durable at the root.
    fn promise_root(&mut self, state: &mut LinkState, streams: &[StreamIx]) {
        let Some(promise) = self.promise_of_root() else { return };
        let mut points = Vec::new();
        state.told.retain(|(ix, at, ..), told| {
            if !streams.contains(ix) {
                return true;
            }
            let root = self.root_at(*ix, *at, *told);
            if root >= told.next {
                points.push((*ix, *told));
                return false;
            }
            if let Some(at) = at.filter(|_| root > Offset::ZERO) {
                let (epoch, hash) = (told.epoch, self.hash_at_root(*ix, at, root));
                points.push((*ix, Point { epoch, next: root, hash }));
            }
            true
        });
        self.say_durable(state, Scope::Root, promise, points);
    }

    /// How far the branch of a point is durable at the root. If it can't be told which that is, all
    /// that come there must be.
    fn root_at(&self, ix: StreamIx, at: Option<BranchIx>, point: Point) -> Offset {
        let frontier = self.journal.frontier();
        if let Some(at) = at {
            return frontier.branch(ix, at).map(|branch| branch.root).unwrap_or_default();
        }
        let branches = frontier.branches(ix).map(|(_, branch)| branch);
        let there =
            branches.filter(|branch| branch.from < point.next && point.next <= branch.tip.next);
        there.map(|branch| branch.root).min().unwrap_or_default()
    }

    /// Who promised what is durable at the root. If that was forgotten in a restart, at least the
    /// journal is named.
    pub(crate) fn promise_of_root(&self) -> Option<Promise> {
        if !self.settings.upstream {
            return Some(self.promise_now());
        }
        let known = self.rooted_at.log().map(|log| {
            let (epoch, commit) = (Epoch::new(0), CommitNo::ZERO);
            Promise { log, epoch, commit }
        });
        self.root_promise.or(known)
    }

    fn hash_at_root(
        &self,
        ix: StreamIx,
        at: landfall_core::frontier::BranchIx,
        next: Offset,
    ) -> Option<landfall_core::hash::StreamHash> {
        let ladder = self.journal.frontier().ladder(ix, at);
        ladder.iter().find(|rung| rung.next == next).map(|rung| rung.hash)
    }

    /// The upstream node promises.
    pub(crate) fn on_durable(&mut self, state: &mut LinkState, durable: &Durable<'_>) {
        let Some(uplink) = state.uplink else { return };
        let upstream = state.hello.as_ref().map(|hello| hello.log);
        for point in durable.streams.iter() {
            if let Some(ix) = self.journal.frontier().find(point.stream)
                && state.owed.get(&ix).is_some_and(|owed| *owed <= point.next)
            {
                state.owed.remove(&ix);
            }
        }
        // Until it has again what it had promised, the older promise is repeated to it, so that it
        // asks again in the next session.
        if upstream == Some(durable.promise.log) && state.owed.is_empty() {
            self.hear(uplink, durable.promise);
        }
        let root_was_unknown = self.promise_of_root().is_none();
        if durable.scope == Scope::Root {
            self.root_promise = Some(durable.promise);
            if upstream != Some(durable.promise.log) {
                self.hear_root(durable.promise);
            }
            self.note_root(durable.promise.log);
        }
        let mut rooted = Vec::new();
        for point in durable.streams.iter() {
            let Some(ix) = self.journal.frontier().find(point.stream) else { continue };
            let told = Point { epoch: point.epoch, next: point.next, hash: point.hash };
            if durable.scope == Scope::Root && self.lies_before(ix, self.branch_at(ix, told), told)
            {
                self.notes.push_back(Note::RootedBefore(ix, told));
            }
            if !self.note_promise(state, ix, told, durable.scope) {
                continue;
            }
            if durable.scope == Scope::Root {
                rooted.push(ix);
            }
            self.end_repair(state, ix, told.next);
        }
        self.advance_durable(state);
        if root_was_unknown && durable.scope == Scope::Root {
            // What was known to be durable there could not be told on without its name.
            rooted = (0..self.journal.frontier().streams()).map(StreamIx).collect();
        }
        if !rooted.is_empty() {
            self.notes.push_back(Note::Rooted(rooted));
        }
    }

    /// Keeps the last promise, by which the next session begins behind what this node has, and that
    /// node finds out if it went back. Where other nodes have promised what the root does not have
    /// yet, it begins behind the root wherever it leads: which of them has what is not kept.
    fn hear(&mut self, uplink: Uplink, promise: Promise) {
        let Some(above) = self.uplinks.get(uplink) else { return };
        let frontier = self.journal.frontier();
        let streams = (0..frontier.streams()).map(StreamIx).filter(|ix| self.goes_on(*ix));
        let mut branches = streams.flat_map(|ix| frontier.branches(ix));
        let others = above.mixed || above.promise.is_none_or(|known| known.log != promise.log);
        let mixed = others && branches.any(|(_, branch)| branch.hop > branch.root);
        drop(branches);
        if let Some(above) = self.uplinks.get_mut(uplink) {
            (above.promise, above.mixed) = (Some(promise), mixed);
        }
        // After a restart any stream may go over the first, and it is that node which is greeted by
        // the last promise.
        let several = self.uplinks.are_several();
        let first = self.uplinks.promise(Uplink::FIRST).filter(|_| uplink != Uplink::FIRST);
        for Promise { log, epoch, commit } in [Some(promise), first].into_iter().flatten() {
            self.journal.heard_mut().note(Heard { log, epoch, commit, mixed: mixed || several });
        }
    }

    /// Keeps a promise of the root that was passed on, in case this node dials it one day. One that
    /// has several uplinks does already, and has the root's own word: what others heard may be of
    /// another part of it.
    fn hear_root(&mut self, Promise { log, epoch, commit }: Promise) {
        if epoch != Epoch::new(0) && !self.uplinks.are_several() {
            let heard = Heard { log, epoch, commit, mixed: false };
            self.journal.heard_mut().note_passed_on(heard);
        }
    }

    /// Whether what is durable at the next node is known to be so at the one with this journal.
    pub(crate) fn was_promised_by(&self, uplink: Uplink, log: LogId) -> bool {
        let above = self.uplinks.get(uplink).filter(|above| !above.mixed);
        above.and_then(|above| above.promise).is_some_and(|promise| promise.log == log)
    }

    /// Notes a promise on the branch that it is about, if it fits. Where a gap ends, it is also
    /// about what came late for the gap, if the other end has records there.
    fn note_promise(
        &mut self,
        state: &mut LinkState,
        ix: StreamIx,
        told: Point,
        scope: Scope,
    ) -> bool {
        let Some(at) = self.branch_at(ix, told) else { return false };
        let Some(branch) = self.journal.frontier().branch(ix, at) else { return false };
        let same = branch.tip.next != told.next
            || branch.tip.hash.is_none()
            || told.hash.is_none()
            || branch.tip.hash == told.hash;
        if branch.tip.next < told.next || !same {
            let text = format!(
                "{} promises to have it up to {}, but this node has another history.",
                state.peer_name(),
                told.next
            );
            self.alarm(AlarmKind::Fork, self.stream_name(ix), text);
            return false;
        }
        let root = if scope == Scope::Root { told.next } else { Offset::ZERO };
        let branches = self.journal.frontier().branches(ix);
        // A fork may end where another branch begins: what leads there is there in both.
        let passes = |(other, branch): &(BranchIx, Branch)| match branch.kind {
            BranchKind::Late => {
                told.epoch != STATED && (branch.tip.next, branch.tip.hash) == (told.next, told.hash)
            }
            _ => *other == at || told.hash.is_some() && self.passes(ix, *other, branch, told),
        };
        let passing: Vec<_> = branches.filter(passes).map(|(at, _)| at).collect();
        for at in passing {
            self.journal.frontier_mut().promise(ix, at, told.next, root);
            if let Some(sender) = &mut state.sender {
                let since = sender.promised.entry((ix, at)).or_default();
                *since = told.next.max(*since);
            }
        }
        self.ask_for_late(state, ix, told, scope);
        true
    }

    /// What came late for a gap ends in the middle of an epoch. If what follows there is promised,
    /// the upstream node may have it in one branch, and names the end of that alone. But it may
    /// also have a gap there, so it is asked, once.
    fn ask_for_late(&self, state: &mut LinkState, ix: StreamIx, told: Point, scope: Scope) {
        let is_root = scope == Scope::Root;
        let waits = |branch: &Branch| {
            let promised = if is_root { branch.root } else { branch.hop };
            let passed = branch.tip.epoch == told.epoch && branch.tip.next < told.next;
            branch.kind == BranchKind::Late && passed && promised < branch.tip.next
        };
        let branches = self.journal.frontier().branches(ix);
        for (at, branch) in branches.filter(|(_, branch)| waits(branch)) {
            if state.asked_tips.insert((ix, at, branch.tip.next, is_root)) {
                let tips = vec![(ix, branch.tip, Offset::ZERO)];
                state.says.push_back(Say::Tips { last: false, tips });
            }
        }
    }
}
