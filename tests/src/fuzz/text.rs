//! Short texts that people and programs write: places, names, sizes, times, addresses.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use landfall::api::Cursor;
use landfall::config::{HostPort, listen_address};
use landfall::coordinates::{Coordinates, Position, StreamName, check_site, check_topic};
use landfall::identity::{PublicKey, SitePattern, TopicPattern};
use landfall::nearest::nearest;
use landfall::quantity::{ByteSize, duration_text, parse_duration};
use landfall::time_text;

/// The first byte chooses what the others are read as.
pub(super) fn text(bytes: &[u8]) {
    let Some((kind, text)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    match kind % 11 {
        0 => comes_back::<Coordinates>(text),
        1 => comes_back::<StreamName>(text),
        2 => position(text),
        3 => comes_back::<Cursor>(text),
        4 => comes_back::<SitePattern>(text),
        5 => comes_back::<TopicPattern>(text),
        6 => comes_back::<PublicKey>(text),
        7 => time(text),
        8 => quantity(text),
        9 => {
            let _ = (HostPort::parse(text), listen_address(text));
        }
        _ => {
            let names = ["ais", "positions", "ship-17"];
            assert!(nearest(text, names).is_none_or(|found| names.contains(&found)));
            let _ = (check_site(text), check_topic(text));
        }
    }
}

/// Printed, it is read as the same.
fn comes_back<T: FromStr<Err: Display> + Display + Debug + PartialEq>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => assert_eq!(value.to_string().parse::<T>().ok(), Some(value)),
        Err(error) => assert!(!error.to_string().is_empty(), "an error says something"),
    }
}

fn position(text: &str) {
    comes_back::<Position>(text);
}

fn time(text: &str) {
    let Some(ms) = time_text::parse(text) else { return };
    assert_eq!(time_text::parse(&time_text::format(ms)), Some(ms), "{text}");
}

fn quantity(text: &str) {
    if let Some(size) = ByteSize::parse(text) {
        let printed = ByteSize::parse(&size.to_string()).expect("what is printed can be read");
        // A digit behind the point is printed, rounded down.
        assert!(printed <= size && size.0 - printed.0 <= size.0 / 10, "{size}");
    }
    if let Some(duration) = parse_duration(text) {
        assert!(!duration_text(duration).is_empty());
    }
}
