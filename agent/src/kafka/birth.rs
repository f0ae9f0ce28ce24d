//! What a Kafka record says of its birth, in headers behind those of the application.
//!
//! ```text
//! landfall.at        coordinates with the epoch: ship-17/ais/0@4711~1f00ba5e
//! landfall.hash      the stream hash behind the record, 32 hexadecimal digits
//! landfall.path      the nodes it passed, each with the time at which the next one took it in,
//!                    in ms since 1970: ship-17@1763750000000,hub-1@1763750001250
//! landfall.producer  if its producer numbered it: id (hexadecimal) and sequence, as in 1f:42
//! landfall.time      its own timestamp in ms, if Kafka can't carry it (up to 1970-01-01)
//! ```
//!
//! They are text, since people read them too. An application may have written headers of these
//! names; the last of each name counts.

use std::fmt::Write as _;

use landfall_core::entry::hops;
use landfall_core::hash::StreamHash;
use landfall_core::record::Producer;

use crate::coordinates::Coordinates;

/// The coordinates.
pub const AT: &str = "landfall.at";
/// The stream hash behind the record.
pub const HASH: &str = "landfall.hash";
/// The nodes it passed.
pub const PATH: &str = "landfall.path";
/// Its producer and sequence.
pub const PRODUCER: &str = "landfall.producer";
/// Its own timestamp, where Kafka has another.
pub const TIME: &str = "landfall.time";

/// On a dead letter: the topic of Kafka that the record was for.
pub const TOPIC: &str = "landfall.topic";
/// On a dead letter: the bytes of the record, as its origin stored it.
pub const SIZE: &str = "landfall.size";
/// On a dead letter: why Kafka did not get the record.
pub const REFUSED: &str = "landfall.refused";

/// What the headers of a record say of its birth.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Birth {
    /// Its coordinates, with the epoch.
    pub at: Coordinates,
    /// The stream hash behind it.
    pub hash: StreamHash,
}

/// Why headers do not tell a birth.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NoBirth {
    /// There are none of ours: something else wrote the record.
    Foreign,
    /// There is something in them that no hub writes.
    Malformed,
}

impl Birth {
    /// Reads the headers of a Kafka record.
    ///
    /// # Errors
    /// They do not tell it.
    pub fn read<'a>(
        headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
    ) -> Result<Self, NoBirth> {
        let (mut at, mut hash) = (None, None);
        for (name, value) in headers {
            match name {
                AT => at = value,
                HASH => hash = value,
                _ => {}
            }
        }
        let (Some(at), Some(hash)) = (at, hash) else { return Err(NoBirth::Foreign) };
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| NoBirth::Malformed);
        let at: Coordinates = text(at)?.parse().map_err(|_| NoBirth::Malformed)?;
        let hash = parse_hash(text(hash)?).ok_or(NoBirth::Malformed)?;
        if at.epoch.is_none() {
            return Err(NoBirth::Malformed);
        }
        Ok(Self { at, hash })
    }
}

/// The path of an entry as text: `ship-17@1763750000000,gateway-2@1763750001250`. What can't be
/// read ends it.
#[must_use]
pub fn path_text(path: &[u8]) -> String {
    let mut text = String::new();
    for hop in hops(path).map_while(Result::ok) {
        let comma = if text.is_empty() { "" } else { "," };
        // Writing to a string does not fail.
        let _ = write!(text, "{comma}{}@{}", hop.site, hop.received.get());
    }
    text
}

/// A producer and its sequence as text.
#[must_use]
pub fn producer_text(producer: Producer) -> String {
    format!("{:x}:{}", producer.id.get(), producer.sequence)
}

fn parse_hash(text: &str) -> Option<StreamHash> {
    let mut bytes = [0; 16];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let digits = std::str::from_utf8(pair).ok()?;
        // Otherwise `+1` would be a number.
        let hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        *byte = u8::from_str_radix(digits, 16).ok().filter(|_| hexadecimal)?;
    }
    Some(StreamHash::new(bytes))
}

#[cfg(test)]
mod tests {
    use landfall_core::codec::Writer;
    use landfall_core::entry::Hop;
    use landfall_core::num::Timestamp;

    use super::*;

    const PLACE: &[u8] = b"ship-17/ais/0@4711~1f";
    const DIGITS: &[u8] = b"000102030405060708090a0b0c0d0eff";

    fn read(headers: &[(&str, Option<&[u8]>)]) -> Result<Birth, NoBirth> {
        Birth::read(headers.iter().copied())
    }

    #[test]
    fn a_birth_is_read_as_it_was_written() {
        let birth = read(&[("mine", None), (AT, Some(PLACE)), (HASH, Some(DIGITS))]).unwrap();
        assert_eq!(birth.at.to_string().as_bytes(), PLACE);
        assert_eq!(birth.hash.to_string().as_bytes(), DIGITS);
    }

    #[test]
    fn the_last_header_of_a_name_counts() {
        let forged = (AT, Some(b"ship-1/ais/0@1~1".as_slice()));
        let birth = read(&[forged, (AT, Some(PLACE)), (HASH, Some(DIGITS))]).unwrap();
        assert_eq!(birth.at.offset, 4711);
    }

    #[test]
    fn what_no_hub_writes_is_told_from_what_others_write() {
        assert_eq!(read(&[]), Err(NoBirth::Foreign));
        assert_eq!(read(&[(AT, Some(PLACE))]), Err(NoBirth::Foreign));
        let wrong: [(&[u8], &[u8]); 4] = [
            (b"ship-17/ais/0@4711", DIGITS),
            (b"ship-17", DIGITS),
            (PLACE, b"00"),
            (PLACE, b"+0+1+2+3+4+5+6+7+8+9+a+b+c+d+e+f"),
        ];
        for (at, hash) in wrong {
            let told = read(&[(AT, Some(at)), (HASH, Some(hash))]);
            assert_eq!(told, Err(NoBirth::Malformed), "{at:?} {hash:?}");
        }
    }

    #[test]
    fn a_path_names_its_hops_in_order() {
        let mut bytes = [0; 64];
        let mut writer = Writer::new(&mut bytes);
        for (site, ms) in [("ship-17", 5), ("gateway", -7)] {
            Hop { site, received: Timestamp::new(ms) }.encode(&mut writer).unwrap();
        }
        assert_eq!(path_text(writer.written()), "ship-17@5,gateway@-7");
        assert_eq!(path_text(&[]), "");
    }
}
