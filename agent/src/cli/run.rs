//! `landfall run`: runs a node until it is told to stop.

use super::{Exit, Failure, RunOptions};
use crate::config::Config;
use crate::daemon::{Daemon, Until, open};
use crate::logging;

/// Runs the node.
///
/// # Errors
/// When it can't be opened, bound or served.
pub async fn run(options: &RunOptions) -> Result<Exit, Failure> {
    let data = &options.node.data;
    let config = Config::load(options.node.config.as_deref(), data, std::env::vars())?;
    logging::start(config.log.level, config.log.format)
        .map_err(|error| Failure::refused(format!("landfall run: cannot log: {error}")))?;
    let refused =
        |error: &dyn std::fmt::Display| Failure::refused(format!("landfall run: {error}"));
    let told = stop_signal().map_err(|error| refused(&error))?;
    let opened = open(data, config.clone()).map_err(|error| refused(&error))?;
    tracing::info!(
        site = %opened.node.settings().site,
        log = %opened.node.journal().log(),
        epoch = %opened.node.journal().epoch(),
        recovery = ?opened.recovery,
        "opened"
    );
    let daemon = Daemon::start(opened, true).map_err(|error| refused(&error))?;
    if let Some(address) = daemon.listening {
        tracing::info!(%address, "listening");
    }
    let until = if options.until_synced { Until::Synced } else { Until::Told };
    let stopped =
        daemon.serve(&config, data, until, told).await.map_err(|error| refused(&error))?;
    Ok(if stopped.clean { Exit::Done } else { Exit::FailedCheck })
}

/// Resolves when the system or a person tells the node to stop.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
