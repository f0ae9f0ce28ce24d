//! How often the things happened that a simulation must have seen to mean anything.

use std::collections::BTreeMap;
use std::fmt;

use landfall_core::journal::Recovery;
use landfall_node::{Alarm, AppendOutcome};

use crate::media::counters::Counters;

/// Counts by what was counted.
#[derive(Clone, Debug, Default)]
pub struct Tally(BTreeMap<String, u64>);

impl Tally {
    /// Counts something once.
    pub fn add(&mut self, what: &str) {
        self.add_many(what, 1);
    }

    /// Counts something so many times.
    pub fn add_many(&mut self, what: &str, times: u64) {
        if let Some(count) = self.0.get_mut(what) {
            *count += times;
        } else {
            self.0.insert(what.into(), times);
        }
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Self) {
        for (what, times) in &other.0 {
            self.add_many(what, *times);
        }
    }

    /// How often something was counted.
    pub fn count(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or_default()
    }

    /// Everything that was counted, by its name.
    pub fn all(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(what, times)| (what.as_str(), *times))
    }

    pub(super) fn disk(&mut self, counters: &Counters) {
        let counted = [
            ("disks: power cuts", counters.cuts),
            ("disks: units kept", counters.kept),
            ("disks: units dropped", counters.dropped),
            ("disks: units zeroed", counters.zeroed),
            ("disks: units stale", counters.stale),
            ("disks: units torn", counters.torn),
            ("disks: syncs failed", counters.syncs_failed),
            ("disks: writes failed", counters.programs_failed),
            ("disks: no space", counters.no_space),
        ];
        counted.iter().for_each(|(what, times)| self.add_many(what, *times));
    }

    pub(crate) fn recovery(&mut self, found: &Recovery) {
        let seen = [
            ("openings of a new journal", found.created),
            ("openings of a closed journal", found.clean),
            ("openings of a journal that was not closed", !found.created && !found.clean),
            ("openings that cut a torn commit", found.torn.is_some()),
            ("openings that found damage", found.damaged > 0),
            ("openings without a whole checkpoint", found.checkpoint_lost && !found.created),
        ];
        for (what, _) in seen.iter().filter(|(_, seen)| *seen) {
            self.add(what);
        }
    }

    pub(super) fn alarm(&mut self, alarm: &Alarm) {
        self.add(&format!("alarms: {:?}", alarm.kind));
    }

    pub(super) fn outcome(&mut self, outcome: &AppendOutcome) {
        match outcome {
            AppendOutcome::Appended { duplicates: 0, .. } => self.add("appends"),
            AppendOutcome::Appended { .. } => self.add("appends that repeated records"),
            AppendOutcome::Refused { why, .. } => self.add(&format!("appends refused: {why:?}")),
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = self.0.keys().map(String::len).max().unwrap_or_default();
        for (what, times) in &self.0 {
            writeln!(f, "  {what:<widest$}  {times:>10}")?;
        }
        Ok(())
    }
}
