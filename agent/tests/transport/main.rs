//! Two transports on loopback: what one says, the other hears, over QUIC and over TCP.

mod pair;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use landfall::identity::NodeKey;
use landfall::identity::tls::{self, RefusedKey};
use landfall::transport::relay::{BitsPerSecond, Relay, Shape};
use landfall::transport::{
    Carrier, Channel, CloseCode, CloseReason, DialFailure, Settings, TransportEvent,
};

use pair::{Node, PATIENCE, Pair, channel, loopback, pin, tcp_after};

const CARRIERS: [Carrier; 2] = [Carrier::Quic, Carrier::Tcp];
const URGENT: u8 = 2;
const NORMAL: u8 = 1;

fn slow(kilobits: u64, shape: Shape) -> Shape {
    Shape { rate: NonZeroU64::new(kilobits * 1000).map(BitsPerSecond), ..shape }
}

/// Bytes in which every position is told from its neighbours.
fn pattern(seed: u8, length: usize) -> Bytes {
    (0..length).map(|n| (n % 251) as u8 ^ (n / 251) as u8 ^ seed).collect()
}

#[tokio::test]
async fn every_channel_carries_its_bytes_in_order_both_ways() {
    for carrier in CARRIERS {
        let Pair { mut hub, at_hub, mut device, at_device, relay: _relay } =
            Pair::new(carrier, Settings::device()).await;
        let lengths = [(channel(0), 10_000), (channel(1), 700_000), (channel(2), 300_000)];
        for (channel, length) in lengths {
            let bytes = pattern(channel.number(), length);
            for part in bytes.chunks(33_333) {
                at_device.send(channel, Bytes::copy_from_slice(part)).unwrap();
                at_hub.send(channel, Bytes::copy_from_slice(part)).unwrap();
            }
        }
        let (at_hub, at_device) = tokio::join!(hub.collect(&lengths), device.collect(&lengths));
        for (channel, length) in lengths {
            let sent = pattern(channel.number(), length);
            assert!(at_hub[&channel] == sent, "{channel:?} to the hub over {carrier}");
            assert!(at_device[&channel] == sent, "{channel:?} to the device over {carrier}");
        }
    }
}

#[tokio::test]
async fn every_queued_byte_is_reported_as_sent() {
    for carrier in CARRIERS {
        let Pair { mut hub, mut device, at_device, at_hub: _at_hub, relay: _relay } =
            Pair::new(carrier, Settings::device()).await;
        at_device.send(Channel::CONTROL, pattern(0, 200_000)).unwrap();
        let receiving = tokio::spawn(async move { hub.collect(&[(channel(0), 200_000)]).await });
        let mut sent = 0;
        while sent < 200_000 {
            match device.event().await {
                TransportEvent::Sent { connection, channel: Channel::CONTROL, bytes } => {
                    assert_eq!(connection, at_device.id());
                    sent += bytes;
                }
                other => panic!("expected bytes to be sent, got {other:?}"),
            }
        }
        assert_eq!(sent, 200_000);
        receiving.abort();
    }
}

#[tokio::test]
async fn an_urgent_lane_overtakes_a_backlog() {
    for carrier in CARRIERS {
        let settings =
            Settings { priorities: Settings::control_then(&[0, 10]), ..Settings::device() };
        let shape = slow(8_000, Shape { queue: 128 << 10, ..Shape::default() });
        let Pair { mut hub, at_device, mut device, relay: _relay, at_hub: _at_hub } =
            Pair::shaped(carrier, settings, shape).await;
        tokio::spawn(async move { while device.events.recv().await.is_some() {} });
        let (backlog, urgent) = (1 << 20, 100 << 10);
        at_device.send(channel(NORMAL), pattern(1, backlog)).unwrap();
        let mut before = hub.received().await.1.len();
        at_device.send(channel(URGENT), pattern(2, urgent)).unwrap();
        let mut arrived = 0;
        let mut between = 0;
        while arrived < urgent {
            let (channel, bytes) = hub.received().await;
            match channel.number() {
                URGENT => arrived += bytes.len(),
                _ if arrived == 0 => before += bytes.len(),
                _ => between += bytes.len(),
            }
        }
        assert!(before < backlog / 2, "{before} bytes of the backlog came first over {carrier}");
        assert!(between < urgent / 2, "{between} bytes of it squeezed in over {carrier}");
    }
}

