//! The exchanges of `docs/protocol.md` that need no journal.

use landfall_core::num::Epoch;
use landfall_protocol::buffer::{Buffer, Fixed, Growable};
use landfall_protocol::channel::Channel;
use landfall_protocol::limits::{CONTROL_BYTES_MIN, CREDIT_BYTES_EARLY, FRAME_BYTES_EARLY};
use landfall_protocol::message::{Control, Features, GoodbyeCode, Introduction, LaneOffer, Lanes};
use landfall_protocol::session::{
    Closed, Config, ConfigError, Event, Incompatible, Role, SendError, Session,
};
use landfall_protocol::time::{Duration, Instant};

use crate::pair::{NORMAL, Pair, URGENT, closed, entry, introduction, lane};

#[test]
fn hello_both_ends_greet_and_the_listener_accepts() {
    let mut pair = Pair::standard(1);
    pair.settle();
    assert!(pair.listener.saw(Event::HelloReceived) && pair.dialer.saw(Event::HelloReceived));
    assert!(!pair.listener.session.is_open() && !pair.dialer.session.is_open());
    assert!(pair.listener.heard.control[0].contains("site: \"ship\""));
    pair.listener.session.accept("ship-17", pair.now).unwrap();
    pair.settle();
    assert!(pair.listener.saw(Event::Opened) && pair.dialer.saw(Event::Opened));
    assert_eq!(pair.dialer.heard.control[1], "Accept(\"ship-17\")");
    assert_eq!(pair.dialer.session.version(), Some(1));
}

#[test]
fn hello_early_records_wait_in_the_transport_until_the_listener_accepts() {
    let mut pair = Pair::standard(2);
    let session = &mut pair.dialer.session;
    session.send_control(&Control::TipsWanted).unwrap();
    pair.dialer.say(NORMAL, b"early").unwrap();
    pair.settle();
    assert!(pair.listener.heard.bodies.is_empty(), "a stranger's records are not read");
    assert_eq!(pair.listener.heard.control.len(), 1, "only the hello was read");
    assert!(!pair.dialer.pipes[1].is_empty());
    pair.listener.session.accept("ship", pair.now).unwrap();
    pair.settle();
    assert_eq!(pair.listener.heard.bodies, [(0, b"early".to_vec())]);
    assert_eq!(pair.listener.heard.control[1], "TipsWanted");
}

#[test]
fn hello_a_refused_dialer_learns_why() {
    let mut pair = Pair::standard(3);
    pair.dialer.say(NORMAL, b"early").unwrap();
    pair.settle();
    let retry_after = Duration::from_secs(30);
    pair.listener.session.goodbye(GoodbyeCode::Overloaded { retry_after }, "come back later");
    pair.settle();
    let Closed::Peer(code) = closed(&pair.dialer) else { panic!() };
    assert_eq!(code.retry_after(), retry_after);
    assert!(pair.dialer.heard.control[1].contains("come back later"));
    assert!(pair.listener.heard.bodies.is_empty());
    assert_eq!(pair.listener.session.accept("ship", pair.now), Err(SendError::NotOpen));
}

#[test]
fn hello_a_dialer_that_is_never_accepted_gives_up() {
    let mut pair = Pair::standard(4);
    pair.pass(Duration::from_secs(19));
    assert_eq!(pair.dialer.session.closed(), None);
    pair.pass(Duration::from_secs(1));
    assert_eq!(closed(&pair.dialer), Closed::NotOpened);
    assert_eq!(pair.dialer.session.poll_timeout(), None);
}

#[test]
fn hello_features_are_what_both_ends_have() {
    let mut config = Config::standard(68 * 1024);
    config.features = Features::NONE.with_codec(1).with_codec(2);
    let mut other = config;
    other.features = Features::NONE.with_codec(2).with_codec(3);
    let mut pair = Pair::new(config, other, 5);
    pair.settle();
    assert_eq!(pair.dialer.session.features(), Features::NONE.with_codec(2));
}

#[test]
fn hello_a_peer_with_too_many_lanes_is_incompatible() {
    let config = Config::standard(68 * 1024);
    let mut pair = Pair::standard(6);
    let mut narrow =
        Session::<Growable, 1>::new(Role::Listener, config, one_lane("shore"), pair.now).unwrap();
    let hello = pair.dialer.session.poll_transmit().unwrap();
    let taken =
        narrow.handle_received(hello.channel, hello.bytes, pair.now, &mut pair.listener.heard);
    assert_eq!(taken, hello.bytes.len());
    assert_eq!(narrow.closed(), Some(Closed::Incompatible(Incompatible::Lanes)));
}

