//! What a file must look like: its opening, lengths and order.

use super::Offence;
use super::items;
use super::source::Source;

const COLUMNS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;

pub(super) fn check(source: &Source, offences: &mut Vec<Offence>) {
    opening(source, offences);
    columns(source, offences);
    functions(source, offences);
    file_length(source, offences);
    tests_last(source, offences);
}

fn opening(source: &Source, offences: &mut Vec<Offence>) {
    if !source.text.starts_with("//!") {
        let text = "the file does not open with `//!`; say what it holds, and its invariants";
        offences.push(source.offence(1, "opening", text.to_owned()));
    }
}

fn columns(source: &Source, offences: &mut Vec<Offence>) {
    for (number, line) in (1..).zip(source.text.lines()) {
        let columns = line.chars().count();
        if columns > COLUMNS_MAX {
            let text = format!("{columns} columns, at most {COLUMNS_MAX}; break the line");
            offences.push(source.offence(number, "columns", text));
        }
    }
}

fn functions(source: &Source, offences: &mut Vec<Offence>) {
    for (name, lines) in items::functions(&source.code) {
        let count = lines.count();
        if count > FUNCTION_LINES_MAX {
            let text = format!(
                "`fn {name}` has {count} lines, at most {FUNCTION_LINES_MAX}; \
                 move steps into functions with names"
            );
            offences.push(source.offence(lines.first, "function-length", text));
        }
    }
}

fn file_length(source: &Source, offences: &mut Vec<Offence>) {
    let tests = source.tests.map_or(0, |(lines, _)| lines.count());
    let count = source.text.lines().count() - tests;
    if !source.is_test() && count > FILE_LINES_MAX {
        let text = format!(
            "{count} lines without tests, at most {FILE_LINES_MAX}; \
             move one idea into a module of its own"
        );
        offences.push(source.offence(1, "file-length", text));
    }
}

fn tests_last(source: &Source, offences: &mut Vec<Offence>) {
    if let Some((lines, true)) = source.tests {
        let text = "code follows `mod tests`; move the tests to the end of the file";
        offences.push(source.offence(lines.last, "tests-last", text.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<(usize, &'static str)> {
        let mut offences = Vec::new();
        check(&Source::new("agent/src/x.rs".to_owned(), text.to_owned()), &mut offences);
        offences.iter().map(|offence| (offence.line, offence.rule)).collect()
    }

    #[test]
    fn a_tidy_file_passes() {
        let text = "//! X.\n\nfn a() {}\n\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
        assert_eq!(rules(text), []);
    }

    #[test]
    fn the_opening_and_long_lines_are_found() {
        let long = format!("// {}\n", "ö".repeat(98));
        assert_eq!(rules(&long), [(1, "opening"), (1, "columns")]);
        assert_eq!(rules(&format!("//! {}\n", "ö".repeat(96))), []);
    }

    #[test]
    fn a_function_of_71_lines_is_too_long_and_one_of_70_is_not() {
        let function = |lines: usize| format!("//! X.\nfn a() {{\n{}}}\n", "b();\n".repeat(lines));
        assert_eq!(rules(&function(68)), []);
        assert_eq!(rules(&function(69)), [(2, "function-length")]);
    }

    #[test]
    fn tests_do_not_count_as_lines_of_a_file() {
        let file = |own: usize, tests: usize| {
            let (own, tests) = ("//! X.\n".repeat(own), "// x\n".repeat(tests));
            format!("{own}#[cfg(test)]\nmod tests {{\n{tests}}}\n")
        };
        assert_eq!(rules(&file(500, 900)), []);
        assert_eq!(rules(&file(501, 0)), [(1, "file-length")]);
    }

    #[test]
    fn code_behind_the_tests_is_found() {
        assert_eq!(rules("//! X.\nmod tests {\n}\nfn a() {}\n"), [(3, "tests-last")]);
    }
}
