//! A producer of the library: one partition, many records in flight, no channel for each.
//!
//! ```text
//! append ─▶ queue ──(one input when it was empty)──▶ node thread takes all of it ─▶ one append
//!              ▲                                                                        │
//!   room ◀─────┴───────────── durable up to ticket n, at these offsets ◀── commit ──────┘
//! ```
//!
//! While the node syncs, the queue grows, and the next commit takes it as a whole. So the number of
//! messages between the threads follows the number of commits and not of records.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use landfall_core::batch::ClockQuality;
use landfall_core::codec::Writer;
use landfall_core::limits::RECORD_BYTES_MAX;
use landfall_core::num::{Partition, Timestamp};
use landfall_core::record::Record;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, watch};

use super::handle::stopping;
use super::input::Input;
use crate::api::{ApiError, ErrorCode};
use crate::clock;
use crate::node::{Append, ClientId, Ticket};

/// Records of a producer that may be in flight.
pub const IN_FLIGHT_MAX: usize = 4_096;
/// Runs of offsets that are remembered for whoever asks late.
const RUNS_MAX: usize = 1_024;

/// Appends to one partition of a topic, in order, with up to [`IN_FLIGHT_MAX`] records in flight.
///
/// ```no_run
/// # async fn append(data: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
/// use landfall::{config::Config, daemon};
///
/// let config = Config::load(None, data, std::env::vars())?;
/// let node = daemon::Daemon::start(daemon::open(data, config)?, true)?;
/// let mut producer = node.handle.producer("ais", 0);
/// let ticket = producer.append(None, Some(b"366899260"), Some(b"{\"sog\":17.9}")).await?;
/// producer.durable(ticket).await?;
/// # Ok(()) }
/// ```
///
/// What was appended becomes durable by itself, whether or not anybody waits for it. After a
/// refusal nothing more is taken: whoever wants to go on makes another producer and sends what was
/// not durable again.
#[derive(Debug)]
pub struct Producer {
    queue: Arc<Queue>,
    inputs: mpsc::Sender<Input>,
    progress: watch::Receiver<Progress>,
    next: u64,
}

/// A record that was appended: its number among those of its producer, from 0.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct RecordTicket(pub u64);

/// How far a producer's records are durable.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// Records below this number are durable.
    durable: u64,
    /// Why nothing more will be.
    refused: Option<ApiError>,
}

/// What a producer and the node's thread share.
#[derive(Debug)]
pub(super) struct Queue {
    topic: String,
    partition: Partition,
    client: ClientId,
    tickets: Arc<AtomicU64>,
    waiting: Mutex<Waiting>,
    progress: watch::Sender<Progress>,
    records: Semaphore,
    /// Bytes that all who append through the handle may have in flight together.
    room: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Waiting {
    encoded: Vec<u8>,
    /// The quality of the clock that gave their times.
    clock: ClockQuality,
    count: u64,
    /// Whether the node's thread knows that something waits.
    told: bool,
    /// Whether something was refused, so that nothing more is taken.
    refused: bool,
    /// Where durable records are: the first number, its offset, how many.
    runs: VecDeque<(u64, u64, u64)>,
}

/// What the node's thread took from a queue and has not yet answered.
#[derive(Debug)]
pub(super) struct Taken {
    queue: Arc<Queue>,
    count: u64,
    bytes: usize,
}

impl Producer {
    pub(super) fn new(
        inputs: mpsc::Sender<Input>,
        tickets: Arc<AtomicU64>,
        room: Arc<Semaphore>,
        topic: &str,
        partition: u32,
    ) -> Self {
        let (report, progress) = watch::channel(Progress::default());
        let client = ClientId(tickets.fetch_add(1, Ordering::Relaxed) | LIBRARY_CLIENTS);
        let queue = Queue {
            topic: topic.to_owned(),
            partition: Partition::new(partition),
            client,
            tickets,
            waiting: Mutex::default(),
            progress: report,
            records: Semaphore::new(IN_FLIGHT_MAX),
            room,
        };
        Self { queue: Arc::new(queue), inputs, progress, next: 0 }
    }

