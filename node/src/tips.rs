//! Tips: where a node's streams end, by which the other end finds out what was lost on either side.

use landfall_core::frontier::{Branch, BranchIx, Frontier, Point, StreamIx};
use landfall_core::hash::StreamHash;
use landfall_core::media::{Media, MediaError};
use landfall_core::num::{Epoch, Offset};
use landfall_protocol::limits::STREAMS_MAX;
use landfall_protocol::message::{Diverged, DivergedKind, Promise, Tip, Tips};

use super::feed::Want;
use super::giveback::Giveback;
use super::link::{LinkState, Say};
use super::lookup::Held;
use super::note::Note;
use super::promise::{self, STATED};
use super::twins::{Doubt, Writer};
use super::{AlarmKind, Core, Direction, Gate};

impl<M: Media, G: Gate> Core<M, G> {
    /// Tells a peer where streams end: all branches, or else where this node itself goes on, and
    /// what the next node is known to have and the root is not. Nothing more is sent of that, so
    /// only a tip makes the next node say when the root has it. If it could not be noted which
    /// journal is the root, what it has is told too: without its name, nobody below can be told.
    pub(crate) fn say_tips(&mut self, state: &mut LinkState, all: bool) {
        let frontier = self.journal.frontier();
        let Some(uplink) = state.uplink else { return };
        let streams = (0..frontier.streams()).map(StreamIx).filter(|ix| {
            let begun = frontier.branch(*ix, BranchIx::MAIN).is_some();
            begun && self.takes(uplink, *ix)
        });
        let own = |ix| frontier.name(ix).origin == self.settings.site;
        let nameless = self.promise_of_root().is_none();
        let told = |ix, at, branch: &Branch| {
            let waits = branch.root < branch.tip.next && branch.tip.next <= branch.hop;
            let waits = waits || nameless && branch.root >= branch.tip.next;
            all || waits || at == BranchIx::MAIN && own(ix)
        };
        let tips = streams.flat_map(|ix| {
            let branches = frontier.branches(ix).filter(move |(at, branch)| told(ix, *at, branch));
            branches.map(move |(_, branch)| (ix, branch.tip))
        });
        let tips: Vec<_> = tips.map(|(ix, tip)| (ix, tip, Offset::ZERO)).collect();
        let lists = tips.len().div_ceil(STREAMS_MAX);
        for (at, tips) in tips.chunks(STREAMS_MAX).enumerate() {
            state.says.push_back(Say::Tips { last: at + 1 == lists, tips: tips.to_vec() });
        }
    }

    /// A peer from below tells where its streams end.
    pub(crate) fn on_tips(&mut self, state: &mut LinkState, tips: &Tips<'_>) {
        if state.direction != Direction::Down {
            return;
        }
        for tip in tips.tips.iter() {
            if let Err(error) = self.on_tip(state, &tip) {
                return self.put_off(state, error);
            }
        }
    }

    fn on_tip(&mut self, state: &mut LinkState, tip: &Tip<'_>) -> Result<(), MediaError> {
        let stream = tip.point.stream;
        let site = state.site.clone().unwrap_or_default();
        let carried = stream.origin == site || self.gate.may_carry(&site, stream.origin);
        if !carried || !self.gate.may_write(&site, stream.origin, stream.topic) {
            return Ok(());
        }
        let point = Point { epoch: tip.point.epoch, next: tip.point.next, hash: tip.point.hash };
        let Some(ix) = self.stream_of_peer(stream) else { return Ok(()) };
        if stream.origin == site {
            state.own_ends.entry(ix).or_insert(point);
            state.note_own_end(ix, point);
            self.give_up_behind_end(state, ix);
        }
        let frontier = self.journal.frontier();
        let highest = frontier.branches(ix).map(|(_, branch)| branch.tip).max_by_key(|at| at.next);
        let highest = highest.unwrap_or(Point::START);
        if highest.next < point.next {
            self.ask_for_more(state, ix, highest, point);
            return Ok(());
        }
        let Some(hash) = point.hash else { return Ok(()) };
        let mut branches = frontier.branches(ix);
        let level = branches
            .find(|(_, branch)| branch.tip.next == point.next && branch.tip.hash == Some(hash));
        drop(branches);
        let gaps = frontier.branches(ix).any(|(_, branch)| branch.gaps);
        // What is compared with must be readable.
        if gaps || level.is_none() {
            self.commit_staged();
        }
        // Whoever has records there is not told that they are here if a gap ends there.
        let known = !gaps || self.has_record(ix, point.next, hash)?;
        let told = if known { point } else { Point { epoch: STATED, ..point } };
        if let Some((at, _)) = level {
            promise::add_tip(&mut state.proven, ix, Some(at), told);
            return Ok(());
        }
        let held = self.holds_tip(ix, point, hash)?;
        let lost = state.lacking && held != Held::Yes;
        if !lost && stream.origin == site && !state.feeds.contains_key(&ix) {
            self.check_tail(state, ix, point, held);
        }
        if lost || held == Held::Gone && self.is_resumed(state) {
            // It is a branch that was lost here, or one that can't be told from what was forgotten.
            // Nothing more comes of it by itself.
            let start = Point { epoch: point.epoch, ..Point::START };
            let known = self.is_of(ix, point.epoch);
            let want = if known { self.deeper(ix, point.next) } else { start };
            state.feeds.entry(ix).or_default().want(Want::Behind(want));
            state.says.push_back(Say::NeedFrom(ix, want));
        }
        if held == Held::Yes {
            let branch = self.branch_at(ix, point);
            promise::add_tip(&mut state.proven, ix, branch, told);
        }
        Ok(())
    }

