//! From the outbox to the log: what waits is appended under its sequences.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use landfall_core::codec::Reader;
use landfall_core::record::Record;
use rusqlite::{Connection, Error};

use super::outbox::{Waiting, oldest};
use crate::api::{ApiError, AppendRequest, Backend, ProducerName};
use crate::event_json::{Event, Header};

/// What became of what was sent: durable up to a number of the outbox, or why not.
pub(in crate::views) type Sent = Result<i64, String>;

/// Records that are sent together.
const RECORDS_MAX: u32 = 1_024;
/// Their bytes.
const BYTES_MAX: usize = 512 << 10;
/// Keeps these appends apart from others: what is refused of one append refuses nothing of
/// another.
const REQUESTS: u64 = 1 << 61;
/// Numbers the appends of this process.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Takes the oldest of what waits of a view; what is returned appends it and waits until it is
/// durable. None if nothing waits.
pub(in crate::views) fn send<B: Backend>(
    backend: B,
    connection: &Connection,
    view: &str,
) -> Result<Option<impl Future<Output = Sent> + Send + 'static>, Error> {
    let waiting = oldest(connection, view, (RECORDS_MAX, BYTES_MAX))?;
    let Some(through) = waiting.last().map(|last| last.id) else { return Ok(None) };
    let requests = requests(waiting);
    Ok(Some(async move {
        let appended = append(&backend, requests).await;
        appended.map(|()| through).map_err(|error| error.to_string())
    }))
}

/// The appends, one for each partition and producer. Within a partition records keep their order.
fn requests(waiting: Vec<Waiting>) -> Vec<AppendRequest> {
    let mut requests: Vec<AppendRequest> = Vec::new();
    for Waiting { producer, entry, .. } in waiting {
        let Some(event) = event(entry.sequence, &entry.encoded) else { continue };
        let topic = entry.target.topic;
        let partition = Some(entry.target.partition.get());
        let producer = Some(ProducerName { name: producer, first_sequence: 1 });
        let same = |of: &&mut AppendRequest| {
            (&of.topic, of.partition, &of.producer) == (&topic, partition, &producer)
        };
        if let Some(request) = requests.iter_mut().find(same) {
            request.events.push(event);
            continue;
        }
        let request = NEXT.fetch_add(1, Ordering::Relaxed) | REQUESTS;
        requests.push(AppendRequest { request, topic, partition, producer, events: vec![event] });
    }
    requests
}

/// A record of the outbox as it is appended. Its line is its sequence.
fn event(sequence: u64, encoded: &[u8]) -> Option<Event> {
    // A file that somebody changed may hold anything.
    let record = Record::decode(&mut Reader::new(encoded)).ok()?;
    let headers = record.headers.iter().map(|header| Header {
        name: header.name.to_owned(),
        value: header.value.map(Bytes::copy_from_slice),
    });
    Some(Event {
        line: sequence,
        key: record.key.map(Bytes::copy_from_slice),
        timestamp_ms: Some(record.timestamp.get()),
        value: record.value.map(Bytes::copy_from_slice),
        headers: headers.collect(),
    })
}

async fn append<B: Backend>(backend: &B, requests: Vec<AppendRequest>) -> Result<(), ApiError> {
    let mut tickets = Vec::new();
    for request in requests {
        tickets.push(backend.append(request).await?);
    }
    for ticket in tickets {
        ticket.await?;
    }
    Ok(())
}
