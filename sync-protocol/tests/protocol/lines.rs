//! A device and a gateway at the ends of a line that changes, loses and adds bytes, and at which
//! others listen and speak.

use std::collections::VecDeque;

use landfall_protocol::line::{Answerer, Caller, Heard, LineKey, Turn};
use landfall_protocol::time::{Duration, Instant};

const KEY: LineKey = LineKey::new([7; 32]);

/// What the gateway lets in.
fn keys(site: &str) -> Option<LineKey> {
    (site == "buoy-4").then_some(KEY)
}

/// Both ends of a line, what each is to say and has heard, and the time.
struct Line {
    device: Caller<'static>,
    gateway: Answerer,
    up: VecDeque<u8>,
    down: VecDeque<u8>,
    /// Everything that ever went up, and down.
    recorded: (Vec<u8>, Vec<u8>),
    said: (Vec<u8>, Vec<u8>),
    heard: (Vec<u8>, Vec<u8>),
    told: (usize, usize),
    opened: u32,
    refused: u32,
    noise: u32,
    now: u64,
}

impl Line {
    fn new(said_up: usize, said_down: usize) -> Self {
        let bytes = |count: usize| (0..count).map(|at| (at % 251) as u8).collect();
        Self {
            device: Caller::new("buoy-4", KEY, [1; 16]),
            gateway: Answerer::new([2; 16]),
            up: VecDeque::new(),
            down: VecDeque::new(),
            recorded: Default::default(),
            said: (bytes(said_up), bytes(said_down)),
            heard: Default::default(),
            told: (0, 0),
            opened: 0,
            refused: 0,
            noise: 0,
            now: 0,
        }
    }

    fn now(&self) -> Instant {
        Instant::from_millis(self.now)
    }

    /// Both ends put what they have to say onto the line, byte by byte through `wire`, which says
    /// what becomes of each; `true` is up.
    fn turn(&mut self, mut wire: impl FnMut(bool, u8) -> Vec<u8>) {
        self.now += 10;
        let now = self.now();
        if self.device.handle_timeout(now) == Turn::Lost {
            panic!("the line was given up");
        }
        self.told.0 += self.device.put(&self.said.0[self.told.0..], now);
        self.told.1 += self.gateway.put(&self.said.1[self.told.1..], now);
        while let bytes @ [_, ..] = self.device.waiting(now) {
            let sent = bytes.len().min(50);
            self.recorded.0.extend(&bytes[..sent]);
            bytes[..sent].iter().for_each(|byte| self.up.extend(wire(true, *byte)));
            self.device.sent(sent, now);
        }
        while let bytes @ [_, ..] = self.gateway.waiting(now) {
            let sent = bytes.len().min(50);
            self.recorded.1.extend(&bytes[..sent]);
            bytes[..sent].iter().for_each(|byte| self.down.extend(wire(false, *byte)));
            self.gateway.sent(sent, now);
        }
        self.deliver();
    }

    fn deliver(&mut self) {
        while let Some(byte) = self.up.pop_front() {
            match self.gateway.handle_byte(byte, keys) {
                Heard::Opened => {
                    self.opened += 1;
                    self.heard.0.extend(self.gateway.payload());
                }
                Heard::Payload => self.heard.0.extend(self.gateway.payload()),
                Heard::Refused => self.refused += 1,
                Heard::Noise => self.noise += 1,
                Heard::Nothing => {}
            }
        }
        while let Some(byte) = self.down.pop_front() {
            if self.device.handle_byte(byte) == Turn::Payload {
                self.heard.1.extend(self.device.payload());
            }
        }
    }

    /// Runs until all was heard, for an hour at most.
    fn run(&mut self, mut wire: impl FnMut(bool, u8) -> Vec<u8>) {
        while self.heard != self.said {
            self.turn(&mut wire);
            assert!(self.said.0.starts_with(&self.heard.0), "nothing is lost, changed or twice");
            assert!(self.said.1.starts_with(&self.heard.1), "nothing is lost, changed or twice");
            assert!(self.now < 3_600_000, "{} and {}", self.heard.0.len(), self.heard.1.len());
        }
    }

    /// The same over a good line, until both ends know that all has come.
    fn finish(&mut self) {
        self.run(whole);
        self.turn(whole);
    }
}

fn whole(_: bool, byte: u8) -> Vec<u8> {
    vec![byte]
}

#[test]
fn a_line_carries_both_ways_what_is_said_once_the_device_has_shown_its_key() {
    let mut line = Line::new(5_000, 3_000);
    assert_eq!((line.gateway.site(), line.device.is_open()), (None, false));
    line.run(whole);
    assert_eq!((line.gateway.site(), line.opened), (Some("buoy-4"), 1));
    assert_eq!((line.noise, line.device.thrown(), line.refused), (0, 0, 0));
    assert!(line.now < 1_000, "nothing waited for a repetition: {} ms", line.now);
}