#[tokio::test]
async fn a_hub_with_another_key_is_refused_and_both_keys_are_named() {
    for carrier in CARRIERS {
        let hub = Node::new(Settings::device());
        let shape = Shape { udp: carrier == Carrier::Quic, ..Shape::default() };
        let relay = Relay::start(loopback(), hub.listen(), shape, 1).unwrap();
        let mut device =
            Node::new(Settings { tcp_after: tcp_after(carrier), ..Settings::device() });
        let expected = pin(&[device.key]);
        device.transport.dial(vec![relay.address().to_string()], expected.clone());
        let failure = device.dial_failure().await;
        let address = relay.address();
        assert_eq!(failure, DialFailure::WrongHubKey { address, expected, seen: hub.key });
        let text = failure.to_string();
        assert!(text.contains(&hub.key.to_string()) && text.contains(&device.key.to_string()));
    }
}

#[tokio::test]
async fn whichever_address_answers_is_taken_and_silence_is_a_failure() {
    let settings = Settings { handshake_timeout: Duration::from_millis(300), ..Settings::device() };
    let (mut hub, mut device) = (Node::new(settings.clone()), Node::new(settings));
    let silent = std::net::UdpSocket::bind(loopback()).unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    let nowhere = "no-such-host.invalid:1".to_string();

    device
        .transport
        .dial(vec![nowhere.clone(), silent.clone(), hub.listen().to_string()], pin(&[hub.key]));
    let opened = device.opened().await;
    assert_eq!(opened.peer, hub.key);
    let _at_hub = hub.opened().await;

    device.transport.dial(vec![nowhere], pin(&[hub.key]));
    let failure = device.dial_failure().await;
    assert!(matches!(failure, DialFailure::Unresolved { .. }), "{failure}");
    device.transport.dial(vec![], pin(&[hub.key]));
    assert_eq!(device.dial_failure().await, DialFailure::NoAddress);
}

#[tokio::test]
async fn the_reason_of_a_closing_arrives() {
    for carrier in CARRIERS {
        let Pair { mut hub, at_hub, mut device, at_device, relay: _relay } =
            Pair::new(carrier, Settings::device()).await;
        // A backlog on its way does not hold the closing up.
        at_hub.send(channel(NORMAL), pattern(0, 1 << 20)).unwrap();
        at_hub.close(CloseCode::REVOKED, "ship-17 was revoked");
        match device.closed(at_device.id()).await {
            CloseReason::Peer(order) => {
                assert_eq!(order.code, CloseCode::REVOKED);
                assert_eq!(order.text, "ship-17 was revoked");
            }
            other => panic!("over {carrier}: {other:?}"),
        }
        let reason = hub.closed(at_hub.id()).await;
        assert!(matches!(reason, CloseReason::Local(_)), "over {carrier}: {reason:?}");
        at_hub.send(Channel::CONTROL, Bytes::from_static(b"late")).unwrap_err();
    }
}

#[tokio::test]
async fn dropping_the_handle_closes_the_connection() {
    for carrier in CARRIERS {
        let Pair { hub: _hub, at_hub, mut device, at_device, relay: _relay } =
            Pair::new(carrier, Settings::device()).await;
        drop(at_hub);
        let reason = device.closed(at_device.id()).await;
        assert!(matches!(reason, CloseReason::Peer(_)), "over {carrier}: {reason:?}");
    }
}

