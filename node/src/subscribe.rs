//! What this node asks for of the one above it: the topics that come down. Its frontier says from
//! where on, and is stored with the records, so nothing else need be remembered.

use landfall_core::batch::{Batch, batches};
use landfall_core::frontier::{Frontier, Point, StreamIx};
use landfall_core::media::Media;
use landfall_core::name::StreamId;
use landfall_core::num::Lane;
use landfall_protocol::limits::STREAMS_MAX;
use landfall_protocol::message::{Refused, RefusedCode};
use landfall_protocol::session::Fault;
use landfall_protocol::time::{Duration, Instant};

use super::link::{LinkState, Say};
use super::{AlarmKind, Core, Direction, Gate, Node, Offence, Uplink};
use crate::checksum;

/// Where there is no room for what comes down, it is asked for again after so long.
const ROOM_WITHIN: Duration = Duration::from_secs(10);

/// How a topic that comes down stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Coming {
    /// There is no link to the upstream node.
    Offline,
    /// It was asked for, and is coming.
    Asked,
    /// All that the upstream node had when it was asked, and what it got since, was sent.
    Level,
    /// There is no room for it in its lane.
    NoRoom,
    /// The upstream node does not send it, for this reason.
    Refused(String),
}

impl<M: Media, G: Gate> Node<M, G> {
    /// The topics that come down, and how they stand.
    pub fn coming_down(&self) -> impl Iterator<Item = (&str, Coming)> {
        let mut up = self.links.values().filter(|link| link.state.uplink == Some(Uplink::FIRST));
        let up = up.find(|link| link.session.is_open());
        self.core.topics.coming_down().map(move |topic| {
            let state = up.map(|link| &link.state);
            let asked = state.and_then(|state| state.asked.get(topic)).cloned();
            let full = state.is_some_and(|state| state.room_at.is_some());
            let full = full && !matches!(asked, Some(Coming::Refused(_)));
            let standing = asked.filter(|_| !full);
            let none = if full { Coming::NoRoom } else { Coming::Offline };
            (topic, standing.unwrap_or(none))
        })
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// Asks for all topics that come down, each from where it has come here.
    pub(crate) fn say_subscriptions(&mut self, state: &mut LinkState) {
        let topics: Vec<_> = self.topics.coming_down().map(str::to_owned).collect();
        for topic in topics {
            let held = self.held_of(&topic);
            let lists = held.len().div_ceil(STREAMS_MAX).max(1);
            for at in 0..lists {
                let held = held.iter().skip(at * STREAMS_MAX).take(STREAMS_MAX);
                let (topic, held) = (topic.clone(), held.copied().collect());
                state.says.push_back(Say::Subscribe { topic, last: at + 1 == lists, held });
            }
            state.asked.insert(topic, Coming::Asked);
        }
    }

    /// Where the streams of a topic end here that others write.
    fn held_of(&mut self, topic: &str) -> Vec<(StreamIx, Point)> {
        let frontier = self.journal.frontier();
        let streams = self.topic_streams.of(frontier, topic).iter().copied();
        let others = streams.filter(|ix| frontier.name(*ix).origin != self.settings.site);
        let ends = others.flat_map(|ix| frontier.branches(ix).map(move |(_, at)| (ix, at.tip)));
        ends.filter(|(_, tip)| *tip != Point { epoch: tip.epoch, ..Point::START }).collect()
    }

    /// Asks again if there may be room now.
    pub(crate) fn subscribe_again_if_due(&mut self, state: &mut LinkState, now: Instant) {
        if state.room_at.is_some_and(|at| at <= now) {
            state.room_at = None;
            self.say_subscriptions(state);
        }
    }

    /// There is no room for what comes down. The link stays: what goes up over it makes room.
    pub(crate) fn wait_for_room(&mut self, state: &mut LinkState, lane: Lane) {
        state.room_at = Some(self.arrived_at.instant.plus(ROOM_WITHIN));
        let name = self.settings.lanes.get(usize::from(lane.get()));
        let name = name.map(|lane| lane.name.clone()).unwrap_or_default();
        let text = "the lane is full, so what comes down waits above. Raise budget_bytes, or bring \
                    up what waits in it.";
        self.alarm(AlarmKind::Stalled, name, text.into());
    }

    /// Whether the upstream node may send a stream: it was asked for, and others write it.
    pub(crate) fn check_down(
        &self,
        state: &LinkState,
        stream: StreamId<'_>,
    ) -> Result<(), RefusedCode> {
        if !state.asked.contains_key(stream.topic) {
            Err(RefusedCode::NotAllowedTopic)
        } else if stream.origin == self.settings.site {
            Err(RefusedCode::Loop)
        } else {
            Ok(())
        }
    }

    /// What comes down is of one topic in each entry, and so of one lane here.
    pub(crate) fn lane_of_body(&self, body: &[u8]) -> Result<Lane, Fault> {
        let mut topics = batches(body, checksum()).map_while(Result::ok);
        let Some(first) = topics.next() else { return Err(Offence::MalformedBatch.fault()) };
        let topic = first.head.stream.topic;
        let same = |batch: Batch<'_>| batch.head.stream.topic == topic;
        if topics.all(same) {
            Ok(self.lane_of_topic(topic))
        } else {
            Err(Offence::Contradiction.fault())
        }
    }

    /// The upstream node has sent all that there was of a topic.
    pub(crate) fn on_level(&self, state: &mut LinkState, topic: &str) -> Result<(), Fault> {
        if state.direction == Direction::Down {
            return Err(Offence::WrongDirection.fault());
        }
        if let Some(standing) = state.asked.get_mut(topic) {
            *standing = Coming::Level;
        }
        Ok(())
    }

    /// The upstream node does not send a topic down. Returns whether it is about one.
    pub(crate) fn on_topic_refused(
        &mut self,
        state: &mut LinkState,
        refused: &Refused<'_>,
    ) -> bool {
        let topic = refused.stream.topic;
        let peer = state.peer_name();
        let Some(standing) = state.asked.get_mut(topic) else { return false };
        *standing = Coming::Refused(refused.text.into());
        let text = format!("{peer} does not send it down: {}", refused.text);
        self.alarm(AlarmKind::Stalled, topic.into(), text);
        true
    }
}
