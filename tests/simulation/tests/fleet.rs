//! Fleets: every plan that once broke a rule. Fresh ones run in `cargo xtask sim`.

use std::path::Path;

use landfall_simulation::fleet::{Finding, Outcome, Plan, run};

fn held(what: &str, outcome: Result<Outcome, Finding>) -> Outcome {
    outcome
        .unwrap_or_else(|found| panic!("{what} breaks a rule at {}:\n{}", found.place, found.text))
}

/// The plans are what seeds that failed were shrunk to.
#[test]
fn no_plan_that_once_broke_a_rule_breaks_it_again() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
    let mut plans = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let plan = Plan::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
        held(&path.display().to_string(), run(&plan, false));
        plans += 1;
    }
    assert!(plans > 0, "the plans are there");
}

#[test]
fn the_same_plan_gives_the_same_trace() {
    for seed in 1..4 {
        let plan = Plan::draw(seed);
        assert_eq!(held("a seed", run(&plan, false)).trace, held("it", run(&plan, false)).trace);
    }
}
