//! The check: every record of both journals against the ledger, and the journals against each
//! other.
//!
//! 1. At the hub, from its first offset on: each batch goes on where the one before ended, with the
//!    hash that is recomputed from the content.
//! 2. Each record there is the one that its producer sent, once, in the producer's order; each
//!    that was acknowledged is there, at the coordinates of its receipt.
//! 3. At the ship, what it still has gives the same hashes, and its streams end where the hub's do.

use std::collections::BTreeMap;

use landfall::coordinates::{Coordinates, StreamName};

use super::ledger::Ledger;
use super::pair::Pair;
use super::producer::{PRODUCERS, key, line, told};
use crate::walk::{Held, Visit, walk};

/// What a check found, if nothing was wrong.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Found {
    /// Records of the soak at the hub.
    pub records: u64,
    /// Records that the ship still had.
    pub kept: u64,
}

/// Violations that are listed; more are only counted.
pub(super) const LISTED_MAX: usize = 40;

/// Checks the journals of two stopped nodes.
///
/// # Errors
/// What is wrong, a line each.
pub fn check(pair: &Pair, ledger: &Ledger) -> Result<Found, Vec<String>> {
    let mut wrong = Vec::new();
    let mut shelves = Shelves::new(ledger);
    let hub = walk(&pair.hub.path, &mut |visit| shelves.take(&visit, &mut wrong))
        .map_err(|error| vec![error])?;
    shelves.compare(ledger, &mut wrong);
    let mut kept = 0;
    let ship = walk(&pair.ship.path, &mut |visit| {
        if !visit.stream.topic.starts_with('_') {
            kept += 1;
            compare_hash(&hub, &visit, &mut wrong);
        }
    });
    let ship = ship.map_err(|error| vec![error])?;
    for held in [&hub, &ship] {
        wrong.extend(held.wrong.iter().cloned());
    }
    if hub.streams.values().any(|stream| stream.first != 0) {
        wrong.push("hub: a stream does not begin with its first record".to_owned());
    }
    for (name, here) in ship.streams.iter().filter(|(name, _)| !name.topic.starts_with('_')) {
        let there = hub.streams.get(name);
        if there.is_none_or(|there| (there.next, there.hash()) != (here.next, here.hash())) {
            wrong.push(format!("{name}: the ship ends at {here}, the hub has {there:?}"));
        }
    }
    if wrong.is_empty() {
        return Ok(Found { records: shelves.records, kept });
    }
    let more = wrong.len().saturating_sub(LISTED_MAX);
    wrong.truncate(LISTED_MAX);
    if more > 0 {
        wrong.push(format!("and {more} more"));
    }
    Err(wrong)
}

fn compare_hash(hub: &Held, visit: &Visit<'_>, wrong: &mut Vec<String>) {
    let there = hub.streams.get(visit.stream);
    if there.and_then(|stream| stream.hash_behind(visit.offset)) != Some(visit.hash) {
        let Visit { stream, offset, .. } = visit;
        wrong.push(format!("{stream}@{offset}: the two nodes hold different records up to here"));
    }
}

/// Where each record of each producer was found.
pub(super) struct Shelves {
    places: Vec<Vec<Option<Place>>>,
    streams: Vec<StreamName>,
    /// The last number of each producer in each stream.
    last: BTreeMap<(usize, usize), u64>,
    records: u64,
}

#[derive(Clone, Copy)]
struct Place {
    stream: usize,
    offset: u64,
    epoch: u64,
}

impl Shelves {
    pub(super) fn new(ledger: &Ledger) -> Self {
        let sent = |who| usize::try_from(ledger.book(who).next).unwrap_or(usize::MAX);
        let places = (0..PRODUCERS.len()).map(|who| vec![None; sent(who)]).collect();
        Self { places, streams: Vec::new(), last: BTreeMap::new(), records: 0 }
    }

    pub(super) fn take(&mut self, visit: &Visit<'_>, wrong: &mut Vec<String>) {
        let (name, offset) = (visit.stream, visit.offset);
        if name.topic.starts_with('_') {
            return;
        }
        self.records += 1;
        let Some((who, number)) = visit.value.and_then(told) else {
            return wrong.push(format!("{name}@{offset}: no record of this soak"));
        };
        let sent = usize::try_from(number).ok();
        let sent = sent.and_then(|at| self.places.get_mut(who)?.get_mut(at));
        let Some(place) = sent else {
            return wrong.push(format!("{name}@{offset}: {who}/{number} was never sent"));
        };
        let same = visit.value == Some(line(who, number).as_bytes())
            && visit.key == Some(key(who, number).as_bytes())
            && name.topic == PRODUCERS[who].topic;
        if !same {
            wrong.push(format!("{name}@{offset}: {who}/{number} has another content"));
        }
        let known = self.streams.iter().position(|known| known == name);
        let stream = known.unwrap_or_else(|| {
            self.streams.push(name.clone());
            self.streams.len() - 1
        });
        if let Some(first) = place.replace(Place { stream, offset, epoch: visit.epoch }) {
            let there = &self.streams[first.stream];
            let twice = format!("{who}/{number} is there twice, also at {there}@{}", first.offset);
            wrong.push(format!("{name}@{offset}: {twice}"));
        }
        let last = self.last.insert((who, stream), number);
        if last.is_some_and(|last| last >= number) {
            wrong.push(format!("{name}@{offset}: {who}/{number} stands behind {last:?}"));
        }
    }

    pub(super) fn compare(&self, ledger: &Ledger, wrong: &mut Vec<String>) {
        for (who, places) in self.places.iter().enumerate() {
            for acked in &ledger.book(who).acked {
                for (step, number) in (acked.first..acked.first + acked.count).enumerate() {
                    let at = usize::try_from(number).unwrap_or(usize::MAX);
                    let Some(place) = places.get(at).copied().flatten() else {
                        wrong
                            .push(format!("{who}/{number} was acknowledged and is not at the hub"));
                        continue;
                    };
                    let Some(told) = &acked.at else { continue };
                    self.compare_place(who, number, step as u64, told, place, wrong);
                }
            }
        }
    }

    fn compare_place(
        &self,
        who: usize,
        number: u64,
        step: u64,
        told: &Coordinates,
        place: Place,
        wrong: &mut Vec<String>,
    ) {
        let stream = &self.streams[place.stream];
        let same = told.stream == *stream
            && told.offset + step == place.offset
            && told.epoch.is_none_or(|epoch| epoch == place.epoch);
        if !same {
            let Place { offset, epoch, .. } = place;
            wrong.push(format!(
                "{who}/{number} was acknowledged {step} behind {told} and lies at \
                 {stream}@{offset}~{epoch:x}"
            ));
        }
    }
}
