//! Shrinks a plan that finds something to a short one that finds the same: parts of it are left out
//! as long as that is so (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing
//! input", 2002), then numbers are made smaller.

use super::operation::Operation;
use super::plan::Plan;
use super::run::{Finding, run};

/// Shrinks `plan`, which found `finding`, in at most so many runs.
pub fn shrink(plan: &Plan, finding: &Finding, mut runs: u32) -> Plan {
    let mut least = plan.clone();
    least.operations.truncate(finding.operations);
    let mut finds = |candidate: &Plan| {
        runs = runs.saturating_sub(1);
        runs > 0 && run(candidate, false).is_err_and(|found| found.place == finding.place)
    };
    if !finds(&least) {
        // It is found only when the faults stop.
        least = plan.clone();
    }
    let mut chunk = least.operations.len().div_ceil(2).max(1);
    loop {
        let shorter = leave_out(&least, chunk, &mut finds);
        let again = shorter.operations.len() < least.operations.len();
        least = shorter;
        if chunk == 1 && !again {
            break;
        }
        chunk = chunk.div_ceil(2).max(1);
    }
    least = leave_out_hosts(&least, &mut finds);
    make_smaller(&least, &mut finds)
}

fn leave_out(plan: &Plan, chunk: usize, finds: &mut impl FnMut(&Plan) -> bool) -> Plan {
    let mut least = plan.clone();
    let mut at = 0;
    while at < least.operations.len() {
        let mut candidate = least.clone();
        let end = (at + chunk).min(candidate.operations.len());
        candidate.operations.drain(at..end);
        if finds(&candidate) {
            least = candidate;
        } else {
            at += chunk;
        }
    }
    least
}

/// Leaves out hosts that nothing is done to and that nobody dials.
fn leave_out_hosts(plan: &Plan, finds: &mut impl FnMut(&Plan) -> bool) -> Plan {
    let mut least = plan.clone();
    for (host, _) in plan.shape.uplinks.iter().rev() {
        let mut candidate = least.clone();
        candidate.shape.uplinks.retain(|(name, _)| name != host);
        let dialed = candidate.shape.uplinks.iter().any(|(_, to)| to == host);
        let named = |operation: &Operation| {
            operation.to_string().split_whitespace().any(|word| word == *host)
        };
        if !dialed && !candidate.operations.iter().any(named) && finds(&candidate) {
            least = candidate;
        }
    }
    least
}

fn make_smaller(plan: &Plan, finds: &mut impl FnMut(&Plan) -> bool) -> Plan {
    let mut least = plan.clone();
    for at in 0..least.operations.len() {
        while let Some(smaller) = halved(&least.operations[at]) {
            let mut candidate = least.clone();
            candidate.operations[at] = smaller;
            if !finds(&candidate) {
                break;
            }
            least = candidate;
        }
    }
    least
}

/// An operation with its largest number halved.
fn halved(operation: &Operation) -> Option<Operation> {
    let line = operation.to_string();
    let words: Vec<&str> = line.split_whitespace().collect();
    let largest = words.iter().filter_map(|word| word.parse::<u64>().ok()).max()?;
    let smaller = (largest / 2).to_string();
    let largest = (largest > 1).then(|| largest.to_string())?;
    let words = words.iter().map(|word| if *word == largest { smaller.as_str() } else { word });
    Operation::parse(&words.collect::<Vec<_>>().join(" "))
}
