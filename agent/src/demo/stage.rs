//! What the play needs: a folder, three nodes that do not run yet, and the link between them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use super::Plan;
use super::process::Node;
use crate::entropy;
use crate::transport::relay::{Relay, Shape};

/// Bytes that wait before the slow link: half a second of it. More delays what is urgent, less
/// loses packets that were sent in one go.
const QUEUE_BYTES: usize = 16 << 10;
/// Tries to find a port that is free on UDP and on TCP.
const PORT_TRIES: usize = 16;

/// Everything that ends with the play.
pub(super) struct Stage {
    pub(super) folder: PathBuf,
    pub(super) hub: Node,
    pub(super) ship: Node,
    pub(super) copy: Node,
    pub(super) relay: Relay,
    pub(super) hub_address: SocketAddr,
}

impl Stage {
    /// Builds it; the link is down.
    pub(super) fn build(plan: &Plan) -> Result<Self, String> {
        let said = |what: &str, why: String| format!("landfall demo: {what}: {why}");
        let number = entropy::number().map_err(|error| said("no folder", error.to_string()))?;
        let folder = std::env::temp_dir().join(format!("landfall-demo-{:08x}", number as u32));
        std::fs::create_dir(&folder)
            .map_err(|error| said(&folder.display().to_string(), error.to_string()))?;
        let hub_address =
            free_address().map_err(|error| said("no port for the hub", error.to_string()))?;
        let shape = Shape {
            rate: Some(plan.rate),
            delay: plan.round_trip / 2,
            queue: QUEUE_BYTES,
            ..Shape::default()
        };
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let relay = Relay::start(anywhere, hub_address, shape, number)
            .map_err(|error| said("no port for the link", error.to_string()))?;
        relay.set_up(false);
        let node = |name| Node::new(name, &plan.program, &folder);
        let (hub, ship, copy) = (node("hub"), node("ship-17"), node("copy"));
        Ok(Self { hub, ship, copy, relay, hub_address, folder })
    }

    /// Bytes that went over the link, both ways.
    pub(super) fn wire_bytes(&self) -> u64 {
        self.relay.bytes_to_target() + self.relay.bytes_to_dialer()
    }
}

/// An address that nobody listens on. The hub must keep it over its restart.
fn free_address() -> std::io::Result<SocketAddr> {
    let mut tries = 0;
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        match UdpSocket::bind(address) {
            Ok(_) => return Ok(address),
            Err(error) if tries == PORT_TRIES => return Err(error),
            Err(_) => tries += 1,
        }
    }
}

/// Copies a node's folder as an image of its disk would be copied: all files, the key among them.
pub(super) fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
