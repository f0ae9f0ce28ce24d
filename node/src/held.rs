//! What is held: what follows from a commit that is written and not yet synced. The node's next
//! inputs are handled meanwhile, as if it were durable; nobody hears of either before it is.

use std::collections::VecDeque;

use landfall_core::media::Media;
use landfall_core::num::CommitNo;

use super::{Event, Gate, Node, Transmit};

/// Outputs by whether the commit that they follow from is synced.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// The commit that outputs wait for.
    commit: Option<CommitNo>,
    pub(crate) transmits: Outputs<Transmit>,
    pub(crate) events: Outputs<Event>,
}

#[derive(Debug)]
pub(crate) struct Outputs<T> {
    /// They may go.
    pub(crate) due: VecDeque<T>,
    /// They wait.
    waiting: VecDeque<T>,
}

impl<T> Default for Outputs<T> {
    fn default() -> Self {
        Self { due: VecDeque::new(), waiting: VecDeque::new() }
    }
}

impl<M: Media, G: Gate> Node<M, G> {
    /// Whether what follows from a commit waits for it to be synced.
    pub fn holds(&self) -> bool {
        let journal = &self.core.journal;
        journal.in_flight().is_some() || journal.has_lost_flight()
    }

    /// Returns when all that was committed is durable. What follows from it can be polled then. If
    /// it could not be made durable, the journal has failed, and nothing can.
    pub fn land(&mut self) {
        if self.core.journal.land().is_ok() {
            self.release();
        }
    }

    /// Lets go what followed from a commit that is synced now, and puts aside what follows from one
    /// that is not.
    pub(crate) fn hold_or_release(&mut self) {
        self.release_landed();
        let in_flight = self.core.journal.in_flight();
        if in_flight.is_some() {
            self.held.commit = in_flight;
            self.hold();
        }
    }

    /// Lets go what followed from a commit that has landed since, as one does when the node writes
    /// a record of its own: what comes later must not overtake it.
    pub(crate) fn release_landed(&mut self) {
        let journal = &self.core.journal;
        if journal.in_flight() != self.held.commit && !journal.has_lost_flight() {
            self.release();
        }
    }

    fn release(&mut self) {
        let Held { commit, transmits, events } = &mut self.held;
        *commit = None;
        transmits.due.append(&mut transmits.waiting);
        events.due.append(&mut events.waiting);
    }

    /// Puts aside all that there is to be polled. It is no more than the sessions' windows let out.
    fn hold(&mut self) {
        while let Some(transmit) = self.next_transmit() {
            self.held.transmits.waiting.push_back(transmit);
        }
        self.held.events.waiting.append(&mut self.core.events);
    }
}
