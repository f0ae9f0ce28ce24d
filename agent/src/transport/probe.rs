//! A look at one way to a hub: does it answer there, who is it, and how is the way?

use std::net::SocketAddr;
use std::time::Duration;

use super::dial::Target;
use super::event::{Carrier, DialFailure};
use super::link::Stream;
use super::{Shared, Transport};
use crate::identity::PublicKey;
use crate::identity::tls::{HubKeys, RefusedKey};

/// What was seen. The connection is closed again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Probe {
    /// The key that the hub proved to hold.
    pub peer: PublicKey,
    /// How long a packet takes there and back (QUIC).
    pub round_trip: Option<Duration>,
    /// Bytes of the largest datagram that got through (QUIC).
    pub mtu: Option<u16>,
}

/// Round trips that the search for the largest datagram is given; what is lost is tried again.
const MTU_ROUND_TRIPS: u32 = 12;
const MTU_TIME_MAX: Duration = Duration::from_secs(3);

impl Transport {
    /// Makes a connection to a hub by one carrier, and closes it. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn probe(
        &self,
        address: SocketAddr,
        pinned: HubKeys,
        carrier: Carrier,
    ) -> Result<Probe, DialFailure> {
        let target = Target { address, pinned, refused: RefusedKey::default() };
        let shared: &Shared = &self.shared;
        let reached = match carrier {
            Carrier::Quic => target.reach_quic(shared).await?,
            Carrier::Tcp => target.reach_tcp(shared).await?,
            Carrier::Serial => return Err(DialFailure::NoAddress),
        };
        let Stream::Quic(connection) = &reached.stream else {
            return Ok(Probe { peer: reached.peer, round_trip: None, mtu: None });
        };
        let round_trip = connection.rtt();
        tokio::time::sleep((round_trip * MTU_ROUND_TRIPS).min(MTU_TIME_MAX)).await;
        let mtu = connection.stats().path.current_mtu;
        connection.close(0_u32.into(), b"this was only a test of the way");
        Ok(Probe { peer: reached.peer, round_trip: Some(connection.rtt()), mtu: Some(mtu) })
    }
}
