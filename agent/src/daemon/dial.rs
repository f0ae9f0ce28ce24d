//! Whom the node dials.

use super::machine::{Machine, now};
use crate::identity::PublicKey;
use crate::identity::tls::HubKeys;
use crate::node::Uplink;

/// The node above, as the configuration has it.
#[derive(Debug, Default)]
pub(super) struct Upstream {
    pub(super) addresses: Vec<String>,
    pub(super) keys: Vec<PublicKey>,
}

impl Machine {
    /// Dials the node above at an uplink.
    pub(super) fn dial(&mut self, uplink: Uplink) {
        #[cfg(feature = "kafka")]
        if uplink != Uplink::FIRST {
            return self.dial_hub(uplink);
        } else if self.dials_kafka() {
            return;
        }
        let Some(transport) = &self.transport else {
            let why = "the node is not running; start it with `landfall run`";
            return self.node.handle_dial_failed(uplink, why, now());
        };
        let addresses = self.upstream.addresses.join(", ");
        tracing::info!(addresses, "dialing the upstream node");
        let keys = HubKeys(self.upstream.keys.clone());
        let _network = self.network.enter();
        transport.dial(self.upstream.addresses.clone(), keys);
    }

    /// The uplink that an attempt was made for.
    #[cfg(not(feature = "kafka"))]
    pub(super) fn dialed(&self, _: crate::transport::AttemptId) -> Uplink {
        Uplink::FIRST
    }
}
