//! `cargo xtask sim`: simulated fleets from seeds, with every fault, checked after each operation.

use crate::Task;
use crate::mutants;
use crate::shell::{self, Failure};

pub(crate) const TASK: Task = Task {
    name: "sim",
    about: "[--seed S] [--seconds N] [--plan FILE], or --mutants [WORD]: fleets with every fault",
    run,
};

fn run(arguments: &[String]) -> Result<(), Failure> {
    if let [first, rest @ ..] = arguments
        && first == "--mutants"
    {
        return mutants::run(rest.first().map(String::as_str));
    }
    // The profile of the tests: its checks of arithmetic find more, and it is built already.
    let build = ["build", "--package", "landfall-tests", "--bin", "landfall-sim"];
    shell::run(&mut shell::cargo(&build))?;
    let mut driver = std::process::Command::new(shell::target().join("debug/landfall-sim"));
    shell::run(driver.args(arguments))
}
