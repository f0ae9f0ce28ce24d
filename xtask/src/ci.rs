//! `cargo xtask ci`: everything that a change must pass, step by step.

use std::process::Command;

use crate::Task;
use crate::counts::Counts;
use crate::shell::{self, Failure};
use crate::stopwatch::Stopwatch;
use crate::{cross, firmware, kafka, licences, package, sim, size, test, tidy};

pub(crate) const TASK: Task =
    Task { name: "ci", about: "run every check and all tests, as before each merge", run };

/// One check: a name for the heading and what it does.
struct Step {
    name: &'static str,
    /// Is given what the tests of earlier steps showed, and adds what its own do: the last step
    /// asks for every test, and those that only another step can run were not skipped.
    run: fn(&mut Counts) -> Result<(), Failure>,
}

/// Cheap checks first, so that a slip shows within seconds.
const FIRST: [Step; 4] = [
    Step { name: "formatting", run: |_| formatting() },
    Step { name: "tidy", run: |_| (tidy::TASK.run)(&[]) },
    Step { name: "licences", run: |_| (licences::TASK.run)(&[]) },
    Step { name: "dependencies of core", run: |_| core_without_serde() },
];

/// What keeps one processor busy for minutes, or waits for the network, and needs nothing of
/// [`BESIDE`]. No test of these is one that others skip.
const ASIDE: [Step; 3] = [
    Step { name: "build for armv7", run: cross::check_build },
    Step { name: "build without std", run: |_| (size::TASK.run)(&[]) },
    Step { name: "Kafka", run: |_| kafka::fetch() },
];

/// What is done meanwhile.
const BESIDE: [Step; 7] = [
    Step { name: "clippy", run: |_| clippy_all() },
    Step { name: "clippy without alloc", run: |_| clippy_without_alloc() },
    Step { name: "documentation", run: |_| documentation() },
    Step { name: "firmware", run: firmware::test },
    Step { name: "packages", run: package::check },
    Step { name: "fleets", run: |_| fleets() },
    Step { name: "power cuts", run: |_| power_cuts() },
];

const LAST: [Step; 2] = [
    Step { name: "armv7", run: cross::check_fleet },
    Step { name: "tests", run: |elsewhere| test::all(&[], elsewhere) },
];

fn run(arguments: &[String]) -> Result<(), Failure> {
    shell::no_arguments(TASK.name, arguments)?;
    let (whole, mut elsewhere) = (Stopwatch::start(), Counts::default());
    run_steps(&FIRST, &mut elsewhere)?;
    cross::prepare_check()?;
    // Without it the programs would have other features by the time that all tests run.
    kafka::prepare_tls()?;
    let (aside, beside) = std::thread::scope(|scope| {
        let aside = scope.spawn(|| run_steps(&ASIDE, &mut Counts::default()));
        let beside = run_steps(&BESIDE, &mut elsewhere);
        (aside.join().expect("the thread of a step does not panic"), beside)
    });
    beside.and(aside)?;
    run_steps(&LAST, &mut elsewhere)?;
    println!(
        "all {} steps passed in {}",
        FIRST.len() + ASIDE.len() + BESIDE.len() + LAST.len(),
        whole.text()
    );
    Ok(())
}

/// Runs steps one after the other, up to the first that fails.
fn run_steps(steps: &[Step], elsewhere: &mut Counts) -> Result<(), Failure> {
    for step in steps {
        println!("==> {}", step.name);
        let watch = Stopwatch::start();
        if let Err(failure) = (step.run)(elsewhere) {
            let text = format!("step `{}` failed after {}: {failure}", step.name, watch.text());
            // Told at once: what goes on beside it may take minutes to end.
            println!("{text}");
            return Err(Failure::Check(text));
        }
        println!("<== {}: {}", step.name, watch.text());
    }
    Ok(())
}

fn cargo(arguments: &[&str]) -> Result<(), Failure> {
    shell::run(&mut shell::cargo(arguments))
}

/// The programs for a Cortex-M3 and the drivers of `fuzz` are workspaces of their own.
fn formatting() -> Result<(), Failure> {
    cargo(&["fmt", "--all", "--check"])?;
    for folder in ["size", "firmware"] {
        let manifest = format!("cross/{folder}/Cargo.toml");
        cargo(&["fmt", "--check", "--manifest-path", &manifest])?;
    }
    cargo(&["fmt", "--check", "--manifest-path", "fuzz/Cargo.toml"])
}

/// Core knows its own bytes; serde belongs to the messages above it.
fn core_without_serde() -> Result<(), Failure> {
    let mut tree = shell::cargo(&["tree", "--locked", "--package", "landfall-core"]);
    let tree = tree.args(["--all-features", "--edges", "normal,build", "--prefix", "none"]);
    let printed = shell::output(tree)?;
    match printed.lines().find(|line| line.starts_with("serde")) {
        None => Ok(()),
        Some(line) => Err(Failure::Check(format!("landfall-core depends on {line}; take it out"))),
    }
}

/// Seeds that are fresh for each state of the sources, and the same whenever that is checked again.
fn fleets() -> Result<(), Failure> {
    let tree = ["rev-parse", "--verify", "HEAD^{tree}"];
    let tree = shell::output(Command::new("git").args(tree).current_dir(shell::root()));
    let seed = tree.ok().as_deref().and_then(seed_of).unwrap_or(1);
    simulate(&["--seed", &seed.to_string(), "--seconds", "30"])
}

/// The first seed for a state of the sources: what the name of its tree begins with.
fn seed_of(tree: &str) -> Option<u64> {
    u64::from_str_radix(tree.get(..12)?, 16).ok()
}

/// The same seeds each time.
fn power_cuts() -> Result<(), Failure> {
    simulate(&["--cuts", "20000", "--seed", "1"])
}

/// By the programs of the tests: the simulator by itself would be compiled anew, with fewer
/// features of what it stands on.
fn simulate(arguments: &[&str]) -> Result<(), Failure> {
    test::build_programs()?;
    let arguments: Vec<_> = arguments.iter().map(|&word| word.to_owned()).collect();
    sim::drive(&arguments)
}

fn clippy_all() -> Result<(), Failure> {
    clippy(&[&["--workspace", "--all-targets"], kafka::features()].concat())
}

fn clippy(packages: &[&str]) -> Result<(), Failure> {
    let (before, after) = (["clippy", "--locked"], ["--", "-D", "warnings"]);
    cargo(&[&before, packages, &after].concat())
}

/// The agent switches core's `alloc` on for the whole workspace; a device leaves it off, and may
/// log. Their tests switch it on again, and are left to the check of the whole workspace.
fn clippy_without_alloc() -> Result<(), Failure> {
    let packages = ["landfall-core", "landfall-protocol", "landfall-device"];
    let packages = packages.map(|package| ["--package", package]).concat();
    clippy(&[packages.as_slice(), &["--features", "landfall-device/defmt"]].concat())
}

fn documentation() -> Result<(), Failure> {
    let mut command = shell::cargo(&["doc", "--locked", "--workspace", "--no-deps"]);
    shell::run(command.args(kafka::features()).env("RUSTDOCFLAGS", "-D warnings"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_of_the_sources_has_seeds_of_its_own() {
        assert_eq!(seed_of("00000000000fdeadbeef\n"), Some(15));
        assert_eq!(seed_of("not a tree at all"), None);
        assert_eq!(seed_of(""), None);
    }
}
