//! The tests that a target has to pass in an emulator of its processor.

use std::path::Path;

use super::Target;
use crate::counts::Counts;
use crate::shell::Failure;
use crate::test::{build_programs, pass, suite};

/// Which suites of what decides run in the emulator.
#[derive(Clone, Copy)]
pub(super) enum Suites {
    /// Those of core, protocol and node machine themselves: for each change. With the simulator's,
    /// this would take twice as long, nearly all of it to compile and to emulate what each change
    /// does on this machine anyway.
    Own,
    /// And what only the simulator tests of them: on demand.
    Simulated,
}

const OWN: [&str; 8] = [
    "--package=landfall-core",
    "--package=landfall-protocol",
    "--package=landfall-node",
    "--lib",
    "--test=protocol",
    "-Zbuild-std",
    "--locked",
    "--no-fail-fast",
];
const SIMULATED: [&str; 6] = [
    "--package=landfall-simulation",
    "--test=journal_age",
    "--test=journal_flash",
    "--test=journal_model",
    "--test=journal_scenarios",
    "--test=world_scenarios",
];

/// Random traces of each kind; an emulator takes fifteen times as long for one.
const CASES: &str = "100";

/// Runs and counts the suites of what decides.
pub(super) fn suites(target: &Target, suites: Suites, counts: &mut Counts) -> Result<(), Failure> {
    // Tests are told of panics by an unwinder, which a whole program does without. Its processor is
    // ours, for which they run anyway.
    if target.whole {
        return Ok(());
    }
    let mut test = target.cargo()?;
    test.arg("test").args(OWN).env("LANDFALL_CASES", CASES);
    if let Suites::Simulated = suites {
        test.args(SIMULATED);
    }
    pass(&mut test, counts)
}

/// Runs and counts the tests of the agent in a fleet of nodes of this machine.
pub(super) fn fleet(target: &Target, program: &Path, counts: &mut Counts) -> Result<(), Failure> {
    // The nodes that it meets, and the tests, are programs of this machine.
    build_programs()?;
    let mut test = suite("processes", "emulated::");
    test.env("LANDFALL_EMULATED", program).env("LANDFALL_EMULATOR", target.emulation.join(" "));
    pass(&mut test, counts)
}
