//! Statements of a peer about what it does not send: gaps, and streams that begin in their middle.

use landfall_core::codec::Writer;
use landfall_core::control::{BranchBody, GapBody};
use landfall_core::entry::Kind;
use landfall_core::frontier::{Branch, BranchIx, BranchKind, Change, Frontier, Point, StreamIx};
use landfall_core::media::{Media, MediaError};
use landfall_core::name::StreamId;
use landfall_core::num::{Lane, LogId};
use landfall_protocol::message::{Begin, Gap, RefusedCode};
use landfall_protocol::session::Fault;

use super::feed::{Feed, Want};
use super::link::{LinkState, Say};
use super::lookup::Held;
use super::promise::{self, STATED};
use super::{AlarmKind, Core, Direction, Gate, Offence};

/// Gaps that a peer may state in one session. A device states one for each time that it dropped its
/// oldest records or lost some.
const GAPS_MAX: usize = 10_000;

impl<M: Media, G: Gate> Core<M, G> {
    /// The peer states that offsets of a stream are missing for good. Only who may send the stream
    /// may say so.
    pub(crate) fn on_gap(
        &mut self,
        state: &mut LinkState,
        lane: Lane,
        gap: &Gap<'_>,
    ) -> Result<(), Fault> {
        let stream = gap.stream;
        state.gaps += 1;
        if state.gaps > GAPS_MAX {
            return Err(Offence::GapFlood.fault());
        }
        if !self.may_state(state, stream)? {
            return Ok(());
        }
        let lane = self.lane_of_statement(state, lane, stream);
        let Some(ix) = self.stream_of_peer(stream) else {
            return self.refuse_stream(state, stream, RefusedCode::TooLarge);
        };
        let end = Point { epoch: gap.epoch, next: gap.to, hash: gap.after };
        state.note_own_end(ix, end);
        self.pass_gap(ix, gap);
        let held = match self.held_behind(ix, gap) {
            Ok(held) => held,
            Err(error) => {
                self.put_off(state, error);
                return Ok(());
            }
        };
        if held == Held::Yes {
            // What is missing elsewhere is here, and what comes behind it goes on from there.
            let branch = self.branch_at(ix, end);
            state.feeds.entry(ix).or_default().goes_on(branch, end, end);
            self.prove_stated(state, (ix, branch), end);
            return Ok(());
        }
        let Some((at, branch)) = self.gap_branch(state, ix, gap) else {
            if gap.from.get() == 0 && self.journal.frontier().branch(ix, BranchIx::MAIN).is_none() {
                let point = Point { epoch: gap.epoch, ..Point::START };
                self.begin_stream(state, lane, ix, point, None)?;
                // If there was no room to begin, there is none to go on.
                return self.take_gap(state, lane, ix, BranchIx::MAIN, gap);
            }
            return Ok(());
        };
        if branch.tip.next < gap.from {
            state.feeds.entry(ix).or_default().want(Want::Behind(branch.tip));
            state.says.push_back(Say::NeedFrom(ix, branch.tip));
            return Ok(());
        }
        if let Some(at) = self.gap_parts_at(state, ix, gap, held) {
            return self.fork_with_gap(state, lane, ix, at, gap);
        }
        if branch.tip.next >= gap.to {
            // What is said to be missing is here, or something else in its place. If it was
            // wanted to see where histories part, it can't be seen.
            let feed = state.feeds.entry(ix).or_default();
            if feed.is_asked_from(gap.from..gap.to) || held == Held::No {
                feed.want(Want::Parted(Point { epoch: STATED, ..end }));
            }
            return Ok(());
        }
        self.take_gap(state, lane, ix, at, gap)
    }

    /// Whether a peer may say something about a stream: only who may send it may. Otherwise it is
    /// refused.
    fn may_state(&mut self, state: &mut LinkState, stream: StreamId<'_>) -> Result<bool, Fault> {
        if state.room_at.is_some() {
            // What it stands among is asked for again.
            return Ok(false);
        }
        let site = state.site.clone().unwrap_or_default();
        let Err(code) = self.check_sender(state, &site, stream) else { return Ok(true) };
        self.refuse_stream(state, stream, code)?;
        Ok(false)
    }

