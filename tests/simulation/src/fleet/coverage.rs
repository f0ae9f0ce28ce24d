//! What many fleets together must have met: each operation, each kind of damage that a disk may
//! suffer, and each way to recover. A check that never ran where it matters shows nothing.

use super::operation::VERBS;
use crate::world::Tally;

/// What is counted besides operations.
const MUST_BE_MET: &[&str] = &[
    "alarms: Copy",
    "alarms: Fork",
    "alarms: Gap",
    "alarms: Journal",
    "alarms: Loss",
    "alarms: Peer",
    "alarms: PromiseLacking",
    "alarms: Stalled",
    "alarms: TailLost",
    "alarms: Unreadable",
    "appends refused: Media",
    "appends refused: NoSpace",
    "appends that repeated records",
    "commits in flight",
    "disks: no space",
    "disks: power cuts",
    "disks: syncs failed",
    "disks: units dropped",
    "disks: units kept",
    "disks: units stale",
    "disks: units torn",
    "disks: units zeroed",
    "disks: writes failed",
    "failures during an opening",
    "fleets whole with a node that is: newer",
    "fleets whole with a node that is: older",
    "fleets whole with a node that was: foreign",
    "nodes that forgot their oldest records",
    "openings of a closed journal",
    "openings of a journal that was not closed",
    "openings of a new journal",
    "openings that cut a torn commit",
    "openings that found damage",
    "openings without a whole checkpoint",
    "power cuts during an opening",
];

/// What has not been met yet of all that must be.
pub fn never_met(tally: &Tally) -> Vec<String> {
    let operations = VERBS.iter().map(|verb| format!("operations: {verb}"));
    let all = MUST_BE_MET.iter().map(|what| (*what).to_owned()).chain(operations);
    all.filter(|what| tally.count(what) == 0).collect()
}

#[cfg(test)]
mod tests {
    use super::{MUST_BE_MET, never_met};
    use crate::fleet::operation::VERBS;
    use crate::world::Tally;

    #[test]
    fn what_was_counted_is_met_and_nothing_else() {
        let mut tally = Tally::default();
        assert_eq!(never_met(&tally).len(), MUST_BE_MET.len() + VERBS.len());
        tally.add("operations: rot");
        tally.add("disks: units torn");
        let missing = never_met(&tally);
        assert_eq!(missing.len(), MUST_BE_MET.len() + VERBS.len() - 2);
        assert!(!missing.iter().any(|what| what.ends_with("rot") || what.ends_with("torn")));
    }
}
