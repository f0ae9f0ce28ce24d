//! Repairs: the upstream node wants records again that this node passed on and has forgotten. It
//! asks below for them, keeps what comes in entries of their own until it has been sent on, and
//! then goes on with what it still has.
//!
//! ```text
//! wanted from       first that is still here          tip
//!     │  repair, from below │  stored here             │
//!     ▼─────────────────────▼──────────────────────────▼
//! ```
//!
//! - A repair moves no frontier and takes no seqs: to this node the records are not new.
//! - Only its origin says that something is missing for good; a relay passes that on.
//! - What is wanted is forgotten with the session in which it was. A repair that is lost on the way
//!   is asked for again.

use std::collections::{BTreeMap, VecDeque};

use landfall_core::batch::{Batch, batches};
use landfall_core::codec::Malformed;
use landfall_core::frontier::{Branch, BranchIx, Frontier, Point, StreamIx};
use landfall_core::gap::GapReason;
use landfall_core::journal::{Cursor, Entry};
use landfall_core::media::{Media, MediaError};
use landfall_core::num::{Lane, Offset};
use landfall_protocol::message::{Gap, StreamPoint};

use super::ingest::Judged;
use super::late::cut_at;
use super::link::{LinkState, Say};
use super::note::Note;
use super::sender::{Pump, Sender};
use super::verdict::Verdict;
use super::{AlarmKind, Core, Direction, Gate, Node, Uplink};
use crate::checksum;

/// What the upstream node wants of streams and is not here any more: from where, which moves on as
/// it comes, and up to where.
pub(crate) type Wants = BTreeMap<StreamIx, (Point, Point)>;

/// A stream whose repair is sent on.
#[derive(Debug)]
pub(crate) struct Repair {
    /// The lane of its stream.
    pub(crate) lane: Lane,
    /// Where the stream has forks: the branch, from where it was wanted, and how far it has come.
    strand: Option<Strand>,
    /// What is from here on was not forgotten here.
    to: Point,
    /// Where it was last found that what comes next is not here either.
    asked: Option<Offset>,
    missing: VecDeque<Missing>,
}

/// The repair of one branch among others.
#[derive(Clone, Copy, Debug)]
struct Strand {
    branch: BranchIx,
    from: Offset,
    at: Point,
}

/// What is missing for good, says who was asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Missing {
    pub(crate) from: Offset,
    pub(crate) to: Point,
    pub(crate) reason: GapReason,
}

/// Statements of one stream that wait to be sent on. Who makes more has more gaps than records.
const MISSING_MAX: usize = 1_024;

impl Repair {
    pub(crate) fn new(lane: Lane, to: Point) -> Self {
        Self { lane, strand: None, to, asked: None, missing: VecDeque::new() }
    }

    /// The repair of a branch of a stream with forks, from a point on.
    pub(crate) fn of_branch(lane: Lane, branch: BranchIx, at: Point, to: Point) -> Self {
        let strand = Some(Strand { branch, from: at.next, at });
        Self { strand, ..Self::new(lane, to) }
    }
}

/// Where a batch ends.
fn end_of(batch: &Batch<'_>) -> Point {
    let head = &batch.head;
    Point { epoch: head.epoch, next: head.end(), hash: Some(head.after) }
}

/// What a repair waits for before it goes on.
enum Next {
    /// More from below.
    More,
    /// This is to be stated.
    State(Missing, Offset),
    /// All of it has been sent: on with what is stored from here on.
    Stored(Offset),
}

impl Sender {
    /// What is wanted next of a stream of which one branch has come again.
    fn next_queued(&mut self, ix: StreamIx) -> Option<Point> {
        let at = self.queued.iter().position(|(of, _)| *of == ix)?;
        self.queued.remove(at).map(|(_, want)| want)
    }

    /// A repair of a stream has come to there.
    pub(crate) fn advance_repair(&mut self, ix: StreamIx, to: Point) {
        if let Some(strand) = self.repairs.get_mut(&ix).and_then(|repair| repair.strand.as_mut()) {
            strand.at = to;
        }
    }

