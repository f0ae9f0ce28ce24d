//! What lies before the place where a stream begins here. A node below may not know that the root
//! has it, as after a restore. Nothing here can show it, so the node above is asked.

use std::collections::BTreeMap;

use landfall_core::frontier::{BranchIx, Frontier, Point, StreamIx};
use landfall_core::media::Media;
use landfall_core::num::Offset;
use landfall_protocol::limits::STREAMS_MAX;
use landfall_protocol::message::Scope;

use super::link::{Link, LinkState, Say};
use super::promise::TIPS_KEPT_MAX;
use super::{Core, Direction, Gate, LinkId, Node};

impl<M: Media, G: Gate> Core<M, G> {
    /// Whether a point lies before all that is held of its stream.
    pub(crate) fn lies_before(&self, ix: StreamIx, branch: Option<BranchIx>, at: Point) -> bool {
        let mut branches = self.journal.frontier().branches(ix);
        branch.is_none() && branches.all(|(_, held)| at.next <= held.from)
    }

    /// What nodes below wait for that lies before what is held here.
    pub(crate) fn waits_before(&self, links: &BTreeMap<LinkId, Link>) -> Vec<(StreamIx, Point)> {
        let told = links.values().flat_map(|link| &link.state.told);
        let before = told.filter(|((ix, branch, ..), at)| self.lies_before(*ix, *branch, **at));
        before.map(|((ix, ..), at)| (*ix, *at)).collect()
    }

    /// Asks a node above whether its streams are durable at the root up to points.
    pub(crate) fn ask_before(&self, state: &mut LinkState, asked: &[(StreamIx, Point)]) {
        let Some(uplink) = state.uplink else { return };
        let mut its: Vec<_> = asked.iter().filter(|(ix, _)| self.takes(uplink, *ix)).collect();
        if self.uplinks.are_several() {
            // Two nodes that each take the other for the one to ask would ask without end.
            let has_room = state.asked_before.len() < TIPS_KEPT_MAX;
            its.retain(|(ix, at)| has_room && state.asked_before.insert((*ix, at.epoch, at.next)));
        }
        for asked in its.chunks(STREAMS_MAX) {
            let tips = asked.iter().map(|(ix, at)| (*ix, *at, Offset::ZERO)).collect();
            state.says.push_back(Say::Tips { last: false, tips });
        }
    }
}

impl<M: Media, G: Gate> Node<M, G> {
    pub(crate) fn ask_above(&mut self, asked: &[(StreamIx, Point)]) {
        for link in self.links.values_mut() {
            self.core.ask_before(&mut link.state, asked);
        }
    }

    /// The root has a stream up to a point that lies before what is held here: tells who waits
    /// for just that.
    pub(crate) fn pass_root_before(&mut self, ix: StreamIx, at: Point) {
        let Some(promise) = self.core.promise_of_root() else { return };
        for link in self.links.values_mut().filter(|link| link.state.direction == Direction::Down) {
            let waiting = link.state.told.len();
            link.state.told.retain(|(of, ..), told| *of != ix || *told != at);
            if link.state.told.len() < waiting {
                self.core.say_durable(&mut link.state, Scope::Root, promise, vec![(ix, at)]);
            }
        }
    }
}
