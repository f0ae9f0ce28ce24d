//! Credit: how many bytes may come on the lanes. Totals count from the start of the session, so a
//! grant can never be counted twice.

use super::event::Fault;

/// What this end has granted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Granted {
    window: u64,
    received: u64,
    consumed: u64,
    announced: u64,
}

/// What this end was granted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    window: u64,
    total: u64,
    sent: u64,
}

impl Granted {
    /// The hello announces the first window.
    pub(super) const fn new(window: u64) -> Self {
        Self { window, received: 0, consumed: 0, announced: window }
    }

    pub(super) fn receive(&mut self, bytes: usize) -> Result<(), Fault> {
        self.received = self.received.saturating_add(bytes as u64);
        if self.received > self.announced { Err(Fault::CreditOverrun) } else { Ok(()) }
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.consumed = self.consumed.saturating_add(bytes as u64);
        assert!(self.consumed <= self.received, "only what was received can be consumed");
    }

    /// A total to be announced, if it is worth a message.
    pub(super) const fn due(&self) -> Option<u64> {
        let total = self.consumed.saturating_add(self.window);
        if total - self.announced >= self.window.div_ceil(2) { Some(total) } else { None }
    }

    pub(super) fn announce(&mut self, total: u64) {
        assert!(total >= self.announced, "a grant is never taken back");
        self.announced = total;
    }
}

impl Allowance {
    pub(super) const fn new(window: u64) -> Self {
        Self { window, total: window, sent: 0 }
    }

    /// The window that the hello grants, in place of what is assumed before it.
    pub(super) fn learn(&mut self, window: u64) {
        (self.window, self.total) = (window, window);
    }

    pub(super) fn raise(&mut self, total: u64) -> Result<(), Fault> {
        if total < self.total {
            return Err(Fault::CreditWithdrawn);
        }
        self.total = total;
        Ok(())
    }

    /// What may be sent now. A lane that is not the most urgent leaves a quarter of the window, so
    /// that its backlog cannot hold up what is urgent for a round trip.
    pub(super) const fn left(&self, most_urgent: bool) -> u64 {
        let kept = if most_urgent { 0 } else { self.window / 4 };
        self.total.saturating_sub(self.sent).saturating_sub(kept)
    }

    pub(super) fn spend(&mut self, bytes: usize) {
        self.sent = self.sent.saturating_add(bytes as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::{Allowance, Granted};
    use crate::session::Fault;

    #[test]
    fn grants_come_in_halves_of_the_window_and_an_overrun_is_a_fault() {
        let mut granted = Granted::new(1000);
        granted.receive(999).unwrap();
        granted.consume(499);
        assert_eq!(granted.due(), None);
        granted.consume(1);
        assert_eq!(granted.due(), Some(1500));
        assert_eq!(granted.receive(2), Err(Fault::CreditOverrun), "not announced yet");
        granted.announce(1500);
        assert_eq!(granted.due(), None);
        assert_eq!(granted.receive(499), Ok(()));
    }

    #[test]
    fn a_quarter_is_left_to_the_most_urgent_lane_and_grants_only_rise() {
        let mut allowance = Allowance::new(1000);
        allowance.spend(700);
        assert_eq!((allowance.left(false), allowance.left(true)), (50, 300));
        allowance.raise(1500).unwrap();
        assert_eq!(allowance.left(false), 550);
        assert_eq!(allowance.raise(1499), Err(Fault::CreditWithdrawn));
    }
}
