//! The one shape of everything that goes wrong: problem details as in RFC 9457, with `code`, `hint`
//! and `line` besides. In answers of many lines they stand as `{"error": {…}}`.

use std::fmt;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};

/// Why a request was refused.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "Problem", into = "Problem")]
pub struct ApiError {
    /// What a program decides by.
    pub code: ErrorCode,
    /// What happened, and where.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// The line of the input that it happened at, counted from 1.
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
    /// A condition of a group does not hold (412).
    Unmet,
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
    /// What was waited for did not come in time (503).
    NotYet,
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

    /// What was waited for did not come in time.
    #[must_use]
    pub fn not_yet(place: &str) -> Self {
        Self::new(ErrorCode::NotYet, format!("{place} did not come in time"))
            .with_hint("ask again, or wait longer by `wait_max_ms`")
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

    /// The error as one line of an answer that has many.
    #[must_use]
    pub fn to_line(&self) -> String {
        // Strings and numbers always have a JSON form.
        serde_json::to_string(&ErrorLine { error: self.clone() }).unwrap_or_default()
    }

    /// The error as an answer of its own.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The kind of content that an error is.
pub(super) const PROBLEM_TYPE: &str = "application/problem+json";

/// What `type` begins with; the code follows.
const PROBLEM_KIND: &str = "urn:landfall:problem:";

/// An error in an answer of many lines.
#[derive(Deserialize, Serialize)]
pub(super) struct ErrorLine {
    pub(super) error: ApiError,
}

/// The shape on the wire.
#[derive(Deserialize, Serialize)]
struct Problem {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    title: String,
    status: u16,
    detail: String,
    code: ErrorCode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        let ApiError { code, message, hint, line } = error;
        Self {
            kind: format!("{PROBLEM_KIND}{}", code.name()),
            title: code.name().replace('_', " "),
            status: code.status().as_u16(),
            detail: message,
            code,
            hint,
            line,
        }
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        let Problem { code, detail: message, hint, line, .. } = problem;
        Self { code, message, hint, line }
    }
}

impl ErrorCode {
    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::BadLine => "bad_line",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::UnknownTopic => "unknown_topic",
            Self::UnknownSite => "unknown_site",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Conflict => "conflict",
            Self::Unmet => "unmet",
            Self::Gone => "gone",
            Self::TooLarge => "too_large",
            Self::TooLong => "too_long",
            Self::LaneFull => "lane_full",
            Self::DiskFull => "disk_full",
            Self::NotYet => "not_yet",
            Self::Busy => "busy",
            Self::Stopping => "stopping",
            Self::Internal => "internal",
        }
    }

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
            Self::Unmet => StatusCode::PRECONDITION_FAILED,
            Self::Gone => StatusCode::GONE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooLong => StatusCode::UNPROCESSABLE_ENTITY,
            Self::LaneFull | Self::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
            Self::NotYet | Self::Busy | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
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
