//! Two sessions of one site: the older one is probed. If it is silent, the newer one has replaced
//! it; if it answers, one of the two is a copy, and both are served.

use landfall_core::media::Media;
use landfall_core::num::Epoch;
use landfall_protocol::message::GoodbyeCode;

use super::link::Say;
use super::{AlarmKind, Direction, Gate, LinkId, Node};

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
        for (id, seen) in [(id, new), (rival, old)] {
            if let Some(link) = self.links.get_mut(&id) {
                link.state.says.push_back(Say::CopySeen(seen));
            }
        }
        let site = self.links.get(&id).map(|link| link.state.peer_name()).unwrap_or_default();
        let text = format!(
            "two nodes are connected as {site}, under epochs {old} and {new}, and both are alive. \
             Both are served. Stop the copy, or run `landfall sites split {site}`."
        );
        self.core.alarm(AlarmKind::Copy, site, text);
    }

    /// The older session of a site is dead.
    pub(crate) fn on_dead_twin(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.state.rival.take().is_some() {
            link.session.goodbye(GoodbyeCode::Superseded, "a newer session of this site is here");
        }
    }

    fn epoch_of(&self, id: LinkId) -> Option<Epoch> {
        self.links.get(&id)?.state.hello.as_ref().map(|hello| hello.epoch)
    }
}
