//! How a command ends.

use std::fmt;
use std::process::ExitCode;

use super::Usage;
use crate::api::ClientError;
use crate::config::ConfigError;

/// What a command tells the program that called it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: a check failed.
    FailedCheck,
    /// 2: wrong usage, in words or in configuration.
    Usage,
    /// 3: refused, or nothing answers.
    Refused,
}

/// Why a command did not do what it was asked to: what, where, and what to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// How to end.
    pub exit: Exit,
    /// What to say on standard error.
    pub message: String,
}

impl Failure {
    /// Refused, or unreachable.
    #[must_use]
    pub fn refused(message: impl Into<String>) -> Self {
        Self { exit: Exit::Refused, message: message.into() }
    }

    /// Wrong usage.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into() }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::FailedCheck => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
        })
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::refused(error.to_string())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<Usage> for Failure {
    fn from(error: Usage) -> Self {
        Self::usage(error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
