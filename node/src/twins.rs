//! Two sessions of one site: the older one is probed. If it is silent, the newer one has replaced
//! it; if it answers, one of the two is a copy, and both are served.

use std::collections::BTreeSet;

use landfall_core::frontier::{Point, StreamIx};
use landfall_core::media::Media;
use landfall_core::num::Epoch;
use landfall_protocol::message::GoodbyeCode;

use super::link::{LinkState, Say};
use super::{AlarmKind, Core, Direction, Gate, LinkId, Node};

/// A session from below.
#[derive(Clone, Debug)]
pub(crate) struct Living {
    site: String,
    epoch: Epoch,
    /// Sessions of the same site that came later, and after which it has answered a probe.
    outlived: BTreeSet<LinkId>,
}

/// A tail that a site seems to have lost, while another session claims to be its writer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doubt {
    pub(crate) ix: StreamIx,
    pub(crate) at: Point,
    pub(crate) held: Point,
}

/// Who writes under an epoch, besides the session that asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Writer {
    /// Nobody who is connected.
    Nobody,
    /// Another session, if it is still alive.
    Perhaps,
    /// Another session, which is alive.
    Another,
}

impl<M: Media, G: Gate> Core<M, G> {
    /// Whether no two sessions of a site are alive.
    pub(crate) fn is_alone(&self, site: &str) -> bool {
        self.living.values().filter(|living| living.site == site).count() <= 1
    }

    pub(crate) fn note_living(&mut self, state: &LinkState) {
        if let (Some(site), Some(hello)) = (&state.site, &state.hello) {
            let outlived = BTreeSet::new();
            let living = Living { site: site.clone(), epoch: hello.epoch, outlived };
            self.living.insert(state.id, living);
        }
    }

    /// A copy has come under its own name: if it was the last one, its original has none any more.
    pub(crate) fn note_split(&mut self, state: &LinkState) {
        let site = state.site.as_deref().unwrap_or_default();
        let Some(original) = self.gate.split_from(site).map(str::to_owned) else { return };
        let living = self.living.values().filter(|living| living.site == original).count();
        if living < 2 {
            self.end_copy_alarms(&original);
        }
    }

    /// Who else writes as the site of a link under an epoch.
    pub(crate) fn writer_of(&self, state: &LinkState, epoch: Epoch) -> Writer {
        let site = state.site.as_deref().unwrap_or_default();
        let mut others = self.living.iter().filter(|(id, living)| {
            **id != state.id && living.site == site && living.epoch == epoch
        });
        let Some((other, living)) = others.next() else { return Writer::Nobody };
        let asker = self.living.get(&state.id);
        let outlived = asker.is_some_and(|asker| asker.outlived.contains(other));
        let alive = outlived || living.outlived.contains(&state.id);
        if alive { Writer::Another } else { Writer::Perhaps }
    }
}

impl<M: Media, G: Gate> Node<M, G> {
    /// A link was accepted: are there others of the same site?
    pub(crate) fn on_arrival(&mut self, id: LinkId) {
        let Some(site) = self.links.get(&id).and_then(|link| link.state.site.clone()) else {
            return;
        };
        let nonce = self.core.random();
        let now = self.core.arrived_at;
        for (other, link) in &mut self.links {
            let same = link.state.site.as_ref() == Some(&site);
            if *other != id && same && link.state.direction == Direction::Down {
                link.state.rival = Some(id);
                // A session that is not open any more will be gone by itself.
                let _ = link.session.probe(nonce, now.instant);
            }
        }
    }

    /// The older session of a site is alive.
    pub(crate) fn on_twin(&mut self, id: LinkId) {
        let Some(rival) = self.links.get_mut(&id).and_then(|link| link.state.rival.take()) else {
            return;
        };
        let (Some(old), Some(new)) = (self.epoch_of(id), self.epoch_of(rival)) else { return };
        if let Some(living) = self.core.living.get_mut(&id) {
            living.outlived.insert(rival);
        }
        self.settle_doubts(rival);
        for (id, seen) in [(id, new), (rival, old)] {
            if let Some(link) = self.links.get_mut(&id) {
                link.state.says.push_back(Say::CopySeen(seen));
            }
        }
        let site = self.links.get(&id).map(|link| link.state.peer_name()).unwrap_or_default();
        let text = format!(
            "two nodes are connected as {site}, under epochs {old} and {new}, and both are alive. \
             Both are served. Settle it: landfall sites split {site}"
        );
        self.core.alarm(AlarmKind::Copy, site, text);
    }

    /// The older session of a site is dead.
    pub(crate) fn on_dead_twin(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if let Some(rival) = link.state.rival.take() {
            link.session.goodbye(GoodbyeCode::Superseded, "a newer session of this site is here");
            self.core.living.remove(&id);
            self.settle_doubts(rival);
        }
    }

    /// It is known now whether the writer of what seemed to be lost is alive.
    fn settle_doubts(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        for Doubt { ix, at, held } in core::mem::take(&mut link.state.doubts) {
            self.core.report_tail(&mut link.state, ix, at, held);
        }
    }

    fn epoch_of(&self, id: LinkId) -> Option<Epoch> {
        self.links.get(&id)?.state.hello.as_ref().map(|hello| hello.epoch)
    }
}
