//! Where the project lies, how its tasks run other programs, and how they fail.

use std::env;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Why a task did not do what it was asked for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The user asked for something that does not exist.
    Usage(String),
    /// The project breaks one of its own rules, or a program that checks it says so.
    Check(String),
    /// This machine lacks something.
    Machine(String),
}

impl Failure {
    /// 2 for wrong usage, as in the `landfall` program, else 1.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Check(_) | Self::Machine(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(text) | Self::Check(text) | Self::Machine(text)) = self;
        f.write_str(text)
    }
}

/// Refuses arguments for a task that takes none.
pub(crate) fn no_arguments(task: &str, arguments: &[String]) -> Result<(), Failure> {
    match arguments.first() {
        None => Ok(()),
        Some(first) => Err(Failure::Usage(format!("`cargo xtask {task}` takes no `{first}`"))),
    }
}

/// The folder of the workspace.
pub(crate) fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// The folder that cargo builds into.
pub(crate) fn target() -> PathBuf {
    let chosen = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    root().join(chosen.unwrap_or_else(|| PathBuf::from("target")))
}

/// The cargo that runs this task, called in the workspace's folder with these arguments.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(arguments);
    without_our_package(&mut command);
    command
}

/// Takes out what `cargo run` says about this very package: some build scripts read these
/// variables and would be built again at each change between `cargo test` and `cargo xtask test`.
pub(crate) fn without_our_package(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
}

/// Runs a program to its end; what it prints goes where ours goes.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let status = command.status().map_err(|error| cannot_start(command, &error))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::Check(format!("`{}` failed: {status}", line(command))))
}

/// Runs a program to its end and returns what it printed; its errors go where ours go.
pub(crate) fn output(command: &mut Command) -> Result<String, Failure> {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| cannot_start(command, &error))?;
    if !output.status.success() {
        let text = format!("`{}` failed: {}", line(command), output.status);
        return Err(Failure::Check(text));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(crate) fn cannot_start(command: &Command, error: &io::Error) -> Failure {
    Failure::Machine(format!("cannot start `{}`: {error}; is it installed?", line(command)))
}

/// The command as a person would type it; the program without its folder.
pub(crate) fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Reads a file of the project as text.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::Machine(format!("cannot read {}: {error}", path.display())))
}
