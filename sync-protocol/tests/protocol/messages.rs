//! Every message comes back as it was sent, and nothing else comes back at all.

use landfall_core::gap::GapReason;
use landfall_core::hash::StreamHash;
use landfall_core::limits::{COUNTER_MAX, SITE_BYTES_MAX};
use landfall_core::name::StreamId;
use landfall_core::num::{BootId, CommitNo, Epoch, LogId, Offset, Partition, Seq, Timestamp};
use landfall_protocol::limits::{FRAME_BYTES_MIN, STREAMS_MAX};
use landfall_protocol::message::{
    Begin, Clock, Control, Decoded, Diverged, DivergedKind, Durable, Enrol, Entry, Features, Gap,
    Goodbye, GoodbyeCode, Hello, Introduction, LaneMessage, LaneOffer, Lanes, List, Opened,
    Promise, Purpose, Refused, RefusedCode, RootGap, Scope, Standing, StreamPoint, Subscribe,
    Terms, Tip, Tips,
};
use landfall_protocol::time::Duration;
use proptest::prelude::*;

fn stream(topic: &str) -> StreamId<'_> {
    StreamId { origin: "ship-17", topic, partition: Partition::new(3) }
}

fn point(topic: &str, next: u64) -> StreamPoint<'_> {
    let hash = Some(StreamHash::new([7; 16]));
    StreamPoint { stream: stream(topic), epoch: Epoch::new(9), next: Offset::new(next), hash }
}

fn promise() -> Promise {
    Promise { log: LogId::new(1), epoch: Epoch::new(u64::MAX), commit: CommitNo::new(COUNTER_MAX) }
}

fn lanes() -> Lanes<'static> {
    let lane = |name, priority| LaneOffer { name, priority };
    Lanes::new(&[lane("normal", 10), lane("urgent", 200)]).unwrap()
}

fn hello<'a>(openings: &'a [Opened], enrol: Option<Enrol<'a>>) -> Hello<'a> {
    Hello {
        terms: Terms {
            protocol_min: 1,
            protocol_max: 3,
            features: Features::NONE.with_codec(2),
            frame_bytes_max: 4096,
            credit: 1 << 20,
        },
        introduction: Introduction {
            site: "ship-17",
            log: LogId::new(5),
            epoch: Epoch::new(6),
            boot: BootId::new(7),
            software: "landfall 0.1.0",
            clock: Timestamp::new(-5),
            root: Some(LogId::new(8)),
            promise: Some(promise()),
            lanes: lanes(),
            enrol,
            openings: List::new(openings),
        },
    }
}

fn openings(count: u64) -> Vec<Opened> {
    let opened = |at| Opened {
        epoch: Epoch::new(u64::MAX - at),
        parent: (at > 0).then(|| Epoch::new(at)),
        first_commit: CommitNo::new(COUNTER_MAX - at),
    };
    (0..count).map(opened).collect()
}

fn encoded(message: &Control<'_>) -> Vec<u8> {
    let mut bytes = vec![0; message.encoded_len().unwrap()];
    assert_eq!(message.encode(&mut bytes), Ok(bytes.len()));
    bytes
}

/// It comes back as it was, and no part of it, nor it with something behind, means the same.
fn assert_comes_back(message: Control<'_>) {
    let mut bytes = encoded(&message);
    assert_eq!(Control::decode(&bytes), Ok(Decoded::Message(message)));
    for cut in 0..bytes.len() {
        assert_ne!(Control::decode(&bytes[..cut]), Ok(Decoded::Message(message)), "{cut} bytes");
    }
    bytes.push(1);
    assert_ne!(Control::decode(&bytes), Ok(Decoded::Message(message)));
    assert!(message.encode(&mut bytes[..3.min(message.encoded_len().unwrap() - 1)]).is_err());
}

