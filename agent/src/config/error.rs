//! What is wrong with the settings, where, and what to write instead.

use std::fmt;
use std::path::PathBuf;

/// Where a setting was written.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Place {
    /// A line of the file, counted from 1.
    Line(PathBuf, usize),
    /// An environment variable.
    Variable(String),
    /// Nowhere: the default.
    Default,
}

/// Settings that cannot be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    /// Where it was written.
    pub place: Place,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Problem {
    /// The file cannot be read.
    Unreadable(std::io::ErrorKind),
    /// The file is not TOML.
    Syntax(String),
    /// No such key or variable.
    Unknown {
        /// What was written.
        key: String,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// A key that must be there is not.
    Missing {
        /// The key.
        key: String,
    },
    /// A value that the key does not take.
    WrongValue {
        /// The key.
        key: String,
        /// What was written.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// Two settings that contradict each other.
    Conflict {
        /// The key to change.
        key: String,
        /// Why, and to what.
        why: String,
    },
}

impl ConfigError {
    pub(super) fn new(place: Place, problem: Problem) -> Self {
        Self { place, problem }
    }

    pub(super) fn conflict(key: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(Place::Default, Problem::Conflict { key: key.into(), why: why.into() })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(path, 0) => write!(f, "{}", path.display()),
            Self::Line(path, line) => write!(f, "{}, line {line}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Default => f.write_str("configuration"),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(kind) => write!(f, "cannot be read: {kind}"),
            Self::Syntax(message) => write!(f, "not valid TOML: {message}"),
            Self::Unknown { key, nearest: Some(nearest) } => {
                write!(f, "unknown key `{key}`; did you mean `{nearest}`?")
            }
            Self::Unknown { key, nearest: None } => {
                write!(f, "unknown key `{key}`; docs/configuration.md lists all keys")
            }
            Self::Missing { key } => write!(f, "`{key}` is missing and has no default"),
            Self::WrongValue { key, value, allowed } => {
                write!(f, "`{key}` cannot be `{value}`; allowed: {allowed}")
            }
            Self::Conflict { key, why } => write!(f, "`{key}`: {why}"),
        }
    }
}

impl std::error::Error for ConfigError {}
