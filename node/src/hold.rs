//! Holding: what a consumer or a view has not taken in does not go by age, within a limit. Past the
//! limit, or where a lane is full, it goes all the same, and the consumer is told what it missed.

use landfall_core::frontier::Frontier;
use landfall_core::media::Media;
use landfall_core::num::{CommitNo, Lane, Offset, Partition};

use super::behind::Ranges;
use super::consumer::{Consumer, GAPS_MAX, Missed, Place, TOPIC};
use super::{AlarmKind, Core, Gate, InternalRecord, Node};

/// Where a view is, which the log waits for as it does for a consumer. Nothing of it is stored: the
/// rows know their place, and it is said again after each start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ViewPlace {
    /// Its name.
    pub view: String,
    /// What it follows.
    pub topics: Vec<String>,
    /// What is before it has been taken in.
    pub at: Place,
    /// Whether it is told what goes before it came. Who does not know yet where it is, or builds
    /// rows that nobody reads, is only waited for; what goes meanwhile is told when that is known.
    pub told: bool,
    /// Whether it takes nothing in any more, so that it stays where it is. One that goes on may be
    /// further by now than it said, and finds out what went when it comes there.
    pub stands: bool,
    /// How many records it found gone when it came there, since its rows were begun.
    pub lacks: u64,
}

/// A view that is waited for, and what went before it came.
#[derive(Clone, Debug)]
pub(crate) struct HeldView {
    view: String,
    told: bool,
    stands: bool,
    lacks: u64,
    consumer: Consumer,
    gone: Vec<Gone>,
}

/// Records of a view's topics that went with a segment and were behind the view's place then.
#[derive(Clone, Copy, Debug)]
struct Gone {
    /// The last commit of the segment, or one behind it in another lane.
    through: CommitNo,
    records: u64,
    /// Whether the view stood before them, and an alarm told so.
    told: bool,
}

/// Segments that went of which each is remembered; of more, the oldest count as one.
const GONE_MAX: usize = 64;

impl HeldView {
    fn new(place: ViewPlace) -> Self {
        let ViewPlace { view, topics, at, told, stands, lacks } = place;
        let consumer = Consumer::new(topics, at);
        Self { view, told, stands, lacks, consumer, gone: Vec::new() }
    }

    /// Takes over what went since its place was told last, and it has not come to. Of the segment
    /// that its place lies in nobody knows how much it has taken in, and all counts as missed: also
    /// if its place is the last commit, of which it may have taken in a part.
    fn follow(&mut self, before: &Self) {
        let (at, was) = (self.consumer.at(), before.consumer.at());
        // Rows that are made anew begin with what there is.
        let follows = (at.commit, at.index) >= (was.commit, was.index);
        let missed = before.gone.iter().filter(|gone| follows && gone.through >= at.commit);
        self.gone = missed.copied().collect();
    }

    fn note(&mut self, gone: Gone) {
        self.gone.push(gone);
        if self.gone.len() > GONE_MAX {
            let oldest = self.gone.remove(0);
            self.gone.iter_mut().take(1).for_each(|next| next.records += oldest.records);
        }
    }

    /// What it stands before is told from here on; whether any of that is news. One that goes on
    /// counts what it finds gone.
    fn tell(&mut self) -> bool {
        if !self.told || !self.stands {
            return false;
        }
        let news = self.gone.iter().any(|gone| !gone.told);
        self.gone.iter_mut().for_each(|gone| gone.told = true);
        news
    }

    fn lacking(&self) -> u64 {
        self.gone.iter().filter(|gone| gone.told).map(|gone| gone.records).sum()
    }
}

impl<M: Media, G: Gate> Node<M, G> {
    /// Waits from here on for these views, where they are, and no longer for others.
    ///
    /// What went meanwhile, before they came, is told of those that stand.
    pub fn hold_for_views(&mut self, places: Vec<ViewPlace>) {
        let before = core::mem::take(&mut self.core.views);
        for place in places {
            let mut held = HeldView::new(place);
            let of_view = || before.iter().filter(|before| before.view == held.view);
            let same = of_view().find(|before| before.told == held.told);
            let before = same.or_else(|| of_view().next());
            if let Some(before) = before {
                held.follow(before);
            }
            let more = |before: &HeldView| before.told && held.lacks > before.lacks;
            let has_found = held.told && before.is_some_and(more);
            if held.tell() || has_found {
                self.core.tell_of_view(&held);
            }
            self.core.views.push(held);
        }
    }

