//! What is written: lines that anybody can make again from the run and the number.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A call of `torture --write`: a random number, printed as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct RunId(pub(super) u64);

/// Text that is no run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct NotRun;

/// A record of a run, as it was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Told {
    pub(super) run: RunId,
    pub(super) number: u64,
    /// Whether its bytes are those that were written.
    pub(super) intact: bool,
}

/// Most records that are appended in one request.
const BATCH_RECORDS_MAX: u64 = 128;
/// One record in so many is large.
const LARGE_EVERY: u64 = 64;
const SMALL_BYTES: u64 = 400;
const LARGE_BYTES: u64 = 24 << 10;

/// The line of a number: the same whenever it is asked for.
pub(super) fn line(run: RunId, number: u64) -> String {
    let mut noise = Noise::of(run, number);
    let large = noise.below(LARGE_EVERY) == 0;
    let bytes = 16 + noise.below(if large { LARGE_BYTES } else { SMALL_BYTES });
    let bytes = usize::try_from(bytes).unwrap_or(0);
    let mut data = String::with_capacity(bytes + 16);
    while data.len() < bytes {
        data.push_str(&format!("{:016x}", noise.next()));
    }
    data.truncate(bytes);
    let crc = crc32c::crc32c(format!("{run} {number} {data}").as_bytes());
    format!(r#"{{"run":"{run}","n":{number},"data":"{data}","crc":"{crc:08x}"}}"#)
}

/// How many records the request has that begins with a number.
pub(super) fn batch(run: RunId, number: u64) -> u64 {
    1 + Noise::of(run, !number).below(BATCH_RECORDS_MAX)
}

/// What a value says; none if it is no record of a run.
pub(super) fn told(value: &[u8]) -> Option<Told> {
    #[derive(Deserialize)]
    struct Line {
        run: RunId,
        n: u64,
    }
    let Line { run, n: number } = serde_json::from_slice(value).ok()?;
    Some(Told { run, number, intact: line(run, number).as_bytes() == value })
}

/// Numbers that look random and are not: the splitmix64 sequence.
struct Noise(u64);

impl Noise {
    fn of(run: RunId, number: u64) -> Self {
        let mut noise = Self(run.0 ^ number.rotate_left(32));
        noise.next();
        noise
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for RunId {
    type Err = NotRun;

    fn from_str(text: &str) -> Result<Self, NotRun> {
        let plain = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = plain.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or(NotRun)
    }
}

impl TryFrom<String> for RunId {
    type Error = NotRun;

    fn try_from(text: String) -> Result<Self, NotRun> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(run: RunId) -> Self {
        run.to_string()
    }
}

impl fmt::Display for NotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a run has 16 hexadecimal digits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_known_again_and_a_changed_one_too() {
        let run = RunId(0xab);
        for number in 1..1_000 {
            let line = line(run, number);
            assert_eq!(told(line.as_bytes()), Some(Told { run, number, intact: true }));
            assert!((1..=BATCH_RECORDS_MAX).contains(&batch(run, number)));
        }
        let changed = line(run, 7).replace("\"crc\":\"", "\"crc\":\"0");
        assert_eq!(told(changed.as_bytes()), Some(Told { run, number: 7, intact: false }));
        assert_eq!(told(br#"{"n":7}"#), None);
        let sizes: Vec<_> = (1..1_000).map(|number| line(run, number).len()).collect();
        assert!(sizes.iter().any(|size| *size > 8_000) && sizes.iter().any(|size| *size < 100));
    }
}
