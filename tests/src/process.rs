//! The program as processes of its own: starting, asking, ending them.
//!
//! Every process ends with the value that stands for it, also when a test panics. Waiting is
//! bounded everywhere: what takes longer than [`PATIENCE`] has failed.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use landfall::api::{Client, Status, Target};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// How long anything may take that a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often a state is asked for that nobody tells of.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// A log that is longer is put aside when its process starts again.
const LOG_BYTES_MAX: u64 = 8 << 20;

/// Lets time pass, for moments that are to be random.
pub async fn pause(time: Duration) {
    // It never comes, so the time always runs out.
    let _ = tokio::time::timeout(time, std::future::pending::<()>()).await;
}

/// Asks again and again until there is an answer, for at most [`PATIENCE`].
///
/// # Errors
/// What was waited for, if it did not come.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> Result<T, String> {
    let asked = async {
        let mut ticks = tokio::time::interval(ASK_EVERY);
        loop {
            ticks.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    let late = |_| format!("waited {} s in vain: {what}", PATIENCE.as_secs());
    tokio::time::timeout(PATIENCE, asked).await.map_err(late)
}

/// The program `landfall`.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    /// The program that runs it, with its words; empty for none.
    under: Vec<String>,
}

/// What a command of the program came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub out: String,
    /// What it printed as an error.
    pub err: String,
}

impl Program {
    /// The program that was built beside the one that runs.
    ///
    /// # Errors
    /// It was not built.
    pub fn find() -> io::Result<Self> {
        let own = std::env::current_exe()?;
        let beside = own.ancestors().skip(1).take(2).map(|folder| folder.join("landfall"));
        let found = beside.into_iter().find(|path| path.is_file());
        let missing = || {
            let text = format!("no landfall beside {}; `cargo build --bins` first", own.display());
            io::Error::new(io::ErrorKind::NotFound, text)
        };
        found.map(Self::at).ok_or_else(missing)
    }

    /// The program in this file.
    pub fn at(path: PathBuf) -> Self {
        Self { path, under: Vec::new() }
    }

    /// The same, run by another program with these words before its own.
    pub fn under(&self, words: Vec<String>) -> Self {
        Self { under: words, ..self.clone() }
    }

    /// The program that runs it, with its words; empty for none.
    pub fn words(&self) -> &[String] {
        &self.under
    }

