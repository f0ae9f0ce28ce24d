//! The verdict: what is not as the ledger says, and who broke a promise.
//!
//! The agent promises that what it acknowledges is synced; the medium promises to keep what is
//! synced. A record that is gone proves neither by itself:
//!
//! - Damaged bytes, a journal without an opening that it had, and a control block that is gone
//!   speak against the medium: the agent can't undo what had been synced long before.
//! - A control block that is there, written after the record had been acknowledged, speaks against
//!   the agent: the medium kept what was synced later.
//! - Otherwise it stays open.

use std::collections::BTreeMap;

use landfall_core::gap::GapReason;
use serde::Serialize;

use super::content::RunId;
use super::control::Block;
use super::found::Found;
use super::ledger::{Acked, Book, Run};
use super::shelf::{Numbers, Piece, Shelf, Shelves};
use crate::coordinates::Coordinates;

/// Who broke a promise.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Broke {
    /// Nobody: the configuration allows it.
    Nobody,
    /// This can't be told.
    Undecided,
    /// The disk, its controller, the file system or its settings; or an old image.
    Medium,
    /// Landfall.
    Agent,
}

/// What is wrong with records.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    Lost,
    Changed,
    Twice,
    OutOfOrder,
    Elsewhere,
}

/// Where it is wrong.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    Node,
    Hub,
}

/// Why records are lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Cause {
    Replaced,
    OldImage,
    Damaged,
    Stated(GapReason),
    Forgotten,
    TailAndControlLost,
    TailLostControlKept,
    TailLost,
    Hole,
}

/// Records that are not as they should be.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(super) struct Fault {
    pub(super) run: RunId,
    pub(super) place: Place,
    pub(super) what: What,
    #[serde(flatten)]
    pub(super) numbers: Numbers,
    /// Coordinates of the first, if the ledger tells.
    pub(super) at: Option<String>,
    pub(super) broke: Broke,
    pub(super) why: String,
    /// How many of those that are lost here the hub has.
    pub(super) at_hub: u64,
}

/// A run in numbers.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(super) struct Tally {
    pub(super) run: RunId,
    pub(super) acknowledged: u64,
    /// Of these, records that are here.
    pub(super) here: u64,
    /// Of these, records that retention dropped here.
    pub(super) forgotten: u64,
    pub(super) lost: u64,
    /// Records that are here and were not acknowledged before the cut.
    pub(super) more: u64,
    /// Acknowledged records at the hub; none if nobody looked there.
    pub(super) at_hub: Option<u64>,
}

/// What was looked at.
pub(super) struct Scene<'a> {
    /// The node that wrote; none if only a hub was looked at.
    pub(super) here: Option<&'a Found>,
    pub(super) hub: Option<&'a Shelves>,
    /// The newest control block of each run.
    pub(super) controls: BTreeMap<RunId, Block>,
}