    /// Appends a record, and waits while too much is in flight. Without a timestamp it gets the
    /// time of now. If it is dropped while it waits, nobody knows whether the record was appended.
    ///
    /// # Errors
    /// The record is malformed or too large, which leaves the producer as it was; or the node has
    /// refused an earlier record or is stopping.
    pub async fn append(
        &mut self,
        timestamp_ms: Option<i64>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<RecordTicket, ApiError> {
        let wall = clock::wall();
        let clock = clock::quality_of(wall.quality(), [timestamp_ms.is_some()]);
        let timestamp = Timestamp::new(timestamp_ms.unwrap_or(wall.ms()));
        let record = Record::new(timestamp, key, value);
        let len = record.encoded_len();
        if record.check().is_err() || len > RECORD_BYTES_MAX {
            let text = format!("a record takes {len} bytes; at most {RECORD_BYTES_MAX} fit");
            return Err(ApiError::new(ErrorCode::TooLarge, text).with_hint("split the record"));
        }
        let place = permits(&self.queue.records, 1).await?;
        let bytes = permits(&self.queue.room, len as u32).await?;
        let Some(untold) = self.queue.push(&record, len, clock) else {
            return Err(self.progress.borrow().refused.clone().unwrap_or_else(stopping));
        };
        place.forget();
        bytes.forget();
        let ticket = RecordTicket(self.next);
        self.next += 1;
        if untold {
            self.tell().await?;
        }
        Ok(ticket)
    }

    /// Tells the node's thread that something waits, if it does not know.
    async fn tell(&self) -> Result<(), ApiError> {
        if self.queue.lock().is_untold() {
            let place = self.inputs.reserve().await.map_err(|_| stopping())?;
            // Before it is sent: the thread may take all that waits at once.
            self.queue.lock().told = true;
            place.send(Input::Produced(self.queue.clone()));
        }
        Ok(())
    }

    /// Waits until a record is durable. Its offset, if it is among the latest.
    ///
    /// # Errors
    /// It was refused, or the node stopped before.
    pub async fn durable(&mut self, ticket: RecordTicket) -> Result<Option<u64>, ApiError> {
        self.tell().await?;
        let decided =
            |progress: &Progress| progress.durable > ticket.0 || progress.refused.is_some();
        let progress = self.progress.wait_for(decided).await.map_err(|_| stopping())?;
        match &progress.refused {
            Some(refused) if progress.durable <= ticket.0 => Err(refused.clone()),
            _ => Ok(self.queue.offset(ticket.0)),
        }
    }

    /// How many records are durable, from the first on.
    #[must_use]
    pub fn durable_count(&self) -> u64 {
        self.progress.borrow().durable
    }

    /// Waits until all that was appended is durable.
    ///
    /// # Errors
    /// Some of it was refused, or the node stopped before.
    pub async fn flush(&mut self) -> Result<(), ApiError> {
        match self.next.checked_sub(1) {
            Some(last) => self.durable(RecordTicket(last)).await.map(drop),
            None => Ok(()),
        }
    }
}

/// Takes permits, mostly without waiting. Whoever waits already is served first all the same.
async fn permits(of: &Semaphore, count: u32) -> Result<SemaphorePermit<'_>, ApiError> {
    match of.try_acquire_many(count) {
        Ok(permits) => Ok(permits),
        Err(_) => of.acquire_many(count).await.map_err(|_| stopping()),
    }
}

/// Keeps the clients of the library apart from those of the API, which count from 0.
const LIBRARY_CLIENTS: u64 = 1 << 63;

impl Queue {
    /// Adds a record. Whether the node's thread must be told of it; none if nothing more is taken.
    fn push(&self, record: &Record<'_>, len: usize, clock: ClockQuality) -> Option<bool> {
        let mut waiting = self.lock();
        if waiting.refused {
            return None;
        }
        let at = waiting.encoded.len();
        waiting.encoded.resize(at + len, 0);
        let room = waiting.encoded.get_mut(at..).unwrap_or_default();
        let written = record.encode(&mut Writer::new(room));
        assert!(written.is_ok(), "a record takes the length that it says");
        waiting.clock = match waiting.count {
            0 => clock,
            _ => clock::quality_of_both(waiting.clock, clock),
        };
        waiting.count += 1;
        Some(waiting.is_untold())
    }

    /// All that waits, as one append, and what is to be remembered until it is answered.
    pub(super) fn take(self: Arc<Self>) -> (Append, Taken) {
        let mut waiting = self.lock();
        let like_this = Vec::with_capacity(waiting.encoded.len());
        let records = std::mem::replace(&mut waiting.encoded, like_this);
        let count = std::mem::take(&mut waiting.count);
        let clock = waiting.clock;
        waiting.told = false;
        drop(waiting);
        let append = Append {
            ticket: Ticket(self.tickets.fetch_add(1, Ordering::Relaxed)),
            client: self.client,
            attempt: 0,
            topic: self.topic.clone(),
            partition: self.partition,
            records,
            group: false,
            clock,
        };
        let bytes = append.records.len();
        (append, Taken { queue: self, count, bytes })
    }

    fn offset(&self, number: u64) -> Option<u64> {
        let waiting = self.lock();
        let at = waiting.runs.partition_point(|(first, _, _)| *first <= number).checked_sub(1)?;
        let (first, offset, count) = *waiting.runs.get(at)?;
        (number - first < count).then(|| offset + (number - first))
    }

    /// A panic elsewhere must not spread: what the mutex guards is valid at any time.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Queue {
    /// What the node's thread was never told of gives its room back.
    fn drop(&mut self) {
        let left = self.lock().encoded.len();
        self.room.add_permits(left);
    }
}

impl Waiting {
    fn is_untold(&self) -> bool {
        self.count > 0 && !self.told
    }
}

impl Taken {
    /// The topic, for the text of a refusal.
    pub(super) fn topic(&self) -> &str {
        &self.queue.topic
    }