#[test]
fn every_control_message_comes_back() {
    let tips = [
        Tip { point: point("ais", 5), first_kept: Offset::ZERO },
        Tip { point: StreamPoint { hash: None, ..point("log", 70) }, first_kept: Offset::new(70) },
    ];
    let points = [point("ais", 5), point("log", COUNTER_MAX)];
    let streams = List::new(&points);
    let (code, text) = (GoodbyeCode::Overloaded { retry_after: Duration::from_secs(30) }, "full");
    let refused = Refused { stream: stream("ais"), code: RefusedCode::NotAllowedTopic, text };
    let unrelated = Refused { code: RefusedCode::Unrelated, ..refused };
    let (from, to) = (Offset::new(7), Offset::new(9));
    let root_gap = RootGap { stream: stream("ais"), from, to, text };
    let held = point("ais", 8);
    let enrol = Some(Enrol { token: "t-1", secret: &[3; 32] });
    for message in [
        Control::Hello(hello(&openings(3), enrol)),
        Control::Accept("ship-17"),
        Control::Goodbye(Goodbye { code, text }),
        Control::Goodbye(Goodbye { code: GoodbyeCode::Other(99), text }),
        Control::Ping(1),
        Control::Pong(u64::MAX),
        Control::Credit(COUNTER_MAX),
        Control::Tips(Tips { last: true, tips: List::new(&tips) }),
        Control::Durable(Durable { scope: Scope::Root, promise: promise(), streams }),
        Control::Durable(Durable { scope: Scope::Hop, promise: promise(), streams }),
        Control::NeedFrom(point("ais", 4)),
        Control::Refused(refused),
        Control::Refused(unrelated),
        Control::Diverged(Diverged { kind: DivergedKind::Copy, at: Offset::new(8), held }),
        Control::Diverged(Diverged { kind: DivergedKind::TailLost, at: Offset::ZERO, held }),
        Control::CopySeen(Epoch::new(44)),
        Control::PromiseLacking(promise()),
        Control::Promised(promise()),
        Control::Subscribe(Subscribe { topic: "ais", last: false, held: List::new(&points[..1]) }),
        Control::Subscribe(Subscribe { topic: "commands.ship-17", last: true, held: List::EMPTY }),
        Control::Probe(3),
        Control::ProbeAnswer(4),
        Control::RootGap(root_gap),
        Control::Clock(Clock { site: "ship-17", boot: BootId::new(9), note: &[7; 640] }),
        Control::Standing(Standing::default()),
        Control::Standing(Standing {
            behind_records: COUNTER_MAX,
            behind_bytes: 7,
            oldest: Some(Timestamp::new(-1)),
            full_in_ms: Some(60_000),
        }),
    ] {
        assert_comes_back(message);
    }
    let wanted = encoded(&Control::TipsWanted);
    assert_eq!(Control::decode(&wanted), Ok(Decoded::Message(Control::TipsWanted)));
}

#[test]
fn every_lane_message_comes_back() {
    let entry = Entry {
        purpose: Purpose::Return,
        seq: Seq::new(77),
        records: 2,
        codec: 0,
        body_len: 6,
        body_crc: 0xDEAD_BEEF,
        path: b"\x02g1\x10",
        body: b"bodies",
    };
    let gap = Gap {
        stream: stream("ais"),
        from: Offset::new(5),
        to: Offset::new(6),
        epoch: Epoch::new(2),
        reason: GapReason::Dropped,
        after: None,
    };
    let begin = Begin {
        point: point("ais", 80),
        durable_at: Some(LogId::new(3)),
        reason: GapReason::NeverReceived,
    };
    for message in [
        LaneMessage::Entry(entry),
        LaneMessage::Entry(Entry { purpose: Purpose::Down, ..entry }),
        LaneMessage::Gap(gap),
        LaneMessage::Begin(begin),
        LaneMessage::Level("commands.ship-17"),
    ] {
        let mut bytes = vec![0; message.encoded_len()];
        assert_eq!(message.encode(&mut bytes), Ok(bytes.len()));
        assert_eq!(LaneMessage::decode(&bytes), Ok(Decoded::Message(message)));
        for cut in 0..bytes.len() {
            assert!(LaneMessage::decode(&bytes[..cut]).is_err(), "{cut} bytes of {message:?}");
        }
    }
}

