//! Sizes and durations as people write and read them: `64MiB`, `24h`.

use std::fmt;
use std::time::Duration;

/// A number of bytes, written `4096`, `64KiB`, `1.5GiB` or `10MB`.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct ByteSize(pub u64);

const SIZE_UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

const DURATION_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl ByteSize {
    /// Reads a size; `None` if it is not one or does not fit.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        scaled(text, &SIZE_UNITS).map(Self)
    }
}

/// Exact where the unit divides it, else rounded to one digit behind the point.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, bytes) = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
            .into_iter()
            .find(|(_, bytes)| self.0 >= *bytes)
            .unwrap_or(("B", 1));
        let (whole, rest) = (self.0 / bytes, self.0 % bytes);
        if rest == 0 {
            return write!(f, "{whole} {unit}");
        }
        write!(f, "{whole}.{} {unit}", rest * 10 / bytes)
    }
}

/// Reads a duration: a number and one of `ms`, `s`, `m`, `h`, `d`. The unit must be there.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    scaled(text, &DURATION_UNITS).map(Duration::from_millis)
}

/// A duration in its two largest units, such as `3h 20m`; below a second, milliseconds.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if ms < 1_000 {
        return format!("{ms}ms");
    }
    let units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let mut seconds = ms / 1_000;
    let mut parts = Vec::new();
    for (unit, size) in units {
        let count = seconds / size;
        seconds %= size;
        if count > 0 {
            parts.push(format!("{count}{unit}"));
        }
        if parts.len() == 2 || (count == 0 && !parts.is_empty()) {
            break;
        }
    }
    parts.join(" ")
}

/// `1234567` as `1,234,567`.
#[must_use]
pub fn count_text(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 topic`, `2,000 topics`.
#[must_use]
pub fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count_text(count))
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (_, scale) = units.iter().find(|(name, _)| *name == unit.trim())?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut total = whole.parse::<u64>().ok()?.checked_mul(*scale)?;
    if number.contains('.') {
        if fraction.is_empty() || fraction.len() > 6 {
            return None;
        }
        let digits = fraction.parse::<u64>().ok()?;
        let places = 10_u64.pow(u32::try_from(fraction.len()).ok()?);
        total = total.checked_add(digits.checked_mul(*scale)? / places)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_printed() {
        assert_eq!(ByteSize::parse("64MiB"), Some(ByteSize(64 << 20)));
        assert_eq!(ByteSize::parse("1.5 KiB"), Some(ByteSize(1536)));
        assert_eq!(ByteSize::parse("10MB"), Some(ByteSize(10_000_000)));
        for wrong in ["", "MiB", "1.", "-1", "1XB", "99999999999GiB"] {
            assert_eq!(ByteSize::parse(wrong), None, "{wrong}");
        }
        assert_eq!(ByteSize(1536).to_string(), "1.5 KiB");
        assert_eq!(ByteSize(64 << 20).to_string(), "64 MiB");
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("24h"), Some(Duration::from_secs(86_400)));
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("10"), None);
        assert_eq!(duration_text(Duration::from_secs(12_065)), "3h 21m");
        assert_eq!(duration_text(Duration::from_secs(3_605)), "1h");
        assert_eq!(duration_text(Duration::from_millis(40)), "40ms");
        assert_eq!(count_text(1_234_567), "1,234,567");
        assert_eq!(
            (counted(1, "topic"), counted(0, "topic")),
            ("1 topic".into(), "0 topics".into())
        );
    }
}
