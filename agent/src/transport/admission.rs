//! How many strangers may knock at once.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::lock;
use super::offence::Offence;
use super::settings::Settings;

/// Counts handshakes in progress, in all and per source, and open connections.
#[derive(Debug)]
pub(super) struct Admission {
    handshakes: Mutex<Handshakes>,
    handshakes_max: usize,
    per_source_max: usize,
    connections: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Handshakes {
    all: usize,
    by_source: BTreeMap<IpAddr, usize>,
}

/// One handshake in progress, until it is dropped.
#[derive(Debug)]
pub(super) struct Knock {
    admission: Arc<Admission>,
    source: IpAddr,
    connection: Option<OwnedSemaphorePermit>,
}

impl Admission {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            handshakes: Mutex::default(),
            handshakes_max: settings.handshakes_max,
            per_source_max: settings.handshakes_per_source_max,
            connections: Arc::new(Semaphore::new(settings.connections_max)),
        }
    }

    /// Whether a peer should first show that it receives packets at its address, lest forged ones
    /// fill the limits.
    pub(super) fn wants_validation(&self, address: IpAddr) -> bool {
        let handshakes = lock(&self.handshakes);
        let of_source = handshakes.by_source.get(&source_of(address)).copied().unwrap_or(0);
        handshakes.all * 2 >= self.handshakes_max || of_source * 2 >= self.per_source_max
    }

    /// Takes a place for a handshake and for the connection that may follow, if there is one.
    ///
    /// # Errors
    /// What there are too many of.
    pub(super) fn knock(self: &Arc<Self>, address: IpAddr) -> Result<Knock, Offence> {
        let connection = self.connections.clone().try_acquire_owned();
        let connection = connection.map_err(|_| Offence::ConnectionsFull)?;
        let source = source_of(address);
        let mut handshakes = lock(&self.handshakes);
        let of_source = handshakes.by_source.get(&source).copied().unwrap_or(0);
        if handshakes.all >= self.handshakes_max || of_source >= self.per_source_max {
            return Err(Offence::HandshakesFull);
        }
        handshakes.all += 1;
        handshakes.by_source.insert(source, of_source + 1);
        Ok(Knock { admission: self.clone(), source, connection: Some(connection) })
    }
}

impl Knock {
    /// The handshake is over: what remains is the place of the connection.
    pub(super) fn entered(mut self) -> OwnedSemaphorePermit {
        self.connection.take().expect("taken only here, which consumes the knock")
    }
}

impl Drop for Knock {
    fn drop(&mut self) {
        let mut handshakes = lock(&self.admission.handshakes);
        handshakes.all -= 1;
        let of_source = handshakes.by_source.get_mut(&self.source).expect("counted when it began");
        *of_source -= 1;
        if *of_source == 0 {
            handshakes.by_source.remove(&self.source);
        }
    }
}

/// An IPv6 host commands a whole /64.
fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections_max: usize) -> Arc<Admission> {
        let settings = Settings {
            handshakes_max: 4,
            handshakes_per_source_max: 2,
            connections_max,
            ..Settings::device()
        };
        Arc::new(Admission::new(&settings))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_source_is_limited_without_locking_others_out() {
        let admission = admission(100);
        assert!(!admission.wants_validation(ip("10.0.0.1")));
        let first = admission.knock(ip("10.0.0.1")).unwrap();
        assert!(admission.wants_validation(ip("10.0.0.1")), "half of its limit is used");
        assert!(!admission.wants_validation(ip("10.0.0.2")));
        let _second = admission.knock(ip("::ffff:10.0.0.1")).unwrap();
        assert!(admission.knock(ip("10.0.0.1")).is_err());
        let _other = admission.knock(ip("10.0.0.2")).unwrap();
        drop(first);
        assert!(admission.knock(ip("10.0.0.1")).is_ok());
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        let admission = admission(100);
        let _first = admission.knock(ip("2001:db8::1")).unwrap();
        let _second = admission.knock(ip("2001:db8::2")).unwrap();
        assert!(admission.knock(ip("2001:db8::3")).is_err());
        assert!(admission.knock(ip("2001:db8:0:1::3")).is_ok());
    }

    #[test]
    fn all_handshakes_together_and_connections_are_limited() {
        let admission = admission(5);
        let knocks: Vec<_> =
            (0..4).map(|n| admission.knock(ip(&format!("10.0.0.{n}"))).unwrap()).collect();
        assert!(admission.knock(ip("10.0.1.1")).is_err(), "four handshakes at once");
        let mut open: Vec<_> = knocks.into_iter().map(Knock::entered).collect();
        open.push(admission.knock(ip("10.0.1.1")).unwrap().entered());
        assert!(admission.knock(ip("10.0.1.1")).is_err(), "five connections");
        open.pop();
        assert!(admission.knock(ip("10.0.1.1")).is_ok());
    }
}