    /// What a peer may send: those below what their rights say, but nothing of a topic that comes
    /// down; the one above what it was asked for.
    pub(crate) fn check_sender(
        &self,
        state: &LinkState,
        site: &str,
        stream: StreamId<'_>,
    ) -> Result<(), RefusedCode> {
        if state.direction == Direction::Up {
            self.check_down(state, stream)
        } else if stream.origin != site && !self.gate.may_carry(site, stream.origin) {
            Err(RefusedCode::NotAllowedOrigin)
        } else if !self.gate.may_write(site, stream.origin, stream.topic)
            || self.topics.comes_down(stream.topic)
        {
            Err(RefusedCode::NotAllowedTopic)
        } else {
            Ok(())
        }
    }

    /// The lane of a statement: what comes down goes where its topic is.
    fn lane_of_statement(&self, state: &LinkState, lane: Lane, stream: StreamId<'_>) -> Lane {
        match state.direction {
            Direction::Up => self.lane_of_topic(stream.topic),
            Direction::Down => lane,
        }
    }

    /// Whether a gap ends at a point that a stream passes here, in whatever branch.
    fn held_behind(&mut self, ix: StreamIx, gap: &Gap<'_>) -> Result<Held, MediaError> {
        let frontier = self.journal.frontier();
        let known = frontier.branch(ix, BranchIx::MAIN).is_some();
        // It may be the end of a gap that is stated here too, with no records around it.
        let ends = |branch: &Branch| branch.tip.next == gap.to && branch.tip.hash == gap.after;
        if frontier.branches(ix).any(|(_, branch)| ends(&branch)) {
            return Ok(Held::Yes);
        }
        let Some(hash) = gap.after.filter(|_| known) else { return Ok(Held::Gone) };
        // What is compared with must be readable.
        self.commit_staged();
        self.holds(ix, gap.to, hash)
    }

    /// The branch that a gap is about: the one that the peer feeds, or the farthest below its end.
    fn gap_branch(
        &self,
        state: &LinkState,
        ix: StreamIx,
        gap: &Gap<'_>,
    ) -> Option<(BranchIx, Branch)> {
        let frontier = self.journal.frontier();
        let fed = state.feeds.get(&ix).and_then(Feed::branch);
        let fed = fed.and_then(|at| Some((at, frontier.branch(ix, at)?)));
        if let Some(fed) = fed.filter(|(_, branch)| branch.kind != BranchKind::Late) {
            return Some(fed);
        }
        // What came late is only what came: it has no gaps.
        let here = |(_, branch): &(BranchIx, Branch)| {
            branch.kind != BranchKind::Late && branch.tip.next <= gap.to
        };
        let below = frontier.branches(ix).filter(here).max_by_key(|(_, branch)| branch.tip.next);
        below.or_else(|| frontier.branches(ix).next())
    }

    /// Where a history parts from ours of which the next that there is is a gap: at its start, or
    /// behind what last came of it and is here.
    fn gap_parts_at(
        &self,
        state: &LinkState,
        ix: StreamIx,
        gap: &Gap<'_>,
        held: Held,
    ) -> Option<Point> {
        let feed = state.feeds.get(&ix);
        let start = Some(Point::START).filter(|start| gap.from == start.next);
        let at = start.or_else(|| feed?.end().filter(|end| end.next == gap.from))?;
        let is_asked = feed.is_some_and(|feed| feed.is_asked_from(gap.from..gap.to));
        let parts = held == Held::No && at.hash.is_some() && !is_asked;
        let frontier = self.journal.frontier();
        let known = frontier.named(ix, (gap.epoch, at.next)).and_then(|at| frontier.branch(ix, at));
        let is_known = known.is_some_and(|branch| !branch.is_empty());
        (parts && !is_known).then_some(Point { epoch: gap.epoch, ..at })
    }

    fn fork_with_gap(
        &mut self,
        state: &mut LinkState,
        lane: Lane,
        ix: StreamIx,
        at: Point,
        gap: &Gap<'_>,
    ) -> Result<(), Fault> {
        let name = (at.epoch, at.next);
        if self.journal.frontier().named(ix, name).is_none() {
            self.report_fork(state, ix, at);
            self.stage_branch(state, lane, ix, (BranchKind::Fork, at, None))?;
        }
        let Some(fork) = self.journal.frontier().named(ix, name) else { return Ok(()) };
        self.take_gap(state, lane, ix, fork, gap)
    }

