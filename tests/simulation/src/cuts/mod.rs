//! Power cuts, all that there are: a trace is begun again for each unit, sync and erase in it,
//! loses the power there, and loses it again in each of those that the recovery takes. Syncs that
//! have nothing to sync are left out.
//!
//! ```text
//! state ─ fork ─▶ trace … cut ─ fork ─▶ recovery ─▶ check ─▶ a few operations ─ cut ─▶ check
//!                              └ fork ─▶ recovery … cut ─▶ recovery ─▶ check ─▶ …
//! ```

pub mod scene;

use std::cell::RefCell;
use std::fmt::Debug;

use landfall_core::tables::Tables;

use self::scene::{Kind, Scene, Size};
use crate::caught::{Caught, caught};
use crate::media::counters::Counters;
use crate::media::power::Step;
use crate::media::rig::Rig;
use crate::trial::Trial;
use crate::world::Tally;

/// Operations behind a recovery: what was left of the cut must not come back in them.
const AFTERWARDS: u32 = 3;

thread_local! {
    /// What is being cut, to name it if a check does not hold.
    static CUTTING: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What the cuts of a trace have met.
#[derive(Clone, Debug, Default)]
pub struct Cuts {
    /// Cuts in the trace.
    pub first: u64,
    /// Cuts in a recovery.
    pub second: u64,
    /// What was met how often.
    pub tally: Tally,
}

/// Cuts the trace of a seed everywhere.
///
/// # Errors
/// The first cut after which a check did not hold, and what the check says.
pub fn cut_everywhere(seed: u64) -> Result<Cuts, String> {
    let scene = Scene::draw(seed);
    let mut cuts = Cuts::default();
    let run = || match (scene.kind, scene.size) {
        (Kind::Disk, _) => cuts.all(&scene.on_disk(), &scene),
        (Kind::Flash, Size::Small) => cuts.all(&scene.on_flash_without_allocation(), &scene),
        (Kind::Flash, _) => cuts.all(&scene.on_flash(), &scene),
    };
    CUTTING.replace("before any cut".to_owned());
    let outcome = caught(run);
    outcome.map_err(|Caught { text, place }| {
        let cutting = CUTTING.take();
        format!("seed {seed}: {scene}; {cutting}\n{place}: {text}")
    })?;
    cuts.tally.add(&format!("traces: {:?} {:?}", scene.size, scene.kind));
    cuts.count(&format!("cuts by journal: {:?} {:?}", scene.size, scene.kind));
    Ok(cuts)
}

impl Cuts {
    /// Adds what others have met.
    pub fn merge(&mut self, other: &Self) {
        self.first += other.first;
        self.second += other.second;
        self.tally.merge(&other.tally);
    }

    /// All cuts.
    pub fn total(&self) -> u64 {
        self.first + self.second
    }

    fn count(&mut self, what: &str) {
        self.tally.add_many(what, self.first + self.second);
    }

    fn all<R: Rig, T: Tables>(&mut self, start: &Trial<R, T>, scene: &Scene) {
        for damage in R::DAMAGES {
            let mut whole = start.fork();
            whole.rig().set_damage(*damage);
            whole.calm(scene.operations);
            let (before, after) = (start.rig().counters(), whole.rig().counters());
            for step in Step::ALL {
                for nth in 1..=after.of(step) - before.of(step) {
                    let mut cut = start.fork();
                    cut.rig().set_damage(*damage);
                    cut.rig().arm(step, nth);
                    CUTTING.replace(format!("{damage:?}, {step:?} {nth} of the trace"));
                    cut.calm(scene.operations);
                    cut.lose_power();
                    if cut.rig().counters().idle_cuts > before.idle_cuts {
                        continue;
                    }
                    self.first += 1;
                    self.tally.add(&format!("cuts in the trace: {step:?}"));
                    if cut.has_flying() {
                        self.tally.add("cuts with a commit in flight");
                    }
                    self.left(&before, &cut.rig().counters());
                    self.again(&cut, (damage, step, nth));
                }
            }
        }
    }

    /// Recovers from a cut, and from one in each step of that.
    fn again<R: Rig, T: Tables>(
        &mut self,
        cut: &Trial<R, T>,
        (damage, step, nth): (&impl Debug, Step, u64),
    ) {
        let mut whole = cut.fork();
        let (before, after) = whole.recover();
        self.afterwards(whole);
        for (again, from) in Step::ALL.into_iter().map(|again| (again, before.of(again))) {
            for next in 1..=after.of(again) - from {
                let mut twice = cut.fork();
                let kinds = R::DAMAGES;
                let other = kinds[(nth + next) as usize % kinds.len()];
                twice.rig().set_damage(other);
                CUTTING.replace(format!(
                    "{damage:?}, {step:?} {nth} of the trace, then {other:?}, {again:?} {next} of \
                     the recovery"
                ));
                twice.recover_until(again, next);
                if twice.rig().counters().idle_cuts > before.idle_cuts {
                    continue;
                }
                self.second += 1;
                self.tally.add(&format!("cuts in a recovery: {again:?}"));
                self.left(&before, &twice.rig().counters());
                twice.recover();
                self.afterwards(twice);
            }
        }
    }

    /// Counts what a cut left, from what was counted before and behind it.
    fn left(&mut self, before: &Counters, after: &Counters) {
        for (what, before, after) in [
            ("units left: kept", before.kept, after.kept),
            ("units left: dropped", before.dropped, after.dropped),
            ("units left: zeroed", before.zeroed, after.zeroed),
            ("units left: stale", before.stale, after.stale),
            ("units left: torn", before.torn, after.torn),
            ("erases undone or stopped half-way", before.erases_lost, after.erases_lost),
        ] {
            self.tally.add_many(what, after - before);
        }
    }

    fn afterwards<R: Rig, T: Tables>(&mut self, mut trial: Trial<R, T>) {
        trial.calm(AFTERWARDS);
        trial.lose_power();
        trial.recover();
        self.tally.merge(trial.tally());
    }
}
