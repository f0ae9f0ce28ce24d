//! How much a node was given to store, in bytes of records: held against what its medium was given,
//! it tells what storing them cost.

use landfall_core::batch::batches;
use landfall_core::limits::LANES_MAX;
use landfall_core::media::Media;
use landfall_core::num::Lane;

use super::{Gate, Node, checksum};

/// Bytes of records by lane. A commit that fails leaves its records counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Payload([u64; LANES_MAX]);

impl Payload {
    /// A record, or several, of so many bytes was staged.
    pub(crate) fn add(&mut self, lane: Lane, bytes: usize) {
        if let Some(sum) = self.0.get_mut(usize::from(lane.get())) {
            *sum += bytes as u64;
        }
    }

    /// The body of an entry was staged.
    pub(crate) fn add_body(&mut self, lane: Lane, body: &[u8]) {
        let batches = batches(body, checksum()).map_while(Result::ok);
        self.add(lane, batches.map(|batch| batch.records.len()).sum());
    }
}

impl<M: Media, G: Gate> Node<M, G> {
    /// Bytes of the records that were appended to a lane, or came from other nodes, since the node
    /// was opened: keys, values and headers with their lengths and timestamps.
    pub fn payload_bytes(&self, lane: Lane) -> u64 {
        self.core.payload.0.get(usize::from(lane.get())).copied().unwrap_or_default()
    }
}