#[tokio::test]
async fn a_shutdown_tells_every_peer() {
    for carrier in CARRIERS {
        let Pair { hub, at_hub, mut device, at_device, relay: _relay } =
            Pair::new(carrier, Settings::device()).await;
        let Node { transport, mut events, .. } = hub;
        let reading = tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let TransportEvent::Closed { connection, reason } = event {
                    return (connection, reason);
                }
            }
            panic!("the connection's end was not reported");
        });
        transport.shutdown(CloseCode::SHUTDOWN, "back in a minute", PATIENCE).await;
        match device.closed(at_device.id()).await {
            CloseReason::Peer(order) => assert_eq!(order.code, CloseCode::SHUTDOWN),
            other => panic!("over {carrier}: {other:?}"),
        }
        let (connection, reason) = reading.await.unwrap();
        assert_eq!(connection, at_hub.id());
        assert!(matches!(reason, CloseReason::Local(_)), "{reason:?}");
    }
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_unfinished_handshakes() {
    let hub = Node::new(Settings { handshake_timeout: 3 * PATIENCE, ..Settings::device() });
    let _frozen = TcpStream::connect(hub.listen()).await.unwrap();
    let shutdown = hub.transport.shutdown(CloseCode::SHUTDOWN, "", 3 * PATIENCE);
    timeout(PATIENCE, shutdown).await.expect("nothing is open");
}

#[tokio::test]
async fn a_link_that_falls_silent_times_out() {
    let settings = Settings {
        idle_timeout: Duration::from_millis(400),
        keep_alive: Duration::from_millis(100),
        ..Settings::device()
    };
    let Pair { mut hub, at_hub, mut device, at_device, relay } =
        Pair::new(Carrier::Quic, settings).await;
    relay.set_up(false);
    assert_eq!(device.closed(at_device.id()).await, CloseReason::TimedOut);
    assert_eq!(hub.closed(at_hub.id()).await, CloseReason::TimedOut);
}

#[tokio::test]
async fn a_restarted_hub_tells_its_old_peers_at_once() {
    let mut hub = Node::new(Settings::device());
    let address = hub.listen();
    let relay = Relay::start(loopback(), address, Shape::default(), 1).unwrap();
    let mut device = Node::new(Settings { tcp_after: PATIENCE, ..Settings::device() });
    device.transport.dial(vec![relay.address().to_string()], pin(&[hub.key]));
    let at_device = device.opened().await.connection;
    let _at_hub = hub.opened().await;

    // A power cut: the hub goes without a word, and with it what it knew of the connection.
    relay.set_up(false);
    hub.transport.shutdown(CloseCode::SHUTDOWN, "", PATIENCE).await;
    let restarted = Node::new(Settings::device());
    while restarted.transport.listen(address).is_err() {
        tokio::task::yield_now().await;
    }
    relay.set_up(true);
    at_device.send(channel(NORMAL), pattern(1, 1000)).unwrap();
    assert_eq!(device.closed(at_device.id()).await, CloseReason::Reset);
}

#[tokio::test]
async fn a_lane_that_is_not_read_is_bounded_and_stops_no_other() {
    let settings = Settings {
        receive_budget: 64 << 10,
        stream_window: 64 << 10,
        queue_max: 4 << 20,
        ..Settings::device()
    };
    let Pair { mut hub, at_device, mut device, relay: _relay, at_hub: _at_hub } =
        Pair::new(Carrier::Quic, settings.clone()).await;
    tokio::spawn(async move { while device.events.recv().await.is_some() {} });
    at_device.send(channel(NORMAL), pattern(1, 4 << 20)).unwrap();
    let mut unread = Vec::new();
    // By the last of these the backlog has long come to a stop.
    for turn in 0..100 {
        at_device.send(channel(URGENT), Bytes::copy_from_slice(&[turn])).unwrap();
        let urgent = loop {
            let (from, bytes) = hub.received().await;
            match from.number() {
                URGENT => break bytes,
                _ => unread.push(bytes),
            }
        };
        assert_eq!(urgent.as_ref(), [turn]);
    }
    let mut received: usize = unread.iter().map(|bytes| bytes.len()).sum();
    assert!(received > 0);
    assert!(received <= settings.receive_budget as usize, "{received} bytes are held");

    drop(unread);
    while received < 4 << 20 {
        received += hub.received().await.1.len();
    }
}

