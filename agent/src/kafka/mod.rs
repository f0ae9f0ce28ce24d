//! A Kafka cluster behind a hub: records go into Kafka's topics exactly once.
//!
//! ```text
//! node of the hub ══ line ══ bridge: a node whose disk is Kafka ─▶ shards ─▶ transactions
//! ```
//!
//! The hub's node dials the bridge as any node dials its upstream, and the bridge promises
//! durable(root) as any root does, once a transaction has committed records and frontier together.

pub mod birth;
mod births;
mod bridge;
mod buffer;
mod context;
mod epochs;
mod fault;
pub mod frontier_record;
mod gate;
mod group;
mod known;
mod letter;
mod line;
mod mapping;
pub mod murmur;
mod outgoing;
mod owner;
mod rebuild;
mod refusals;
mod registry;
mod restored;
pub mod route;
mod serving;
mod settings;
mod shard;
mod topics;

pub use births::RebuiltStream;
pub use bridge::{LOG_FILE, start};
pub use line::{Heard, Line, Said};
pub use mapping::{Mapping, NoMapping, mapping, set_mapping};
pub use rebuild::{NotRebuilt, Rebuild, rebuild};
pub use registry::{Outcome, Proposal, Told, follow};
pub use settings::{NoPassword, Settings};
