//! What a running node has, as its API tells.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::shelf::Shelves;
use crate::api::{Client, ClientError, encoded};

/// A record, as the API tells it.
#[derive(Deserialize)]
struct Record<'a> {
    offset: u64,
    epoch: String,
    #[serde(borrow)]
    value: &'a RawValue,
}

/// Reads all that a node has of a topic of one origin.
///
/// # Errors
/// The node refuses, or does not speak as this program does.
pub(super) async fn scan(
    client: &Client,
    origin: &str,
    topic: &str,
) -> Result<Shelves, ClientError> {
    let mut shelves = Shelves::default();
    let mut lines = client.read(topic, &format!("origin={}", encoded(origin))).await?;
    while let Some(line) = lines.next().await? {
        if line.starts_with(b"{\"end\":") {
            return Ok(shelves);
        }
        if line.starts_with(b"{\"gap\":") {
            continue;
        }
        let unknown = |why: String| ClientError::NotUnderstood(format!("a record: {why}"));
        let record: Record<'_> =
            serde_json::from_slice(&line).map_err(|error| unknown(error.to_string()))?;
        let epoch = u64::from_str_radix(&record.epoch, 16)
            .map_err(|_| unknown(format!("epoch {}", record.epoch)))?;
        shelves.take(Some(record.value.get().as_bytes()), record.offset, epoch);
    }
    Err(ClientError::Broken("the answer has no end".to_owned()))
}
