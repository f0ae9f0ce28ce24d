//! The memory that SQLite may take: one limit for the whole process, and what happens at it.
//!
//! Clients ask what they like, and sorting a million values takes what it takes. So there is an end
//! to it, where a query is refused. The views' own work needs little and puts what is large on the
//! disk; if queries leave it too little, they are ended, and it goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::limits::Limit;
use rusqlite::{Connection, Error, ErrorCode};

/// Bytes that all of SQLite may hold in this process.
pub(super) const HEAP_BYTES_MAX: u64 = 32 << 20;
/// Bytes of one value or row.
const VALUE_BYTES_MAX: i32 = 4 << 20;

/// A word of the keeper to all queries: end now, your memory is needed.
#[derive(Clone, Debug, Default)]
pub(super) struct Shed(Arc<AtomicU64>);

impl Shed {
    /// Ends the queries that run now.
    pub(super) fn end_queries(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it was said; a query ends if that changes.
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Lowers the limit of the whole process.
pub(super) fn limit_process(bytes: u64) -> Result<(), Error> {
    let bytes = bytes.min(HEAP_BYTES_MAX);
    Connection::open_in_memory()?.execute_batch(&format!("PRAGMA hard_heap_limit={bytes}"))
}

/// Keeps what `connection` does within the limits.
pub(super) fn limit(connection: &Connection) -> Result<(), Error> {
    // The pragma lowers the limit and never raises it, so whoever embeds the node may choose less.
    connection.execute_batch(&format!("PRAGMA hard_heap_limit={HEAP_BYTES_MAX}"))?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)?;
    Ok(())
}

/// Whether there was no memory left.
pub(super) fn is_full(error: &Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OutOfMemory)
}

/// The error of who got no memory.
pub(super) fn full() -> Error {
    Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOMEM), None)
}