impl Scene<'_> {
    /// Compares everything with the ledger.
    pub(super) fn judge(&self, book: &Book) -> (Vec<Tally>, Vec<Fault>) {
        let mut faults = Vec::new();
        let tallies = book.runs.iter().map(|run| self.judge_run(run, &mut faults)).collect();
        (tallies, faults)
    }

    fn judge_run(&self, run: &Run, faults: &mut Vec<Fault>) -> Tally {
        let hub = self.hub.map(|hub| hub.of(run.id));
        let here = self.here.map(|here| here.shelves.of(run.id));
        for (place, shelf) in [(Place::Node, &here), (Place::Hub, &hub)] {
            if let Some(shelf) = shelf {
                judge_shelf(run, place, shelf, faults);
            }
        }
        let shelf = here.as_ref().or(hub.as_ref()).cloned().unwrap_or_default();
        let (mut lost, mut forgotten) = (0, 0);
        for (acked, missing) in missing(run, &shelf) {
            for numbers in self.parts(run, missing) {
                let cause = self.here.map(|found| self.cause(found, run, acked, numbers.first));
                let gone = match (cause, &hub) {
                    (Some(Cause::Forgotten), None) => Vec::new(),
                    (Some(Cause::Forgotten), Some(hub)) => hub.missing(numbers),
                    _ => vec![numbers],
                };
                let gone_count: u64 = gone.iter().map(Numbers::count).sum();
                (lost, forgotten) = (lost + gone_count, forgotten + numbers.count() - gone_count);
                for numbers in gone {
                    let at_hub = count_in(hub.as_ref(), numbers);
                    push(faults, lost_fault(run.id, acked, numbers, cause, at_hub));
                }
            }
        }
        let acknowledged: u64 = run.acked.iter().map(|acked| acked.count).sum();
        let behind = run.acked.last().map_or(1, |acked| acked.first.saturating_add(acked.count));
        let at_hub = hub.as_ref().map(|hub| {
            let missing = missing(run, hub).map(|(_, numbers)| numbers.count());
            acknowledged - missing.sum::<u64>()
        });
        let (here, more) = (acknowledged - lost - forgotten, shelf.count_from(behind));
        Tally { run: run.id, acknowledged, here, forgotten, lost, more, at_hub }
    }

    /// Numbers before and behind those that the control file vouches for.
    fn parts(&self, run: &Run, Numbers { first, last }: Numbers) -> Vec<Numbers> {
        match self.controls.get(&run.id) {
            Some(Block { through, .. }) if (first..last).contains(through) => {
                vec![Numbers { first, last: *through }, Numbers { first: through + 1, last }]
            }
            _ => vec![Numbers { first, last }],
        }
    }

    fn cause(&self, found: &Found, run: &Run, acked: &Acked, number: u64) -> Cause {
        if found.log != run.log {
            return Cause::Replaced;
        }
        let epoch = acked.at.as_ref().and_then(|at| at.epoch);
        let openings = &found.openings;
        let opening = openings.iter().position(|opening| Some(opening.epoch) == epoch);
        let remembered =
            |commit| openings.first().is_some_and(|first| first.first_commit <= commit);
        if epoch.is_some() && opening.is_none() && acked.commit.is_none_or(remembered) {
            return Cause::OldImage;
        }
        let offset = acked.at.as_ref().map(|at| at.offset.saturating_add(number - acked.first));
        if let Some(offset) = offset {
            let holds = |gap: &&super::found::Gap| (gap.from..gap.to).contains(&offset);
            match found.gaps.iter().find(holds).map(|gap| gap.why) {
                Some(GapReason::Damage) => return Cause::Damaged,
                Some(why) => return Cause::Stated(why),
                None => {}
            }
            if found.first.is_some_and(|first| offset < first) {
                return Cause::Forgotten;
            }
        }
        let next = opening.and_then(|at| openings.get(at + 1));
        let end = next.map_or(found.end, |next| next.first_commit);
        if acked.commit.is_some_and(|commit| commit < end) {
            return Cause::Hole;
        }
        let block = self.controls.get(&run.id);
        if block.map(|block| block.number) < run.control {
            Cause::TailAndControlLost
        } else if block.is_some_and(|block| number <= block.through) {
            Cause::TailLostControlKept
        } else {
            Cause::TailLost
        }
    }
}

/// What was acknowledged and is not there.
fn missing<'a>(run: &'a Run, shelf: &'a Shelf) -> impl Iterator<Item = (&'a Acked, Numbers)> {
    let of = |acked: &'a Acked| {
        shelf.missing(acked.numbers()).into_iter().map(move |numbers| (acked, numbers))
    };
    run.acked.iter().flat_map(of)
}

/// What needs no cause: nobody but the agent does this to records with intact checksums.
fn judge_shelf(run: &Run, place: Place, shelf: &Shelf, faults: &mut Vec<Fault>) {
    let mut tell = |what, numbers: Vec<Numbers>, why: &str| {
        for numbers in numbers {
            let (at, broke, at_hub) = (None, Broke::Agent, 0);
            let why = why.to_owned();
            push(faults, Fault { run: run.id, place, what, numbers, at, broke, why, at_hub });
        }
    };
    let changed = shelf.changed.iter().map(|number| Numbers { first: *number, last: *number });
    tell(What::Changed, changed.collect(), "their checksums are right and their content is not");
    tell(What::Twice, shelf.twice(), "each was written once");
    tell(What::OutOfOrder, shelf.out_of_order(), "they stand before what was written earlier");
    let elsewhere = run.acked.iter().filter_map(Acked::piece);
    let elsewhere = elsewhere.flat_map(|acked| shelf.elsewhere(acked)).collect();
    tell(What::Elsewhere, elsewhere, "they lie elsewhere than their receipts said");
}

