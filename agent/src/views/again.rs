//! A view's rows made again, from the beginning of the log up to a place, in a file of their own.

use std::time::Duration;

use rusqlite::Error;
use tokio::runtime::Handle as Runtime;

use super::apply::{Applied, Applying, apply};
use super::definition::Definition;
use super::file::{Progress, ViewFile};
use crate::api::{
    ApiError, Backend, Cursor, ErrorCode, ReadFrom, ReadItem, ReadPage, ReadQuery, Seen,
};
use crate::clock;
use crate::coordinates::Position;

/// Records of a page. Between pages the thread rests for as long as the page took.
const PAGE_RECORDS_MAX: usize = 1_024;
const PAGE_BYTES_MAX: usize = 256 << 10;

/// Applies the log from its beginning up to a place, to a view that was made in `file`.
///
/// # Errors
/// The log can't be read, or the disk refuses.
pub(super) fn make_again<B: Backend>(
    (file, definition): (&ViewFile, &Definition),
    (backend, runtime): (&B, &Runtime),
    to: Cursor,
) -> Result<Progress, ApiError> {
    let mut query = ReadQuery {
        topics: definition.topics(),
        from: ReadFrom::Position(Position::Earliest),
        not_before: None,
        seen: Some(Seen::default()),
        corrected: false,
        origin: None,
        partition: None,
        records_max: PAGE_RECORDS_MAX,
        bytes_max: PAGE_BYTES_MAX,
    };
    let mut progress = Progress::START;
    loop {
        let mut page = runtime.block_on(backend.read(query.clone()))?;
        let is_last = cut(&mut page, to) || page.end;
        let began = clock::monotonic();
        let view = Applying { file, definition, deriving: None };
        let applied = apply(view, &progress, &page, clock::wall().ms());
        progress = match applied.map_err(refused)? {
            Applied::Whole(progress) => progress,
            Applied::Halted(progress, _) => return Ok(progress),
        };
        if is_last {
            return Ok(progress);
        }
        (query.from, query.seen) = (ReadFrom::After(page.cursor), Some(page.seen));
        let took = clock::monotonic().ms_since(began);
        runtime.block_on(tokio::time::sleep(Duration::from_millis(took)));
    }
}

/// Takes away what stands behind a position; whether the page came to it.
fn cut(page: &mut ReadPage, to: Cursor) -> bool {
    let place = |cursor: &Cursor| (cursor.commit, cursor.index);
    if place(&page.cursor) < place(&to) {
        return false;
    }
    page.items.retain(|item| match item {
        ReadItem::Record(_, behind) | ReadItem::Gap(_, behind) => place(behind) <= place(&to),
    });
    true
}

/// What a file says that can't be written.
pub(super) fn refused(error: Error) -> ApiError {
    ApiError::new(ErrorCode::Internal, format!("the files for the rows that are made: {error}"))
        .with_hint("they take as much room on the disk as the view, each")
}