#[tokio::test]
async fn unfinished_handshakes_fill_only_their_places() {
    let settings = Settings {
        handshakes_max: 4,
        handshakes_per_source_max: 2,
        handshake_timeout: PATIENCE,
        ..Settings::device()
    };
    let mut hub = Node::new(settings);
    let address = hub.listen();
    let mut device =
        Node::new(Settings { handshake_timeout: Duration::from_millis(500), ..Settings::device() });
    let pinned = pin(&[hub.key]);
    let dial = |device: &Node| device.transport.dial(vec![address.to_string()], pinned.clone());

    let frozen = TcpStream::connect(address).await.unwrap();
    dial(&device);
    let (_open, _at_hub) = (device.opened().await, hub.opened().await);

    let second = TcpStream::connect(address).await.unwrap();
    // Which of the hub's two listeners is served first is not decided here: try until the place is
    // seen to be taken.
    let failure = loop {
        dial(&device);
        match device.event().await {
            TransportEvent::DialFailed { failure, .. } => break failure,
            TransportEvent::Opened(opened) => drop(opened),
            _ => {}
        }
        while hub.events.try_recv().is_ok() {}
    };
    assert!(matches!(failure, DialFailure::Refused { .. }), "{failure}");

    drop((frozen, second));
    loop {
        dial(&device);
        match device.event().await {
            TransportEvent::Opened(_) => break,
            _ => while hub.events.try_recv().is_ok() {},
        }
    }
}

#[tokio::test]
async fn a_peer_that_breaks_the_rules_is_told_and_cut_off() {
    let mut hub = Node::new(Settings::device());
    let stranger = NodeKey::from_seed([0xff; 32]);
    let config = tls::client_config(&stranger, pin(&[hub.key]), RefusedKey::default()).unwrap();
    let socket = TcpStream::connect(hub.listen()).await.unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(tls::SERVER_NAME.try_into().unwrap(), socket)
        .await
        .unwrap();
    let opened = hub.opened().await;
    assert_eq!(opened.peer, stranger.public());

    let no_such_channel = [9, 1, 0, 0, 42];
    stream.write_all(&no_such_channel).await.unwrap();
    let reason = hub.closed(opened.connection.id()).await;
    assert!(matches!(reason, CloseReason::Misbehaved(_)), "{reason:?}");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!((answer[0], answer[4]), (0xff, 2), "a closing with the code for misbehaviour");
}

#[tokio::test]
async fn a_relay_is_as_slow_as_asked_and_counts_both_ways() {
    for carrier in CARRIERS {
        let delay = Duration::from_millis(50);
        let shape = slow(1_000, Shape { delay, queue: 16 << 10, ..Shape::default() });
        let Pair { mut hub, at_device, device: _device, relay, at_hub: _at_hub } =
            Pair::shaped(carrier, Settings::device(), shape).await;
        let length = 50_000;
        at_device.send(channel(NORMAL), pattern(1, length)).unwrap();
        let ideal = Duration::from_secs_f64(length as f64 * 8.0 / 1e6) + delay;
        let expected = [(channel(NORMAL), length)];
        let mut arrival = std::pin::pin!(hub.collect(&expected));
        timeout(ideal, &mut arrival).await.expect_err("no link is faster than its rate");
        arrival.await;
        assert!(relay.bytes_to_target() >= length as u64);
        assert!(relay.bytes_to_dialer() > 0);
    }
}

#[tokio::test]
async fn a_link_that_was_down_goes_on() {
    for carrier in CARRIERS {
        let Pair { mut hub, at_device, device: _device, relay, at_hub: _at_hub } =
            Pair::new(carrier, Settings::device()).await;
        relay.set_up(false);
        at_device.send(channel(NORMAL), pattern(1, 50_000)).unwrap();
        relay.set_up(true);
        let collected = hub.collect(&[(channel(NORMAL), 50_000)]).await;
        assert!(collected[&channel(NORMAL)] == pattern(1, 50_000), "over {carrier}");
    }
}
