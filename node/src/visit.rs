//! Visits: how a node uses a metered link. It hangs up when nothing is left to be said, and dials
//! again when there is something to send, or after a while to ask for news.

use landfall_core::media::Media;
use landfall_protocol::message::GoodbyeCode;
use landfall_protocol::time::{Duration, Instant};

use super::link::Link;
use super::subscribe::Coming;
use super::{Core, Direction, Gate, Node, Now, Phase, Uplink};

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
        over.chain(self.core.next_visits().map(|(_, at)| (at, "visit upstream"))).min()
    }

    /// Ends a visit, or begins one, if it is time.
    pub(crate) fn visit(&mut self, now: Now) {
        let Some(every) = self.core.settings.visit_every else { return };
        for link in self.links.values_mut() {
            let over = self.core.visit_over_at(link).filter(|at| *at <= now.instant);
            if let (Some(_), Some(uplink)) = (over, link.state.uplink) {
                link.session.goodbye(GoodbyeCode::Shutdown, WHY);
                self.core.rest(uplink, every, now);
            }
        }
        let due: Vec<_> = self.core.next_visits().filter(|(_, at)| *at <= now.instant).collect();
        for (uplink, _) in due {
            self.core.wake(uplink, now);
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

    fn next_visits(&self) -> impl Iterator<Item = (Uplink, Instant)> {
        self.uplinks.iter().filter_map(|(uplink, above)| {
            let state = above.dialer.state();
            let Phase::Resting { until } = state.phase else { return None };
            Some((uplink, if self.owes_nothing() { until } else { state.since }))
        })
    }

    fn owes_nothing(&self) -> bool {
        self.appends.is_empty() && self.is_synced()
    }

    /// Waits for the next visit. The last quarter of the wait is drawn, so that a fleet that was
    /// switched on together does not come in step.
    fn rest(&mut self, uplink: Uplink, every: Duration, now: Now) {
        let quarter = every.millis() / 4;
        let early = Duration::from_millis(self.random() % (quarter + 1));
        let until = now.instant.plus(Duration::from_millis(every.millis() - early.millis()));
        if let Some(above) = self.uplinks.get_mut(uplink) {
            above.dialer.turn(Phase::Resting { until }, WHY, now.instant);
        }
    }
}
