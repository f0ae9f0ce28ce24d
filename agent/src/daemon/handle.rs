//! The handle: what the API and the commands speak to. Clones reach the same node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(feature = "views")]
use std::time::Duration;

use landfall_core::batch::ClockQuality;
use landfall_core::codec::Writer;
use landfall_core::limits::RECORD_BYTES_MAX;
use landfall_core::num::{Partition, ProducerId, Timestamp};
use landfall_core::record::{self, Record};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use super::consumers;
use super::group::{self, Encoded};
use super::input::Input;
use super::producer::Producer;
use crate::api::{
    self, AdminCommand, AdminReply, ApiError, AppendReceipt, AppendRequest, Backend,
    ConsumerAction, ConsumerChange, ConsumerCommit, Cursor, ErrorCode, FetchPage, FetchRequest,
    GroupRequest, Passed, QueryReply, QueryRequest, ReadFrom, ReadItem, ReadPage, ReadQuery,
    Status, Ticket,
};
#[cfg(feature = "views")]
use crate::api::{ViewAt, ViewAtRequest, ViewVerdict};
use crate::clock;
use crate::coordinates::Position;
use crate::event_json::Event;
use crate::node::consumer::{Action, Change, Place, Share, Slots};
use crate::node::{Append, ClientId, Part, Request, Ticket as NodeTicket};

/// Bytes of appends that may wait for the node.
const APPEND_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Keeps the clients of groups apart from those of the API, which count from 0, and of the library.
const GROUP_CLIENTS: u64 = 1 << 62;

/// A handle on a running node.
#[derive(Clone, Debug)]
pub struct Handle {
    inputs: mpsc::Sender<Input>,
    commits: watch::Receiver<u64>,
    room: Arc<Semaphore>,
    /// Bytes of the room while nobody is in it.
    room_bytes: usize,
    next: Arc<AtomicU64>,
    partitions: Arc<BTreeMap<String, u32>>,
    log_id: u64,
    #[cfg(feature = "views")]
    pub(super) views: Option<crate::views::Views>,
}

/// An append under way: its permit keeps its bytes counted until it is answered.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) answer: oneshot::Sender<Result<AppendReceipt, ApiError>>,
    /// The topic and the partition of each part.
    pub(super) streams: Vec<(String, u32)>,
    /// The consumers that it changes.
    pub(super) consumers: Vec<String>,
    pub(super) _room: OwnedSemaphorePermit,
}

impl Handle {
    pub(super) fn new(
        inputs: mpsc::Sender<Input>,
        commits: watch::Receiver<u64>,
        partitions: BTreeMap<String, u32>,
        log_id: u64,
    ) -> Self {
        Self {
            inputs,
            commits,
            room: Arc::new(Semaphore::new(APPEND_BYTES_MAX)),
            room_bytes: APPEND_BYTES_MAX,
            next: Arc::new(AtomicU64::new(1)),
            partitions: Arc::new(partitions),
            log_id,
            #[cfg(feature = "views")]
            views: None,
        }
    }

    /// The same with room for so many bytes of appends that wait, if that is less.
    pub(super) fn with_room(self, bytes: usize) -> Self {
        let room_bytes = bytes.min(APPEND_BYTES_MAX);
        Self { room: Arc::new(Semaphore::new(room_bytes)), room_bytes, ..self }
    }

    /// A producer of one partition of a topic, for programs that the node is built into.
    #[must_use]
    pub fn producer(&self, topic: &str, partition: u32) -> Producer {
        let (inputs, tickets, room) = (self.inputs.clone(), self.next.clone(), self.room.clone());
        Producer::new(inputs, tickets, room, topic, partition)
    }

    /// Tells where the views are; whether somebody hears it.
    #[cfg(feature = "views")]
    pub(super) async fn tell_views(&self, places: Vec<crate::node::ViewPlace>) -> bool {
        self.inputs.send(Input::Views(places)).await.is_ok()
    }

    /// Stops the node in good order.
    pub async fn stop(&self) {
        // If the node is gone, it has stopped.
        let _ = self.inputs.send(Input::Stop).await;
    }

    fn partition(&self, request: &AppendRequest, event: &Event) -> u32 {
        let key = event.key.as_deref();
        request.partition.unwrap_or_else(|| self.partition_of(&request.topic, key))
    }

