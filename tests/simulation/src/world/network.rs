//! The network: connections of ordered byte channels, with delay, bandwidth, partitions, and an end
//! at any byte.

use std::collections::{BTreeMap, VecDeque};

use landfall_node::{Direction, LinkId, Uplink};

use super::{Happening, World};

/// An end of a connection.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum End {
    Dialer,
    Listener,
}

pub(super) struct Connection {
    hosts: [String; 2],
    pipes: [Pipe; 2],
    /// Whether each end still knows it.
    alive: [bool; 2],
    pumping: bool,
    /// Bytes that may still pass.
    budget: Option<usize>,
    /// It was cut, and the ends have not noticed yet: nothing passes behind what was lost.
    broken: bool,
}

/// One direction of a connection.
#[derive(Default)]
struct Pipe {
    waiting: BTreeMap<u8, VecDeque<Vec<u8>>>,
    /// The sender has hung up behind what waits.
    ends: bool,
    /// When what was sent last arrives: nothing overtakes it.
    last_at: u64,
}

impl End {
    fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Listener,
            Self::Listener => Self::Dialer,
        }
    }
}

/// The longest piece that a connection carries at once.
const PIECE_BYTES_MAX: usize = 1_400;

impl World {
    /// Sets how long a byte is under way, and how many pass in a millisecond.
    pub fn set_network(&mut self, delay_ms: u64, bytes_per_ms: Option<usize>) {
        (self.delay_ms, self.bytes_per_ms) = (delay_ms, bytes_per_ms);
    }

    /// The next connection ends when so many bytes have passed over it, in both directions.
    pub fn cut_next_after(&mut self, bytes: usize) {
        self.cut_after = Some(bytes);
    }

    /// Whether the cut that was asked for is still to come.
    pub fn cut_is_due(&self) -> bool {
        let armed = |connection: &Connection| connection.budget.is_some();
        self.cut_after.is_some() || self.connections.values().any(armed)
    }

    /// Lets nothing pass between two hosts. Connections stall, and new ones fail.
    pub fn part(&mut self, a: &str, b: &str) {
        self.parted.insert((a.into(), b.into()));
    }

    /// Lets everything pass again.
    pub fn heal(&mut self) {
        self.parted.clear();
        let connections: Vec<_> = self.connections.keys().copied().collect();
        for connection in connections {
            self.want_pump(connection, 0);
        }
    }

    /// Takes a host off the network. Its connections end.
    pub fn offline(&mut self, name: &str) {
        self.host_mut(name).online = false;
        let connections = self.connections_of(name);
        for (connection, _) in connections {
            self.break_connection(connection);
        }
    }

    /// Puts a host back on the network.
    pub fn online(&mut self, name: &str) {
        let now = self.clock_of(name);
        let host = self.host_mut(name);
        host.online = true;
        if let Some(node) = &mut host.node {
            node.hurry(now);
        }
        self.drive(name);
    }

    /// Lets the connections of a host's own dialing vanish: it notices, the other end doesn't.
    pub fn vanish(&mut self, name: &str) {
        for (connection, end) in self.connections_of(name) {
            if end == End::Dialer {
                self.forget_end(connection, end);
                self.after(0, Happening::Ended(connection, end));
            }
        }
    }

    /// Makes a host dial another one from now on; its node is started anew with the new setting.
    pub fn roam(&mut self, name: &str, upstream: &str) {
        let host = self.host_mut(name);
        host.upstream = Some(upstream.into());
        for (connection, end) in self.connections_of(name) {
            if end == End::Dialer {
                self.break_connection(connection);
            }
        }
    }

    pub(super) fn dial(&mut self, name: &str, uplink: Uplink) {
        self.trace.note(&[self.now, 1 + u64::from(uplink.0)]);
        let host = self.host(name);
        let (boots, to) = (host.boots, host.above(uplink).unwrap_or_default());
        self.after(self.delay_ms * 2, Happening::Dialed(name.into(), boots, uplink, to));
    }

