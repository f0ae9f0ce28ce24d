//! What a comparison of a view with the log found, and what its rows were in the past.

use serde::{Deserialize, Serialize};

use super::backend::QueryRequest;

/// A view's rows beside those that the log makes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ViewVerdict {
    /// The view.
    pub view: String,
    /// Which making of its rows was looked at.
    pub generation: u64,
    /// The commit of this node's log up to which they were compared.
    pub commit: u64,
    /// Records that the view took.
    pub records: u64,
    /// Records that were taken when its rows were made again.
    pub records_again: u64,
    /// Records of its lanes, of whatever topic, that the log had when the view came to them, and
    /// has no longer: what differs may be of those.
    pub lacking: u64,
    /// Its tables.
    pub tables: Vec<TableVerdict>,
}

/// One table of a view.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TableVerdict {
    /// Its name.
    pub table: String,
    /// Its rows.
    pub rows: u64,
    /// Its rows when made again.
    pub rows_again: u64,
    /// Different rows that are there, and not when made again.
    pub surplus: u64,
    /// Different rows that are not there, and are when made again.
    pub missing: u64,
    /// Some that are too many, as SQL writes them.
    pub surplus_rows: Vec<String>,
    /// Some that are missing.
    pub missing_rows: Vec<String>,
}

/// What is asked of a view's rows as they were behind a record.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ViewAtRequest {
    /// The record.
    pub coordinates: String,
    /// One statement of SQL that only reads; all rows of the view if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// Most rows of the answer.
    #[serde(default = "QueryRequest::rows_max_usual")]
    pub rows_max: usize,
    /// Milliseconds after which the question is given up, once the rows are made.
    #[serde(default = "QueryRequest::time_max_ms_usual")]
    pub time_max_ms: u64,
    /// Whether the rows may lack those of records that the log has forgotten.
    #[serde(default)]
    pub accept_loss: bool,
}

/// A view's rows as they were behind a record.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ViewAt {
    /// The view.
    pub view: String,
    /// The record, with its epoch.
    pub coordinates: String,
    /// The commit of this node's log that it is of.
    pub commit: u64,
    /// Records that the rows are made of.
    pub records: u64,
    /// Records, of whatever topic, that the view took and the log has no longer.
    pub lacking: u64,
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows, as a query gives them.
    pub rows: Vec<Vec<serde_json::Value>>,
    /// Whether there were more rows than the answer may have.
    pub truncated: bool,
}

impl ViewAtRequest {
    /// All rows behind a record, within the usual limits.
    #[must_use]
    pub fn new(coordinates: impl Into<String>) -> Self {
        Self {
            coordinates: coordinates.into(),
            sql: None,
            rows_max: QueryRequest::rows_max_usual(),
            time_max_ms: QueryRequest::time_max_ms_usual(),
            accept_loss: false,
        }
    }
}

impl ViewVerdict {
    /// Whether the view's rows are what the log makes.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.tables
            .iter()
            .all(|table| table.rows == table.rows_again && table.surplus == 0 && table.missing == 0)
    }
}
