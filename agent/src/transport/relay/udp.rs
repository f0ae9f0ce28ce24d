//! Datagrams through a relay: like a NAT, each dialer has a socket of its own towards the target.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::wire::Journey;
use super::{Link, Toward};

/// Dialers that are remembered; the oldest is forgotten first.
const FLOWS_MAX: usize = 256;

/// Datagrams on the way in one direction.
const FLYING_MAX: usize = 16 * 1024;

const DATAGRAM_MAX: usize = 64 * 1024;

/// A datagram on its way.
#[derive(Clone)]
struct Datagram {
    bytes: Bytes,
    socket: Arc<UdpSocket>,
    /// Where to, unless the socket knows.
    to: Option<SocketAddr>,
}

/// The same, and how long the way is.
struct Flying {
    journey: Journey,
    datagram: Datagram,
}

pub(super) async fn relay(socket: UdpSocket, target: SocketAddr, link: Arc<Link>) {
    let socket = Arc::new(socket);
    let (to_target, target_flying) = mpsc::channel(FLYING_MAX);
    let (to_dialer, dialer_flying) = mpsc::channel(FLYING_MAX);
    let mut tasks = JoinSet::new();
    tasks.spawn(deliver(target_flying, link.clone(), Toward::Target));
    tasks.spawn(deliver(dialer_flying, link.clone(), Toward::Dialer));
    let mut flows = Flows::default();
    let mut buffer = vec![0; DATAGRAM_MAX];
    let mut bindings = 0;
    loop {
        // An error is about an earlier datagram that nobody received.
        let Ok((length, dialer)) = socket.recv_from(&mut buffer).await else { continue };
        let forgotten = link.bindings.load(Ordering::Relaxed);
        if core::mem::replace(&mut bindings, forgotten) != forgotten {
            flows = Flows::default();
        }
        let flow = match flows.sockets.get(&dialer) {
            Some((flow, _)) => flow.clone(),
            None => match open_flow(target).await {
                Ok(flow) => {
                    let answers = receive_answers(
                        flow.clone(),
                        socket.clone(),
                        dialer,
                        to_dialer.clone(),
                        link.clone(),
                    );
                    let mut task = JoinSet::new();
                    task.spawn(answers);
                    flows.insert(dialer, flow.clone(), task);
                    flow
                }
                Err(error) => {
                    tracing::warn!(%error, "the relay has no socket for a dialer");
                    continue;
                }
            },
        };
        let bytes = Bytes::copy_from_slice(&buffer[..length]);
        send(&link, Toward::Target, &to_target, Datagram { bytes, socket: flow, to: None });
    }
}

#[derive(Default)]
struct Flows {
    sockets: BTreeMap<SocketAddr, (Arc<UdpSocket>, JoinSet<()>)>,
    order: VecDeque<SocketAddr>,
}

impl Flows {
    fn insert(&mut self, dialer: SocketAddr, socket: Arc<UdpSocket>, task: JoinSet<()>) {
        if self.order.len() == FLOWS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.sockets.remove(&oldest);
        }
        self.sockets.insert(dialer, (socket, task));
        self.order.push_back(dialer);
    }
}

async fn open_flow(target: SocketAddr) -> io::Result<Arc<UdpSocket>> {
    let any: SocketAddr = match target {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(target).await?;
    Ok(Arc::new(socket))
}

async fn receive_answers(
    flow: Arc<UdpSocket>,
    socket: Arc<UdpSocket>,
    dialer: SocketAddr,
    flying: mpsc::Sender<Flying>,
    link: Arc<Link>,
) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        // An error says that the target is not there at present.
        let Ok(length) = flow.recv(&mut buffer).await else { continue };
        let bytes = Bytes::copy_from_slice(&buffer[..length]);
        let datagram = Datagram { bytes, socket: socket.clone(), to: Some(dialer) };
        send(&link, Toward::Dialer, &flying, datagram);
    }
}

fn send(link: &Link, toward: Toward, flying: &mpsc::Sender<Flying>, mut datagram: Datagram) {
    if !link.is_up() {
        return;
    }
    let wire = link.wire(toward);
    let mishap = wire.mishap(datagram.bytes.len());
    if let Some(bit) = mishap.flipped_bit {
        datagram.bytes = flipped(&datagram.bytes, bit);
    }
    for _ in 0..if mishap.twice { 2 } else { 1 } {
        // Too many on the way: a network would lose it, too.
        let Ok(place) = flying.clone().try_reserve_owned() else { return };
        let datagram = datagram.clone();
        let length = datagram.bytes.len();
        wire.offer_datagram(length, move |journey| {
            place.send(Flying { journey, datagram });
        });
    }
}

fn flipped(bytes: &[u8], bit: usize) -> Bytes {
    let mut bytes = bytes.to_vec();
    if let Some(byte) = bytes.get_mut(bit / 8) {
        *byte ^= 1 << (bit % 8);
    }
    bytes.into()
}

async fn deliver(mut flying: mpsc::Receiver<Flying>, link: Arc<Link>, toward: Toward) {
    let mut apart = JoinSet::new();
    while let Some(Flying { journey, datagram }) = flying.recv().await {
        let jitter = link.wire(toward).jitter();
        let arrive = arrive(journey, jitter, datagram, link.clone(), toward);
        while apart.try_join_next().is_some() {}
        if jitter.is_some() && apart.len() < FLYING_MAX {
            apart.spawn(arrive);
        } else {
            arrive.await;
        }
    }
}

async fn arrive(
    journey: Journey,
    jitter: Option<Duration>,
    Datagram { bytes, socket, to }: Datagram,
    link: Arc<Link>,
    toward: Toward,
) {
    journey.end().await;
    if let Some(jitter) = jitter {
        tokio::time::sleep(jitter).await;
    }
    if !link.is_up() {
        return;
    }
    let sent = match to {
        Some(to) => socket.send_to(&bytes, to).await,
        None => socket.send(&bytes).await,
    };
    if let Ok(sent) = sent {
        link.wire(toward).count_delivered(sent);
    }
}
