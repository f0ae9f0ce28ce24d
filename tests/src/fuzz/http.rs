//! The local API as a server: any bytes of a client are answered or refused, and never by a fault
//! of the server.

use std::future::{Future, pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use landfall::api::{
    AdminCommand, AdminReply, ApiError, AppendReceipt, AppendRequest, Backend, Cursor, ErrorCode,
    Place, QueryReply, QueryRequest, ReadItem, ReadPage, ReadQuery, Seen, Span, Status, Ticket,
    serve_connection,
};
use landfall::coordinates::{Coordinates, StreamName};
use landfall::event_json::{Event, Record, RecordClock};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

/// The greatest length of a record here.
const RECORD_BYTES_MAX: usize = 1024;
/// What the connection holds in either direction.
const PIPE_BYTES: usize = 16 * 1024;
/// How often every task has its turn, once all is sent, before the node stops.
const TURNS: usize = 64;

/// A client's bytes, after which it sends no more.
pub(super) fn http(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("the system gives a timer");
    let answer = runtime.block_on(talk(bytes));
    if let Some(status) = answer.strip_prefix(b"HTTP/1.") {
        let status = status.get(2..5).unwrap_or_default();
        assert!(status < &b"500"[..], "the server is at fault: {}", answer.escape_ascii());
    } else {
        assert!(answer.is_empty(), "not HTTP: {}", answer.escape_ascii());
    }
}

async fn talk(bytes: &[u8]) -> Vec<u8> {
    let (server, client) = tokio::io::duplex(PIPE_BYTES);
    let (stop, stopped) = watch::channel(false);
    let shelf = Shelf::default();
    let served = serve_connection(server, shelf.clone(), RECORD_BYTES_MAX, stopped);
    let (mut reading, mut writing) = tokio::io::split(client);
    let ask = async {
        // The server may close before it has read all.
        let _ = writing.write_all(bytes).await;
        let _ = writing.shutdown().await;
        // A client that still reads may be told of new records for ever: the node stops some time.
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        stop.send_replace(true);
    };
    let mut answer = Vec::new();
    let ((), (), _) = tokio::join!(served, ask, reading.read_to_end(&mut answer));
    answer
}

/// A node that takes all records and keeps none, and has the same two to read.
#[derive(Clone, Default)]
struct Shelf(Arc<AtomicU64>);

impl Backend for Shelf {
    fn append(
        &self,
        request: AppendRequest,
    ) -> impl Future<Output = Result<Ticket, ApiError>> + Send {
        let count = request.events.len() as u64;
        assert!(count > 0, "an append has records");
        let len = |event: &Event| event.value.as_ref().map_or(0, Bytes::len);
        assert!(request.events.iter().all(|event| len(event) <= RECORD_BYTES_MAX));
        let offset = self.0.fetch_add(count, Ordering::Relaxed);
        let stream = stream(&request.topic, request.partition.unwrap_or(0));
        let first = Coordinates { stream, offset, epoch: Some(1) };
        let receipt = AppendReceipt { written: vec![Span { first, count }], duplicates: 0 };
        ready(Ok(Ticket::new(ready(Ok(receipt)))))
    }

    fn read(&self, query: ReadQuery) -> impl Future<Output = Result<ReadPage, ApiError>> + Send {
        assert!(query.records_max > 0, "a page has records");
        let cursor = |index| Cursor { log_id: 1, epoch: 2, commit: 3, index };
        let item = |index| {
            let topic = query.topics.first().map(String::as_str).unwrap_or_default();
            let stream = stream(topic, query.partition.unwrap_or(0));
            let record = Record {
                coordinates: Coordinates { stream, offset: u64::from(index), epoch: Some(2) },
                seq: 4,
                lane: "normal".to_owned(),
                timestamp_ms: 5,
                clock: RecordClock::default(),
                key: None,
                value: Some(Bytes::from_static(b"{}")),
                headers: Vec::new(),
            };
            ReadItem::Record(Box::new(record), cursor(index))
        };
        let items = (0..2).take(query.records_max).map(item).collect();
        let (seen, lacking) = (Seen::default(), 0);
        ready(Ok(ReadPage { items, cursor: cursor(2), through: 3, end: true, seen, lacking }))
    }

    fn wait(&self, _through: u64) -> impl Future<Output = ()> + Send {
        pending()
    }

    fn reach(&self, _place: Place) -> impl Future<Output = Result<u64, ApiError>> + Send {
        ready(Ok(3))
    }

    fn status(&self) -> impl Future<Output = Result<Status, ApiError>> + Send {
        ready(Err(ApiError::new(ErrorCode::Gone, "this node has none")))
    }

    fn query(
        &self,
        request: QueryRequest,
    ) -> impl Future<Output = Result<QueryReply, ApiError>> + Send {
        let (columns, rows) = (vec!["asked".to_owned()], vec![vec![request.sql.into()]]);
        ready(Ok(QueryReply { columns, rows, truncated: false }))
    }

    fn admin(
        &self,
        command: AdminCommand,
    ) -> impl Future<Output = Result<AdminReply, ApiError>> + Send {
        ready(Ok(AdminReply::Done { message: format!("{command:?}") }))
    }
}

fn stream(topic: &str, partition: u32) -> StreamName {
    StreamName { origin: "ship-1".to_owned(), topic: topic.to_owned(), partition }
}
