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
    // The profile of the tests: its checks of arithmetic find more.
    let driver = ["build", "--package", "landfall-simulation", "--bin", driver(arguments)];
    shell::run(&mut shell::cargo(&driver))?;
    drive(arguments)
}

/// The program that does what these arguments ask for.
fn driver(arguments: &[String]) -> &'static str {
    match arguments.iter().any(|argument| argument == "--cuts") {
        true => "landfall-cuts",
        false => "landfall-sim",
    }
}

/// Does what these arguments ask for, by a program that is built already.
pub(crate) fn drive(arguments: &[String]) -> Result<(), Failure> {
    let program = shell::target().join("debug").join(driver(arguments));
    shell::run(std::process::Command::new(program).args(arguments))
}
