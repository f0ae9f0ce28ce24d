//! Dialing: when a node above is called, and how that stands.

use landfall_core::media::Media;
use landfall_protocol::backoff::{Backoff, BackoffConfig};
use landfall_protocol::time::{Duration, Instant};

use super::uplinks::Above;
use super::{Core, Event, Gate, Node, Now, Uplink};

/// How the uplink stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DialState {
    /// What is going on.
    pub phase: Phase,
    /// Since when.
    pub since: Instant,
    /// Why, in the words of whoever said so.
    pub why: String,
    /// Attempts since it was last up.
    pub attempts: u32,
    /// Whether the upstream node does not let this one in, and a person must act.
    pub refused: bool,
}

/// What is going on with the uplink.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// It waits before it dials again.
    Waiting,
    /// It dials.
    Dialing,
    /// The connection is there and the upstream node has not accepted yet.
    Greeting,
    /// It is up.
    Up,
    /// The link is metered and nothing is left to be said: it dials when there is, or then.
    Resting {
        /// The next visit if nothing is appended until then.
        until: Instant,
    },
}

#[derive(Debug)]
pub(crate) struct Dialer {
    backoff: Backoff,
    state: DialState,
}

impl Dialer {
    pub(crate) fn new(config: BackoffConfig, now: Instant) -> Self {
        let why = "the node has just started".to_owned();
        let state =
            DialState { phase: Phase::Waiting, since: now, why, attempts: 0, refused: false };
        Self { backoff: Backoff::new(config, now), state }
    }

    pub(crate) fn state(&self) -> &DialState {
        &self.state
    }

    pub(crate) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        (self.state.phase == Phase::Waiting).then(|| (self.backoff.due(), "dial upstream"))
    }

    pub(crate) fn turn(&mut self, phase: Phase, why: &str, now: Instant) {
        self.state.phase = phase;
        self.state.since = now;
        self.state.why = why.to_owned();
        if phase == Phase::Up {
            self.state.attempts = 0;
            self.state.refused = false;
            self.backoff.handle_opened(now);
        }
    }

    /// The upstream node does not let this one in.
    pub(crate) fn refuse(&mut self) {
        self.state.refused = true;
    }

    /// The session will end, for no fault of the link: it begins again soon.
    pub(crate) fn begin_anew(&mut self, config: BackoffConfig, now: Instant) {
        if self.state.phase == Phase::Up {
            self.backoff = Backoff::new(config, now);
        }
    }

    fn fail(&mut self, why: &str, random: u64, wait: Duration, now: Instant) {
        self.backoff.handle_failed(random, wait, now);
        self.turn(Phase::Waiting, why, now);
    }
}

impl<M: Media, G: Gate> Node<M, G> {
    /// The node above at an uplink could not be reached.
    pub fn handle_dial_failed(&mut self, uplink: Uplink, why: &str, now: Now) {
        self.core.dial_failed(uplink, why, Duration::ZERO, now);
    }

    /// The network has changed, or something urgent waits: dial without waiting much, at all
    /// uplinks.
    pub fn hurry(&mut self, now: Now) {
        for (_, above) in self.core.uplinks.iter_mut() {
            above.dialer.backoff.hurry(now.instant);
        }
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    pub(crate) fn dial_failed(&mut self, uplink: Uplink, why: &str, wait: Duration, now: Now) {
        let random = self.random();
        if let Some(above) = self.uplinks.get_mut(uplink) {
            above.dialer.fail(why, random, wait, now.instant);
        }
    }

    /// Dials without a wait, after a rest.
    pub(crate) fn wake(&mut self, uplink: Uplink, now: Now) {
        if let Some(Above { dialer, .. }) = self.uplinks.get_mut(uplink) {
            dialer.backoff = Backoff::new(self.settings.backoff, now.instant);
            dialer.turn(Phase::Waiting, "the rest is over", now.instant);
        }
    }

    pub(crate) fn dial_if_due(&mut self, now: Now) {
        for (uplink, Above { dialer, .. }) in self.uplinks.iter_mut() {
            if dialer.state.phase == Phase::Waiting && dialer.backoff.due() <= now.instant {
                dialer.state.attempts += 1;
                dialer.turn(Phase::Dialing, "trying to reach the upstream node", now.instant);
                self.events.push_back(Event::Dial(uplink));
            }
        }
    }
}