#[test]
fn whichever_byte_is_changed_lost_or_doubled_all_arrives() {
    let mut clean = Line::new(400, 300);
    clean.run(whole);
    let bytes = clean.recorded.0.len() + clean.recorded.1.len();
    assert!(bytes > 900, "{bytes} bytes");
    for at in 0..bytes {
        for what in 0..4 {
            let (mut line, mut count) = (Line::new(400, 300), 0);
            line.run(|_, byte| {
                count += 1;
                match what {
                    _ if count != at + 1 => vec![byte],
                    0 => vec![],
                    1 => vec![byte, byte],
                    2 => vec![byte ^ 0x10],
                    _ => vec![0],
                }
            });
            assert_eq!((line.opened, line.refused), (1, 0), "byte {at}, {what}");
        }
    }
}

#[test]
fn through_any_noise_all_arrives_and_what_was_thrown_away_is_counted() {
    for (seed, one_in) in [(1, 1_000), (2, 500), (3, 300)] {
        let mut random = Random(seed);
        let mut line = Line::new(20_000, 10_000);
        line.run(|_, byte| match random.below(4 * one_in) {
            0 => vec![],
            1 => vec![byte, random.below(256) as u8],
            2 => vec![random.below(256) as u8],
            3 => (0..random.below(600)).map(|_| random.below(256) as u8).collect(),
            _ => vec![byte],
        });
        assert!(line.noise > 10 && line.device.thrown() > 10);
        assert_eq!((line.refused, line.opened), (0, 1), "noise is nobody");
    }
}

#[test]
fn who_does_not_have_the_key_of_the_site_it_names_is_refused() {
    let strangers = [("buoy-4", LineKey::new([8; 32])), ("buoy-5", KEY)];
    for (site, key) in strangers {
        let mut line = Line::new(100, 0);
        line.device = Caller::new(site, key, [1; 16]);
        for _ in 0..1_000 {
            line.turn(whole);
        }
        assert!(line.refused >= 9, "{} calls were refused", line.refused);
        assert!(!line.device.is_open() && line.gateway.site().is_none());
        assert_eq!(line.recorded.1, b"", "and are not answered");
    }
}

#[test]
fn a_device_does_not_speak_to_who_does_not_have_its_key() {
    let mut line = Line::new(100, 0);
    line.device.handle_timeout(line.now());
    let call = line.device.waiting(line.now()).to_vec();
    line.device.sent(call.len(), line.now());
    // Its own call, a recorded answer to another call, and an answer that was made up.
    let mut other = Line::new(100, 0);
    other.device = Caller::new("buoy-4", KEY, [9; 16]);
    other.run(whole);
    let made_up = [&[0, 35, 2][..], &[9; 32], &[0]].concat();
    for bytes in [call, other.recorded.1, made_up] {
        for byte in bytes {
            assert_eq!(line.device.handle_byte(byte), Turn::Same);
        }
        assert!(!line.device.is_open());
    }
}

#[test]
fn what_was_recorded_on_the_line_can_not_be_played_back() {
    let mut line = Line::new(3_000, 3_000);
    line.run(whole);
    let (up, down) = line.recorded.clone();
    let heard = line.heard.clone();
    // To the same ends, also the wrong way round, while the session goes on.
    for bytes in [&up, &down] {
        line.up.extend(bytes);
        line.down.extend(bytes);
        line.deliver();
    }
    assert_eq!((line.heard.clone(), line.opened, line.refused), (heard, 1, 0));
    line.said.0.extend([5; 500]);
    line.said.1.extend([6; 500]);
    line.run(whole);
    assert_eq!(line.opened, 1, "and the session was not disturbed");

    // To a gateway that has started anew.
    let mut gateway = Answerer::new([3; 16]);
    for byte in up {
        let heard = gateway.handle_byte(byte, keys);
        assert!(matches!(heard, Heard::Nothing | Heard::Noise), "{heard:?}");
    }
    assert_eq!(gateway.site(), None);
}

#[test]
fn what_was_recorded_in_an_earlier_session_opens_no_later_one() {
    let mut line = Line::new(500, 500);
    line.run(whole);
    let (up, down) = line.recorded.clone();
    let nothing = (vec![], vec![]);
    // The device calls again, and is answered by a recording.
    line.device.hang_up(line.now());
    line.now += 5_000;
    assert_eq!(line.device.handle_timeout(line.now()), Turn::Same);
    line.heard = nothing.clone();
    line.down.extend(&down);
    line.deliver();
    assert!(!line.device.is_open() && line.heard == nothing);
    // It is answered by the gateway, which then hears a recording.
    line.told = (0, 0);
    line.run(whole);
    assert_eq!(line.opened, 2);
    line.heard = nothing.clone();
    line.up.extend(&up);
    line.deliver();
    assert_eq!((line.opened, line.heard.clone()), (2, nothing));
}

