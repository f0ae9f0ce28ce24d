//! Where a record came from, and what it touched: read from this node's log.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::backend::{Backend, ReadFrom, ReadItem, ReadQuery};
use super::cursor::Cursor;
use super::dead::{DEAD_HEADERS, DEAD_SUFFIX};
use super::error::ApiError;
use super::locate::{PAGE_BYTES_MAX, PAGE_RECORDS_MAX, locate};
use super::status::ViewState;
use crate::coordinates::Coordinates;
use crate::event_json::{Record, write_record};

/// The header of a derived record with the coordinates of its cause.
pub(crate) const CAUSE: &str = "landfall.cause";
/// The header of a derived record with the view or rule, and the generation that derived it.
pub(crate) const BY: &str = "landfall.by";
/// Derived records and dead letters that are told one by one.
const TOLD_MAX: usize = 1_000;

/// What is known of a record.
#[derive(Debug, Deserialize, Serialize)]
pub struct Trace {
    /// Its coordinates, with its epoch.
    pub coordinates: String,
    /// The commit of this node's log that it is of.
    pub commit: u64,
    /// The record, as a reader sees it.
    pub record: Box<RawValue>,
    /// The nodes that it came from, one after the other; none if it was written here.
    pub path: Vec<TraceHop>,
    /// What it was derived from; none if it was not.
    pub cause: Option<TraceLink>,
    /// The records that were derived from it, as far as they are here.
    pub derived: Vec<TraceLink>,
    /// The dead letters about it, as far as they are here.
    pub letters: Vec<TraceLetter>,
    /// The views of this node that follow its topic.
    pub views: Vec<TraceView>,
    /// Whether there are more derived records or letters than are told.
    pub truncated: bool,
}

/// A node that a record came from on its way.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TraceHop {
    /// The node.
    pub site: String,
    /// When the node behind it took the record in, in milliseconds since 1970 by that one's clock.
    pub received_ms: i64,
}

/// A record that is the cause of another one, or derived from it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TraceLink {
    /// Its coordinates.
    pub coordinates: String,
    /// The view or rule that derived the one from the other, and its generation.
    pub by: String,
}

/// A dead letter.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TraceLetter {
    /// Its name.
    pub letter: String,
    /// Its coordinates.
    pub coordinates: String,
    /// Why the record was set aside.
    pub error: String,
    /// Whether it was settled.
    pub settled: bool,
}

/// A view that follows a record's topic.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TraceView {
    /// Its name.
    pub view: String,
    /// How it is.
    pub state: ViewState,
    /// The commit that it has come to.
    pub commit: u64,
    /// Whether it has the record behind it.
    pub passed: bool,
}

/// What a node knows of a record besides the record, and where else to look.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Passed {
    /// The nodes that it came from.
    pub path: Vec<TraceHop>,
    /// The topics that there are.
    pub topics: Vec<String>,
}

/// Traces a record.
///
/// # Errors
/// The log of this node has no such record, or can't be read.
pub async fn trace<B: Backend>(backend: &B, wanted: &Coordinates) -> Result<Trace, ApiError> {
    let (record, behind) = locate(backend, wanted).await?;
    let passed = backend.passed(record.lane.clone(), behind.commit, record.seq).await?;
    let mut line = String::new();
    write_record(&mut line, &record);
    let cause = |cause: &str| TraceLink { coordinates: cause.to_owned(), by: header(&record, BY) };
    let coordinates = record.coordinates.to_string();
    let is_letter = record.coordinates.stream.topic.ends_with(DEAD_SUFFIX);
    let derived_from = Some(header(&record, CAUSE)).filter(|cause| !cause.is_empty());
    let mut trace = Trace {
        commit: behind.commit,
        record: RawValue::from_string(line).unwrap_or_default(),
        path: passed.path,
        cause: derived_from.filter(|_| !is_letter).as_deref().map(cause),
        derived: Vec::new(),
        letters: Vec::new(),
        views: views(backend, &record, &behind).await?,
        truncated: false,
        coordinates,
    };
    // What comes of a record stands behind it.
    let mut query = ReadQuery {
        topics: passed.topics,
        from: ReadFrom::After(behind),
        not_before: None,
        seen: None,
        corrected: false,
        origin: None,
        partition: None,
        records_max: PAGE_RECORDS_MAX,
        bytes_max: PAGE_BYTES_MAX,
    };
    loop {
        let page = backend.read(query.clone()).await?;
        for item in &page.items {
            if let ReadItem::Record(other, _) = item {
                trace.touch(other);
            }
        }
        if page.end {
            return Ok(trace);
        }
        query.from = ReadFrom::After(page.cursor);
    }
}

impl Trace {
    /// Takes note of a record that may have come of the one that is traced.
    fn touch(&mut self, other: &Record) {
        let is_full = self.derived.len() + self.letters.len() >= TOLD_MAX;
        let coordinates = other.coordinates.to_string();
        if other.coordinates.stream.topic.ends_with(DEAD_SUFFIX) {
            let key = other.key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
            let Some(letter) = key else { return };
            if letter.split_once(':').map(|(_, about)| about) != Some(&self.coordinates) {
                return;
            }
            if let Some(known) = self.letters.iter_mut().find(|known| known.letter == letter) {
                known.settled = other.value.is_none();
            } else if other.value.is_some() && !is_full {
                let error = header(other, &format!("{DEAD_HEADERS}error"));
                let letter = letter.to_owned();
                self.letters.push(TraceLetter { letter, coordinates, error, settled: false });
            } else {
                self.truncated |= is_full;
            }
        } else if header(other, CAUSE) == self.coordinates {
            match is_full {
                true => self.truncated = true,
                false => self.derived.push(TraceLink { coordinates, by: header(other, BY) }),
            }
        }
    }
}

async fn views<B: Backend>(
    backend: &B,
    record: &Record,
    behind: &Cursor,
) -> Result<Vec<TraceView>, ApiError> {
    let topic = &record.coordinates.stream.topic;
    let views = backend.status().await?.views.into_iter();
    let follow = views.filter(|view| view.topics.contains(topic)).map(|view| {
        // A page of a view may end within a commit.
        let passed = view.commit > behind.commit || view.caught_up && view.commit == behind.commit;
        TraceView { view: view.view, state: view.state, commit: view.commit, passed }
    });
    Ok(follow.collect())
}

/// The text of a header; nothing if it is not there.
fn header(record: &Record, name: &str) -> String {
    let found = record.headers.iter().rev().find(|header| header.name == name);
    let value = found.and_then(|header| header.value.as_deref()).unwrap_or_default();
    String::from_utf8_lossy(value).into_owned()
}
