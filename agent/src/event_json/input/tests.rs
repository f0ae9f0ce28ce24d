//! Lines are read the same however they are cut, and a bad one is told apart from the next.

use super::*;

type Lines = Vec<Result<Event, BadLine>>;

fn read(shape: &LineShape, max: usize, pieces: &[&str]) -> Lines {
    let mut reader = LineReader::new(shape.clone(), max);
    let mut lines = Lines::new();
    let mut each = |line| {
        lines.push(line);
        Ok::<(), ()>(())
    };
    for piece in pieces {
        reader.feed(&Bytes::copy_from_slice(piece.as_bytes()), &mut each).unwrap();
    }
    reader.finish(&mut each).unwrap();
    lines
}

fn shape(key: &str, time: &str) -> LineShape {
    let field = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    LineShape { key_field: field(key), time_field: field(time), whole: false }
}

fn text_of(event: &Event) -> &str {
    std::str::from_utf8(event.value.as_deref().unwrap()).unwrap()
}

fn problem(shape: &LineShape, line: &str) -> String {
    read(shape, 100, &[line]).remove(0).unwrap_err().to_string()
}

#[test]
fn a_line_that_is_no_utf8_is_no_json_also_where_no_field_is_asked_for() {
    for shape in [LineShape::default(), shape("k", "")] {
        let mut reader = LineReader::new(shape, 100);
        let piece = Bytes::from_static(b"{\"k\":1,\"x\":\"\xFF\"}\n");
        let mut problems = Vec::new();
        let mut each = |line: Result<Event, BadLine>| {
            problems.push(line.unwrap_err().to_string());
            Ok::<(), ()>(())
        };
        reader.feed(&piece, &mut each).unwrap();
        assert_eq!(problems, ["line 1: not JSON: not UTF-8 at column 13"]);
    }
}

#[test]
fn lines_are_the_same_however_the_pieces_fall() {
    let text = "{\"mmsi\":338148873,\"time\":\"2022-01-03T00:00:00\",\"x\":[1,{\"mmsi\":2}]}\
                \r\n\n  {\"mmsi\":\"A\\u0042\",\"time\":1641168000.5}";
    let shape = shape("mmsi", "time");
    let whole = read(&shape, 100, &[text]);
    for cut in 0..text.len() {
        assert_eq!(read(&shape, 100, &[&text[..cut], &text[cut..]]), whole);
    }
    let events: Vec<Event> = whole.into_iter().map(Result::unwrap).collect();
    assert_eq!(events[0].key.as_deref(), Some(b"338148873".as_slice()));
    assert_eq!(events[0].timestamp_ms, Some(1_641_168_000_000));
    assert_eq!(text_of(&events[0]), text.lines().next().unwrap());
    assert_eq!((events[1].line, events[1].key.as_deref()), (3, Some(b"AB".as_slice())));
    assert_eq!(events[1].timestamp_ms, Some(1_641_168_000_500));
    assert_eq!(text_of(&events[1]), "{\"mmsi\":\"A\\u0042\",\"time\":1641168000.5}");
}

#[test]
fn a_bad_line_says_what_is_wrong_and_the_next_is_read() {
    let lines = read(&shape("", ""), 100, &["{\"a\":1}\n{\"a\":\n{\"a\":2}\n"]);
    assert!(lines[0].is_ok() && lines[2].is_ok());
    let bad = lines[1].as_ref().unwrap_err().to_string();
    assert!(bad.starts_with("line 2: not JSON: EOF while parsing"), "{bad}");
    assert!(!bad.contains("line 1"), "{bad}");
    let wanted = shape("k", "t");
    assert_eq!(problem(&wanted, "[1]"), "line 1: not a JSON object, so it has no fields to take");
    assert_eq!(problem(&wanted, "{\"t\":1}"), "line 1: has no field `k`");
    assert!(problem(&wanted, "{\"k\":null,\"t\":1}").contains("`k` cannot be a key"));
    assert!(problem(&wanted, "{\"k\":1,\"t\":\"soon\"}").contains("`t` is not a time: \"soon\""));
    assert!(problem(&wanted, "{\"k\":1,\"t\":1e300}").contains("is not a time"));
    assert!(problem(&wanted, "{\"k\":1,\"k\":2,\"t\":1}").contains("`k` is there twice"));
    assert!(problem(&wanted, "{\"k\":1,\"t\":1} x").contains("not JSON"));
}

