//! `landfall run`: runs a node until it is told to stop.

use std::time::Duration;

use landfall_core::journal::Recovery;

use super::connect::running_node;
use super::{Exit, Failure, RunOptions};
use crate::clock;
use crate::config::Config;
use crate::daemon::{Daemon, Opened, ServiceManager, StartError, Until, open};
use crate::logging;
use crate::media::OpenError;
use crate::quantity::{ByteSize, counted};

/// Runs the node.
///
/// # Errors
/// When it can't be opened, bound or served.
pub async fn run(options: &RunOptions) -> Result<Exit, Failure> {
    let data = &options.node.data;
    #[cfg_attr(not(feature = "views"), expect(unused_mut, reason = "the views are changed in it"))]
    let mut config = Config::load(options.node.config.as_deref(), data, std::env::vars())?;
    #[cfg(feature = "views")]
    for view in &mut config.views {
        view.accept_loss |= options.accept_loss;
    }
    logging::start(config.log.level, config.log.format)
        .map_err(|error| Failure::refused(format!("landfall run: cannot log: {error}")))?;
    let refused =
        |error: &dyn std::fmt::Display| Failure::refused(format!("landfall run: {error}"));
    let mut told = std::pin::pin!(stop_signal().map_err(|error| refused(&error))?);
    let opened = tokio::select! {
        opened = open_when_free(options, &config) => opened?,
        () = told.as_mut() => return Ok(Exit::Done),
    };
    tracing::info!(
        site = %opened.node.settings().site,
        log = %opened.node.journal().log(),
        epoch = %opened.node.journal().epoch(),
        "opened; {}", recovery_text(&opened.recovery)
    );
    let mut daemon = Daemon::start(opened, true).map_err(|error| refused(&error))?;
    #[cfg(feature = "views")]
    daemon.keep_views(&config, data).map_err(|error| refused(&error))?;
    let variable = |name: &str| std::env::var_os(name);
    daemon.manager = ServiceManager::find(&variable, std::process::id());
    if let Some(address) = daemon.listening {
        tracing::info!(%address, "listening");
    }
    let until = if options.until_synced { Until::Synced } else { Until::Told };
    let stopped =
        daemon.serve(&config, data, until, told).await.map_err(|error| refused(&error))?;
    Ok(if stopped.clean { Exit::Done } else { Exit::FailedCheck })
}

/// Pauses while another command has the directory.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// How long that may take before it is told.
const FREE_WITHIN: Duration = Duration::from_secs(10);

/// Opens the directory. A command that is given while no node runs, such as `landfall status`,
/// opens it for a moment, which must not keep a node from starting.
async fn open_when_free(options: &RunOptions, config: &Config) -> Result<Opened, Failure> {
    let data = &options.node.data;
    let began = clock::monotonic();
    loop {
        let refused = match open(data, config.clone()) {
            Ok(opened) => return Ok(opened),
            Err(refused) => refused,
        };
        let waits = u128::from(clock::monotonic().ms_since(began)) < FREE_WITHIN.as_millis();
        let is_used = matches!(refused, StartError::Media(OpenError::InUse { .. }));
        // A node that runs there stays.
        if !is_used || !waits || running_node(&options.node, std::env::vars()).await?.is_some() {
            return Err(Failure::refused(format!("landfall run: {refused}")));
        }
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
}

/// What a person should know of an opening, in a sentence.
fn recovery_text(found: &Recovery) -> String {
    let mut text = String::from(match (found.created, found.clean) {
        (true, _) => "the journal is new",
        (false, true) => "the journal had been closed in good order",
        (false, false) => "the journal had not been closed in good order, and was recovered",
    });
    if let Some(torn) = &found.torn {
        let bytes = ByteSize(torn.bytes.into());
        text.push_str(&format!("; a torn commit of {bytes}, acknowledged to nobody, was cut"));
    }
    if found.damaged > 0 {
        let places = counted(found.damaged.into(), "damaged place");
        text.push_str(&format!("; {places} became gaps: see `landfall status`"));
    }
    if found.checkpoint_lost {
        text.push_str("; its checkpoints were unreadable, so all of it was read");
    }
    text
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
