//! Nodes as processes. A process ends with the value that stands for it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::api::{Client, LinkState, Status, Target};
use crate::clock;

/// How often it is asked whether something has happened.
const ASK_EVERY: Duration = Duration::from_millis(40);
/// How long anything may take before the play fails.
pub(super) const PATIENCE_MS: u64 = 60_000;

/// A node's directory, and its process while there is one.
pub(super) struct Node {
    pub(super) name: &'static str,
    pub(super) data: PathBuf,
    pub(super) client: Client,
    program: PathBuf,
    /// Where it dials instead of where its configuration says.
    upstream: Option<String>,
    child: Option<Child>,
}

impl Node {
    /// A node that will live in `folder` and does not run yet.
    pub(super) fn new(name: &'static str, program: &Path, folder: &Path) -> Self {
        let data = folder.join(name);
        let client = Client::new(Target::Unix(data.join("landfall.sock")));
        Self { name, data, client, program: program.into(), upstream: None, child: None }
    }

    /// Makes it dial there.
    pub(super) fn dial(&mut self, address: &str) {
        self.upstream = Some(address.into());
    }

    /// Runs the program with a command and its words, and waits for it. What it printed.
    pub(super) async fn command(&self, words: &[&str]) -> Result<String, String> {
        let mut command = self.program(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let what = format!("`landfall {}` for {}", words.first().unwrap_or(&""), self.name);
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output.map_err(|error| format!("{what}: {error}"))?;
        let output = output.map_err(|error| format!("{what} can't be started: {error}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{what} failed: {}", said.trim()));
        }
        String::from_utf8(output.stdout).map_err(|_| format!("{what} printed no text"))
    }

    /// Starts the node and waits until it answers.
    pub(super) async fn start(&mut self) -> Result<Status, String> {
        let failed = |error: std::io::Error| format!("{} can't be started: {error}", self.name);
        let path = self.data.with_extension("log");
        let log = File::options().create(true).append(true).open(path).map_err(failed)?;
        let mut command = self.program(&["run"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().map_err(failed)?);
        self.until("answers", |_| true).await
    }

    /// Kills the node as a power cut would: it can do nothing about it.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // If it ended by itself, there is nothing to kill.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Tells the node to stop in good order and waits for it.
    pub(super) async fn stop(&mut self) -> Result<(), String> {
        let Some(child) = &mut self.child else { return Ok(()) };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        // It is a child that has not been waited for, so its number is its own.
        let told = pid.map(|pid| kill_process(pid, Signal::TERM));
        let began = clock::monotonic();
        while told.is_some() && clock::monotonic().ms_since(began) < PATIENCE_MS {
            match child.try_wait() {
                Ok(Some(status)) => {
                    self.child = None;
                    let failed = || format!("{} did not end in good order: {status}", self.name);
                    return if status.success() { Ok(()) } else { Err(failed()) };
                }
                _ => tokio::time::sleep(ASK_EVERY).await,
            }
        }
        Err(format!("{} did not stop when it was told to", self.name))
    }

    /// Asks the node how it is until that is as wanted.
    pub(super) async fn until(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&Status) -> bool,
    ) -> Result<Status, String> {
        let began = clock::monotonic();
        let mut why = String::new();
        loop {
            match self.client.status().await {
                Ok(status) if wanted(&status) => return Ok(status),
                Ok(status) => why = waits(&status).unwrap_or_default(),
                // It may be starting.
                Err(_) => {}
            }
            if let Some(Ok(Some(status))) = self.child.as_mut().map(Child::try_wait) {
                self.child = None;
                return Err(format!("{} ended by itself: {status}; see its log", self.name));
            }
            if clock::monotonic().ms_since(began) > PATIENCE_MS {
                return Err(format!("it took too long until {} {what}{why}", self.name));
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    fn program(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        let (first, rest) = words.split_first().unwrap_or((&"", &[]));
        command.arg(first).arg("--data").arg(&self.data).args(rest);
        // What configures other nodes of this person must not configure these.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LANDFALL_") {
                command.env_remove(name);
            }
        }
        if let Some(address) = &self.upstream {
            command.env("LANDFALL_UPSTREAM_ADDRESSES", address);
        }
        command
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Why a node does not get on, as the end of a sentence, if it says so.
fn waits(status: &Status) -> Option<String> {
    let link = status.link.as_ref().filter(|link| link.state == LinkState::Waiting)?;
    Some(format!(", which says: {}", link.why))
}
