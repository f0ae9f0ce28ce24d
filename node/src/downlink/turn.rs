//! What becomes of an entry of a topic that is sent down: its batches that the peer lacks are
//! joined, and what must be known before them is said first.

use landfall_core::batch::{Batch, batches};
use landfall_core::control::GapBody;
use landfall_core::entry::Kind;
use landfall_core::frontier::{BranchIx, BranchKind, Frontier, Point, StreamIx};
use landfall_core::gap::GapReason;
use landfall_core::journal::Entry;
use landfall_core::limits::JOINED_BYTES_MAX;
use landfall_core::media::Media;
use landfall_core::num::Offset;
use landfall_protocol::message::{self, LaneMessage, StreamPoint};

use super::{Copying, Turn};
use crate::checksum;
use crate::joiner::Joiner;
use crate::sender::ENTRY_OVERHEAD;
use crate::{Core, Gate};

/// A batch that is to be sent, and the branch that it is of, if that can be told.
struct Wanted<'e> {
    ix: StreamIx,
    at: Option<BranchIx>,
    batch: Batch<'e>,
}

impl Wanted<'_> {
    /// Whether the other batch goes on from it.
    fn leads_to(&self, other: &Self) -> bool {
        let (head, next) = (&self.batch.head, &other.batch.head);
        self.ix == other.ix && head.end() == next.base && head.after == next.before
    }
}

impl<M: Media, G: Gate> Copying<'_, M, G> {
    /// Deals with the next entry.
    pub(super) fn turn(&mut self, entry: &Entry<'_>, joiner: &mut Joiner) -> Turn {
        match entry.header.kind {
            Kind::Data => self.join(entry, joiner),
            Kind::Gap if joiner.is_empty() => self.relay_gap(entry.body),
            Kind::Gap => Turn::Wait,
            _ => Turn::On,
        }
    }

    /// The batches of an entry that the peer lacks.
    fn wanted<'e>(&self, entry: &Entry<'e>) -> Vec<Wanted<'e>> {
        let frontier = self.core.journal.frontier();
        let mut wanted = Vec::new();
        for batch in batches(entry.body, checksum()).map_while(Result::ok) {
            let head = &batch.head;
            if head.stream.topic != self.of.topic || head.stream.origin == self.site {
                continue;
            }
            let Some(ix) = frontier.find(head.stream) else { continue };
            let end = Point { epoch: head.epoch, next: head.end(), hash: Some(head.after) };
            let at = self.core.branch_of(ix, head.base, end);
            if !self.of.passes_over(self.copied, ix) && self.core.lacks(self.of, ix, at, end.next) {
                wanted.push(Wanted { ix, at, batch });
            }
        }
        wanted
    }

    fn join(&mut self, entry: &Entry<'_>, joiner: &mut Joiner) -> Turn {
        let wanted = self.wanted(entry);
        if wanted.is_empty() {
            return Turn::On;
        }
        let bytes: usize = wanted
            .iter()
            .map(|Wanted { batch, .. }| batch.head.encoded_len() + batch.records.len())
            .sum();
        for (place, item) in wanted.iter().enumerate() {
            let mut earlier = wanted.iter().take(place);
            if earlier.any(|earlier| earlier.leads_to(item)) {
                continue;
            }
            // What is said before a batch must not overtake what is joined so far.
            let told = match self.before(item) {
                None => continue,
                Some(_) if !joiner.is_empty() => return Turn::Wait,
                Some(message) => {
                    let frame = message.frame(self);
                    self.ready(frame)
                }
            };
            if !told {
                return Turn::Wait;
            }
            self.note_sent(item.ix, item.at, item.batch.head.base);
        }
        let room = self.link.room(self.core, self.index);
        let limit = JOINED_BYTES_MAX.min(room.saturating_sub(ENTRY_OVERHEAD));
        let needs = bytes + ENTRY_OVERHEAD;
        if !joiner.takes(entry.path, bytes, limit) || needs > room {
            self.copied.needs = needs;
            return Turn::Wait;
        }
        self.copied.needs = 0;
        for Wanted { ix, at, batch } in wanted {
            joiner.add(ix, entry.path, &batch);
            self.note_sent(ix, at, batch.head.end());
        }
        Turn::On
    }

    fn note_sent(&mut self, ix: StreamIx, at: Option<BranchIx>, next: Offset) {
        let Some(at) = at else { return };
        let sent = self.of.sent.entry((ix, at)).or_default();
        *sent = next.max(*sent);
    }

    /// What must be said before a batch: that its stream begins in its middle, or that something
    /// before it is here no more.
    fn before(&self, item: &Wanted<'_>) -> Option<Before> {
        let (ix, head) = (item.ix, &item.batch.head);
        let frontier = self.core.journal.frontier();
        let at = item.at?;
        let branch = frontier.branch(ix, at)?;
        let from = if branch.kind == BranchKind::Main { Offset::ZERO } else { branch.from };
        let reached = self.core.reached(self.of, ix, at).max(from);
        let point = Point { epoch: head.epoch, next: head.base, hash: Some(head.before) };
        if head.base <= reached {
            return None;
        }
        Some(match self.of.knows(ix) {
            true => Before::Gap(ix, reached, point, self.core.why_gone(ix, reached)),
            false => Before::Begin(ix, point),
        })
    }

    fn relay_gap(&mut self, body: &[u8]) -> Turn {
        let Ok(gap) = GapBody::decode(body) else { return Turn::On };
        if gap.stream.topic != self.of.topic || gap.stream.origin == self.site {
            return Turn::On;
        }
        let frontier = self.core.journal.frontier();
        let Some(ix) = frontier.find(gap.stream) else { return Turn::On };
        let Some(at) = frontier.named(ix, gap.branch) else { return Turn::On };
        let reached = self.core.reached(self.of, ix, at);
        let begun = self.of.knows(ix) || gap.from == Offset::ZERO;
        if self.of.passes_over(self.copied, ix) || !begun || reached >= gap.to {
            return Turn::On;
        }
        let branch = frontier.branch(ix, at);
        let first = branch.filter(|branch| branch.kind != BranchKind::Main);
        let from = reached.max(first.map(|branch| branch.from).unwrap_or_default());
        let to = Point { epoch: gap.branch.0, next: gap.to, hash: gap.after };
        let frame = Before::Gap(ix, from, to, gap.reason).frame(self);
        if !self.ready(frame) {
            return Turn::Wait;
        }
        self.note_sent(ix, Some(at), gap.to);
        Turn::On
    }
}

