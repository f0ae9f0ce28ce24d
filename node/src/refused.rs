//! Who was refused: what a client has in flight behind a refusal is refused too.

use std::collections::BTreeMap;

use super::ClientId;

/// Refused clients that are remembered. Those of whom nothing was heard for longest are forgotten
/// first: what they had in flight has arrived since, as the queue before a node is far shorter.
const REFUSED_MAX: usize = 4_096;

/// Clients that were refused.
#[derive(Debug, Default)]
pub(crate) struct RefusedClients {
    /// The first attempt of each that counts again, and when it was last refused.
    clients: BTreeMap<ClientId, (u32, u64)>,
    by_time: BTreeMap<u64, ClientId>,
    refusals: u64,
}

impl RefusedClients {
    /// An attempt of a client was refused.
    pub(crate) fn add(&mut self, client: ClientId, attempt: u32) {
        let known = self.clients.get(&client).copied();
        let from = known.map_or(0, |(from, _)| from).max(attempt + 1);
        if let Some((_, time)) = known {
            self.by_time.remove(&time);
        }
        self.refusals += 1;
        self.clients.insert(client, (from, self.refusals));
        self.by_time.insert(self.refusals, client);
        if self.clients.len() > REFUSED_MAX
            && let Some((_, oldest)) = self.by_time.pop_first()
        {
            self.clients.remove(&oldest);
        }
    }

    /// Whether an attempt is one that was refused before.
    pub(crate) fn covers(&self, client: ClientId, attempt: u32) -> bool {
        self.clients.get(&client).is_some_and(|(from, _)| attempt < *from)
    }
}

#[cfg(test)]
mod tests {
    use super::{REFUSED_MAX, RefusedClients};
    use crate::ClientId;

    #[test]
    fn who_is_refused_last_is_forgotten_last() {
        let mut refused = RefusedClients::default();
        refused.add(ClientId(0), 7);
        for other in 1..=REFUSED_MAX as u64 {
            refused.add(ClientId(other), 0);
            refused.add(ClientId(0), 7);
        }
        assert!(refused.covers(ClientId(0), 7), "it was refused again and again");
        assert!(!refused.covers(ClientId(0), 8), "that is a new attempt");
        assert!(!refused.covers(ClientId(1), 0), "it is the one of whom nothing was heard");
        assert!(refused.covers(ClientId(2), 0));
        assert_eq!(refused.clients.len(), REFUSED_MAX);
        assert_eq!(refused.by_time.len(), REFUSED_MAX);
    }

    #[test]
    fn an_old_refusal_does_not_take_back_a_new_one() {
        let mut refused = RefusedClients::default();
        refused.add(ClientId(1), 3);
        refused.add(ClientId(1), 2);
        assert!(refused.covers(ClientId(1), 3));
    }
}
