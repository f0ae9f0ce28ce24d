//! Finding a record by its coordinates.

use super::backend::{Backend, ReadFrom, ReadItem, ReadQuery};
use super::cursor::Cursor;
use super::error::{ApiError, ErrorCode};
use crate::coordinates::{Coordinates, Position};
use crate::event_json::Record;

pub(crate) const PAGE_RECORDS_MAX: usize = 1_024;
pub(crate) const PAGE_BYTES_MAX: usize = 256 << 10;

/// A record and the place behind it. Without an epoch, the last of those with the offset counts.
///
/// # Errors
/// The log of this node has no such record, or can't be read.
pub(crate) async fn locate<B: Backend>(
    backend: &B,
    wanted: &Coordinates,
) -> Result<(Box<Record>, Cursor), ApiError> {
    let stream = &wanted.stream;
    let mut query = ReadQuery {
        topics: vec![stream.topic.clone()],
        from: ReadFrom::Position(Position::Earliest),
        not_before: Some(Position::Record(wanted.clone())),
        seen: None,
        corrected: false,
        origin: Some(stream.origin.clone()),
        partition: Some(stream.partition),
        records_max: PAGE_RECORDS_MAX,
        bytes_max: PAGE_BYTES_MAX,
    };
    let mut found = None;
    loop {
        let page = backend.read(query.clone()).await?;
        for item in page.items {
            let ReadItem::Record(record, behind) = item else { continue };
            let of = &record.coordinates;
            let same = of.stream == *stream && of.offset == wanted.offset;
            if same && wanted.epoch.is_none_or(|epoch| of.epoch == Some(epoch)) {
                found = Some((record, behind));
            }
        }
        if page.end {
            break;
        }
        query.from = ReadFrom::After(page.cursor);
    }
    found.ok_or_else(|| {
        let text = format!("the log of this node has no record {wanted}");
        let hint = "it was forgotten, or has not come here; `landfall read` shows what is there";
        ApiError::new(ErrorCode::NotFound, text).with_hint(hint)
    })
}
