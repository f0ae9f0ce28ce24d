//! What a connection has queued for sending, per channel, bounded in bytes.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;
use tokio::sync::Notify;

use super::event::Channel;
use super::lock;

/// Bytes could not be queued.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SendFault {
    /// The connection is gone, or going.
    #[error("the connection is closed")]
    Closed,
    /// The channel holds as much as it may: wait for `Sent`.
    #[error("the channel's queue is full")]
    Full,
}

#[derive(Debug)]
pub(super) struct Outbox {
    queues: Mutex<Queues>,
    queue_max: usize,
    /// Woken when something is queued in a channel.
    ready: [Notify; Channel::COUNT],
    /// Woken when something is queued in any channel.
    any_ready: Notify,
}

#[derive(Debug)]
struct Queues {
    channels: [Queue; Channel::COUNT],
    closed: bool,
    /// The channel served last by [`Outbox::take_first`].
    last: usize,
}

#[derive(Debug, Default)]
struct Queue {
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

impl Outbox {
    pub(super) fn new(queue_max: usize) -> Self {
        let queues = Queues { channels: Default::default(), closed: false, last: 0 };
        Self {
            queues: Mutex::new(queues),
            queue_max,
            ready: Default::default(),
            any_ready: Notify::new(),
        }
    }

    pub(super) fn push(&self, channel: Channel, bytes: Bytes) -> Result<(), SendFault> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut queues = lock(&self.queues);
        if queues.closed {
            return Err(SendFault::Closed);
        }
        let queue = &mut queues.channels[channel.index()];
        if queue.bytes + bytes.len() > self.queue_max {
            return Err(SendFault::Full);
        }
        queue.bytes += bytes.len();
        queue.pieces.push_back(bytes);
        drop(queues);
        self.ready[channel.index()].notify_one();
        self.any_ready.notify_one();
        Ok(())
    }

    /// Waits for bytes of one channel; `max` of them at most.
    pub(super) async fn take(&self, channel: Channel, max: usize) -> Bytes {
        loop {
            if let Some(bytes) = lock(&self.queues).channels[channel.index()].take(max) {
                return bytes;
            }
            self.ready[channel.index()].notified().await;
        }
    }

    /// Waits for bytes of the channel of highest priority that has any; channels of equal priority
    /// take turns.
    pub(super) async fn take_first(
        &self,
        priority: impl Fn(Channel) -> i32,
        max: usize,
    ) -> (Channel, Bytes) {
        loop {
            if let Some(taken) = lock(&self.queues).take_first(&priority, max) {
                return taken;
            }
            self.any_ready.notified().await;
        }
    }

    /// Drops what is queued and refuses more.
    pub(super) fn close(&self) {
        let mut queues = lock(&self.queues);
        queues.closed = true;
        queues.channels = Default::default();
    }
}

impl Queues {
    fn take_first(
        &mut self,
        priority: &impl Fn(Channel) -> i32,
        max: usize,
    ) -> Option<(Channel, Bytes)> {
        let mut first: Option<Channel> = None;
        let after_last = Channel::all().cycle().skip(self.last + 1).take(Channel::COUNT);
        for channel in after_last {
            let waiting = !self.channels[channel.index()].pieces.is_empty();
            if waiting && first.is_none_or(|first| priority(channel) > priority(first)) {
                first = Some(channel);
            }
        }
        let channel = first?;
        self.last = channel.index();
        let bytes = self.channels[channel.index()].take(max)?;
        Some((channel, bytes))
    }
}

impl Queue {
    fn take(&mut self, max: usize) -> Option<Bytes> {
        let front = self.pieces.front_mut()?;
        let taken =
            if front.len() > max { front.split_to(max) } else { self.pieces.pop_front()? };
        self.bytes -= taken.len();
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(number: u8) -> Channel {
        Channel::new(number).unwrap()
    }

    fn push(outbox: &Outbox, number: u8, bytes: &'static [u8]) {
        outbox.push(channel(number), Bytes::from_static(bytes)).unwrap();
    }

    #[tokio::test]
    async fn a_channel_keeps_its_order_and_long_bytes_are_cut() {
        let outbox = Outbox::new(100);
        push(&outbox, 1, b"abcde");
        push(&outbox, 1, b"f");
        for expected in ["ab", "cd", "e", "f"] {
            assert_eq!(outbox.take(channel(1), 2).await, expected);
        }
    }

    #[tokio::test]
    async fn higher_priority_goes_first_and_equals_take_turns() {
        let outbox = Outbox::new(100);
        let priority = |channel: Channel| if channel == Channel::CONTROL { 1 } else { 0 };
        push(&outbox, 1, b"aaaa");
        push(&outbox, 2, b"bb");
        push(&outbox, 0, b"c");
        let mut order = Vec::new();
        for _ in 0..7 {
            order.push(outbox.take_first(priority, 1).await.0.number());
        }
        assert_eq!(order, [0, 1, 2, 1, 2, 1, 1]);
    }

    #[test]
    fn a_queue_is_bounded_per_channel_and_refuses_after_closing() {
        let outbox = Outbox::new(4);
        push(&outbox, 1, b"abcd");
        assert_eq!(outbox.push(channel(1), Bytes::from_static(b"e")), Err(SendFault::Full));
        push(&outbox, 2, b"e");
        outbox.close();
        assert_eq!(outbox.push(channel(2), Bytes::from_static(b"f")), Err(SendFault::Closed));
    }
}
