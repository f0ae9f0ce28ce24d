//! Brings the keeper what a view has not seen: page after page of its topics, behind its position.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::sync::watch;

use super::derive::{Asked, Sent, known};
use crate::api::{Backend, Cursor, ErrorCode, ReadFrom, ReadPage, ReadQuery, Seen};
use crate::clock;
use crate::coordinates::Position;
use crate::node::Derived;

/// What the keeper is told.
#[derive(Debug)]
pub(super) enum Told {
    /// What the log has of what the view with this ticket derives. It comes before its pages.
    Known(Ticket, Derived),
    /// The next page for the view with this ticket.
    Page(Ticket, ReadPage),
    /// What became of derived records that were sent.
    Sent(Ticket, Sent),
    /// The log has no such position: it is another one, or lost its end.
    Gone(Ticket, String),
    /// A reader found the file damaged.
    Suspect,
}

/// One running of one view; whoever has an old one is not heard.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Ticket(pub(super) u64);

/// Records in the next page, and when it may come. A slow machine takes fewer, so that other views
/// and sweeps get their turn.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    records: Arc<AtomicUsize>,
    applied: Arc<watch::Sender<Applied>>,
    /// Whether the keeper rests after each page for as long as it took.
    rests: Arc<AtomicBool>,
}

/// What was applied of a view.
#[derive(Clone, Copy, Debug, Default)]
struct Applied {
    pages: u64,
    /// Milliseconds that the last page took.
    took_ms: u64,
}

/// Pages that wait for the keeper, of all views; each view has at most one more that it waits with.
pub(super) const PAGES_MAX: usize = 2;
/// Bytes of a page.
const PAGE_BYTES_MAX: usize = 512 << 10;
/// Records of a page.
const PAGE_RECORDS_MAX: usize = 4_096;
const PAGE_RECORDS_MIN: usize = 128;
/// How long a page should take to apply.
const APPLY_MS: u64 = 50;
/// How long to wait for company when a record comes, so that a busy topic makes few transactions.
const LINGER: Duration = Duration::from_millis(10);
/// How often the position is saved while nothing comes but records of other topics.
const SAVE_EVERY_MS: u64 = 10_000;
/// When to try again what the disk refused to read.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Pace {
    /// The pace of a view that somebody waits for.
    pub(super) fn new() -> Self {
        let records = Arc::new(AtomicUsize::new(PAGE_RECORDS_MAX));
        Self { records, applied: Arc::default(), rests: Arc::default() }
    }

    /// The pace of a generation that nobody reads yet: at most half of the time is for it.
    pub(super) fn resting() -> Self {
        Self { rests: Arc::new(AtomicBool::new(true)), ..Self::new() }
    }

    /// From here on somebody waits for it.
    pub(super) fn hurry(&self) {
        self.rests.store(false, Ordering::Relaxed);
    }

    /// Waits until the next page may come, if so many were sent.
    async fn rest(&self, sent: u64) {
        if !self.rests.load(Ordering::Relaxed) {
            return;
        }
        let mut applied = self.applied.subscribe();
        // The sender is here, so that there is no error.
        let took = applied.wait_for(|applied| applied.pages >= sent).await.map(|last| last.took_ms);
        tokio::time::sleep(Duration::from_millis(took.unwrap_or_default())).await;
    }

    /// Takes note of how long a page of so many records took.
    pub(super) fn note(&self, records: usize, took_ms: u64) {
        self.applied.send_modify(|last| *last = Applied { pages: last.pages + 1, took_ms });
        let now = self.records.load(Ordering::Relaxed);
        let next = match took_ms {
            took if took > 2 * APPLY_MS => records / 2,
            took if took < APPLY_MS / 2 && records >= now => now * 2,
            _ => now,
        };
        self.records.store(next.clamp(PAGE_RECORDS_MIN, PAGE_RECORDS_MAX), Ordering::Relaxed);
    }
}

/// What a view reads.
fn query(topics: Vec<String>, from: ReadFrom, seen: Seen) -> ReadQuery {
    ReadQuery {
        topics,
        from,
        not_before: None,
        seen: Some(seen),
        corrected: false,
        origin: None,
        partition: None,
        records_max: PAGE_RECORDS_MAX,
        bytes_max: PAGE_BYTES_MAX,
    }
}

