//! `cross/targets.toml`: for which machines the agent is built, and what is promised there.
//!
//! A section is a target, and each of its lines `name = "text"`.

use crate::shell::{self, Failure};

/// What a section says, in the order of the list.
const KEYS: [&str; 4] = ["machines", "built", "tested", "promised"];

/// All targets, in the order of the file.
pub(crate) struct Targets(Vec<Target>);

#[derive(Debug, Default, Eq, PartialEq)]
struct Target {
    triple: String,
    /// One for each of [`KEYS`].
    texts: [String; KEYS.len()],
}

impl Targets {
    /// Reads the file.
    pub(crate) fn read() -> Result<Self, Failure> {
        Self::parse(&shell::read(&shell::root().join("cross/targets.toml"))?)
    }

    fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |what: String| Failure::Check(format!("cross/targets.toml: {what}"));
        let mut targets = Vec::new();
        let lines = text.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(triple) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                targets.push(Target { triple: triple.to_owned(), ..Target::default() });
                continue;
            }
            let said = targets.last_mut().zip(said(line));
            let Some((target, (key, text))) = said else {
                return Err(wrong(format!("`{line}` is not `name = \"text\"` of a target")));
            };
            target.texts[key] = text.to_owned();
        }
        for target in &targets {
            let missing = KEYS.iter().zip(&target.texts).find(|(_, text)| text.is_empty());
            if let Some((key, _)) = missing {
                return Err(wrong(format!("[{}] does not say what is `{key}`", target.triple)));
            }
        }
        Ok(Self(targets))
    }

    /// Whether it says what is promised for a target.
    pub(crate) fn has(&self, triple: &str) -> bool {
        self.0.iter().any(|target| target.triple == triple)
    }

    /// All of it for people.
    pub(crate) fn list(&self) -> String {
        let section = |target: &Target| {
            let lines = KEYS.iter().zip(&target.texts);
            let lines: String = lines.map(|(key, text)| format!("  {key:<10}{text}\n")).collect();
            format!("{}\n{lines}", target.triple)
        };
        self.0.iter().map(section).collect::<Vec<_>>().join("\n")
    }
}

/// Which of [`KEYS`] a line has, and its text.
fn said(line: &str) -> Option<(usize, &str)> {
    let (key, text) = line.split_once('=')?;
    let text = text.trim().strip_prefix('"')?.strip_suffix('"')?;
    let key = KEYS.iter().position(|known| *known == key.trim())?;
    (!text.is_empty()).then_some((key, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str =
        "[one]\nmachines = \"a\"\nbuilt = \"b\"\ntested = \"c\"\npromised = \"d\"\n";

    #[test]
    fn a_target_says_what_is_built_tested_and_promised() {
        let targets = Targets::parse(&format!("# why\n{WHOLE}\n")).unwrap();
        assert!(targets.has("one") && !targets.has("two"));
        let list = "one\n  machines  a\n  built     b\n  tested    c\n  promised  d\n";
        assert_eq!(targets.list(), list);
    }

    #[test]
    fn what_is_left_out_or_unknown_is_named() {
        let cases = [
            (WHOLE.replace("tested", "# tested"), "[one] does not say what is `tested`"),
            (WHOLE.replace("tested", "proved"), "`proved = \"c\"`"),
            (WHOLE.replace("\"c\"", "c"), "`tested = c`"),
            ("built = \"b\"".to_owned(), "of a target"),
        ];
        for (text, expected) in cases {
            let Err(Failure::Check(text)) = Targets::parse(&text) else { panic!("{expected}") };
            assert!(text.contains(expected), "{text}");
        }
    }
}
