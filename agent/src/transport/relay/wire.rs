//! One direction of a link: a queue, a sender as slow as asked, and the way.
//!
//! Everything goes by the runtime's timers and no clock is read: bytes leave the queue one after
//! the other, each a time after the one before; then they travel at the same time.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Sleep, sleep};

use super::super::lock;
use super::Shape;

/// Datagrams and segments in the queue, whatever their size.
const QUEUED_MAX: usize = 16 * 1024;

/// The way into a direction.
#[derive(Debug)]
pub(super) struct Wire {
    shape: Shape,
    room: Arc<Semaphore>,
    queue: mpsc::Sender<Queued>,
    luck: Mutex<Luck>,
    delivered: AtomicU64,
}

/// Bytes that wait to be sent.
pub(super) struct Queued {
    length: usize,
    _room: OwnedSemaphorePermit,
    depart: Departure,
}

/// What to do with queued bytes once they are sent.
type Departure = Box<dyn FnOnce(Journey) + Send>;

/// What happens to a datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Mishap {
    /// It arrives twice.
    pub(super) twice: bool,
    /// This bit of it arrives changed.
    pub(super) flipped_bit: Option<usize>,
}

/// The way of sent bytes; they have arrived when it is over.
pub(super) struct Journey(Option<Pin<Box<Sleep>>>);

impl Wire {
    /// Makes a direction; what it queues is to be given to [`send_queued`].
    pub(super) fn new(shape: Shape, seed: u64) -> (Self, mpsc::Receiver<Queued>) {
        let (queue, queued) = mpsc::channel(QUEUED_MAX);
        let wire = Self {
            shape,
            room: Arc::new(Semaphore::new(shape.queue.clamp(1, Semaphore::MAX_PERMITS))),
            queue,
            luck: Mutex::new(Luck(seed)),
            delivered: AtomicU64::new(0),
        };
        (wire, queued)
    }

    /// Queues a datagram, unless it is lost by chance or because the queue is full.
    pub(super) fn offer_datagram(
        &self,
        length: usize,
        depart: impl FnOnce(Journey) + Send + 'static,
    ) {
        if !self.shape.udp || lock(&self.luck).hits(self.shape.loss_per_mille) {
            return;
        }
        let Ok(room) = self.room.clone().try_acquire_many_owned(self.room_for(length)) else {
            return;
        };
        let queued = Queued { length, _room: room, depart: Box::new(depart) };
        // Too many tiny ones: a network would lose it, too.
        let _ = self.queue.try_send(queued);
    }

    /// Draws what happens to a datagram of that many bytes, besides being lost.
    pub(super) fn mishap(&self, length: usize) -> Mishap {
        let mut luck = lock(&self.luck);
        let corrupt = luck.hits(self.shape.corrupt_per_mille);
        Mishap {
            twice: luck.hits(self.shape.duplicate_per_mille),
            flipped_bit: corrupt.then(|| luck.below(8 * length as u64) as usize),
        }
    }

    /// Draws how much longer a datagram is on the way; none if they stay in order.
    pub(super) fn jitter(&self) -> Option<Duration> {
        let most = u64::try_from(self.shape.jitter.as_micros()).unwrap_or(u64::MAX);
        (most > 0).then(|| Duration::from_micros(lock(&self.luck).below(most)))
    }

    /// Queues bytes of a stream as soon as there is room.
    pub(super) async fn offer_stream(
        &self,
        length: usize,
        depart: impl FnOnce(Journey) + Send + 'static,
    ) {
        let room = self.room.clone().acquire_many_owned(self.room_for(length)).await;
        let room = room.expect("the room of a queue is never closed");
        let queued = Queued { length, _room: room, depart: Box::new(depart) };
        // Nobody takes it any more only when the relay ends.
        let _ = self.queue.send(queued).await;
    }

    /// What is longer than the queue needs an empty one.
    fn room_for(&self, length: usize) -> u32 {
        u32::try_from(length.min(self.shape.queue)).unwrap_or(u32::MAX)
    }

    pub(super) fn count_delivered(&self, bytes: usize) {
        self.delivered.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }
}

impl Journey {
    pub(super) async fn end(self) {
        if let Some(way) = self.0 {
            way.await;
        }
    }
}

/// Sends what a direction queues, for as long as the direction is there.
pub(super) async fn send_queued(mut queue: mpsc::Receiver<Queued>, shape: Shape) {
    let mut last = None;
    loop {
        // Behind others the time counts from when they were sent: timers are late, the rate is not.
        let (queued, behind) = match queue.try_recv() {
            Ok(queued) => (queued, last.take()),
            Err(_) => match queue.recv().await {
                Some(queued) => (queued, None),
                None => return,
            },
        };
        if let Some(time) = shape.time_to_send(queued.length) {
            last = Some(wait_behind(behind, time).await);
        }
        let way = (!shape.delay.is_zero()).then(|| Box::pin(sleep(shape.delay)));
        (queued.depart)(Journey(way));
    }
}

