//! `cargo xtask test`: every test of the workspace, and their number on the last line.

use std::io::{BufRead, BufReader, Write};
use std::num::NonZero;
use std::process::{Command, ExitStatus, Stdio};

use crate::counts::Counts;
use crate::shell::{self, Failure};
use crate::{Task, cross, firmware, kafka, package, python};

pub(crate) const TASK: Task = Task {
    name: "test",
    about: "run all tests; the last line counts the results. --all: those with a real Kafka, the \
            firmware, an emulated armv7 and packages, too, and what is skipped has failed. \
            Further arguments go to `cargo test`, and the Python client is left out",
    run,
};

/// Asks for every test, whatever the machine must have for it.
const ALL: &str = "--all";
/// Asks the tests for real brokers of Kafka.
const WITH_KAFKA: &str = "TEST_KAFKA";
/// Says how many tests of a program run at a time.
const THREADS: &str = "RUST_TEST_THREADS";
/// As many as that for each processor, unless it is said: those that take long start processes, and
/// wait for them more than they work. A broker of Kafka takes half a GiB of memory.
const THREADS_PER_PROCESSOR: usize = 3;

fn run(arguments: &[String]) -> Result<(), Failure> {
    match arguments {
        [first, rest @ ..] if first == ALL => {
            let mut elsewhere = Counts::default();
            kafka::prepare_tls()?;
            firmware::test(&mut elsewhere)?;
            cross::check(&mut elsewhere)?;
            package::check(&mut elsewhere)?;
            all(rest, &elsewhere)
        }
        _ => tests(&mut workspace(arguments), arguments, &Counts::default()).map(|_| ()),
    }
}

/// Every test of the workspace, whatever the machine must have for it. Those that `elsewhere` has
/// seen to pass may be skipped here, and no others.
pub(crate) fn all(arguments: &[String], elsewhere: &Counts) -> Result<(), Failure> {
    kafka::fetch()?;
    let mut command = workspace(arguments);
    command.env(WITH_KAFKA, "1");
    nothing_skipped(&tests(&mut command, arguments, elsewhere)?)
}

fn workspace(arguments: &[String]) -> Command {
    let mut command = shell::cargo(&["test", "--workspace", "--no-fail-fast"]);
    command.args(kafka::features()).args(arguments);
    if std::env::var_os(THREADS).is_none() {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        command.env(THREADS, (processors * THREADS_PER_PROCESSOR).to_string());
    }
    command
}

/// Runs tests, which must pass, and says how many did.
fn tests(
    command: &mut Command,
    arguments: &[String],
    elsewhere: &Counts,
) -> Result<Counts, Failure> {
    build_programs()?;
    let mut counts = Counts::default();
    let status = counted(command, &mut counts)?;
    counts.passed_elsewhere(elsewhere);
    let python = match arguments {
        [] => python::test(&mut counts),
        _ => {
            println!("python: left out, as the arguments say which tests to run");
            Ok(())
        }
    };
    println!("{}", counts.summary());
    if !status.success() {
        return Err(Failure::Check(format!("`{}` failed: {status}", shell::line(command))));
    }
    python?;
    match counts.failed() {
        0 => Ok(counts),
        failed => Err(Failure::Check(format!("tests that failed: {failed}"))),
    }
}

/// Builds the programs: tests of whole processes start those that they find beside themselves.
///
/// They are chosen together with tests and without a package, since cargo compiles a crate once for
/// each set of features, and the set depends on what is chosen. So is a [`suite`].
pub(crate) fn build_programs() -> Result<(), Failure> {
    let chosen = ["build", "--locked", "--workspace", "--bins", "--test", "processes"];
    shell::run(shell::cargo(&chosen).args(kafka::features()))
}

/// A call of those tests of one suite of the workspace whose names begin like this.
pub(crate) fn suite(name: &str, tests: &str) -> Command {
    let mut command = shell::cargo(&["test", "--locked", "--workspace", "--test", name, tests]);
    command.args(kafka::features());
    command
}

/// Runs a command with tests to its end, passes on what it prints, and counts.
pub(crate) fn counted(command: &mut Command, counts: &mut Counts) -> Result<ExitStatus, Failure> {
    let child = command.stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| shell::cannot_start(command, &error))?;
    let mut count = |line: &str| counts.line(line);
    let copied = match child.stdout.take() {
        Some(stdout) => copy(BufReader::new(stdout), std::io::stdout(), &mut count),
        None => Ok(()),
    };
    let status = child.wait().map_err(|error| shell::cannot_start(command, &error))?;
    copied
        .map_err(|error| Failure::Machine(format!("cannot pass the tests' output on: {error}")))?;
    Ok(status)
}

/// Runs tests, which must pass.
pub(crate) fn pass(command: &mut Command, counts: &mut Counts) -> Result<(), Failure> {
    let status = counted(command, counts)?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::Check(format!("`{}` failed: {status}", shell::line(command)))),
    }
}

/// Where all tests are asked for, one that did not run has shown nothing. What a system denies,
/// such as a container, is counted and named all the same, but nobody could install it.
fn nothing_skipped(counts: &Counts) -> Result<(), Failure> {
    let denied = |skipped: &&String| skipped.contains(": denied: ");
    let (denials, skips): (Vec<_>, Vec<_>) = counts.skipped_names().iter().partition(denied);
    match counts.skipped() - denials.len() as u64 {
        0 => Ok(()),
        skipped => {
            let names: Vec<_> = skips.into_iter().map(String::as_str).collect();
            let names = names.join("; ");
            let text = format!("`{ALL}` asks for every test, and {skipped} were skipped: {names}");
            Err(Failure::Check(text))
        }
    }
}

/// Passes each line on as it comes, and counts.
pub(crate) fn copy(
    mut from: impl BufRead,
    mut to: impl Write,
    count: &mut dyn FnMut(&str),
) -> Result<(), std::io::Error> {
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        to.flush()?;
        count(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_all_are_asked_for_a_skipped_test_has_failed_and_is_named() {
        let mut counts = Counts::default();
        assert!(nothing_skipped(&counts).is_ok());
        counts.line("SKIPPED: another_test: denied: no memory group can be made");
        assert!(nothing_skipped(&counts).is_ok());
        counts.line("SKIPPED: a_test: java is not installed");
        let failure = nothing_skipped(&counts).unwrap_err().to_string();
        assert!(failure.contains("1 were skipped: a_test: java is not installed"), "{failure}");
    }

    #[test]
    fn each_line_is_passed_on_as_it_is_and_counted() {
        let (mut seen, mut copied) = (Vec::new(), Vec::new());
        let output = b"running 1 test\n\xFF\nlast without an end";
        copy(output.as_slice(), &mut copied, &mut |line: &str| seen.push(line.to_owned())).unwrap();
        assert_eq!(copied, output);
        assert_eq!(seen, ["running 1 test\n", "\u{FFFD}\n", "last without an end"]);
    }
}
