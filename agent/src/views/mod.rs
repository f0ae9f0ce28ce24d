//! Views: SQLite tables that follow topics, kept by statements that every record runs.
//!
//! ```text
//!            ┌─ feed: pages of the log behind a view's position ─┐
//! journal ───┤                                                   ├─▶ keeper ─▶ apply ─▶ views.db
//!            └─ one for each view                                ┘   (a thread)
//! ```
//!
//! - A view equals the fold of the log up to its position: rows and position are committed
//!   together, and what is applied was synced in the log before.
//! - A view is a copy. One that is ahead of the log, of another log, or damaged is made anew.
//! - The rows depend on nothing but the records: `authorizer` refuses SQL that depends on more.
//! - A view that fails stops no other view, and nothing else in the node.
//! - What a view derives goes into the log once, however often its rows are made. So do the records
//!   that it refuses, as dead letters.

mod again;
mod apply;
mod at;
mod authorizer;
mod bind;
mod check;
pub mod definition;
mod derive;
mod feed;
mod file;
mod handle;
mod heap;
mod keeper;
mod notes;
mod query;
pub mod short;
mod swap;
mod sweep;
mod verify;

pub use at::at;
pub use check::{Invalid, check_alone};
pub(crate) use handle::keep;
pub use handle::{Keeping, Polled, Views, keep_polled};
pub use keeper::{Board, Standing};
pub use query::query;
pub use verify::verify;

/// The file in the data directory.
pub const FILE_NAME: &str = "views.db";