/// Feeds a view until the node stops, or the log has no such position. What the log has of what it
/// derives is told first.
pub(super) async fn feed<B: Backend>(
    backend: B,
    (topics, derives): (Vec<String>, Asked),
    (from, seen): (Option<Cursor>, Seen),
    (ticket, pace): (Ticket, Pace),
    keeper: Sender<Told>,
    mut asked: watch::Receiver<u64>,
) {
    let told = match known(&backend, derives).await {
        Ok(known) => Told::Known(ticket, known),
        Err(error) if error.code == ErrorCode::Gone => Told::Gone(ticket, error.message),
        // The node is stopping.
        Err(_) => return,
    };
    let is_gone = matches!(told, Told::Gone(..));
    if keeper.send(told).await.is_err() || is_gone {
        return;
    }
    let from = from.map_or(ReadFrom::Position(Position::Earliest), ReadFrom::After);
    let mut query = query(topics, from, seen);
    let (mut at_end, mut told, mut sent) = (false, 0, 0);
    let mut saved = clock::monotonic();
    loop {
        query.records_max = pace.records.load(Ordering::Relaxed);
        let page = match backend.read(query.clone()).await {
            Ok(page) => page,
            Err(error) if error.code == ErrorCode::Gone => {
                // If the keeper is gone, the node stops.
                let _ = keeper.send(Told::Gone(ticket, error.message)).await;
                return;
            }
            Err(error) if error.code == ErrorCode::Stopping => return,
            Err(error) => {
                tracing::warn!(%error, "a view waits for the log");
                tokio::time::sleep(READ_AGAIN_AFTER).await;
                continue;
            }
        };
        let (cursor, through, end) = (page.cursor, page.through, page.end);
        query.seen = Some(page.seen);
        let due = clock::monotonic().ms_since(saved) >= SAVE_EVERY_MS;
        // Somebody waits until the view has seen a commit, whether or not it holds anything for it.
        let waited_for = *asked.borrow_and_update();
        let settles = told < waited_for && page.through >= waited_for;
        if !page.items.is_empty() || page.lacking > 0 || end != at_end || due || settles {
            (at_end, told, saved) = (end, page.through, clock::monotonic());
            if keeper.send(Told::Page(ticket, page)).await.is_err() {
                return;
            }
            sent += 1;
            pace.rest(sent).await;
        }
        query.from = ReadFrom::After(cursor);
        if end {
            tokio::select! {
                () = backend.wait(through) => tokio::time::sleep(LINGER).await,
                () = grows(&mut asked) => {}
            }
        }
    }
}

/// Resolves when somebody waits for a later commit than before.
async fn grows(asked: &mut watch::Receiver<u64>) {
    if asked.changed().await.is_err() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::AppendRequest;
    use crate::api::tests::memory::Memory;
    use crate::event_json::Event;

    #[test]
    fn pages_are_as_large_as_the_machine_is_fast() {
        let pace = Pace::new();
        let records = |pace: &Pace| pace.records.load(Ordering::Relaxed);
        pace.note(4_096, 60);
        assert_eq!(records(&pace), 4_096);
        pace.note(2_000, 400);
        assert_eq!(records(&pace), 1_000);
        pace.note(10, 1);
        assert_eq!(records(&pace), 1_000, "a small page says nothing");
        pace.note(1_000, 10);
        assert_eq!(records(&pace), 2_000);
        pace.note(100, 5_000);
        assert_eq!(records(&pace), PAGE_RECORDS_MIN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_generation_that_nobody_reads_takes_half_of_the_time() {
        let hurried = Pace::resting();
        hurried.hurry();
        for (pace, rests) in [(Pace::new(), false), (Pace::resting(), true), (hurried, false)] {
            let node = Memory::default();
            let events = (0..3 * PAGE_RECORDS_MAX as u64).map(|n| Event::of(n, "{}".into()));
            let (topic, partition, producer) = ("ais".to_owned(), None, None);
            let events = events.collect();
            let request = AppendRequest { request: 1, topic, partition, producer, events };
            node.append(request).await.unwrap().await.unwrap();
            let (told, mut hears) = tokio::sync::mpsc::channel(PAGES_MAX);
            let none = Asked { view: "v".to_owned(), topics: Vec::new(), from: None };
            let (_asks, asked) = watch::channel(0);
            let fed = (Ticket(1), pace.clone());
            let topics = (vec!["ais".to_owned()], none);
            let feeding = feed(node, topics, (None, Seen::default()), fed, told, asked);
            let feeding = tokio::spawn(feeding);
            assert!(matches!(hears.recv().await, Some(Told::Known(..))));
            let mut next = async |within_ms: u64| {
                let within = Duration::from_millis(within_ms);
                tokio::time::timeout(within, hears.recv()).await.is_ok()
            };
            assert!(next(1).await, "the first page");
            pace.note(PAGE_RECORDS_MAX, 40);
            assert_eq!(next(39).await, !rests);
            assert!(next(2).await, "the next one");
            feeding.abort();
        }
    }
}
