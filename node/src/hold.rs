//! Holding: what a consumer has not taken in does not go by age, within a limit. Past the limit, or
//! where a lane is full, it goes all the same, and the consumer is told what it missed.

use landfall_core::frontier::Frontier;
use landfall_core::media::Media;
use landfall_core::num::{Lane, Offset, Partition};

use super::behind::Ranges;
use super::consumer::{Consumer, GAPS_MAX, Missed, TOPIC};
use super::{AlarmKind, Core, Gate, InternalRecord};

impl<M: Media, G: Gate> Core<M, G> {
    /// Whether the oldest segment of a lane stays for a consumer.
    pub(crate) fn is_held(&mut self, lane: Lane) -> bool {
        if self.journal.usage(lane).0 > self.settings.hold_max_bytes {
            return false;
        }
        let mut buffer = core::mem::take(&mut self.scratch);
        let mut consumers = self.cursors.all().filter(|(_, consumer)| !consumer.is_lost());
        // What can't be read now is looked at again.
        let held = consumers.any(|(_, consumer)| {
            let missed = self.missed_with_oldest(consumer, lane, &mut buffer);
            missed.map_or(true, |missed| !missed.is_empty())
        });
        drop(consumers);
        self.scratch = buffer;
        held
    }

    /// The oldest segment of a lane is about to go: consumers that have not taken it in are told,
    /// durably. Returns whether they are. Nothing may be staged.
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
        self.scratch = buffer;
        let records = changed.iter().map(|(name, consumer)| InternalRecord {
            topic: TOPIC,
            key: name.clone().into_bytes(),
            value: Some(consumer.encoded()),
        });
        let records: Vec<_> = records.collect();
        let partition = Partition::new(u32::from(self.settings.internal_lane().get()));
        if records.is_empty() {
            return true;
        }
        if !self.write_internal(partition, &records) {
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
        true
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
