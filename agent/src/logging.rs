//! Log lines on standard error.
//!
//! What each level means, everywhere in the project:
//!
//! - **ERROR**: data is at risk or the node cannot do its work, and it will not get better by
//!   itself: a person must act.
//! - **WARN**: something was refused, lost for now or given up that a person may want to know of by
//!   tomorrow; the node goes on.
//! - **INFO**: a change of state that happens a few times a day: started, link up, site enrolled,
//!   stopped.
//! - **DEBUG**: one line per session, commit group or decision, to follow what the node does and
//!   why.
//! - **TRACE**: one line per message or entry; slow, and the only level that may show keys of
//!   records.
//!
//! Values of records, secrets and tokens are not logged at any level.

use tracing::level_filters::STATIC_MAX_LEVEL;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer as _, fmt};

use crate::config::{LogFormat, LogLevel};

/// Starts logging for the whole process: the project's own lines from `level`, those of libraries
/// from the same level but never below WARN unless `level` is TRACE.
///
/// # Errors
/// When the process logs already.
pub fn start(level: LogLevel, format: LogFormat) -> Result<(), TryInitError> {
    let registry = tracing_subscriber::registry();
    let targets = targets(level);
    match format {
        LogFormat::Text => {
            let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
            registry.with(lines.with_filter(targets)).try_init()?;
        }
        LogFormat::Json => {
            let lines = fmt::layer().with_writer(std::io::stderr).json().flatten_event(true);
            registry.with(lines.with_filter(targets)).try_init()?;
        }
    }
    if level_filter(level) > STATIC_MAX_LEVEL {
        tracing::warn!("this build logs up to {STATIC_MAX_LEVEL} only; use the full program");
    }
    Ok(())
}

fn targets(level: LogLevel) -> Targets {
    let own = level_filter(level);
    let libraries = if own == LevelFilter::TRACE { own } else { own.min(LevelFilter::WARN) };
    Targets::new().with_default(libraries).with_target("landfall", own)
}

fn level_filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn libraries_stay_quiet_unless_everything_is_asked_for() {
        let debug = targets(LogLevel::Debug);
        assert!(debug.would_enable("landfall::api", &Level::DEBUG));
        assert!(!debug.would_enable("quinn", &Level::INFO));
        assert!(debug.would_enable("quinn", &Level::WARN));
        assert!(targets(LogLevel::Trace).would_enable("quinn", &Level::TRACE));
        assert!(!targets(LogLevel::Off).would_enable("landfall", &Level::ERROR));
    }
}
