//! `cargo xtask test`: every test of the workspace, and their number on the last line.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitStatus, Stdio};

use crate::counts::Counts;
use crate::shell::{self, Failure};
use crate::{Task, firmware, kafka, python};

pub(crate) const TASK: Task = Task {
    name: "test",
    about: "run all tests; the last line counts the results. --all: those with a real Kafka and \
            with the firmware, too, and what is skipped has failed. Further arguments go to \
            `cargo test`, and the Python client is left out",
    run,
};

/// Asks for every test, whatever the machine must have for it.
const ALL: &str = "--all";

fn run(arguments: &[String]) -> Result<(), Failure> {
    let (all, arguments) = match arguments {
        [first, rest @ ..] if first == ALL => (true, rest),
        _ => (false, arguments),
    };
    let mut elsewhere = Counts::default();
    if all {
        // Tests that run at the same time must not all begin to fetch it.
        kafka::fetch()?;
        firmware::test(&mut elsewhere)?;
    }
    // Tests of whole processes start the programs that they find beside themselves.
    shell::run(&mut shell::cargo(&["build", "--workspace", "--bins"]))?;
    let mut command = shell::cargo(&["test", "--workspace", "--no-fail-fast"]);
    command.args(arguments);
    if all {
        command.env("TEST_KAFKA", "1");
    }
    let mut counts = Counts::default();
    let status = counted(&mut command, &mut counts)?;
    counts.passed_elsewhere(&elsewhere);
    let python = match arguments {
        [] => python::test(&mut counts),
        _ => {
            println!("python: left out, as the arguments say which tests to run");
            Ok(())
        }
    };
    println!("{}", counts.summary());
    if !status.success() {
        return Err(Failure::Check(format!("`{}` failed: {status}", shell::line(&command))));
    }
    python?;
    match counts.failed() {
        0 if all => nothing_skipped(&counts),
        0 => Ok(()),
        failed => Err(Failure::Check(format!("tests that failed: {failed}"))),
    }
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

/// Where all tests are asked for, one that did not run has shown nothing.
fn nothing_skipped(counts: &Counts) -> Result<(), Failure> {
    match counts.skipped() {
        0 => Ok(()),
        skipped => Err(Failure::Check(format!(
            "`{ALL}` asks for every test, and {skipped} were skipped: {}",
            counts.skipped_names().join("; ")
        ))),
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
