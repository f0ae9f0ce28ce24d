//! Answers to whoever appended.

use super::machine::Machine;
use super::producer::Taken;
use super::refusal::refusal;
use crate::api::{AppendReceipt, Span};
use crate::coordinates::{Coordinates, StreamName};
use crate::node::{AppendOutcome, Ticket};

impl Machine {
    pub(super) fn answer(&mut self, ticket: Ticket, outcome: AppendOutcome) {
        if let Some(taken) = self.produced.remove(&ticket) {
            return self.answer_producer(taken, outcome);
        }
        let Some(waiting) = self.waiting.remove(&ticket) else { return };
        let answer = match outcome {
            AppendOutcome::Appended { epoch, parts, duplicates, .. } => {
                let spans = waiting.streams.iter().zip(parts).filter_map(|(stream, written)| {
                    let (origin, (topic, partition)) = (&self.node.settings().site, stream.clone());
                    let stream = StreamName { origin: origin.clone(), topic, partition };
                    let (offset, epoch) = (written.first?.get(), Some(epoch.get()));
                    let first = Coordinates { stream, offset, epoch };
                    Some(Span { first, count: u64::from(written.count) })
                });
                Ok(AppendReceipt { written: spans.collect(), duplicates: u64::from(duplicates) })
            }
            AppendOutcome::Refused { why, .. } => {
                let topic = waiting.streams.first().map_or("", |(topic, _)| topic);
                Err(refusal(why, topic, &waiting.consumers))
            }
        };
        let _ = waiting.answer.send(answer);
    }

    fn answer_producer(&self, taken: Taken, outcome: AppendOutcome) {
        match outcome {
            AppendOutcome::Appended { first, written, .. } => {
                taken.answer(first.map(|first| first.get()), u64::from(written), None);
            }
            AppendOutcome::Refused { written, why } => {
                let refused = refusal(why, taken.topic(), &[]);
                taken.answer(None, u64::from(written), Some(refused));
            }
        }
    }
}
