//! The `landfall` program.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use landfall::api::{Client, Target, serve_connection};
#[cfg(feature = "views")]
use landfall::cli::view::ViewAction;
use landfall::cli::{self, Command, DataOptions, Exit, Failure};
use landfall::config::Config;
use landfall::daemon::{Daemon, StartError, open};
use landfall::media::OpenError;
use tokio::sync::watch;

fn main() -> ExitCode {
    let environment = |name: &str| std::env::var_os(name);
    let command = match cli::parse(std::env::args_os().skip(1), &environment) {
        Ok(command) => command,
        Err(usage) => return end(Err(usage.into())),
    };
    let hub = matches!(&command, Command::Run(options) if is_hub(&options.node));
    let mut runtime = if hub {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    match runtime.enable_all().build() {
        Ok(runtime) => end(runtime.block_on(obey(command))),
        Err(error) => end(Err(Failure::refused(format!("landfall: cannot start: {error}")))),
    }
}

fn is_hub(options: &DataOptions) -> bool {
    let config = Config::load(options.config.as_deref(), &options.data, std::env::vars());
    config.is_ok_and(|config| config.node.profile == landfall::config::Profile::Hub)
}

async fn obey(command: Command) -> Result<Exit, Failure> {
    let mut out = std::io::stdout();
    match command {
        Command::Help(text) => print(&mut out, text),
        Command::Version => print(&mut out, concat!("landfall ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Init(options) => cli::init::run(&options, &mut out),
        Command::Run(options) => cli::run::run(&options).await,
        Command::Verify(options) => cli::verify::run(&options, &mut out),
        #[cfg(feature = "kafka")]
        Command::Kafka(options) => cli::kafka::run(options, &mut out).await,
        Command::Demo(kafka) => demo(kafka, &mut out).await,
        #[cfg(feature = "torture")]
        Command::Torture(options) => landfall::torture::run(&options, &mut out).await,
        Command::Doctor(options) => cli::doctor::run(&options, &mut out).await,
        Command::Append(options) => {
            let node = Reached::find(&options.node).await?;
            let outcome = cli::append::run(&options, &node.client, &mut out).await;
            node.end(outcome).await
        }
        Command::Group(options) => {
            let node = Reached::find(&options.node).await?;
            let outcome = cli::group::run(&options, &node.client, &mut out).await;
            node.end(outcome).await
        }
        Command::Read(options) => read(&options, &mut out).await,
        Command::Consumer(options) => {
            let node = Reached::find(&options.node).await?;
            let outcome = cli::consumer::run(&options, &node.client, &mut out).await;
            node.end(outcome).await
        }
        Command::On(options) => on(&options, &mut out).await,
        Command::Call(options) => call(&options, &mut out).await,
        Command::Dead(options) => {
            let node = Reached::find(&options.node).await?;
            let outcome = cli::dead::run(&options, &node.client, &mut out).await;
            node.end(outcome).await
        }
        #[cfg(feature = "views")]
        Command::Query(options) => cli::query::run(&options, &mut out).await,
        #[cfg(feature = "views")]
        Command::View(options) => match &options.action {
            ViewAction::Verify(name) => verify_view(&options, name, &mut out).await,
            ViewAction::At(name, wanted) => view_at(&options, name, wanted, &mut out).await,
            _ => cli::view::run(&options, &mut out).await,
        },
        Command::Status(options) => {
            let node = Reached::find(&options.node).await?;
            let outcome = cli::status::run(&options, &node.client, &mut out).await;
            node.end(outcome).await
        }
        Command::Trace(options) => {
            let node = Reached::find(&options.node).await?;
            let outcome = cli::trace::run(&options, &node.client, &mut out).await;
            node.end(outcome).await
        }
        Command::Token(options) => {
            let node = Reached::find(&options.node).await?;
            let outcome = cli::token::run(&options, &node.client, &mut out).await;
            node.end(outcome).await
        }
        Command::Sites(options) => {
            let node = Reached::find(&options.node).await?;
            let outcome = cli::sites::run(&options, &node.client, &mut out).await;
            node.end(outcome).await
        }
    }
}

async fn on(options: &cli::on::OnOptions, out: &mut impl Write) -> Result<Exit, Failure> {
    let node = Reached::find_running(&options.node).await?;
    let outcome = cli::on::run(options, &node.client, out).await;
    node.end(outcome).await
}

async fn call(options: &cli::call::CallOptions, out: &mut impl Write) -> Result<Exit, Failure> {
    let node = Reached::find_running(&options.node).await?;
    let outcome = cli::call::run(options, &node.client, out).await;
    node.end(outcome).await
}

async fn read(options: &cli::read::ReadOptions, out: &mut impl Write) -> Result<Exit, Failure> {
    let node = match options.follow {
        true => Reached::find_running(&options.node).await?,
        false => Reached::find(&options.node).await?,
    };
    let outcome = cli::read::run(options, &node.client, out).await;
    node.end(outcome).await
}

#[cfg(feature = "demo")]
async fn demo(kafka: Option<String>, out: &mut impl Write) -> Result<Exit, Failure> {
    let program = std::env::current_exe().map_err(|error| {
        Failure::refused(format!("landfall demo: cannot find this program: {error}"))
    })?;
    let plan = landfall::demo::Plan { kafka, ..landfall::demo::Plan::standard(program) };
    landfall::demo::run(&plan, out).await
}

#[cfg(not(feature = "demo"))]
async fn demo(_: Option<String>, _: &mut impl Write) -> Result<Exit, Failure> {
    Err(Failure::refused("landfall demo: this build for devices has no demonstration"))
}

/// Compares a view with the log, by the node that runs or in the directory opened here.
#[cfg(feature = "views")]
async fn verify_view(
    options: &cli::view::ViewOptions,
    name: &str,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let node = Reached::find(&options.node).await?;
    let verdict = match &node.opened {
        None => node.client.verify_view(name).await.map_err(Failure::from),
        Some((daemon, _)) => {
            let verdict = landfall::views::verify(daemon.handle.clone(), &options.node.data, name);
            verdict.await.map_err(|error| Failure::refused(error.to_string()))
        }
    };
    let outcome = verdict.and_then(|verdict| cli::view::print_verdict(options, &verdict, out));
    node.end(outcome).await
}

/// Shows a view as it was, by the node that runs or from the directory opened here.
#[cfg(feature = "views")]
async fn view_at(
    options: &cli::view::ViewOptions,
    name: &str,
    wanted: &landfall::api::ViewAtRequest,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let node = Reached::find(&options.node).await?;
    let past = match &node.opened {
        None => node.client.view_at(name, wanted).await.map_err(Failure::from),
        Some((daemon, _)) => {
            let (handle, data) = (daemon.handle.clone(), &options.node.data);
            let past = landfall::views::at(handle, data, name, wanted.clone()).await;
            past.map_err(|error| Failure::refused(error.to_string()))
        }
    };
    let outcome = past.and_then(|past| cli::view::print_past(options, past, out));
    node.end(outcome).await
}

/// Pauses while a node is waited for.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(300);
/// How often a directory that somebody else has is looked at before that is told.
const LOOKS_MAX: u32 = 10;

/// The node that a command speaks to: one that runs, or the directory opened here.
struct Reached {
    client: Client,
    opened: Option<(Daemon, watch::Sender<bool>)>,
}

impl Reached {
    async fn find(options: &DataOptions) -> Result<Self, Failure> {
        let refused =
            |error: &dyn std::fmt::Display| Failure::refused(format!("landfall: {error}"));
        let mut looks = 1..LOOKS_MAX;
        let opened = loop {
            if let Some(client) = cli::connect::running_node(options, std::env::vars()).await? {
                return Ok(Self { client, opened: None });
            }
            let config = Config::load(options.config.as_deref(), &options.data, std::env::vars())?;
            match open(&options.data, config) {
                Ok(opened) => break opened,
                // A node that starts or stops has the directory and no socket.
                Err(StartError::Media(OpenError::InUse { .. })) if looks.next().is_some() => {
                    tokio::time::sleep(LOOK_AGAIN_AFTER).await;
                }
                Err(error) => return Err(refused(&error)),
            }
        };
        let daemon = Daemon::start(opened, false).map_err(|error| refused(&error))?;
        let (stop, stopping) = watch::channel(false);
        let handle = daemon.handle.clone();
        let connect = move || {
            let (here, there) = tokio::io::duplex(256 * 1024);
            let record_max = landfall_core::limits::RECORD_BYTES_MAX;
            let served = serve_connection(there, handle.clone(), record_max, stopping.clone());
            tokio::spawn(served);
            here
        };
        let client = Client::new(Target::InProcess(Arc::new(connect)));
        Ok(Self { client, opened: Some((daemon, stop)) })
    }

    /// Waits for a node that runs: the directory opened here would keep one from starting for as
    /// long as this takes.
    async fn find_running(options: &DataOptions) -> Result<Self, Failure> {
        let mut told = false;
        loop {
            if let Some(client) = cli::connect::running_node(options, std::env::vars()).await? {
                return Ok(Self { client, opened: None });
            }
            if !core::mem::replace(&mut told, true) {
                // What can't be opened, no node will run on.
                let opened = Self::find(options).await?;
                opened.end(Ok(Exit::Done)).await?;
                eprintln!("landfall: no node runs on {}; waiting for it", options.data.display());
            }
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
    }

    /// Closes the directory if it was opened here.
    async fn end(self, outcome: Result<Exit, Failure>) -> Result<Exit, Failure> {
        if let Some((daemon, stop)) = self.opened {
            stop.send_replace(true);
            daemon.stop().await;
        }
        outcome
    }
}

fn print(out: &mut impl Write, text: &str) -> Result<Exit, Failure> {
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    printed.map_err(|error| Failure::refused(format!("landfall: cannot print: {error}")))?;
    Ok(Exit::Done)
}

fn end(outcome: Result<Exit, Failure>) -> ExitCode {
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit.into()
        }
    }
}
