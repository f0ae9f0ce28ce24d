//! A closer look at a batch: what the frontier could not tell is looked up in what is stored, and
//! what that can't tell either is wanted again, until it can be told.

use std::collections::BTreeSet;

use landfall_core::batch::Batch;
use landfall_core::frontier::{Branch, BranchIx, BranchKind, Frontier, Point, StreamIx};
use landfall_core::media::{Media, MediaError};
use landfall_core::name::StreamId;
use landfall_core::num::{Epoch, Offset};
use landfall_protocol::message::RefusedCode;

use super::feed::{Asking, Feed, Want};
use super::ingest::{Judged, foresee};
use super::late::cut_at;
use super::link::{LinkState, OwnedStream, Say};
use super::lookup::Held;
use super::promise::STATED;
use super::unread::Unjudged;
use super::verdict::{Verdict, View, judge};
use super::{AlarmKind, Core, Gate};

impl<M: Media, G: Gate> Core<M, G> {
    /// Judges a batch by the frontier and, where that is not enough, by what is stored.
    pub(crate) fn judge_batch(
        &self,
        ix: StreamIx,
        batch: &Batch<'_>,
        feed: &Feed,
        before: &[Judged<'_>],
    ) -> Result<Verdict, Unjudged> {
        if batch.head.partial {
            return Err(Unjudged::Malformed);
        }
        // An epoch has one history, so what is below a point of it can only be the same.
        let remembered = self.remembered.get(&(ix, batch.head.epoch));
        if remembered.is_some_and(|next| batch.head.end() <= *next) {
            return Ok(Verdict::Had);
        }
        let views = self.current(ix, before);
        let feed = feed.behind(ix, before);
        let verdict = judge(&views, batch, &feed)?;
        Ok(self.look_closer(ix, batch, &feed, verdict)?)
    }

    /// The branches of a stream without what came late, as they will be behind earlier batches. A
    /// fork that was begun, and whose records found no room, tells nothing of any batch: it was
    /// begun for one that may never come again.
    fn current(&self, ix: StreamIx, before: &[Judged<'_>]) -> Vec<View<'_>> {
        let frontier = self.journal.frontier();
        let is_current = |branch: &Branch| match branch.kind {
            BranchKind::Main => true,
            BranchKind::Fork => !branch.is_empty(),
            BranchKind::Late => false,
        };
        let current = frontier.branches(ix).filter(|(_, branch)| is_current(branch));
        let mut views: Vec<_> = current
            .map(|(at, branch)| View { ix: at, branch, ladder: frontier.ladder(ix, at) })
            .collect();
        for earlier in before.iter().filter(|earlier| earlier.is_current_of(ix)) {
            foresee(&mut views, earlier);
        }
        views
    }

    /// Whether a part of a batch goes on from the tip of a branch, behind earlier batches: a gap of
    /// another branch is none of it.
    pub(crate) fn goes_on_from_tip(
        &self,
        ix: StreamIx,
        part: &Batch<'_>,
        before: &[Judged<'_>],
    ) -> bool {
        let (base, hash) = (part.head.base, part.head.before);
        self.current(ix, before).iter().any(|view| view.branch.tip.meets(base, hash))
    }

    /// The parts of a batch before and behind the place where a fork that it goes on from may join
    /// the stream: what is known of the stream begins there.
    pub(crate) fn at_beginning<'a>(
        &self,
        ix: StreamIx,
        batch: &Batch<'a>,
    ) -> Result<Vec<Batch<'a>>, Unjudged> {
        let (frontier, head) = (self.journal.frontier(), &batch.head);
        let from = frontier.branch(ix, BranchIx::MAIN).map(|main| main.from).unwrap_or_default();
        let mut forks = frontier.branches(ix).filter(|(_, held)| held.kind == BranchKind::Fork);
        let inside = head.base < from && from < head.end();
        if inside && forks.any(|(_, fork)| fork.tip.meets(head.base, head.before)) {
            return Ok(cut_at(batch, &[from])?);
        }
        Ok(vec![*batch])
    }

    /// Decides by what is stored, where the frontier could not.
    fn look_closer(
        &self,
        ix: StreamIx,
        batch: &Batch<'_>,
        feed: &Feed,
        verdict: Verdict,
    ) -> Result<Verdict, MediaError> {
        let head = &batch.head;
        Ok(match verdict {
            Verdict::LookEnd => match self.holds(ix, head.end(), head.after)? {
                Held::Yes => Verdict::Had,
                Held::Gone
                    if !feed.trusts(head.base)
                        && self.is_written_under(ix, head.epoch, head.base) =>
                {
                    Verdict::Unproven
                }
                Held::No | Held::Gone => self.part(ix, batch)?,
            },
            Verdict::LookOn => match self.holds(ix, head.end(), head.after)? {
                Held::Yes => Verdict::Had,
                Held::No => self.part_unproven(ix, batch)?,
                // What follows comes to a known point, or ends before it.
                Held::Gone => Verdict::Unproven,
            },
            Verdict::Fork(..) => self.part(ix, batch)?,
            Verdict::Deeper => self.part_unproven(ix, batch)?,
            Verdict::LookBase => match (self.holds(ix, head.base, head.before)?, feed.parted(head))
            {
                (Held::Yes, _) => self.look_closer(ix, batch, feed, Verdict::LookEnd)?,
                (_, Some(at)) if head.base > at.next => Verdict::Early(at),
                (_, Some(_)) => self.part(ix, batch)?,
                // What was dropped was durable; a batch from below it can't be told apart.
                (Held::Gone, _) => Verdict::Unproven,
                (Held::No, _) => Verdict::Deeper,
            },
            other => other,
        })
    }

    /// Where a batch parts from what is stored, if it does.
    fn part(&self, ix: StreamIx, batch: &Batch<'_>) -> Result<Verdict, MediaError> {
        let head = &batch.head;
        Ok(match self.common(ix, batch)? {
            Some((next, _)) if next == head.end() => Verdict::Had,
            Some((next, hash)) => Verdict::Fork(next, hash),
            None => Verdict::Fork(head.base, head.before),
        })
    }

    /// The same for a batch before which nothing was proved: it may have parted before.
    fn part_unproven(&self, ix: StreamIx, batch: &Batch<'_>) -> Result<Verdict, MediaError> {
        let (base, before) = (batch.head.base, batch.head.before);
        Ok(match self.part(ix, batch)? {
            Verdict::Fork(from, _) if from == base => match self.holds(ix, base, before)? {
                Held::Yes => Verdict::Fork(base, before),
                Held::No | Held::Gone => Verdict::Deeper,
            },
            parted => parted,
        })
    }

    /// If something is missing before the entry, asks for it. Returns whether the entry is refused.
    pub(crate) fn want_again(&mut self, state: &mut LinkState, judged: &[Judged<'_>]) -> bool {
        let mut asked = BTreeSet::new();
        for (at, item) in judged.iter().enumerate() {
            let (Judged { ix, batch, verdict, .. }, base) = (item, item.ends().0);
            let feed = state.feeds.entry(*ix).or_default();
            let want = match verdict {
                Verdict::Early(at) if feed.parted(&batch.head) == Some(*at) => Want::Parted(*at),
                Verdict::Early(at) => Want::Behind(*at),
                Verdict::Deeper if feed.is_in_a_circle() => {
                    Want::Behind(Point { epoch: batch.head.epoch, ..Point::START })
                }
                Verdict::Deeper => {
                    let before = judged.get(..at).unwrap_or_default();
                    let start = feed.behind(*ix, before).give_up(base);
                    feed.give_up(base);
                    self.parted_before(*ix, start)
                }
                _ => continue,
            };
            asked.insert(*ix);
            // What is under way behind the entry is early too, and has been asked for.
            if feed.want(want) || base.next <= want.point().next {
                match feed.count_ask() {
                    Asking::Again => state.says.push_back(Say::NeedFrom(*ix, want.point())),
                    Asking::GivesUp => self.report_unrelated(state, *ix, base.next),
                    Asking::GaveUp => {}
                }
            }
        }
        let refused = !asked.is_empty();
        if refused {
            self.refuse_with(state, judged, asked);
        }
        refused
    }

    /// A peer that is asked for what would show how its history relates to ours does not send it.
    /// The stream waits, and none of those that it is joined with.
    fn report_unrelated(&mut self, state: &mut LinkState, ix: StreamIx, base: Offset) {
        let text = format!(
            "{} sends a history of it from offset {base} on, and not how that relates to what is \
             here, however often it is asked. The stream waits until the next session.",
            state.peer_name()
        );
        self.alarm(AlarmKind::Stalled, self.stream_name(ix), text);
        let StreamId { origin, topic, partition } = self.journal.frontier().name(ix);
        let stream = OwnedStream { origin: origin.into(), topic: topic.into(), partition };
        let code = RefusedCode::Unrelated;
        let text = format!("{code}: it waits for the next session");
        state.says.push_back(Say::Refused { stream, code, text });
    }

    /// An entry is refused although only some of its streams are early: what is new of the others
    /// goes with it, and is asked for too.
    fn refuse_with(
        &mut self,
        state: &mut LinkState,
        judged: &[Judged<'_>],
        mut asked: BTreeSet<StreamIx>,
    ) {
        for item in judged {
            if asked.contains(&item.ix) {
                continue;
            }
            if matches!(item.verdict, Verdict::Had | Verdict::Unproven) {
                self.note_progress(state, item);
                continue;
            }
            asked.insert(item.ix);
            let base = item.ends().0;
            state.feeds.entry(item.ix).or_default().want(Want::Behind(base));
            state.says.push_back(Say::NeedFrom(item.ix, base));
        }
    }

    /// From where a history that began to differ at `start` must be seen.
    pub(crate) fn parted_before(&self, ix: StreamIx, start: Point) -> Want {
        let want = self.deeper(ix, start.next);
        let main = self.journal.frontier().branch(ix, BranchIx::MAIN);
        if want == Point::START && main.is_some_and(|main| main.from > Offset::ZERO) {
            // All of it lies before the place where the stream begins here.
            return Want::Parted(start);
        }
        Want::Behind(want)
    }

    /// Whether a point above `base` is known that is of that epoch.
    pub(crate) fn is_written_under(&self, ix: StreamIx, epoch: Epoch, base: Offset) -> bool {
        let frontier = self.journal.frontier();
        let rungs = |at| frontier.ladder(ix, at).iter().map(|rung| (rung.epoch, rung.next));
        frontier.branches(ix).any(|(at, branch)| {
            let tip = (branch.tip.epoch, branch.tip.next);
            rungs(at).chain([tip]).any(|(of, next)| of == epoch && of != STATED && next > base)
        })
    }

    /// A point from which on a history that differs must be seen: the highest known one below.
    pub(crate) fn deeper(&self, ix: StreamIx, top: Offset) -> Point {
        let frontier = self.journal.frontier();
        let rungs = frontier.branches(ix).flat_map(|(at, _)| frontier.ladder(ix, at).iter());
        let below = rungs.filter(|rung| rung.next < top).max_by_key(|rung| rung.next);
        below.map_or(Point::START, |rung| Point {
            epoch: rung.epoch,
            next: rung.next,
            hash: Some(rung.hash),
        })
    }
}
