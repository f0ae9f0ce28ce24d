//! What a view derives, on its way from the file to the log.

use super::*;
use crate::api::Cursor;
use crate::node::Derived;
use crate::views::derive::{
    Asked, Derivation, Deriving, Sent, begun, count, forget, letter_topics, lowest, prune, send,
    topics,
};

/// What a running view has of its derived topics.
#[derive(Default)]
pub(super) struct ViewDerives {
    derivation: Derivation,
    known: Derived,
    /// Whether it derives anything, or sets records aside as dead letters.
    derives: bool,
    /// Whether what waits is dead letters only, which the rows need not wait for.
    letters_only: bool,
    /// Whether the log was asked what it has.
    asked: bool,
    /// Whether something is on its way.
    sending: bool,
    /// Records in the outbox.
    waiting: u64,
    /// Whether it takes no more pages until the outbox is emptier.
    full: bool,
}

/// Records in the outbox beyond which a view takes no more pages.
const WAITING_MAX: u64 = 8_192;

impl ViewDerives {
    /// What is derived of the next page; none if nothing is.
    pub(super) fn deriving<'d>(
        &'d self,
        partition_of: &'d dyn Fn(&str, Option<&[u8]>) -> u32,
    ) -> Option<Deriving<'d>> {
        let Self { derivation, known, derives, .. } = self;
        derives.then_some(Deriving { derivation, known, partition_of })
    }

    /// Up to where another generation derives.
    pub(super) fn after(&self) -> Option<LogPlace> {
        self.derivation.after
    }

    /// Whether it is known what the log has, which a new generation must be told.
    pub(super) fn is_asked(&self) -> bool {
        self.asked
    }

    /// Records that are derived and not yet known to be durable.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting
    }
}

impl<B: Backend> Keeper<B> {
    /// What a view derives, and what the log is to be asked before it does.
    ///
    /// # Errors
    /// The file refuses: then nothing may be applied, as what it derives would be missing.
    pub(super) fn derives(
        &self,
        definition: &Definition,
        generation: u64,
        progress: &Progress,
        stage: &Stage,
    ) -> Result<(ViewDerives, Asked), Error> {
        let name = definition.name.as_str();
        let none = Asked { view: name.to_owned(), topics: Vec::new(), from: None };
        let file = match stage {
            Stage::Current => self.file.as_ref(),
            Stage::Next(next) => Some(next),
        };
        let Some(connection) = file.map(|file| &file.connection) else {
            return Ok((ViewDerives::default(), none));
        };
        let mut wanted = definition.derives();
        let letters_only = wanted.is_empty();
        wanted.extend(letter_topics(definition));
        let derivation = begun(connection, name, generation)?;
        let (waits_for, waiting) = (topics(connection, name)?, count(connection, name)?);
        let lowest = lowest(connection, name)?;
        let derives = !wanted.is_empty();
        let view =
            ViewDerives { derivation, derives, letters_only, waiting, ..ViewDerives::default() };
        if matches!(stage, Stage::Next(_)) {
            // Until it is in place it derives only what nobody else has.
            return Ok((view, none));
        }
        wanted.extend(waits_for);
        let from = progress.cursor.map(|cursor| match lowest {
            Some((commit, index)) if (commit, index) < (cursor.commit, cursor.index) => {
                Cursor { commit, index, ..cursor }
            }
            _ => cursor,
        });
        Ok((view, Asked { topics: wanted.into_iter().collect(), from, ..none }))
    }

    /// The log has said what it has of what a view derives.
    pub(super) fn begin_deriving(&mut self, ticket: Ticket, known: Derived) {
        let (Some(view), Some(file)) = (self.views.get_mut(&ticket), self.file.as_ref()) else {
            return;
        };
        view.deriving.asked = true;
        view.deriving.known = known;
        if matches!(view.stage, Stage::Next(_)) {
            return;
        }
        let name = view.definition.name.clone();
        match prune(&file.connection, &name, &view.deriving.known) {
            Ok(()) => {
                self.send(ticket);
                self.replace_if_due(&name);
            }
            Err(error) => self.refused(ticket, &error),
        }
    }