    /// A peer has more of a stream than this node. If it holds that to be durable here, it must be
    /// asked for it.
    fn ask_for_more(&mut self, state: &mut LinkState, ix: StreamIx, highest: Point, tip: Point) {
        let epoch = tip.epoch;
        let has_room = state.told.len() < promise::TIPS_KEPT_MAX;
        if has_room && self.goes_on(ix) && self.lies_before(ix, None, tip) {
            // The root may have it, from when the peer was below another node. It is asked once.
            if state.told.insert((ix, None, epoch, Some(tip.next)), tip) != Some(tip) {
                self.notes.push_back(Note::AskedBefore(vec![(ix, tip)]));
            }
        }
        // What comes of it need not be of the branch whose end is gone here.
        let comes = !state.lacking && state.feeds.contains_key(&ix);
        if comes || self.comes_by_itself(state) {
            return;
        }
        let known = !state.lacking || self.is_of(ix, epoch);
        let want = if known { highest } else { Point { epoch, ..Point::START } };
        state.feeds.entry(ix).or_default().want(Want::Behind(want));
        state.says.push_back(Say::NeedFrom(ix, want));
        if state.lacking {
            // It may have forgotten what it says to be durable here.
            self.notes.push_back(Note::Wanted(ix, want, want));
        }
    }

    /// Whether a stream passes through the end of a peer's branch. Where the records are gone, an
    /// equal epoch counts as equal.
    fn holds_tip(&self, ix: StreamIx, at: Point, hash: StreamHash) -> Result<Held, MediaError> {
        let mut branches = self.journal.frontier().branches(ix);
        if branches.any(|(of, branch)| self.passes(ix, of, &branch, at)) {
            return Ok(Held::Yes);
        }
        drop(branches);
        let held = self.holds(ix, at.next, hash)?;
        let known = held == Held::Gone && self.is_written_under(ix, at.epoch, at.next);
        Ok(if known { Held::Yes } else { held })
    }

    /// Whether a peer goes on behind what this node promised it, and sends nothing from before.
    fn is_resumed(&self, state: &LinkState) -> bool {
        let promise = state.hello.as_ref().and_then(|hello| hello.promise);
        promise.is_some_and(|promise| promise.log == self.journal.log())
    }

    /// Whether a peer sends all that this node lacks without being asked: it begins behind what
    /// this node promised it and has, or with the first record. To ask it would make it begin anew
    /// while the same records are on their way.
    fn comes_by_itself(&self, state: &LinkState) -> bool {
        let promise = state.hello.as_ref().and_then(|hello| hello.promise);
        promise.is_none_or(|promise| promise.log == self.journal.log() && self.kept(&promise))
    }

    /// A site's own stream ends below what this node has of it: was its tail lost?
    fn check_tail(&mut self, state: &mut LinkState, ix: StreamIx, point: Point, held: Held) {
        if point != (Point { epoch: point.epoch, ..Point::START }) && held == Held::No {
            // Another history, which its entries will show.
            return;
        }
        let frontier = self.journal.frontier();
        let longer = |branch: &Branch| branch.tip.next > point.next;
        let passed = self.branch_at(ix, point).and_then(|at| frontier.branch(ix, at));
        let any = || frontier.branches(ix).map(|(_, branch)| branch).find(longer);
        if let Some(branch) = passed.map_or_else(any, |passed| Some(passed).filter(longer)) {
            self.report_tail(state, ix, point, branch.tip);
        }
    }