#[test]
fn what_contradicts_itself_or_is_over_a_limit_is_refused() {
    let over = StreamPoint { next: Offset::new(COUNTER_MAX + 1), ..point("ais", 0) };
    let name = StreamPoint { stream: stream("no/topic"), ..point("ais", 0) };
    let tips = [Tip { point: point("ais", 5), first_kept: Offset::new(6) }];
    let points = [point("ais", 5)];
    let behind = Diverged { kind: DivergedKind::Copy, at: Offset::new(9), held: point("ais", 8) };
    let (held, topic) = (List::new(&points), "log");
    for message in [
        Control::Subscribe(Subscribe { topic, last: true, held }),
        Control::Subscribe(Subscribe { topic: "no/topic", last: true, held: List::EMPTY }),
        Control::NeedFrom(over),
        Control::NeedFrom(name),
        Control::Tips(Tips { last: true, tips: List::new(&tips) }),
        Control::Diverged(behind),
        Control::Credit(u64::MAX),
        Control::Accept(".hidden"),
    ] {
        assert!(Control::decode(&encoded(&message)).is_err(), "{message:?}");
    }
    let entry = Entry {
        purpose: Purpose::Uplink,
        seq: Seq::ZERO,
        records: 1,
        codec: 0,
        body_len: 2,
        body_crc: 0,
        path: &[],
        body: b"ab",
    };
    let gap = |from, to| Gap {
        stream: stream("ais"),
        from: Offset::new(from),
        to: Offset::new(to),
        epoch: Epoch::new(2),
        reason: GapReason::Damage,
        after: None,
    };
    for message in [
        LaneMessage::Entry(Entry { body_len: 3, ..entry }),
        LaneMessage::Entry(Entry { records: 2, ..entry }),
        LaneMessage::Entry(Entry { body_len: 0, records: 0, body: b"", ..entry }),
        LaneMessage::Entry(Entry { path: b"\x02g", ..entry }),
        LaneMessage::Entry(Entry { path: &b"\x01g\x00".repeat(9), ..entry }),
        LaneMessage::Gap(gap(5, 5)),
        LaneMessage::Level("no/topic"),
    ] {
        let mut bytes = vec![0; message.encoded_len()];
        message.encode(&mut bytes).unwrap();
        assert!(LaneMessage::decode(&bytes).is_err(), "{message:?}");
    }
}

#[test]
fn a_list_has_a_limit_and_is_split_by_the_room_there_is() {
    let points = [point("ais", 5); STREAMS_MAX + 1];
    let durable = |points| {
        let streams = List::new(points);
        Control::Durable(Durable { scope: Scope::Hop, promise: promise(), streams })
    };
    assert!(durable(&points[..]).encoded_len().is_err());
    let alone = durable(&[]).encoded_len().unwrap();
    let fits = List::fitting(&points, 1000 - alone);
    assert!(durable(&points[..fits]).encoded_len().unwrap() <= 1000);
    assert!(durable(&points[..fits + 1]).encoded_len().unwrap() > 1000);
}

#[test]
fn the_longest_hello_fits_the_shortest_frame_with_its_newest_openings() {
    let (name, openings) = ("n".repeat(15), openings(32));
    let longest = LaneOffer { name: &name, priority: 255 };
    let (site, token) = ("s".repeat(63), "t".repeat(32));
    let mut full = hello(&openings, Some(Enrol { token: &token, secret: &[9; 32] }));
    full.terms = Terms {
        protocol_min: u16::MAX,
        protocol_max: u16::MAX,
        features: Features::NONE.with_codec(15),
        frame_bytes_max: 260 * 1024,
        credit: COUNTER_MAX,
    };
    full.introduction.site = &site;
    full.introduction.software = "the longest name of any software";
    full.introduction.software = &full.introduction.software[..31];
    full.introduction.clock = Timestamp::new(i64::MIN);
    full.introduction.lanes = Lanes::new(&[longest; 7]).unwrap();
    let bytes = encoded(&Control::Hello(full));
    assert!(bytes.len() <= FRAME_BYTES_MIN, "{} bytes", bytes.len());
    let Ok(Decoded::Message(Control::Hello(heard))) = Control::decode(&bytes) else { panic!() };
    let kept: Vec<_> = heard.introduction.openings.iter().collect();
    assert!(kept.len() >= 16, "{} openings", kept.len());
    assert_eq!(kept, openings[..kept.len()]);
}