/// What is said before a batch.
enum Before {
    Begin(StreamIx, Point),
    Gap(StreamIx, Offset, Point, GapReason),
}

impl Before {
    fn frame<M: Media, G: Gate>(&self, copy: &mut Copying<'_, M, G>) -> Option<Vec<u8>> {
        let frontier = copy.core.journal.frontier();
        match *self {
            Self::Begin(ix, Point { epoch, next, hash }) => {
                let point = StreamPoint { stream: frontier.name(ix), epoch, next, hash };
                let (durable_at, reason) = (copy.core.root(), GapReason::NeverReceived);
                let begin = message::Begin { point, durable_at, reason };
                copy.link.frame(copy.index, &LaneMessage::Begin(begin))
            }
            Self::Gap(ix, from, Point { epoch, next: to, hash: after }, reason) => {
                let stream = frontier.name(ix);
                let gap = message::Gap { stream, from, to, epoch, reason, after };
                copy.link.frame(copy.index, &LaneMessage::Gap(gap))
            }
        }
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// Why records of a stream are here no more from an offset on: they were lost, or had been kept
    /// for as long as they were to be.
    fn why_gone(&self, ix: StreamIx, from: Offset) -> GapReason {
        let mut losses = self.journal.losses().iter().rev();
        let loss = losses.find(|loss| {
            loss.stream.is_some_and(|(of, _)| of == ix) && loss.from <= from && from < loss.to
        });
        loss.and_then(|loss| loss.reason).unwrap_or(GapReason::Dropped)
    }
}
