//! System calls that kill, fail or wait, by strace.
//!
//! strace counts the calls of each thread by itself, from when it came to it.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr};

use crate::process::{PATIENCE, Program};

/// What is to happen, and to which call.
#[derive(Clone, Copy, Debug)]
pub struct Injection<'a> {
    /// The system call.
    pub call: &'a str,
    /// What happens to it, as strace says it: `signal=SIGKILL`, `error=EIO`, `delay_enter=300000`.
    pub what: &'a str,
    /// The first call that it happens to, counted from 1; if none, it happens to all.
    pub when: Option<u32>,
}

impl Injection<'_> {
    /// A program under strace, which notes in `trace` what it does.
    pub fn program(&self, program: &Program, trace: &Path) -> Program {
        program.under([vec!["strace".to_owned()], self.words(trace)].concat())
    }

    /// Attaches strace to a process that runs. It goes with the value, and the process stays.
    ///
    /// # Errors
    /// It can't be attached.
    pub async fn attach(&self, process: u32, trace: PathBuf) -> io::Result<Attached> {
        // An old trace would tell of an old injection.
        let _ = fs::remove_file(&trace);
        let mut command = tokio::process::Command::new("strace");
        command.args(self.words(&trace)).args(["-p", &process.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        let told = child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut lines = BufReader::new(told).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await??.unwrap_or_default();
        if !line.contains("attached") {
            return Err(io::Error::other(format!("strace is not attached: {line}")));
        }
        Ok(Attached { child, trace, _told: lines })
    }

    fn words(&self, trace: &Path) -> Vec<String> {
        let Self { call, what, .. } = self;
        let when = self.when.map_or(String::new(), |when| format!(":when={when}"));
        let inject = format!("inject={call}:{what}{when}");
        let trace_call = format!("trace={call}");
        let trace = trace.to_string_lossy();
        ["-f", "-o", &trace, "-e", "signal=none", "-e", &trace_call, "-e", &inject]
            .map(str::to_owned)
            .to_vec()
    }
}

/// strace on a process.
pub struct Attached {
    child: Child,
    trace: PathBuf,
    /// strace tells of each new thread, and would end if nobody could hear it.
    _told: Lines<BufReader<ChildStderr>>,
}

impl Attached {
    /// Leaves the process alone. Says whether the injection happened.
    ///
    /// # Errors
    /// The system refuses.
    pub async fn detach(mut self) -> io::Result<bool> {
        self.child.kill().await?;
        Ok(happened(&self.trace))
    }
}

/// Whether strace noted an injection.
pub fn happened(trace: &Path) -> bool {
    let text = fs::read_to_string(trace).unwrap_or_default();
    text.contains("(INJECTED)") || text.contains("(DELAYED)") || text.contains("killed by SIGKILL")
}

/// Whether strace can be used here. If not, says so loudly: the test is then skipped.
pub fn is_possible(test: &str) -> bool {
    match Command::new("strace").args(["-o", "/dev/null", "true"]).output() {
        Ok(strace) if strace.status.success() => return true,
        Ok(_) => denied(test, "strace may not trace"),
        Err(_) => skipped(test, "strace is not installed"),
    }
    false
}

/// Says that a test is skipped since the system does not let it do what it must do.
pub fn denied(test: &str, why: &str) {
    skipped(test, &format!("denied: {why}"));
}

/// Says that a test is skipped, so that the task that runs all tests counts it.
pub fn skipped(test: &str, why: &str) {
    // Not println, which the harness swallows when a test passes.
    let _ = writeln!(io::stdout(), "SKIPPED: {test}: {why}");
}
