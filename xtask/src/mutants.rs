//! `cargo xtask sim --mutants`: breaks one line of a copy of the project at a time, and expects the
//! simulation to find it: first by power cuts in traces, then by fleets. A check that finds nothing
//! proves nothing, and one that finds something where nothing is broken neither, so that is
//! simulated first.

mod list;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::shell::{self, Failure};
use crate::stopwatch::Stopwatch;
use list::MUTANTS;

/// A line that is broken.
struct Mutant {
    /// What is broken, in a few words.
    name: &'static str,
    /// The file, from the project's folder.
    file: &'static str,
    /// What stands there, once.
    find: &'static str,
    /// What stands there instead.
    put: &'static str,
}

/// How long the simulation may look for each.
const ENOUGH: Duration = Duration::from_secs(60);
/// Power cuts that come first: those of the first seed, which take some seconds.
const CUTS: &str = "2000";

/// Runs all mutants, or those whose name has a word in it.
pub(crate) fn run(only: Option<&str>) -> Result<(), Failure> {
    let copy = shell::target().join("mutants");
    copy_project(&copy)?;
    let chosen: Vec<_> = MUTANTS
        .iter()
        .filter(|mutant| only.is_none_or(|word| mutant.name.contains(word)))
        .collect();
    if chosen.is_empty() {
        return Err(Failure::Usage("no mutant has that in its name".to_owned()));
    }
    if let Some(found) = simulate(&copy)? {
        return Err(Failure::Check(format!("nothing is broken yet, and still: {found}")));
    }
    println!("{:<66} holds, as it must", "nothing broken");
    let mut survivors = Vec::new();
    for mutant in &chosen {
        let found = mutant.is_found(&copy)?;
        println!("{:<66} {}", mutant.name, found.as_deref().unwrap_or("NOT found"));
        if found.is_none() {
            survivors.push(mutant.name);
        }
    }
    println!("{} of {} mutants found", chosen.len() - survivors.len(), chosen.len());
    if survivors.is_empty() {
        return Ok(());
    }
    Err(Failure::Check(format!("not found: {}", survivors.join(", "))))
}

impl Mutant {
    /// Breaks the line, and tells how the simulation found it, if it did. The line is whole again
    /// afterwards.
    fn is_found(&self, copy: &Path) -> Result<Option<String>, Failure> {
        let path = copy.join(self.file);
        let whole = shell::read(&path)?;
        write(&path, &self.broken(&whole)?)?;
        let outcome = simulate(copy);
        write(&path, &whole)?;
        outcome
    }

    fn broken(&self, whole: &str) -> Result<String, Failure> {
        match whole.matches(self.find).count() {
            1 => Ok(whole.replace(self.find, self.put)),
            times => {
                let text = "stands there {times} times, not once: adapt xtask/src/mutants/list.rs";
                let text = text.replace("{times}", &times.to_string());
                Err(Failure::Check(format!(
                    "{}: what it breaks in {} {text}",
                    self.name, self.file
                )))
            }
        }
    }
}

/// Builds the copy and simulates with it: how a seed found something, if one did.
fn simulate(copy: &Path) -> Result<Option<String>, Failure> {
    let mut cargo =
        shell::cargo(&["build", "--quiet", "--package", "landfall-simulation", "--bins"]);
    cargo.current_dir(copy).env("CARGO_TARGET_DIR", copy.join("target"));
    // Nobody looks into these programs with a debugger, and they would take gigabytes.
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_INCREMENTAL", "0");
    // What is broken leaves names unused.
    shell::run(cargo.env("RUSTFLAGS", "--allow warnings"))?;
    let (watch, programs) = (Stopwatch::start(), copy.join("target/debug"));
    let mut cuts = Command::new(programs.join("landfall-cuts"));
    cuts.args(["--seed", "1", "--cuts", CUTS]);
    let mut found = finding(&mut cuts)?.map(|said| format!("by a power cut: {said}"));
    if found.is_none() {
        let left = ENOUGH.saturating_sub(watch.elapsed()).as_secs().to_string();
        let mut fleets = Command::new(programs.join("landfall-sim"));
        fleets.args(["--seed", "1", "--seconds", &left, "--no-shrink"]);
        found = finding(&mut fleets)?.map(|said| format!("by a fleet: {said}"));
    }
    Ok(found.map(|found| format!("found in {} {found}", watch.text())))
}

/// Runs a program of the simulation: the line that tells what broke a rule, if anything did.
fn finding(program: &mut Command) -> Result<Option<String>, Failure> {
    let output = program.stdout(Stdio::null()).output();
    let output = output.map_err(|error| shell::cannot_start(program, &error))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let told = said.lines().find(|line| line.starts_with("seed ") || line.contains(".rs:"));
    match (output.status.code(), told) {
        (Some(1), Some(told)) => Ok(Some(told.to_owned())),
        // Without a place, nothing broke a rule: too few fleets were met for the counts, at most.
        (Some(0 | 1), None) => Ok(None),
        _ => Err(Failure::Check(format!("the simulation ended badly: {}: {said}", output.status))),
    }
}

/// Copies the files that belong to the project; what was built there before stays.
fn copy_project(copy: &Path) -> Result<(), Failure> {
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let files = shell::output(git.current_dir(shell::root()))?;
    for file in files.lines().map(PathBuf::from) {
        let (from, to) = (shell::root().join(&file), copy.join(&file));
        let Ok(content) = fs::read(&from) else { continue };
        if fs::read(&to).is_ok_and(|there| there == content) {
            continue;
        }
        let folder = to.parent().unwrap_or(copy);
        fs::create_dir_all(folder).map_err(|error| cannot_write(folder, &error))?;
        fs::write(&to, content).map_err(|error| cannot_write(&to, &error))?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Machine(format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_breaks_a_line_that_is_there() {
        for mutant in MUTANTS {
            let whole = shell::read(&shell::root().join(mutant.file)).unwrap();
            let broken = mutant.broken(&whole).unwrap();
            assert_ne!(broken, whole, "{}", mutant.name);
        }
    }
}
