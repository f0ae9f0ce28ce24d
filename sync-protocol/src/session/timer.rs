//! The timers of a session, each with its place in one table.

use crate::time::Instant;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Timer {
    /// The session is not open: set when it begins, cleared when it opens.
    Handshake,
    /// Nothing was heard for a while: set anew whenever something is.
    Ping,
    /// Nothing followed a ping: set when one is sent, cleared when something is heard.
    Silence,
    /// A probe was not answered: set by the command, cleared by the answer.
    Probe,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timers {
    due: [Option<Instant>; Timer::ALL.len()],
}

impl Timer {
    const ALL: [Self; 4] = [Self::Handshake, Self::Ping, Self::Silence, Self::Probe];

    const fn reason(self) -> &'static str {
        match self {
            Self::Handshake => "the handshake must be over",
            Self::Ping => "nothing heard: ping",
            Self::Silence => "nothing follows the ping: give up",
            Self::Probe => "the probe must be answered",
        }
    }
}

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, due: Instant) {
        self.place(timer, Some(due));
    }

    pub(super) fn clear(&mut self, timer: Timer) {
        self.place(timer, None);
    }

    pub(super) fn clear_all(&mut self) {
        *self = Self::default();
    }

    /// Takes a timer that is due at `now`.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Timer> {
        let due = |timer: &Timer| self.due.get(*timer as usize).copied().flatten();
        let expired =
            Timer::ALL.into_iter().find(|timer| due(timer).is_some_and(|at| at <= now))?;
        self.clear(expired);
        Some(expired)
    }

    pub(super) fn next(&self) -> Option<(Instant, &'static str)> {
        let reasons = Timer::ALL.into_iter().map(Timer::reason);
        let due = self.due.into_iter().zip(reasons);
        due.filter_map(|(at, reason)| Some((at?, reason))).min_by_key(|(at, _)| *at)
    }

    fn place(&mut self, timer: Timer, due: Option<Instant>) {
        if let Some(place) = self.due.get_mut(timer as usize) {
            *place = due;
        }
    }
}
