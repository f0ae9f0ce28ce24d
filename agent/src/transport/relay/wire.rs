//! One direction of a link as arithmetic: when does what is sent now arrive?

use std::time::Duration;

use tokio::time::Instant;

use super::Shape;

#[derive(Debug)]
pub(super) struct Wire {
    shape: Shape,
    /// When the last byte in the queue will have been sent; `None` before the first.
    free_at: Option<Instant>,
    random: u64,
}

/// What becomes of bytes offered to the wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    /// They arrive then.
    Arrive(Instant),
    /// The queue is full until then.
    Full(Instant),
    /// They are lost.
    Lost,
}

impl Wire {
    pub(super) fn new(shape: Shape, seed: u64) -> Self {
        Self { shape, free_at: None, random: seed }
    }

    pub(super) fn set_shape(&mut self, shape: Shape) {
        self.shape = shape;
    }

    /// A datagram is lost by chance, and when the queue is full.
    pub(super) fn offer_datagram(&mut self, now: Instant, bytes: usize) -> Fate {
        let unlucky = self.draw() % 1000 < u64::from(self.shape.loss_per_mille);
        if unlucky || !self.shape.udp {
            return Fate::Lost;
        }
        match self.offer_stream(now, bytes) {
            Fate::Full(_) => Fate::Lost,
            fate => fate,
        }
    }

    /// Bytes of a stream are never lost; when the queue is full they have to be offered again.
    pub(super) fn offer_stream(&mut self, now: Instant, bytes: usize) -> Fate {
        let free_at = self.free_at.filter(|free_at| *free_at > now);
        let queued = free_at.map_or(Duration::ZERO, |free_at| free_at - now);
        let allowed = self.time_for(self.shape.queue.saturating_sub(bytes));
        if queued > allowed {
            return Fate::Full(now + (queued - allowed));
        }
        let sent_at = free_at.unwrap_or(now) + self.time_for(bytes);
        self.free_at = Some(sent_at);
        Fate::Arrive(sent_at + self.shape.delay)
    }

    fn time_for(&self, bytes: usize) -> Duration {
        let Some(rate) = self.shape.rate else { return Duration::ZERO };
        let nanoseconds = bytes as u128 * 8 * 1_000_000_000 / u128::from(rate.0.get());
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// SplitMix64: any seed will do.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut drawn = self.random;
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        drawn ^ (drawn >> 31)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

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

    fn after(start: Instant, milliseconds: u64) -> Instant {
        start + Duration::from_millis(milliseconds)
    }

    #[tokio::test]
    async fn bytes_queue_behind_each_other_and_then_travel() {
        let start = Instant::now();
        let mut wire = Wire::new(slow(), 1);
        assert_eq!(wire.offer_stream(start, 200), Fate::Arrive(after(start, 300)));
        assert_eq!(wire.offer_stream(start, 300), Fate::Arrive(after(start, 600)));
        assert_eq!(wire.offer_stream(start, 100), Fate::Full(after(start, 100)));
        let later = after(start, 100);
        assert_eq!(wire.offer_stream(later, 100), Fate::Arrive(after(start, 700)));
        let idle = after(start, 10_000);
        assert_eq!(wire.offer_stream(idle, 100), Fate::Arrive(after(start, 10_200)));
    }

    #[tokio::test]
    async fn a_datagram_is_lost_when_the_queue_is_full_but_never_on_an_idle_wire() {
        let start = Instant::now();
        let mut wire = Wire::new(slow(), 1);
        assert_eq!(wire.offer_datagram(start, 1200), Fate::Arrive(after(start, 1300)));
        assert_eq!(wire.offer_datagram(start, 1), Fate::Lost);
    }

    #[tokio::test]
    async fn loss_is_as_often_as_asked_and_repeats_with_the_seed() {
        let start = Instant::now();
        let lost = |seed| {
            let shape = Shape { loss_per_mille: 50, ..Shape::default() };
            let mut wire = Wire::new(shape, seed);
            (0..10_000).filter(|_| wire.offer_datagram(start, 1) == Fate::Lost).count()
        };
        assert!((400..600).contains(&lost(7)), "{} of 10,000", lost(7));
        assert_eq!(lost(7), lost(7));
        let blocked = Shape { udp: false, ..Shape::default() };
        assert_eq!(Wire::new(blocked, 1).offer_datagram(start, 1), Fate::Lost);
    }
}
