//! How a node stands with what it has to bring: told to the node above for people to see, and heard
//! from the nodes below.
//!
//! It is told when it has changed, at most every [`SAY_EVERY_MS`], and at once when nothing is
//! behind any more. An idle node says nothing.

use std::collections::BTreeMap;

use landfall_core::batch::batches;
use landfall_core::frontier::Frontier;
use landfall_core::journal::{ReadStep, Reader};
use landfall_core::media::Media;
use landfall_core::num::{Lane, Seq, Timestamp};
use landfall_protocol::message::Standing;
use landfall_protocol::time::Instant;

use super::link::{LinkState, Say};
use super::{Core, Direction, Gate, Node, Now, Uplink};
use crate::checksum;

/// What a node below said of itself last.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeardStanding {
    /// What it said.
    pub standing: Standing,
    /// Its software and version.
    pub software: String,
    /// When, by this node's clock.
    pub at: Timestamp,
}

/// Milliseconds between two statements, at least.
const SAY_EVERY_MS: u64 = 10_000;
/// Entries that are looked at for the oldest record that is not durable at the root.
const STEPS_MAX: usize = 256;
/// An appending rate is taken over about this many statements.
const SMOOTHING: u64 = 4;

/// What was told, and what the rate of appending is computed from.
#[derive(Debug, Default)]
pub(crate) struct Standings {
    pub(crate) heard: BTreeMap<String, HeardStanding>,
    said: Option<Standing>,
    looked_at: Option<Instant>,
    lanes: BTreeMap<Lane, Pace>,
}

/// How fast a lane grows.
#[derive(Clone, Copy, Debug)]
struct Pace {
    next: Seq,
    bytes_per_s: u64,
}

impl<M: Media, G: Gate> Node<M, G> {
    /// What the nodes below said of themselves last, by site.
    pub fn standings(&self) -> &BTreeMap<String, HeardStanding> {
        &self.core.standings.heard
    }

    /// Tells the node above how this one stands, if it is time to and there is news.
    pub(crate) fn say_standing(&mut self, now: Now) {
        let up = self
            .links
            .values_mut()
            .find(|link| link.state.uplink == Some(Uplink::FIRST) && link.session.is_open());
        let since = self.core.standings.looked_at.map(|at| now.instant.since(at).millis());
        let due = since.is_none_or(|since| since >= SAY_EVERY_MS);
        let behind = self.core.standings.said.is_some_and(|said| said.behind_records > 0);
        let Some(link) = up else {
            self.core.standings.said = None;
            if due && self.core.settings.upstream {
                self.core.measure(now, since);
            }
            return;
        };
        let first = self.core.standings.said.is_none();
        if !(due || first || behind && self.core.is_synced()) {
            return;
        }
        if due {
            self.core.measure(now, since);
        }
        let standing = self.core.standing();
        if self.core.standings.said != Some(standing) {
            self.core.standings.said = Some(standing);
            link.state.says.push_back(Say::Standing(standing));
        }
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// A node below says how it stands.
    pub(crate) fn on_standing(&mut self, state: &LinkState, standing: Standing, now: Now) {
        let Some(site) = state.site.clone().filter(|_| state.direction == Direction::Down) else {
            return;
        };
        let software = state.hello.as_ref().map(|hello| hello.software.clone());
        let software = software.unwrap_or_default();
        let heard = HeardStanding { standing, software, at: now.wall };
        // Only registered sites are let in, so that there are no more than the registry has.
        self.standings.heard.insert(site, heard);
    }

    /// Brings the rates of appending up to date.
    fn measure(&mut self, now: Now, since_ms: Option<u64>) {
        self.standings.looked_at = Some(now.instant);
        for lane in (0..self.settings.lanes.len() as u8).map(Lane::new) {
            let next = self.journal.seqs(lane).1;
            let known = self.standings.lanes.get(&lane).copied();
            let bytes_per_s = known.zip(since_ms).map_or(0, |(pace, since_ms)| {
                let bytes = self.bytes_of(lane, next.since(pace.next));
                let lately = bytes.saturating_mul(1_000) / since_ms.max(1);
                (pace.bytes_per_s * (SMOOTHING - 1)).saturating_add(lately) / SMOOTHING
            });
            self.standings.lanes.insert(lane, Pace { next, bytes_per_s });
        }
    }

    fn standing(&mut self) -> Standing {
        let mut standing = Standing::default();
        for lane in (0..self.settings.lanes.len() as u8).map(Lane::new) {
            let records = self.not_promised(lane, |branch| branch.root);
            let bytes = self.bytes_of(lane, records);
            standing.behind_records += records;
            standing.behind_bytes += bytes;
            let room = self.journal.usage(lane).1.saturating_sub(bytes);
            let pace = self.standings.lanes.get(&lane).map_or(0, |pace| pace.bytes_per_s);
            let full = (pace > 0).then(|| (room / pace).saturating_mul(1_000));
            standing.full_in_ms = standing.full_in_ms.into_iter().chain(full).min();
            if records > 0 {
                let oldest = self.oldest_behind(lane);
                standing.oldest = standing.oldest.into_iter().chain(oldest).min();
            }
        }
        standing
    }

    /// Bytes that so many records of a lane take, if they are like those that are stored.
    pub(crate) fn bytes_of(&self, lane: Lane, records: u64) -> u64 {
        let (first, next) = self.journal.seqs(lane);
        let held = u128::from(next.since(first).max(1));
        let used = u128::from(self.journal.usage(lane).0);
        u64::try_from(used * u128::from(records) / held).unwrap_or(u64::MAX)
    }

    /// The timestamp of the first record of a lane that is not durable at the root.
    fn oldest_behind(&mut self, lane: Lane) -> Option<Timestamp> {
        let first = self.journal.first(lane);
        let mut cursor = self.rooted_place(lane).unwrap_or(first);
        if cursor.segment < first.segment {
            cursor = first;
        }
        let mut buffer = core::mem::take(&mut self.scratch);
        let mut reader = Reader::new(&mut buffer);
        let mut oldest = None;
        for _ in 0..STEPS_MAX {
            match self.journal.read_on(lane, &mut cursor, &mut reader) {
                ReadStep::Entry(entry) => {
                    oldest =
                        batches(entry.body, checksum()).map_while(Result::ok).find_map(|batch| {
                            let frontier = self.journal.frontier();
                            let ix = frontier.find(batch.head.stream)?;
                            let root = frontier.branches(ix).map(|(_, held)| held.root).min()?;
                            let wanted = self.topics.goes_up(batch.head.stream.topic);
                            let mut records = batch.records().map_while(Result::ok);
                            let behind = records.find(|placed| wanted && placed.offset >= root)?;
                            Some(behind.record.timestamp)
                        });
                }
                ReadStep::Missing(..) => {}
                ReadStep::End | ReadStep::TooLong(_) | ReadStep::Failed(_) => break,
            }
            if oldest.is_some() {
                break;
            }
        }
        self.scratch = buffer;
        oldest
    }
}
