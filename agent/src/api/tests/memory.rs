//! A node in memory: one origin, one partition, all durable at once unless it is told to wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;

use super::super::*;
use crate::coordinates::{Coordinates, Position, StreamName};
use crate::event_json::{Record, RecordClock};

/// The epoch of everything it writes.
pub(crate) const EPOCH: u64 = 0x1f00_ba5e;

#[derive(Clone)]
pub(crate) struct Memory {
    state: Arc<Mutex<State>>,
    /// Number of records; followers wait for it to grow.
    count: watch::Sender<u64>,
    /// While false, appends are taken but not durable.
    synced: watch::Sender<bool>,
    /// While false, reading what one origin wrote waits.
    tells: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    records: Vec<Record>,
    last_sequences: BTreeMap<String, u64>,
    room: Option<usize>,
    appends_waiting: usize,
    appends_waiting_max: usize,
    reads: usize,
    commands: Vec<AdminCommand>,
}

impl Default for Memory {
    fn default() -> Self {
        let (count, synced) = (watch::Sender::new(0), watch::Sender::new(true));
        Self { state: Arc::default(), count, synced, tells: watch::Sender::new(true) }
    }
}

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn values(&self) -> Vec<bytes::Bytes> {
        self.state().records.iter().map(|record| record.value.clone().unwrap()).collect()
    }

    pub(crate) fn records(&self, topic: &str) -> Vec<Record> {
        let of_topic = |record: &&Record| record.coordinates.stream.topic == topic;
        self.state().records.iter().filter(of_topic).cloned().collect()
    }

    pub(crate) fn keys(&self) -> Vec<Option<bytes::Bytes>> {
        self.state().records.iter().map(|record| record.key.clone()).collect()
    }

    /// Refuses records beyond this number.
    pub(crate) fn set_room(&self, records: usize) {
        self.state().room = Some(records);
    }

    /// No longer knows who has written what.
    pub(crate) fn forget_producers(&self) {
        self.state().last_sequences.clear();
    }

    pub(crate) fn set_tells(&self, tells: bool) {
        self.tells.send_replace(tells);
    }

    pub(crate) fn set_synced(&self, synced: bool) {
        self.synced.send_replace(synced);
    }

    pub(crate) fn appends_waiting_max(&self) -> usize {
        self.state().appends_waiting_max
    }

    pub(crate) fn reads(&self) -> usize {
        self.state().reads
    }

    pub(crate) fn commands(&self) -> Vec<AdminCommand> {
        self.state().commands.clone()
    }

    /// Resolves when somebody waits for records.
    pub(crate) async fn somebody_waits(&self) {
        while self.count.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Resolves when nobody waits for records.
    pub(crate) async fn nobody_waits(&self) {
        self.count.closed().await;
    }

    fn write(&self, request: &AppendRequest) -> Result<AppendReceipt, ApiError> {
        let mut state = self.state();
        if state.room.is_some_and(|room| state.records.len() + request.events.len() > room) {
            return Err(ApiError::new(ErrorCode::LaneFull, "lane `normal` is full")
                .with_hint("wait for the link, or raise `lane.budget_bytes`"));
        }
        let first = state.records.len() as u64;
        let mut receipt = AppendReceipt::default();
        for event in &request.events {
            if let (Some(sequence), Some(producer)) = (request.sequence(event), &request.producer) {
                let last = state
                    .last_sequences
                    .entry(format!("{} {}", producer.name, request.topic))
                    .or_default();
                if sequence <= *last {
                    receipt.duplicates += 1;
                    continue;
                }
                *last = sequence;
            }
            let offset = state.records.len() as u64;
            state.records.push(Record {
                coordinates: coordinates(&request.topic, offset),
                seq: offset,
                lane: "normal".to_owned(),
                timestamp_ms: event.timestamp_ms.unwrap_or(0),
                clock: RecordClock::default(),
                key: event.key.clone(),
                value: event.value.clone(),
                headers: event.headers.clone(),
            });
        }
        let count = state.records.len() as u64 - first;
        if count > 0 {
            let first = coordinates(&request.topic, first);
            receipt.written.push(Span { first, count });
        }
        self.count.send_replace(state.records.len() as u64);
        Ok(receipt)
    }
}

fn coordinates(topic: &str, offset: u64) -> Coordinates {
    let stream = StreamName { origin: "ship-17".to_owned(), topic: topic.to_owned(), partition: 0 };
    Coordinates { stream, offset, epoch: Some(EPOCH) }
}

impl Memory {
    fn lane(&self) -> LaneStatus {
        LaneStatus {
            name: "normal".to_owned(),
            next_seq: self.state().records.len() as u64,
            durable_seq: 0,
            root_seq: 0,
            behind_records: 0,
            behind_bytes: 0,
            budget_bytes: 1 << 30,
            used_bytes: 0,
            written_bytes: 0,
            payload_bytes: 0,
            on_full: "reject".to_owned(),
        }
    }
}