    /// How many records at most were forgotten before views that stand took them in.
    pub fn missed_by_views(&self) -> impl Iterator<Item = (&str, u64)> {
        let told = self.core.views.iter().filter(|held| held.told);
        told.map(|held| (held.view.as_str(), held.lacking()))
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// Whether the oldest segment of a lane stays for a consumer or a view.
    pub(crate) fn is_held(&mut self, lane: Lane) -> bool {
        if self.journal.usage(lane).0 > self.settings.hold_max_bytes {
            return false;
        }
        let mut buffer = core::mem::take(&mut self.scratch);
        let consumers = self.cursors.all().map(|(_, consumer)| consumer);
        let consumers = consumers.filter(|consumer| !consumer.is_lost());
        let mut all = consumers.chain(self.views.iter().map(|held| &held.consumer));
        // What can't be read now is looked at again.
        let held = all.any(|consumer| {
            let missed = self.missed_with_oldest(consumer, lane, &mut buffer);
            missed.map_or(true, |missed| !missed.is_empty())
        });
        drop(all);
        self.scratch = buffer;
        held
    }

    /// The oldest segment of a lane is about to go: consumers that have not taken it in are told,
    /// durably, and an alarm tells of views. Returns whether they are. Nothing may be staged.
    pub(crate) fn note_missed(&mut self, lane: Lane) -> bool {
        let mut buffer = core::mem::take(&mut self.scratch);
        let mut changed = Vec::new();
        for (name, consumer) in self.cursors.all().filter(|(_, consumer)| !consumer.is_lost()) {
            match self.missed_with_oldest(consumer, lane, &mut buffer) {
                Ok(missed) if missed.is_empty() => {}
                Ok(missed) => changed.push((name.to_owned(), self.lacking(consumer, &missed))),
                // What the medium refuses to read is dropped with what it held.
                Err(_) => {}
            }
        }
        let behind = self.views_behind(lane, &mut buffer);
        self.scratch = buffer;
        let records = changed.iter().map(|(name, consumer)| InternalRecord {
            topic: TOPIC,
            key: name.clone().into_bytes(),
            value: Some(consumer.encoded()),
        });
        let records: Vec<_> = records.collect();
        let partition = Partition::new(u32::from(self.settings.internal_lane().get()));
        if !records.is_empty() && !self.write_internal(partition, &records) {
            return false;
        }
        for (name, consumer) in changed {
            let text = format!(
                "it has missed {} records, which were forgotten before it took them in: it was \
                 away for longer than the log could wait. It is told so as gaps. Look why it does \
                 not commit, raise storage.hold_max or the lane's budget_bytes, or drop it.",
                consumer.lacking
            );
            self.alarm(AlarmKind::Consumer, name.clone(), text);
            self.cursors.replace(name, consumer);
        }
        let through = self.end_of_oldest(lane);
        for (at, records) in behind {
            let Some(held) = self.views.get_mut(at) else { continue };
            held.note(Gone { through, records, told: false });
            if held.tell() {
                let held = held.clone();
                self.tell_of_view(&held);
            }
        }
        true
    }

    /// The views that have not taken in the oldest segment of a lane, by their numbers, and how
    /// many records go before they come.
    fn views_behind(&self, lane: Lane, buffer: &mut [u8]) -> Vec<(usize, u64)> {
        let all = self.views.iter().enumerate();
        let behind = all.filter_map(|(at, held)| {
            // What the medium refuses to read is dropped with what it held.
            let missed = self.missed_with_oldest(&held.consumer, lane, buffer).ok()?;
            let records = missed.values().map(|(from, to)| to.since(*from)).sum();
            (records > 0).then_some((at, records))
        });
        behind.collect()
    }

    /// A commit that nothing of the oldest segment of a lane is behind: a commit lies in one lane
    /// and there in one segment, as it is written in one piece, and one that is written again
    /// elsewhere is void where it was tried. Commits of other lanes, and the segment's footer, may
    /// lie between its last record and this one.
    fn end_of_oldest(&self, lane: Lane) -> CommitNo {
        let oldest = self.journal.oldest(lane).map(|oldest| oldest.segment.plus(1));
        let next = oldest.and_then(|next| self.journal.segment_from(lane, next));
        let next = next.and_then(|next| self.journal.base_commit(lane, next.segment));
        let last = |next: CommitNo| CommitNo::new(next.get().saturating_sub(1));
        next.map_or(self.journal.last_commit(), last)
    }

    fn tell_of_view(&mut self, held: &HeldView) {
        let text = format!(
            "its rows lack up to {} records, which were forgotten before it took them in: it stood \
             still or was behind for longer than the log could wait. Look at `landfall view list` \
             why, and raise storage.hold_max or the lane's budget_bytes.",
            held.lacks + held.lacking()
        );
        self.alarm(AlarmKind::View, held.view.clone(), text);
    }

    /// A consumer that has missed some records more.
    fn lacking(&self, consumer: &Consumer, missed: &Ranges) -> Consumer {
        let mut after = Consumer { version: consumer.version + 1, ..consumer.clone() };
        for (ix, (from, to)) in missed {
            let stream = self.journal.frontier().name(*ix);
            let told = |gap: &&mut Missed| gap.stream == stream.to_string() && *from <= gap.to;
            let from = match after.gaps.iter_mut().rfind(told) {
                Some(gap) => {
                    let from = gap.to.max(*from);
                    gap.to = gap.to.max(*to);
                    from
                }
                None => {
                    // Of very many streams the latest are told one by one, and all are counted.
                    if after.gaps.len() == GAPS_MAX {
                        after.gaps.remove(0);
                    }
                    let (stream, from, to) = (stream.to_string(), *from, *to);
                    after.gaps.push(Missed { stream, from, to });
                    from
                }
            };
            after.lacking += to.since(from.max(Offset::ZERO));
        }
        after
    }
}

#[cfg(test)]
mod tests {
    use landfall_core::num::Epoch;

    use super::*;

    fn held(commit: u64, index: u32) -> HeldView {
        let at = Place { epoch: Epoch::new(1), commit: CommitNo::new(commit), index };
        let (view, topics) = ("v".to_owned(), vec!["t".to_owned()]);
        HeldView::new(ViewPlace { view, topics, at, told: true, stands: true, lacks: 0 })
    }

    #[test]
    fn of_a_segment_that_went_all_is_missed_unless_the_place_is_behind_it() {
        let mut before = held(3, 0);
        before.note(Gone { through: CommitNo::new(7), records: 10, told: false });
        let lacking = |commit, index| {
            let mut held = held(commit, index);
            held.follow(&before);
            let is_news = held.tell();
            (is_news, held.lacking())
        };
        assert_eq!(lacking(5, 1), (true, 10));
        assert_eq!(lacking(7, 1), (true, 10), "what is left of the last commit went, too");
        assert_eq!(lacking(8, 1), (false, 0));
        assert_eq!(lacking(2, 0), (false, 0), "rows that are made anew begin with what there is");
    }
}
