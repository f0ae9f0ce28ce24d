//! Whatever the other end does wrong ends the session, is named, and harms nothing else.

use landfall_core::num::{CommitNo, Epoch, LogId};
use landfall_protocol::channel::Channel;
use landfall_protocol::frame::prefix;
use landfall_protocol::limits::CONTROL_RESERVE_BYTES;
use landfall_protocol::message::{
    Control, Durable, GoodbyeCode, LaneMessage, List, Promise, Scope,
};
use landfall_protocol::session::{Closed, Fault, SendError};
use proptest::prelude::*;

use crate::pair::{NORMAL, Pair, closed, entry};

fn frame(message: &[u8]) -> Vec<u8> {
    [&prefix(message.len()).unwrap()[..], message].concat()
}

fn control(message: &Control<'_>) -> Vec<u8> {
    let mut bytes = vec![0; message.encoded_len().unwrap()];
    message.encode(&mut bytes).unwrap();
    frame(&bytes)
}

fn lane_frame(message: &LaneMessage<'_>) -> Vec<u8> {
    let mut bytes = vec![0; message.encoded_len()];
    message.encode(&mut bytes).unwrap();
    frame(&bytes)
}

/// The listener hears these bytes; the dialer, if it still can, learns that it broke the protocol.
fn fault_of(mut pair: Pair, channel: u8, bytes: &[u8]) -> Fault {
    pair.dialer.pipes[usize::from(channel)].extend(bytes);
    let now = pair.now;
    let (to, from) = (&mut pair.listener, &mut pair.dialer);
    let pipe = std::mem::take(&mut from.pipes[usize::from(channel)]);
    let channel = Channel::new(channel).unwrap();
    let taken = to.session.handle_received(channel, &pipe, now, &mut to.heard);
    assert_eq!(taken, pipe.len(), "after the end everything is taken");
    pair.settle();
    assert_eq!(closed(&pair.dialer), Closed::Peer(GoodbyeCode::ProtocolError));
    let Closed::PeerAtFault(fault) = closed(&pair.listener) else { panic!() };
    assert!(pair.dialer.heard.control.last().unwrap().contains(&fault.to_string()));
    fault
}

#[test]
fn a_message_in_the_wrong_state_is_refused() {
    let fault = fault_of(Pair::standard(1), 0, &control(&Control::TipsWanted));
    assert_eq!(fault, Fault::WrongState(8), "before the hello");
    let fault = fault_of(Pair::open(2), 0, &control(&Control::Accept("ship")));
    assert_eq!(fault, Fault::WrongState(2), "from a dialer");
}

#[test]
fn a_message_on_the_wrong_channel_is_refused() {
    let fault = fault_of(Pair::open(3), 0, &lane_frame(&entry(b"body")));
    assert!(matches!(fault, Fault::Message(_)));
    let fault = fault_of(Pair::open(4), 1, &control(&Control::Ping(1)));
    assert!(matches!(fault, Fault::Message(_)));
    let fault = fault_of(Pair::open(5), 3, &lane_frame(&entry(b"body")));
    assert_eq!(fault, Fault::WrongChannel(Channel::new(3).unwrap()), "two lanes were announced");
}

#[test]
fn an_oversize_or_malformed_frame_is_refused() {
    let fault = fault_of(Pair::open(6), 1, &prefix(68 * 1024 + 1).unwrap());
    assert!(matches!(fault, Fault::Frame(_)));
    let fault = fault_of(Pair::open(7), 0, &frame(&[1, 2, 3]));
    assert!(matches!(fault, Fault::Message(_)));
    let fault = fault_of(Pair::open(8), 0, &frame(&[]));
    assert!(matches!(fault, Fault::Message(_)));
}

#[test]
fn a_message_of_a_later_version_is_skipped_if_it_says_so() {
    let mut pair = Pair::open(9);
    pair.dialer.pipes[0].extend(frame(&[200, 1, 2, 3]));
    pair.dialer.pipes[0].extend(control(&Control::TipsWanted));
    pair.settle();
    assert_eq!(pair.listener.heard.control.last().unwrap(), "TipsWanted");
}

#[test]
fn more_than_was_granted_is_refused() {
    let pair = Pair::open(10);
    let body = vec![1; 60_000];
    let flood = lane_frame(&entry(&body)).repeat(30);
    assert_eq!(fault_of(pair, 1, &flood), Fault::CreditOverrun);
}