#[test]
fn a_secret_is_not_printed() {
    let enrol = Enrol { token: "t-1", secret: b"hunter2" };
    let printed = format!("{:?}", hello(&[], Some(enrol)));
    assert!(printed.contains("t-1") && !printed.contains("104, 117"), "{printed}");
}

#[test]
fn a_text_is_cut_where_a_character_ends_and_has_no_control_characters() {
    let long = "é".repeat(200);
    let goodbye = |text| Control::Goodbye(Goodbye { code: GoodbyeCode::Shutdown, text });
    let bytes = encoded(&goodbye(&long));
    let Ok(Decoded::Message(Control::Goodbye(heard))) = Control::decode(&bytes) else { panic!() };
    assert_eq!(heard.text, "é".repeat(60));
    let bytes = encoded(&goodbye("one\x1b[31mred"));
    let Ok(Decoded::Message(Control::Goodbye(heard))) = Control::decode(&bytes) else { panic!() };
    assert_eq!(heard.text, "one");
}

#[test]
fn a_gap_at_the_root_has_offsets() {
    let (from, to) = (Offset::new(7), Offset::new(7));
    let gap = Control::RootGap(RootGap { stream: stream("ais"), from, to, text: "" });
    assert!(Control::decode(&encoded(&gap)).is_err());
}

#[test]
fn a_note_of_a_clock_is_short_and_of_a_site() {
    let clock = |site, note| Control::Clock(Clock { site, boot: BootId::new(9), note });
    assert!(Control::decode(&encoded(&clock("ship-17", &[7; 641]))).is_err());
    assert!(Control::decode(&encoded(&clock("no site", &[7]))).is_err());
    let long = "s".repeat(SITE_BYTES_MAX);
    let whole = clock(&long, &[7; 640]).encoded_len().unwrap();
    assert!(whole <= FRAME_BYTES_MIN, "it fits any frame: {whole}");
}

#[test]
fn unknown_numbers_from_128_are_skipped_and_others_are_not() {
    assert_eq!(Control::decode(&[255, 1, 2]), Ok(Decoded::Ignored));
    assert_eq!(LaneMessage::decode(&[255]), Ok(Decoded::Ignored));
    assert!(Control::decode(&[127, 1, 2]).is_err());
    assert!(Control::decode(&[32]).is_err(), "a lane's message on the control channel");
    assert!(LaneMessage::decode(&[5, 0]).is_err(), "a control message on a lane");
    assert!(Control::decode(&[]).is_err());
}

proptest! {
    #[test]
    fn random_bytes_never_panic_and_what_they_mean_can_be_read(
        number in prop_oneof![0_u8..40, 126_u8..134],
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let frame = [&[number], &bytes[..]].concat();
        if let Ok(Decoded::Message(message)) = Control::decode(&frame) {
            // Whatever was accepted can be said again, and means the same.
            let again = encoded(&message);
            prop_assert_eq!(Control::decode(&again), Ok(Decoded::Message(message)));
        }
        let _ = LaneMessage::decode(&frame);
    }

    #[test]
    fn a_flipped_bit_never_panics(at in 0_usize..300, bit in 0_u8..8) {
        let openings = openings(5);
        let message = Control::Hello(hello(&openings, None));
        let mut bytes = encoded(&message);
        let at = at % bytes.len();
        bytes[at] ^= 1_u8 << bit;
        if let Ok(Decoded::Message(Control::Hello(heard))) = Control::decode(&bytes) {
            let counted = heard.introduction.openings.iter().count();
            prop_assert_eq!(counted, heard.introduction.openings.len());
        }
    }
}