    /// The records are durable from this offset on, but for those that were refused.
    pub(super) fn answer(self, first: Option<u64>, written: u64, refused: Option<ApiError>) {
        let queue = &self.queue;
        let number = queue.progress.borrow().durable;
        let mut waiting = queue.lock();
        waiting.refused |= refused.is_some();
        if let Some(first) = first {
            waiting.runs.push_back((number, first, written));
            if waiting.runs.len() > RUNS_MAX {
                waiting.runs.pop_front();
            }
        }
        drop(waiting);
        queue.progress.send_modify(|progress| {
            progress.durable += written;
            progress.refused = progress.refused.take().or(refused);
        });
        queue.records.add_permits(self.count as usize);
        queue.room.add_permits(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ROOM: usize = 1_000;

    /// A producer, and the end of the node's inputs, which hold one.
    fn producer() -> (Producer, mpsc::Receiver<Input>, Arc<Semaphore>) {
        let (inputs, taken) = mpsc::channel(1);
        let (tickets, room) = (Arc::new(AtomicU64::new(1)), Arc::new(Semaphore::new(ROOM)));
        (Producer::new(inputs, tickets, room.clone(), "log", 0), taken, room)
    }

    /// Polls an append once and gives it up if it waits. Whether it did not.
    async fn append_at_once(producer: &mut Producer) -> bool {
        let append = producer.append(Some(0), None, Some(b"x"));
        tokio::time::timeout(Duration::ZERO, append).await.is_ok()
    }

    fn take(inputs: &mut mpsc::Receiver<Input>) -> Taken {
        take_append(inputs).1
    }

    fn take_append(inputs: &mut mpsc::Receiver<Input>) -> (Append, Taken) {
        match inputs.try_recv() {
            Ok(Input::Produced(queue)) => queue.take(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn each_append_says_what_its_times_are_worth() {
        let (mut producer, mut inputs, _room) = producer();
        let own = clock::wall().quality();
        for (times, worth) in [
            (&[None, None][..], own),
            (&[Some(7), Some(8)], ClockQuality::Unknown),
            (&[None, Some(7)], ClockQuality::Unknown),
            (&[None], own),
        ] {
            for time in times {
                producer.append(*time, None, Some(b"x")).await.unwrap();
            }
            let (append, taken) = take_append(&mut inputs);
            assert_eq!(append.clock, worth, "{times:?}");
            taken.answer(Some(0), times.len() as u64, None);
        }
    }

    #[tokio::test]
    async fn what_was_given_up_while_the_inputs_were_full_is_told_by_the_next_append() {
        let (mut producer, mut inputs, _room) = producer();
        producer.inputs.try_send(Input::Stop).unwrap();
        assert!(!append_at_once(&mut producer).await, "there is no room to tell of it");
        assert!(matches!(inputs.try_recv(), Ok(Input::Stop)));
        assert!(append_at_once(&mut producer).await);
        take(&mut inputs).answer(Some(7), 2, None);
        assert_eq!(producer.durable(RecordTicket(1)).await.unwrap(), Some(8));
    }

    #[tokio::test]
    async fn records_that_come_while_others_are_synced_are_told_once() {
        let (mut producer, mut inputs, _room) = producer();
        assert!(append_at_once(&mut producer).await);
        let first = take(&mut inputs);
        assert!(append_at_once(&mut producer).await && append_at_once(&mut producer).await);
        let second = take(&mut inputs);
        assert!(inputs.try_recv().is_err());
        first.answer(Some(0), 1, None);
        assert_eq!(producer.durable_count(), 1);
        second.answer(Some(1), 2, None);
        assert_eq!(producer.durable(RecordTicket(2)).await.unwrap(), Some(2));
    }

    #[tokio::test]
    async fn after_a_refusal_nothing_more_is_taken_and_no_room_is_lost() {
        let (mut producer, mut inputs, room) = producer();
        assert!(append_at_once(&mut producer).await);
        let first = take(&mut inputs);
        assert!(append_at_once(&mut producer).await);
        let second = take(&mut inputs);
        first.answer(None, 0, Some(ApiError::new(ErrorCode::DiskFull, "the disk is full")));
        let refused = producer.append(Some(0), None, Some(b"x")).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::DiskFull);
        assert!(inputs.try_recv().is_err(), "it is not handed on");
        second.answer(None, 0, Some(ApiError::new(ErrorCode::Conflict, "behind a refusal")));
        assert_eq!(room.available_permits(), ROOM);
        let why = producer.durable(RecordTicket(1)).await.unwrap_err();
        assert_eq!(why.code, ErrorCode::DiskFull, "the first refusal is the one that counts");
    }

    #[tokio::test]
    async fn room_comes_back_when_it_is_answered_or_nobody_is_told() {
        let (mut producer, mut inputs, room) = producer();
        assert!(append_at_once(&mut producer).await);
        take(&mut inputs).answer(Some(0), 1, None);
        assert_eq!(room.available_permits(), ROOM);
        producer.inputs.try_send(Input::Stop).unwrap();
        assert!(!append_at_once(&mut producer).await);
        assert!(room.available_permits() < ROOM);
        drop(producer);
        assert_eq!(room.available_permits(), ROOM);
    }
}
