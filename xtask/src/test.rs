//! `cargo xtask test`: every test of the workspace, and their number on the last line.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::Task;
use crate::shell::{self, Failure};

pub(crate) const TASK: Task = Task {
    name: "test",
    about: "run all tests; arguments go to `cargo test`, the last line counts the results",
    run,
};

fn run(arguments: &[String]) -> Result<(), Failure> {
    // Tests of whole processes start the programs that they find beside themselves.
    shell::run(&mut shell::cargo(&["build", "--workspace", "--bins"]))?;
    let mut command = shell::cargo(&["test", "--workspace", "--no-fail-fast"]);
    command.args(arguments).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| shell::cannot_start(&command, &error))?;
    let mut counts = Counts::default();
    let copied = match child.stdout.take() {
        Some(stdout) => copy(BufReader::new(stdout), std::io::stdout(), &mut counts),
        None => Ok(()),
    };
    let status = child.wait().map_err(|error| shell::cannot_start(&command, &error))?;
    copied
        .map_err(|error| Failure::Machine(format!("cannot pass the tests' output on: {error}")))?;
    println!("{}", counts.summary());
    if status.success() && counts.failed() == 0 {
        return Ok(());
    }
    Err(Failure::Check(format!("`{}` failed: {status}", shell::line(&command))))
}

/// Passes each line on as it comes, and counts.
fn copy(
    mut from: impl BufRead,
    mut to: impl Write,
    counts: &mut Counts,
) -> Result<(), std::io::Error> {
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        to.flush()?;
        counts.line(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok(())
}

/// What the result lines of all test programs add up to.
#[derive(Debug, Default)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// Tests that passed because the machine lacks what they need, and said so.
    skipped: u64,
    started: u64,
    finished: u64,
}

impl Counts {
    fn line(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(number) = line.strip_prefix("running ")
            && (number.ends_with(" tests") || number.ends_with(" test"))
        {
            self.started += 1;
        }
        // With one thread, it stands behind the name of the test.
        self.skipped += u64::from(line.contains("SKIPPED: "));
        let Some(result) = line.strip_prefix("test result: ") else { return };
        self.finished += 1;
        for part in result.split(['.', ';']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(what)) = (words.next(), words.next()) else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    /// Failed tests; a test program that died before its result line counts as one.
    fn failed(&self) -> u64 {
        self.failed + self.started.saturating_sub(self.finished)
    }

    fn summary(&self) -> String {
        let passed = self.passed.saturating_sub(self.skipped);
        let skipped = self.ignored + self.skipped;
        format!("{passed} passed, {} failed, {skipped} skipped", self.failed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(output: &str) -> String {
        let (mut counts, mut copied) = (Counts::default(), Vec::new());
        copy(output.as_bytes(), &mut copied, &mut counts).unwrap();
        assert_eq!(copied, output.as_bytes());
        counts.summary()
    }

    #[test]
    fn results_of_several_programs_add_up() {
        let output = "\nrunning 3 tests\ntest a ... ok\n\
            test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; \
            finished in 0.01s\n\nrunning 1 test\n\
            test result: FAILED. 40 passed; 2 failed; 5 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(counted(output), "43 passed, 2 failed, 6 skipped");
    }

    #[test]
    fn a_test_that_says_that_it_is_skipped_does_not_count_as_passed() {
        let output = "running 2 tests\ntest a ... ok\ntest b ... SKIPPED: b: no strace\nok\n\
            test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(counted(output), "1 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn a_program_that_died_counts_as_one_failure() {
        let output = "running 9 tests\nrunning 1 test\ntest result: ok. 1 passed; 0 failed; \
            0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(counted(output), "1 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn no_test_at_all_counts_as_zero() {
        assert_eq!(counted("nothing to see\n"), "0 passed, 0 failed, 0 skipped");
    }
}