    fn take_gap(
        &mut self,
        state: &mut LinkState,
        lane: Lane,
        ix: StreamIx,
        at: BranchIx,
        gap: &Gap<'_>,
    ) -> Result<(), Fault> {
        let Some(branch) = self.journal.frontier().branch(ix, at) else { return Ok(()) };
        let body = GapBody {
            stream: gap.stream,
            branch: (branch.first, branch.from),
            from: branch.tip.next,
            to: gap.to,
            reason: gap.reason,
            after: gap.after,
        };
        let mut bytes = [0; 512];
        let mut writer = Writer::new(&mut bytes);
        let written = body.encode(&mut writer);
        assert!(written.is_ok(), "the body of a gap has a limit");
        let change = Change::Gap { branch: at, to: gap.to, after: gap.after };
        let staged = self.stage_until(state, lane, |core| {
            let staged = core.journal.stage_change(lane, ix, change, Kind::Gap, writer.written());
            staged.map(|_| ())
        })?;
        if staged {
            let text = format!(
                "offsets {} to {} are missing for good, says {}: {}.",
                branch.tip.next,
                gap.to,
                state.peer_name(),
                gap.reason
            );
            let told = state.gaps.is_power_of_two();
            self.alarm_paced(AlarmKind::Gap, self.stream_name(ix), text, told, true);
            self.gaps.add(ix, branch.tip.next..gap.to, gap.after);
            let point = Point { epoch: gap.epoch, next: gap.to, hash: gap.after };
            state.feeds.entry(ix).or_default().goes_on(Some(at), point, point);
            self.prove_stated(state, (ix, Some(at)), point);
        }
        Ok(())
    }

    /// The peer is told how far a statement has brought a branch.
    fn prove_stated(
        &self,
        state: &mut LinkState,
        (ix, branch): (StreamIx, Option<BranchIx>),
        at: Point,
    ) {
        // Without a hash, only the epoch tells of which branch it is.
        let at = if at.hash.is_some() { Point { epoch: STATED, ..at } } else { at };
        promise::add(&mut state.proven, ix, branch, at);
    }

    /// A stream that may be new here begins in its middle.
    pub(crate) fn on_begin(
        &mut self,
        state: &mut LinkState,
        lane: Lane,
        begin: &Begin<'_>,
    ) -> Result<(), Fault> {
        let stream = begin.point.stream;
        if !self.may_state(state, stream)? {
            return Ok(());
        }
        let lane = self.lane_of_statement(state, lane, stream);
        let Some(ix) = self.stream_of_peer(stream) else {
            return self.refuse_stream(state, stream, RefusedCode::TooLarge);
        };
        if self.journal.frontier().branch(ix, BranchIx::MAIN).is_some() {
            // A stream that is known goes on from where it is; entries will show.
            return Ok(());
        }
        let Begin { point, durable_at, .. } = begin;
        let point = Point { epoch: point.epoch, next: point.next, hash: point.hash };
        // The root will see for itself whether it has what is before. Of what comes down, the node
        // above has no more.
        let comes_down = state.direction == Direction::Up;
        if comes_down || self.goes_on(ix) && durable_at.is_some() {
            return self.begin_stream(state, lane, ix, point, *durable_at);
        }
        // What is before it should be had, or be stated to be missing.
        state.feeds.entry(ix).or_default().want(Want::Behind(Point::START));
        state.says.push_back(Say::NeedFrom(ix, Point::START));
        Ok(())
    }

    fn begin_stream(
        &mut self,
        state: &mut LinkState,
        lane: Lane,
        ix: StreamIx,
        at: Point,
        durable_at: Option<LogId>,
    ) -> Result<(), Fault> {
        self.stage_branch(state, lane, ix, (BranchKind::Main, at, durable_at))?;
        // All before it is durable at the root, or a gap follows.
        self.journal.frontier_mut().promise(ix, BranchIx::MAIN, at.next, at.next);
        Ok(())
    }

    /// Stages that a branch begins, if there is room.
    pub(crate) fn stage_branch(
        &mut self,
        state: &mut LinkState,
        lane: Lane,
        ix: StreamIx,
        (kind, at, durable_at): (BranchKind, Point, Option<LogId>),
    ) -> Result<(), Fault> {
        let first = at.epoch;
        let mut bytes = [0; 512];
        let mut writer = Writer::new(&mut bytes);
        let stream = self.journal.frontier().name(ix);
        let written = BranchBody { stream, kind, first, at, durable_at }.encode(&mut writer);
        assert!(written.is_ok(), "the body of a branch has a limit");
        let change = Change::Branch { kind, first, at };
        self.stage_until(state, lane, |core| {
            let staged =
                core.journal.stage_change(lane, ix, change, Kind::Branch, writer.written());
            staged.map(|_| ())
        })?;
        Ok(())
    }
}
