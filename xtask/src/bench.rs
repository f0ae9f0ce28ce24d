//! `cargo xtask bench`: what Landfall does beside what the machine can do, in one run.

use std::process::Command;

use crate::shell::{self, Failure};
use crate::{Task, kafka};

pub(crate) const TASK: Task = Task {
    name: "bench",
    about: "[catchup [--bulk] [--trickle]] [jetstream] [append] [api] [views] [wire] [urgent] \
            [memory] [opening] [size] [kafka] [--json FILE] [--dir D] [--divide N]: measure, all \
            but kafka if nothing is named",
    run,
};

/// What is measured of the program as it goes onto devices.
const OF_DEVICES: [&str; 2] = ["memory", "size"];
const OPTIONS: [&str; 3] = ["--json", "--dir", "--divide"];

fn run(arguments: &[String]) -> Result<(), Failure> {
    let mut build = shell::cargo(&["build", "--release", "--bins"]);
    build.args(["--package", "landfall", "--package", "landfall-tests"]);
    if arguments.iter().any(|word| word == "kafka") {
        kafka::fetch()?;
        // It starts the broker.
        build.args(["--package", "xtask"]);
    }
    shell::run(&mut build)?;
    let mut driver = Command::new(shell::target().join("release/landfall-bench"));
    driver.args(arguments);
    if wants_device(arguments) {
        let device = ["--profile", "device", "--package", "landfall", "--no-default-features"];
        let lean = ["--features", "lean_log"];
        shell::run(shell::cargo(&["build"]).args(device).args(lean))?;
        driver.arg("--device-program").arg(shell::target().join("device/landfall"));
    }
    shell::run(&mut driver)
}

/// Whether a benchmark of the device's program is named, or none and so all.
fn wants_device(arguments: &[String]) -> bool {
    let mut named = 0;
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if OPTIONS.contains(&word.as_str()) {
            words.next();
        } else if OF_DEVICES.contains(&word.as_str()) {
            return true;
        } else {
            named += 1;
        }
    }
    named == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(text: &str) -> bool {
        let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
        wants_device(&words)
    }

    #[test]
    fn the_program_for_devices_is_built_only_for_what_measures_it() {
        assert!(wants(""));
        assert!(wants("--json all.json"));
        assert!(wants("append size"));
        assert!(!wants("catchup --bulk --json bulk.json"));
    }
}