    /// A command of the program that ends with its value. The environment does not configure it.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = match self.under.split_first() {
            None => Command::new(&self.path),
            Some((program, words)) => {
                let mut command = Command::new(program);
                command.args(words).arg(&self.path);
                command
            }
        };
        command.args(words).stdin(Stdio::null()).kill_on_drop(true);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LANDFALL_")) {
            command.env_remove(name);
        }
        command
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// It can't be started, or takes longer than [`PATIENCE`].
    pub async fn call(&self, words: &[&str]) -> io::Result<Outcome> {
        let output = tokio::time::timeout(PATIENCE, self.command(words).output()).await??;
        Ok(Outcome {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// A node's directory, and the log of its processes beside it.
#[derive(Clone, Debug)]
pub struct NodeDir {
    /// The program to run it with.
    pub program: Program,
    /// The directory.
    pub path: PathBuf,
}

impl NodeDir {
    /// The node in `path`, whether it has been made or not.
    pub fn new(program: &Program, path: PathBuf) -> Self {
        Self { program: program.clone(), path }
    }

    /// Runs `landfall COMMAND --data DIR WORDS…` to its end.
    ///
    /// # Errors
    /// Those of [`Program::call`].
    pub async fn call(&self, command: &str, words: &[&str]) -> io::Result<Outcome> {
        let data = self.path.to_string_lossy();
        self.program.call(&[&[command, "--data", &data], words].concat()).await
    }

    /// As [`NodeDir::call`]; returns what it printed.
    ///
    /// # Errors
    /// Also if its exit code is not 0: then with what it printed as an error.
    pub async fn done(&self, command: &str, words: &[&str]) -> io::Result<String> {
        let outcome = self.call(command, words).await?;
        if outcome.code == Some(0) {
            return Ok(outcome.out);
        }
        let Outcome { code, err, .. } = outcome;
        Err(io::Error::other(format!("landfall {command}: exit code {code:?}: {err}")))
    }

    /// Writes settings behind those that the node has.
    ///
    /// # Errors
    /// The file can't be read or written.
    pub fn configure(&self, settings: &str) -> io::Result<()> {
        let path = self.path.join(landfall::config::FILE_NAME);
        let made = std::fs::read_to_string(&path)?;
        std::fs::write(path, made + settings)
    }

    /// Where the output of its processes goes.
    pub fn log(&self) -> PathBuf {
        self.path.with_extension("log")
    }

    /// Starts `landfall run`.
    ///
    /// # Errors
    /// It can't be started.
    pub fn run(&self, words: &[&str]) -> io::Result<Running> {
        let data = self.path.to_string_lossy();
        let mut command = self.program.command(&[&["run", "--data", &data], words].concat());
        let log = open_log(&self.log())?;
        command.stdout(Stdio::null()).stderr(log);
        Ok(Running { child: command.spawn()?, client: self.client(), log: self.log() })
    }

    /// Starts `landfall run` and waits until it answers.
    ///
    /// # Errors
    /// It ends, or does not answer in time.
    pub async fn run_up(&self) -> io::Result<Running> {
        let mut running = self.run(&[])?;
        running.up().await?;
        Ok(running)
    }

    /// A client of its API.
    pub fn client(&self) -> Client {
        Client::new(Target::Unix(self.path.join("landfall.sock")))
    }
}

fn open_log(path: &Path) -> io::Result<File> {
    if path.metadata().is_ok_and(|found| found.len() > LOG_BYTES_MAX) {
        std::fs::rename(path, path.with_extension("log.old"))?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

/// A running node.
pub struct Running {
    child: Child,
    client: Client,
    log: PathBuf,
}

impl Running {
    /// The number of its process; none if it has ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Its API.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// How it is, if it answers.
    pub async fn status(&self) -> Option<Status> {
        let asked = tokio::time::timeout(PATIENCE, self.client.status()).await;
        asked.ok()?.ok()
    }

    /// Waits until it answers.
    ///
    /// # Errors
    /// It ended, or does not answer in time.
    pub async fn up(&mut self) -> io::Result<Status> {
        self.until("it answers", Some).await
    }

    /// Waits until its status is as wanted.
    ///
    /// # Errors
    /// It ended, or time is up: then with the last status.
    pub async fn until<T>(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(Status) -> Option<T>,
    ) -> io::Result<T> {
        let mut last = None;
        let (child, client) = (&mut self.child, &self.client);
        let answer = until(what, async || {
            if let Ok(Some(status)) = child.try_wait() {
                return Some(Err(format!("it ended with {status}")));
            }
            let status = client.status().await.ok()?;
            last = Some(status.clone());
            wanted(status).map(Ok)
        });
        let answer = answer.await.and_then(|answer| answer);
        answer.map_err(|error| {
            io::Error::other(format!("{error}; its log is {}: {last:?}", self.log.display()))
        })
    }

    /// SIGKILL, as if the power had gone; the disk keeps what was written.
    ///
    /// # Errors
    /// The system refuses.
    pub async fn kill(mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// SIGSTOP: it does nothing until [`Running::thaw`].
    ///
    /// # Errors
    /// The system refuses.
    pub fn freeze(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// The system refuses.
    pub fn thaw(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        pid.map_or(Ok(()), |pid| Ok(kill_process(pid, signal)?))
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// The system refuses, or it does not end in time.
    pub async fn terminate(mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.ended().await
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// It does not in time.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.ended_within(PATIENCE).await
    }

    /// Waits until it ends by itself, for so long.
    ///
    /// # Errors
    /// It does not in time.
    pub async fn ended_within(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        tokio::time::timeout(patience, self.child.wait()).await?
    }
}
