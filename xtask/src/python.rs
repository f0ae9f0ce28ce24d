//! The client for Python as a user gets it: a wheel, built and installed into an environment of its
//! own, whose tests speak to real nodes.
//!
//! What the machine lacks of Python is installed, by apt as root; the builder of the wheel and the
//! type checker come as Python packages. All of it lies in the target folder.

use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::counts::Counts;
use crate::shell::{self, Failure};
use crate::test::{build_programs, copy};
use crate::{Task, debian};

pub(crate) const TASK: Task = Task {
    name: "python",
    about: "build the wheel of the Python client, check its types, run its tests and the examples",
    run,
};

/// Where the client is.
const CLIENT: &str = "clients/python";
/// The folders with tests, all of Python's `unittest`.
const TESTS: [&str; 2] = ["clients/python/tests", "examples"];
/// What the builder of the wheel and the type checker must be at least.
const BUILDER: &str = "setuptools>=68";
const CHECKER: &str = "mypy>=1.8";

fn run(arguments: &[String]) -> Result<(), Failure> {
    shell::no_arguments(TASK.name, arguments)?;
    build_programs()?;
    let mut counts = Counts::default();
    let outcome = test(&mut counts);
    println!("{}", counts.summary());
    outcome
}

/// Builds, checks and tests; the program `landfall` is there already.
pub(crate) fn test(counts: &mut Counts) -> Result<(), Failure> {
    counts.begin();
    let folder = shell::target().join("python");
    let machine = |error| Failure::Machine(format!("cannot use {}: {error}", folder.display()));
    // What an earlier run left must not stand in for anything.
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(machine)?;
    }
    let source = folder.join("source");
    copy_folder(&shell::root().join(CLIENT), &source).map_err(machine)?;
    let tools = environment(&folder.join("tools"))?;
    pip(&tools, &["install", BUILDER, CHECKER], None)?;
    let wheels = folder.join("wheels");
    let to = wheels.to_string_lossy();
    // The builder is the one that was just installed, so that nothing else is fetched.
    pip(&tools, &["wheel", "--no-deps", "--no-build-isolation", "-w", &to], Some(&source))?;
    let user = environment(&folder.join("user"))?;
    pip(&user, &["install", "--no-index", "--no-deps"], Some(&wheel(&wheels)?))?;
    check_types(&tools, &user)?;
    counts.end_passed();
    let mut failed = Vec::new();
    for tests in TESTS {
        if !run_tests(&user, tests, counts)? {
            failed.push(tests);
        }
    }
    match failed.as_slice() {
        [] => Ok(()),
        failed => Err(Failure::Check(format!("tests of Python failed: {}", failed.join(", ")))),
    }
}

/// Runs the tests of a folder with what is installed; whether they passed.
fn run_tests(user: &Path, tests: &str, counts: &mut Counts) -> Result<bool, Failure> {
    let mut command = python(user);
    command.args(["-X", "dev", "-m", "unittest", "discover", "--verbose", "--start-directory"]);
    command.arg(tests);
    command.env("LANDFALL_PROGRAM", shell::target().join("debug/landfall"));
    command.stderr(Stdio::piped());
    counts.begin();
    let mut child = command.spawn().map_err(|error| shell::cannot_start(&command, &error))?;
    let mut count = |line: &str| counts.python_line(line);
    let copied = match child.stderr.take() {
        Some(stderr) => copy(BufReader::new(stderr), std::io::stderr(), &mut count),
        None => Ok(()),
    };
    let status = child.wait().map_err(|error| shell::cannot_start(&command, &error))?;
    copied
        .map_err(|error| Failure::Machine(format!("cannot pass the tests' output on: {error}")))?;
    Ok(status.success())
}

/// Checks the types of the package as it is installed, and of what uses it.
fn check_types(tools: &Path, user: &Path) -> Result<(), Failure> {
    let uses = ["clients/python/tests", "examples/speed-alarm", "examples/logbook"];
    let parts: [&[&str]; 4] = [&["--package", "landfall"], &uses[..1], &uses[1..2], &uses[2..]];
    for part in parts {
        let mut command = python(tools);
        command.args(["-m", "mypy", "--strict", "--python-executable"]);
        command.arg(user.join("bin/python")).arg("--cache-dir").arg(tools.join("mypy"));
        shell::run(command.args(part))?;
    }
    Ok(())
}

/// A fresh environment. Where Python or a part of it is missing, it is installed.
pub(crate) fn environment(path: &Path) -> Result<PathBuf, Failure> {
    let make = || {
        let mut command = Command::new("python3");
        command.args(["-m", "venv", "--clear"]).arg(path);
        shell::run(&mut command)
    };
    if make().is_err() {
        debian::install(&["python3", "python3-venv"])?;
        make()?;
    }
    Ok(path.to_owned())
}

/// Runs pip with these words and perhaps a path.
pub(crate) fn pip(environment: &Path, words: &[&str], path: Option<&Path>) -> Result<(), Failure> {
    let mut command = python(environment);
    command.args(["-m", "pip", "--disable-pip-version-check", "--quiet"]);
    shell::run(command.args(words).args(path))
}

/// The Python of an environment, called in the project's folder. It leaves nothing there.
fn python(environment: &Path) -> Command {
    let mut command = Command::new(environment.join("bin/python"));
    command.current_dir(shell::root()).env("PYTHONDONTWRITEBYTECODE", "1").env_remove("PYTHONPATH");
    command
}

/// The one wheel that was built.
fn wheel(folder: &Path) -> Result<PathBuf, Failure> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut wheels = entries.map(|entry| entry.path());
    match (wheels.next(), wheels.next()) {
        (Some(wheel), None) => Ok(wheel),
        _ => Err(Failure::Check(format!("there is not one wheel in {}", folder.display()))),
    }
}

/// The builder writes beside its source, which must stay as it is.
fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_folder(&path, &to)?;
        } else {
            std::fs::copy(&path, &to)?;
        }
    }
    Ok(())
}
