//! What the program says of its commands: its own help texts, which its tests hold against what it
//! takes. Completions and manual pages are made of nothing else.

use std::process::Command;

use crate::shell::{self, Failure};

/// The program and its commands.
pub(super) struct Manual {
    pub(super) program: Page,
    pub(super) commands: Vec<Page>,
}

/// A help text, taken apart.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Page {
    /// What is typed behind `landfall`; empty for the program itself.
    pub(super) name: String,
    /// What it does, in a line.
    pub(super) about: String,
    /// How it is called, one line each.
    pub(super) usage: Vec<String>,
    /// Paragraphs as they stand there, in order.
    pub(super) text: Vec<String>,
    pub(super) options: Vec<Opt>,
}

/// An option of a command.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Opt {
    /// `--name`.
    pub(super) name: String,
    /// What the help calls its value; empty if it takes none.
    pub(super) value: String,
    pub(super) about: String,
}

impl Opt {
    /// Whether its value is a file or a folder.
    pub(super) fn takes_path(&self) -> bool {
        ["DIR", "FILE", "PATH"].iter().any(|kind| self.value.starts_with(kind))
    }
}

impl Manual {
    /// Asks a program for all its help texts; `words` run it.
    pub(super) fn of(words: &[String]) -> Result<Self, Failure> {
        let none = || Failure::Check("`landfall --help` names no commands".to_owned());
        let program = page("", &help(words, &[])?.ok_or_else(none)?)?;
        let mut commands = Vec::new();
        for name in program.text.iter().flat_map(|text| names(text)) {
            // What a build lacks it does not explain.
            if let Some(help) = help(words, &[&name])? {
                commands.push(page(&name, &help)?);
            }
        }
        if commands.is_empty() { Err(none()) } else { Ok(Self { program, commands }) }
    }
}

/// What the program prints; none if it has no such command.
fn help(words: &[String], command: &[&str]) -> Result<Option<String>, Failure> {
    let mut call = Command::new(&words[0]);
    let output = call.args(&words[1..]).args(command).arg("--help").output();
    let output = output.map_err(|error| shell::cannot_start(&call, &error))?;
    match output.status.code() {
        Some(0) => Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned())),
        Some(2) => Ok(None),
        _ => Err(Failure::Check(format!("`{}` failed: {}", shell::line(&call), output.status))),
    }
}

/// The commands of a paragraph that lists them, two blanks before each.
fn names(text: &str) -> impl Iterator<Item = String> {
    let name = |line: &str| {
        let word = line.strip_prefix("  ")?.split(' ').next()?;
        let plain = !word.is_empty() && word.chars().all(|letter| letter.is_ascii_lowercase());
        plain.then(|| word.to_owned())
    };
    text.lines().filter_map(name)
}

fn page(name: &str, help: &str) -> Result<Page, Failure> {
    let mut paragraphs = help.split("\n\n").map(|text| text.trim_end_matches('\n'));
    let about = paragraphs.next().unwrap_or_default().to_owned();
    let mut page = Page { name: name.to_owned(), about, ..Page::default() };
    for paragraph in paragraphs {
        if let Some(usage) = paragraph.strip_prefix("Usage: ") {
            page.usage = usage.lines().map(|line| line.trim().to_owned()).collect();
        } else if let Some(list) = paragraph.strip_prefix("Options:\n") {
            page.options = options(list);
        } else {
            page.text.push(paragraph.to_owned());
        }
    }
    if page.about.is_empty() || page.usage.is_empty() || page.options.is_empty() {
        let text = format!("`landfall {name} --help` has no first line, usage or options");
        return Err(Failure::Check(text));
    }
    Ok(page)
}

/// Reads a list of options, each with what is said of it on its line and on those behind it.
fn options(list: &str) -> Vec<Opt> {
    let mut options: Vec<Opt> = Vec::new();
    for line in list.lines() {
        let text = line.trim_start();
        if !text.starts_with("--") {
            if let Some(last) = options.last_mut() {
                last.about = format!("{} {text}", last.about);
            }
            continue;
        }
        let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
        // A value stands one blank behind the name, and what is said two or more, or one if the
        // value is long.
        let (value, about) = match rest.strip_prefix(' ') {
            Some(about) => ("", about),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        let (name, value, about) = (name.to_owned(), value.to_owned(), about.trim().to_owned());
        options.push(Opt { name, value, about });
    }
    options
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const HELP: &str = "\
Read a topic

Usage: landfall read --data DIR TOPIC [OPTION…]
       landfall read --data DIR --list

Reads all. `--max 5` is
not five's.

Options:
  --data DIR         The node's directory
  --min-position P Wait until what is
                     at P has come
  --follow           Wait for more
  --help             Show this
";

    /// A manual of two commands.
    pub(in crate::package) fn small() -> Manual {
        let program = "Landfall: a log\n\nUsage: landfall COMMAND\n\n  read     Read\n  run      \
                       Run\n\nOptions:\n  --help       Show this\n  --version    Tell it\n";
        let run = "Run it\n\nUsage: landfall run\n\nOptions:\n  --config FILE    Its own\n";
        let commands = vec![page("read", HELP).unwrap(), page("run", run).unwrap()];
        Manual { program: page("", program).unwrap(), commands }
    }

    #[test]
    fn a_help_text_is_taken_apart() {
        let read = page("read", HELP).unwrap();
        assert_eq!(read.about, "Read a topic");
        let usage = ["landfall read --data DIR TOPIC [OPTION…]", "landfall read --data DIR --list"];
        assert_eq!(read.usage, usage);
        assert_eq!(read.text, ["Reads all. `--max 5` is\nnot five's."]);
        let options: Vec<_> = read.options.iter().map(|o| (&*o.name, &*o.value)).collect();
        let known = [("--data", "DIR"), ("--min-position", "P"), ("--follow", ""), ("--help", "")];
        assert_eq!(options, known);
        assert_eq!(read.options[1].about, "Wait until what is at P has come");
        assert!(read.options[0].takes_path() && !read.options[1].takes_path());
    }

    #[test]
    fn the_commands_are_those_that_the_program_lists() {
        let program = small().program;
        let found: Vec<_> = program.text.iter().flat_map(|text| names(text)).collect();
        assert_eq!(found, ["read", "run"]);
    }

    #[test]
    fn a_text_of_another_form_is_an_error() {
        assert!(page("x", "Does x\n\nUsage: landfall x\n").is_err());
    }
}
