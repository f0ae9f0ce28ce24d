//! `cargo xtask soak`: kills real processes at random, and checks that nothing was lost or doubled.

use crate::Task;
use crate::shell::{self, Failure};

pub(crate) const TASK: Task = Task {
    name: "soak",
    about: "--kills N [--seed S] [--dir D] [--minutes M]: kill hub and device, then check",
    run,
};

fn run(arguments: &[String]) -> Result<(), Failure> {
    if !arguments.iter().any(|word| word == "--kills") {
        return Err(Failure::Usage("how many kills? `cargo xtask soak --kills 100`".to_owned()));
    }
    let packages = ["--package", "landfall", "--package", "landfall-tests", "--bins"];
    shell::run(shell::cargo(&["build", "--release"]).args(packages))?;
    // The driver starts the program that it finds beside itself.
    let mut driver = std::process::Command::new(shell::target().join("release/landfall-soak"));
    shell::run(driver.args(arguments))
}