fn one_lane(site: &str) -> Introduction<'_> {
    let only = LaneOffer { name: "only", priority: 0 };
    let lanes = Lanes::new(&[only]).unwrap();
    Introduction { lanes, ..introduction(site) }
}

#[test]
fn entries_arrive_whole_in_order_and_once_on_each_lane() {
    for seed in 0..20 {
        let mut pair = Pair::open(seed);
        let bodies: Vec<Vec<u8>> = (0..40).map(|n| vec![n; 2 + usize::from(n) * 97]).collect();
        for body in &bodies {
            pair.dialer.say(NORMAL, body).unwrap();
            pair.settle();
            pair.listener.consume();
        }
        pair.listener.say(URGENT, b"down").unwrap();
        pair.settle();
        let heard: Vec<_> = pair.listener.heard.bodies.iter().map(|(_, body)| body).collect();
        assert!(heard.iter().eq(&bodies.iter().collect::<Vec<_>>()), "seed {seed}");
        assert_eq!(pair.dialer.heard.bodies, [(1, b"down".to_vec())]);
    }
}

#[test]
fn a_body_may_be_sent_from_where_it_is() {
    let mut pair = Pair::open(7);
    let body = vec![5; 60_000];
    let mut head = [0; 64];
    let written =
        pair.dialer.session.send_lane_head(lane(NORMAL), &entry(&body), &mut head).unwrap();
    pair.dialer.pipes[1].extend(&head[..written]);
    pair.dialer.pipes[1].extend(&body);
    pair.settle();
    assert_eq!(pair.listener.heard.bodies, [(0, body)]);
}

#[test]
fn credit_stops_a_sender_and_comes_back_as_the_node_consumes() {
    let mut pair = Pair::open(8);
    let body = vec![1; 60_000];
    let mut sent = 0;
    while pair.dialer.say(NORMAL, &body).is_ok() {
        sent += 1;
        pair.settle();
    }
    assert_eq!(pair.dialer.say(NORMAL, &body), Err(SendError::NoCredit));
    assert!(pair.dialer.session.lane_room(lane(NORMAL)) < body.len());
    assert_eq!(pair.listener.heard.bodies.len(), sent);
    pair.dialer.say(URGENT, &body).unwrap();
    pair.settle();
    assert_eq!(pair.listener.heard.bodies.len(), sent + 1, "urgent entries have credit left");
    pair.listener.consume();
    pair.settle();
    pair.dialer.say(NORMAL, &body).unwrap();
}

#[test]
fn a_dialer_sends_no_more_than_the_early_credit_before_it_is_granted_any() {
    let mut pair = Pair::standard(9);
    let body = vec![1; FRAME_BYTES_EARLY - 100];
    while pair.dialer.say(URGENT, &body).is_ok() {
        // The transport holds it all, since the listener does not read yet.
        let urgent = Channel::of_lane(lane(URGENT));
        pair.dialer.session.handle_sent(urgent, body.len());
    }
    let early = pair.dialer.pipes[2].len();
    assert!(early > 3 * body.len() && early as u64 <= CREDIT_BYTES_EARLY, "{early} bytes");
    assert_eq!(pair.dialer.say(URGENT, &body), Err(SendError::NoCredit));
    let long = vec![1; FRAME_BYTES_EARLY + 1];
    assert_eq!(pair.dialer.say(NORMAL, &long), Err(SendError::TooLong));
}

#[test]
fn a_lane_takes_no_more_than_the_transport_may_hold() {
    let mut pair = Pair::open(10);
    let body = vec![1; 60_000];
    pair.dialer.say(NORMAL, &body).unwrap();
    pair.dialer.say(NORMAL, &body).unwrap();
    assert_eq!(pair.dialer.say(NORMAL, &body), Err(SendError::NoRoom));
    pair.dialer.say(URGENT, &body).unwrap();
    pair.settle();
    pair.dialer.say(NORMAL, &body).unwrap();
}

#[test]
fn a_quiet_session_stays_alive_by_the_dialers_pings_alone() {
    let mut pair = Pair::open(11);
    pair.pass(Duration::from_secs(3600));
    assert!(pair.dialer.session.is_open() && pair.listener.session.is_open());
    assert_eq!(pair.dialer.session.round_trip(), Some(Duration::ZERO));
    assert_eq!(pair.listener.session.round_trip(), None, "the listener had no need to ping");
    assert!(pair.dialer.heard.control.len() == 2, "the node is not bothered with pings");
}

#[test]
fn a_silent_peer_that_owes_nothing_is_noticed_by_either_end() {
    let mut pair = Pair::open(12);
    assert_eq!(silence(&mut pair.dialer.session), [25, 35, 45]);
    assert_eq!(silence(&mut pair.listener.session), [35, 45, 55]);
}

