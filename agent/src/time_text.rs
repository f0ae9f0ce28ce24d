//! Timestamps as text: RFC 3339 to milliseconds since 1970 and back, by civil-date arithmetic.
//!
//! A time without a zone is taken as UTC, which is what sensor data without one means in practice.

const DAY_MS: i64 = 86_400_000;

/// Reads `2022-01-03T00:00:00Z` with an optional fraction and zone (`Z`, `+02:00`, none = UTC), a
/// blank in place of `T`, or a date alone. `None` if it is not a time. Digits finer than
/// milliseconds are cut off; a leap second counts as the second after it.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let date = text.get(..10)?;
    let days = days_of(date)?;
    let rest = text.get(10..)?;
    if rest.is_empty() {
        return Some(days * DAY_MS);
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (hour, minute) = (number(rest, 0, 2)?, number(rest, 3, 5)?);
    if rest.as_bytes().get(2) != Some(&b':') || hour > 23 || minute > 59 {
        return None;
    }
    let mut tail = rest.get(5..)?;
    let mut ms = (hour * 60 + minute) * 60_000;
    if let Some(after) = tail.strip_prefix(':') {
        let second = number(after, 0, 2)?;
        if second > 60 {
            return None;
        }
        ms += second * 1_000;
        tail = after.get(2..)?;
        if let Some(fraction) = tail.strip_prefix('.') {
            let end = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
            ms += milliseconds_of(fraction.get(..end)?)?;
            tail = fraction.get(end..)?;
        }
    }
    Some(days * DAY_MS + ms - zone_ms(tail)?)
}

/// Milliseconds since 1970 as `2022-01-03T00:00:00.000Z`. Years outside 0..=9999 are printed as
/// they are, which RFC 3339 cannot express but a person can read.
#[must_use]
pub fn format(ms: i64) -> String {
    let (days, in_day) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    let (year, month, day) = civil(days);
    let (seconds, ms) = (in_day / 1_000, in_day % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

fn days_of(date: &str) -> Option<i64> {
    let bytes = date.as_bytes();
    if bytes.get(4) != Some(&b'-') || bytes.get(7) != Some(&b'-') {
        return None;
    }
    let (year, month, day) = (number(date, 0, 4)?, number(date, 5, 7)?, number(date, 8, 10)?);
    let days = days_from_civil(year, month, day);
    // An impossible date, such as 30 February, comes back as another one.
    (civil(days) == (year, month, day)).then_some(days)
}

fn zone_ms(zone: &str) -> Option<i64> {
    if matches!(zone, "" | "Z" | "z") {
        return Some(0);
    }
    let sign = match zone.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let digits = zone.get(1..)?;
    let minutes = match digits.len() {
        5 if digits.as_bytes().get(2) == Some(&b':') => number(digits, 3, 5)?,
        4 => number(digits, 2, 4)?,
        2 => 0,
        _ => return None,
    };
    let hours = number(digits, 0, 2)?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60_000)
}

fn milliseconds_of(fraction: &str) -> Option<i64> {
    let digits: String = fraction.chars().chain("00".chars()).take(3).collect();
    if fraction.is_empty() { None } else { number(&digits, 0, 3) }
}

fn number(text: &str, from: usize, to: usize) -> Option<i64> {
    let digits = text.get(from..to)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Days since 1970-01-01 in the Gregorian calendar. Years are counted from March, so that the day
/// a leap year adds is the last of its year, and in cycles of 400 years (146,097 days).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (cycle, of_cycle) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let in_cycle = of_cycle * 365 + of_cycle / 4 - of_cycle / 100 + of_year;
    cycle * 146_097 + in_cycle - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (cycle, in_cycle) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let of_cycle = (in_cycle - in_cycle / 1_460 + in_cycle / 36_524 - in_cycle / 146_096) / 365;
    let of_year = in_cycle - (365 * of_cycle + of_cycle / 4 - of_cycle / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = cycle * 400 + of_cycle + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_zone() {
        let midnight = 1_641_168_000_000;
        assert_eq!(parse("2022-01-03T00:00:00"), Some(midnight));
        assert_eq!(parse("2022-01-03T02:00:00+02:00"), Some(midnight));
        assert_eq!(parse("2022-01-03 00:00:00.1239Z"), Some(midnight + 123));
        assert_eq!(parse("2022-01-03"), Some(midnight));
        assert_eq!(parse("1969-12-31T23:59:59Z"), Some(-1_000));
        for wrong in
            ["", "2022-02-30", "2022-13-01", "2022-01-03T25:00", "2022-01-03T00:00:00+", "ü"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_day_of_a_thousand_years_comes_back() {
        for day in (-200_000..200_000).map(|day| day * DAY_MS + 12_345_678) {
            assert_eq!(parse(&format(day)), Some(day));
        }
        assert_eq!(format(951_782_400_000), "2000-02-29T00:00:00.000Z");
    }
}
