//! Whether bodies are packed as they are sent: on all links but those that wait for the packer.
//!
//! It is decided by what arrived, in spans of so many stored bytes. A session begins with packing.
//! A span that passed fast, and in which all that was under way had arrived at times, shows that
//! the link waits; then the next ones are tried as stored. As soon as a span takes longer so than
//! it took packed, it is over, and the next trial comes after twice as many spans as the last one.
//! On a link that is slow, or never empty, or whose bytes are counted, everything is packed.

use landfall_protocol::time::Instant;

/// Stored bytes in a span. Long enough to be timed in milliseconds where this matters, and several
/// times what a fast link has under way.
const SPAN_BYTES: u64 = 8 << 20;
/// Bytes a second that must have arrived packed before anything else is tried: 160 Mbit/s. Below,
/// bytes are worth more than time.
const FAST_BYTES_PER_S: u64 = 20_000_000;
/// A link has been empty if less than this part of the most that was under way was left.
const EMPTY_PART: u64 = 4;
/// Spans between the first trial that failed and the next one, and the most it ever becomes.
const REST_SPANS: u32 = 2;
const REST_SPANS_MAX: u32 = 256;

/// How bodies go over one link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Packing {
    /// Whether bytes are counted, so that nothing goes as stored.
    always: bool,
    mode: Mode,
    span: Span,
    /// Whether the link was empty in the span before, if that was packed.
    was_empty: bool,
    /// Bytes under way that were sent in another mode.
    before: u64,
    /// Spans until the next trial, and how many there will be when it has failed.
    rest: u32,
    next_rest: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    Packed,
    /// As stored, as long as a span takes no more milliseconds than the last one that was packed.
    Stored(u64),
}

/// What arrived since a point in time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Span {
    began: Option<Instant>,
    stored: u64,
    sent: u64,
    /// The least and the most bytes that were under way.
    least: u64,
    most: u64,
}

/// Bytes of bodies.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Bytes {
    /// As they are stored.
    pub(crate) stored: u64,
    /// As they were sent.
    pub(crate) sent: u64,
}

impl Packing {
    /// At the start of a session. `always` if each byte that is sent counts.
    pub(crate) fn new(always: bool) -> Self {
        Self {
            always,
            mode: Mode::Packed,
            span: Span::default(),
            was_empty: false,
            before: 0,
            rest: 0,
            next_rest: REST_SPANS,
        }
    }

    /// Whether the next body is to be packed.
    pub(crate) fn packs(&self) -> bool {
        self.mode == Mode::Packed
    }

    /// Bodies have arrived and are durable there; as sent, `left` bytes are still under way.
    pub(crate) fn arrived(&mut self, bytes: Bytes, left: u64, now: Instant) {
        if self.always {
            return;
        }
        if self.before > 0 {
            self.before = self.before.saturating_sub(bytes.sent);
            self.span = Span::begin(now);
            return;
        }
        let Some(began) = self.span.began else {
            self.span = Span::begin(now);
            return;
        };
        self.span.add(bytes, left);
        let (took, full) = (now.since(began).millis(), self.span.stored >= SPAN_BYTES);
        match self.mode {
            Mode::Packed if full => {
                self.rest = self.rest.saturating_sub(1);
                let tries = self.rest == 0 && self.span.is_fast(took);
                let empty = self.span.was_empty();
                let tries = tries && (empty || self.was_empty);
                self.was_empty = empty;
                self.go_on(if tries { Mode::Stored(took) } else { Mode::Packed }, left, now);
            }
            // What trickles in says nothing about the link.
            Mode::Packed if took > SLOW_MS => self.span = Span::begin(now),
            Mode::Stored(most) if took > most => {
                self.rest = self.next_rest;
                self.next_rest = (2 * self.next_rest).min(REST_SPANS_MAX);
                self.go_on(Mode::Packed, left, now);
            }
            Mode::Stored(_) if full => {
                self.next_rest = REST_SPANS;
                self.span = Span::begin(now);
            }
            Mode::Packed | Mode::Stored(_) => {}
        }
    }

    fn go_on(&mut self, mode: Mode, left: u64, now: Instant) {
        self.before = if mode == self.mode { 0 } else { left };
        self.mode = mode;
        self.span = Span::begin(now);
    }
}

/// A packed span that takes longer can't have been fast, even if nothing became smaller.
const SLOW_MS: u64 = SPAN_BYTES * 1_000 / FAST_BYTES_PER_S;

impl Span {
    fn begin(now: Instant) -> Self {
        Self { began: Some(now), least: u64::MAX, ..Self::default() }
    }

    fn add(&mut self, bytes: Bytes, left: u64) {
        self.stored += bytes.stored;
        self.sent += bytes.sent;
        self.least = self.least.min(left);
        self.most = self.most.max(left + bytes.sent);
    }