#[test]
fn a_call_that_is_heard_once_more_in_its_session_is_not_answered() {
    let mut line = Line::new(500, 0);
    line.device.handle_timeout(line.now());
    let call = line.device.waiting(line.now()).to_vec();
    line.finish();
    line.up.extend(&call);
    line.deliver();
    let now = line.now();
    assert_eq!(line.gateway.waiting(now), b"");
}

#[test]
fn what_must_be_said_at_once_waits_until_the_frame_on_the_line_has_passed() {
    let mut line = Line::new(500, 500);
    line.finish();
    let now = line.now();
    line.gateway.put(b"a frame of the gateway", now);
    line.down.extend(&line.gateway.waiting(now)[..5]);
    line.gateway.sent(5, now);
    line.device.put(b"a frame of the device", now);
    line.up.extend(line.device.waiting(now));
    line.deliver();
    while let [first, ..] = line.gateway.waiting(now) {
        line.down.push_back(*first);
        line.gateway.sent(1, now);
    }
    line.deliver();
    assert!(line.heard.1.ends_with(b"a frame of the gateway"));
    assert!(line.device.is_ready(), "and the ack came behind it");
    assert_eq!(line.device.thrown(), 0);
}

#[test]
fn a_frame_is_repeated_half_a_second_after_it_has_left() {
    let mut line = Line::new(500, 0);
    line.finish();
    let put = line.now();
    line.device.put(b"over a slow line", put);
    let len = line.device.waiting(put).len();
    line.device.sent(len - 1, put);
    let left = put.plus(Duration::from_millis(900));
    line.device.sent(1, left);
    let before = left.plus(Duration::from_millis(499));
    assert_eq!(line.device.waiting(before), b"");
    let after = left.plus(Duration::from_millis(500));
    assert_eq!(line.device.waiting(after).len(), len);
}

#[test]
fn nothing_of_a_session_goes_onto_the_line_when_it_is_over() {
    let mut line = Line::new(500, 500);
    line.finish();
    let now = line.now();
    line.gateway.put(b"too late", now);
    line.gateway.sent(3, now);
    line.gateway.hang_up();
    assert_eq!(line.gateway.waiting(now), b"");
    assert_eq!(line.gateway.site(), None);
}

#[test]
fn what_one_end_says_is_not_taken_for_the_other_when_it_comes_back() {
    let mut line = Line::new(1, 5_000);
    let mut echoed = 0;
    while line.heard != line.said {
        line.turn(whole);
        let echo = line.recorded.1[echoed..].to_vec();
        echoed = line.recorded.1.len();
        line.up.extend(echo);
        line.deliver();
        assert!(line.heard.0.len() <= 1, "{:?}", line.heard.0);
    }
    assert_eq!(line.opened, 1);
}

#[test]
fn a_device_that_starts_anew_is_let_in_again_and_what_was_under_way_is_gone() {
    let mut line = Line::new(1_000, 1_000);
    for _ in 0..5 {
        line.turn(whole);
    }
    assert_eq!(line.opened, 1);
    let seconds_later = line.now + 3_000;
    let before = line.heard.0.len();
    line.device = Caller::new("buoy-4", KEY, [4; 16]);
    line.up.extend([3, 0, 9]);
    line.told = (0, 0);
    line.heard = Default::default();
    while line.heard != line.said {
        // The bytes that the gateway had under way are gone with the session.
        let opened = line.opened;
        line.turn(whole);
        if line.opened > opened {
            (line.told.1, line.heard.1) = (0, vec![]);
        }
        assert!(line.now < seconds_later + 60_000);
    }
    assert!(before > 0 && line.opened == 2);
}

#[test]
fn a_device_that_is_not_answered_any_more_gives_the_session_up_and_calls_again() {
    let mut line = Line::new(500, 0);
    line.run(whole);
    line.gateway = Answerer::new([5; 16]);
    let mut lost = None;
    line.device.put(b"is anybody there?", line.now());
    for _ in 0..3_000 {
        line.now += 10;
        let now = line.now();
        if line.device.handle_timeout(now) == Turn::Lost {
            lost = Some(line.now);
        }
        let len = line.device.waiting(now).len();
        line.device.sent(len, now);
        if lost.is_some() {
            break;
        }
    }
    assert!(lost.is_some() && !line.device.is_open());
    (line.heard, line.told) = (Default::default(), (0, 0));
    line.run(whole);
    assert_eq!(line.opened, 2);
}

/// A small generator of numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % most
    }
}
