//! Pages out: `GET /v1/topics/{topic}/records` as newline-delimited JSON.
//!
//! ```text
//! {"topic":"ais",…}                                       a record, as `event_json` writes it
//! {"gap":{"stream":"ship-17/ais/0","from":7,"to":9,"why":"…"}}
//! {"end":{"cursor":"…","records":5000}}     or     {"error":{…}}
//! ```

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Sender;

use super::backend::{Backend, Gap, ReadFrom, ReadItem, ReadQuery};
use super::error::ApiError;
use super::routes::named;
use super::status::GapStatus;
use crate::event_json::write_record;

/// The last line of an answer, if all went well.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReadEnd {
    /// Where to go on, by `after=`.
    pub cursor: String,
    /// Records in the answer.
    pub records: u64,
}

/// Sends page after page until nothing durable is left, `records_max` records were sent, or the
/// client is gone. The first page is given, since its failure decides the status.
pub(super) async fn send_pages(
    backend: impl Backend,
    mut query: ReadQuery,
    mut page: super::ReadPage,
    mut records_left: u64,
    body: Sender<Bytes>,
) {
    let mut records = 0;
    loop {
        let mut text = String::new();
        for item in &page.items {
            records += write_item(&mut text, item);
        }
        let sent = u64::try_from(page.items.len()).unwrap_or(u64::MAX);
        records_left = records_left.saturating_sub(sent);
        let last = page.end || records_left == 0;
        if last {
            let end = ReadEnd { cursor: page.cursor.to_string(), records };
            text.push_str(&named("end", &end));
            text.push('\n');
        }
        if body.send(Bytes::from(text)).await.is_err() || last {
            return;
        }
        query.from = ReadFrom::After(page.cursor);
        query.records_max = page_records(records_left);
        page = match backend.read(query.clone()).await {
            Ok(page) => page,
            Err(error) => return send_error(&body, &error).await,
        };
    }
}

/// How many records the next page may have when `left` are wanted in all.
pub(super) fn page_records(left: u64) -> usize {
    let max = super::limits::PAGE_RECORDS_MAX;
    usize::try_from(left).unwrap_or(max).min(max)
}

/// Appends an item as a line; returns the number of records in it.
pub(super) fn write_item(text: &mut String, item: &ReadItem) -> u64 {
    let records = match item {
        ReadItem::Record(record, _) => {
            write_record(text, record);
            1
        }
        ReadItem::Gap(gap, _) => {
            text.push_str(&gap_json(gap));
            0
        }
    };
    text.push('\n');
    records
}

pub(super) fn gap_json(gap: &Gap) -> String {
    let (stream, why) = (gap.stream.to_string(), gap.why.clone());
    named("gap", &GapStatus { stream, from: gap.from, to: gap.to, why })
}

async fn send_error(body: &Sender<Bytes>, error: &ApiError) {
    // A client that is gone needs no error.
    let _ = body.send(Bytes::from(format!("{}\n", error.to_line()))).await;
}