fn lost_fault(
    run: RunId,
    acked: &Acked,
    numbers: Numbers,
    cause: Option<Cause>,
    at_hub: u64,
) -> Fault {
    let place = if cause.is_some() { Place::Node } else { Place::Hub };
    let (broke, why) = cause.map_or(NOT_AT_HUB, Cause::told);
    let at = acked.at.as_ref().map(|at| {
        let offset = at.offset.saturating_add(numbers.first - acked.first);
        Coordinates { offset, ..at.clone() }.to_string()
    });
    let (what, why) = (What::Lost, why.to_owned());
    Fault { run, place, what, numbers, at, broke, why, at_hub }
}

/// Adds a fault, or widens the last one if it goes on there.
fn push(faults: &mut Vec<Fault>, fault: Fault) {
    if let Some(last) = faults.last_mut()
        && (last.run, last.place, last.what) == (fault.run, fault.place, fault.what)
        && (last.broke, &last.why) == (fault.broke, &fault.why)
        && last.numbers.last + 1 == fault.numbers.first
    {
        last.numbers.last = fault.numbers.last;
        last.at_hub += fault.at_hub;
        return;
    }
    faults.push(fault);
}

fn count_in(hub: Option<&Shelf>, numbers: Numbers) -> u64 {
    let missing = |hub: &Shelf| hub.missing(numbers).iter().map(Numbers::count).sum::<u64>();
    hub.map_or(0, |hub| numbers.count() - missing(hub))
}

const NOT_AT_HUB: (Broke, &str) = (
    Broke::Undecided,
    "they are not here: they are still on the way, or lost; check the directory of the node that \
     wrote them",
);

impl Cause {
    fn told(self) -> (Broke, &'static str) {
        match self {
            Self::Replaced => (
                Broke::Medium,
                "this is another journal: the directory was replaced, or the medium lost it whole",
            ),
            Self::OldImage => (
                Broke::Medium,
                "the journal is older than what it had acknowledged, by whole openings: an old \
                 image was restored, or the medium went back to an old state",
            ),
            Self::Damaged => (
                Broke::Medium,
                "their bytes had been synced, and are damaged: checksums do not fit",
            ),
            Self::Stated(GapReason::Dropped) => {
                (Broke::Nobody, "a full lane dropped them, as `on_full = \"drop_oldest\"` says")
            }
            Self::Stated(_) => (Broke::Undecided, "they were given up; `landfall status` says why"),
            Self::Forgotten => (
                Broke::Undecided,
                "they were dropped here as durable at the root, and the hub does not have them: \
                 check the hub by `landfall verify`",
            ),
            Self::TailAndControlLost => (
                Broke::Medium,
                "the end of the journal is missing, and so is a block of the control file that \
                 this test had synced by itself: the medium does not keep what it says is synced",
            ),
            Self::TailLostControlKept => (
                Broke::Agent,
                "the end of the journal is missing, but a block of the control file is there that \
                 was synced later: the agent acknowledged what it had not synced",
            ),
            Self::TailLost => (
                Broke::Undecided,
                "the end of the journal is missing, and no block of the control file was synced \
                 after it: the medium lost it, or the agent acknowledged too early; try again",
            ),
            Self::Hole => (
                Broke::Agent,
                "the journal goes on behind them, nothing is damaged, and no gap names them",
            ),
        }
    }
}

impl Acked {
    fn numbers(&self) -> Numbers {
        Numbers { first: self.first, last: self.first.saturating_add(self.count).saturating_sub(1) }
    }

    fn piece(&self) -> Option<Piece> {
        let at = self.at.as_ref()?;
        let (first, count, offset) = (self.first, self.count, at.offset);
        Some(Piece { first, count, offset, epoch: at.epoch? })
    }
}

#[cfg(test)]
mod tests;
