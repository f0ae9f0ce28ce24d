//! `cargo xtask tidy`: the rules of the house that no compiler checks.
//!
//! Every offence is printed as `file:line: rule: what, and what to do`. There are no exceptions
//! but those that a rule names itself.

mod code_map;
mod items;
mod mask;
mod names;
mod shape;
mod source;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Task;
use crate::shell::{self, Failure};
use source::Source;

pub(crate) const TASK: Task =
    Task { name: "tidy", about: "check sizes, order and forbidden names in all sources", run };

/// A place that breaks a rule.
#[derive(Debug, Eq, PartialEq)]
struct Offence {
    path: String,
    /// Counted from 1.
    line: usize,
    rule: &'static str,
    /// What is wrong and what to do.
    text: String,
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.text)
    }
}

fn run(arguments: &[String]) -> Result<(), Failure> {
    shell::no_arguments(TASK.name, arguments)?;
    let mut paths = Vec::new();
    walk(shell::root(), &mut paths)?;
    paths.sort();
    let (mut offences, mut sources) = (Vec::new(), Vec::new());
    for path in &paths {
        let name = path.strip_prefix(shell::root()).unwrap_or(path).display().to_string();
        let text = shell::read(path)?;
        names::forbidden_words(&name, &text, &mut offences);
        if name.ends_with(".rs") {
            sources.push(Source::new(name, text));
        }
    }
    for source in &sources {
        shape::check(source, &mut offences);
        names::check(source, &mut offences);
    }
    let map = shell::root().join("ARCHITECTURE.md");
    if map.exists() {
        code_map::check(&shell::read(&map)?, &sources, &mut offences);
    }
    for offence in &offences {
        println!("{offence}");
    }
    if offences.is_empty() {
        println!("{} Rust files are tidy", sources.len());
        return Ok(());
    }
    Err(Failure::Check(format!("places that break a rule: {}", offences.len())))
}

/// Finds every text that people write: Rust, Markdown, TOML and shell.
fn walk(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let cannot = |error| Failure::Machine(format!("cannot list {}: {error}", folder.display()));
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if entry.file_type().map_err(cannot)?.is_dir() {
            if ![".git", "target"].contains(&&*name) {
                walk(&path, paths)?;
            }
        } else if written_by_people(&path) {
            paths.push(path);
        }
    }
    Ok(())
}

fn written_by_people(path: &Path) -> bool {
    let kinds = ["rs", "md", "toml", "sh", "x"];
    path.extension().is_some_and(|kind| kinds.iter().any(|known| kind == *known))
        || path.ends_with(".ci/run")
}
