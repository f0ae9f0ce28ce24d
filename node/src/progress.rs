//! How far the lanes are durable above, by what was sent and what was promised.

use landfall_core::frontier::{Branch, Frontier, Point, StreamIx};
use landfall_core::journal::Cursor;
use landfall_core::media::Media;
use landfall_core::num::{Lane, Offset};

use super::link::LinkState;
use super::packing::Bytes;
use super::{Core, Gate};

/// Where a lane is durable.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LanePlace {
    /// All before it is durable at the next node.
    pub(crate) hop: Cursor,
    /// All before it is durable at the root.
    pub(crate) root: Cursor,
}

/// What was sent and is not durable yet.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) after: Cursor,
    /// What it was: the stream, where it began, where it ended.
    pub(crate) ends: Vec<(StreamIx, Offset, Point)>,
    pub(crate) bytes: Bytes,
}

impl<M: Media, G: Gate> Core<M, G> {
    /// Moves the places up to which the lanes are durable.
    pub(crate) fn advance_durable(&mut self, state: &mut LinkState) {
        let Some(sender) = &mut state.sender else { return };
        let Some(above) = self.uplinks.get_mut(sender.uplink) else { return };
        let mut durable = core::mem::take(&mut above.durable);
        // Where something is held back that was passed over, the next session begins before it.
        let moves = sender.held_back.is_empty();
        let mut arrived = Bytes::default();
        for (lane, flying) in &mut sender.lanes {
            let mut place = durable.get(lane).copied().unwrap_or_default();
            while let Some(flight) = flying.flights.front() {
                if !flight.ends.iter().all(|end| self.has_reached(end, |held| held.hop)) {
                    break;
                }
                let rooted = flight.ends.iter().all(|end| self.has_reached(end, |held| held.root));
                let at_once = place.root == place.hop && !flying.passed_unrooted;
                if moves && rooted && at_once {
                    place.root = flight.after;
                }
                if moves {
                    place.hop = flight.after;
                }
                arrived.stored += flight.bytes.stored;
                arrived.sent += flight.bytes.sent;
                flying.flights.pop_front();
            }
            if flying.flights.is_empty() && flying.ready.is_empty() && moves {
                if place.root == place.hop && !flying.passed_unrooted {
                    place.root = flying.cursor;
                }
                place.hop = flying.cursor;
            }
            durable.insert(*lane, place);
        }
        if let Some(above) = self.uplinks.get_mut(sender.uplink) {
            above.durable = durable;
        }
        if arrived.sent > 0 {
            let flights = sender.lanes.values().flat_map(|lane| &lane.flights);
            let left = flights.map(|flight| flight.bytes.sent).sum();
            sender.packing.arrived(arrived, left, self.arrived_at.instant);
        }
    }

    /// All that goes nowhere else is synced, since it has been read back.
    pub(crate) fn promise_own(&mut self) {
        for ix in (0..self.journal.frontier().streams()).map(StreamIx) {
            if !self.goes_on(ix) {
                self.is_root_for(ix);
            }
        }
    }

    /// Whether a stream is sent to an upstream node.
    pub(crate) fn goes_on(&self, ix: StreamIx) -> bool {
        self.settings.upstream && self.topics.goes_up(self.journal.frontier().name(ix).topic)
    }

    /// The lane of a topic; the default one if the topic may not be made here.
    pub(crate) fn lane_of_topic(&self, topic: &str) -> Lane {
        self.topics.of(topic).map_or(self.settings.default_lane, |topic| topic.lane)
    }

    /// Synced here is durable at the root, for streams that go nowhere else.
    pub(crate) fn is_root_for(&mut self, ix: StreamIx) {
        let branches: Vec<_> = self.journal.frontier().branches(ix).collect();
        for (at, branch) in branches {
            let next = branch.tip.next;
            self.journal.frontier_mut().promise(ix, at, next, next);
        }
    }

    /// How many records of a lane no promise covers. Promises are kept with the streams, so this is
    /// known before a session has shown where in the lane they end.
    pub(crate) fn not_promised(&self, lane: Lane, promised: impl Fn(&Branch) -> Offset) -> u64 {
        if !self.settings.upstream {
            return 0;
        }
        let frontier = self.journal.frontier();
        let streams = (0..frontier.streams()).map(StreamIx).filter(|ix| {
            let topic = frontier.name(*ix).topic;
            let known = self.topics.of(topic);
            let its = known.map_or(self.settings.default_lane, |topic| topic.lane);
            its == lane && self.topics.goes_up(topic)
        });
        let branches = streams.flat_map(|ix| frontier.branches(ix));
        let behind = branches.map(|(_, held)| {
            held.tip.next.since(promised(&held).max(held.from).min(held.tip.next))
        });
        behind.sum()
    }

    /// Whether a promise covers the end of a batch.
    fn has_reached(
        &self,
        (ix, base, end): &(StreamIx, Offset, Point),
        promised: impl Fn(Branch) -> Offset,
    ) -> bool {
        let frontier = self.journal.frontier();
        let branch = self.branch_of(*ix, *base, *end).and_then(|at| frontier.branch(*ix, at));
        match branch {
            Some(held) => promised(held) >= end.next,
            None => frontier.branches(*ix).all(|(_, held)| promised(held) >= end.next),
        }
    }
}
