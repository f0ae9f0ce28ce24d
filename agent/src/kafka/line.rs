//! The line between a hub's node and its bridge to Kafka: a connection within the process.
//!
//! What the node sends waits here until the bridge takes it. How much that can be, the session
//! limits: bytes that were not reported as sent count against its windows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

/// What the bridge says to the node.
#[derive(Debug)]
pub enum Said {
    /// It can be dialed from now on, and owns these shards, each since its opening there.
    Ready(BTreeMap<u32, u64>),
    /// The dial was answered; bytes follow.
    Opened,
    /// Bytes of the bridge on a channel.
    Received(u8, Vec<u8>),
    /// It has taken so many bytes of a channel.
    Sent(u8, usize),
    /// The connection is over, for this reason.
    Closed(String),
    /// It can't be dialed any more, for this reason: so many dials, which is all that it took, and
    /// what became of them are void.
    Away(u64, String),
}

/// What the node says to the bridge, since it was last asked.
#[derive(Debug, Default)]
pub struct Heard {
    /// The node dials; what it sent before is void.
    pub dialed: bool,
    /// Bytes on channels, in order.
    pub bytes: VecDeque<(u8, Bytes)>,
    /// The node has hung up behind them.
    pub closed: bool,
    /// The process ends.
    pub stop: bool,
}

/// One end for each thread.
pub struct Line {
    state: Mutex<State>,
    woken: Condvar,
    tell: Box<dyn Fn(Said) -> bool + Send + Sync>,
}

#[derive(Debug)]
struct State {
    heard: Heard,
    /// Why the bridge can't be dialed now; none if it can.
    waits: Option<String>,
    /// Dials that it took.
    dials: u64,
}

impl Line {
    /// A line whose bridge speaks to the node by `tell`, which says whether the node still listens.
    pub fn new(tell: impl Fn(Said) -> bool + Send + Sync + 'static) -> Self {
        let waits = Some("the hub is connecting to Kafka".to_owned());
        let state = Mutex::new(State { heard: Heard::default(), waits, dials: 0 });
        Self { state, woken: Condvar::new(), tell: Box::new(tell) }
    }

    /// The node dials. Returns which dial it is, counted from 1; it is answered by
    /// [`Said::Opened`], or void by [`Said::Away`].
    ///
    /// # Errors
    /// Kafka is not there, for this reason.
    pub fn dial(&self) -> Result<u64, String> {
        let mut state = self.state();
        if let Some(why) = &state.waits {
            return Err(why.clone());
        }
        state.heard.bytes.clear();
        (state.heard.dialed, state.heard.closed) = (true, false);
        state.dials += 1;
        self.woken.notify_one();
        Ok(state.dials)
    }

    /// The node sends bytes on a channel.
    pub fn send(&self, channel: u8, bytes: Bytes) {
        self.state().heard.bytes.push_back((channel, bytes));
        self.woken.notify_one();
    }

    /// The node hangs up.
    pub fn close(&self) {
        self.state().heard.closed = true;
        self.woken.notify_one();
    }

    /// The process ends.
    pub fn stop(&self) {
        self.state().heard.stop = true;
        self.woken.notify_one();
    }

    /// The bridge says something to the node; whether the node still listens.
    pub fn tell(&self, said: Said) -> bool {
        (self.tell)(said)
    }

    /// The bridge can be dialed from now on for what is of these shards, and says so.
    pub fn come(&self, shards: BTreeMap<u32, u64>) {
        self.turn(None);
        self.tell(Said::Ready(shards));
    }

    /// The bridge can't be dialed from now on, for this reason, and says so. What was sent to it so
    /// far is void, also a dial that it has not seen.
    pub fn leave(&self, why: &str) {
        let dials = self.turn(Some(why.to_owned()));
        // The node may have ended already.
        self.tell(Said::Away(dials, why.to_owned()));
    }

    /// The bridge, which can't be dialed, waits for something else now.
    pub fn wait_for(&self, what: &str) {
        let mut state = self.state();
        if let Some(waits) = &mut state.waits {
            *waits = format!("the hub waits for {what}");
        }
    }

    fn turn(&self, waits: Option<String>) -> u64 {
        let mut state = self.state();
        state.waits = waits;
        let stop = state.heard.stop;
        state.heard = Heard { stop, ..Heard::default() };
        state.dials
    }

    /// Why the bridge can't be dialed now; none if it can.
    pub fn waits(&self) -> Option<String> {
        self.state().waits.clone()
    }

    /// What the node has said, once there is something, or nothing after `patience`.
    pub fn wait(&self, patience: Duration) -> Heard {
        let nothing = |state: &mut State| {
            let Heard { dialed, bytes, closed, stop } = &state.heard;
            !dialed && bytes.is_empty() && !closed && !stop
        };
        let state = self.state();
        let waited = self.woken.wait_timeout_while(state, patience, nothing);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let stop = state.heard.stop;
        std::mem::replace(&mut state.heard, Heard { stop, ..Heard::default() })
    }

    /// Waits for as long, unless the process ends. Returns whether it does.
    pub fn rest(&self, pause: Duration) -> bool {
        let state = self.state();
        let waited =
            self.woken.wait_timeout_while(state, pause, |state: &mut State| !state.heard.stop);
        waited.unwrap_or_else(PoisonError::into_inner).0.heard.stop
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("state", &self.state).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Duration = Duration::ZERO;

    fn ready() -> Line {
        let line = Line::new(|_| true);
        line.come(BTreeMap::new());
        line
    }

    #[test]
    fn nobody_is_dialed_while_kafka_is_away_and_the_reason_is_told() {
        let line = Line::new(|_| true);
        line.leave("no broker");
        assert_eq!(line.dial(), Err("no broker".into()));
        assert!(!line.wait(NONE).dialed);
    }

    #[test]
    fn what_was_sent_before_a_dial_is_not_taken_for_the_new_connection() {
        let line = ready();
        line.send(0, Bytes::from_static(b"old"));
        line.close();
        line.dial().unwrap();
        line.send(0, Bytes::from_static(b"new"));
        let heard = line.wait(NONE);
        assert!(heard.dialed && !heard.closed);
        assert_eq!(heard.bytes, [(0, Bytes::from_static(b"new"))]);
        assert!(line.wait(NONE).bytes.is_empty());
    }

    #[test]
    fn a_dial_that_the_bridge_never_saw_is_void_when_it_leaves_and_the_next_one_is_not() {
        let (tell, told) = std::sync::mpsc::channel();
        let line = Line::new(move |said| tell.send(said).is_ok());
        line.come(BTreeMap::new());
        assert_eq!(line.dial(), Ok(1));
        line.leave("no broker");
        assert!(!line.wait(NONE).dialed);
        line.come(BTreeMap::new());
        assert_eq!(line.dial(), Ok(2));
        assert!(line.wait(NONE).dialed);
        let told: Vec<_> = told.try_iter().collect();
        assert!(
            matches!(&told[..], [Said::Ready(_), Said::Away(1, _), Said::Ready(_)]),
            "{told:?}"
        );
    }

    #[test]
    fn what_is_told_once_is_told_once_but_the_end_stays() {
        let line = ready();
        line.stop();
        assert!(line.wait(NONE).stop);
        line.leave("ending");
        assert!(line.wait(NONE).stop);
        assert!(line.rest(Duration::from_secs(60)));
    }
}
