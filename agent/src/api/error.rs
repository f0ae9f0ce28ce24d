//! The one shape of everything that goes wrong: `{"error": {"code", "message", "hint"}}`.

use std::fmt;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};

/// Why a request was refused.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ApiError {
    /// What a program decides by.
    pub code: ErrorCode,
    /// What happened, and where.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The line of the input that it happened at, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
}

/// What a program decides by; each belongs to one HTTP status.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// The request makes no sense (400).
    BadRequest,
    /// A line of the input is no record (400).
    BadLine,
    /// The token is missing or wrong (401).
    Unauthorized,
    /// This is not allowed here, such as writing to an internal topic (403).
    Forbidden,
    /// No such path (404).
    NotFound,
    /// No such topic, and topics are not created by themselves (404).
    UnknownTopic,
    /// No such site (404).
    UnknownSite,
    /// The path is there, but not for this method (405).
    MethodNotAllowed,
    /// It contradicts what is there, such as a producer's sequence (409).
    Conflict,
    /// The cursor or position is of another log, or no longer here (410).
    Gone,
    /// A record or body over the limit, or a query that takes more memory than there is (413).
    TooLarge,
    /// A query took longer than it may (422).
    TooLong,
    /// The lane is full of records that are not yet durable at the root (507).
    LaneFull,
    /// The disk is full (507).
    DiskFull,
    /// Too much is being done already (503).
    Busy,
    /// The node is stopping (503).
    Stopping,
    /// The node failed; its log says how (500).
    Internal,
}

impl ApiError {
    /// An error without a hint.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, line: None }
    }

    /// The same error with what to do.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The same error with the line of the input.
    #[must_use]
    pub fn at_line(self, line: u64) -> Self {
        Self { line: Some(line), ..self }
    }

    /// The error as one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings and numbers always have a JSON form.
        serde_json::to_string(&ErrorBody { error: self.clone() }).unwrap_or_default()
    }
}

/// The shape on the wire.
#[derive(Deserialize, Serialize)]
pub(super) struct ErrorBody {
    pub(super) error: ApiError,
}

impl ErrorCode {
    /// The HTTP status that goes with it.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest | Self::BadLine => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound | Self::UnknownTopic | Self::UnknownSite => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict => StatusCode::CONFLICT,
            Self::Gone => StatusCode::GONE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooLong => StatusCode::UNPROCESSABLE_ENTITY,
            Self::LaneFull | Self::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
            Self::Busy | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hint {
            Some(hint) => write!(f, "{}; {hint}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for ApiError {}
