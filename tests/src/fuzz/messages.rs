//! One of each message, as it stands in a frame.

use landfall::node::clock::ClockNote;
use landfall_core::gap::GapReason;
use landfall_core::hash::StreamHash;
use landfall_core::limits::COUNTER_MAX;
use landfall_core::name::StreamId;
use landfall_core::num::{BootId, CommitNo, Epoch, LogId, Offset, Partition, Seq, Timestamp};
use landfall_protocol::clock::{ClockOffset, Stretch};
use landfall_protocol::message::{
    Begin, Clock, Control, Diverged, DivergedKind, Durable, Enrol, Entry, Features, Gap, Goodbye,
    GoodbyeCode, Hello, Introduction, LaneMessage, List, Opened, Promise, Purpose, Refused,
    RefusedCode, RootGap, Scope, Standing, StreamPoint, Subscribe, Terms, Tip, Tips,
};
use landfall_protocol::time::Duration;

use super::session::{entry, introduction};

/// The control channel's, the hello first.
pub(super) fn control() -> Vec<Vec<u8>> {
    let stream = StreamId { origin: "ship-17", topic: "ais", partition: Partition::new(3) };
    let hash = Some(StreamHash::new([7; 16]));
    let held = StreamPoint { stream, epoch: Epoch::new(9), next: Offset::new(8), hash };
    let bare = StreamPoint { next: Offset::new(70), hash: None, ..held };
    let (log, epoch) = (LogId::new(1), Epoch::new(u64::MAX));
    let promise = Promise { log, epoch, commit: CommitNo::new(COUNTER_MAX) };
    let opened = |n| Opened {
        epoch: Epoch::new(n),
        parent: n.checked_sub(1).map(Epoch::new),
        first_commit: CommitNo::new(n),
    };
    let (openings, points) = ([opened(2), opened(0)], [held, bare]);
    let tips = points.map(|point| Tip { point, first_kept: Offset::ZERO });
    let (code, text) = (GoodbyeCode::Overloaded { retry_after: Duration::from_secs(30) }, "full");
    let refused = Refused { stream, code: RefusedCode::NotAllowedTopic, text };
    let (from, to) = (Offset::new(7), Offset::new(9));
    let root_gap = RootGap { stream, from, to, text };
    let durable = |scope| Durable { scope, promise, streams: List::new(&points) };
    let messages = [
        Control::Hello(hello(promise, List::new(&openings))),
        Control::Accept("ship-17"),
        Control::Goodbye(Goodbye { code, text }),
        Control::Ping(1),
        Control::Pong(u64::MAX),
        Control::Credit(COUNTER_MAX),
        Control::Tips(Tips { last: true, tips: List::new(&tips) }),
        Control::TipsWanted,
        Control::Durable(durable(Scope::Hop)),
        Control::Durable(durable(Scope::Root)),
        Control::NeedFrom(held),
        Control::Refused(refused),
        Control::Diverged(Diverged { kind: DivergedKind::Copy, at: Offset::new(8), held }),
        Control::CopySeen(Epoch::new(44)),
        Control::PromiseLacking(promise),
        Control::Probe(3),
        Control::ProbeAnswer(4),
        Control::RootGap(root_gap),
        Control::Clock(Clock { site: "ship-17", boot: BootId::new(9), note: &clock_note() }),
        Control::Promised(promise),
        Control::Subscribe(Subscribe { topic: "ais", last: true, held: List::new(&points) }),
        Control::Standing(Standing { behind_bytes: 7, full_in_ms: Some(9), ..Standing::default() }),
    ];
    let encoded = messages.iter().map(|message| {
        let mut frame = vec![0; message.encoded_len().expect("the lists are short")];
        message.encode(&mut frame).expect("it has the room that it takes");
        frame
    });
    encoded.collect()
}

/// A clock that nobody had set, and whose offset was heard.
fn clock_note() -> Vec<u8> {
    let offset = Some(ClockOffset { delta_ms: 1_800_000_000_000, error_ms: 40 });
    let (from, to) = (Timestamp::new(5_000), Timestamp::new(9_000));
    let stretch = Stretch { from, to, zero_ms: 0, spread_ms: 3, offset };
    let (boot, epochs) = (BootId::new(9), vec![Epoch::new(9)]);
    ClockNote { boot, epochs, stretches: vec![stretch] }.encoded()
}

fn hello<'a>(promise: Promise, openings: List<'a, Opened>) -> Hello<'a> {
    let features = Features::NONE.with_codec(1);
    let frame_bytes_max = 68 * 1024;
    let terms =
        Terms { protocol_min: 1, protocol_max: 3, features, frame_bytes_max, credit: 1 << 20 };
    let enrol = Some(Enrol { token: "t-1", secret: &[3; 32] });
    let (root, promise) = (Some(LogId::new(8)), Some(promise));
    let introduction = Introduction { root, promise, enrol, openings, ..introduction("ship-17") };
    Hello { terms, introduction }
}

/// The lanes'.
pub(super) fn lane() -> Vec<Vec<u8>> {
    let stream = StreamId { origin: "ship-17", topic: "ais", partition: Partition::new(3) };
    let point = StreamPoint { stream, epoch: Epoch::new(9), next: Offset::new(8), hash: None };
    let (from, to) = (Offset::new(5), Offset::new(6));
    let (epoch, after) = (Epoch::new(2), Some(StreamHash::new([7; 16])));
    let gap = Gap { stream, from, to, epoch, reason: GapReason::Dropped, after };
    let reason = GapReason::NeverReceived;
    let LaneMessage::Entry(plain) = entry(b"bodies") else { unreachable!("it is an entry") };
    let path = b"\x02g1\x10";
    let packed = Entry { purpose: Purpose::Return, seq: Seq::new(77), codec: 1, path, ..plain };
    let messages = [
        LaneMessage::Entry(plain),
        LaneMessage::Entry(packed),
        LaneMessage::Entry(Entry { purpose: Purpose::Down, ..plain }),
        LaneMessage::Gap(gap),
        LaneMessage::Begin(Begin { point, durable_at: Some(LogId::new(3)), reason }),
        LaneMessage::Begin(Begin { point, durable_at: None, reason }),
        LaneMessage::Level("ais"),
    ];
    let encoded = messages.iter().map(|message| {
        let mut frame = vec![0; message.encoded_len()];
        message.encode(&mut frame).expect("it has the room that it takes");
        frame
    });
    encoded.collect()
}