    /// A new generation is in place: it goes on where the old one ended, and rests no more.
    pub(super) fn go_on_for(&mut self, ticket: Ticket, old: Option<Running>) {
        let (Some(view), Some(file)) = (self.views.get_mut(&ticket), self.file.as_ref()) else {
            return;
        };
        view.pace.hurry();
        match begun(&file.connection, &view.definition.name, view.generation) {
            Ok(derivation) => view.deriving.derivation = derivation,
            Err(error) => return self.refused(ticket, &error),
        }
        let known = old.map(|old| old.deriving.known).unwrap_or_default();
        self.begin_deriving(ticket, known);
    }

    /// A new generation leaves to the current one what that has come to.
    pub(super) fn follow_current(&mut self, ticket: Ticket) {
        let Some(next) = self.views.get(&ticket) else { return };
        if !matches!(next.stage, Stage::Next(_)) {
            return;
        }
        let name = &next.definition.name;
        let is_current =
            |view: &&Running| view.definition.name == *name && matches!(view.stage, Stage::Current);
        let place = self.views.values().find(is_current).and_then(Running::place);
        if let Some(next) = self.views.get_mut(&ticket) {
            let after = &mut next.deriving.derivation.after;
            *after = place.max(*after);
        }
    }

    /// Whether so much of a view waits for the log that it takes no more for now.
    pub(super) fn waits_for_room(&mut self, ticket: Ticket) -> bool {
        let Some(view) = self.views.get_mut(&ticket) else { return false };
        let full = matches!(view.stage, Stage::Current) && view.deriving.waiting > WAITING_MAX;
        if full {
            view.deriving.full = true;
            view.hush();
        }
        full
    }

    /// Sends the oldest of what waits, unless something is on its way.
    pub(super) fn send(&mut self, ticket: Ticket) {
        let (Some(view), Some(file)) = (self.views.get_mut(&ticket), self.file.as_ref()) else {
            return;
        };
        let deriving = &mut view.deriving;
        if !deriving.asked || !matches!(view.stage, Stage::Current) {
            return;
        }
        let name = &view.definition.name;
        let counted = count(&file.connection, name);
        let sending = counted.and_then(|waiting| {
            deriving.waiting = waiting;
            match deriving.sending {
                true => Ok(None),
                false => send(self.backend.clone(), &file.connection, name),
            }
        });
        match sending {
            Ok(None) => {}
            Ok(Some(sending)) => {
                deriving.sending = true;
                let told = self.told.clone();
                // If the keeper is gone, it is sent again at the next start.
                self.runtime.spawn(async move {
                    let _ = told.send(Told::Sent(ticket, sending.await)).await;
                });
            }
            Err(error) => self.refused(ticket, &error),
        }
    }

    /// What was sent is durable, or was refused.
    pub(super) fn sent(&mut self, ticket: Ticket, sent: Sent) {
        let (Some(view), Some(file)) = (self.views.get_mut(&ticket), self.file.as_ref()) else {
            return;
        };
        view.deriving.sending = false;
        let name = view.definition.name.clone();
        let through = match sent {
            Ok(through) => through,
            Err(why) => {
                let why = format!("what it derives is refused: {why}");
                tracing::warn!(view = name, why, "the view waits");
                view.state = State::Waiting(why, clock::monotonic(), AGAIN_AFTER_MS);
                if !view.deriving.letters_only {
                    view.hush();
                }
                return;
            }
        };
        self.written.get_or_insert(clock::monotonic());
        if let Err(error) = forget(&file.connection, &name, through) {
            return self.refused(ticket, &error);
        }
        self.send(ticket);
        let emptier =
            |view: &&mut Running| view.deriving.full && view.deriving.waiting < WAITING_MAX / 2;
        if self.views.get_mut(&ticket).filter(emptier).is_some() {
            self.resume(ticket);
        }
    }
}
