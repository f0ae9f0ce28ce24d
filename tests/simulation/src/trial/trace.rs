//! A trace of a trial: operations in which nothing goes wrong but what was armed beforehand, so
//! that it can be begun again and again from one state and be cut elsewhere each time.

use landfall_core::tables::Tables;

use super::{After, Trial};
use crate::media::counters::Counters;
use crate::media::power::Step;
use crate::media::rig::Rig;
use crate::world::Tally;

impl<R: Rig, T: Tables> Trial<R, T> {
    /// A trial of its own in the same state, on a medium of its own. No journal may be open.
    pub fn fork(&self) -> Self {
        assert!(self.journal.is_none(), "a journal that is open stays where it is");
        Self {
            rig: self.rig.duplicate(),
            config: self.config,
            parts: self.parts,
            rng: self.rng.clone(),
            model: self.model.clone(),
            journal: None,
            opened: self.opened,
            promised: self.promised,
            tells_losses: self.tells_losses,
            flying: self.flying.clone(),
            tally: Tally::default(),
        }
    }

    /// The medium.
    pub fn rig(&self) -> &R {
        &self.rig
    }

    /// What was met how often since this trial was made or forked.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Appends until so many bytes were written, and kills the process.
    pub fn fill(&mut self, bytes: u64) {
        assert!(self.open(), "nothing is wrong with the medium");
        let written = |trial: &Self| trial.rig.counters().bytes;
        let mut full = 0;
        while written(self) < bytes && full < 20 {
            let before = written(self);
            assert_eq!(self.append(), After::GoesOn, "nothing is wrong with the medium");
            self.note_landing();
            full = if written(self) == before { full + 1 } else { 0 };
        }
        self.journal = None;
    }

    /// Does up to that many operations, and stops where the power goes.
    pub fn calm(&mut self, steps: u32) {
        for _ in 0..steps {
            if self.journal.is_none() && !self.open_again() {
                return;
            }
            let after = match self.rng.below(20) {
                0..12 => self.append(),
                12..14 => self.checkpoint(),
                14 => self.close(),
                // Killed: what was written and not synced is what the next process finds.
                15 => After::Failed,
                16 => self.drop_loudly(),
                _ => self.drop_durable(),
            };
            self.note_landing();
            if after == After::Failed {
                self.journal = None;
            }
            if !self.power_is_on() {
                return;
            }
        }
    }

    /// Opens the journal as the next process does, if the power lets it.
    fn open_again(&mut self) -> bool {
        let opened = self.open();
        if opened && self.model.is_in_doubt() {
            self.check();
        }
        opened
    }

    /// Whether the last commit was written and may not be synced.
    pub fn has_flying(&self) -> bool {
        self.flying.is_some()
    }

    /// Ends the process and the power.
    pub fn lose_power(&mut self) {
        self.journal = None;
        self.rig.power_off();
    }

    /// Brings the power back, and takes it again in the n-th such step of the opening.
    pub fn recover_until(&mut self, step: Step, nth: u64) {
        self.rig.power_on();
        self.rig.arm(step, nth);
        self.open();
        assert!(!self.power_is_on(), "the opening does the same each time");
        self.lose_power();
    }

    /// Brings the power back, opens the journal, and checks it. Returns what was counted at the
    /// medium before the opening and behind it.
    pub fn recover(&mut self) -> (Counters, Counters) {
        self.rig.power_on();
        let before = self.rig.counters();
        assert!(self.open(), "nothing is wrong with the medium");
        let after = self.rig.counters();
        self.check();
        (before, after)
    }
}
