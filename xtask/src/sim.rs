//! `cargo xtask sim`: simulated fleets from seeds, with every fault, checked after each operation;
//! or power cuts, as many as one likes, each in its own place.

use crate::Task;
use crate::mutants;
use crate::shell::{self, Failure};

pub(crate) const TASK: Task = Task {
    name: "sim",
    about: "[--seed S] [--seconds N] [--plan FILE]: fleets with every fault; --mutants [WORD]: \
            does it find what is broken?; --cuts N [--seed S]: power cuts everywhere in traces",
    run,
};

fn run(arguments: &[String]) -> Result<(), Failure> {
    if let [first, rest @ ..] = arguments
        && first == "--mutants"
    {
        return mutants::run(rest.first().map(String::as_str));
    }
    let cuts = arguments.iter().any(|argument| argument == "--cuts");
    let driver = if cuts { "landfall-cuts" } else { "landfall-sim" };
    // The profile of the tests: its checks of arithmetic find more, and it is built already.
    shell::run(&mut shell::cargo(&["build", "--package", "landfall-simulation", "--bin", driver]))?;
    let program = shell::target().join("debug").join(driver);
    shell::run(std::process::Command::new(program).args(arguments))
}