    /// The records of a request, encoded, by partition, and what their times are worth.
    fn encode(
        &self,
        request: &AppendRequest,
    ) -> Result<BTreeMap<u32, (Vec<u8>, ClockQuality)>, ApiError> {
        let mut parts = BTreeMap::new();
        let wall = clock::wall();
        for event in &request.events {
            let partition = self.partition(request, event);
            let worth = clock::quality_of(wall.quality(), [event.timestamp_ms.is_some()]);
            let (bytes, clock) = parts.entry(partition).or_insert((Vec::new(), worth));
            *clock = clock::quality_of_both(*clock, worth);
            encode_event(request, event, (partition, wall.ms()), bytes)?;
        }
        Ok(parts)
    }

    /// What a consumer's commit is to the node.
    fn commit(&self, commit: &ConsumerCommit) -> Result<Change, ApiError> {
        let ConsumerCommit { consumer, member, cursor } = commit;
        self.of_this_log(&cursor.cursor)?;
        let share = Share { slots: Slots(cursor.slots), at: consumers::place(cursor.cursor) };
        let action = Action::Commit { share, member: member.clone() };
        Ok(Change { consumer: consumer.clone(), action })
    }

    fn of_this_log(&self, cursor: &Cursor) -> Result<(), ApiError> {
        if cursor.log_id == self.log_id {
            return Ok(());
        }
        let text = format!("the cursor {cursor} is of another log");
        let hint = "this node may have been made anew; seek to where it is to go on";
        Err(ApiError::new(ErrorCode::Gone, text).with_hint(hint))
    }

    /// The place where a reader of topics begins.
    async fn place(&self, topics: Vec<String>, from: ReadFrom) -> Result<Place, ApiError> {
        let not_before = match &from {
            ReadFrom::Position(position) => Some(position.clone()),
            ReadFrom::After(cursor) => {
                self.of_this_log(cursor)?;
                return Ok(consumers::place(*cursor));
            }
        };
        let searched = !matches!(&not_before, Some(Position::Earliest | Position::Latest));
        let mut query = ReadQuery {
            topics,
            from,
            not_before,
            seen: None,
            corrected: false,
            origin: None,
            partition: None,
            records_max: 1,
            bytes_max: 1,
        };
        if query.not_before == Some(Position::Earliest) {
            query.topics.clear();
            query.from = ReadFrom::Position(Position::Latest);
            let latest = self.read(query).await?.cursor;
            return Ok(consumers::place(Cursor { commit: 0, index: 0, ..latest }));
        }
        loop {
            let page = self.read(query.clone()).await?;
            let found = page.items.iter().find_map(|item| match item {
                ReadItem::Record(_, behind) if searched => Some(*behind),
                _ => None,
            });
            if let Some(behind) = found {
                let before = Cursor { index: behind.index.saturating_sub(1), ..behind };
                return Ok(consumers::place(before));
            }
            if page.end || !searched {
                return Ok(consumers::place(page.cursor));
            }
            query.from = ReadFrom::After(page.cursor);
        }
    }

    /// Has records written together, with what becomes of consumers.
    async fn write_group(
        &self,
        group: Encoded,
        changes: Vec<Change>,
    ) -> Result<AppendReceipt, ApiError> {
        let bytes = group.parts.iter().map(|part| part.records.len()).sum::<usize>();
        let room = self.room.clone().acquire_many_owned(bytes.clamp(1, self.room_bytes) as u32);
        let room = room.await.map_err(|_| stopping())?;
        let (answer, answered) = oneshot::channel();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let stream = |part: &Part| (part.topic.clone(), part.partition.get());
        let streams = group.parts.iter().map(stream).collect();
        let consumers = changes.iter().map(|change| change.consumer.clone()).collect();
        let request = Request {
            ticket: NodeTicket(number),
            // Each group stands for itself: none is refused because another one was.
            client: ClientId(number | GROUP_CLIENTS),
            attempt: 0,
            records: group.parts,
            group: true,
            conditions: group.conditions,
            changes,
            clock: group.clock,
        };
        let waiting = Waiting { answer, streams, consumers, _room: room };
        self.inputs
            .send(Input::Append(Box::new(request), waiting))
            .await
            .map_err(|_| stopping())?;
        answered.await.unwrap_or_else(|_| Err(stopping()))
    }

    async fn ask<T>(&self, input: impl FnOnce(oneshot::Sender<T>) -> Input) -> Result<T, ApiError> {
        let (answer, answered) = oneshot::channel();
        self.inputs.send(input(answer)).await.map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())
    }
}