#[test]
fn a_grant_that_is_taken_back_is_refused() {
    assert_eq!(fault_of(Pair::open(11), 0, &control(&Control::Credit(1))), Fault::CreditWithdrawn);
}

#[test]
fn a_codec_that_was_not_agreed_on_is_refused_at_both_ends() {
    let LaneMessage::Entry(mut packed) = entry(b"body") else { panic!() };
    packed.codec = 2;
    let fault = fault_of(Pair::open(12), 1, &lane_frame(&LaneMessage::Entry(packed)));
    assert_eq!(fault, Fault::Codec(2));
    let mut pair = Pair::open(12);
    let lane = crate::pair::lane(NORMAL);
    let refused = pair.dialer.session.send_lane(lane, &LaneMessage::Entry(packed), &mut [0; 99]);
    assert_eq!(refused, Err(SendError::NotAgreed));
}

#[test]
fn a_node_may_find_content_that_breaks_the_protocol() {
    let mut pair = Pair::open(13);
    pair.listener.heard.objection = Some(Fault::Content("seqs go back"));
    let fault = fault_of(pair, 1, &lane_frame(&entry(b"body")));
    assert_eq!(fault, Fault::Content("seqs go back"));
}

#[test]
fn a_flood_of_pings_fills_no_queue() {
    let mut pair = Pair::open(14);
    let flood = control(&Control::Ping(5)).repeat(10_000);
    let (now, to) = (pair.now, &mut pair.listener);
    let taken = to.session.handle_received(Channel::CONTROL, &flood, now, &mut to.heard);
    assert_eq!(taken, flood.len());
    assert!(to.session.poll_transmit().unwrap().bytes.len() <= 16);
    pair.settle();
    assert!(pair.dialer.session.is_open());
}

#[test]
fn a_full_control_queue_still_takes_a_goodbye() {
    let mut pair = Pair::open(15);
    let session = &mut pair.listener.session;
    let (log, epoch, commit) = (LogId::new(1), Epoch::new(2), CommitNo::new(3));
    let promise = Promise { log, epoch, commit };
    let streams = List::EMPTY;
    let durable = Control::Durable(Durable { scope: Scope::Hop, promise, streams });
    while session.send_control(&durable).is_ok() {}
    assert_eq!(session.send_control(&durable), Err(SendError::NoRoom));
    assert!(session.control_room() < durable.encoded_len().unwrap());
    let before = session.poll_transmit().unwrap().bytes.len();
    session.goodbye(GoodbyeCode::Shutdown, &"x".repeat(500));
    let after = session.poll_transmit().unwrap().bytes.len();
    assert!(after > before && after - before <= CONTROL_RESERVE_BYTES);
    pair.settle();
    assert_eq!(closed(&pair.dialer), Closed::Peer(GoodbyeCode::Shutdown));
}

#[test]
fn what_the_session_says_itself_cannot_be_forged_by_the_node() {
    let mut pair = Pair::open(16);
    let forged = pair.dialer.session.send_control(&Control::Credit(1 << 40));
    assert_eq!(forged, Err(SendError::NotYours));
}

proptest! {
    #[test]
    fn random_bytes_never_panic_in_any_state(
        open in any::<bool>(),
        pieces in proptest::collection::vec(
            (0_u8..8, proptest::collection::vec(any::<u8>(), 0..80), any::<bool>(), 0_u8..36), 0..30
        ),
    ) {
        let mut pair = if open { Pair::open(1) } else { Pair::standard(1) };
        for (channel, bytes, framed, number) in pieces {
            let message = [&[number], &bytes[..]].concat();
            let bytes = if framed { frame(&message) } else { bytes };
            pair.dialer.pipes[usize::from(channel)].extend(bytes);
        }
        let (now, to) = (pair.now, &mut pair.listener);
        for (number, pipe) in (0..).zip(&pair.dialer.pipes) {
            let channel = Channel::new(number).unwrap();
            let taken = to.session.handle_received(channel, pipe, now, &mut to.heard);
            prop_assert!(taken <= pipe.len());
        }
        while to.session.poll_event().is_some() {}
        prop_assert!(to.session.poll_transmit().is_none_or(|sent| sent.bytes.len() < 80_000));
    }
}
