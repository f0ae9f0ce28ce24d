//! What a simulated medium counts.

use super::power::Step;

/// What was done to a medium, and what it did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Calls of read.
    pub reads: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Calls of program.
    pub programs: u64,
    /// Units programmed; the one in which the power went counts.
    pub units: u64,
    /// Bytes programmed.
    pub bytes: u64,
    /// Calls of sync.
    pub syncs: u64,
    /// Calls of erase.
    pub erases: u64,
    /// Calls of free.
    pub frees: u64,
    /// Power cuts.
    pub cuts: u64,
    /// Those in a sync that had nothing to sync, as if it were between two calls.
    pub idle_cuts: u64,
    /// Syncs that failed on demand.
    pub syncs_failed: u64,
    /// Programs that failed on demand.
    pub programs_failed: u64,
    /// Erases that found no space.
    pub no_space: u64,
    /// Units that were not synced when the power went, and survived.
    pub kept: u64,
    /// Units that fell back to what they held before.
    pub dropped: u64,
    /// Units that were found full of zeros.
    pub zeroed: u64,
    /// Units that were found with bytes that belong elsewhere, or to an earlier time.
    pub stale: u64,
    /// Units that were cut in the middle.
    pub torn: u64,
    /// Erases that a power cut undid, or stopped half-way on flash.
    pub erases_lost: u64,
}

impl Counters {
    /// How often the power could have gone in such a step.
    pub const fn of(&self, step: Step) -> u64 {
        match step {
            Step::Unit => self.units,
            Step::Sync => self.syncs,
            Step::Erase => self.erases,
        }
    }
}