#[test]
fn a_line_over_the_limit_is_skipped_without_being_kept() {
    let long = format!("\"{}\"", "x".repeat(60));
    let lines = read(&shape("", ""), 50, &[&long, "\n1\n"]);
    assert_eq!(lines[0], Err(BadLine { line: 1, problem: LineProblem::TooLong { max: 50 } }));
    assert_eq!(text_of(lines[1].as_ref().unwrap()), "1");
    let mut reader = LineReader::new(LineShape::default(), 50);
    let mut bad = 0;
    for _ in 0..1_000 {
        let piece = Bytes::from_static(b"                    ");
        reader.feed(&piece, &mut |_| Ok::<(), ()>(())).unwrap();
        assert!(reader.partial.capacity() <= 256);
    }
    let mut count = |line: Result<Event, BadLine>| {
        bad += usize::from(line.is_err());
        Ok::<(), ()>(())
    };
    reader.finish(&mut count).unwrap();
    assert_eq!(bad, 1);
}

#[test]
fn a_line_nested_ever_deeper_takes_no_stack() {
    let deep = format!("{}{}", "[".repeat(90_000), "]".repeat(90_000));
    assert!(read(&shape("", ""), 200_000, &[&deep])[0].is_ok());
    assert!(read(&shape("", ""), 200_000, &[&deep[1..]])[0].is_err());
    let field = format!("{{\"k\":1,\"deep\":{deep}}}");
    assert!(read(&shape("k", ""), 200_000, &[&field])[0].is_ok());
}

fn whole() -> LineShape {
    LineShape { whole: true, ..LineShape::default() }
}

#[test]
fn a_whole_record_has_what_it_is_read_with() {
    let lines = [
        "{\"key\":\"a\",\"value\":{\"x\": 1.0},\"timestamp\":\"2022-01-03T00:00:00.250Z\"}",
        "{\"key\":{\"base64\":\"/w==\"},\"value\":{\"base64\":\"AAE=\"},\"form\":\"bytes\"}",
        "{\"key\":\"a\",\"value\":null,\"form\":\"tombstone\",\"timestamp\":-5}",
        "{\"value\":null}",
        "{\"value\":\"x\",\"form\":\"text\",\
         \"headers\":[{\"name\":\"u\",\"value\":\"kn\"},{\"name\":\"v\"}]}",
        "{\"topic\":\"ais\",\"origin\":\"ship\",\"epoch\":\"1f\",\"partition\":3,\"offset\":7,\
         \"lane\":\"normal\",\"seq\":9,\"timestamp\":7,\"key\":null,\"value\":[],\"headers\":[]}",
    ];
    let events = read(&whole(), 300, &[&lines.join("\n")]);
    let events: Vec<_> = events.into_iter().map(Result::unwrap).collect();
    let values: Vec<_> = events.iter().map(|event| event.value.as_deref()).collect();
    let wanted: [Option<&[u8]>; 6] =
        [Some(b"{\"x\": 1.0}"), Some(b"\0\x01"), None, Some(b"null"), Some(b"x"), Some(b"[]")];
    assert_eq!(values, wanted);
    let keys: Vec<_> = events.iter().map(|event| event.key.as_deref()).collect();
    let wanted: [Option<&[u8]>; 6] = [Some(b"a"), Some(b"\xFF"), Some(b"a"), None, None, None];
    assert_eq!(keys, wanted);
    let times: Vec<_> = events.iter().map(|event| event.timestamp_ms).collect();
    assert_eq!(times, [Some(1_641_168_000_250), None, Some(-5), None, None, Some(7)]);
    let unit = Header { name: "u".to_owned(), value: Some(Bytes::from_static(b"kn")) };
    let bare = Header { name: "v".to_owned(), value: None };
    assert_eq!(events[4].headers, [unit, bare]);
}

#[test]
fn what_is_no_whole_record_is_told() {
    let cases = [
        ("{\"value\":", "not JSON: EOF"),
        ("7", "not a record: invalid type: integer `7`, expected an object with `value`"),
        ("{\"key\":\"a\"}", "not a record: there is no `value`"),
        ("{\"vlaue\":1}", "not a record: unknown field `vlaue`"),
        ("{\"value\":1,\"form\":\"tombstone\"}", "not a record: a tombstone has no `value`"),
        ("{\"value\":1,\"form\":\"text\"}", "not a record: `value` is no text or bytes"),
        ("{\"value\":1,\"timestamp\":\"soon\"}", "not a record: `soon` is not a time"),
        ("{\"value\":1,\"key\":{\"base64\":\"?\"}}", "not a record: base64"),
        ("{\"value\":1,\"value\":2}", "not a record: duplicate field `value`"),
    ];
    let long = format!("{{\"key\":\"{}\",\"value\":\"{}\"}}", "k".repeat(50), "v".repeat(60));
    assert!(problem(&whole(), &long).contains("longer than a record may be (100 bytes)"));
    for (line, wanted) in cases {
        let told = problem(&whole(), line);
        assert!(told.starts_with(&format!("line 1: {wanted}")), "{line}: {told}");
    }
}
