//! Lines of events, in whatever pieces they come.

use std::convert::Infallible;

use bytes::Bytes;
use landfall::event_json::{BadLine, Event, LineReader, LineShape};

use super::input::Input;

/// The greatest length of a line here.
const LINE_BYTES_MAX: usize = 256;

/// Two bytes of choices, then lines. Whatever the pieces, the same events come out of them. Lines
/// that are whole records may have any value.
pub(super) fn lines(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (fields, piece) = (input.u8(), usize::from(input.u8()) + 1);
    let field = |bit, name: &str| (fields & bit != 0).then(|| name.to_owned());
    let whole = fields & 4 != 0;
    let shape = LineShape { key_field: field(1, "k"), time_field: field(2, "t"), whole };
    let text = input.rest();
    let found = read(&shape, text, usize::MAX);
    assert_eq!(read(&shape, text, piece), found, "pieces of {piece} bytes");
    let mut last = 0;
    for line in &found {
        let number = line.as_ref().map_or_else(|bad| bad.line, |event| event.line);
        assert!(number > last, "lines are numbered in their order");
        last = number;
        match line {
            Ok(_) if whole => {}
            Ok(event) => check(&shape, event),
            Err(bad) => assert!(!bad.to_string().is_empty(), "an error says something"),
        }
    }
}

fn check(shape: &LineShape, event: &Event) {
    let value = event.value.as_deref().unwrap_or_default();
    assert!(!value.is_empty() && value.len() <= LINE_BYTES_MAX);
    assert_eq!(value.trim_ascii(), value);
    assert!(std::str::from_utf8(value).is_ok(), "JSON is UTF-8");
    assert!(serde_json::from_slice::<serde_json::Value>(value).is_ok() || is_beyond(value));
    assert_eq!(event.key.is_some(), shape.key_field.is_some());
    assert_eq!(event.timestamp_ms.is_some(), shape.time_field.is_some());
}

/// A tree has limits that a check has not: how deep it is, how large its numbers are, and which
/// characters are written as numbers.
fn is_beyond(value: &[u8]) -> bool {
    let opening = value.iter().filter(|byte| matches!(byte, b'[' | b'{')).count();
    let numbered = |byte: &u8| byte.is_ascii_digit() || *byte == b'\\';
    opening > 100 || value.iter().any(numbered)
}

fn read(shape: &LineShape, text: &[u8], piece: usize) -> Vec<Result<Event, BadLine>> {
    let mut reader = LineReader::new(shape.clone(), LINE_BYTES_MAX);
    let mut found = Vec::new();
    let mut each = |line| {
        found.push(line);
        Ok::<(), Infallible>(())
    };
    for piece in text.chunks(piece.min(text.len().max(1))) {
        let Ok(()) = reader.feed(&Bytes::copy_from_slice(piece), &mut each);
    }
    let Ok(()) = reader.finish(&mut each);
    found
}
