//! Holding: what a consumer or a view has not taken in does not go by age, within a limit. Past the
//! limit, or where a lane is full, it goes all the same, and the consumer is told what it missed.

use landfall_core::frontier::Frontier;
use landfall_core::media::Media;
use landfall_core::num::{Lane, Offset, Partition};

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
    /// rows that nobody reads, is only waited for.
    pub told: bool,
}

/// A view that is waited for, and what it has missed.
#[derive(Clone, Debug)]
pub(crate) struct HeldView {
    view: String,
    told: bool,
    consumer: Consumer,
}

impl<M: Media, G: Gate> Node<M, G> {
    /// Waits from here on for these views, where they are, and no longer for others.
    pub fn hold_for_views(&mut self, places: Vec<ViewPlace>) {
        let before = core::mem::take(&mut self.core.views);
        let held = places.into_iter().map(|ViewPlace { view, topics, at, told }| {
            let stays = |held: &&HeldView| {
                let consumer = &held.consumer;
                held.view == view
                    && held.told == told
                    && consumer.topics == topics
                    && consumer.at().is_at(&at)
            };
            let before = before.iter().find(stays).cloned();
            before.unwrap_or_else(|| {
                let consumer = Consumer::new(topics, at);
                HeldView { view, told, consumer }
            })
        });
        self.core.views = held.collect();
    }

    /// How many records were forgotten before views took them in, since they were where they are.
    pub fn missed_by_views(&self) -> impl Iterator<Item = (&str, u64)> {
        let told = self.core.views.iter().filter(|held| held.told);
        told.map(|held| (held.view.as_str(), held.consumer.lacking))
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
        behind.into_iter().for_each(|(at, consumer)| self.tell_of_view(at, consumer));
        true
    }

    /// The views that have not taken in the oldest segment of a lane, by their numbers, as they are
    /// without it.
    fn views_behind(&self, lane: Lane, buffer: &mut [u8]) -> Vec<(usize, Consumer)> {
        let told = self.views.iter().enumerate().filter(|(_, held)| held.told);
        let behind = told.filter_map(|(at, HeldView { consumer, .. })| {
            // What the medium refuses to read is dropped with what it held.
            let missed = self.missed_with_oldest(consumer, lane, buffer).ok()?;
            (!missed.is_empty()).then(|| (at, self.lacking(consumer, &missed)))
        });
        behind.collect()
    }

    fn tell_of_view(&mut self, at: usize, consumer: Consumer) {
        let Some(held) = self.views.get_mut(at) else { return };
        let text = format!(
            "its rows lack {} records, which were forgotten before it took them in: it stood still \
             for longer than the log could wait. Look at `landfall view list` why it does, and \
             raise storage.hold_max or the lane's budget_bytes.",
            consumer.lacking
        );
        held.consumer = consumer;
        let view = held.view.clone();
        self.alarm(AlarmKind::View, view, text);
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
