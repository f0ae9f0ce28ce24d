//! A Rust file as the rules see it.

use super::Offence;
use super::items::{self, Lines};
use super::mask::mask;

/// A file with its code apart from its comments and strings.
pub(super) struct Source {
    /// From the workspace's folder, with `/`.
    pub(super) path: String,
    pub(super) text: String,
    /// The text without comments and literals; same lines.
    pub(super) code: String,
    /// The inline module `tests`, and whether code follows it.
    pub(super) tests: Option<(Lines, bool)>,
}

impl Source {
    pub(super) fn new(path: String, text: String) -> Self {
        let code = mask(&text);
        let tests = items::tests_module(&code);
        Self { path, text, code, tests }
    }

    /// Whether the whole file is only compiled for tests.
    pub(super) fn is_test(&self) -> bool {
        let inner = self.path.split_once('/').map_or("", |(_, inner)| inner);
        inner.starts_with("tests/")
            || inner.contains("/tests/")
            || inner.ends_with("/tests.rs")
            || self.code.contains("#![cfg(test)]")
    }

    /// Whether a line, counted from 1, is only compiled for tests.
    pub(super) fn is_test_line(&self, line: usize) -> bool {
        self.is_test() || self.tests.is_some_and(|(tests, _)| tests.contains(line))
    }

    pub(super) fn offence(&self, line: usize, rule: &'static str, text: String) -> Offence {
        Offence { path: self.path.clone(), line, rule, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_files_are_known_by_their_place() {
        let is_test = |path: &str| Source::new(path.to_owned(), "//! X\n".to_owned()).is_test();
        assert!(is_test("agent/tests/cli.rs"));
        assert!(is_test("tests/tests/process.rs"));
        assert!(is_test("no_std-core/src/journal/tests.rs"));
        assert!(is_test("node/src/tests/resume.rs"));
        assert!(!is_test("tests/simulation/src/world.rs"));
        assert!(!is_test("agent/src/main.rs"));
    }
}
