//! Dead letters: what is told of a record that did not come into its topic.
//!
//! ```text
//! landfall.at, .hash, .path, .producer   as on any record (see birth.rs)
//! landfall.topic    the topic of Kafka that it was for
//! landfall.size     its bytes, as its origin stored it
//! landfall.time     its timestamp in ms; that of the letter is when it was written
//! landfall.refused  why
//! ```
//!
//! The record that was refused has no value and no headers of its own here, since they may be what
//! Kafka does not take, and its key only if it is short. What came with it has all that is its own.

use landfall_core::batch::Batch;
use landfall_core::codec::Malformed;
use rdkafka::message::{Header, OwnedHeaders};

use super::birth;
use super::refusals::Aside;

/// The longest key of a refused record that is told.
const KEY_BYTES_MAX: usize = 4_096;

/// A record for the topic of dead letters.
#[derive(Debug)]
pub(super) struct Letter<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: OwnedHeaders,
}

/// The records of a batch that are put aside, as dead letters: each with its offset. `topic` is
/// what they were for, and `path` the text of the path they took.
pub(super) fn letters<'a>(
    batch: &Batch<'a>,
    aside: &'a [Aside],
    topic: &'a str,
    path: &'a str,
) -> impl Iterator<Item = Result<Letter<'a>, Malformed>> + use<'a> {
    let head = batch.head;
    let mut hash = head.before;
    batch.records().filter_map(move |placed| {
        let placed = match placed {
            Ok(placed) => placed,
            Err(malformed) => return Some(Err(malformed)),
        };
        hash = hash.then(head.epoch, placed.offset, placed.encoded);
        let aside = aside.iter().find(|aside| aside.holds(placed.offset))?;
        let refused = aside.refused == Some(placed.offset);
        let (record, size) = (placed.record, placed.encoded.len());
        let at = format!("{}@{}~{:x}", head.stream, placed.offset, head.epoch.get());
        let mut headers = OwnedHeaders::new();
        if !refused {
            for header in record.headers.iter() {
                headers = headers.insert(Header { key: header.name, value: header.value });
            }
        }
        let told = [
            (birth::AT, at),
            (birth::HASH, hash.to_string()),
            (birth::PATH, path.to_owned()),
            (birth::TOPIC, topic.to_owned()),
            (birth::SIZE, size.to_string()),
            (birth::TIME, record.timestamp.get().to_string()),
            (birth::REFUSED, aside.why.clone()),
        ];
        for (key, value) in &told {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        if let Some(producer) = record.producer {
            let value = Some(&birth::producer_text(producer));
            headers = headers.insert(Header { key: birth::PRODUCER, value });
        }
        let key = record.key.filter(|key| !refused || key.len() <= KEY_BYTES_MAX);
        let value = record.value.filter(|_| !refused);
        Some(Ok(Letter { key, value, headers }))
    })
}
