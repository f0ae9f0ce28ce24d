//! How many tests passed, failed and were skipped, from what the test programs print.

/// What the result lines of all test programs add up to.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// Tests that passed because they lack what they need, and said so.
    skipped: Vec<String>,
    /// Names of tests that passed, as their programs print them.
    names: Vec<String>,
    started: u64,
    finished: u64,
}

impl Counts {
    /// Takes note of a line of `cargo test`.
    pub(crate) fn line(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(number) = line.strip_prefix("running ")
            && (number.ends_with(" tests") || number.ends_with(" test"))
        {
            self.started += 1;
        }
        // With one thread, it stands behind the name of the test.
        self.skipped.extend(line.split_once("SKIPPED: ").map(|(_, rest)| rest.to_owned()));
        let test = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... ok"));
        self.names.extend(test.map(str::to_owned));
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

    /// Takes note of a line of Python's `unittest`.
    pub(crate) fn python_line(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(rest) = line.strip_prefix("Ran ") {
            let ran = rest.split(' ').next().and_then(|number| number.parse::<u64>().ok());
            self.passed += ran.unwrap_or(0);
            self.finished += 1;
        }
        let result = line.strip_prefix("OK").or(line.strip_prefix("FAILED"));
        let Some(numbers) = result.and_then(|rest| rest.strip_prefix(" (")) else { return };
        for part in numbers.trim_end_matches(')').split(", ") {
            let Some((what, number)) = part.split_once('=') else { continue };
            let number = number.parse().unwrap_or(0);
            // All of them were among those that ran.
            self.passed = self.passed.saturating_sub(number);
            match what {
                "skipped" => self.ignored += number,
                "expected failures" => self.passed += number,
                _ => self.failed += number,
            }
        }
    }

    /// A program with tests begins, which tells its result at its end.
    pub(crate) fn begin(&mut self) {
        self.started += 1;
    }

    /// What began was no test program, and has passed.
    pub(crate) fn end_passed(&mut self) {
        self.finished += 1;
        self.passed += 1;
    }

    /// Failed tests; a test program that died before its result line counts as one.
    pub(crate) fn failed(&self) -> u64 {
        self.failed + self.started.saturating_sub(self.finished)
    }

    /// All on one line.
    pub(crate) fn summary(&self) -> String {
        let passed = self.passed.saturating_sub(self.skipped.len() as u64);
        format!("{passed} passed, {} failed, {} skipped", self.failed(), self.skipped())
    }

    /// What was skipped here and has passed in another run was not skipped. It is not counted
    /// twice.
    pub(crate) fn passed_elsewhere(&mut self, other: &Self) {
        let passed = |skipped: &String| {
            let (test, _) = skipped.split_once(": ").unwrap_or((skipped, ""));
            let of_module = format!("::{test}");
            other.names.iter().any(|name| name == test || name.ends_with(&of_module))
                && !other.skipped.contains(skipped)
        };
        self.skipped.retain(|skipped| !passed(skipped));
    }

    /// Tests that did not run.
    pub(crate) fn skipped(&self) -> u64 {
        self.ignored + self.skipped.len() as u64
    }

    /// Those of them that said so, each with its reason.
    pub(crate) fn skipped_names(&self) -> &[String] {
        &self.skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(output: &str) -> String {
        let mut counts = Counts::default();
        output.lines().for_each(|line| counts.line(line));
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
    fn what_another_run_has_shown_was_not_skipped_and_counts_once() {
        let of = |output: &str| {
            let mut counts = Counts::default();
            output.lines().for_each(|line| counts.line(line));
            counts
        };
        let mut counts = of("running 3 tests\nSKIPPED: a: no firmware\nSKIPPED: b: no firmware\n\
            SKIPPED: c: no firmware\ntest x::a ... ok\ntest x::b ... ok\ntest c ... ok\n\
            test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n");
        counts.passed_elsewhere(&of("test y::a ... ok\ntest y::ab ... ok\n\
            test y::c ... ok\nSKIPPED: c: no firmware\n"));
        assert_eq!(counts.summary(), "1 passed, 0 failed, 2 skipped");
        assert_eq!(counts.skipped_names(), ["b: no firmware", "c: no firmware"]);
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

    #[test]
    fn results_of_python_add_up_and_one_that_died_failed() {
        let counted = |output: &str| {
            let mut counts = Counts::default();
            counts.begin();
            output.lines().for_each(|line| counts.python_line(line));
            counts.summary()
        };
        assert_eq!(counted("Ran 31 tests in 68.783s\n\nOK\n"), "31 passed, 0 failed, 0 skipped");
        let mixed = "Ran 9 tests in 1.0s\n\nFAILED (failures=1, errors=2, skipped=3)\n";
        assert_eq!(counted(mixed), "3 passed, 3 failed, 3 skipped");
        assert_eq!(counted("Ran 2 tests in 1s\nOK (skipped=1)"), "1 passed, 0 failed, 1 skipped");
        assert_eq!(counted("test_a (t.T) ... ok"), "0 passed, 1 failed, 0 skipped");
    }
}
