//! Names that may not appear: at all, outside of their place, or in tests.

use super::Offence;
use super::items::{line_of, words};
use super::mask::is_word;
use super::source::Source;

/// The files that may ask the operating system for time and randomness.
const OUTSIDE: [&str; 4] = [
    "agent/src/clock.rs",
    "agent/src/entropy.rs",
    "tests/simulation/src/clock.rs",
    "xtask/src/stopwatch.rs",
];

/// What asks the operating system for time or randomness.
const IMPURE: [&str; 6] =
    ["Instant::now", "SystemTime::now", "getrandom", "thread_rng", "OsRng", "SystemRandom"];

const UNFINISHED: [&str; 3] = ["todo", "unimplemented", "dbg"];

const NUMBERS: [&str; 14] = [
    "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize", "f32",
    "f64",
];

/// Paths of one machine and hosts of package registries; in pieces, so as not to find themselves.
const FORBIDDEN: [&str; 8] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/tmp", "/wt"),
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("npmjs", ".org"),
    concat!("npmjs", ".com"),
    concat!("proxy.golang", ".org"),
];

/// What a merge leaves where two sides differ.
const MERGE: [&str; 2] = [concat!("<<<<", "<<< "), concat!(">>>>", ">>> ")];

pub(super) fn check(source: &Source, offences: &mut Vec<Offence>) {
    unfinished(source, offences);
    impure(source, offences);
    sleeping_tests(source, offences);
    number_aliases(source, offences);
}

/// Checks any text of the project, comments and strings too.
pub(super) fn forbidden_words(path: &str, text: &str, offences: &mut Vec<Offence>) {
    for (number, line) in (1..).zip(text.lines()) {
        if MERGE.iter().any(|marker| line.starts_with(marker)) {
            let text = "a merge was left half done; decide for one side".to_owned();
            offences.push(Offence { path: path.to_owned(), line: number, rule: "merge", text });
        }
        for word in FORBIDDEN.iter().filter(|word| names(line, word)) {
            let text = format!("`{word}` belongs to one machine or registry; leave it out");
            let (path, rule) = (path.to_owned(), "forbidden-word");
            offences.push(Offence { path, line: number, rule, text });
        }
    }
}

/// Whether a line has the word, and not as the end of a longer name or path.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| is_word(c) || (word.starts_with('/') && ".-}".contains(c)))
    })
}

fn unfinished(source: &Source, offences: &mut Vec<Offence>) {
    for word in UNFINISHED {
        for at in words(&source.code, word) {
            if source.code[at + word.len()..].starts_with('!') {
                let text = format!("`{word}!` is unfinished work; finish it or take it out");
                offences.push(source.offence(line_of(&source.code, at), "unfinished", text));
            }
        }
    }
    for (at, _) in source.code.match_indices("#[ignore") {
        let text = "an ignored test proves nothing; repair it or take it out".to_owned();
        offences.push(source.offence(line_of(&source.code, at), "ignored-test", text));
    }
}

fn impure(source: &Source, offences: &mut Vec<Offence>) {
    if OUTSIDE.contains(&source.path.as_str()) {
        return;
    }
    for word in IMPURE {
        for at in words(&source.code, word) {
            let text = format!("`{word}` asks the system; take the value from {}", OUTSIDE[0]);
            let text = if word.ends_with("now") { text } else { text.replace("clock", "entropy") };
            offences.push(source.offence(line_of(&source.code, at), "impure", text));
        }
    }
}

fn sleeping_tests(source: &Source, offences: &mut Vec<Offence>) {
    let helpers = source.path.starts_with("tests/");
    for at in words(&source.code, "sleep") {
        let line = line_of(&source.code, at);
        let called = source.code[at + "sleep".len()..].trim_start().starts_with('(');
        if called && (helpers || source.is_test_line(line)) {
            let text = "a test sleeps; wait for the event that it expects".to_owned();
            offences.push(source.offence(line, "sleeping-test", text));
        }
    }
}

fn number_aliases(source: &Source, offences: &mut Vec<Offence>) {
    for at in words(&source.code, "type") {
        let statement = source.code[at..].split(';').next().unwrap_or_default();
        let Some((name, number)) = statement.split_once('=') else { continue };
        let line_start = source.code[..at].rfind('\n').map_or(0, |end| end + 1);
        let public = source.code[line_start..at].trim_start().starts_with("pub");
        if public && NUMBERS.contains(&number.trim()) {
            let text =
                format!("`{}` is only a number's other name; make it a newtype", name.trim());
            offences.push(source.offence(line_of(&source.code, at), "number-alias", text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<(usize, &'static str)> {
        let mut offences = Vec::new();
        check(&Source::new(path.to_owned(), text.to_owned()), &mut offences);
        offences.iter().map(|offence| (offence.line, offence.rule)).collect()
    }

    #[test]
    fn unfinished_work_is_found_in_code_only() {
        let text = "// todo!() \"\nfn a() { todo!() }\nlet s = \"dbg!\";\nmy_dbg!(1); dbg!(2);\n";
        assert_eq!(rules("agent/src/a.rs", text), [(2, "unfinished"), (4, "unfinished")]);
        assert_eq!(rules("agent/tests/a.rs", "#[ignore = \"slow\"]\n"), [(1, "ignored-test")]);
    }

    #[test]
    fn only_the_named_files_ask_for_time_and_randomness() {
        let text = "let a = Instant::now();\nlet b = time::SystemTime::now();\ngetrandom(c);\n";
        let found = [(1, "impure"), (2, "impure"), (3, "impure")];
        assert_eq!(rules("node/src/sender.rs", text), found);
        assert_eq!(rules("agent/src/clock.rs", text), []);
        assert_eq!(rules("agent/src/a.rs", "MyInstant::now_or_never()"), []);
    }

    #[test]
    fn tests_may_not_sleep_and_the_agent_may() {
        let text = "fn a() {\n    sleep(b);\n}\nmod tests {\n    fn c() {\n        t::sleep (d);\n\
            sleep_until(e); }\n}\n";
        assert_eq!(rules("agent/src/a.rs", text), [(6, "sleeping-test")]);
        assert_eq!(rules("tests/simulation/src/world.rs", "sleep(x)"), [(1, "sleeping-test")]);
    }

    #[test]
    fn a_public_alias_of_a_number_is_found() {
        let text = "pub type Offset = u64;\n    pub(crate) type Seq =\n        u32;\n\
            type Own = u8;\npub type Good = Vec<u8>;\nimpl X { type Item = u8; }\n";
        assert_eq!(rules("no_std-core/src/a.rs", text), [(1, "number-alias"), (2, "number-alias")]);
    }

    #[test]
    fn machine_paths_and_registry_hosts_are_found_in_any_text() {
        let (folder, host) = (FORBIDDEN[0], FORBIDDEN[3]);
        let text = format!("fine\nin {folder}x\nsome{folder}x\nhttps://{host}/y\nmy{host}\n");
        let mut offences = Vec::new();
        forbidden_words("README.md", &text, &mut offences);
        assert_eq!(offences.iter().map(|offence| offence.line).collect::<Vec<_>>(), [2, 4]);
    }

    #[test]
    fn what_a_merge_left_is_found() {
        let text = format!("fine\n{}HEAD\none\n=======\nother\n{}main\n", MERGE[0], MERGE[1]);
        let mut offences = Vec::new();
        forbidden_words("README.md", &text, &mut offences);
        assert_eq!(offences.iter().map(|offence| offence.line).collect::<Vec<_>>(), [2, 6]);
    }
}