    pub(super) fn on_dialed(&mut self, name: &str, boots: u64, uplink: Uplink, to: String) {
        let now = self.clock_of(name);
        let host = self.host(name);
        if host.boots != boots || host.node.is_none() {
            return;
        }
        let upstream = host.above(uplink).unwrap_or(to);
        let there =
            self.hosts.get(&upstream).is_some_and(|host| host.online && host.node.is_some());
        if !there || !self.host(name).online || self.are_parted(name, &upstream) {
            if let Some(node) = &mut self.host_mut(name).node {
                node.handle_dial_failed(uplink, "it does not answer", now);
            }
            return self.drive(name);
        }
        let id = self.next_connection;
        self.next_connection += 1;
        self.trace.say(self.now, name, || format!("connects to {upstream} ({id})"));
        let connection = Connection {
            hosts: [name.into(), upstream.clone()],
            pipes: [Pipe::default(), Pipe::default()],
            alive: [true, true],
            pumping: false,
            budget: self.cut_after.take(),
            broken: false,
        };
        self.connections.insert(id, connection);
        self.connect(&upstream, Self::link_of(id, End::Listener), None, name);
        self.connect(name, Self::link_of(id, End::Dialer), Some(uplink), &upstream);
    }

    fn connect(&mut self, name: &str, link: LinkId, uplink: Option<Uplink>, peer: &str) {
        let (now, key) = (self.clock_of(name), self.key_of(peer));
        if let Some(node) = &mut self.host_mut(name).node {
            match uplink {
                Some(uplink) => node.handle_uplink_connected(link, uplink, key, now),
                None => node.handle_connected(link, Direction::Down, key, now),
            }
        }
        self.drive(name);
    }

    /// A node sends bytes.
    pub(super) fn send(&mut self, name: &str, link: LinkId, channel: u8, bytes: Vec<u8>) {
        let (id, end) =
            (link.0 / 2, if link.0.is_multiple_of(2) { End::Dialer } else { End::Listener });
        let known =
            self.connections.get_mut(&id).filter(|connection| connection.alive[end as usize]);
        let Some(connection) = known.filter(|connection| !connection.broken) else { return };
        assert_eq!(connection.hosts[end as usize], name, "a node sends over its own links");
        let len = bytes.len() as u64;
        connection.pipes[end as usize].waiting.entry(channel).or_default().push_back(bytes);
        self.host_mut(name).sent += len;
        self.want_pump(id, 0);
    }

    fn want_pump(&mut self, id: u64, span_ms: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if !core::mem::replace(&mut connection.pumping, true) {
            self.after(span_ms, Happening::Pump(id));
        }
    }

    /// A connection takes what it may carry in a millisecond, what is urgent first.
    pub(super) fn on_pump(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.pumping = false;
        let [dialer, listener] = connection.hosts.clone();
        if self.are_parted(&dialer, &listener) {
            return;
        }
        let mut more = false;
        for end in [End::Dialer, End::Listener] {
            let mut room = self.bytes_per_ms.unwrap_or(usize::MAX);
            while room > 0 {
                let Some((channel, piece)) = self.take_piece(id, end, room) else { break };
                room -= piece.len();
                if !self.carry(id, end, channel, piece) {
                    return;
                }
            }
            more |= room == 0;
            self.end_pipe(id, end);
        }
        if more {
            self.want_pump(id, 1);
        }
    }

    fn take_piece(&mut self, id: u64, end: End, room: usize) -> Option<(u8, Vec<u8>)> {
        let most = room.min(1 + self.rng.below(PIECE_BYTES_MAX as u64) as usize);
        let pipe = &mut self.connections.get_mut(&id)?.pipes[end as usize];
        let urgent = pipe.waiting.keys().next_back().copied();
        let channel = if pipe.waiting.contains_key(&0) { Some(0) } else { urgent }?;
        let queue = pipe.waiting.get_mut(&channel)?;
        let mut piece = queue.pop_front()?;
        if piece.len() > most {
            let rest = piece.split_off(most);
            queue.push_front(rest);
        }
        if queue.is_empty() {
            pipe.waiting.remove(&channel);
        }
        Some((channel, piece))
    }

