//! Appends that wait to be staged, in order within each lane: until the next commit, or, where a
//! lane collects them, until they are many or the oldest has waited long enough.

use std::collections::{BTreeMap, VecDeque};

use landfall_core::media::Media;
use landfall_core::num::Lane;
use landfall_protocol::time::{Duration, Instant};

use super::group::Request;
use super::{Core, Gate, Node};

/// Bytes of a lane's appends that wait for no others: no medium gains much by more.
const COLLECTED_BYTES_MAX: usize = 256 * 1024;

/// Appends that wait, by lane.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    lanes: BTreeMap<Lane, Queue>,
    /// Whether none is to wait for others any more.
    hasty: bool,
}

#[derive(Debug, Default)]
struct Queue {
    requests: VecDeque<Request>,
    bytes: usize,
    /// When the commit that they were not yet part of came by first.
    since: Option<Instant>,
}

impl Queues {
    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.values().all(|queue| queue.requests.is_empty())
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.lanes.values().map(|queue| queue.bytes).sum()
    }

    pub(crate) fn push(&mut self, lane: Lane, request: Request) {
        let queue = self.lanes.entry(lane).or_default();
        queue.bytes += request.bytes();
        queue.requests.push_back(request);
    }

    pub(crate) fn take(&mut self, lane: Lane) -> Option<Request> {
        let queue = self.lanes.get_mut(&lane)?;
        queue.since = None;
        let request = queue.requests.pop_front()?;
        queue.bytes -= request.bytes();
        Some(request)
    }

    /// Whether what waits in a lane is to be written now.
    fn is_due(&mut self, lane: Lane, every: Duration, now: Instant) -> bool {
        let Some(queue) = self.lanes.get_mut(&lane) else { return false };
        if queue.requests.is_empty() {
            return false;
        }
        let since = *queue.since.get_or_insert(now);
        self.hasty || queue.bytes >= COLLECTED_BYTES_MAX || now.since(since) >= every
    }
}

impl<M: Media, G: Gate> Node<M, G> {
    /// No append waits for others any more: the next commit takes all. So a node that is about to
    /// stop answers everybody.
    pub fn hasten(&mut self) {
        self.core.appends.queues.hasty = true;
    }

    /// When a lane's appends have been collected for long enough.
    pub(crate) fn collected_at(&self) -> Option<(Instant, &'static str)> {
        let lanes = self.core.appends.queues.lanes.iter();
        let due = lanes.filter_map(|(lane, queue)| {
            queue.since.filter(|_| !queue.requests.is_empty())?.plus(self.core.every(*lane)).into()
        });
        due.min().map(|at| (at, "commit what was collected"))
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// Whether appends that wait in a lane are to be written now.
    pub(crate) fn is_due(&mut self, lane: Lane, now: Instant) -> bool {
        let every = self.every(lane);
        self.appends.queues.is_due(lane, every, now)
    }

    /// How long a lane's appends may wait for others.
    fn every(&self, lane: Lane) -> Duration {
        let lane = self.settings.lanes.get(usize::from(lane.get()));
        lane.map(|lane| lane.commit_every).unwrap_or_default()
    }
}
