//! What the log has of what a view derives: asked of the log itself, at each start of the view.

use std::time::Duration;

use landfall_core::num::Partition;

use super::letter::set_aside_by;
use super::outbox::cause_of;
use super::{BY, CAUSE};
use crate::api::{
    ApiError, Backend, Cursor, DEAD_SUFFIX, ErrorCode, ReadFrom, ReadItem, ReadQuery,
};
use crate::coordinates::{Coordinates, Position};
use crate::event_json::Record;
use crate::node::{CauseStream, Derived, Target};

/// What is asked of the log.
#[derive(Clone, Debug)]
pub(in crate::views) struct Asked {
    /// The view.
    pub(in crate::views) view: String,
    /// The topics that it derives.
    pub(in crate::views) topics: Vec<String>,
    /// What is derived from records before this place was settled before; none if nothing was.
    pub(in crate::views) from: Option<Cursor>,
}

const PAGE_RECORDS_MAX: usize = 4_096;
const PAGE_BYTES_MAX: usize = 512 << 10;
/// When to try again what the disk refused to read.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What the log has.
///
/// # Errors
/// The log has no such place, or the node is stopping.
pub(in crate::views) async fn known<B: Backend>(
    backend: &B,
    asked: Asked,
) -> Result<Derived, ApiError> {
    let mut known = Derived::default();
    if asked.topics.is_empty() {
        return Ok(known);
    }
    let site = backend.status().await?.site;
    let from = asked.from.map_or(ReadFrom::Position(Position::Earliest), ReadFrom::After);
    let mut query = ReadQuery {
        topics: asked.topics,
        from,
        not_before: None,
        seen: None,
        corrected: false,
        origin: Some(site),
        partition: None,
        records_max: PAGE_RECORDS_MAX,
        bytes_max: PAGE_BYTES_MAX,
    };
    loop {
        let page = match backend.read(query.clone()).await {
            Ok(page) => page,
            Err(error) if matches!(error.code, ErrorCode::Gone | ErrorCode::Stopping) => {
                return Err(error);
            }
            Err(error) => {
                tracing::warn!(%error, "a view waits for what it has derived");
                tokio::time::sleep(READ_AGAIN_AFTER).await;
                continue;
            }
        };
        for item in &page.items {
            let ReadItem::Record(record, _) = item else { continue };
            if let Some((target, stream, offset)) = derived_by(&asked.view, record) {
                known.note(target, stream, offset);
            }
        }
        if page.end {
            return Ok(known);
        }
        query.from = ReadFrom::After(page.cursor);
    }
}

/// Where a record was derived to, and from what, if a view has derived it or set its cause aside.
fn derived_by(
    view: &str,
    record: &Record,
) -> Option<(Target, CauseStream, landfall_core::num::Offset)> {
    let header = |name: &str| {
        let found = record.headers.iter().rev().find(|header| header.name == name)?;
        std::str::from_utf8(found.value.as_deref()?).ok()
    };
    let derived = || {
        let (by, _) = header(BY)?.split_once('/')?;
        (by == view).then(|| header(CAUSE)?.parse().ok()).flatten()
    };
    // A letter has the headers of its record, which may have been derived itself.
    let cause: Coordinates = match record.coordinates.stream.topic.ends_with(DEAD_SUFFIX) {
        true => set_aside_by(view, record)?,
        false => derived()?,
    };
    let stream = &record.coordinates.stream;
    let target =
        Target { topic: stream.topic.clone(), partition: Partition::new(stream.partition) };
    let (stream, offset) = cause_of(&cause);
    Some((target, stream, offset))
}