    /// A batch of a repair is sent.
    pub(crate) fn note_repaired(&mut self, ix: StreamIx, batch: &Batch<'_>) {
        self.advance_repair(ix, end_of(batch));
    }

    /// What is to be done next for a repair, by how far its stream has been sent.
    fn next_of_repair(&self, ix: StreamIx) -> Option<Next> {
        let repair = self.repairs.get(&ix)?;
        let sent = self.sent.get(&ix).copied().unwrap_or_default();
        let sent = repair.strand.map_or(sent, |strand| strand.at.next);
        if sent >= repair.to.next {
            return Some(Next::Stored(sent));
        }
        let missing = repair.missing.iter().find(|gap| gap.from <= sent && sent < gap.to.next);
        Some(missing.map_or(Next::More, |gap| Next::State(*gap, sent)))
    }

    /// The batches of a repair that go on from what has been sent, and the first stream for which
    /// something before them is not here.
    pub(crate) fn wanted_of_repair<'a, M: Media, G: Gate>(
        &mut self,
        core: &Core<M, G>,
        entry: &Entry<'a>,
    ) -> (Vec<(StreamIx, Batch<'a>)>, Option<Note>) {
        let mut wanted: Vec<(StreamIx, Batch<'a>)> = Vec::new();
        let mut note = None;
        for batch in batches(entry.body, checksum()).map_while(Result::ok) {
            let Some(ix) = core.journal.frontier().find(batch.head.stream) else { continue };
            let Some(repair) = self.repairs.get_mut(&ix) else { continue };
            let before = wanted.iter().rev().find(|(of, _)| *of == ix);
            if let Some(strand) = &repair.strand {
                let at = before.map_or(strand.at, |(_, batch)| end_of(batch));
                if at.meets(batch.head.base, batch.head.before) {
                    wanted.push((ix, batch));
                }
                continue;
            }
            let sent = self.sent.get(&ix).copied().unwrap_or_default();
            let sent = before.map_or(sent, |(_, batch)| batch.head.end());
            if sent >= batch.head.end() {
                continue;
            }
            if batch.head.base <= sent {
                wanted.push((ix, batch));
            } else if repair.asked.replace(sent) != Some(sent) {
                let at = Point { epoch: batch.head.epoch, next: sent, hash: None };
                note = Some(Note::Wanted(ix, at, repair.to));
            }
        }
        (wanted, note)
    }
}

impl<M: Media, G: Gate> Pump<'_, M, G> {
    /// Goes on with streams of this lane of which something comes from below again.
    pub(crate) fn advance_repairs(&mut self) {
        let of_lane = self.sender.repairs.iter().filter(|(_, repair)| repair.lane == self.lane);
        let streams: Vec<_> = of_lane.map(|(ix, _)| *ix).collect();
        for ix in streams {
            while let Some(next) = self.sender.next_of_repair(ix) {
                match next {
                    Next::More => break,
                    Next::State(missing, from) => {
                        let Missing { to, reason, .. } = missing;
                        if !self.say_gap_for(ix, from, to, reason) {
                            return;
                        }
                        self.sender.sent.insert(ix, to.next);
                        self.sender.advance_repair(ix, to);
                    }
                    Next::Stored(from) => {
                        // Other branches were held back with the one that came again.
                        let strand = self.sender.repairs.get(&ix).and_then(|repair| repair.strand);
                        let again = strand.map_or(from, |strand| strand.from);
                        match self.core.place_of(ix, again) {
                            Err(error) => return self.core.read_failed(error),
                            Ok(place) => self.go_on_with_stored(ix, from, place),
                        }
                        if let Some(Strand { branch, .. }) = strand {
                            self.sender.note_strand(ix, branch, from);
                        }
                        if let Some(next) = self.sender.next_queued(ix) {
                            self.core.notes.push_back(Note::WantedNext(ix, next));
                        }
                    }
                }
            }
        }
    }

    /// A repair has come to what was not forgotten. It may have been meanwhile.
    fn go_on_with_stored(&mut self, ix: StreamIx, from: Offset, place: Option<(Lane, Cursor)>) {
        let tip = self.core.journal.frontier().tip(ix);
        match place {
            Some((lane, cursor)) => {
                self.sender.let_go(ix);
                self.sender.rewind(lane, cursor);
            }
            None if tip.next > from => {
                let at = Point { epoch: tip.epoch, next: from, hash: None };
                self.sender.repairs.insert(ix, Repair::new(self.lane, tip));
                self.core.notes.push_back(Note::Wanted(ix, at, tip));
            }
            None => self.sender.let_go(ix),
        }
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// The upstream node wants a stream again.
    pub(crate) fn on_need_from(&mut self, state: &mut LinkState, want: &StreamPoint<'_>) {
        let Some(ix) = self.journal.frontier().find(want.stream) else {
            return self.ask_for_unknown(state, want);
        };
        let point = Point { epoch: want.epoch, next: want.next, hash: want.hash };
        if let Err(error) = self.send_again(state, ix, point) {
            self.put_off(state, error);
        }
    }

    /// Sends a stream again from a point on, as far as it is still here.
    fn send_again(
        &mut self,
        state: &mut LinkState,
        ix: StreamIx,
        want: Point,
    ) -> Result<(), MediaError> {
        if !state.uplink.is_some_and(|uplink| self.takes(uplink, ix)) {
            // Who asked meant another node by now.
            return Ok(());
        }
        let place = self.place_of(ix, want.next)?;
        let strand = self.missing_strand(ix, want)?;
        let stream = self.journal.frontier().name(ix);
        let own = stream.origin == self.settings.site;
        let lane = self.lane_of_topic(stream.topic);
        let Some(sender) = &mut state.sender else { return Ok(()) };
        if sender.repairs.get(&ix).is_some_and(|of| of.strand.is_some()) {
            // One branch after the other.
            if sender.queued.len() < MISSING_MAX && !sender.queued.contains(&(ix, want)) {
                sender.queued.push_back((ix, want));
            }
            return Ok(());
        }
        sender.let_go(ix);
        // Of another branch, more may have been wanted before.
        for from in [&mut sender.lowered, &mut sender.sent] {
            let from = from.entry(ix).or_insert(want.next);
            *from = want.next.min(*from);
        }
        sender.lower_strands(ix, want.next);
        sender.resumed.retain(|(of, _)| *of != ix);
        let tip = self.journal.frontier().tip(ix);
        let (repair, to) = match (strand, place) {
            (Some((at, to)), _) => (Repair::of_branch(lane, at, want, to), to),
            (None, Some((lane, cursor))) => {
                sender.rewind(lane, cursor);
                return Ok(());
            }
            (None, None) if own => {
                sender.lanes.entry(lane).or_default().gone.push_back((ix, want.next));
                return Ok(());
            }
            (None, None) => (Repair::new(lane, tip), tip),
        };
        sender.hold_back(ix);
        sender.repairs.insert(ix, repair);
        self.notes.push_back(Note::Wanted(ix, want, to));
        Ok(())
    }

    /// Of a stream with forks that others write: the branch that is wanted, and where what is still
    /// here of it begins, if it begins too late.
    fn missing_strand(
        &self,
        ix: StreamIx,
        want: Point,
    ) -> Result<Option<(BranchIx, Point)>, MediaError> {
        let frontier = self.journal.frontier();
        let forked = frontier.branch(ix, BranchIx(1)).is_some();
        if !forked || frontier.name(ix).origin == self.settings.site {
            return Ok(None);
        }
        let begins_behind = |main: &Branch| {
            let its = self.branch_of_epoch(ix, want.epoch) == Some(BranchIx::MAIN);
            its && main.from > want.next
        };
        // It may begin in its middle here.
        let main = frontier.branch(ix, BranchIx::MAIN).filter(begins_behind);
        let found = main
            .map(|main| (BranchIx::MAIN, main))
            .or_else(|| self.branch_under(ix, want.epoch, want.next))
            .or_else(|| self.branch_before(ix, want.epoch, want.next));
        let Some((at, branch)) = found else { return Ok(None) };
        let mut first = None;
        self.each_batch(ix, (want.next, branch.tip.next), |_, batch| {
            let head = &batch.head;
            let its =
                head.end() > want.next && self.branch_of(ix, head.base, end_of(batch)) == Some(at);
            if its {
                first = Some(Point { epoch: head.epoch, next: head.base, hash: Some(head.before) });
            }
            !its
        })?;
        let to = first.unwrap_or(branch.tip);
        Ok((to.next > want.next).then_some((at, to)))
    }

    /// The upstream node wants a stream that never came by here: whoever roamed to a node below may
    /// have it. To this node it is new when it comes. If it is its own, it went back to before it.
    fn ask_for_unknown(&mut self, state: &mut LinkState, want: &StreamPoint<'_>) {
        let takes = state.uplink == Some(self.gate.uplink_of(want.stream.origin));
        if !takes || !self.topics.goes_up(want.stream.topic) {
            return;
        }
        let Some(ix) = self.stream_of_peer(want.stream) else { return };
        if want.stream.origin == self.settings.site {
            let tips = vec![(ix, Point::START, Offset::ZERO)];
            state.says.push_back(Say::Tips { last: false, tips });
            return;
        }
        let at = Point { epoch: want.epoch, next: want.next, hash: want.hash };
        self.notes.push_back(Note::Wanted(ix, at, at));
    }

    /// The parts of a batch, with the verdict on those that were wanted again from below.
    pub(crate) fn repairs<'a>(
        &self,
        ix: StreamIx,
        batch: &Batch<'a>,
        before: &[Judged<'_>],
    ) -> Result<Vec<(Option<Verdict>, Batch<'a>)>, Malformed> {
        let Some((at, to)) = self.wants.get(&ix) else { return Ok(vec![(None, *batch)]) };
        let at = before.iter().rev().find_map(|earlier| earlier.repaired(ix)).unwrap_or(*at);
        if self.is_of_another(ix, batch, *to) {
            return Ok(vec![(None, *batch)]);
        }
        if batch.head.end() <= at.next || to.next <= batch.head.base {
            return Ok(vec![(None, *batch)]);
        }
        let parts = cut_at(batch, &[at.next, to.next])?;
        let judged = parts.into_iter().map(|part| {
            let head = &part.head;
            let inside = at.next <= head.base && head.end() <= to.next;
            let verdict = match inside {
                true if at.meets(head.base, head.before) => Some(Verdict::Repair),
                // Where it is known which history is wanted, others may come along.
                true if head.base > at.next && (at.hash.is_none() || head.epoch == to.epoch) => {
                    Some(Verdict::Early(at))
                }
                _ => None,
            };
            (verdict, part)
        });
        Ok(judged.collect())
    }

    /// Whether a batch is known to be of another branch than the one that is wanted up to a point.
    fn is_of_another(&self, ix: StreamIx, batch: &Batch<'_>, to: Point) -> bool {
        let head = &batch.head;
        let under = || self.branch_under(ix, head.epoch, head.base).map(|(at, _)| at);
        let its = self.branch_of(ix, head.base, end_of(batch)).or_else(under);
        let of_epoch = || self.branch_of_epoch(ix, to.epoch);
        let wanted = self.branch_at(ix, to).or_else(of_epoch);
        its.is_some() && wanted.is_some() && its != wanted
    }

    /// A part of what is wanted again has been staged.
    pub(crate) fn repaired(&mut self, ix: StreamIx, end: Point) {
        let Some((at, to)) = self.wants.get_mut(&ix) else { return };
        *at = end;
        if at.next >= to.next {
            self.wants.remove(&ix);
        }
    }

    /// The upstream node has a stream up to there: if it was to come again, it need not.
    pub(crate) fn end_repair(&mut self, state: &mut LinkState, ix: StreamIx, next: Offset) {
        let Some(sender) = &mut state.sender else { return };
        let done = |repair: &Repair| repair.strand.is_none() && repair.to.next <= next;
        if sender.repairs.get(&ix).is_some_and(done) {
            sender.let_go(ix);
            self.wants.remove(&ix);
        }
    }

    /// A peer states a gap: if it lies in what is wanted again from below, it is passed on.
    pub(crate) fn pass_gap(&mut self, ix: StreamIx, gap: &Gap<'_>) {
        let Some((at, to)) = self.wants.get(&ix).copied() else { return };
        if gap.from > at.next || gap.to <= at.next {
            return;
        }
        let end = Point { epoch: gap.epoch, next: gap.to, hash: gap.after };
        let end = if end.next < to.next { end } else { to };
        self.notes
            .push_back(Note::Missing(ix, Missing { from: at.next, to: end, reason: gap.reason }));
        self.repaired(ix, end);
    }

    /// A session at an uplink begins. What was wanted in the one before is said again in this one.
    pub(crate) fn forget_wants(&mut self, uplink: Uplink) {
        let mut wants = core::mem::take(&mut self.wants);
        wants.retain(|ix, _| self.uplink_of(*ix) != uplink);
        self.wants = wants;
    }

    /// Asks a peer from below for what is wanted of streams that it may send.
    pub(crate) fn ask_for_wants(&self, state: &mut LinkState) {
        for (ix, (at, to)) in &self.wants {
            let has_come = at == to && self.journal.frontier().tip(*ix).next > at.next;
            if !has_come {
                self.ask_below(state, *ix, *at);
            }
        }
    }

    fn ask_below(&self, state: &mut LinkState, ix: StreamIx, at: Point) {
        let (Direction::Down, Some(site)) = (state.direction, &state.site) else { return };
        let origin = self.journal.frontier().name(ix).origin;
        if origin == site || self.gate.may_carry(site, origin) {
            state.says.push_back(Say::NeedFrom(ix, at));
        }
    }
}

impl<M: Media, G: Gate> Node<M, G> {
    /// The upstream node wants records again that came from below and are not here any more:
    /// whoever may send them is asked.
    pub(crate) fn pass_wanted(&mut self, ix: StreamIx, at: Point, to: Point) {
        if at.next < to.next {
            let text = format!(
                "the upstream node lacks offsets {} to {} of it, which were passed on and \
                 forgotten here. Whoever is connected from below is asked for them; until they \
                 come, the stream waits.",
                at.next, to.next
            );
            self.core.alarm(AlarmKind::Stalled, self.core.stream_name(ix), text);
        }
        let known = self.core.wants.insert(ix, (at, to)) == Some((at, to));
        if known && self.core.uplinks.are_several() {
            // Nodes that take each other for the one above would ask each other without end. Who is
            // here was asked, and who comes will be.
            return;
        }
        for link in self.links.values_mut() {
            self.core.ask_below(&mut link.state, ix, at);
            self.core.give_up_behind_end(&link.state, ix);
        }
    }

    /// The upstream node has one branch of a stream again, and wants the next one.
    pub(crate) fn send_next(&mut self, ix: StreamIx, want: Point) {
        for link in self.links.values_mut().filter(|link| link.state.direction == Direction::Up) {
            if let Err(error) = self.core.send_again(&mut link.state, ix, want) {
                self.core.put_off(&mut link.state, error);
            }
        }
    }

    /// Something that the upstream node wants is missing for good, says who was asked.
    pub(crate) fn pass_missing(&mut self, ix: StreamIx, missing: Missing) {
        let senders = self.links.values_mut().filter_map(|link| link.state.sender.as_mut());
        for sender in senders {
            let repair = sender.repairs.get_mut(&ix);
            if let Some(repair) = repair.filter(|repair| repair.missing.len() < MISSING_MAX) {
                repair.missing.push_back(missing);
            }
        }
    }
}