    /// Tells both ends that a site lost a tail that is held here, and begins to give it back.
    /// If another living session wrote it, the two are copies of each other, and nothing is lost.
    pub(crate) fn report_tail(
        &mut self,
        state: &mut LinkState,
        ix: StreamIx,
        at: Point,
        held: Point,
    ) {
        match self.writer_of(state, held.epoch) {
            Writer::Nobody => {}
            Writer::Perhaps => return state.doubts.push(Doubt { ix, at, held }),
            Writer::Another => {
                let kind = DivergedKind::Copy;
                state.says.push_back(Say::Diverged { ix, kind, at: at.next, held });
                let text = format!("two living nodes write it, from offset {} on.", at.next);
                return self.alarm(AlarmKind::Copy, self.stream_name(ix), text);
            }
        }
        if !state.returned.insert(ix) {
            return;
        }
        // What is given back is read, up to its end.
        self.commit_staged();
        let kind = DivergedKind::TailLost;
        state.says.push_back(Say::Diverged { ix, kind, at: at.next, held });
        let text = format!(
            "{} ends at offset {} and this node has it up to {}. {LOST_TAIL} What is held here is \
             sent back.",
            state.peer_name(),
            at.next,
            held.next
        );
        self.alarm(AlarmKind::TailLost, self.stream_name(ix), text);
        state.givebacks.push_back(Giveback::new(ix, at, held.next));
    }

    /// A batch goes on from a point that the stream has long left.
    pub(crate) fn report_fork(&mut self, state: &mut LinkState, ix: StreamIx, at: Point) {
        let subject = self.stream_name(ix);
        let own = self.journal.frontier().name(ix).origin == self.settings.site;
        if state.direction == Direction::Up && own {
            let text = format!(
                "records from offset {} on came back from {}. They are kept as a read-only branch.",
                at.next,
                state.peer_name()
            );
            return self.alarm(AlarmKind::TailLost, subject, text);
        }
        let frontier = self.journal.frontier();
        let tips: Vec<_> = frontier.branches(ix).map(|(_, branch)| branch.tip).collect();
        if tips.is_empty() {
            return;
        }
        let own = state.site.as_deref() == Some(frontier.name(ix).origin);
        let text = match state.direction {
            Direction::Down => format!(
                "it has two continuations from offset {} on. Both are kept. {LOST_TAIL}",
                at.next
            ),
            Direction::Up => format!(
                "{} sends down another continuation of it from offset {} on. Both are kept. Either \
                 that node was restored from a backup, or the stream has two histories there.",
                state.peer_name(),
                at.next
            ),
        };
        self.alarm(AlarmKind::Fork, subject, text);
        let own = own && state.direction == Direction::Down;
        let lost = tips.into_iter().filter(|tip| own && !state.has_own(ix, *tip));
        if let Some(held) = lost.max_by_key(|tip| tip.next) {
            self.report_tail(state, ix, at, held);
        }
    }

    /// Records came that had been stated to be missing.
    pub(crate) fn report_late(
        &mut self,
        state: &LinkState,
        ix: StreamIx,
        from: Offset,
        to: Offset,
    ) {
        let text = format!(
            "offsets {from} to {to} had been declared missing and came late from {}. They are kept \
             as a branch; the gap stays.",
            state.peer_name()
        );
        self.alarm(AlarmKind::Gap, self.stream_name(ix), text);
    }

    /// The upstream node holds records of this node past the point where the histories part.
    pub(crate) fn on_diverged(&mut self, diverged: &Diverged<'_>) {
        let held = &diverged.held;
        let below = Offset::new(held.next.get().saturating_sub(1));
        let ix = self.journal.frontier().find(held.stream);
        if ix.is_some_and(|ix| self.is_written_under(ix, held.epoch, below)) {
            // It is in a branch that was not sent yet.
            return;
        }
        let subject = diverged.held.stream.to_string();
        let text = format!(
            "the upstream node holds offsets {} to {} that this node does not have. {LOST_TAIL}",
            diverged.at, diverged.held.next
        );
        let kind = match diverged.kind {
            DivergedKind::TailLost => AlarmKind::TailLost,
            DivergedKind::Copy => AlarmKind::Copy,
        };
        self.alarm(kind, subject, text);
    }

    pub(crate) fn on_copy_seen(&mut self, epoch: Epoch) {
        let site = self.settings.site.clone();
        let text = format!(
            "another node is connected as {site}, under epoch {epoch}, and is alive. Both are \
             served. Settle it at the hub: landfall sites split {site}"
        );
        self.alarm(AlarmKind::Copy, site, text);
    }

    pub(crate) fn on_promise_lacking(&mut self, state: &mut LinkState, promise: Promise) {
        let Some(uplink) = state.uplink else { return };
        let frontier = self.journal.frontier();
        let streams = (0..frontier.streams()).map(StreamIx).filter(|ix| {
            let begun = frontier.branch(*ix, BranchIx::MAIN).is_some();
            begun && self.takes(uplink, *ix)
        });
        state.owed = streams.map(|ix| (ix, frontier.tip(ix).next)).collect();
        let text = format!(
            "it lacks commit {} that it promised to have: it was restored from a backup, or lost \
             synced writes. It is sent again what is kept here; the rest is stated as a gap.",
            promise.commit
        );
        self.alarm(AlarmKind::PromiseLacking, state.peer_name(), text);
    }
}

/// The three things that can have happened.
const LOST_TAIL: &str = "Either an old image of the site was restored, or its disk lost synced \
                         writes, or a copy of it is running.";