fn cursor(commit: u64) -> Cursor {
    Cursor { log_id: 7, epoch: EPOCH, commit, index: 0 }
}

impl Backend for Memory {
    async fn append(&self, request: AppendRequest) -> Result<Ticket, ApiError> {
        if request.topic == "nowhere" {
            return Err(ApiError::new(ErrorCode::UnknownTopic, "there is no topic `nowhere`")
                .with_hint("create it, or set `create_topics`"));
        }
        let outcome = self.write(&request);
        let mut synced = self.synced.subscribe();
        let mut state = self.state();
        state.appends_waiting += 1;
        state.appends_waiting_max = state.appends_waiting_max.max(state.appends_waiting);
        let node = self.clone();
        Ok(Ticket::new(async move {
            synced.wait_for(|synced| *synced).await.unwrap();
            node.state().appends_waiting -= 1;
            outcome
        }))
    }

    async fn read(&self, query: ReadQuery) -> Result<ReadPage, ApiError> {
        if query.origin.is_some() {
            self.tells.subscribe().wait_for(|tells| *tells).await.unwrap();
        }
        let mut state = self.state();
        state.reads += 1;
        let end = state.records.len() as u64;
        let start = match query.from {
            ReadFrom::After(cursor) if cursor.log_id != 7 => {
                return Err(ApiError::new(ErrorCode::Gone, "the cursor is of another log"));
            }
            ReadFrom::After(cursor) => cursor.commit,
            ReadFrom::Position(Position::Latest) => end,
            ReadFrom::Position(Position::Offset(offset) | Position::Seq(offset)) => offset.min(end),
            ReadFrom::Position(_) => 0,
        };
        let mut items = Vec::new();
        let (mut bytes, mut next) = (0, start);
        for record in state.records.iter().skip(start as usize) {
            if items.len() == query.records_max || bytes >= query.bytes_max {
                break;
            }
            next += 1;
            let stream = &record.coordinates.stream;
            let of_origin = query.origin.as_ref().is_none_or(|origin| *origin == stream.origin);
            if of_origin && query.names(&stream.topic) {
                bytes += record.value.as_ref().map_or(0, bytes::Bytes::len);
                items.push(ReadItem::Record(Box::new(record.clone()), cursor(next)));
            }
        }
        let (mut seen, lacking) = (Seen::default(), 0);
        seen.0[0] = next;
        let (cursor, through) = (cursor(next), next);
        Ok(ReadPage { items, cursor, through, end: next == end, seen, lacking })
    }

    async fn wait(&self, through: u64) {
        let mut count = self.count.subscribe();
        count.wait_for(|count| *count > through).await.unwrap();
    }

    async fn reach(&self, place: Place) -> Result<u64, ApiError> {
        let commit = match place {
            Place::Record(record) => record.offset + 1,
            Place::Cursor(cursor) => cursor.commit,
        };
        let mut count = self.count.subscribe();
        count.wait_for(|count| *count >= commit).await.unwrap();
        Ok(commit)
    }

    async fn status(&self) -> Result<Status, ApiError> {
        Ok(Status {
            site: "ship-17".to_owned(),
            version: "0.1.0".to_owned(),
            log_id: format!("{:016x}", 7),
            epoch: format!("{EPOCH:016x}"),
            now_ms: 0,
            clock: ClockStatus::default(),
            lanes: vec![self.lane()],
            link: None,
            streams: StreamsSummary { own: 1, ..StreamsSummary::default() },
            forks: Vec::new(),
            gaps: Vec::new(),
            alarms: Vec::new(),
            sites: Vec::new(),
            offences: BTreeMap::new(),
            subscriptions: vec![SubscriptionStatus {
                topic: "charts".into(),
                state: SubscriptionState::Level,
                why: None,
            }],
            views: Vec::new(),
            consumers: Vec::new(),
            medium: crate::api::MediumStatus::default(),
            memory: crate::api::MemoryStatus::default(),
        })
    }

    /// Answers with the question.
    async fn query(&self, request: QueryRequest) -> Result<QueryReply, ApiError> {
        let columns = vec!["sql".to_owned(), "rows_max".to_owned()];
        let rows = vec![vec![request.sql.into(), request.rows_max.into()]];
        Ok(QueryReply { columns, rows, truncated: false })
    }

    async fn admin(&self, command: AdminCommand) -> Result<AdminReply, ApiError> {
        self.state().commands.push(command.clone());
        Ok(match command {
            AdminCommand::CreateToken(TokenWanted { site, uses, .. }) => {
                AdminReply::Token(TokenGrant {
                    token: "lf1-secret".to_owned(),
                    site,
                    uses,
                    expires_ms: 5,
                })
            }
            AdminCommand::Sites => AdminReply::Sites(Vec::new()),
            AdminCommand::Revoke { site } if site == "nobody" => {
                return Err(ApiError::new(ErrorCode::UnknownSite, "there is no site `nobody`"));
            }
            _ => AdminReply::Done { message: "done".to_owned() },
        })
    }
}