    /// Sends a piece on its way; returns false if the connection ended over it.
    fn carry(&mut self, id: u64, from: End, channel: u8, mut piece: Vec<u8>) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        let mut cut = false;
        if let Some(budget) = &mut connection.budget {
            cut = piece.len() >= *budget;
            piece.truncate(*budget);
            *budget -= piece.len();
        }
        let sender = connection.hosts[from as usize].clone();
        let pipe = &mut connection.pipes[from as usize];
        pipe.last_at = pipe.last_at.max(self.now + self.delay_ms);
        let delay = pipe.last_at - self.now;
        let bytes = piece.len();
        self.after(delay, Happening::Arrive(id, from.other(), channel, piece));
        if let Some(node) = &mut self.host_mut(&sender).node {
            node.handle_sent(Self::link_of(id, from), channel, bytes);
        }
        self.transmit(&sender);
        if cut {
            self.break_connection(id);
        }
        !cut
    }

    fn end_pipe(&mut self, id: u64, from: End) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let pipe = &mut connection.pipes[from as usize];
        if pipe.ends && pipe.waiting.is_empty() {
            pipe.ends = false;
            let delay = pipe.last_at.max(self.now + self.delay_ms) - self.now;
            self.after(delay, Happening::Ended(id, from.other()));
        }
    }

    pub(super) fn on_arrive(&mut self, id: u64, end: End, channel: u8, bytes: &[u8]) {
        let Some(connection) = self.connections.get(&id) else { return };
        if !connection.alive[end as usize] {
            return;
        }
        let name = connection.hosts[end as usize].clone();
        self.trace.bytes(self.now, id, channel, bytes);
        let now = self.clock_of(&name);
        if let Some(node) = &mut self.host_mut(&name).node {
            node.handle_received(Self::link_of(id, end), channel, bytes, now);
        }
        self.drive(&name);
    }

    pub(super) fn on_ended(&mut self, id: u64, end: End) {
        let Some(connection) = self.connections.get(&id) else { return };
        let name = connection.hosts[end as usize].clone();
        self.forget_end(id, end);
        let now = self.clock_of(&name);
        self.trace.say(self.now, &name, || format!("connection {id} is gone"));
        if let Some(node) = &mut self.host_mut(&name).node {
            node.handle_disconnected(Self::link_of(id, end), "the connection was lost", now);
        }
        self.drive(&name);
        let dead = |connection: &Connection| !connection.alive.contains(&true);
        if self.connections.get(&id).is_some_and(dead) {
            self.connections.remove(&id);
        }
    }

    /// A node closes a link: what it sent before still gets through.
    pub(super) fn close(&mut self, name: &str, link: LinkId, why: &str) {
        self.transmit(name);
        self.trace.say(self.now, name, || format!("closes {link:?}: {why}"));
        if why.contains("speaks versions") {
            self.count("links that ended for their versions");
        }
        let (id, end) =
            (link.0 / 2, if link.0.is_multiple_of(2) { End::Dialer } else { End::Listener });
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.pipes[end as usize].ends = true;
            connection.alive[end as usize] = false;
        }
        self.want_pump(id, 0);
        let now = self.clock_of(name);
        if let Some(node) = &mut self.host_mut(name).node {
            node.handle_disconnected(link, why, now);
        }
    }

    /// A connection is cut: what has not arrived is lost, and both ends notice in a while.
    pub(super) fn break_connection(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let arrived = connection.pipes.iter().map(|pipe| pipe.last_at).max();
        let delay = arrived.unwrap_or_default().max(self.now + self.delay_ms) - self.now;
        connection.pipes = [Pipe::default(), Pipe::default()];
        (connection.budget, connection.broken) = (None, true);
        self.trace.note(&[self.now, id]);
        for end in [End::Dialer, End::Listener] {
            self.after(delay, Happening::Ended(id, end));
        }
    }

    /// All connections of a host that went down: the other ends notice in a while.
    pub(super) fn hang_up(&mut self, name: &str) {
        for (id, end) in self.connections_of(name) {
            self.forget_end(id, end);
            self.after(self.delay_ms, Happening::Ended(id, end.other()));
        }
    }

    fn forget_end(&mut self, id: u64, end: End) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.alive[end as usize] = false;
            connection.pipes[end as usize] = Pipe::default();
        }
    }

    pub(super) fn connections_of(&self, name: &str) -> Vec<(u64, End)> {
        let ends = self.connections.iter().flat_map(|(id, connection)| {
            [End::Dialer, End::Listener].map(|end| (*id, end, connection))
        });
        let own = ends.filter(|(_, end, connection)| {
            connection.hosts[*end as usize] == name && connection.alive[*end as usize]
        });
        own.map(|(id, end, _)| (id, end)).collect()
    }

    pub(super) fn are_parted(&self, a: &str, b: &str) -> bool {
        let pair = |a: &str, b: &str| self.parted.contains(&(a.into(), b.into()));
        pair(a, b) || pair(b, a)
    }
}