#[test]
fn a_peer_that_owes_an_answer_is_pinged_and_given_up_sooner() {
    let mut pair = Pair::open(12);
    pair.dialer.say(NORMAL, &[1; 100]).unwrap();
    assert_eq!(silence(&mut pair.dialer.session), [10, 20, 30]);
    pair.listener.session.send_control(&Control::TipsWanted).unwrap();
    assert_eq!(silence(&mut pair.listener.session), [10, 20, 30]);
}

/// The seconds at which a session pings when nothing is heard any more, and at last gives up.
fn silence<B: Buffer, const LANES: usize>(session: &mut Session<B, LANES>) -> Vec<u64> {
    let mut seconds = Vec::new();
    while let Some((due, _)) = session.poll_timeout() {
        let held = session.poll_transmit().map_or(0, |transmit| transmit.bytes.len());
        session.handle_sent(Channel::CONTROL, held);
        session.handle_timeout(due);
        let pinged = session.poll_transmit().is_some();
        if pinged || session.closed().is_some() {
            seconds.push(due.millis() / 1000);
        }
    }
    assert_eq!(session.closed(), Some(Closed::PeerSilent));
    seconds
}

#[test]
fn two_sessions_of_a_site_a_living_first_one_answers_the_probe() {
    let mut pair = Pair::open(13);
    pair.listener.session.probe(99, pair.now).unwrap();
    pair.settle();
    assert!(pair.listener.saw(Event::ProbeAnswered));
    pair.pass(Duration::from_secs(6));
    assert!(!pair.listener.saw(Event::ProbeSilent));
    pair.listener.session.send_control(&Control::CopySeen(Epoch::new(7))).unwrap();
    pair.settle();
    assert!(pair.dialer.heard.control[2].starts_with("CopySeen"));
}

#[test]
fn two_sessions_of_a_site_a_dead_first_one_is_superseded_after_five_seconds() {
    let mut pair = Pair::open(14);
    pair.listener.session.probe(99, pair.now).unwrap();
    let half_open = &mut pair.listener.session;
    half_open.handle_timeout(Instant::from_millis(4_999));
    assert_eq!(half_open.poll_event(), None);
    half_open.handle_timeout(Instant::from_millis(5_000));
    assert_eq!(half_open.poll_event(), Some(Event::ProbeSilent));
    half_open.goodbye(GoodbyeCode::Superseded, "a newer session");
    assert_eq!(half_open.closed(), Some(Closed::Here(GoodbyeCode::Superseded)));
}

#[test]
fn goodbye_reaches_the_other_end_behind_what_was_queued() {
    let mut pair = Pair::open(15);
    pair.listener.session.send_control(&Control::TipsWanted).unwrap();
    pair.listener.session.goodbye(GoodbyeCode::Revoked, "ask the operator");
    pair.settle();
    assert_eq!(pair.dialer.heard.control[2], "TipsWanted");
    assert_eq!(closed(&pair.dialer), Closed::Peer(GoodbyeCode::Revoked));
    assert_eq!(closed(&pair.listener), Closed::Here(GoodbyeCode::Revoked));
    assert_eq!(pair.listener.say(NORMAL, b"late"), Err(SendError::NotOpen));
}

#[test]
fn a_lost_connection_ends_the_session_once() {
    let mut pair = Pair::open(16);
    pair.dialer.session.handle_disconnected();
    pair.dialer.session.handle_disconnected();
    pair.dialer.session.goodbye(GoodbyeCode::Shutdown, "");
    pair.settle();
    assert_eq!(closed(&pair.dialer), Closed::TransportLost);
    let ends = |event: &&Event| matches!(event, Event::Closed(_));
    assert_eq!(pair.dialer.heard.events.iter().filter(ends).count(), 1);
    assert!(pair.dialer.session.poll_transmit().is_none());
}

#[test]
fn a_small_device_runs_a_session_in_a_few_kilobytes() {
    type Device = Session<Fixed<CONTROL_BYTES_MIN>, 1>;
    assert!(size_of::<Device>() <= 4608, "{} bytes", size_of::<Device>());
    let mut config = Config::standard(1024);
    assert!(Device::new(Role::Dialer, config, one_lane("mcu"), Instant::default()).is_ok());
    let listener = Device::new(Role::Listener, config, one_lane("mcu"), Instant::default());
    assert_eq!(listener.unwrap_err(), ConfigError::FrameBytes);
    config.frame_bytes_max = 2000;
    config.credit_bytes = 1 << 20;
    let too_much = Device::new(Role::Dialer, config, one_lane("mcu"), Instant::default());
    assert_eq!(too_much.unwrap_err(), ConfigError::Memory);
}