impl Backend for Handle {
    async fn append(&self, request: AppendRequest) -> Result<Ticket, ApiError> {
        let parts = self.encode(&request)?;
        let mut answers = Vec::new();
        for (partition, (records, clock)) in parts {
            let bytes = records.len().clamp(1, self.room_bytes) as u32;
            let room = self.room.clone().acquire_many_owned(bytes).await;
            let room = room.map_err(|_| stopping())?;
            let (answer, answered) = oneshot::channel();
            let append = Append {
                ticket: NodeTicket(self.next.fetch_add(1, Ordering::Relaxed)),
                client: ClientId(request.request),
                attempt: 0,
                topic: request.topic.clone(),
                partition: Partition::new(partition),
                records,
                group: false,
                clock,
            };
            let streams = vec![(request.topic.clone(), partition)];
            let waiting = Waiting { answer, streams, consumers: Vec::new(), _room: room };
            let input = Input::Append(Box::new(append.into()), waiting);
            self.inputs.send(input).await.map_err(|_| stopping())?;
            answers.push(answered);
        }
        Ok(Ticket::new(async move {
            let mut receipt = AppendReceipt::default();
            let mut refused = None;
            for answer in answers {
                match answer.await.unwrap_or_else(|_| Err(stopping())) {
                    Ok(part) => {
                        receipt.written.extend(part.written);
                        receipt.duplicates += part.duplicates;
                    }
                    Err(error) => refused = refused.or(Some(error)),
                }
            }
            refused.map_or(Ok(receipt), Err)
        }))
    }

    async fn append_group(&self, request: GroupRequest) -> Result<AppendReceipt, ApiError> {
        let commits = request.commits.iter().map(|commit| self.commit(commit));
        let changes = commits.collect::<Result<_, _>>()?;
        self.write_group(group::encoded(&request, &self.partitions)?, changes).await
    }

    async fn change_consumer(&self, change: ConsumerChange) -> Result<(), ApiError> {
        let ConsumerChange { consumer, action } = change;
        let action = match action {
            ConsumerAction::Create { topics, from } => {
                let at = self.place(topics.clone(), from).await?;
                Action::Create { topics, at }
            }
            ConsumerAction::Commit(commit) => self.commit(&commit)?.action,
            ConsumerAction::Seek(to) => {
                let known = self.status().await?.consumers;
                let known = known.into_iter().find(|known| known.consumer == consumer);
                let topics = known.map(|known| known.topics).unwrap_or_default();
                Action::Seek { at: self.place(topics, to).await? }
            }
            ConsumerAction::Drop => Action::Drop,
        };
        let nothing = Encoded::default();
        self.write_group(nothing, vec![Change { consumer, action }]).await.map(drop)
    }

    async fn fetch(&self, request: FetchRequest) -> Result<FetchPage, ApiError> {
        self.ask(|answer| Input::Fetch(Box::new(request), answer)).await?
    }

    async fn leave(&self, consumer: String, member: String) -> Result<(), ApiError> {
        self.inputs.send(Input::Leave { consumer, member }).await.map_err(|_| stopping())
    }

    fn partition_of(&self, topic: &str, key: Option<&[u8]>) -> u32 {
        partition_by_key(&self.partitions, topic, key)
    }

    async fn read(&self, query: ReadQuery) -> Result<ReadPage, ApiError> {
        self.ask(|answer| Input::Read(Box::new(query), answer)).await?
    }

    async fn wait(&self, through: u64) {
        let mut commits = self.commits.clone();
        // An error means that the node is stopping, and whoever waits will find out by reading.
        let _ = commits.wait_for(|commit| *commit > through).await;
    }

