//! What a comparison of a view with the log found.

use serde::{Deserialize, Serialize};

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

impl ViewVerdict {
    /// Whether the view's rows are what the log makes.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.tables
            .iter()
            .all(|table| table.rows == table.rows_again && table.surplus == 0 && table.missing == 0)
    }
}