    fn is_fast(&self, took_ms: u64) -> bool {
        self.sent.saturating_mul(1_000) >= FAST_BYTES_PER_S.saturating_mul(took_ms)
    }

    fn was_empty(&self) -> bool {
        self.least.saturating_mul(EMPTY_PART) <= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link that has `under_way` bytes of bodies on it, packed to a fifth unless they go as
    /// stored.
    struct Link {
        packing: Packing,
        now_ms: u64,
        under_way: u64,
        sent: u64,
    }

    const BODY: u64 = 1 << 20;

    impl Link {
        fn new(always: bool, under_way: u64) -> Self {
            Self { packing: Packing::new(always), now_ms: 1_000, under_way, sent: 0 }
        }

        /// A body arrives; the bytes of it that were sent say how long that takes.
        fn carry(&mut self, ms: impl Fn(u64) -> u64) {
            let sent = if self.packing.packs() { BODY / 5 } else { BODY };
            self.now_ms += ms(sent);
            self.sent += sent;
            let now = Instant::from_millis(self.now_ms);
            self.packing.arrived(Bytes { stored: BODY, sent }, self.under_way, now);
        }

        /// Carries bodies, and counts those that were sent as stored.
        fn carry_all(&mut self, bodies: u64, ms: impl Fn(u64) -> u64) -> u64 {
            (0..bodies).map(|_| self.carry_one(&ms)).sum()
        }

        fn carry_one(&mut self, ms: impl Fn(u64) -> u64) -> u64 {
            let stored = !self.packing.packs();
            self.carry(ms);
            u64::from(stored)
        }
    }

    /// The packer gives a body in 4 ms, and the link takes one in 2.
    fn waiting(sent: u64) -> u64 {
        if sent == BODY { 2 } else { 4 }
    }

    /// The link takes so many bytes a millisecond, whatever they are.
    fn limited(bytes_per_ms: u64) -> impl Fn(u64) -> u64 {
        move |sent| sent / bytes_per_ms
    }

    #[test]
    fn a_link_that_waits_for_the_packer_gets_bodies_as_they_are_stored() {
        let mut link = Link::new(false, 0);
        assert_eq!(link.carry_all(8, waiting), 0, "it is seen first");
        let stored = link.carry_all(200, waiting);
        assert!(stored > 195, "{stored} as stored");
    }

    #[test]
    fn on_a_slow_link_everything_is_packed() {
        for bytes_per_ms in [32, 1_000, 19_000] {
            let mut link = Link::new(false, 0);
            assert_eq!(link.carry_all(500, limited(bytes_per_ms)), 0, "{bytes_per_ms}");
        }
    }

    #[test]
    fn on_a_link_that_is_never_empty_everything_is_packed() {
        let mut link = Link::new(false, 6 << 20);
        assert_eq!(link.carry_all(500, waiting), 0);
    }

    #[test]
    fn where_bytes_are_counted_everything_is_packed() {
        let mut link = Link::new(true, 0);
        assert_eq!(link.carry_all(500, waiting), 0);
    }

    #[test]
    fn what_trickles_in_does_not_count() {
        let mut link = Link::new(false, 0);
        assert_eq!(link.carry_all(50, |_| 5_000), 0);
        assert_eq!(link.carry_all(8, waiting), 0, "the span begins when the backlog does");
        assert!(link.carry_all(100, waiting) > 90);
    }

    #[test]
    fn where_the_link_is_what_limits_trials_become_rare() {
        // 100 MB/s: packed, a body takes 2 ms, and as stored 10.
        let mut link = Link::new(false, 0);
        let first = link.carry_all(1_000, limited(100_000));
        let later = link.carry_all(10_000, limited(100_000));
        assert!((1..=50).contains(&first), "{first} of the first 1,000");
        assert!(later <= 50, "{later} of 10,000 more");
    }

    #[test]
    fn a_link_that_becomes_slow_gets_packed_bodies_at_once() {
        let mut link = Link::new(false, 0);
        link.carry_all(100, waiting);
        assert!(!link.packing.packs());
        let stored = link.carry_all(100, limited(1_000));
        assert_eq!(stored, 1, "the first to arrive late tells");
        link.carry_all(100, limited(1_000));
        assert!(link.carry_all(100, waiting) > 50, "and it may become fast again");
    }

    #[test]
    fn what_was_under_way_before_a_trial_is_no_part_of_it() {
        let mut link = Link::new(false, 0);
        link.carry_all(8, waiting);
        link.under_way = 3 * BODY;
        link.carry(waiting);
        assert!(!link.packing.packs());
        // Packed ones still come, slowly, and are not taken for what the trial brought.
        link.now_ms += 400;
        let now = Instant::from_millis(link.now_ms);
        link.packing.arrived(Bytes { stored: 15 * BODY, sent: 3 * BODY }, 0, now);
        assert!(!link.packing.packs());
    }
}