    async fn status(&self) -> Result<Status, ApiError> {
        #[cfg_attr(
            not(feature = "views"),
            expect(unused_mut, reason = "the views are added to it")
        )]
        let mut status = self.ask(Input::Status).await?;
        #[cfg(feature = "views")]
        if let Some(views) = &self.views {
            let missed = self.ask(Input::Missed).await?;
            views.report(&mut status, *self.commits.borrow(), &missed);
        }
        Ok(status)
    }

    async fn passed(&self, lane: String, commit: u64, seq: u64) -> Result<Passed, ApiError> {
        self.ask(|answer| Input::Passed(lane, (commit, seq), answer)).await?
    }

    #[cfg(feature = "views")]
    async fn query(&self, request: QueryRequest) -> Result<QueryReply, ApiError> {
        let Some(views) = &self.views else { return Err(no_views()) };
        if let Some(place) = &request.min_position {
            let behind = async {
                let commit = self.reach(place.parse().map_err(bad_place)?).await?;
                views.reach(request.sql.clone(), commit).await
            };
            let wait_max = Duration::from_millis(request.wait_max_ms);
            let came = tokio::time::timeout(wait_max, behind).await;
            came.map_err(|_| ApiError::not_yet(place))??;
        }
        views.query(request).await
    }

    #[cfg(not(feature = "views"))]
    async fn query(&self, _: QueryRequest) -> Result<QueryReply, ApiError> {
        Err(ApiError::new(ErrorCode::NotFound, "this build has no views"))
    }

    #[cfg(feature = "views")]
    async fn view_at(&self, view: String, wanted: ViewAtRequest) -> Result<ViewAt, ApiError> {
        match &self.views {
            Some(views) => views.at(self.clone(), &view, wanted).await,
            None => Err(no_views()),
        }
    }

    #[cfg(feature = "views")]
    async fn verify_view(&self, view: String) -> Result<ViewVerdict, ApiError> {
        match &self.views {
            Some(views) => views.verify(self.clone(), &view).await,
            None => Err(no_views()),
        }
    }

    async fn reach(&self, place: api::Place) -> Result<u64, ApiError> {
        let mut commits = self.commits.clone();
        loop {
            let seen = *commits.borrow_and_update();
            let asked = place.clone();
            if let Some(commit) = self.ask(|answer| Input::Reached(asked, answer)).await?? {
                return Ok(commit);
            }
            commits.wait_for(|commit| *commit != seen).await.map_err(|_| stopping())?;
        }
    }

    #[cfg(feature = "views")]
    fn views_seen(&self) -> u64 {
        self.views.as_ref().map_or(0, |views| views.board().borrow().writes)
    }

    #[cfg(feature = "views")]
    async fn views_changed(&self, seen: u64) {
        let Some(views) = &self.views else { return std::future::pending().await };
        // An error means that the views end with the node, and whoever waits is told that.
        if views.board().wait_for(|board| board.writes != seen).await.is_err() {
            std::future::pending().await
        }
    }

    async fn admin(&self, command: AdminCommand) -> Result<AdminReply, ApiError> {
        self.ask(|answer| Input::Admin(command, answer)).await?
    }
}

/// The partition of a key; the first one without a key.
pub(super) fn partition_by_key(
    partitions: &BTreeMap<String, u32>,
    topic: &str,
    key: Option<&[u8]>,
) -> u32 {
    let partitions = partitions.get(topic).copied().unwrap_or(1).max(1);
    key.map_or(0, |key| crc32c::crc32c(key) % partitions)
}

/// Encodes an event of a request behind `bytes`, as the node takes it: for the partition that it
/// goes to, and with a time, in milliseconds since 1970, if it has none of its own.
///
/// # Errors
/// `too_large`: no record can hold it.
pub fn encode_event(
    request: &AppendRequest,
    event: &Event,
    (partition, wall_ms): (u32, i64),
    bytes: &mut Vec<u8>,
) -> Result<(), ApiError> {
    let timestamp = Timestamp::new(event.timestamp_ms.unwrap_or(wall_ms));
    let headers: Vec<_> = event.headers.iter().map(group::header).collect();
    let by = producer(request, partition).zip(request.sequence(event));
    let record = Record {
        producer: by.map(|(id, sequence)| record::Producer { id, sequence }),
        headers: record::Headers::List(&headers),
        ..Record::new(timestamp, event.key.as_deref(), event.value.as_deref())
    };
    let at = bytes.len();
    let len = record.encoded_len();
    let fits = record.check().is_ok() && len <= RECORD_BYTES_MAX;
    bytes.resize(at + len, 0);
    let room = bytes.get_mut(at..).unwrap_or_default();
    if fits && record.encode(&mut Writer::new(room)).is_ok() {
        return Ok(());
    }
    let text = format!("a record takes {len} bytes; at most {RECORD_BYTES_MAX} fit");
    let error = ApiError::new(ErrorCode::TooLarge, text).with_hint("split the record");
    Err(error.at_line(event.line))
}

/// A name numbers the lines of one input. Its partitions are committed on their own, and another
/// topic has another input, so each has a sequence of its own.
fn producer(request: &AppendRequest, partition: u32) -> Option<ProducerId> {
    let name = &request.producer.as_ref()?.name;
    Some(ProducerId::of(&format!("{name}\0{}\0{partition}", request.topic)))
}

#[cfg(feature = "views")]
fn bad_place(error: String) -> ApiError {
    ApiError::new(ErrorCode::BadRequest, error)
}

#[cfg(feature = "views")]
fn no_views() -> ApiError {
    ApiError::new(ErrorCode::NotFound, "this node keeps no views")
        .with_hint("docs/views.md tells how to define one")
}

pub(super) fn stopping() -> ApiError {
    ApiError::new(ErrorCode::Stopping, "the node is stopping").with_hint("try again when it is up")
}
