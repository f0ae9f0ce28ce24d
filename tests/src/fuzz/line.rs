//! A serial line on which anything may be said: noise, what was said before, and lost bytes, while
//! a device and its gateway speak.

use std::collections::VecDeque;

use landfall_protocol::line::{Answerer, Caller, Heard, LineKey, Turn};
use landfall_protocol::time::Instant;

use super::input::Input;

const KEY: LineKey = LineKey::new([7; 32]);
/// What either end says: bytes that tell where they stand.
const SAID: usize = 2_000;

fn said() -> Vec<u8> {
    (0..SAID).map(|at| (at % 251) as u8).collect()
}

fn keys(site: &str) -> Option<LineKey> {
    (site == "buoy-4").then_some(KEY)
}

/// One direction: what was said and heard, and the bytes on their way.
#[derive(Default)]
struct Way {
    bytes: VecDeque<u8>,
    told: usize,
    heard: Vec<u8>,
}

/// Steps of two ends, and what happens on the line between them. Whatever it is: what is heard is
/// the beginning of what was said, nobody else is let in, and both calls return.
pub(super) fn line(bytes: &[u8]) {
    let (mut input, all) = (Input::new(bytes), said());
    let (mut device, mut gateway) = (Caller::new("buoy-4", KEY, [1; 16]), Answerer::new([2; 16]));
    let (mut up, mut down, mut millis) = (Way::default(), Way::default(), 0);
    while !input.is_empty() {
        let step = input.u8();
        let (way, count) =
            if step & 1 == 0 { (&mut up, step >> 4) } else { (&mut down, step >> 4) };
        match step >> 1 & 7 {
            0 => way.bytes.extend(input.take(usize::from(count) + 1)),
            1 => drop(way.bytes.drain(..way.bytes.len().min(usize::from(count) + 1))),
            2 => {
                let at = usize::from(input.u8());
                way.bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= count + 1);
            }
            3 => millis += u64::from(count) * 200,
            _ => {}
        }
        millis += 1;
        let now = Instant::from_millis(millis);
        if device.handle_timeout(now) == Turn::Lost {
            restart(&mut up, &mut down);
        }
        up.told += device.put(&all[up.told..], now);
        down.told += gateway.put(&all[down.told..], now);
        let waiting = device.waiting(now);
        let len = waiting.len();
        up.bytes.extend(waiting);
        device.sent(len, now);
        let waiting = gateway.waiting(now);
        let len = waiting.len();
        down.bytes.extend(waiting);
        gateway.sent(len, now);
        // Some of it stays on the line for a while.
        for _ in 0..up.bytes.len().saturating_sub(usize::from(step & 1) * 100) {
            let Some(byte) = up.bytes.pop_front() else { break };
            match gateway.handle_byte(byte, keys) {
                Heard::Opened => {
                    restart(&mut Way::default(), &mut down);
                    up.heard = gateway.payload().to_vec();
                }
                Heard::Payload => up.heard.extend(gateway.payload()),
                Heard::Nothing | Heard::Noise | Heard::Refused => {}
            }
        }
        while let Some(byte) = down.bytes.pop_front() {
            match device.handle_byte(byte) {
                Turn::Payload => down.heard.extend(device.payload()),
                Turn::Opened => down.heard.clear(),
                Turn::Same | Turn::Lost => {}
            }
        }
        assert!(all.starts_with(&up.heard) && all.starts_with(&down.heard));
        assert!(gateway.site().is_none_or(|site| site == "buoy-4"));
    }
}

/// What was under way is gone with the session.
fn restart(up: &mut Way, down: &mut Way) {
    (up.told, down.told) = (0, 0);
}

/// A line that is left alone, one with noise in it, and calls of all kinds.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let quiet = vec![8; 200];
    let noisy: Vec<u8> = (0..60).flat_map(|n| [8, 0x30, 1, 2, 0, n, 0x14, n, 0x86]).collect();
    let lossy: Vec<u8> = (0..100).flat_map(|n| [9, 0x12, 0xF6, n, 8]).collect();
    let mut device = Caller::new("buoy-4", KEY, [1; 16]);
    device.handle_timeout(Instant::default());
    let call = device.waiting(Instant::default()).chunks(16).flat_map(|part| {
        let step = (part.len() as u8 - 1) << 4;
        [&[step], part].concat()
    });
    vec![quiet, noisy, lossy, call.collect()]
}