async fn wait_behind(behind: Option<Pin<Box<Sleep>>>, time: Duration) -> Pin<Box<Sleep>> {
    let mut sent = match behind {
        Some(mut timer) => {
            let at = timer.deadline() + time;
            timer.as_mut().reset(at);
            timer
        }
        None => Box::pin(sleep(time)),
    };
    sent.as_mut().await;
    sent
}

impl Shape {
    fn time_to_send(&self, bytes: usize) -> Option<Duration> {
        let nanoseconds = bytes as u128 * 8 * 1_000_000_000 / u128::from(self.rate?.0.get());
        Some(Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)))
    }
}

/// SplitMix64: any seed will do.
#[derive(Debug)]
struct Luck(u64);

impl Luck {
    fn hits(&mut self, per_mille: u16) -> bool {
        self.next() % 1000 < u64::from(per_mille)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut drawn = self.0;
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        drawn ^ (drawn >> 31)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use tokio::time::timeout;

    use super::super::BitsPerSecond;
    use super::*;

    /// 1000 bytes a second, 100 ms away, room for 500 bytes.
    fn slow() -> Shape {
        Shape {
            rate: NonZeroU64::new(8000).map(BitsPerSecond),
            delay: Duration::from_millis(100),
            queue: 500,
            ..Shape::default()
        }
    }

    /// A wire that is being served, and the lengths of what arrives.
    fn serve(shape: Shape) -> (Wire, mpsc::Receiver<usize>, mpsc::Sender<usize>) {
        let (wire, queued) = Wire::new(shape, 1);
        tokio::spawn(send_queued(queued, shape));
        let (sender, arrived) = mpsc::channel(16);
        (wire, arrived, sender)
    }

    fn arrive(length: usize, to: &mpsc::Sender<usize>) -> impl FnOnce(Journey) + Send + 'static {
        let to = to.clone();
        move |journey| {
            tokio::spawn(async move {
                journey.end().await;
                to.send(length).await.unwrap();
            });
        }
    }

    /// Time stands still but for the timers: what arrives must do so in this span after now.
    async fn arrives(arrived: &mut mpsc::Receiver<usize>, from_ms: u64, to_ms: u64) -> usize {
        timeout(Duration::from_millis(from_ms), arrived.recv()).await.expect_err("too early");
        timeout(Duration::from_millis(to_ms - from_ms), arrived.recv())
            .await
            .expect("too late")
            .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_leave_behind_each_other_and_then_travel_together() {
        let (wire, mut arrived, sender) = serve(slow());
        wire.offer_stream(200, arrive(200, &sender)).await;
        wire.offer_stream(300, arrive(300, &sender)).await;
        assert_eq!(arrives(&mut arrived, 295, 305).await, 200);
        assert_eq!(arrives(&mut arrived, 290, 310).await, 300);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_waits_for_room_and_a_datagram_is_lost() {
        let (wire, mut arrived, sender) = serve(slow());
        wire.offer_stream(400, arrive(400, &sender)).await;
        wire.offer_datagram(101, arrive(101, &sender));
        let waiting = wire.offer_stream(300, arrive(300, &sender));
        timeout(Duration::from_millis(395), waiting).await.expect_err("no room yet");
        wire.offer_datagram(100, arrive(100, &sender));
        assert_eq!(arrives(&mut arrived, 95, 115).await, 400);
        assert_eq!(arrives(&mut arrived, 90, 115).await, 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_datagram_longer_than_the_queue_passes_an_idle_wire() {
        let (wire, mut arrived, sender) = serve(slow());
        wire.offer_datagram(1200, arrive(1200, &sender));
        assert_eq!(arrives(&mut arrived, 1295, 1305).await, 1200);
    }

    #[test]
    fn a_mishap_is_as_frequent_as_asked_and_repeats_with_the_seed() {
        let lost = |seed| {
            let mut luck = Luck(seed);
            (0..10_000).filter(|_| luck.hits(50)).count()
        };
        assert!((400..600).contains(&lost(7)), "{} of 10,000", lost(7));
        assert_eq!(lost(7), lost(7));
        assert!(!Luck(7).hits(0));
    }

    #[tokio::test]
    async fn what_is_doubled_or_changed_is_drawn_for_each_datagram() {
        let shape = Shape { duplicate_per_mille: 1000, corrupt_per_mille: 1000, ..slow() };
        let (wire, _queued) = Wire::new(shape, 1);
        let mishaps: Vec<_> = (0..100).map(|_| wire.mishap(10)).collect();
        assert!(mishaps.iter().all(|mishap| mishap.twice));
        assert!(mishaps.iter().all(|mishap| mishap.flipped_bit.is_some_and(|bit| bit < 80)));
        let (wire, _queued) = Wire::new(slow(), 1);
        assert_eq!(wire.mishap(10), Mishap { twice: false, flipped_bit: None });
        assert_eq!(wire.jitter(), None);
    }
}
