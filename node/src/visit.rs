//! Visits: how a node uses a metered link. It hangs up when nothing is left to be said, and dials
//! again when there is something to send, or after a while to ask for news.

use landfall_core::media::Media;
use landfall_protocol::message::GoodbyeCode;
use landfall_protocol::time::{Duration, Instant};

use super::link::Link;
use super::subscribe::Coming;
use super::{Core, Direction, Gate, Node, Now, Phase};

/// How long nothing must have come from the upstream node before it is left. Shorter than any
/// keep-alive, and long enough for what it has to say of its own.
const QUIET: Duration = Duration::from_secs(5);
/// The same while a topic that comes down was asked for and there is no answer.
const UNANSWERED: Duration = Duration::from_secs(20);

const WHY: &str = "nothing is left to be said, and the link is metered";

impl<M: Media, G: Gate> Node<M, G> {
    /// When a visit is over, or the next one due.
    pub(crate) fn visit_timeout(&self) -> Option<(Instant, &'static str)> {
        self.core.settings.visit_every?;
        let up = self.links.values().filter(|link| link.state.direction == Direction::Up);
        let over = up.filter_map(|link| self.core.visit_over_at(link));
        let over = over.map(|at| (at, "a visit is over"));
        over.chain(self.core.next_visit().map(|at| (at, "visit upstream"))).min()
    }

    /// Ends a visit, or begins one, if it is time.
    pub(crate) fn visit(&mut self, now: Now) {
        let Some(every) = self.core.settings.visit_every else { return };
        for link in self.links.values_mut() {
            let over = self.core.visit_over_at(link).filter(|at| *at <= now.instant);
            if over.is_some() && link.state.direction == Direction::Up {
                link.session.goodbye(GoodbyeCode::Shutdown, WHY);
                self.core.rest(every, now);
            }
        }
        if self.core.next_visit().is_some_and(|at| at <= now.instant) {
            self.core.wake(now);
        }
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    fn visit_over_at(&self, link: &Link) -> Option<Instant> {
        let heard = link.session.heard_at()?;
        let waits = link.state.asked.values().any(|coming| *coming == Coming::Asked);
        let quiet = if waits { UNANSWERED } else { QUIET };
        self.owes_nothing().then(|| heard.plus(quiet))
    }

    fn next_visit(&self) -> Option<Instant> {
        let state = self.dialer.as_ref()?.state();
        let Phase::Resting { until } = state.phase else { return None };
        Some(if self.owes_nothing() { until } else { state.since })
    }

    fn owes_nothing(&self) -> bool {
        self.appends.is_empty() && self.is_synced()
    }

    /// Waits for the next visit. The last quarter of the wait is drawn, so that a fleet that was
    /// switched on together does not come in step.
    fn rest(&mut self, every: Duration, now: Now) {
        let quarter = every.millis() / 4;
        let early = Duration::from_millis(self.random() % (quarter + 1));
        let until = now.instant.plus(Duration::from_millis(every.millis() - early.millis()));
        if let Some(dialer) = &mut self.dialer {
            dialer.turn(Phase::Resting { until }, WHY, now.instant);
        }
    }
}
